"""What a label table is worth: its classes, and what is wrong with it."""

from __future__ import annotations

import csv
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tuningfork.votes.class_counts import class_counts, class_table
from tuningfork.votes.fractions import cumulative_from_conditional
from tuningfork.votes.label_table import read_labels
from tuningfork.votes.lint import lint
from tuningfork.votes.tree import DecisionTree
from tuningfork.votes.tree_files import load_tree

TREE = load_tree("gz2")
HEADER = ["GalaxyID", *TREE.columns]
QUICK = settings(max_examples=40, derandomize=True)
REAL = "data/gz2_kaggle/training_solutions_rev1.csv"
NAMES = [
    "completely round",
    "in-between",
    "cigar-shaped",
    "lenticular (edge-on)",
    "barred spiral",
    "unbarred spiral",
    "irregular",
]

Row = dict[str, float]


def consistent(count: int = 1, seed: int = 0) -> list[Row]:
    """Votes whose sums all hold."""
    rng = np.random.default_rng(seed)
    conditional = np.empty((count, 37))
    for part in TREE.slices:
        conditional[:, part] = rng.dirichlet(np.ones(part.stop - part.start), count)
    votes = cumulative_from_conditional(conditional, TREE).tolist()
    return [dict(zip(TREE.columns, row, strict=True)) for row in votes]


def file_of(folder: Path, rows: list[Row], ids: list[object] | None = None) -> Path:
    path = folder / "labels.csv"
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(HEADER)
        for id_, row in zip(ids or range(1, len(rows) + 1), rows, strict=True):
            writer.writerow([id_, *("" if row.get(c) is None else repr(row[c]) for c in TREE.columns)])
    return path


def thresholds(row: Row) -> list[bool | None]:
    """The paper's seven rules, typed out; None where an unknown column decides."""

    def at_least(column: str, value: float) -> bool | None:
        return None if row.get(column) is None else row[column] >= value

    def every(*tests: bool | None) -> bool | None:
        return False if False in tests else None if None in tests else True

    def some(*tests: bool | None) -> bool | None:
        return True if True in tests else None if None in tests else False

    smooth = every(at_least("Class1.1", 0.469), at_least("Class6.2", 0.5))
    disk = at_least("Class1.2", 0.430)
    spiral = every(disk, at_least("Class2.2", 0.715), at_least("Class4.1", 0.619))
    return [
        every(smooth, at_least("Class7.1", 0.5)),
        every(smooth, at_least("Class7.2", 0.5)),
        every(smooth, at_least("Class7.3", 0.5)),
        every(disk, at_least("Class2.1", 0.602), at_least("Class6.2", 0.5)),
        every(spiral, at_least("Class3.1", 0.715)),
        every(spiral, at_least("Class3.2", 0.715)),
        every(
            at_least("Class6.1", 0.420),
            some(
                at_least("Class8.3", 0.5),
                at_least("Class8.4", 0.5),
                at_least("Class8.5", 0.5),
                at_least("Class8.6", 0.5),
                at_least("Class8.7", 0.5),
            ),
        ),
    ]


def class_of(row: Row) -> str:
    fits = thresholds(row)
    if True in fits:
        return NAMES[fits.index(True)]
    return "undecided" if None in fits else "unclassified"


def real_rows(path: Path) -> list[Row]:
    with open(path, newline="") as file:
        return [{c: float(r[c]) if r[c] else None for c in TREE.columns} for r in csv.DictReader(file)]


#: One row for each class, and votes that make it so.
EXAMPLES: dict[str, Row] = {
    "completely round": {"Class1.1": 0.469, "Class7.1": 0.5, "Class6.2": 0.5},
    "in-between": {"Class1.1": 0.469, "Class7.2": 0.5, "Class6.2": 0.5},
    "cigar-shaped": {"Class1.1": 0.469, "Class7.3": 0.5, "Class6.2": 0.5},
    "lenticular (edge-on)": {"Class1.2": 0.43, "Class2.1": 0.602, "Class6.2": 0.5},
    "barred spiral": {"Class1.2": 0.43, "Class2.2": 0.715, "Class3.1": 0.715, "Class4.1": 0.619},
    "unbarred spiral": {"Class1.2": 0.43, "Class2.2": 0.715, "Class3.2": 0.715, "Class4.1": 0.619},
    "irregular": {"Class6.1": 0.42, "Class8.5": 0.5},
}
BLANK: Row = dict.fromkeys(TREE.columns, 0.0)


# ---------------------------------------------------------------- classes


def test_the_real_tables_classes_are_those_of_a_plain_loop(shared: Path, gz2: DecisionTree) -> None:
    expected = Counter(map(class_of, real_rows(shared / REAL)))
    counts = class_counts(read_labels(shared / REAL, gz2).votes)
    assert list(counts) == [*NAMES, "unclassified", "undecided"]
    assert counts == {name: expected[name] for name in counts}
    assert all(counts[name] for name in NAMES)


