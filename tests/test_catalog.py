"""Tables keep their values, nulls, units and descriptions; label tables are judged cell by cell."""

from __future__ import annotations

import contextlib
import csv
import io
import math
import os
import sys
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas
import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tuningfork.catalog import (
    FORMATS,
    CatalogError,
    Column,
    RowError,
    arrow_schema,
    read_table,
    read_votes,
    table_format,
    table_writer,
    votes_from_table,
)
from tuningfork.predictions import kaggle_schema, output_schema
from tuningfork.schema import Tree, load_tree

fits = pytest.importorskip("astropy.io.fits")
votable = pytest.importorskip("astropy.io.votable")
from astropy.table import Table  # noqa: E402

TREE = load_tree("gz2")
ENDINGS = [".csv", ".parquet", ".fits", ".vot", ".ecsv"]
QUICK = settings(max_examples=50, deadline=None, derandomize=True)
IDS = ["100008", "ζ Reticuli", 'with "quotes", commas', "two\nlines"]
REASON = "damaged or truncated file: größer “als” 2 × 3, schade"


def prediction_schema() -> pa.Schema:
    radius = arrow_schema([Column("petro_r90", pa.float64(), "Petrosian radius (90 % of the light)", "arcsec")])
    return pa.schema([*output_schema(TREE), *radius])


def predictions(schema: pa.Schema) -> pa.Table:
    """Four rows; the last has no prediction, the third a question that nobody was asked."""
    rng = np.random.default_rng(0)
    columns = {}
    for field in schema:
        if pa.types.is_floating(field.type):
            values = rng.random(4).astype(field.type.to_pandas_dtype())
            if field.name.startswith("bulge_shape"):
                values[2] = np.nan
            columns[field.name] = pa.array(values, mask=np.array([False, False, False, True]))
    columns |= {
        "id": pa.array(IDS),
        "path": pa.array(["a.jpg", "ö/b.jpg", "c.jpg", "d.jpg"]),
        "error": pa.array(["", "", "", REASON]),
        "class": pa.array([0, 6, 3, None], pa.int8()),
        "class_name": pa.array(["completely round", "irregular", "lenticular", ""]),
        "clean": pa.array([True, False, True, False]),
    }
    return pa.table([columns[field.name] for field in schema], schema=schema)


def written(path: Path, *tables: pa.Table, schema: pa.Schema | None = None) -> Path:
    with table_writer(path, schema or tables[0].schema) as write:
        for table in tables:
            write(table)
    return path


def described(schema: pa.Schema) -> dict[str, tuple[str, str]]:
    return {
        field.name: (field.metadata[b"description"].decode(), field.metadata.get(b"unit", b"").decode())
        for field in schema
    }


def same(got: Iterable[object], expected: Iterable[object]) -> bool:
    """Equal, where a missing text is the empty one and a missing number is not a number."""

    def plain(value: object) -> object:
        if value is None or value is np.ma.masked or (isinstance(value, float | np.floating) and math.isnan(value)):
            return ""
        return value.decode() if isinstance(value, bytes) else value

    return [plain(v) for v in got] == [plain(v) for v in expected]


# ---------------------------------------------------------------- out and in again


@pytest.mark.parametrize("ending", ENDINGS)
def test_predictions_come_back_as_they_were(tmp_path: Path, ending: str) -> None:
    table = predictions(prediction_schema())
    again = read_table(written(tmp_path / f"t{ending}", table))
    assert again.column_names == table.column_names
    for name in table.column_names:
        got, expected = again[name].to_pylist(), table[name].to_pylist()
        if pa.types.is_floating(table.schema.field(name).type):
            expected = [math.nan if value is None else value for value in expected]
            got = [math.nan if value is None else value for value in got]
            # A CSV's shortest decimals of a float32 are read as a float64.
            np.testing.assert_allclose(got, expected, rtol=1e-7 if ending == ".csv" else 0)
        else:
            assert same(got, expected), name
    assert again["class"].null_count == 1


