"""`tuningfork match`: predictions joined with another catalogue, by position or by identifier."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from .._utils.text import counted
from .command_line import app, options_given
from .console import print_json, print_note, print_result
from .errors import libraries, must_exist, report_rows, trouble
from .files import writing
from .options import JsonOption, OverwriteOption
from .table_options import chosen_columns, columns_to_keep, listed

__all__ = ["match"]


class Join(StrEnum):
    """Which rows are kept."""

    left = "left"
    inner = "inner"
    all = "all"


class On(StrEnum):
    """What galaxies are matched by."""

    position = "position"
    id = "id"


@app.command()
def match(
    first: Annotated[Path, typer.Argument(metavar="A", help="Table, such as predictions; or their folder of parts.")],
    second: Annotated[Path, typer.Argument(metavar="B", help="Table to look for A's galaxies in.")],
    output: Annotated[
        Path, typer.Option("-o", "--output", help="Table to write: .fits, .vot, .ecsv, .parquet or .csv.")
    ],
    radius: Annotated[
        str | None, typer.Option(help="Largest distance on the sky, with its unit: 1arcsec, 0.5arcmin.")
    ] = None,
    on: Annotated[
        On, typer.Option(help="position: by place in the sky, within --radius; id: by equal identifiers.")
    ] = (On.position),
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
    id_column: Annotated[
        list[str] | None, typer.Option(help="With --on id: identifier; given twice: A's, then B's.")
    ] = (None),
    keep_columns: Annotated[
        str,
        typer.Option(
            "--keep-columns", metavar="NAMES", help="Columns of B to keep: all, none, or names separated by commas."
        ),
    ] = "all",
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Join two catalogues: to each galaxy of A the nearest of B within a radius, or the one with its identifier.

    Positions are ICRS, degrees, in columns of the usual names (ra, dec, RAJ2000, …) or named. Where both
    have a column, B's gets the ending `_2`; `separation` is in arcseconds. A row without a position stays,
    without a partner, and is reported.

    Examples:

        tuningfork match votes.parquet sdss.fits --radius 1arcsec -o joined.fits

        tuningfork match votes.vot gaia.vot --radius 0.5arcsec --join inner --symmetric -o joined.vot

        tuningfork match votes.parquet redshifts.fits --on id --keep-columns z,z_err -o joined.parquet

        tuningfork match votes/ other.csv --radius 2arcsec --ra-column ra --ra-column RAdeg -o joined.csv
    """
    must_exist([first, second])
    keep = columns_to_keep(keep_columns)
    if on is On.id:
        for option in options_given("radius", "symmetric", "ra_column", "dec_column"):
            raise typer.BadParameter("is for positions, not with --on id", param_hint=option)
    elif radius is None:
        raise typer.BadParameter(
            "how near? Give --radius 1arcsec; or match by identifiers with --on id", param_hint="--radius"
        )
    elif options_given("id_column"):
        raise typer.BadParameter("is for --on id", param_hint="--id-column")
    ids = _both(id_column, "--id-column")
    ras, decs = _both(ra_column, "--ra-column"), _both(dec_column, "--dec-column")
    with trouble(), libraries("matching by position", "sky"), writing(output, [first, second], overwrite) as output:
        if on is On.position:
            import astropy.coordinates  # noqa: F401

        from ..inputs import Columns
        from ..pipeline.merge import table_of
        from ..tables import check_format, table_writer, unheld_columns
        from ..tables.crossmatch import Catalogue, match_ids, radius_of
        from ..tables.crossmatch import match as match_positions

        check_format(output)
        arcsec = None if radius is None else radius_of(radius)
        roles = zip(ids, ras, decs, strict=True)
        columns = [Columns(id=id_, right_ascension=ra, declination=dec) for id_, ra, dec in roles]
        catalogues = []
        for path, chosen in zip((first, second), columns, strict=True):
            problems: dict[int, str] = {}
            catalogues.append(Catalogue(table_of(path, problems=problems), str(path), chosen, problems))
        others = catalogues[1].table.column_names
        dropped = set(others) - set(chosen_columns(keep, others, str(second)))
        if arcsec is None:
            result = match_ids(catalogues[0], catalogues[1], join=join.value)
        else:
            result = match_positions(catalogues[0], catalogues[1], arcsec, join=join.value, symmetric=symmetric)
        table = result.table.drop_columns([result.renamed.get(name, name) for name in others if name in dropped])
        unheld = unheld_columns(output, table.schema)
        table = table.drop_columns(unheld)
        with table_writer(output, table.schema) as write:
            write(table)
        for warning in result.warnings:
            print_note(f"warning: {warning}")
        if unheld:
            print_note(f"left out, as {output.suffix} cannot hold them: {listed(unheld)}; write .parquet to keep them")
        if as_json:
            counts = {"rows": len(table), "pairs": result.pairs, "shared": result.shared, "failed": result.failed}
            renamed = {name: new for name, new in result.renamed.items() if name not in dropped}
            names = {"renamed": renamed, "left_out": unheld, "warnings": list(result.warnings)}
            print_json({"output": str(output), "radius_arcsec": arcsec, **counts, **names})
        else:
            if again := [new for name, new in result.renamed.items() if name not in dropped]:
                print_note(f"columns of {second} that {first} has too are called {listed(again)}")
            shared = f" ({counted(result.shared, 'galaxy', 'galaxies')} of B in several)" if result.shared else ""
            print_result(
                f"{output}: {counted(len(table), 'row', 'rows')}, {counted(result.pairs, 'pair', 'pairs')}{shared}"
            )
        report_rows(result.errors, result.failed)


def _both(values: list[str] | None, option: str) -> tuple[str | None, str | None]:
    names: list[str | None] = [*values] if values else [None]
    if len(names) > 2:
        raise typer.BadParameter("give it once, or twice: A's, then B's", param_hint=option)
    return names[0], names[-1]
