"""A Kaggle submission: every fault named with its line, and the score of a plain loop."""

from __future__ import annotations

import csv
import json
import math
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import mean_squared_error
from typer.testing import CliRunner, Result

from tuningfork.cli import app
from tuningfork.evaluation import submission as module
from tuningfork.evaluation.evaluate import evaluate
from tuningfork.evaluation.kaggle import Score, SubmissionError, score
from tuningfork.model.prediction_columns import kaggle_schema
from tuningfork.tables import CatalogError, table_writer
from tuningfork.votes.fractions import conditional_from_logits, cumulative_from_conditional
from tuningfork.votes.label_table import read_labels
from tuningfork.votes.tree_files import load_tree

TREE = load_tree("gz2")
COLUMNS = TREE.columns
HEADER = ["GalaxyID", *COLUMNS]
QUICK = settings(max_examples=40, derandomize=True)
REAL = "data/gz2_kaggle/training_solutions_rev1.csv"
IDS = ["100008", "100023", "100053", "100078", "100090"]

Rows = list[list[str]]


def votes_of(count: int = 5, seed: int = 0) -> np.ndarray:
    """Cumulative fractions (N, 37) whose sums all hold."""
    logits = np.random.default_rng(seed).normal(size=(count, 37))
    return cumulative_from_conditional(conditional_from_logits(logits, TREE), TREE)


def rows_of(values: np.ndarray, ids: list[str] | None = None) -> Rows:
    ids = ids or IDS
    cells = [["" if math.isnan(v) else repr(v) for v in row] for row in values.tolist()]
    return [HEADER, *([id_, *row] for id_, row in zip(ids, cells, strict=True))]