@pytest.mark.parametrize("ending", ENDINGS)
def test_tables_are_written_in_parts(tmp_path: Path, ending: str) -> None:
    table = predictions(prediction_schema())
    path = written(tmp_path / f"t{ending}", table, table.slice(0, 0), table.slice(1, 2))
    assert same(read_table(path)["id"].to_pylist(), [*IDS, *IDS[1:3]])


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_table_without_rows_keeps_its_columns(tmp_path: Path, ending: str) -> None:
    schema = prediction_schema()
    again = read_table(written(tmp_path / f"t{ending}", schema=schema))
    assert again.num_rows == 0
    assert again.column_names == schema.names


@pytest.mark.parametrize("ending", ENDINGS)
def test_an_error_leaves_the_old_table_and_nothing_else(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"t{ending}"
    path.write_text("old")
    table = predictions(prediction_schema())
    with pytest.raises(RuntimeError), table_writer(path, table.schema) as write:  # noqa: PT012
        write(table)
        raise RuntimeError
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == [path.name]


@pytest.mark.parametrize("ending", ENDINGS)
def test_whole_numbers_of_every_width_come_back(tmp_path: Path, ending: str) -> None:
    values = {
        "int8": [-128, 127, -1, None],
        "uint8": [0, 255, 1, None],
        "int16": [-32768, 32767, -1, None],
        "int32": [-(2**31), 2**31 - 1, -1, None],
        "uint32": [0, 2**32 - 1, 1, None],
        "int64": [-(2**62), 2**62, -1, None],
    }
    schema = arrow_schema([Column(name, getattr(pa, name)(), "a count") for name in values])
    again = read_table(written(tmp_path / f"t{ending}", pa.table(values, schema=schema)))
    assert again.to_pydict() == values


@given(
    st.lists(st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=8).map(str.strip), min_size=1, max_size=4)
)
@settings(QUICK, max_examples=15)
def test_any_text_comes_back_from_every_format(tmp_path_factory: pytest.TempPathFactory, texts: list[str]) -> None:
    folder = tmp_path_factory.mktemp("texts")
    schema = arrow_schema([Column("n", pa.int8(), "a number"), Column("text", pa.string(), "a text")])
    table = pa.table({"n": [1] * len(texts), "text": texts}, schema=schema)
    for ending in ENDINGS:
        again = read_table(written(folder / f"t{ending}", table), text=True)["text"].to_pylist()
        assert same(again, texts), ending


@pytest.mark.parametrize("ending", ENDINGS)
def test_any_description_unit_and_name_can_be_written(tmp_path: Path, ending: str) -> None:
    schema = arrow_schema([
        Column("größe", pa.float64(), "Größe\nin zwei Zeilen – 2 × 3 " + "und weiter " * 30, "arcsec"),
        Column("flux", pa.float64(), "Flux", "nanomaggy"),
        Column("odd", pa.float64(), "", "furlong per fortnight!"),
    ])  # fmt: skip
    path = written(tmp_path / f"t{ending}", pa.table([[1.5, 2.5]] * 3, schema=schema))
    again = read_table(path)
    assert [column.to_pylist() for column in again.columns] == [[1.5, 2.5]] * 3
    assert again.column_names[1:] == ["flux", "odd"]


@pytest.mark.parametrize("ending", ENDINGS)
def test_the_campaigns_own_layout_can_be_read_as_votes(tmp_path: Path, ending: str) -> None:
    values = np.random.default_rng(1).random((3, 37))
    arrays = [pa.array(["1", "2", "3"]), *(pa.array(v, mask=np.array([False, False, True])) for v in values.T)]
    path = written(tmp_path / f"t{ending}", pa.table(arrays, schema=kaggle_schema(TREE)))
    read = read_votes(path, TREE)
    assert read.ids == ("1", "2", "3")
    assert not read.errors
    assert np.array_equal(read.values[:2], values[:2])
    assert np.isnan(read.values[2]).all()


# ---------------------------------------------------------------- what other readers see


def test_parquet_fields_carry_description_and_unit(tmp_path: Path) -> None:
    table = predictions(prediction_schema())
    path = written(tmp_path / "t.parquet", table)
    assert described(pyarrow.parquet.read_schema(path)) == described(table.schema)
    frame = pandas.read_parquet(path)
    assert list(frame.columns) == table.column_names
    assert same(frame["id"], IDS)
    assert frame["class"].isna().tolist() == [False, False, False, True]
    assert np.array_equal(frame["bar_yes_fraction"], table["bar_yes_fraction"].to_pandas(), equal_nan=True)


