"""Class labels: a table of ID and `label`, or a folder for each class, as a decision tree of one question."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import pyarrow as pa

from .._utils.files import write_text
from ..images.find import find_images
from ..tables import CatalogError, read_table
from ..tables.angles import is_blank
from ..tables.identifiers import file_id
from .tree import Answer, ClassRule, DecisionTree, Question
from .tree_files import load_tree

__all__ = [
    "LABEL",
    "OWN",
    "class_tree",
    "is_class_tree",
    "label_text",
    "read_tree",
    "tree_of_labels",
    "with_votes",
    "write_folder_labels",
]

#: The column that names a galaxy's class, and the key of the one question that it answers.
LABEL = "label"
#: In a recipe, the tree that the label table itself makes.
OWN = "labels"
ID_COLUMNS = ("id", "ID", "GalaxyID", "GalaxyId", "objid")
#: More different labels than this are no classes.
MAX_CLASSES = 100


def class_tree(classes: Sequence[str]) -> DecisionTree:
    """Return a tree of one question whose answers are `classes`, in this order; each is a class, won by a majority.

    Raises SchemaError if two classes differ only in signs that no column's name can have.
    """
    keys = [re.sub(r"\W+", "_", name).strip("_") or "_" for name in classes]
    return DecisionTree(
        name=OWN,
        title="classes of the label table",
        reference="",
        questions=(
            Question(
                LABEL,
                "Which class is it?",
                tuple(Answer(key, name, name) for key, name in zip(keys, classes, strict=True)),
            ),
        ),
        classes=tuple(ClassRule(key, name, ((name, 0.5),)) for key, name in zip(keys, classes, strict=True)),
        id_columns=ID_COLUMNS,
    )


def read_tree(labels: str | os.PathLike[str], name: str | Path) -> DecisionTree:
    """Return the tree that a label table is of; see `tree_of_labels`. Raises CatalogError, SchemaError."""
    return tree_of_labels(read_table(labels, text=True, problems={}), name, labels)


def tree_of_labels(
    table: pa.Table, name: str | Path, path: str | os.PathLike[str], *, learning: bool = False
) -> DecisionTree:
    """Return the tree `name`; or, where a label table has none of its columns but one `label`, that of its classes.

    A named tree of classes stays: a further table need not have galaxies of all of them. Classes are in the order of
    their numbers if all are whole numbers, else in alphabetical order.

    Parameters
    ----------
    path : str or PathLike
        The table's name, for messages.
    learning : bool
        Whether a model will be trained on the labels: then a table with both votes and `label` is refused.

    Raises
    ------
    SchemaError
        If there is no such tree.
    CatalogError
        If the labels are no classes: none, only one, or more than `MAX_CLASSES`.
    """
    tree = None if str(name) == OWN else load_tree(name)
    if tree and is_class_tree(tree):
        return tree
    table = _with_label(table)
    names = table.column_names
    if LABEL not in names:
        if tree is None:
            raise CatalogError(f"{path}: column {LABEL!r} is missing; it names the class of a galaxy")
        return tree
    vote_column = next((column for column in tree.columns if column in names), None) if tree else None
    if tree and vote_column:
        if learning:
            raise CatalogError(
                f"{path}: has both votes ({vote_column}, …) and a column {LABEL!r}; which should be learned? "
                "Remove the other, or rename it"
            )
        return tree
    classes = {label_text(cell) for cell in table[LABEL].to_pylist()} - {""}
    if not classes:
        raise CatalogError(f"{path}: every cell of column {LABEL!r} is empty; name the class of each galaxy")
    if len(classes) == 1:
        raise CatalogError(f"{path}: every label is {classes.pop()!r}; at least two classes are needed")
    lowered = sorted(classes, key=lambda name: (name.lower(), name))
    for one, other in pairwise(lowered):
        if one.lower() == other.lower():
            raise CatalogError(f"{path}: labels {one!r} and {other!r} differ only in case; write them alike")
    if len(classes) > MAX_CLASSES:
        raise CatalogError(f"{path}: {len(classes)} different labels; up to {MAX_CLASSES} classes can be learned")
    return class_tree(sorted(classes, key=int if all(re.fullmatch(r"[+-]?\d{1,18}", t) for t in classes) else None))


def with_votes(table: pa.Table, tree: DecisionTree, problems: dict[int, str], ids: Sequence[str]) -> pa.Table:
    """Replace the column `label` by the columns of a tree of classes, 1 or 0; return any other table as it is.

    A row without a label, with one that is no class of the tree, or of a galaxy that has another label too
    is noted in `problems`, as a row that cannot be read is: its number, from 0, and the reason. `ids` are the
    identifiers of the rows, if they are known.
    """
    table = _with_label(table)
    names = table.column_names
    if (
        not is_class_tree(tree)
        or LABEL not in names
        or any(column in names for column in tree.columns if column != LABEL)
    ):
        return table
    labels = [label_text(cell) for cell in table[LABEL].to_pylist()]
    rows: dict[str, list[int]] = {}
    for row, id_ in enumerate(ids):
        rows.setdefault(id_, []).append(row)
    for row, label in enumerate(labels):
        if not label:
            problems.setdefault(row, f"column {LABEL} is empty; name the galaxy's class, or remove the row")
        elif label not in tree.columns:
            problems.setdefault(row, f"column {LABEL}: {label!r} is none of {', '.join(tree.columns)}")
    for id_, places in rows.items():
        different = sorted({labels[row] for row in places} - {""})
        if id_ and len(different) > 1:
            for row in places:
                problems[row] = f"contradictory labels {' and '.join(different)}; all rows of this ID are left out"
    votes = {name: pa.array([float(label == name) if label else None for label in labels]) for name in tree.columns}
    out = table.drop_columns([LABEL])
    for name, values in votes.items():
        out = out.append_column(name, values)
    return out


def _with_label(table: pa.Table) -> pa.Table:
    """The table with its column `label` spelled so, whatever its case."""
    others = [name for name in table.column_names if name.strip().lower() == LABEL]
    if len(others) != 1 or others[0] == LABEL:
        return table
    return table.rename_columns([LABEL if name == others[0] else name for name in table.column_names])


def write_folder_labels(images: Sequence[str | os.PathLike[str]], path: str | os.PathLike[str]) -> None:
    """Write a table of ID and label from folders of images: the label is the sub-folder's name.

    An image that lies in no sub-folder gets no row.

    Raises
    ------
    CatalogError
        If no image lies in a sub-folder.
    """
    rows = []
    for folder in map(Path, images):
        for image in find_images([folder]):
            parts = image.relative_to(folder).parts if folder.is_dir() else ()
            if len(parts) > 1:
                rows.append((file_id(image.name), parts[0]))
    if not rows:
        where = ", ".join(map(str, images))
        raise CatalogError(f"{where}: no sub-folders of images, each named by its class; or give a table of labels")
    from ..tables.csv import csv_text  # slow to import, and prediction imports this module

    write_text(path, csv_text([("id", LABEL), *rows]))


def is_class_tree(tree: DecisionTree) -> bool:
    """Return whether the tree is one question, whose answers are classes: then every galaxy has one."""
    return len(tree.questions) == 1 and tree.questions[0].key == LABEL


def label_text(cell: object) -> str:
    """Return a cell of labels as text: "" where it is blank or a word for it, "3" for the 3.0 of a column of floats.

    "none" may be a class, such as that of galaxies without a bar.

    Examples
    --------
    >>> [label_text(cell) for cell in (3.0, "3.0", " spiral ", "none", None, float("nan"), "NA")]
    ['3', '3', 'spiral', 'none', '', '', '']
    """
    if isinstance(cell, bytes):
        cell = cell.decode("utf-8", "replace")
    label = str(cell).rstrip("\0").strip()
    if isinstance(cell, str) and label.lower() == "none":
        return label
    if is_blank(cell):
        return ""
    return str(int(match[1])) if (match := re.fullmatch(r"([+-]?\d{1,15})\.0*", label)) else label