def test_every_real_row_has_the_class_of_a_plain_loop(shared: Path, gz2: DecisionTree) -> None:
    names = [*NAMES, "undecided", "unclassified"]
    got = [names[c] for c in read_labels(shared / REAL, gz2).votes.classes]
    assert got == [class_of(row) for row in real_rows(shared / REAL)]


@pytest.mark.parametrize("name", NAMES)
def test_votes_at_the_thresholds_pass_and_below_do_not(tmp_path: Path, name: str) -> None:
    votes = BLANK | EXAMPLES[name]
    below = [votes | {column: value - 2e-6} for column, value in EXAMPLES[name].items()]
    counts = class_counts(read_labels(file_of(tmp_path, [votes, *below]), TREE).votes)
    assert counts[name] == 1
    assert counts["unclassified"] == len(below)


cells = st.none() | st.sampled_from([0.0, 0.42, 0.43, 0.469, 0.5, 0.602, 0.619, 0.715, 1.0]) | st.floats(0, 1)


@given(st.lists(st.fixed_dictionaries(dict.fromkeys(TREE.columns, cells)), min_size=1, max_size=8))
@QUICK
def test_any_votes_have_the_class_of_a_plain_loop(tmp_path_factory: pytest.TempPathFactory, rows: list[Row]) -> None:
    counted = read_labels(file_of(tmp_path_factory.mktemp("any"), rows), TREE).votes
    names = [*NAMES, "undecided", "unclassified"]
    assert [names[c] for c in counted.classes] == [class_of(row) for row in rows]


def test_the_table_of_classes_has_words_and_nulls(tmp_path: Path) -> None:
    rows = [BLANK | EXAMPLES["irregular"], BLANK, BLANK | {"Class6.1": None, "Class8.5": 1.0}]
    table = class_table(read_labels(file_of(tmp_path, rows, ["a", "b", "c"]), TREE).votes)
    assert table.to_pydict() == {
        "GalaxyID": ["a", "b", "c"],
        "class": [6, None, None],
        "status": ["classified", "unclassified", "undecided"],
    }
    assert table.schema.field("class").type == pa.int8()
    assert b"6 irregular" in table.schema.field("class").metadata[b"description"]


def test_rows_that_cannot_be_used_are_not_counted(tmp_path: Path) -> None:
    rows = [BLANK | EXAMPLES["irregular"], BLANK | {"Class1.1": 7.0}, BLANK | EXAMPLES["irregular"]]
    counted = read_labels(file_of(tmp_path, rows, ["a", "b", "a"]), TREE)
    assert counted.ids == ("a",)
    assert sum(class_counts(counted.votes).values()) == 1
    assert [error.row for error in counted.errors] == [2, 3]


def test_a_table_without_rows_has_no_classes(tmp_path: Path) -> None:
    counted = read_labels(file_of(tmp_path, []), TREE).votes
    assert set(class_counts(counted).values()) == {0}
    assert class_table(counted).num_rows == 0


# ---------------------------------------------------------------- lint


def test_a_sound_table_has_no_faults(tmp_path: Path) -> None:
    found = lint(read_labels(file_of(tmp_path, consistent(20)), TREE))
    assert len(found.labels.errors) + len({entry.row for entry in found.broken}) == 0
    assert found.broken == ()
    assert found.unknown == {}
    assert found.to_dict()["complete_rows"] == 20


#: Columns that no other question's sum refers to; those of "edge_on" all are parents.
FREE = {
    question.key: free
    for question in TREE.questions
    if (free := [a.column for a in question.answers if a.column not in {q.parent for q in TREE.questions}])
}


@pytest.mark.parametrize("key", FREE)
@pytest.mark.parametrize("sign", [1, -1])
def test_a_sum_broken_on_purpose_is_found_with_its_offset(tmp_path: Path, key: str, sign: int) -> None:
    rows = consistent(50)
    number, column = max(((r, c) for r in range(50) for c in FREE[key]), key=lambda at: rows[at[0]][at[1]])
    value = rows[number][column]
    off = (1 - value) / 2 if sign > 0 else -value / 2
    rows[number][column] += off
    parent = TREE.question(key).parent
    found = lint(read_labels(file_of(tmp_path, rows), TREE))
    (broken,) = found.broken
    assert (broken.row, broken.question, broken.parent) == (number, key, parent)
    assert broken.off_by == pytest.approx(off, abs=1e-12)
    assert len(found.labels.errors) + len({entry.row for entry in found.broken}) == 1
    (told,) = found.to_dict()["broken_sums"]
    assert (told["id"], told["should_equal"]) == (str(number + 1), parent or 1)
    assert told["off_by"] == pytest.approx(off, abs=1e-12)