def test_csv_is_plain_for_pandas_and_for_csv(tmp_path: Path) -> None:
    table = predictions(prediction_schema())
    path = written(tmp_path / "t.csv", table)
    frame = pandas.read_csv(path, keep_default_na=False, na_values={"class": [""], "bar_yes_fraction": [""]})
    assert frame["id"].tolist() == IDS
    assert frame["error"].tolist() == ["", "", "", REASON]
    assert frame["class"].isna().tolist() == [False, False, False, True]
    np.testing.assert_allclose(frame["bar_yes_fraction"], table["bar_yes_fraction"].to_pandas(), rtol=1e-7)
    with open(path, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["id"] for row in rows] == IDS
    assert [row["clean"] for row in rows] == ["true", "false", "true", "false"]
    assert rows[3]["class"] == ""


def test_fits_headers_carry_name_unit_and_comment(tmp_path: Path) -> None:
    table = predictions(prediction_schema())
    path = written(tmp_path / "t.fits", table)
    with fits.open(path) as hdus:
        header, data = hdus[1].header, hdus[1].data
        assert header["TFIELDS"] == len(table.column_names)
        for number, (name, (text, unit)) in enumerate(described(table.schema).items(), 1):
            assert header[f"TTYPE{number}"] == name
            assert header[f"TCOMM{number}"] == text
            assert header.get(f"TUNIT{number}", "") == unit
        column = table.column_names.index("class") + 1
        assert data["class"].tolist() == [0, 6, 3, header[f"TNULL{column}"]]
        assert np.array_equal(data["petro_r90"][:3], table["petro_r90"].to_numpy()[:3])
        assert np.isnan(data["petro_r90"][3])
        assert data["clean"].tolist() == [True, False, True, False]
        hdus.verify("exception")
    seen = Table.read(path)
    assert same(seen["id"], IDS)
    assert same(seen["error"], ["", "", "", REASON])
    assert seen["class"].mask.tolist() == [False, False, False, True]
    assert str(seen["petro_r90"].unit) == "arcsec"


def test_votable_fields_carry_description_and_unit(tmp_path: Path) -> None:
    table = predictions(prediction_schema())
    path = written(tmp_path / "t.vot", table)
    assert votable.validate(path, io.StringIO())
    seen = votable.parse_single_table(path)
    for field, (name, (text, unit)) in zip(seen.fields, described(table.schema).items(), strict=True):
        # XML breaks long lines, at hyphens too.
        assert (field.name, "".join(field.description.split())) == (name, "".join(text.split()))
        assert str(field.unit or "") == unit
    assert same(seen.array["id"], IDS)
    assert same(seen.array["error"], ["", "", "", REASON])
    assert seen.array["class"].mask.tolist() == [False, False, False, True]
    assert seen.array["clean"].tolist() == [True, False, True, False]


def test_ecsv_header_carries_description_and_unit(tmp_path: Path) -> None:
    table = predictions(prediction_schema())
    path = written(tmp_path / "t.ecsv", table)
    assert path.read_text("utf-8").startswith("# %ECSV")
    seen = Table.read(path, format="ascii.ecsv")
    found = {name: (seen[name].description or "", str(seen[name].unit or "")) for name in seen.colnames}
    assert found == described(table.schema)
    assert same(seen["id"], IDS)
    assert same(seen["class"], [0, 6, 3, None])


def test_output_columns_are_all_described() -> None:
    for schema in (output_schema(TREE), kaggle_schema(TREE)):
        assert all(len(text) > 10 for text, _ in described(schema).values())


def test_without_astropy_its_formats_name_the_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "astropy.table", None)
    for ending in (".fits", ".vot", ".ecsv"):
        with pytest.raises(CatalogError, match=r"pip install 'tuningfork\[sky\]'"), \
             table_writer(tmp_path / f"t{ending}", prediction_schema()):  # fmt: skip
            pytest.fail("the work began")
    assert os.listdir(tmp_path) == []


# ---------------------------------------------------------------- files


