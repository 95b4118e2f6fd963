"""What leaves a labelling: votes to train with, the answers one by one, a manifest for Zooniverse."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import pyarrow as pa

from .._utils.files import atomic_file, check_writable
from ..tables import Column, RowError, arrow_schema, check_format, table_writer
from .campaign import Store
from .pictures import left_out
from .tally import Tally, tally, votes_table

__all__ = ["FORMATS", "MAX_UPLOAD_BYTES", "check_export", "export"]

#: Kaggle's layout of votes; one row an answer; the subjects of a Zooniverse project.
FORMATS = ("kaggle", "answers", "zooniverse")
#: Zooniverse's own uploader refuses larger files (panoptes-cli, `upload-subjects`).
MAX_UPLOAD_BYTES = 2**20
#: What its pages show.
SHOWN_THERE = (".jpg", ".jpeg", ".png")


def check_export(output: Path, kind: str) -> None:
    """Raise now, rather than after hours of labelling, if nothing can be written at `output`."""
    if kind != "zooniverse":
        check_format(output)
    check_writable(output)


def export(
    store: Store, folder: Path, output: Path, kind: str, *, root: Path | None = None
) -> tuple[int, list[RowError]]:
    """Write what was answered to the file `output`; the number of its rows, and what was left out by name.

    Parameters
    ----------
    folder : path
        The pictures.
    kind : one of `FORMATS`
        `kaggle`: the table of `votes_table`; `answers`: every answer ever given, also those taken back; both in any
        format of `catalog.FORMATS`. `zooniverse`: a CSV for ``panoptes subject-set upload-subjects``.
    root : path, optional
        The folder that the manifest will lie in; `output`'s if left out.

    Raises
    ------
    CatalogError, OSError
        If it cannot be written.
    """
    errors = left_out(store, folder)
    if kind == "zooniverse":
        rows, more = _manifest(store, folder, output, root or output.parent)
        return rows, errors + more
    found, more = (
        _answers(store) if kind == "answers" else votes_table(tally(store.given(), store.tree), store.tree, store.path)
    )
    with table_writer(output, found.schema) as write:
        write(found)
    return found.num_rows, errors + more


def _answers(store: Store) -> tuple[pa.Table, list[RowError]]:
    columns = (
        Column("id", pa.string(), "Identifier of the galaxy: the picture file's name"),
        Column("person", pa.string(), "Who answered"),
        Column("given", pa.string(), "When, UTC"),
        Column("question", pa.string(), "Key of the question in the tree"),
        Column("answer", pa.string(), "Key of the answer"),
        Column("finished", pa.bool_(), "Whether the answer stands and the person went through all questions"),
        Column("undone", pa.string(), "When it was taken back, UTC; empty if it stands"),
        Column("tree", pa.string(), "SHA-256 of the decision tree that was asked"),
    )
    rows = [
        (each.galaxy, each.person, each.given, each.question, each.answer, each.finished, each.undone, each.tree)
        for each in store.given()
    ]
    values = [list(column) for column in zip(*rows, strict=True)] or [[] for _ in columns]
    return pa.table(values, schema=arrow_schema(columns)), []


def _manifest(store: Store, folder: Path, output: Path, root: Path) -> tuple[int, list[RowError]]:
    """One row a subject: its file as seen from `root`, its ID, and what volunteers never see, or see later.

    By Zooniverse's rules a column is hidden if its name begins with ``#``, and shown only after the classification
    if with ``!``; its sequential selection goes by ``#priority``. No cell is empty: the uploader, which takes each
    cell that names a file for a picture, would find the folder itself.
    """
    found = tally(store.given(), store.tree)
    said = {id_: _said(found, row, store) for row, id_ in enumerate(found.ids)}
    rows, errors = [], []
    for priority, each in enumerate((look for look in store.galaxies() if not look.reason), 1):
        path = folder / each.path
        if path.suffix.lower() not in SHOWN_THERE:
            errors.append(RowError(str(path), 0, each.id, "", "Zooniverse shows JPEG and PNG only; convert it"))
        elif path.stat().st_size > MAX_UPLOAD_BYTES:
            errors.append(RowError(str(path), 0, each.id, "", "larger than 1 MiB, Zooniverse's limit; shrink it"))
        else:
            people, answers = said.get(each.id, (0, "none yet"))
            rows.append([os.path.relpath(path, root), each.id, priority, people, answers])
    with atomic_file(output) as part, open(part, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["filename", store.tree.id_columns[0], "#priority", "!people", "!answers"])
        writer.writerows(rows)
    return len(rows), errors


def _said(found: Tally, row: int, store: Store) -> tuple[int, str]:
    """How many people finished a galaxy, and their answers with the number of votes."""
    texts = [
        f"{answer.text} {count}"
        for answer, count in zip(store.tree.answers, found.counts[row].tolist(), strict=True)
        if count
    ]
    return int(found.people[row]), ", ".join(texts)