def written(path: Path, rows: Rows, end: str = "\n") -> Path:
    with open(path, "w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator=end).writerows(rows)
    return path


def in_predicts_layout(path: Path, ids: list[str], values: np.ndarray) -> Path:
    """As `tuningfork predict --format kaggle` writes it."""
    schema = kaggle_schema(TREE)
    with table_writer(path, schema) as write:
        write(pa.table([pa.array(ids), *(pa.array(column) for column in values.T)], schema=schema))
    return path


def reference(submission: Path, solution: Path) -> tuple[float, float]:
    """RMSE on complete rows and on known cells, in plain Python."""
    with open(submission, encoding="utf-8-sig", newline="") as file:
        told = {row[0]: row[1:] for row in list(csv.reader(file))[1:]}
    complete: list[float] = []
    known: list[float] = []
    with open(solution, encoding="utf-8-sig", newline="") as file:
        for id_, *cells in list(csv.reader(file))[1:]:
            errors = [(float(t) - float(c)) ** 2 for t, c in zip(told[id_], cells, strict=True) if c]
            known += errors
            complete += errors if len(errors) == 37 else []
    return tuple(math.sqrt(math.fsum(e) / len(e)) if e else math.nan for e in (complete, known))


@pytest.fixture
def solution(tmp_path: Path) -> Path:
    return written(tmp_path / "solution.csv", rows_of(votes_of()))


@pytest.fixture
def rows() -> Rows:
    """A valid submission for `solution`; line n of the file is rows[n - 1]."""
    return rows_of(votes_of(seed=1))


@pytest.fixture
def judged(tmp_path: Path, solution: Path) -> Callable[[Rows], Score]:
    return lambda rows: score(written(tmp_path / "sub.csv", rows), solution, TREE, resamples=20)


@pytest.fixture
def refused(tmp_path: Path, solution: Path) -> Callable[[Rows | bytes], str]:
    """What is said of a bad submission, without the file's name."""

    def judge(content: Rows | bytes) -> str:
        path = tmp_path / "bad.csv"
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            written(path, content)
        with pytest.raises(SubmissionError) as caught:
            score(path, solution, TREE, resamples=20)
        said = str(caught.value)
        assert said.startswith(str(path))
        assert "\n" not in said
        return said.removeprefix(str(path)).lstrip(",: ")

    return judge


# ---------------------------------------------------------------- the score


def test_the_score_is_that_of_a_plain_loop_and_of_scikit_learn(tmp_path: Path, solution: Path, rows: Rows) -> None:
    path = written(tmp_path / "sub.csv", rows)
    result = score(path, solution, TREE, resamples=50)
    assert result.rmse == pytest.approx(reference(path, solution)[0], rel=1e-12)
    assert result.rmse == pytest.approx(math.sqrt(mean_squared_error(votes_of(), votes_of(seed=1))), rel=1e-12)
    assert result.rmse_known == result.rmse
    assert (result.rows, result.complete_rows) == (5, 5)
    assert result.complete.low <= result.rmse <= result.complete.high
    assert result.largest_sum_violation < 1e-12


def test_unknown_cells_of_the_solution_are_not_scored(tmp_path: Path, rows: Rows) -> None:
    truth = votes_of()
    truth[1, 5] = truth[3, 5] = truth[3, 20:] = np.nan
    solution, path = written(tmp_path / "t.csv", rows_of(truth)), written(tmp_path / "sub.csv", rows)
    result = score(path, solution, TREE, resamples=50)
    assert (result.rmse, result.rmse_known) == pytest.approx(reference(path, solution), rel=1e-12)
    assert (result.rows, result.complete_rows) == (5, 3)
    assert result.known.low <= result.rmse_known <= result.known.high


def test_each_question_has_its_own_score(judged: Callable[[Rows], Score], rows: Rows) -> None:
    per_question = judged(rows).rmse_per_question
    assert list(per_question) == [question.key for question in TREE.questions]
    start = 0
    for question in TREE.questions:
        part = slice(start, start := start + len(question.answers))
        expected = math.sqrt(mean_squared_error(votes_of()[:, part], votes_of(seed=1)[:, part]))
        assert per_question[question.key] == pytest.approx(expected, rel=1e-12)


def test_the_report_is_plain_json_even_where_nothing_can_be_scored(tmp_path: Path, rows: Rows) -> None:
    truth = votes_of()
    truth[:, 0:3] = np.nan
    solution = written(tmp_path / "t.csv", rows_of(truth))
    result = score(written(tmp_path / "sub.csv", rows), solution, TREE, resamples=20)
    told = result.to_dict()
    assert json.loads(json.dumps(told, allow_nan=False)) == told
    assert math.isnan(result.rmse)
    assert told["rmse_complete_rows"] == {"value": None, "low": None, "high": None}
    assert told["rmse_per_question"]["smooth_or_features"] is None
    assert told["rmse_known_columns"]["value"] == result.rmse_known
    assert (told["galaxies"], told["complete_rows"]) == (5, 0)


def test_the_score_and_its_interval_are_those_of_evaluate(tmp_path: Path, rows: Rows) -> None:
    truth = votes_of()
    truth[2, 7] = np.nan
    solution, path = written(tmp_path / "t.csv", rows_of(truth)), written(tmp_path / "sub.csv", rows)
    told = score(path, solution, TREE, resamples=50).to_dict()
    report = evaluate(path, read_labels(solution, TREE), resamples=50).report
    for name in ("rmse_complete_rows", "rmse_known_columns", "rmse_per_question"):
        assert told[name] == pytest.approx(report[name], rel=1e-9)


@given(st.integers(0, 1000), st.integers(1, 8))
@QUICK
def test_the_solution_scores_zero_on_itself(tmp_path_factory: pytest.TempPathFactory, seed: int, count: int) -> None:
    ids = [str(n) for n in range(count)]
    path = written(tmp_path_factory.mktemp("zero") / "t.csv", rows_of(votes_of(count, seed), ids))
    result = score(path, path, TREE, resamples=10)
    assert (result.rmse, result.rmse_known, result.complete.low, result.complete.high) == (0, 0, 0, 0)
    assert result.rows_in_order


@given(st.floats(0, 0.5), st.integers(0, 1000))
@QUICK
def test_adding_a_constant_scores_the_constant(tmp_path_factory: pytest.TempPathFactory, c: float, seed: int) -> None:
    folder = tmp_path_factory.mktemp("constant")
    half = votes_of(seed=seed) / 2
    solution = written(folder / "t.csv", rows_of(half))
    result = score(written(folder / "s.csv", rows_of(half + c)), solution, TREE, resamples=10)
    assert result.rmse == pytest.approx(c, abs=1e-12)
    assert list(result.rmse_per_question.values()) == pytest.approx([c] * 11, abs=1e-12)


@given(st.permutations(range(5)))
@QUICK
def test_the_order_of_rows_changes_no_score(tmp_path_factory: pytest.TempPathFactory, order: list[int]) -> None:
    folder = tmp_path_factory.mktemp("order")
    solution = written(folder / "t.csv", rows_of(votes_of()))
    rows = rows_of(votes_of(seed=1))
    plain = score(written(folder / "a.csv", rows), solution, TREE, resamples=20)
    moved = [rows[0], *(rows[1 + n] for n in order)]
    result = score(written(folder / "b.csv", moved), solution, TREE, resamples=20)
    assert result.rows_in_order == (order == sorted(order))
    assert (result.complete, result.rmse_per_question) == (plain.complete, plain.rmse_per_question)


def test_the_largest_broken_sum_is_told(judged: Callable[[Rows], Score]) -> None:
    values = votes_of(seed=1) / 2
    values[2, 17] += 0.25  # Class7.3, on which no other question hangs
    assert judged(rows_of(values)).largest_sum_violation == pytest.approx(0.5)
    values[4, 0:3] = 1
    assert judged(rows_of(values)).largest_sum_violation == pytest.approx(2)


def test_the_real_table(shared: Path, tmp_path: Path) -> None:
    with open(shared / REAL, newline="") as file:
        real = list(csv.reader(file))
    columns = list(zip(*real[1:], strict=True))[1:]
    means = [repr(math.fsum(float(c) for c in column if c) / sum(c != "" for c in column)) for column in columns]
    path = written(tmp_path / "mean.csv", [HEADER, *([row[0], *means] for row in reversed(real[1:]))])
    result = score(path, shared / REAL, TREE, resamples=20)
    assert (result.rmse, result.rmse_known) == pytest.approx(reference(path, shared / REAL), rel=1e-9)
    assert result.rows == len(real) - 1
    assert result.complete_rows == sum("" not in row for row in real[1:])
    assert not result.rows_in_order


# ---------------------------------------------------------------- what is allowed


def test_the_id_may_be_spelt_as_in_the_sample_submission(judged: Callable[[Rows], Score], rows: Rows) -> None:
    assert judged([["GalaxyId", *COLUMNS], *rows[1:]]) == judged(rows)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("quoting", [csv.QUOTE_MINIMAL, csv.QUOTE_ALL])
@pytest.mark.parametrize("tail", [b"", b"\n\n"])
def test_any_way_to_write_a_csv(
    tmp_path: Path, solution: Path, rows: Rows, end: str, bom: bytes, quoting: int, tail: bytes
) -> None:
    path = tmp_path / "sub.csv"
    with open(path, "w", newline="") as file:
        csv.writer(file, lineterminator=end, quoting=quoting).writerows(rows)
    path.write_bytes(bom + path.read_bytes() + tail)
    expected = math.sqrt(mean_squared_error(votes_of(), votes_of(seed=1)))
    assert score(path, solution, TREE, resamples=20).rmse == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("cell", ["0", "1", "1.0", "-0.0", ".5", "1.", "5e-324", "1E-3", " 0.5", "+0.5", "\t0.25 "])
def test_any_way_to_write_a_number(judged: Callable[[Rows], Score], rows: Rows, cell: str) -> None:
    rows[3][4] = cell
    truth, told = votes_of(), votes_of(seed=1)
    told[2, 3] = float(cell)
    assert judged(rows).rmse == pytest.approx(math.sqrt(mean_squared_error(truth, told)), rel=1e-12)


def test_both_ways_of_reading_agree(tmp_path: Path, rows: Rows) -> None:
    position = {id_: row for row, id_ in enumerate(IDS)}
    path = written(tmp_path / "sub.csv", [rows[0], *rows[:0:-1]])
    fast, careful = (read(path, HEADER, position) for read in (module._read_fast, module._read_carefully))
    assert fast is not None
    np.testing.assert_array_equal(fast[0], [4, 3, 2, 1, 0])
    np.testing.assert_array_equal(fast[0], careful[0])
    np.testing.assert_array_equal(fast[1], careful[1])


def test_the_common_layouts_are_read_fast(tmp_path: Path, rows: Rows) -> None:
    position = {id_: row for row, id_ in enumerate(IDS)}
    for name, quoting, end in [("a", csv.QUOTE_MINIMAL, "\n"), ("b", csv.QUOTE_NONNUMERIC, "\r\n")]:
        path = tmp_path / name
        with open(path, "w", newline="") as file:
            cells = [rows[0], *([row[0], *map(float, row[1:])] for row in rows[1:])]
            csv.writer(file, quoting=quoting, lineterminator=end).writerows(cells)
        assert module._read_fast(path, HEADER, position) is not None


@pytest.mark.parametrize("suffix", ["csv", "parquet", "fits", "vot", "ecsv"])
def test_the_layout_that_predict_writes_and_a_solution_of_any_format(tmp_path: Path, suffix: str) -> None:
    pytest.importorskip("astropy", reason="the extra `sky` is not installed")
    truth = in_predicts_layout(tmp_path / f"truth.{suffix}", IDS, votes_of())
    result = score(in_predicts_layout(tmp_path / "sub.csv", IDS, votes_of(seed=1)), truth, TREE, resamples=20)
    assert result.rmse == pytest.approx(math.sqrt(mean_squared_error(votes_of(), votes_of(seed=1))), rel=1e-9)


def test_another_tree_has_other_columns(tmp_path: Path) -> None:
    tree = load_tree("gz1")
    header = [tree.id_columns[0], *tree.columns]
    path = written(tmp_path / "t.csv", [header, ["a", *["0"] * (len(header) - 1)]])
    told = score(path, path, tree, resamples=10)
    assert list(told.rmse_per_question) == [question.key for question in tree.questions]


# ---------------------------------------------------------------- faults of a cell or row


@pytest.mark.parametrize(
    ("cell", "reason"),
    [
        ("", "the cell is blank; predict a number from 0 to 1"),
        ("  ", "the cell is blank"),
        ("nan", "'nan' is not a finite number; predict one from 0 to 1"),
        ("inf", "'inf' is not a finite number"),
        ("-Infinity", "'-Infinity' is not a finite number"),
        ("1.5", "'1.5' is outside [0, 1], where all vote fractions lie (Kaggle takes it); clip it"),
        ("1.0000000000000002", "'1.0000000000000002' is outside [0, 1]"),
        ("-1e-300", "'-1e-300' is outside [0, 1]"),
        ("many", "'many' is not a number; write a fraction such as 0.25"),
        ("NA", "'NA' is not a number"),
        ("0,5", "'0,5' is not a number"),
        ("0_1", "'0_1' is not a number"),
        ("٠", "'٠' is not a number"),
        ("0x0", "'0x0' is not a number"),
        ("9" * 500, f"'{'9' * 40}…' is "),
    ],
)
def test_a_bad_cell_is_named_with_line_id_and_column(
    refused: Callable[[Rows | bytes], str], rows: Rows, cell: str, reason: str
) -> None:
    rows[3][5] = cell
    rows[4][1] = "worse"  # only the first is named
    assert refused(rows).startswith(f"line 4 (100078), column Class2.2: {reason}".replace("100078", rows[3][0]))


@given(st.integers(1, 5), st.integers(1, 37))
@QUICK
def test_whichever_cell_is_bad_is_named(tmp_path_factory: pytest.TempPathFactory, line: int, column: int) -> None:
    folder = tmp_path_factory.mktemp("cell")
    solution = written(folder / "t.csv", rows_of(votes_of()))
    rows = rows_of(votes_of(seed=1))
    rows[line][column] = "2"
    where = rf"s\.csv, line {line + 1} \({IDS[line - 1]}\), column {HEADER[column]}: '2' is outside"
    with pytest.raises(SubmissionError, match=where):
        score(written(folder / "s.csv", rows), solution, TREE, resamples=10)


def test_a_row_with_too_few_or_too_many_cells(refused: Callable[[Rows | bytes], str], rows: Rows) -> None:
    assert refused([*rows[:2], rows[2][:-1], *rows[3:]]).startswith("line 3 (100023): 37 cells where the header has 38")
    assert refused([*rows[:2], [*rows[2], "0"], *rows[3:]]).startswith("line 3 (100023): 39 cells where the header")
    assert refused([*rows[:5], ["100090"]]).startswith("line 6 (100090): 1 cells where the header has 38, too few")


@pytest.mark.parametrize(
    ("id_", "said"),
    [
        ("", "line 4, column GalaxyID: the ID is blank"),
        ("  ", "line 4, column GalaxyID: the ID is blank"),
        ("7", "line 4 (7), column GalaxyID: the ID is not in the solution; leave the row out"),
        ("100053.0", "line 4 (100053.0), column GalaxyID: the ID is not in the solution; write it as 100053"),
        ("1.00053e5", "line 4 (1.00053e5), column GalaxyID: the ID is not in the solution; write it as 100053"),
        ("nan", "line 4 (nan), column GalaxyID: the ID is not in the solution; leave the row out"),
        ("100008", "line 4 (100008), column GalaxyID: the ID came before, in line 2; keep one of the two"),
        ("\x1b[31m", r"line 4 ('\x1b[31m'), column GalaxyID: the ID is not in the solution"),
        ("9" * 90, f"line 4 ('{'9' * 40}…'), column GalaxyID: the ID is not in the solution"),
    ],
)
def test_a_bad_id(refused: Callable[[Rows | bytes], str], rows: Rows, id_: str, said: str) -> None:
    rows[3][0] = id_
    assert refused(rows).startswith(said)


def test_missing_rows_are_counted_and_the_first_named(refused: Callable[[Rows | bytes], str], rows: Rows) -> None:
    said = "of the solution's 5 galaxies have no row, first 100023; give each galaxy one"
    assert refused([*rows[:2], *rows[3:]]) == f"1 {said}"
    assert refused([rows[0], rows[5], rows[1], rows[4]]) == f"2 {said}"
    assert "5 of the solution's 5 galaxies have no row, first 100008" in refused(rows[:1])


def test_a_row_too_many_is_not_in_the_solution(refused: Callable[[Rows | bytes], str], rows: Rows) -> None:
    assert refused([*rows, ["7", *rows[1][1:]]]).startswith("line 7 (7), column GalaxyID: the ID is not in")
    assert refused([*rows, rows[1]]).startswith("line 7 (100008), column GalaxyID: the ID came before, in line 2")


def test_lines_are_counted_as_an_editor_counts_them(tmp_path: Path, refused: Callable[..., str], rows: Rows) -> None:
    rows[3][1] = "x"
    for end in ("\n", "\r\n", "\r"):
        text = written(tmp_path / "t.csv", rows, end).read_bytes()
        first = text.index(end.encode()) + len(end)
        assert refused(text).startswith("line 4 (100053), column Class1.1")
        # Two blank lines after the header.
        assert refused(text[:first] + 2 * end.encode() + text[first:]).startswith("line 6 (100053), column Class1.1")


def test_quotation_marks_that_do_not_close(tmp_path: Path, refused: Callable[..., str], rows: Rows) -> None:
    text = written(tmp_path / "t.csv", rows).read_bytes()
    assert refused(text.replace(b"100053,", b'"100053,')).startswith("line 4: a quotation mark is out of place")
    assert refused(text.replace(b"100053,", b'"100053\n",')).startswith("line 4: a quotation mark is out of place")
    assert refused(text.replace(b"100053,", b'"1"00053,') + b"\n" * 200_000).startswith("line 4: a quotation mark")
    last = rows[5][37].encode()
    for bad in (b'"' + last, b'"0.5\n"', b'"0"5', b'"0'):
        assert refused(text.replace(last + b"\n", bad)).startswith("line 6: a quotation mark is out of place")
    assert refused(text.replace(b"100053", b'100"053')).startswith('line 4 (100"053), column GalaxyID: the ID is not')
    assert refused(text.replace(b"100053,", b'",')).startswith("line 4: a quotation mark is out of place")
    assert refused(text.replace(b"GalaxyID,", b'"GalaxyID,')).startswith("line 1: a quotation mark is out of place")


def test_bytes_that_are_no_text(tmp_path: Path, refused: Callable[..., str], rows: Rows) -> None:
    text = written(tmp_path / "t.csv", rows).read_bytes()
    cell = rows[2][1].encode()
    said = refused(text.replace(cell, b"0.\xff5"))
    assert said.startswith(r"line 3 (100023), column Class1.1: '0.\udcff5' is not text in UTF-8")
    said = refused(text.replace(b"100053", b"100\xe953"))
    assert said.startswith(r"line 4 ('100\udce953'), column GalaxyID: the ID is not text in UTF-8")
    assert "no text in UTF-8; save it as CSV (UTF-8)" in refused(text.decode().encode("utf-16"))
    assert "'0\\x00' is not a number" in refused(text.replace(cell, b"0\0"))


def test_a_line_without_end_is_refused_early(tmp_path: Path, refused: Callable[..., str], rows: Rows) -> None:
    assert refused(b"1" * 200_000).startswith("line 1: longer than 100000 characters")
    text = written(tmp_path / "t.csv", rows[:2]).read_bytes()
    assert refused(text + b"1" * 3_000_000).startswith("line 3: longer than 100000 characters")


# ---------------------------------------------------------------- faults of the header and the file


@pytest.mark.parametrize(
    ("header", "said"),
    [
        (["id", *COLUMNS], "line 1, column 1: 'id' stands where GalaxyID is expected; begin the first line with it"),
        (["", *HEADER], "line 1, column 1: '' stands where GalaxyID is expected; leave out the column of row numbers"),
        ([*COLUMNS], "line 1, column 1: 'Class1.1' stands where GalaxyID is expected"),
        ([";".join(HEADER)], "line 1, column 1: 'GalaxyID;Class1.1;"),
        (
            ["id", "path", *TREE.fraction_names],
            "line 1, column 1: 'id' stands where GalaxyID is expected; write it by ",
        ),
        (HEADER[:-1], "line 1: column Class11.6 is missing; add it"),
        (["GalaxyID", "Clas1.1", *COLUMNS[1:]], "line 1: column Class1.1 is missing; is 'Clas1.1' meant? rename it"),
        (["GalaxyID", "class1.1", *COLUMNS[1:]], "line 1: column Class1.1 is missing; is 'class1.1' meant? rename it"),
        ([*HEADER, "note"], "line 1, column 39: 'note' is none of the 37 of the challenge; leave it out"),
        ([*HEADER, ""], "line 1, column 39: '' is none of the 37"),
        ([*HEADER, "Class1.1"], "line 1, column 39: 'Class1.1' came before, in column 2; keep one"),
        (["GalaxyID", "GalaxyId", *COLUMNS], "line 1, column 2: 'GalaxyId' is none of the 37"),
        (
            ["GalaxyID", *COLUMNS[:3], COLUMNS[4], COLUMNS[3], *COLUMNS[5:]],
            "line 1, column 5: Class2.2 stands where Class2.1 is expected; put the columns in the challenge's order",
        ),
        (
            ["GalaxyID", *sorted(COLUMNS)],
            "line 1, column 5: Class10.1 stands where Class2.1 is expected",
        ),
    ],
)
def test_a_bad_header(refused: Callable[..., str], rows: Rows, header: list[str], said: str) -> None:
    assert refused([header, *rows[1:]]).startswith(said)


def test_a_table_with_semicolons_is_told_to_use_commas(refused: Callable[..., str]) -> None:
    assert refused(";".join(HEADER).encode()).endswith("separate the cells by commas")
    assert refused("\t".join(HEADER).encode()).endswith("separate the cells by commas")


@pytest.mark.parametrize("content", [b"", b"\n", b"\xef\xbb\xbf", b"\r\n\r\n"])
def test_an_empty_file(refused: Callable[..., str], content: bytes) -> None:
    assert refused(content) == "the file is empty; a line with GalaxyID, Class1.1, … comes first"


def test_a_blank_line_before_the_header(tmp_path: Path, refused: Callable[..., str], rows: Rows) -> None:
    text = written(tmp_path / "t.csv", rows).read_bytes()
    assert refused(b"\n" + text) == "line 1: it is blank; begin with the columns' names"


def test_what_is_no_file(tmp_path: Path, solution: Path) -> None:
    (tmp_path / "votes.parquet").write_bytes(b"PAR1")
    for path, said in (
        (tmp_path / "none.csv", "no such file"),
        (tmp_path, "a folder or a pipe"),
        (tmp_path / "votes.parquet", "a submission is a CSV; .*--format kaggle"),
    ):
        with pytest.raises(SubmissionError, match=said):
            score(path, solution, TREE)


def test_a_solution_must_be_sound(tmp_path: Path, rows: Rows) -> None:
    path = written(tmp_path / "sub.csv", rows)
    bad = rows_of(votes_of())
    bad[2][3] = "7"
    bad[4][0] = ""
    with pytest.raises(
        SubmissionError, match=r"row 2 \(100023\), column Class1.3: 7 is outside .*\(1 more rows are bad"
    ):
        score(path, written(tmp_path / "t.csv", bad), TREE)
    with pytest.raises(SubmissionError, match="no rows"):
        score(path, written(tmp_path / "t.csv", bad[:1]), TREE)
    with pytest.raises(CatalogError, match=r"'Class11\.6' is missing"):
        score(path, written(tmp_path / "t.csv", [row[:-1] for row in bad]), TREE)


def test_other_columns_of_a_solution_are_ignored(tmp_path: Path, solution: Path, rows: Rows) -> None:
    path = written(tmp_path / "sub.csv", rows)
    usage = ["Usage", *["Public"] * 5]
    more = written(tmp_path / "t.csv", [[*row, u] for row, u in zip(rows_of(votes_of()), usage, strict=True)])
    assert score(path, more, TREE, resamples=20).complete == score(path, solution, TREE, resamples=20).complete


# ---------------------------------------------------------------- the challenge's size


@pytest.mark.slow
def test_79975_galaxies_are_scored_in_seconds_and_little_memory(tmp_path: Path) -> None:
    pytest.importorskip("resource", reason="this system does not say what memory a process took")
    ids = [str(100_000 + 11 * n) for n in range(79_975)]
    files = [in_predicts_layout(tmp_path / f"{n}.csv", ids, votes_of(len(ids), n).round(9)) for n in range(2)]
    # A process in between: to a child's peak the kernel adds that of whoever started it, here all of pytest.
    code = (
        "import resource, subprocess, sys\n"
        "done = subprocess.run([sys.executable, '-m', 'tuningfork', 'score', *sys.argv[1:], '--json'])\n"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=sys.stderr)\n"
        "sys.exit(done.returncode)"
    )
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code, *files], capture_output=True)
    seconds = time.perf_counter() - start
    assert done.returncode == 0, done.stderr
    megabytes = int(done.stderr) / (1e6 if sys.platform == "darwin" else 1e3 / 1.024)
    print(f"79,975 × 37 in {seconds:.1f} s, at most {megabytes:.0f} MB")
    expected = math.sqrt(mean_squared_error(votes_of(len(ids)).round(9), votes_of(len(ids), 1).round(9)))
    assert json.loads(done.stdout)["rmse_complete_rows"]["value"] == pytest.approx(expected, rel=1e-9)
    assert seconds < 60
    assert megabytes < 400