@pytest.mark.parametrize("ending", FORMATS)
def test_extensions_are_told_apart_in_either_case(ending: str) -> None:
    assert table_format(f"a{ending}") == table_format(Path(f"b{ending.upper()}")) == FORMATS[ending]


@pytest.mark.parametrize("name", ["a.txt", "a", "a.csv.gz", "a.xlsx", ".csv"])
def test_another_extension_is_refused_with_the_list(tmp_path: Path, name: str) -> None:
    for act in (table_format, read_table, lambda path: read_votes(path, TREE)):
        with pytest.raises(CatalogError, match=r"is none of \.csv, \.parquet") as caught:
            act(tmp_path / name)
        assert name in str(caught.value)


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_missing_file_is_named(tmp_path: Path, ending: str) -> None:
    with pytest.raises(CatalogError, match=f"none{ending}: no such file; check its name"):
        read_table(tmp_path / f"none{ending}")


@pytest.mark.parametrize("content", [b"", b"\n", b"nonsense\n1\n", bytes(range(256)) * 20, b"\xff\xfe" + bytes(99)])
@pytest.mark.parametrize("ending", ENDINGS)
def test_a_damaged_file_is_named_with_a_remedy(tmp_path: Path, ending: str, content: bytes) -> None:
    path = tmp_path / f"t{ending}"
    path.write_bytes(content)
    with pytest.raises(CatalogError) as caught:
        read_votes(path, TREE)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert ";" in message
    assert "\n" not in message


@pytest.mark.parametrize("ending", ENDINGS[1:])
def test_a_truncated_table_is_refused(tmp_path: Path, ending: str) -> None:
    path = written(tmp_path / f"t{ending}", predictions(prediction_schema()))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 3])
    with pytest.raises(CatalogError, match="cannot be read as"):
        read_table(path)


def test_a_folder_is_no_table(tmp_path: Path) -> None:
    (tmp_path / "t.csv").mkdir()
    with pytest.raises(CatalogError, match="cannot be read as csv"):
        read_table(tmp_path / "t.csv")


def test_a_column_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    Table({"id": [1, 2], "spectrum": [[1.0, 2.0], [3.0, 4.0]]}).write(tmp_path / "t.fits")
    with pytest.raises(CatalogError, match=r"column 'spectrum' cannot be read.*; leave it out"):
        read_table(tmp_path / "t.fits")


def test_units_that_fits_does_not_know_are_no_trouble(tmp_path: Path) -> None:
    column = fits.Column(name="a", format="E", unit="furlong", array=[1.0, 2.0])
    fits.HDUList([fits.PrimaryHDU(), fits.BinTableHDU.from_columns([column])]).writeto(tmp_path / "t.fits")
    assert read_table(tmp_path / "t.fits")["a"].to_pylist() == [1, 2]


# ---------------------------------------------------------------- label tables


HEADER = ["GalaxyID", *TREE.columns]


def rows_of(*ids: object, value: object = 0.5) -> list[list[object]]:
    return [[id_, *[value] * 37] for id_ in ids]


def csv_file(folder: Path, rows: list[list[object]], header: list[str] = HEADER, **options: object) -> Path:
    path = folder / "labels.csv"
    with open(path, "w", encoding=str(options.pop("encoding", "utf-8")), newline="") as file:
        writer = csv.writer(file, lineterminator=str(options.pop("end", "\n")), **options)
        writer.writerows([header, *rows])
    return path


def test_a_plain_table_is_read(tmp_path: Path) -> None:
    table = read_votes(csv_file(tmp_path, rows_of(100008, 100023)), TREE)
    assert table.ids == ("100008", "100023")
    assert table.values.shape == (2, 37)
    assert (table.values == 0.5).all()
    assert (table.errors, table.extra_columns) == ((), ())


@pytest.mark.parametrize("options", [
    {"end": "\r\n"},
    {"encoding": "utf-8-sig"},
    {"encoding": "utf-8-sig", "end": "\r\n", "quoting": csv.QUOTE_ALL},
    {"quoting": csv.QUOTE_ALL},
    {"quoting": csv.QUOTE_NONNUMERIC},
])  # fmt: skip
def test_every_spelling_of_csv_is_the_same_table(tmp_path: Path, options: dict) -> None:
    table = read_votes(csv_file(tmp_path, rows_of(1, 2), **options), TREE)
    assert table.ids == ("1", "2")
    assert (table.values == 0.5).all()
    assert not table.errors


