"""HATS catalogues: partition a finished run with positions by place in the sky, with hats-import."""

from __future__ import annotations

import os
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from .._utils.environment import available_cores
from .._utils.errors import TuningforkError
from .._utils.extras import install_hint
from .._utils.files import check_writable
from ..tables import table_writer
from .manifest import ManifestError, PredictionRun

__all__ = ["HatsError", "HatsSummary", "partition"]

#: Rows of a partition at most, as hats-import's own default has it.
ROWS = 1_000_000


class HatsError(TuningforkError, ValueError):
    """A catalogue that cannot be partitioned; the message says why."""


@dataclass(frozen=True)
class HatsSummary:
    """A HATS catalogue: its folder, rows and partitions, and the rows that have no position, in a file of their own."""

    output: Path
    rows: int
    partitions: int
    without_position: int
    rest: Path | None


def partition(run: PredictionRun, output: str | os.PathLike[str], *, partition_rows: int = ROWS) -> HatsSummary:
    """Partition a run's rows by their place in the sky (HEALPix; Górski et al. 2005) in the HATS layout.

    The folder `output` appears complete or not at all. Rows without a position cannot be in it; they are written to
    ``OUTPUT-without-position.parquet``.

    Parameters
    ----------
    run : PredictionRun
        A finished run whose input has positions.
    output : path
        The folder of the catalogue.
    partition_rows : int
        Rows of a partition at most.

    Raises
    ------
    HatsError
        If a library or all positions are missing, or the folder or that file exists already.
    ManifestError
        If a part is missing.
    """
    output = Path(os.path.abspath(output))
    rest = output.with_name(f"{output.name}-without-position.parquet")
    for path in (output, rest):
        if path.exists():
            raise HatsError(f"{path} exists already; delete it, or name another output")
    check_writable(output)
    if not run.has_positions:
        raise HatsError(
            f"{run.folder} has no positions: predict a catalogue with right ascension and declination (--ra-column, "
            "--dec-column)"
        )
    _check_libraries()
    parts = [run.part(number) for number in range(run.parts)]
    for number, part in enumerate(parts):
        if not run.is_complete(number):
            raise ManifestError(f"{part} is missing or damaged; go on with --resume")
    with tempfile.TemporaryDirectory(prefix=f".{output.name}.", dir=output.parent) as folder:
        lost = _without_position(parts, Path(folder) / rest.name)
        _import(parts, Path(folder), output.name, partition_rows, run.rows - lost)
        catalogue = Path(folder) / output.name
        partitions = len(list(catalogue.glob("dataset/Norder=*/Dir=*/*.parquet")))
        if lost:
            os.replace(Path(folder) / rest.name, rest)
        os.replace(catalogue, output)
    return HatsSummary(output, run.rows - lost, partitions, lost, rest if lost else None)


def _check_libraries() -> None:
    try:
        import dask.distributed  # noqa: F401
        import hats_import  # noqa: F401
    except ImportError as error:
        raise HatsError(f"HATS needs more libraries ({error.name}): {install_hint('hats')}") from None


def _without_position(parts: list[Path], file: Path) -> int:
    """Write the rows without a position, and return how many there are."""
    lost = 0
    schema = pq.read_schema(parts[0]).remove_metadata()
    with table_writer(file, schema) as write:
        for part in parts:
            table = pq.ParquetFile(part).read()
            blank = table.filter(pc.invert(_has_position(table))).replace_schema_metadata()
            lost += len(blank)
            if len(blank):
                write(blank.cast(schema))
    return lost


def _has_position(table: pa.Table) -> Any:
    return pc.and_(pc.is_valid(table["ra"]), pc.is_valid(table["dec"]))


def _import(parts: list[Path], folder: Path, name: str, rows: int, expected: int) -> None:
    from dask.distributed import Client
    from hats_import import pipeline_with_client
    from hats_import.catalog.arguments import ImportArguments
    from hats_import.catalog.file_readers.parquet import ParquetPyarrowReader

    class WithPosition(ParquetPyarrowReader):
        """Rows that have a place in the sky."""

        def read(self, input_file: Any, read_columns: Any = None) -> Iterator[pa.Table]:
            for table in super().read(input_file, read_columns):  # type: ignore[no-untyped-call]
                yield table.filter(_has_position(table))

    if not expected:
        raise HatsError("no row has a position")
    # A part's metadata on its own rows do not apply to the catalogue; the meaning of its columns does.
    schema = folder / "schema.parquet"
    pq.write_table(pq.read_schema(parts[0]).remove_metadata().empty_table(), schema)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        arguments = ImportArguments(
            output_path=folder,
            output_artifact_name=name,
            input_file_list=[str(part) for part in parts],
            file_reader=WithPosition(),  # type: ignore[no-untyped-call]
            ra_column="ra",
            dec_column="dec",
            sort_columns="id",
            use_schema_file=schema,
            expected_total_rows=expected,
            pixel_threshold=rows,
            tmp_dir=folder,
            progress_bar=False,
            resume=False,
        )
        # Threads of this process: no script needs a guard, and the work is Arrow's.
        with Client(  # type: ignore[no-untyped-call]
            processes=False, n_workers=1, threads_per_worker=available_cores(), dashboard_address=None
        ) as client:
            pipeline_with_client(arguments, client)
    shutil.rmtree(folder / "intermediate", ignore_errors=True)
