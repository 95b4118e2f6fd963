"""Export of a campaign: votes to train with, the history of answers, a subject manifest for Zooniverse."""

from __future__ import annotations

import os
from dataclasses import astuple
from pathlib import Path

import pyarrow as pa

from .._utils.files import check_writable
from ..tables import Column, RowError, arrow_schema, check_format, table_writer
from .campaign import Campaign
from .database import LabellingError
from .image_folder import excluded_galaxies
from .tally import tally, votes_table

__all__ = ["FORMATS", "MAX_UPLOAD_BYTES", "check_export", "export"]

#: Votes in the layout of Kaggle; one row an answer; the subjects of a Zooniverse project.
FORMATS = ("kaggle", "answers", "zooniverse")
#: Zooniverse's own uploader refuses larger files (panoptes-cli, `upload-subjects`).
MAX_UPLOAD_BYTES = 2**20
#: Images that Zooniverse displays.
ZOONIVERSE_EXTENSIONS = (".jpg", ".jpeg", ".png")


def check_export(output: Path, kind: str) -> None:
    """Raise now, rather than after hours of labelling, if nothing can be written to `output`."""
    check_format(output)
    if kind == "zooniverse" and output.suffix.lower() != ".csv":
        raise LabellingError(f"{output}: Zooniverse takes a CSV file; name one that ends in .csv")
    check_writable(output)


def export(
    campaign: Campaign, folder: Path, output: Path, kind: str, *, root: Path | None = None
) -> tuple[int, list[RowError]]:
    """Write the answers of a campaign to the file `output`.

    Parameters
    ----------
    folder : path
        The images.
    kind : one of `FORMATS`
        `kaggle`: the table of `votes_table`; `answers`: the complete history, undone answers included; both in any
        format of `tables.formats`. `zooniverse`: a CSV file for ``panoptes subject-set upload-subjects``.
    root : path, optional
        The folder where the manifest will be used; that of `output` if left out.

    Returns
    -------
    rows : int
        Number of rows written.
    errors : list of RowError
        Galaxies that were left out, with the reason.

    Raises
    ------
    CatalogError, OSError
        If it cannot be written.
    """
    errors = excluded_galaxies(campaign, folder)
    if kind == "zooniverse":
        table, more = _manifest(campaign, folder, root or output.parent)
    elif kind == "answers":
        table, more = _answers(campaign), []
    else:
        table, more = votes_table(tally(campaign.answers(), campaign.tree), campaign.tree, campaign.path)
    with table_writer(output, table.schema) as write:
        write(table)
    return table.num_rows, errors + more


def _answers(campaign: Campaign) -> pa.Table:
    columns = [
        Column("id", pa.string(), "Identifier of the galaxy: the image file's name"),
        Column("person", pa.string(), "Who answered"),
        Column("question", pa.string(), "Key of the question in the tree"),
        Column("answer", pa.string(), "Key of the answer"),
        Column("given", pa.string(), "Time of the answer, UTC"),
        Column("undone", pa.string(), "Time of its undo, UTC; empty if it is valid"),
        Column("finished", pa.bool_(), "Whether it is valid and the person answered all questions"),
        Column("tree", pa.string(), "SHA-256 of the decision tree that was used"),
    ]
    values = list(zip(*map(astuple, campaign.answers()), strict=True)) or [()] * len(columns)
    table = pa.table(list(map(list, values)), schema=arrow_schema(columns))
    return table.select(["id", "person", "given", "question", "answer", "finished", "undone", "tree"])


def _manifest(campaign: Campaign, folder: Path, root: Path) -> tuple[pa.Table, list[RowError]]:
    """One row a subject: its file relative to `root`, its ID, and what volunteers never see, or see afterwards.

    By the rules of Zooniverse a column is hidden if its name begins with ``#``, and shown only after the
    classification if with ``!``; its sequential selection uses ``#priority``. No cell is empty: the uploader, which
    takes each cell that names a file for an image, would find the folder itself.
    """
    counted = tally(campaign.answers(), campaign.tree)
    counts = dict(zip(counted.ids, zip(counted.counts.tolist(), counted.people.tolist(), strict=True), strict=True))
    rows, errors = [], []
    for priority, galaxy in enumerate((each for each in campaign.galaxies() if not each.reason), 1):
        path = folder / galaxy.path
        if path.suffix.lower() not in ZOONIVERSE_EXTENSIONS:
            errors.append(RowError(str(path), 0, galaxy.id, "", "Zooniverse shows JPEG and PNG only; convert it"))
        elif path.stat().st_size > MAX_UPLOAD_BYTES:
            errors.append(RowError(str(path), 0, galaxy.id, "", "larger than 1 MiB, Zooniverse's limit; shrink it"))
        else:
            votes, people = counts.get(galaxy.id, ([], 0))
            texts = [
                f"{answer.text} {count}" for answer, count in zip(campaign.tree.answers, votes, strict=False) if count
            ]
            rows.append((os.path.relpath(path, root), galaxy.id, priority, people, ", ".join(texts) or "none yet"))
    names = ["filename", campaign.tree.id_columns[0], "#priority", "!people", "!answers"]
    types = [pa.string(), pa.string(), pa.int64(), pa.int64(), pa.string()]
    values = list(zip(*rows, strict=True)) or [()] * len(names)
    return pa.table([pa.array(column, kind) for column, kind in zip(values, types, strict=True)], names=names), errors
