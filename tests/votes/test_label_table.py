"""Label tables are judged cell by cell."""

from __future__ import annotations

import contextlib
import csv
import math
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tuningfork.tables import CatalogError, RowError
from tuningfork.votes.label_table import labels_from_table, read_labels
from tuningfork.votes.tree import DecisionTree
from tuningfork.votes.tree_files import load_tree

TREE = load_tree("gz2")
QUICK = settings(derandomize=True)
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
    table = read_labels(csv_file(tmp_path, rows_of(100008, 100023)), TREE)
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
    table = read_labels(csv_file(tmp_path, rows_of(1, 2), **options), TREE)
    assert table.ids == ("1", "2")
    assert (table.values == 0.5).all()
    assert not table.errors


@pytest.mark.parametrize("end", ["", "\n", "\n\n\n"])
def test_the_last_line_may_end_in_any_way(tmp_path: Path, end: str) -> None:
    path = csv_file(tmp_path, rows_of(1, 2))
    path.write_text(path.read_text().rstrip("\n") + end)
    assert read_labels(path, TREE).ids == ("1", "2")


@pytest.mark.parametrize("name", ["GalaxyID", "GalaxyId"])
def test_both_spellings_of_the_id_column_are_known(tmp_path: Path, name: str) -> None:
    assert read_labels(csv_file(tmp_path, rows_of(1), [name, *TREE.columns]), TREE).ids == ("1",)


def test_without_an_id_column_its_names_are_told(tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match=r"labels\.csv: no ID column; call it GalaxyID or GalaxyId"):
        read_labels(csv_file(tmp_path, rows_of(1), ["objid", *TREE.columns]), TREE)


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    header = [name for name in HEADER if name != "Class3.1"]
    rows = [row[:-1] for row in rows_of(1)]
    with pytest.raises(CatalogError, match=r"labels\.csv: column 'Class3\.1' is missing; add it, with blank cells"):
        read_labels(csv_file(tmp_path, rows, header), TREE)


@pytest.mark.parametrize("name", ["class3.1", "Class3_1", "Class 3.1", "Clas3.1"])
def test_a_renamed_column_is_suggested(tmp_path: Path, name: str) -> None:
    header = [name if column == "Class3.1" else column for column in HEADER]
    with pytest.raises(CatalogError, match=f"'Class3.1' is missing; is '{name}' meant\\? rename it"):
        read_labels(csv_file(tmp_path, rows_of(1), header), TREE)


def test_a_column_that_appears_twice_is_refused(tmp_path: Path) -> None:
    rows = [[*row, 0.5] for row in rows_of(1)]
    with pytest.raises(CatalogError, match=r"column 'Class2\.1' appears 2 times; keep one"):
        read_labels(csv_file(tmp_path, rows, [*HEADER, "Class2.1"]), TREE)


def test_other_columns_are_listed_and_ignored(tmp_path: Path) -> None:
    rows = [["a note, with commas\nand lines", *row, "x"] for row in rows_of(1, 2)]
    table = read_labels(csv_file(tmp_path, rows, ["notes, if any", *HEADER, "Class12.1"]), TREE)
    assert table.extra_columns == ("notes, if any", "Class12.1")
    assert table.ids == ("1", "2")


def test_the_order_of_columns_does_not_matter(tmp_path: Path) -> None:
    values = [round(0.01 * number, 2) for number in range(37)]
    path = csv_file(tmp_path, [[*reversed(values), 7]], [*reversed(TREE.columns), "GalaxyID"])
    assert read_labels(path, TREE).values.tolist() == [values]


@pytest.mark.parametrize("cell", ["", "nan", "NaN", "  "])
def test_a_blank_cell_is_unknown(tmp_path: Path, cell: str) -> None:
    rows = rows_of(1, 2)
    rows[0][1] = cell
    table = read_labels(csv_file(tmp_path, rows), TREE)
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
    ("½", "'½' is not a number; leave the cell blank if it is unknown"),
])  # fmt: skip
def test_a_cell_that_is_no_fraction_costs_its_row(tmp_path: Path, cell: str, reason: str) -> None:
    rows = rows_of(11, 12, 13)
    rows[1][5] = cell
    path = csv_file(tmp_path, rows)
    table = read_labels(path, TREE)
    assert table.ids == ("11", "13")
    assert table.errors == (RowError(str(path), 2, "12", "Class2.2", reason),)
    assert str(table.errors[0]) == f"{path}, row 2 (12), column Class2.2: {reason}"


@pytest.mark.parametrize(
    ("cell", "value"), [("1.000000001", 1.0), ("-1e-9", 0.0), ("1e0", 1.0), (" 0.25 ", 0.25), ("5e-1", 0.5)]
)
def test_rounding_beyond_the_ends_is_clipped(tmp_path: Path, cell: str, value: float) -> None:
    rows = rows_of(1)
    rows[0][1] = cell
    table = read_labels(csv_file(tmp_path, rows), TREE)
    assert table.values[0, 0] == value
    assert not table.errors


def test_the_first_of_two_rows_with_one_id_is_kept(tmp_path: Path) -> None:
    rows = rows_of(1, 2, 1, 1)
    rows[0][1] = 0.25
    table = read_labels(csv_file(tmp_path, rows), TREE)
    assert table.ids == ("1", "2")
    assert table.values[0, 0] == 0.25
    assert [(error.row, error.id, error.column) for error in table.errors] == [
        (3, "1", "GalaxyID"),
        (4, "1", "GalaxyID"),
    ]
    assert table.errors[0].reason == "the ID came before, in row 1; the first is kept"


