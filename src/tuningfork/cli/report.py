"""`tuningfork report`: a training or a study on one page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .._utils.text import counted
from .command_line import app
from .console import print_json, print_note, print_result
from .errors import SOME_ROWS_FAILED, libraries, must_exist, trouble
from .files import writing
from .options import JsonOption, OverwriteOption, ResamplesOption

__all__ = ["report"]


@app.command()
def report(
    run: Annotated[Path, typer.Argument(help="Folder of a training, or of a study with runs/ in it.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Page to write; metrics.json comes beside it.")],
    part: Annotated[str, typer.Option(help="The part to judge: test or validation.")] = "test",
    resamples: ResamplesOption = 1000,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Show a training or a study on one page, beside the paper's numbers.

    With `pip install '.[similar]'` it has a map of the galaxies whose points show their images.
    The page is self-contained: no network, no scripts. Every number on it is also in metrics.json. Incomplete runs
    are named there and left out, with exit code 3.

    Examples:

        tuningfork report study -o report.html

        tuningfork report study/runs/fair-votes-efficientnet-b0/seed-0 -o seed-0.html --part validation

        tuningfork report study -o report.html --json
    """
    must_exist([run])
    if part not in ("test", "validation"):
        raise typer.BadParameter(f"{part!r} is none of test, validation", param_hint="--part")
    with trouble(), writing(output, [run], overwrite, suffix=".html") as output:
        from .._utils.files import check_output

        check_output(output.with_name("metrics.json"), overwrite=overwrite)
        with libraries("the page", "report"):
            import matplotlib  # noqa: F401  # checked before the work: figures are drawn last

            from ..experiments.report.write import write_report

        written = write_report(run, output, part=part, resamples=resamples)
        if as_json:
            print_json(written.numbers)
        else:
            size, runs = output.stat().st_size / 1e6, counted(len(written.numbers["runs"]), "run")
            print_result(f"{written.page}: {runs}, {size:.1f} MB; numbers in {written.metrics}")
        for name, reason in written.broken:
            print_note(f"failed: {name}: {reason}")
        if written.broken:
            raise typer.Exit(SOME_ROWS_FAILED)
