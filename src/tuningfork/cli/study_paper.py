"""`tuningfork study paper`: the paper's trainings, ensembles and tables."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from .._utils.text import bounds_text, counted, decimals
from .console import echo, print_json, print_note, print_result
from .errors import SOME_ROWS_FAILED, libraries, must_exist, trouble
from .files import writing
from .options import JsonOption, ThreadsOption, WorkersOption
from .progress import progress_bar
from .screen import print_table
from .study import study_app

__all__ = ["paper"]


class Settings(StrEnum):
    """Whose schedule."""

    paper = "paper"
    fair = "fair"


@study_app.command()
def paper(
    data: Annotated[Path, typer.Option("--data", help="Folder with the challenge's files, as they are unpacked.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder of the study.")],
    settings: Annotated[
        Settings, typer.Option(help="The paper's own settings, or one schedule for all networks.")
    ] = Settings.paper,
    only: Annotated[
        list[str] | None, typer.Option(help="Experiments by name or pattern, such as 'classes-*'; may be repeated.")
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, max=100, help="Repeats of every training, on one split.")] = 1,
    budget: Annotated[
        float | None, typer.Option(min=0.1, help="Minutes for what is not yet done; trainings are cut to fit.")
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="A trial run: few networks, 32 px, one epoch.")] = False,
    size: Annotated[int | None, typer.Option(help="Input size in pixels for all, instead of the recipes'.")] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="For all, instead of the recipes'.")] = None,
    batch: Annotated[int | None, typer.Option(min=2, help="For all, instead of the recipes'.")] = None,
    from_scratch: Annotated[
        bool, typer.Option("--from-scratch", help="Without pretrained weights, where they cannot be had.")
    ] = False,
    cache: Annotated[Path | None, typer.Option(help="Folder of decoded images [default: OUTPUT/cache].")] = None,
    workers: WorkersOption = 1,
    threads: ThreadsOption = 0,
    submission: Annotated[
        bool,
        typer.Option("--submission/--no-submission", help="Write OUTPUT/submission.csv, if there are test images."),
    ] = True,
    report: Annotated[bool, typer.Option("--report/--no-report", help="Write OUTPUT/report.html in the end.")] = True,
    as_json: JsonOption = False,
) -> None:
    """Reproduce the paper on the data at hand: trainings, ensembles, tables, report.

    The same command continues an interrupted study; what is done is not done twice.

    Examples:

        tuningfork study paper --data kaggle/ -o study

        tuningfork study paper --data kaggle/ -o study --quick

        tuningfork study paper --data kaggle/ -o study --settings fair --size 64 --epochs 24 --only 'classes-*'

        tuningfork study paper --data kaggle/ -o study --only 'votes-efficientnet-b0' --seeds 3 --budget 120

        tuningfork study paper --data kaggle/ -o study --only '*-efficientnet-lite*'
    """
    must_exist([data])
    with (
        trouble("run the same command again to continue"),
        writing(output, [data], resumable=True, own=("study.json", "runs", "cache")),
    ):
        with libraries("a study", "study"):
            from ..experiments.paper import find_data, paper_study, submit
            from ..experiments.plan import StudyOptions
            from ..training.options import Hardware
        files = find_data(data)
        options = StudyOptions(
            settings.value, tuple(only or ()), seeds, budget, quick, size, epochs, batch, from_scratch
        )
        hardware = Hardware(workers=workers, threads=threads)
        study = paper_study(files, output, options, cache=cache, hardware=hardware)
        if submission and len(study["failures"]) < len(study["trainings"]):
            with progress_bar("predicting") as progress:
                echo(submit(files, output, progress), err=True)
        numbers = None
        if report and any(output.glob("*/*/seed-*/result.json")):
            from ..experiments.report.write import write_report

            numbers = write_report(output, output / "report.html").numbers
        if as_json:
            print_json({"study": study, "networks": numbers and numbers["networks"]})
        else:
            if numbers:
                _print_networks(numbers["networks"])
                echo(f"{output / 'report.html'}: the report on one page; numbers in {output / 'metrics.json'}")
            if quick:
                print_note("a trial run (--quick): it shows that all steps work; its scores mean nothing")
            print_result(f"{output}: {counted(len(study['trainings']), 'training')}, {len(study['failures'])} failed, "
                  f"{len(study['left_out'])} left out for lack of time")  # fmt: skip
        for folder, reason in study["failures"].items():
            echo(f"failed: {folder}: {reason}", err=True)
        if study["failures"]:
            raise typer.Exit(SOME_ROWS_FAILED)


def _print_networks(networks: dict[str, list[dict[str, Any]]]) -> None:
    """Ours beside the paper's, which learned from 61,578 galaxies."""
    shown = {"votes": ("rmse_complete_rows", "RMSE"), "classes": ("accuracy", "accuracy")}
    for kind, (ours, title) in shown.items():
        if not networks[kind]:
            continue
        rows = []
        for row in networks[kind]:
            score = row["scores"][ours]
            paper = row["paper"]["accuracy"] if isinstance(row["paper"], dict) else row["paper"]
            rows.append(
                (
                    row["group"],
                    row["size"],
                    row["trained"],
                    ", ".join(map(str, row["epochs"])),
                    decimals(score["mean"]),
                    bounds_text(score["low"], score["high"]),
                    decimals(score["spread"]),
                    decimals(paper),
                )
            )
        header = ("network", "px", "trained", "epochs", title, "95 % interval", "spread", "the paper's")
        print_table(header, rows, title=kind)
