"""`tuningfork simulate`: synthetic galaxies with votes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .._utils.text import counted
from .command_line import app
from .console import print_json, print_result
from .errors import trouble
from .files import writing
from .options import GalaxiesSeedOption, JsonOption, ProcessesOption
from .progress import progress_bar

__all__ = ["simulate"]


@app.command()
def simulate(
    output: Annotated[Path, typer.Argument(help="Folder to fill, in the layout of Kaggle's challenge.")],
    n: Annotated[int, typer.Option("-n", "--n", min=1, max=10_000_000, help="Number of galaxies.")] = 100,
    seed: GalaxiesSeedOption = 0,
    volunteers: Annotated[int, typer.Option(min=1, max=10_000, help="Votes for each galaxy.")] = 45,
    workers: ProcessesOption = 0,
    as_json: JsonOption = False,
) -> None:
    """Simulate galaxies: images of known shape, and simulated votes of volunteers.

    Repeat the command to continue an interrupted run.

    Examples:

        tuningfork simulate galaxies/ --n 1000 --seed 1

        tuningfork train --images galaxies/images_training_rev1 --labels galaxies/training_solutions_rev1.csv -o run
    """
    with trouble("repeat the command to continue"), writing(output, resumable=True, own=("simulation.json",)):
        from ..simulation import simulate as make

        with progress_bar("simulating") as progress:
            make(output, n, seed, volunteers=volunteers, workers=workers or None, progress=progress)
        if as_json:
            print_json({"folder": str(output), "galaxies": n, "seed": seed})
        else:
            print_result(f"{output}: {counted(n, 'galaxy', 'galaxies')}; images in images_training_rev1, "
                  "votes in training_solutions_rev1.csv, shapes in truth.csv")  # fmt: skip
