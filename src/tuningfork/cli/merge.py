"""`tuningfork merge`: the parts of a prediction to one table, or to partitions of the sky."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .._utils.text import counted
from .command_line import app
from .console import print_json, print_result
from .errors import must_exist, report_rows, row_error, trouble
from .files import writing
from .options import JsonOption, OverwriteOption
from .progress import progress_bar
from .table_options import KeepOfPredictionsOption, chosen_columns, columns_to_keep

__all__ = ["merge"]


@app.command()
def merge(
    folder: Annotated[Path, typer.Argument(help="Folder of parts that `predict` wrote.")],
    output: Annotated[
        Path, typer.Option("-o", "--output", help="Table: .parquet, .csv, .fits, .vot or .ecsv; with --hats, a folder.")
    ],
    hats: Annotated[bool, typer.Option("--hats", help="Partition by place in the sky: a HATS catalogue.")] = False,
    keep_columns: KeepOfPredictionsOption = "all",
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Join the parts of a prediction into one table, after its last shard has ended.

    Examples:

        tuningfork merge votes/ -o votes.parquet

        tuningfork merge votes/ -o sky --hats
    """
    must_exist([folder])
    keep = columns_to_keep(keep_columns)
    if hats and keep is not None:
        raise typer.BadParameter("not together with --hats", param_hint="--keep-columns")
    if hats:
        with trouble(), writing(output, [folder], overwrite, folder=True) as output:
            _partition(folder, output, as_json)
        return
    with trouble(), writing(output, [folder], overwrite) as output:
        from ..pipeline.manifest import read_run
        from ..pipeline.merge import merge as merge_parts
        from ..pipeline.merge import run_outcome

        run = read_run(folder)
        missing = sum(not run.is_complete(number) for number in range(run.parts))
        if missing:
            raise ValueError(
                f"{folder} lacks {counted(missing, 'part', 'parts')} of {run.parts}; let its shards end, or go on "
                "with predict --resume"
            )
        carried = [str(name) for name in run.identity.get("carried", ())]
        without = set(carried) - set(chosen_columns(keep, carried, str(folder)))
        with progress_bar("joining", "parts") as progress:
            merge_parts(run, output, without=sorted(without), progress=progress)
        outcome = run_outcome(run, range(run.parts))
        if as_json:
            print_json({"output": str(output), "rows": run.rows, "failed": outcome.failed})
        else:
            print_result(f"{output}: {counted(run.rows, 'galaxy', 'galaxies')}, {outcome.failed} failed")
        report_rows(outcome.errors, outcome.failed)


def _partition(folder: Path, output: Path, as_json: bool) -> None:
    from ..pipeline.hats import partition
    from ..pipeline.manifest import read_run

    catalogue = partition(read_run(folder), output)
    if as_json:
        print_json({"output": str(output), "rows": catalogue.rows, "partitions": catalogue.partitions})
    else:
        galaxies = counted(catalogue.rows, "galaxy", "galaxies")
        print_result(f"{output}: {galaxies} in {counted(catalogue.partitions, 'partition', 'partitions')}")
    if catalogue.rest:
        report_rows([row_error(str(catalogue.rest), f"{catalogue.without_position} rows have no position")])
