"""Tables keep their values, nulls, units and descriptions in every format."""

from __future__ import annotations

import bz2
import csv
import gzip
import importlib
import io
import math
import os
import sys
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas
import pyarrow as pa
import pyarrow.parquet
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tuningfork.model.prediction_columns import kaggle_schema, output_schema
from tuningfork.tables import (
    CatalogError,
    Column,
    Format,
    arrow_schema,
    format_of,
    formats,
    read_table,
    table_writer,
    unheld_columns,
    write_table,
)
from tuningfork.tables.csv import csv_text
from tuningfork.tables.csv_rows import CsvReader
from tuningfork.votes.label_table import read_labels
from tuningfork.votes.tree_files import load_tree

fits = pytest.importorskip("astropy.io.fits")
votable = pytest.importorskip("astropy.io.votable")
from astropy.table import Table
from astropy.utils.exceptions import AstropyUserWarning

TREE = load_tree("gz2")
ENDINGS = [".csv", ".parquet", ".fits", ".vot", ".ecsv"]
QUICK = settings(max_examples=50, derandomize=True)
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
        "warning": pa.array(["", "a part without data", "", ""]),
        "error": pa.array(["", "", "", REASON]),
        "class": pa.array([0, 6, 3, None], pa.int8()),
        "description": pa.array(["smooth, completely round, nothing odd", "star or artifact", "edge-on disk, “ö”", ""]),
        "class_name": pa.array(["completely round", "irregular", "lenticular", ""]),
        "nearest_class": pa.array(["completely round", "irregular", "lenticular", None]),
        "clean_class": pa.array(["completely round", None, "lenticular", None]),
        "out_of_domain": pa.array([False, True, False, None]),
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
    read = read_labels(path, TREE)
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
    assert [row["clean_class"] for row in rows] == ["completely round", "", "lenticular", ""]
    assert [row["out_of_domain"] for row in rows] == ["false", "true", "false", ""]
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
        assert data["clean_class"].tolist() == ["completely round", "", "lenticular", ""]
        hdus.verify("exception")
    with fits.open(path, logical_as_bytes=True) as hdus:
        assert hdus[1].data["out_of_domain"].tobytes() == b"FTF\0"
    with pytest.warns(AstropyUserWarning, match="NULL"):  # astropy's own reader knows no unknown truth
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
    assert same(seen.array["clean_class"], ["completely round", None, "lenticular", None])


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
        assert all(len(text) > 9 for text, _ in described(schema).values())


def test_without_astropy_its_formats_name_the_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "astropy.table", None)
    for ending in (".fits", ".ecsv"):
        with pytest.raises(CatalogError, match=r"pip install '\.\[sky\]'"), \
             table_writer(tmp_path / f"t{ending}", prediction_schema()):  # fmt: skip
            pytest.fail("the work began")
    assert os.listdir(tmp_path) == []


# ---------------------------------------------------------------- files


def test_extensions_are_told_apart_in_either_case() -> None:
    for ending, kind in formats().items():
        assert format_of(f"a{ending}") is format_of(Path(f"b{ending.upper()}")) is format_of(f"c{ending}.gz") is kind


@pytest.mark.parametrize("name", ["a.txt", "a", "a.gz", "a.xlsx", ".csv"])
def test_another_extension_is_refused_with_the_list(tmp_path: Path, name: str) -> None:
    for act in (format_of, read_table, lambda path: read_labels(path, TREE)):
        with pytest.raises(CatalogError, match=r"is none of \.csv, \.tsv, \.parquet") as caught:
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
        read_labels(path, TREE)
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