@pytest.mark.parametrize("end", ["", "\n", "\n\n\n"])
def test_the_last_line_may_end_in_any_way(tmp_path: Path, end: str) -> None:
    path = csv_file(tmp_path, rows_of(1, 2))
    path.write_text(path.read_text().rstrip("\n") + end)
    assert read_votes(path, TREE).ids == ("1", "2")


@pytest.mark.parametrize("name", ["GalaxyID", "GalaxyId"])
def test_both_spellings_of_the_id_column_are_known(tmp_path: Path, name: str) -> None:
    assert read_votes(csv_file(tmp_path, rows_of(1), [name, *TREE.columns]), TREE).ids == ("1",)


def test_without_an_id_column_its_names_are_told(tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match=r"labels\.csv: no ID column; call it GalaxyID or GalaxyId"):
        read_votes(csv_file(tmp_path, rows_of(1), ["objid", *TREE.columns]), TREE)


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    header = [name for name in HEADER if name != "Class3.1"]
    rows = [row[:-1] for row in rows_of(1)]
    with pytest.raises(CatalogError, match=r"labels\.csv: column 'Class3\.1' is missing; add it, with blank cells"):
        read_votes(csv_file(tmp_path, rows, header), TREE)


@pytest.mark.parametrize("name", ["class3.1", "Class3_1", "Class 3.1", "Clas3.1"])
def test_a_renamed_column_is_suggested(tmp_path: Path, name: str) -> None:
    header = [name if column == "Class3.1" else column for column in HEADER]
    with pytest.raises(CatalogError, match=f"'Class3.1' is missing; is '{name}' meant\\? rename it"):
        read_votes(csv_file(tmp_path, rows_of(1), header), TREE)


def test_a_column_that_appears_twice_is_refused(tmp_path: Path) -> None:
    rows = [[*row, 0.5] for row in rows_of(1)]
    with pytest.raises(CatalogError, match=r"column 'Class2\.1' appears 2 times; keep one"):
        read_votes(csv_file(tmp_path, rows, [*HEADER, "Class2.1"]), TREE)


def test_other_columns_are_listed_and_ignored(tmp_path: Path) -> None:
    rows = [["a note, with commas\nand lines", *row, "x"] for row in rows_of(1, 2)]
    table = read_votes(csv_file(tmp_path, rows, ["notes, if any", *HEADER, "Class12.1"]), TREE)
    assert table.extra_columns == ("notes, if any", "Class12.1")
    assert table.ids == ("1", "2")


def test_the_order_of_columns_does_not_matter(tmp_path: Path) -> None:
    values = [round(0.01 * number, 2) for number in range(37)]
    path = csv_file(tmp_path, [[*reversed(values), 7]], [*reversed(TREE.columns), "GalaxyID"])
    assert read_votes(path, TREE).values.tolist() == [values]


@pytest.mark.parametrize("cell", ["", "nan", "NaN", "  "])
def test_a_blank_cell_is_unknown(tmp_path: Path, cell: str) -> None:
    rows = rows_of(1, 2)
    rows[0][1] = cell
    table = read_votes(csv_file(tmp_path, rows), TREE)
    assert not table.errors
    assert np.isnan(table.values[0, 0])
    assert np.isfinite(table.values).sum() == 2 * 37 - 1


@pytest.mark.parametrize(("cell", "reason"), [
    ("1.5", "1.5 is outside [0, 1]; leave the cell blank if it is unknown"),
    ("-0.25", "-0.25 is outside [0, 1]; leave the cell blank if it is unknown"),
    ("inf", "inf is outside [0, 1]; leave the cell blank if it is unknown"),
    ("-inf", "-inf is outside [0, 1]; leave the cell blank if it is unknown"),
    ("1.00001", "1.00001 is outside [0, 1]; leave the cell blank if it is unknown"),
    ("many", "'many' is not a number; leave the cell blank if it is unknown"),
    ("0,5", "'0,5' is not a number; leave the cell blank if it is unknown"),
    ("N/A", "'N/A' is not a number; leave the cell blank if it is unknown"),
    ("½", "'½' is not a number; leave the cell blank if it is unknown"),
])  # fmt: skip
def test_a_cell_that_is_no_fraction_costs_its_row(tmp_path: Path, cell: str, reason: str) -> None:
    rows = rows_of(11, 12, 13)
    rows[1][5] = cell
    path = csv_file(tmp_path, rows)
    table = read_votes(path, TREE)
    assert table.ids == ("11", "13")
    assert table.errors == (RowError(str(path), 2, "12", "Class2.2", reason),)
    assert str(table.errors[0]) == f"{path}, row 2 (12), column Class2.2: {reason}"


