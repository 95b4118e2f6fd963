"""`tuningfork send`: send a table or an image to TOPCAT, Aladin or DS9."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .command_line import app
from .console import echo, print_json, print_note
from .errors import FAILED, must_exist, trouble
from .options import JsonOption

__all__ = ["send"]


@app.command()
def send(
    path: Annotated[Path, typer.Argument(help="Table of any format, folder of a prediction, or FITS image.")],
    to: Annotated[str, typer.Option(help="topcat, aladin, ds9 or another tool's name; all: all that take it.")] = "all",
    timeout: Annotated[int, typer.Option(min=1, max=3600, help="Seconds that each tool may take to load it.")] = 120,
    as_json: JsonOption = False,
) -> None:
    """Show a table or a FITS image in TOPCAT, Aladin or DS9, which must be running (SAMP).

    Examples:

        tuningfork send votes.vot

        tuningfork send joined.fits --to topcat

        tuningfork send ngc4565.fits --to aladin
    """
    must_exist([path])
    with trouble():
        from ..pipeline.merge import table_of
        from ..tables.samp import send as send_to_tools

        answers = send_to_tools(path, to, timeout=timeout, read=table_of)
        if as_json:
            print_json([{"tool": answer.tool, "problem": answer.problem} for answer in answers])
        for answer in answers:
            if answer.problem:
                print_note(f"failed: {answer.tool}: {answer.problem}")
            elif not as_json:
                echo(f"{path} → {answer.tool}")
        if any(answer.problem for answer in answers):
            raise typer.Exit(FAILED)