# ---------------------------------------------------------------- the command


def command(*words: object) -> Result:
    return CliRunner().invoke(app, ["score", *map(str, words), "--resamples", "20"])


def test_the_command_scores_a_valid_submission(tmp_path: Path, solution: Path, rows: Rows) -> None:
    path = written(tmp_path / "sub.csv", rows)
    result = command(path, solution)
    assert result.exit_code == 0, result.output
    assert "is valid: 5 galaxies, in the solution's order" in result.stdout
    assert f"{score(path, solution, TREE).rmse:.5f}" in result.stdout
    assert "known columns" not in result.stdout
    told = json.loads(command(path, solution, "--json").stdout)
    assert told == score(path, solution, TREE, resamples=20).to_dict()


def test_the_command_shows_what_is_unknown(tmp_path: Path, rows: Rows) -> None:
    truth = votes_of()
    truth[:, 36] = np.nan
    path = written(tmp_path / "sub.csv", [rows[0], *rows[:0:-1]])
    result = command(path, written(tmp_path / "t.csv", rows_of(truth)))
    assert result.exit_code == 0, result.output
    assert "not in the solution's order, which is allowed" in result.stdout
    assert "known columns" in result.stdout
    assert "–" in result.stdout


def test_the_command_names_the_first_bad_line(tmp_path: Path, solution: Path, rows: Rows) -> None:
    rows[3][1] = "1.7"
    path = written(tmp_path / "sub.csv", rows)
    result = command(path, solution)
    assert result.exit_code == 1
    assert result.stderr.startswith(f"error: {path}, line 4 (100053), column Class1.1: '1.7' is outside [0, 1]")
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""


def test_the_command_used_wrongly(tmp_path: Path, solution: Path) -> None:
    assert command(solution).exit_code == 2
    assert command(solution, tmp_path / "none.csv").exit_code == 2
    assert command(tmp_path, solution).exit_code == 1
    assert command(solution, solution, "--tree", "gz9").exit_code == 1
