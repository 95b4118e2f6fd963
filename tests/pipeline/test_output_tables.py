"""Tables as astronomers' tools read them: names, units, UCDs, descriptions, values and nulls, through and back."""

from __future__ import annotations

import math
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tuningfork.labelling.rank import order_schema
from tuningfork.model.prediction_columns import kaggle_schema, output_schema
from tuningfork.pipeline.part_table import TableLayout, table_schema
from tuningfork.surveys.cutout_table import CARRIED, cutouts_schema
from tuningfork.tables import CatalogError, Column, about, arrow_schema, read_table, table_writer, ucd
from tuningfork.votes.tree_files import load_tree

pytest.importorskip("astropy")
from astropy.io import fits, votable
from astropy.io.votable.ucd import check_ucd
from astropy.table import Table

TREE = load_tree("gz2")
ENDINGS = (".csv", ".parquet", ".fits", ".vot", ".ecsv")
ASTRONOMY = (".fits", ".vot", ".ecsv")
SCHEMA = arrow_schema(
    [
        Column("id", pa.string(), "Identifier of the galaxy", ucd=ucd.IDENTIFIER),
        Column("ra", pa.float64(), "Right ascension (ICRS)", "deg", ucd.RIGHT_ASCENSION),
        Column("dec", pa.float64(), "Declination (ICRS)", "deg", ucd.DECLINATION),
        Column("radius", pa.float32(), 'Petrosian radius, "r90" < 100 & more', "arcsec", "phys.angSize"),
        Column("share", pa.float32(), "Share of those asked", "", ucd.FRACTION),
        Column("class", pa.int8(), "Class", ucd=ucd.CLASS),
        Column("count", pa.int64(), "Volunteers", "", "meta.number"),
        Column("flag", pa.bool_(), "Whether to beware", ucd=ucd.QUALITY),
        Column("vector", pa.list_(pa.float32(), 3), "What the network sees", "", ucd.VALUE),
    ],
    {"description": "Galaxies < stars & “all”", "creator": "tuningfork 1.2.3", "model": "default", "views": "4"},
)
SCALARS = pa.schema([field for field in SCHEMA if field.name != "vector"], SCHEMA.metadata)
ROWS = pa.table(
    {
        "id": ["587722981736907000", 'ö "<&>"\nb', "", None],
        "ra": [0.1, 359.999999999, math.nan, None],
        "dec": [-90.0, 1e-17, 5.0, None],
        "radius": [1e-7, 3.4e38, 0.1, None],
        "share": [0.1, 1.0, math.nan, None],
        "class": [0, -128, 127, None],
        "count": [2**62, -(2**53) - 1, 0, None],
        "flag": [True, False, True, None],
        "vector": [[0.1, 2.0, 3.0], [-1.0, 1e-9, 0.0], [math.nan, 1.0, 2.0], None],
    },
    schema=SCHEMA,
)


def written(path: Path, table: pa.Table) -> Path:
    with table_writer(path, table.schema) as write:
        write(table)
    return path