def test_columns_of_any_shape_do_not_matter(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    cube = np.arange(24.0).reshape(2, 3, 4)
    columns = {"id": [1, 2], "cube": cube, "flags": [[True, False], [False, True]], "names": [["a", "b"], ["c", "d"]]}
    columns |= {"wave": np.array([1j, 2j]), "waves": np.ones((2, 2), complex), "none": np.empty((2, 0))}
    Table(columns).write(tmp_path / "t.fits")
    table = read_table(tmp_path / "t.fits")
    assert table["id"].to_pylist() == [1, 2]
    assert table["cube"].to_pylist() == cube.tolist()
    assert table["flags"].to_pylist() == columns["flags"]
    assert [record.args[1] for record in caplog.records] == ["wave", "waves", "none"]
    assert set(unheld_columns("a.csv", table.schema)) >= {"cube", "flags"}


def test_units_that_fits_does_not_know_are_no_trouble(tmp_path: Path) -> None:
    column = fits.Column(name="a", format="E", unit="furlong", array=[1.0, 2.0])
    fits.HDUList([fits.PrimaryHDU(), fits.BinTableHDU.from_columns([column])]).writeto(tmp_path / "t.fits")
    assert read_table(tmp_path / "t.fits")["a"].to_pylist() == [1, 2]


# ---------------------------------------------------------------- compressed, commented, hostile


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize(
    ("extension", "kind", "compress"), [(".gz", "gzip", gzip.compress), (".bz2", "bzip2", bz2.compress)]
)
def test_compressed_tables_are_read(
    tmp_path: Path, ending: str, extension: str, kind: str, compress: Callable[[bytes], bytes]
) -> None:
    plain = written(tmp_path / f"t{ending}", predictions(prediction_schema()))
    packed = tmp_path / f"u{ending}{extension}"
    packed.write_bytes(compress(plain.read_bytes()))
    assert str(read_table(packed).to_pylist()) == str(read_table(plain).to_pylist())
    packed.write_bytes(packed.read_bytes()[:-9])
    with pytest.raises(CatalogError, match=rf"u\..*cannot be read as {kind}"):
        read_table(packed)
    # A block of a kind that there is not.
    packed.write_bytes(packed.read_bytes()[:10] + b"\xff" * 99)
    with pytest.raises(CatalogError, match=rf"u\..*cannot be read as {kind}"):
        read_table(packed)
    with pytest.raises(CatalogError, match=rf"leave out \{extension}"), table_writer(packed, prediction_schema()):
        pytest.fail("the work began")


@pytest.mark.parametrize(
    "head",
    ["#Table1\n", "# made by, a tool\n\n# 2026\n", "\n\n", "\ufeff#Table1\r\n", "#id,ra\n", "# id , ra\n#id,ra\n"],
)
def test_comment_lines_before_the_header(tmp_path: Path, head: str) -> None:
    path = tmp_path / "t.csv"
    header = "" if "id" in head else "id,ra\n"
    path.write_text(f"{head}{header}007,1.5\n008,2.5\n", "utf-8")
    table = read_table(path)
    assert table.to_pydict() == {"id": ["007", "008"], "ra": [1.5, 2.5]}
    assert read_table(path, text=True)["ra"].to_pylist() == ["1.5", "2.5"]
    reader = CsvReader(path.read_text("utf-8-sig").splitlines(keepends=True))
    assert (reader.names, list(reader.rows())) == (["id", "ra"], [(["007", "1.5"], ""), (["008", "2.5"], "")])


def test_identifiers_in_csv_keep_their_zeros(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("GalaxyID,objid,n\n007,7,007\n8,,8\n")
    table = read_table(tmp_path / "t.csv")
    assert table.to_pydict() == {"GalaxyID": ["007", "8"], "objid": [7, None], "n": ["007", "8"]}


#: What spreadsheets take for a formula, and texts that look like one that is escaped.
FORMULAS = [
    "=1+1",
    "+cmd|' /C calc'!A0",
    "-2+3",
    "@SUM(A1)",
    "\t=1",
    "'=1",
    "''=1",
    "'x",
    "x=1",
    "-12.5",
    "+3e5",
    "-",
    "",
]


def test_no_cell_is_a_formula_and_none_is_changed(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    write_table(path, pa.table({"text": FORMULAS, "n": list(range(len(FORMULAS)))}))
    text = path.read_text()
    assert csv_text([["text", "n"], *([name, n] for n, name in enumerate(FORMULAS))]).count("'") == text.count("'")
    raw = [row[0] for row in csv.reader(text.splitlines())][1:]
    assert [
        cell for cell in raw if cell[:1] in ("=", "@", "\t") or (cell[:1] in ("+", "-") and cell not in FORMULAS)
    ] == []
    assert raw[9:11] == ["-12.5", "+3e5"]
    for options in ({}, {"text": True}):
        assert read_table(path, **options)["text"].fill_null("").to_pylist() == FORMULAS
    reader = CsvReader(path.read_text().splitlines(keepends=True))
    assert [cells[0] for cells, _ in reader.rows()] == FORMULAS


def document(data: str, head: str = "") -> str:
    return (
        f"<?xml version='1.0'?>{head}<VOTABLE version='1.4' xmlns='http://www.ivoa.net/xml/VOTable/v1.3'><RESOURCE><TABLE>"
        f"<FIELD name='a' datatype='int'/><DATA>{data}</DATA></TABLE></RESOURCE></VOTABLE>"
    )


def test_votables_that_refer_elsewhere_are_refused_before_parsing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(bytes([0, 0, 0, 7]))
    monkeypatch.setattr(urllib.request, "urlopen", lambda *a, **k: pytest.fail("fetched"))
    streams = [f"<BINARY><STREAM href='{secret.as_uri()}'/></BINARY>", "<FITS><STREAM href='http://h/x'/></FITS>"]
    streams += [f"<BINARY><v:STREAM xmlns:v='http://www.ivoa.net/xml/VOTable/v1.3' href='{secret.as_uri()}'/></BINARY>"]
    path = tmp_path / "t.vot"
    for stream in streams:
        path.write_text(document(stream))
        with pytest.raises(CatalogError, match="elsewhere"):
            read_table(path)
        (tmp_path / "t.vot.gz").write_bytes(gzip.compress(path.read_bytes()))
        with pytest.raises(CatalogError, match="elsewhere"):
            read_table(tmp_path / "t.vot.gz")
    path.write_text(document("<TABLEDATA><TR><TD>&x;</TD></TR></TABLEDATA>", "<!DOCTYPE a [<!ENTITY x '7'>]>"))
    with pytest.raises(CatalogError, match="entities"):
        read_table(path)
    path.write_text(document("<TABLEDATA><TR><TD>7</TD></TR></TABLEDATA>"))
    assert read_table(path)["a"].to_pylist() == [7]


def test_aliases_of_yaml_are_refused(tmp_path: Path) -> None:
    lines = [
        "%ECSV 1.0",
        "---",
        "datatype:",
        "- {name: a, datatype: int64}",
        "meta: !!omap",
        "- a0: &a0 [x, x, x, x, x, x, x, x, x]",
    ]
    lines += [f"- a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    path = tmp_path / "t.ecsv"
    path.write_text("".join(f"# {line}\n" for line in lines) + "a\n1\n")
    with pytest.raises(CatalogError, match="YAML aliases"):
        read_table(path)


def test_a_parquet_file_of_one_huge_value_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    value = pa.array(["x" * 2**20])
    column = pa.DictionaryArray.from_arrays(pa.array(np.zeros(100_000, np.int32)), value)
    table = pa.table({"id": column, "n": np.arange(100_000)})
    for keep in (True, False):
        pq.write_table(table, path, store_schema=keep)
        assert path.stat().st_size < 2**21
        with pytest.raises(CatalogError, match="unpacks to"):
            read_table(path)


def test_other_packages_add_formats(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def read(path: Path) -> pa.Table:
        return pa.table({"line": Path(path).read_text().splitlines()})

    @contextmanager
    def write(path: Path, schema: pa.Schema) -> Iterator[Callable[[pa.Table], None]]:
        with open(path, "w") as file:
            yield lambda table: file.writelines(f"{line}\n" for line in table["line"].to_pylist())

    example = Format("lines", (".lines",), read, write, vectors=False)
    point = SimpleNamespace(load=lambda: example)
    broken = SimpleNamespace(name="broken", value="elsewhere:FORMAT", load=lambda: importlib.import_module("elsewhere"))
    found = {"tuningfork.formats": [broken, point]}
    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: found.get(group, []))
    formats.cache_clear()
    try:
        write_table(tmp_path / "t.lines", pa.table({"line": ["a", "b"]}))
        assert read_table(tmp_path / "t.lines")["line"].to_pylist() == ["a", "b"]
        assert list(formats())[-1] == ".lines"
        assert "table format broken (elsewhere:FORMAT) cannot be loaded: No module named" in caplog.text
    finally:
        formats.cache_clear()


def test_a_parquet_column_whose_name_is_no_text(tmp_path):
    file = tmp_path / "t.parquet"
    pq.write_table(pa.table({"id": ["a"], "zebra": [1]}), file)
    file.write_bytes(file.read_bytes().replace(b"zebra", b"z\x8ebra"))
    with pytest.raises(CatalogError, match="cannot be read as parquet"):
        read_table(file)


def test_what_other_programs_say_of_a_parquet_files_columns_is_not_said_of_another_table(tmp_path: Path) -> None:
    source = tmp_path / "t.parquet"
    Table({"id": [1], "ra": [1.5]}).write(source)
    table = read_table(source)
    write_table(tmp_path / "u.parquet", table.append_column("z", pa.array([0.5])))
    assert Table.read(tmp_path / "u.parquet").colnames == ["id", "ra", "z"]


def test_an_index_of_pandas_that_counts_the_rows_is_a_column(tmp_path: Path) -> None:
    from tuningfork.inputs.catalogues import table_items

    path = tmp_path / "t.parquet"
    frame = pandas.DataFrame({"path": ["a.jpg", "b.jpg"]}, index=pandas.RangeIndex(7, 9, name="objid"))
    frame.to_parquet(path)
    assert read_table(path).to_pydict() == {"path": ["a.jpg", "b.jpg"], "objid": [7, 8]}
    assert [item.id for item in table_items(str(path))] == ["7", "8"]
    frame.reset_index(drop=True).to_parquet(path)
    assert read_table(path).column_names == ["path"]


@pytest.mark.parametrize(
    ("cards", "frame"),
    [
        ({"EQUINOX": "B1950"}, "FK4"),
        ({"EQUINOX": "1950.0"}, "FK4"),
        ({"EQUINOX": "J2000"}, ""),
        ({"RADESYS": "FK5", "EQUINOX": "2015.5"}, "FK5 of the equinox 2015.5"),
    ],
)
def test_an_equinox_may_be_text(tmp_path: Path, cards: dict[str, str], frame: str) -> None:
    hdu = fits.BinTableHDU.from_columns([fits.Column("RA", "D", array=[1.5])])
    hdu.header.update(cards)
    hdu.writeto(tmp_path / "t.fits")
    metadata = read_table(tmp_path / "t.fits").schema.field("RA").metadata or {}
    assert metadata.get(b"frame", b"").decode() == frame
