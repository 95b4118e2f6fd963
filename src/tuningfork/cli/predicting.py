"""`tuningfork predict`: pictures to votes."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from .base import (
    JsonOption,
    ThreadsOption,
    app,
    counted,
    must_exist,
    print_json,
    progress_bar,
    report_rows,
    row_error,
    trouble,
)

__all__ = ["predict"]


class Layout(StrEnum):
    """Column layouts of a prediction table."""

    words = "words"
    kaggle = "kaggle"


@app.command()
def predict(
    paths: Annotated[list[Path], typer.Argument(help="Pictures, or folders of them.")],
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="Table to write: .csv, .parquet, .fits, .vot or .ecsv."),
    ] = None,
    model: Annotated[str, typer.Option(help="A shipped model's name, or a bundle's folder.")] = "default",
    layout: Annotated[
        Layout,
        typer.Option("--format", help="words: named fractions and class; kaggle: GalaxyID and 37 cumulative columns."),
    ] = Layout.words,
    views: Annotated[
        int | None, typer.Option(help="Rotated and reflected views to average: 1, 2, 4 or 8 [default: the model's].")
    ] = None,
    batch: Annotated[int, typer.Option(min=1, max=4096, help="Pictures at a time.")] = 32,
    threads: ThreadsOption = 0,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with an interrupted run.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Predict vote fractions and a class for each picture.

    Examples:

        tuningfork predict galaxy.jpg

        tuningfork predict cutouts/ -o votes.parquet

        tuningfork predict cutouts/ -o votes.parquet --resume

        tuningfork predict images_test_rev1/ -o submission.csv --format kaggle

        tuningfork predict galaxy.jpg --json | jq .class_name
    """
    if views not in (None, 1, 2, 4, 8):
        raise typer.BadParameter("1, 2, 4 or 8", param_hint="--views")
    must_exist(paths)
    if output is None and resume:
        raise typer.BadParameter("--resume needs the --output of the interrupted run", param_hint="--resume")
    if output is None and layout is Layout.kaggle:
        raise typer.BadParameter("kaggle needs an --output", param_hint="--format")
    with trouble("give the same command with --resume to go on" if output else ""):
        from ..model import load
        from ..predict import predict_files

        opened = load(model, threads=threads)
        if output is None:
            _predict_to_terminal(opened, paths, views, batch, as_json)
            return
        with progress_bar("predicting") as progress:
            summary = predict_files(
                opened,
                paths,
                output,
                kaggle=layout is Layout.kaggle,
                views=views,
                batch=batch,
                resume=resume,
                progress=progress,
            )
        if as_json:
            told = {"rows": summary.rows, "failed": summary.failed, "out_of_domain": summary.out_of_domain}
            print_json({"output": str(output), **told})
        else:
            again = f" ({summary.resumed} of them from the interrupted run)" if summary.resumed else ""
            flagged = "" if summary.out_of_domain is None else f", {summary.out_of_domain} out of domain"
            print(f"{output}: {counted(summary.rows, 'galaxy', 'galaxies')}{again}, {summary.failed} failed{flagged}")
        report_rows(summary.errors, summary.failed)


def _predict_to_terminal(model: Any, paths: Sequence[Path], views: int | None, batch: int, as_json: bool) -> None:
    from ..images import find_pictures
    from ..predict import PredictError, predict_batches

    pictures = list(find_pictures(paths))
    if not pictures:
        raise PredictError(f"no picture in {', '.join(map(str, paths))}; is it the right folder?")
    errors = []
    for part in predict_batches(model, pictures, views=views, batch=batch):
        for row, values in enumerate(part.to_table().to_pylist()):
            if values["error"]:
                errors.append(row_error(values["path"], values["error"]))
            if as_json:
                print_json(values, indent=None)
            elif not values["error"]:
                print(part[row])
    report_rows(errors)