def plain(value: Any) -> Any:
    """What all formats agree on: a missing text is empty, a missing number is not a number."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, list):
        return None if all(plain(each) is None for each in value) else [plain(each) for each in value]
    return None if value == "" else value


def rows_of(table: pa.Table) -> list[dict[str, Any]]:
    return [{name: plain(value) for name, value in row.items()} for row in table.to_pylist()]


# ---------------------------------------------------------------- what columns say


def schemas() -> dict[str, pa.Schema]:
    trees = {name: load_tree(name) for name in ("gz2", "gz_decals", "gz1")}
    return {
        **{f"words of {name}": output_schema(tree) for name, tree in trees.items()},
        "kaggle": kaggle_schema(TREE),
        "positions": table_schema(TREE, TableLayout(False, True)),
        "order": order_schema(),
        "cutouts": cutouts_schema(),
        "predictions of cutouts": arrow_schema(column for _, column in CARRIED),
    }


@pytest.mark.parametrize("name", schemas())
def test_every_column_has_a_description_a_valid_ucd_and_a_unit_if_it_is_a_number(name: str) -> None:
    for field in schemas()[name]:
        told = about(field)
        assert len(told["description"]) > 4, field.name
        assert check_ucd(told.get("ucd", ""), check_controlled_vocabulary=True), (field.name, told.get("ucd"))
        assert ("unit" in told) == pa.types.is_floating(field.type), field.name


def test_a_table_has_one_main_id_and_one_main_position() -> None:
    for name, schema in schemas().items():
        mains = [about(field)["ucd"] for field in schema if "meta.main" in about(field)["ucd"]]
        assert len(mains) == len(set(mains)), name


def test_our_ucds_are_words_of_the_vocabulary() -> None:
    for name in ucd.__all__:
        assert check_ucd(getattr(ucd, name), check_controlled_vocabulary=True), name


# ---------------------------------------------------------------- out and in


@pytest.mark.parametrize("ending", ENDINGS)
def test_meaning_values_and_nulls_come_back(tmp_path: Path, ending: str) -> None:
    table = ROWS.drop_columns("vector") if ending == ".csv" else ROWS
    again = read_table(written(tmp_path / f"t{ending}", table))
    for field in table.schema:
        told = about(again.schema.field(field.name))
        if ending == ".fits":
            told["description"] = told["description"].encode().decode("unicode_escape")
        assert told == about(field)
    if ending == ".csv":  # no 64-bit types of its own
        again = again.cast(table.schema)
    assert rows_of(again) == rows_of(table)
    if ending != ".csv":
        assert [(f.name, f.type) for f in again.schema if f.name != "class"] == [
            (f.name, f.type) for f in table.schema if f.name != "class"
        ]
        kept = {key.decode(): value.decode() for key, value in again.schema.metadata.items()}
        assert kept["creator"] == "tuningfork 1.2.3"
        assert kept["model"] == "default"


@pytest.mark.parametrize("first", ENDINGS[1:])
@pytest.mark.parametrize("second", ENDINGS[1:])
def test_any_format_becomes_any_other(tmp_path: Path, first: str, second: str) -> None:
    one = read_table(written(tmp_path / f"one{first}", ROWS))
    two = read_table(written(tmp_path / f"two{second}", one))
    assert rows_of(two) == rows_of(ROWS)
    if ".fits" not in (first, second):  # which has ASCII only
        assert [about(field) for field in two.schema] == [about(field) for field in SCHEMA]


texts = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), max_size=6).map(str.strip)
numbers = st.floats(width=32, allow_nan=False) | st.just(math.nan) | st.none()
TYPES = {
    "text": (pa.string(), texts),
    "float": (pa.float32(), numbers),
    "double": (pa.float64(), st.floats() | st.none()),
    "byte": (pa.int8(), st.integers(-128, 127) | st.none()),
    "long": (pa.int64(), st.integers(-(2**62), 2**62) | st.none()),
    "truth": (pa.bool_(), st.booleans() | st.none()),
    "vector": (pa.list_(pa.float64(), 2), st.lists(st.floats(allow_nan=False), min_size=2, max_size=2) | st.none()),
}


@given(st.lists(st.fixed_dictionaries({name: values for name, (_, values) in TYPES.items()}), min_size=1, max_size=4))
@settings(max_examples=12, derandomize=True)
def test_any_values_come_back(tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, Any]]) -> None:
    folder = tmp_path_factory.mktemp("values")
    schema = arrow_schema([Column(name, kind, f"Any {name}") for name, (kind, _) in TYPES.items()])
    table = pa.Table.from_pylist(rows, schema)
    for ending in (".parquet", *ASTRONOMY):
        assert rows_of(read_table(written(folder / f"t{ending}", table))) == rows_of(table), ending


@pytest.mark.parametrize("ending", ASTRONOMY)
def test_a_type_that_a_format_cannot_hold_is_named_before_anything_is_written(tmp_path: Path, ending: str) -> None:
    schema = pa.schema([("id", pa.string()), ("lists", pa.list_(pa.int32()))])
    with pytest.raises(CatalogError, match=r"column 'lists' is of type list<.*leave it out, or write \.parquet"):
        written(tmp_path / f"t{ending}", schema.empty_table())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("ending", ASTRONOMY)
def test_types_of_other_catalogues_become_plain_ones(tmp_path: Path, ending: str) -> None:
    table = pa.table(
        {
            "large": pa.array([2**64 - 1, None], pa.uint64()),
            "survey": pa.array(["SDSS", "SDSS"]).dictionary_encode(),
            "night": pa.array([0, None], pa.date32()),
            "half": pa.array([0.5, None], pa.float16()),
            "nothing": pa.nulls(2),
        }
    )
    again = read_table(written(tmp_path / f"t{ending}", table))
    assert rows_of(again) == [
        {"large": str(2**64 - 1), "survey": "SDSS", "night": "1970-01-01", "half": 0.5, "nothing": None},
        {"large": None, "survey": "SDSS", "night": None, "half": None, "nothing": None},
    ]


@pytest.mark.parametrize("ending", ENDINGS[1:])
def test_parts_of_many_lengths_are_one_table(tmp_path: Path, ending: str) -> None:
    schema = pa.schema([("id", pa.string()), ("n", pa.int32())])
    parts = [pa.table([["x" * k] * k, list(range(k))], schema=schema) for k in (3, 0, 40, 1)]
    with table_writer(tmp_path / f"t{ending}", schema) as write:
        for part in parts:
            write(part)
    again = read_table(tmp_path / f"t{ending}").to_pydict()
    assert again == pa.concat_tables(parts).to_pydict()


@pytest.mark.parametrize("ending", ENDINGS)
def test_no_format_holds_what_was_handed_to_it(tmp_path: Path, ending: str) -> None:
    schema, rows = pa.schema([("id", pa.string()), ("x", pa.float64())]), 20_000
    part = pa.table([["galaxy"] * rows, np.arange(rows, dtype=float)], schema=schema)
    held = []
    with table_writer(tmp_path / f"t{ending}", schema) as write:
        for _ in range(6):
            write(part)
            held.append(pa.total_allocated_bytes())
    assert held[-1] - held[1] < part.nbytes


# ---------------------------------------------------------------- each format by its own rules


def test_fits_says_ucd_unit_and_frame(tmp_path: Path) -> None:
    path = written(tmp_path / "t.fits", ROWS)
    with fits.open(path) as hdus:
        hdus.verify("exception")
        header = hdus[1].header
    for number, field in enumerate(SCHEMA, 1):
        told = about(field)
        assert header[f"TTYPE{number}"] == field.name
        assert header[f"TUCD{number}"] == told["ucd"]
        assert header.get(f"TUNIT{number}") == told.get("unit")  # blank: without dimension
    assert header["RADESYS"] == "ICRS"
    assert header["MODEL"] == "default"
    assert path.stat().st_size % 2880 == 0


def test_votable_says_ucd_unit_frame_and_creator(tmp_path: Path) -> None:
    path = written(tmp_path / "t.vot", ROWS)
    document = votable.parse(path, verify="exception")
    table = document.get_first_table()
    for mine, field in zip(table.fields, SCHEMA, strict=True):
        told = about(field)
        assert mine.ucd == told["ucd"]
        assert (None if mine.unit is None else str(mine.unit)) == told.get("unit")
    assert document.get_field_by_id_or_name("ra").ref == "ICRS"
    assert [system.system for system in document.iter_coosys()] == ["ICRS"]
    told = {info.name: info.value for info in document.resources[0].infos}
    assert told == {"creator": "tuningfork 1.2.3", "model": "default", "views": "4"}
    assert table.array["flag"].mask.tolist() == [False, False, False, True]
    assert table.array["class"].mask.tolist() == [False, False, False, True]


def test_ecsv_says_ucd(tmp_path: Path) -> None:
    seen = Table.read(written(tmp_path / "t.ecsv", ROWS), format="ascii.ecsv")
    assert {name: seen[name].meta["ucd"] for name in seen.colnames} == {f.name: about(f)["ucd"] for f in SCHEMA}
    assert seen["flag"].mask.tolist() == [False, False, False, True]
    assert seen.meta["model"] == "default"


def test_parquet_holds_a_votable_of_its_columns(tmp_path: Path) -> None:
    path = written(tmp_path / "t.parquet", ROWS)
    told = pyarrow.parquet.read_metadata(path).metadata
    assert told[b"IVOA.VOTable-Parquet.version"] == b"1.0"
    (tmp_path / "t.vot").write_bytes(told[b"IVOA.VOTable-Parquet.content"])
    table = votable.parse(tmp_path / "t.vot", verify="exception").get_first_table()
    assert [field.ucd for field in table.fields] == [about(field)["ucd"] for field in SCHEMA]
    assert len(table.array) == 0


# ---------------------------------------------------------------- TOPCAT's reader


def stilts(*words: object) -> str:
    if not shutil.which("stilts"):
        pytest.skip("stilts is not installed")
    done = subprocess.run(["stilts", *map(str, words)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


@pytest.mark.slow
def test_votlint_has_nothing_to_say_of_our_votable(tmp_path: Path) -> None:
    rich = table_schema(TREE, TableLayout(False, True)).with_metadata(SCHEMA.metadata)
    for name, table in {"values": ROWS, "predictions": rich.empty_table()}.items():
        said = stilts("votlint", written(tmp_path / f"{name}.vot", table))
        assert [line for line in said.splitlines() if not line.startswith("INFO")] == []


@pytest.mark.slow
@pytest.mark.parametrize("ending", [".fits", ".vot", ".csv", ".ecsv"])
def test_stilts_reads_our_tables_and_we_read_its(tmp_path: Path, ending: str) -> None:
    table = ROWS.drop_columns("vector") if ending == ".csv" else ROWS
    if ending != ".vot":  # stilts reads no UTF-8 elsewhere
        table = table.set_column(0, SCHEMA.field("id"), pa.array(["1", 'o "<&>"', "", None]))
    path = written(tmp_path / f"t{ending}", table)
    kind = {".vot": "votable"}.get(ending, ending[1:])
    again = tmp_path / "again.vot"
    stilts("tcopy", f"ifmt={kind}", "ofmt=votable", path, again)
    got = read_table(again)
    if ending == ".csv":  # without types: stilts takes short decimals for single precision
        np.testing.assert_allclose(got["ra"].to_numpy()[:2], table["ra"].to_numpy()[:2], rtol=1e-7)
        assert got["id"].to_pylist()[:2] == table["id"].to_pylist()[:2]
        assert got["flag"].to_pylist() == table["flag"].to_pylist()
    else:
        assert rows_of(got) == rows_of(table)
        meant = {field.name: about(field) for field in table.schema}
        for field in got.schema:
            told = about(field)
            assert told["ucd"] == meant[field.name]["ucd"], ending
            assert told.get("unit", "") == meant[field.name].get("unit", "")
            assert told["description"] == meant[field.name]["description"]
