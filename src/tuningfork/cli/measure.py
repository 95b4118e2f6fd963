"""`tuningfork measure`: structural parameters of galaxies, without a network."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from .._utils.text import counted
from .command_line import app
from .console import print_json, print_result
from .errors import must_exist, report_rows, trouble
from .files import writing
from .fits_options import BandsOption, HduOption, MaskBitsOption, MaskOption, framing_of
from .options import JsonOption, OverwriteOption, ProcessesOption
from .progress import progress_bar

__all__ = ["measure"]


@app.command()
def measure(
    paths: Annotated[list[str], typer.Argument(help="Images, folders, catalogues (a table of paths), .tar or .zip.")],
    output: Annotated[
        Path, typer.Option("-o", "--output", help="Table to write: .csv, .parquet, .fits, .vot or .ecsv.")
    ],
    resume: Annotated[bool, typer.Option("--resume", help="Continue an interrupted run.")] = False,
    overwrite: OverwriteOption = False,
    hdu: HduOption = None,
    bands: BandsOption = None,
    mask: MaskOption = None,
    mask_bits: MaskBitsOption = None,
    workers: ProcessesOption = 0,
    as_json: JsonOption = False,
) -> None:
    """Measure the structure of the galaxy in the middle of each image: concentration, asymmetry, Gini, M20, Sérsic.

    The quantities are statmorph's (Rodriguez-Gomez et al. 2019), of the fluxes of FITS bands, or of the display
    brightness of other files. About a second an image and core. Needs `pip install '.[structure]'`.

    Examples:

        tuningfork measure cutouts/ -o structure.parquet

        tuningfork measure cutouts/ -o structure.parquet --resume

        tuningfork measure images/ -o structure.fits --bands r
    """
    must_exist(paths)
    began = time.monotonic()
    framing = framing_of(hdu=hdu, bands=bands, mask=mask, mask_bits=mask_bits, orient=False)
    with trouble("give the same command with --resume to go on"), writing(output, paths, overwrite or resume) as file:
        from ..pipeline.measure import measure_files
        from ..pipeline.options import ExecutionOptions

        with progress_bar("measuring") as progress:
            summary = measure_files(
                paths, file, framing, ExecutionOptions(workers=workers, resume=resume), progress=progress
            )
        seconds = time.monotonic() - began
        if as_json:
            print_json({"output": str(output), "rows": summary.rows, "failed": summary.failed, "seconds": seconds})
        else:
            print_result(f"{output}: {counted(summary.rows, 'row')}, {summary.failed} failed, {seconds:.0f} s")
        report_rows(summary.errors, summary.failed)
