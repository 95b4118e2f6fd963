"""`tuningfork domain`: how well a model tells what is no galaxy of its survey."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from .options import JsonOption, app, echo, must_exist, print_json, progress_bar, report_rows, screen, trouble

__all__ = ["domain"]


@app.command()
def domain(
    model: Annotated[str, typer.Argument(help="A shipped model's name, or a bundle's folder; calibrated.")],
    inside: Annotated[list[Path], typer.Option(help="Galaxies like those that the model knows: pictures or folders.")],
    outside: Annotated[
        list[str] | None, typer.Option(help="KIND=FOLDER: pictures that should be flagged; may be given again.")
    ] = None,
    split: Annotated[Path | None, typer.Option(help="split.csv of the model's training; uses one part of it.")] = None,
    part: Annotated[str, typer.Option(help="The part of `--inside` to use (with --split).")] = "test",
    made: Annotated[int, typer.Option(min=0, help="Galaxies to spoil in 13 known ways; 0: none.")] = 200,
    resamples: Annotated[int, typer.Option(min=10, max=100_000, help="Bootstrap resamples.")] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="Of the spoiled pictures and the bootstrap.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Measure how well out-of-domain pictures are told: false alarms, and AUROC and the share flagged of each kind.

    AUROC is the probability that such a picture scores above a galaxy that the model knows; 0.5 is chance.

    Examples:

        tuningfork domain calibrated --inside images_training_rev1 --split run/split.csv --outside decals=decals/

        tuningfork domain calibrated --inside cutouts --made 0 --outside stars=stars --outside hst=hst --json
    """
    folders = _folders(outside or [])
    must_exist([*inside, *folders.values(), *([split] if split else [])])
    with trouble():
        from ..evaluation.ood_evaluation import judge
        from ..images.find import find_images
        from ..model.bundle import open_bundle
        from ..model.out_of_domain import DomainError
        from ..votes.split_file import read_split

        parts = read_split(split) if split else {}
        from ..tables.identifiers import file_id

        pictures = [path for path in find_images(inside) if not split or parts.get(file_id(path.name)) == part]
        if not pictures:
            raise DomainError(f"no picture of the part {part!r} inside; are the files named by their galaxy's ID?")
        with progress_bar("measuring") as progress:
            result = judge(
                open_bundle(model),
                pictures,
                {kind: [folder] for kind, folder in folders.items()},
                made=made,
                resamples=resamples,
                seed=seed,
                progress=progress,
            )
        if as_json:
            print_json(result.report)
        else:
            _print_judgement(result.report)
        report_rows(result.errors)


def _folders(outside: list[str]) -> dict[str, Path]:
    folders: dict[str, Path] = {}
    for given in outside:
        kind, equals, folder = given.partition("=")
        if not (kind and equals and folder):
            raise typer.BadParameter(f"{given!r} is not KIND=FOLDER", param_hint="--outside")
        if kind in folders:
            raise typer.BadParameter(f"{kind!r} is named twice", param_hint="--outside")
        folders[kind] = Path(folder)
    return folders


def _print_judgement(report: dict[str, Any]) -> None:
    alarms, promised = _percent(report["false_alarms"]), report["promised_false_alarms"]
    echo(f"false alarms: {alarms} of {report['pictures']} galaxies; promised: at most {100 * promised:.3g} %")
    if not report["kinds"]:
        return
    table = Table("kind", "pictures", "AUROC (95 % interval)", "flagged (95 % interval)")
    for kind, each in report["kinds"].items():
        area = each["auroc"]
        shown = f"{area['value']:.3f} ({area['low']:.3f}…{area['high']:.3f})"
        table.add_row(kind, str(each["pictures"]), shown, _percent(each["flagged"]))
    screen().print(table)


def _percent(share: dict[str, float]) -> str:
    return f"{100 * share['value']:.1f} % ({100 * share['low']:.1f}…{100 * share['high']:.1f})"