@pytest.mark.parametrize(
    ("cell", "value"), [("1.000000001", 1.0), ("-1e-9", 0.0), ("1e0", 1.0), (" 0.25 ", 0.25), ("5e-1", 0.5)]
)
def test_rounding_beyond_the_ends_is_clipped(tmp_path: Path, cell: str, value: float) -> None:
    rows = rows_of(1)
    rows[0][1] = cell
    table = read_votes(csv_file(tmp_path, rows), TREE)
    assert table.values[0, 0] == value
    assert not table.errors


def test_the_first_of_two_rows_with_one_id_is_kept(tmp_path: Path) -> None:
    rows = rows_of(1, 2, 1, 1)
    rows[0][1] = 0.25
    table = read_votes(csv_file(tmp_path, rows), TREE)
    assert table.ids == ("1", "2")
    assert table.values[0, 0] == 0.25
    assert [(error.row, error.id, error.column) for error in table.errors] == [
        (3, "1", "GalaxyID"),
        (4, "1", "GalaxyID"),
    ]
    assert table.errors[0].reason == "the ID came before, in row 1; the first is kept"


def test_a_row_without_id_is_reported(tmp_path: Path) -> None:
    path = csv_file(tmp_path, rows_of("", "  ", 3))
    table = read_votes(path, TREE)
    assert table.ids == ("3",)
    assert [str(error) for error in table.errors] == [
        f"{path}, row {row}, column GalaxyID: no ID; give the galaxy one" for row in (1, 2)
    ]


def test_ids_are_text_and_keep_their_zeros(tmp_path: Path) -> None:
    ids = ("007", "587722984435351614", "ζ-1", "1e5")
    assert read_votes(csv_file(tmp_path, rows_of(*ids)), TREE).ids == ids


def test_ids_that_are_floats_in_other_formats_are_whole_numbers() -> None:
    columns = {"GalaxyID": pa.array([100008.0, None, math.nan]), **{c: pa.array([0.5] * 3) for c in TREE.columns}}
    table = votes_from_table(pa.table(columns), TREE, "memory")
    assert table.ids == ("100008",)
    assert len(table.errors) == 2


@pytest.mark.parametrize("cells", [
    pa.array([[0.5]]),
    pa.array([0], pa.timestamp("s")),
    pa.array(["x"]).dictionary_encode(),
    pa.array([{"a": 1}]),
])  # fmt: skip
def test_cells_of_another_type_are_row_errors(cells: pa.Array) -> None:
    columns = {"GalaxyID": pa.array(["1"]), **{c: pa.array([0.5]) for c in TREE.columns}, "Class1.1": cells}
    (error,) = votes_from_table(pa.table(columns), TREE, "memory").errors
    assert error.column == "Class1.1"
    assert "is not a number" in error.reason


def test_only_the_first_error_of_a_row_is_told(tmp_path: Path) -> None:
    rows = rows_of(1, value="x")
    assert len(read_votes(csv_file(tmp_path, rows), TREE).errors) == 1


@pytest.mark.parametrize("text", ["", "\n"])
def test_an_empty_file_is_told(tmp_path: Path, text: str) -> None:
    (tmp_path / "labels.csv").write_text(text)
    with pytest.raises(CatalogError, match=r"labels\.csv: the file is empty; a line with the columns' names"):
        read_votes(tmp_path / "labels.csv", TREE)


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_a_header_alone_is_a_table_without_rows(tmp_path: Path, end: str) -> None:
    (tmp_path / "labels.csv").write_text(",".join(HEADER) + end)
    table = read_votes(tmp_path / "labels.csv", TREE)
    assert table.ids == ()
    assert table.values.shape == (0, 37)


