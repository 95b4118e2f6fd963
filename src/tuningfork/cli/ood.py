"""`tuningfork ood`: how well out-of-distribution detection works."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from .command_line import app
from .console import echo, print_json
from .errors import must_exist, report_rows, trouble
from .options import JsonOption, PartOption, ResamplesOption, SplitOption
from .progress import progress_bar
from .screen import print_table

__all__ = ["ood"]


@app.command()
def ood(
    model: Annotated[str, typer.Argument(help="A shipped model's name, or a bundle's folder; calibrated.")],
    in_domain: Annotated[
        list[Path], typer.Option("--in-domain", help="Galaxies like those of the model's training: images or folders.")
    ],
    out_of_domain: Annotated[
        list[str] | None,
        typer.Option("--out-of-domain", help="KIND=FOLDER: images that should be flagged; may be repeated."),
    ] = None,
    split: SplitOption = None,
    part: PartOption = "test",
    n_synthetic: Annotated[
        int, typer.Option("--n-synthetic", min=0, help="Galaxies to alter in 13 known ways; 0: none.")
    ] = 200,
    resamples: ResamplesOption = 1000,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the synthetic images and the bootstrap.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Evaluate out-of-domain detection: false alarms, and AUROC and the share flagged of each kind of image.

    AUROC is the probability that an out-of-domain image scores above an in-domain galaxy; 0.5 is chance.

    Examples:

        tuningfork ood calibrated --in-domain images_training_rev1 --split run/split.csv --out-of-domain decals=decals/

        tuningfork ood calibrated --in-domain cutouts --n-synthetic 0 --out-of-domain stars=stars --json
    """
    folders = _folders(out_of_domain or [])
    must_exist([*in_domain, *folders.values(), *([split] if split else [])])
    with trouble():
        from ..evaluation.ood_evaluation import evaluate_domain
        from ..images.find import find_images
        from ..model.bundle import open_bundle
        from ..model.out_of_domain import DomainError
        from ..tables.identifiers import file_id
        from ..votes.split_file import read_split

        subsets = read_split(split) if split else {}
        images = [path for path in find_images(in_domain) if not split or subsets.get(file_id(path.name)) == part]
        if not images:
            raise DomainError(
                f"no image of the part {part!r} in --in-domain; are the files named by their galaxy's ID?"
            )
        with progress_bar("measuring") as progress:
            result = evaluate_domain(
                open_bundle(model),
                images,
                {kind: [folder] for kind, folder in folders.items()},
                n_synthetic=n_synthetic,
                resamples=resamples,
                seed=seed,
                progress=progress,
            )
        if as_json:
            print_json(result.report)
        else:
            _print_evaluation(result.report)
        report_rows(result.errors)


def _folders(options: list[str]) -> dict[str, Path]:
    folders: dict[str, Path] = {}
    for option in options:
        kind, equals, folder = option.partition("=")
        if not (kind and equals and folder):
            raise typer.BadParameter(f"{option!r} is not KIND=FOLDER", param_hint="--out-of-domain")
        if kind in folders:
            raise typer.BadParameter(f"{kind!r} is named twice", param_hint="--out-of-domain")
        folders[kind] = Path(folder)
    return folders


def _print_evaluation(report: dict[str, Any]) -> None:
    alarms, promised = _percent(report["false_alarms"]), report["promised_false_alarms"]
    echo(f"false alarms: {alarms} of {report['images']} galaxies; promised: at most {100 * promised:.3g} %")
    if not report["kinds"]:
        return
    from ..model.card import interval_text

    rows = []
    for kind, each in report["kinds"].items():
        rows.append((kind, each["images"], interval_text(each["auroc"], digits=3), _percent(each["flagged"])))
    print_table(("kind", "images", "AUROC (95 % interval)", "flagged (95 % interval)"), rows)


def _percent(share: dict[str, float]) -> str:
    return f"{100 * share['value']:.1f} % ({100 * share['low']:.1f}…{100 * share['high']:.1f})"