def test_a_wrong_parent_breaks_its_own_sum_and_its_childrens(tmp_path: Path) -> None:
    rows = consistent()
    rows[0]["Class2.2"] += 0.03125
    off = {b.question: b.off_by for b in lint(read_labels(file_of(tmp_path, rows), TREE)).broken}
    assert set(off) == {"edge_on", "bar", "spiral", "bulge_prominence"}
    assert off["edge_on"] == pytest.approx(0.03125)
    assert off["bar"] == off["spiral"] == off["bulge_prominence"] == pytest.approx(-0.03125)


@pytest.mark.parametrize(("off", "tolerance"), [(0.0009, 1e-3), (0.0011, 1e-3), (0.0011, 1e-2), (1e-6, 1e-7)])
def test_the_tolerance_separates_rounding_from_faults(tmp_path: Path, off: float, tolerance: float) -> None:
    rows = consistent()
    rows[0]["Class7.1"] += off
    assert len(lint(read_labels(file_of(tmp_path, rows), TREE), tolerance).broken) == (off > tolerance)


def test_unknown_cells_are_counted_and_break_no_sum(tmp_path: Path) -> None:
    rows = consistent(4)
    rows[0]["Class3.1"] = rows[1]["Class3.1"] = rows[1]["Class11.6"] = None
    found = lint(read_labels(file_of(tmp_path, rows), TREE))
    assert found.unknown == {"Class3.1": 2, "Class11.6": 1}
    assert found.broken == ()
    assert found.to_dict()["complete_rows"] == 2


def test_rows_of_two_classes_are_named(tmp_path: Path) -> None:
    both = BLANK | EXAMPLES["in-between"] | EXAMPLES["irregular"]
    rows = [BLANK | EXAMPLES["irregular"], both, BLANK | EXAMPLES["completely round"]]
    found = lint(read_labels(file_of(tmp_path, rows, ["a", "b", "c"]), TREE))
    assert list(found.several_classes) == ["b"]
    keys = [rule.key for rule in TREE.classes]
    assert found.several_classes["b"] == (keys[1], keys[6])


def test_rows_out_of_range_are_named_with_their_column(tmp_path: Path) -> None:
    rows = consistent(4)
    rows[1]["Class4.1"], rows[3]["Class9.2"] = 1.25, -0.5
    path = file_of(tmp_path, rows, ["a", "b", "c", "d"])
    found = lint(read_labels(path, TREE))
    assert found.labels.ids == ("a", "c")
    assert len(found.labels.errors) + len({entry.row for entry in found.broken}) == 2
    assert [(e["row"], e["id"], e["column"]) for e in found.to_dict()["unusable_rows"]] == [
        (2, "b", "Class4.1"),
        (4, "d", "Class9.2"),
    ]
    assert str(found.labels.errors[0]).startswith(f"{path}, row 2 (b), column Class4.1: 1.25 is outside [0, 1]")


def test_the_report_is_plain_json(tmp_path: Path) -> None:
    rows = consistent(3)
    rows[0]["Class7.1"] += 0.25
    rows[1]["Class1.1"] = 2.0
    report = lint(read_labels(file_of(tmp_path, rows), TREE)).to_dict()
    assert json.loads(json.dumps(report)) == report
    assert report["rows"] == 3


def test_the_real_table_has_only_the_faults_that_a_plain_loop_finds(shared: Path, gz2: DecisionTree) -> None:
    parents = {"Q1": 1, "Q2": "Class1.2", "Q3": "Class2.2", "Q4": "Class2.2", "Q5": "Class2.2", "Q6": 1,
               "Q7": "Class1.1", "Q8": "Class6.1", "Q9": "Class2.1", "Q10": "Class4.1", "Q11": "Class4.1"}  # fmt: skip
    rows = real_rows(shared / REAL)
    expected = []
    for number, row in enumerate(rows):
        for task, parent in parents.items():
            cells = [value for column, value in row.items() if column.startswith(f"Class{task[1:]}.")]
            reach = 1.0 if parent == 1 else row[parent]
            if None not in cells and reach is not None and abs(sum(cells) - reach) > 1e-3:
                expected.append((number, int(task[1:]) - 1))
    found = lint(read_labels(shared / REAL, gz2))
    keys = [question.key for question in gz2.questions]
    assert [(b.row, keys.index(b.question)) for b in found.broken] == expected
    assert found.to_dict()["complete_rows"] == sum(None not in row.values() for row in rows)
    assert found.unknown == {c: n for c in gz2.columns if (n := sum(row[c] is None for row in rows))}
    assert found.several_classes == {}


def test_lint_of_a_table_without_rows(tmp_path: Path) -> None:
    found = lint(read_labels(file_of(tmp_path, []), TREE))
    assert len(found.labels.errors) + len({entry.row for entry in found.broken}) == 0
    assert found.to_dict()["rows"] == 0