@pytest.mark.parametrize("change", [lambda row: [*row, 0.5], lambda row: row[:-1], lambda row: row[:1]])
def test_a_ragged_line_is_named(tmp_path: Path, change: object) -> None:
    rows = rows_of(1, 2, 3)
    rows[1] = change(rows[1])
    table = read_votes(csv_file(tmp_path, rows), TREE)
    assert table.ids == ("1", "3")
    (error,) = table.errors
    assert (error.row, error.id) == (2, "2")
    assert error.reason == f"{len(rows[1])} cells where the header has 38; mend the row"


def test_a_line_that_is_ragged_and_not_utf8_is_named(tmp_path: Path) -> None:
    path = csv_file(tmp_path, rows_of(1))
    path.write_bytes(path.read_bytes() + b"2,\xe9\n")
    with pytest.raises(CatalogError, match="Row #3: Expected 38 columns, got 2"):
        read_votes(path, TREE)


def test_text_that_is_not_utf8_is_told(tmp_path: Path) -> None:
    path = csv_file(tmp_path, rows_of("é"), encoding="latin-1")
    with pytest.raises(CatalogError, match="invalid UTF8 data"):
        read_votes(path, TREE)


def test_an_open_quote_does_not_swallow_rows_in_silence(tmp_path: Path) -> None:
    path = csv_file(tmp_path, rows_of(1, 2, 3))
    path.write_text(path.read_text().replace("\n2,", '\n"2,'))
    with pytest.raises(CatalogError, match="Expected 38 columns"):
        read_votes(path, TREE)


def test_a_table_of_counts_takes_any_number_but_negative_ones(tmp_path: Path) -> None:
    tree = replace(TREE, values="counts")
    rows = rows_of(1, 2, 3, value=40)
    rows[1][1], rows[2][1] = -3, "inf"
    table = read_votes(csv_file(tmp_path, rows), tree)
    assert table.values.tolist() == [[40] * 37]
    assert [error.reason.split(";")[0] for error in table.errors] == [
        "-3 is negative or not finite",
        "inf is negative or not finite",
    ]


@given(st.lists(st.lists(st.none() | st.floats(0, 1), min_size=37, max_size=37), min_size=1, max_size=5))
@settings(QUICK, max_examples=25)
def test_any_fractions_are_read_to_the_last_bit(tmp_path_factory: pytest.TempPathFactory, votes: list[list]) -> None:
    rows = [[number, *("" if v is None else repr(v) for v in row)] for number, row in enumerate(votes)]
    table = read_votes(csv_file(tmp_path_factory.mktemp("votes"), rows), TREE)
    expected = np.array([[math.nan if v is None else v for v in row] for row in votes])
    assert np.array_equal(table.values, expected, equal_nan=True)


@given(st.binary(max_size=200), st.booleans())
@settings(QUICK, max_examples=100)
def test_any_bytes_are_a_table_or_a_reason(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, headed: bool
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.csv"
    path.write_bytes((",".join(HEADER) + "\n").encode() + content if headed else content)
    with contextlib.suppress(CatalogError):
        read_votes(path, TREE)


def test_the_real_table_is_read(shared: Path, gz2: Tree) -> None:
    path = shared / "data/gz2_kaggle/training_solutions_rev1.csv"
    table = read_votes(path, gz2)
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    assert table.ids == tuple(row["GalaxyID"] for row in rows)
    expected = [[float(row[column]) if row[column] else math.nan for column in gz2.columns] for row in rows]
    assert np.array_equal(table.values, np.clip(expected, 0, 1), equal_nan=True)
    assert not table.errors


@pytest.mark.slow
@pytest.mark.parametrize("bad", [False, True])
def test_the_challenges_full_table_is_read_in_seconds(tmp_path: Path, bad: bool) -> None:
    values = np.random.default_rng(0).random((61_578, 37)).round(6).astype(str)
    if bad:
        values[0] = "x"
    path = csv_file(tmp_path, [[number, *row] for number, row in enumerate(values, 100_000)])
    start = time.process_time()
    table = read_votes(path, TREE)
    assert len(table.ids) == 61_578 - bad
    assert time.process_time() - start < 10
