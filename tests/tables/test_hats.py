"""HATS catalogues are read as one table, in the order of their partitions."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tuningfork.inputs import ItemReader, find_items
from tuningfork.pipeline.merge import table_of
from tuningfork.surveys.targets import Framing, Targets
from tuningfork.tables.hats import hats_partitions


def write_partition(file: Path, ids: list[int], **columns: list[object]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    places = {"ra": [float(id_) for id_ in ids], "dec": [2.0] * len(ids)}
    pq.write_table(pa.table({"_healpix_29": ids, "id": ids, **places, **columns}), file)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A catalogue of three partitions, one of which is a folder of files."""
    dataset = tmp_path / "sky" / "dataset"
    write_partition(dataset / "Norder=1/Dir=0/Npix=10.parquet", [3], path=["b.jpg"])
    write_partition(dataset / "Norder=1/Dir=0/Npix=9.parquet", [1, 2], path=["a.jpg", None])
    write_partition(dataset / "Norder=2/Dir=0/Npix=7/part0.parquet", [4], path=["c.jpg"])
    (dataset / "data_thumbnail.parquet").write_bytes(b"")
    (tmp_path / "sky" / "hats.properties").write_text("dataproduct_type=object\n")
    return tmp_path / "sky"


def test_a_hats_catalogue_is_one_table(folder: Path) -> None:
    assert table_of(folder)["id"].to_pylist() == [1, 2, 3, 4]
    targets = list(Targets(str(folder), Framing(size=30)))
    assert [(target.id, target.ra) for target in targets] == [("1", 1), ("2", 2), ("3", 3), ("4", 4)]
    items = list(find_items([folder]))
    assert [item.id for item in items] == ["1", "2", "3", "4"]
    assert [bool(item.error) for item in items] == [False, True, False, False]
    assert Path(items[0].location) == folder / "a.jpg"


def test_the_catalogue_of_a_collection(folder: Path) -> None:
    properties = folder.parent / "collection.properties"
    properties.write_text("#HATS collection\nhats_primary_table_url=sky\n")
    assert hats_partitions(folder.parent) == hats_partitions(folder)
    properties.write_text(f"hats_primary_table_url=../{folder.parent.name}/sky\n")
    assert hats_partitions(folder.parent) == []


def test_images_as_bytes_are_read_from_their_partition(folder: Path) -> None:
    for partition, ids in zip(hats_partitions(folder), ([1, 2], [3], [4]), strict=True):
        write_partition(partition, ids, bytes=[b"image %d" % id_ for id_ in ids])
    items = list(find_items([folder]))
    assert [item.id for item in items] == ["1", "2", "3", "4"]
    with ItemReader() as reader:
        assert [reader.prepare(item)() for item in items] == [b"image 1", b"image 2", b"image 3", b"image 4"]