def test_a_row_without_id_is_reported(tmp_path: Path) -> None:
    path = csv_file(tmp_path, rows_of("", "  ", 3))
    table = read_labels(path, TREE)
    assert table.ids == ("3",)
    assert [str(error) for error in table.errors] == [
        f"{path}, row {row}, column GalaxyID: no ID; give the galaxy one" for row in (1, 2)
    ]


def test_ids_are_text_and_keep_their_zeros(tmp_path: Path) -> None:
    ids = ("007", "587722984435351614", "ζ-1", "1e5")
    assert read_labels(csv_file(tmp_path, rows_of(*ids)), TREE).ids == ids


def test_ids_that_are_floats_in_other_formats_are_whole_numbers() -> None:
    columns = {"GalaxyID": pa.array([100008.0, None, math.nan]), **{c: pa.array([0.5] * 3) for c in TREE.columns}}
    table = labels_from_table(pa.table(columns), TREE, "memory")
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
    (error,) = labels_from_table(pa.table(columns), TREE, "memory").errors
    assert error.column == "Class1.1"
    assert "is not a number" in error.reason


def test_only_the_first_error_of_a_row_is_told(tmp_path: Path) -> None:
    rows = rows_of(1, value="x")
    assert len(read_labels(csv_file(tmp_path, rows), TREE).errors) == 1


@pytest.mark.parametrize("text", ["", "\n"])
def test_an_empty_file_is_told(tmp_path: Path, text: str) -> None:
    (tmp_path / "labels.csv").write_text(text)
    with pytest.raises(CatalogError, match=r"labels\.csv: the file is empty; a line with the columns' names"):
        read_labels(tmp_path / "labels.csv", TREE)


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_a_header_alone_is_a_table_without_rows(tmp_path: Path, end: str) -> None:
    (tmp_path / "labels.csv").write_text(",".join(HEADER) + end)
    table = read_labels(tmp_path / "labels.csv", TREE)
    assert table.ids == ()
    assert table.values.shape == (0, 37)


@pytest.mark.parametrize("change", [lambda row: [*row, 0.5], lambda row: row[:-1], lambda row: row[:1]])
def test_a_ragged_line_is_named(tmp_path: Path, change: object) -> None:
    rows = rows_of(1, 2, 3)
    rows[1] = change(rows[1])
    table = read_labels(csv_file(tmp_path, rows), TREE)
    assert table.ids == ("1", "3")
    (error,) = table.errors
    assert (error.row, error.id) == (2, "2")
    assert error.reason == f"{len(rows[1])} cells where the header has 38; mend the row"


def test_a_line_that_is_ragged_and_not_utf8_is_named(tmp_path: Path) -> None:
    path = csv_file(tmp_path, rows_of(1))
    path.write_bytes(path.read_bytes() + b"2,\xe9\n")
    table = read_labels(path, TREE)
    assert table.ids == ("1",)
    assert [(error.row, error.id, error.reason[:7]) for error in table.errors] == [(2, "2", "2 cells")]


def test_text_that_is_not_utf8_is_as_in_a_catalogue_of_images(tmp_path: Path) -> None:
    assert read_labels(csv_file(tmp_path, rows_of("é"), encoding="latin-1"), TREE).ids == (r"\xe9",)


def test_an_open_quote_does_not_swallow_rows_in_silence(tmp_path: Path) -> None:
    path = csv_file(tmp_path, rows_of(1, 2, 3))
    path.write_text(path.read_text().replace("\n2,", '\n"2,'))
    with pytest.raises(CatalogError, match=r"lines 3 to 4: is a quotation mark not closed\?"):
        read_labels(path, TREE)


def test_a_table_of_counts_takes_any_number_but_negative_ones(tmp_path: Path) -> None:
    tree = replace(TREE, values="counts")
    rows = rows_of(1, 2, 3, value=40)
    rows[1][1], rows[2][1] = -3, "inf"
    table = read_labels(csv_file(tmp_path, rows), tree)
    assert table.values.tolist() == [[40] * 37]
    assert [error.reason.split(";")[0] for error in table.errors] == [
        "-3 is negative or not finite",
        "inf is negative or not finite",
    ]


@given(st.lists(st.lists(st.none() | st.floats(0, 1), min_size=37, max_size=37), min_size=1, max_size=5))
@settings(QUICK, max_examples=25)
def test_any_fractions_are_read_to_the_last_bit(tmp_path_factory: pytest.TempPathFactory, votes: list[list]) -> None:
    rows = [[number, *("" if v is None else repr(v) for v in row)] for number, row in enumerate(votes)]
    table = read_labels(csv_file(tmp_path_factory.mktemp("votes"), rows), TREE)
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
        read_labels(path, TREE)


def test_the_real_table_is_read(shared: Path, gz2: DecisionTree) -> None:
    path = shared / "data/gz2_kaggle/training_solutions_rev1.csv"
    table = read_labels(path, gz2)
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
    table = read_labels(path, TREE)
    assert len(table.ids) == 61_578 - bad
    assert time.process_time() - start < 10
