"""`tuningfork demo`: a page of simulated galaxies."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from .command_line import app
from .console import Verbosity, echo, verbosity
from .errors import trouble
from .files import writing
from .options import GalaxiesSeedOption, ModelOption, OverwriteOption
from .predict_terminal import print_galaxies
from .terminal import Style

__all__ = ["demo"]


@app.command()
def demo(
    output: Annotated[Path, typer.Option("-o", "--output", help="The page to write.")] = Path("tuningfork-demo.html"),
    n: Annotated[int, typer.Option("-n", "--n", min=1, max=100, help="Number of galaxies.")] = 8,
    seed: GalaxiesSeedOption = 23,
    model: ModelOption = "default",
    overwrite: OverwriteOption = False,
) -> None:
    """Simulate a handful of galaxies, predict them, and write a page with images and votes.

    Examples:

        tuningfork demo

        tuningfork demo --n 20 --seed 7 -o page.html
    """
    with trouble(), writing(output, [model], overwrite, suffix=".html") as output:
        from ..simulation.demo import write_demo

        predictions = write_demo(output, n=n, seed=seed, model=model)
        if verbosity() > Verbosity.quiet:
            print_galaxies(iter([predictions]), Style.of(sys.stdout))
            echo("")
        echo(f"{output.resolve()}: open this page in a browser")
