"""`tuningfork match`: predictions joined with another catalogue, by position."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from .command_line import app
from .console import counted, echo, print_json, say
from .errors import libraries, must_exist, report_rows, trouble
from .files import writing
from .options import JsonOption, OverwriteOption

__all__ = ["match"]

#: Names of columns that are printed.
LISTED = 10


class Join(StrEnum):
    """Which rows are kept."""

    left = "left"
    inner = "inner"
    all = "all"


@app.command()
def match(
    first: Annotated[Path, typer.Argument(metavar="A", help="Table, such as predictions; or their folder of parts.")],
    second: Annotated[Path, typer.Argument(metavar="B", help="Table to look for A's galaxies in.")],
    radius: Annotated[str, typer.Option(help="Largest distance on the sky, with its unit: 1arcsec, 0.5arcmin.")],
    output: Annotated[
        Path, typer.Option("-o", "--output", help="Table to write: .fits, .vot, .ecsv, .parquet or .csv.")
    ],
    join: Annotated[
        Join, typer.Option(help="left: all of A, with their partners in B; inner: those that have one; all: of either.")
    ] = Join.left,
    symmetric: Annotated[
        bool, typer.Option("--symmetric", help="A pair must be nearest to one another; else B's may have several.")
    ] = False,
    ra_column: Annotated[
        list[str] | None, typer.Option(help="Right ascension, degrees; given twice: A's, then B's.")
    ] = None,
    dec_column: Annotated[list[str] | None, typer.Option(help="Declination, degrees; given twice: A's, then B's.")] = (
        None
    ),
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Join two catalogues: to each galaxy of A the nearest of B within a radius.

    Positions are ICRS, degrees, in columns of the usual names (ra, dec, RAJ2000, …) or named. Where both
    have a column, B's gets the ending `_2`; `separation` is in arcseconds. A row without a position stays,
    without a partner, and is reported.

    Examples:

        tuningfork match votes.parquet sdss.fits --radius 1arcsec -o joined.fits

        tuningfork match votes.vot gaia.vot --radius 0.5arcsec --join inner --symmetric -o joined.vot

        tuningfork match votes/ other.csv --radius 2arcsec --ra-column ra --ra-column RAdeg -o joined.csv
    """
    must_exist([first, second])
    ras, decs = _both(ra_column, "--ra-column"), _both(dec_column, "--dec-column")
    with trouble(), libraries("matching", "sky"), writing(output, [first, second], overwrite) as output:
        import astropy.coordinates  # noqa: F401

        from ..inputs import Columns
        from ..pipeline.merge import table_of
        from ..tables import check_format, table_writer, unheld_columns
        from ..tables.crossmatch import Catalogue, radius_of
        from ..tables.crossmatch import match as matched

        check_format(output)
        arcsec = radius_of(radius)
        columns = [Columns(right_ascension=ra, declination=dec) for ra, dec in zip(ras, decs, strict=True)]
        catalogues = [
            Catalogue(table_of(path), str(path), chosen) for path, chosen in zip((first, second), columns, strict=True)
        ]
        result = matched(catalogues[0], catalogues[1], arcsec, join=join.value, symmetric=symmetric)
        unheld = unheld_columns(output, result.table.schema)
        table = result.table.drop_columns(unheld)
        with table_writer(output, table.schema) as write:
            write(table)
        for warning in result.warnings:
            say(f"warning: {warning}")
        if unheld:
            say(f"left out, as {output.suffix} cannot hold them: {_listed(unheld)}; write .parquet to keep them")
        if as_json:
            counts = {"rows": len(table), "pairs": result.pairs, "shared": result.shared, "failed": result.failed}
            names = {"renamed": result.renamed, "left_out": unheld, "warnings": list(result.warnings)}
            print_json({"output": str(output), "radius_arcsec": arcsec, **counts, **names})
        else:
            if result.renamed:
                say(f"columns of {second} that {first} has too are called {_listed(result.renamed.values())}")
            shared = f" ({counted(result.shared, 'galaxy', 'galaxies')} of B in several)" if result.shared else ""
            echo(f"{output}: {counted(len(table), 'row', 'rows')}, {counted(result.pairs, 'pair', 'pairs')}{shared}")
        report_rows(result.errors, result.failed)


def _listed(names: Iterable[str]) -> str:
    first, more = (every := list(names))[:LISTED], len(every) - LISTED
    return ", ".join(first) + (f" and {more} more" if more > 0 else "")


def _both(values: list[str] | None, option: str) -> tuple[str | None, str | None]:
    names: list[str | None] = [*values] if values else [None]
    if len(names) > 2:
        raise typer.BadParameter("give it once, or twice: A's, then B's", param_hint=option)
    return names[0], names[-1]
