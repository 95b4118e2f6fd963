"""`tuningfork calibrate`: what a model may promise, fitted on galaxies that its training did not see."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .._utils.text import counted
from .command_line import app
from .console import echo, print_json, print_result
from .errors import SOME_ROWS_FAILED, must_exist, report_rows, trouble
from .evaluate import print_coverage
from .files import writing
from .options import BatchOption, JsonOption, ModelArgument, OverwriteOption, PartOption, SplitOption, ThreadsOption
from .progress import progress_bar

if TYPE_CHECKING:
    from ..evaluation.calibrate import CalibrationResult

__all__ = ["calibrate"]


@app.command()
def calibrate(
    model: ModelArgument,
    images: Annotated[list[Path], typer.Option(help="Images, or folders of them, named by their galaxy's ID.")],
    labels: Annotated[Path, typer.Option(help="Table of votes: CSV, Parquet, FITS, VOTable or ECSV.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder of the calibrated model.")],
    split: SplitOption = None,
    part: PartOption = "validation",
    level: Annotated[float, typer.Option(help="Share of galaxies that the intervals promise to hold.")] = 0.9,
    false_alarms: Annotated[
        float, typer.Option(help="Share of galaxies that may be flagged as out of the model's domain.")
    ] = 0.01,
    include_training: Annotated[
        bool, typer.Option("--include-training", help="Fit on galaxies of the training, too.")
    ] = False,
    batch: BatchOption = 32,
    threads: ThreadsOption = 0,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Give a model intervals, calibrated class probabilities and out-of-domain detection.

    Intervals and probabilities come from labelled galaxies that it was not trained on; the latter from the images of
    the training part too, whose labels do not matter.

    A question that too few galaxies reach gets no interval; the exit code is then 3.

    Examples:

        tuningfork calibrate run/bundle --images images --labels votes.csv --split run/split.csv -o calibrated

        tuningfork calibrate default --images cutouts --labels votes.csv --level 0.95 -o mine
    """
    must_exist([*images, labels, *([split] if split else [])])
    if not 0 < level < 1:
        raise typer.BadParameter("a number between 0 and 1", param_hint="--level")
    if not 0 < false_alarms < 1:
        raise typer.BadParameter("a number between 0 and 1", param_hint="--false-alarms")
    with trouble(), writing(output, [model, *images, labels, split], overwrite, folder=True) as output:
        from ..evaluation.calibrate import CalibrationOptions
        from ..evaluation.calibrate import calibrate as fit
        from ..model.bundle import open_bundle, write_bundle
        from ..votes.label_table import read_labels
        from ..votes.split_file import read_split

        bundle = open_bundle(model)
        with progress_bar("predicting") as progress:
            result = fit(
                bundle,
                images,
                read_labels(labels, bundle.tree),
                split=read_split(split) if split else None,
                subset=part,
                options=CalibrationOptions(level, false_alarms, include_training, threads, batch),
                progress=progress,
            )
        write_bundle(result.bundle, output)
        if as_json:
            print_json({"output": str(output), **result.to_dict()})
        else:
            _print_calibration(result, output)
        for reason in result.missing:
            echo(f"missing: {reason}", err=True)
        report_rows(result.errors)
        if result.missing:
            raise typer.Exit(SOME_ROWS_FAILED)


def _print_calibration(result: CalibrationResult, output: Path) -> None:
    figures, calibration = result.bundle.figures["calibration"], result.bundle.calibration
    used = counted(figures["galaxies"], "galaxy", "galaxies")
    print_result(f"{output}: {result.bundle.name}, calibrated on {used} (part: {figures['part']})")
    if calibration and calibration.intervals:
        title = f"on galaxies left out of the fit, a tenth at a time; promised: {calibration.intervals.level:.3g}"
        print_coverage(figures["left_out"], title)
    if calibration and calibration.classes:
        echo(f"class probabilities {calibration.classes.summary()}")
    if calibration and calibration.domain:
        domain = calibration.domain
        echo(
            f"out of domain: fitted on {domain.fitted} images; the limit, for at most {100 * domain.rate:.3g} % of "
            f"false alarms, on {domain.held_out} others"
        )
