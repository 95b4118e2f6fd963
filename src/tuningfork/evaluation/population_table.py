"""The columns of a prediction table that a population is counted from, a block of rows at a time."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from .._utils.errors import InputError
from .._utils.text import counted
from ..display.prediction_columns import absent_column
from ..inputs.catalogues import open_rows
from ..model.bundle import Bundle, builtin_models, open_bundle
from ..model.posterior import VotePosterior
from ..pipeline.manifest import has_run, read_run
from ..pipeline.merge import about_run
from ..tables import format_of
from ..tables.angles import is_blank
from ..tables.columns import about_table, is_true
from ..votes.rules import Rule
from ..votes.traversal import with_parents
from ..votes.tree import DecisionTree
from .population import GalaxyBlock, PopulationError
from .prediction_table import id_name

__all__ = ["PopulationTable", "posterior_of"]

logger = logging.getLogger(__name__)

#: Rows that are held together: 200 draws of 37 answers of them are 15 megabytes.
BLOCK = 256
#: Files of a folder that a prediction run writes beside its parts.
_PARTS = "*.parquet"


class PopulationTable:
    """A table that `tuningfork predict` wrote, a file or a folder of parts, in the named columns.

    Parameters
    ----------
    path : path
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        # A run's manifest says which parts there must be, and which model wrote them; its parts do not.
        run = read_run(self.path) if has_run(self.path) else None
        self.parts = [self.path]
        if run:
            self.parts = [run.part(number) for number in range(run.parts)]
        elif self.path.is_dir():
            self.parts = sorted(self.path.glob(_PARTS))
        if missing := [part for part in self.parts if not part.exists()]:
            raise PopulationError(f"{missing[0]} is missing; finish the run with --resume")
        if not self.parts:
            raise PopulationError(f"{path}: a folder without parts of a prediction run ({_PARTS})")
        self.schema: pa.Schema = open_rows(str(self.parts[0]))[0].schema
        self._id = id_name(self.schema.names) or "id"
        self.about: Mapping[str, str] = about_run(run.identity) if run else about_table(self.schema)

    def values(self, column: str) -> Iterator[NDArray[Any]]:
        """Iterate over a column, a block at a time: floats, NaN where blank, or texts.

        Raises
        ------
        PopulationError
            If there is no such column.
        """
        self._check([column])
        is_text = self._is_text(column)
        for rows in self._blocks([column]):
            yield _values([row[0] for row in rows], is_text, column, self.path)

    def blocks(self, rules: Sequence[Rule], by: str = "") -> Iterator[GalaxyBlock]:
        """Iterate over the predictions of what the rules ask about; other fractions are NaN.

        Parameters
        ----------
        rules : one or more Rule, of one tree
        by : str
            The column to count by; "" for none.

        Raises
        ------
        PopulationError
            If a column is missing, or a cell is no fraction.
        InputError
            If the table is damaged.
        """
        tree = rules[0].tree
        wanted = with_parents(tree, {tree.questions[0].key}.union(*(rule.questions for rule in rules)))
        parts = [part for question, part in zip(tree.questions, tree.slices, strict=True) if question.key in wanted]
        places = [place for part in parts for place in range(part.start, part.stop)]
        names = [self._id, *(tree.fraction_names[place] for place in places)]
        self._check([*names, *([by] if by else [])], tree)
        flag = ["out_of_domain"] if "out_of_domain" in self.schema.names else []
        is_text = bool(by) and self._is_text(by)
        for rows in self._blocks([*names, *flag, *([by] if by else [])]):
            columns = list(zip(*rows, strict=True))
            fractions = np.full((len(rows), len(tree.columns)), np.nan)
            for place, name, cells in zip(places, names[1:], columns[1:], strict=False):
                fractions[:, place] = _numbers(cells, name, self.path)
            if not np.nan_to_num(np.abs(fractions - 0.5), nan=0).max() < 0.5 + 1e-6:
                raise PopulationError(f"{self.path}: a fraction is not between 0 and 1")
            marks = columns[len(names)] if flag else ("",) * len(rows)
            yield GalaxyBlock(
                [str(id_) for id_ in columns[0]],
                fractions,
                _values(columns[-1], is_text, by, self.path) if by else None,
                np.array([is_true(mark) for mark in marks]),
            )

    def _is_text(self, column: str) -> bool:
        """Whether a column holds texts; cells of a CSV do if the first that is not blank is no number."""
        if format_of(self.parts[0]).name != "csv":
            kind = self.schema.field(column).type
            return not (pa.types.is_integer(kind) or pa.types.is_floating(kind))
        for (cell,) in self._rows([column]):
            if not is_blank(cell):
                return _number(cell) is None
        return False

    def _check(self, names: Sequence[str], tree: DecisionTree | None = None) -> None:
        missing = [name for name in names if name not in self.schema.names]
        if missing and tree and missing[0] in (self._id, *tree.fraction_names):
            raise PopulationError(
                f"{self.path}: no column {missing[0]!r}; a table of `tuningfork predict` with the answers of "
                f"{tree.title}, not in Kaggle's layout, is expected"
            )
        if missing:
            raise PopulationError(f"{self.path}: {absent_column(missing[0], self.schema.names)}")

    def _rows(self, names: Sequence[str]) -> Iterator[Sequence[Any]]:
        for part in self.parts:
            for number, (row, problem) in enumerate(open_rows(str(part))[0].rows(names), 1):
                if problem:
                    raise InputError(f"{part}, row {number}: {problem}")
                yield row

    def _blocks(self, names: Sequence[str]) -> Iterator[list[Sequence[Any]]]:
        rows = self._rows(names)
        while block := list(islice(rows, BLOCK)):
            yield block


def posterior_of(about: Mapping[str, str], model: str | None = None) -> tuple[Bundle, VotePosterior]:
    """Return the model that wrote a table of predictions, and its posterior.

    Parameters
    ----------
    about : mapping
        What the table says of itself: `model`, `model_sha256` and `views`.
    model : str, optional
        Name or folder of the model; None: a shipped model that the table names.

    Raises
    ------
    PopulationError
        If it is not known, or is another than the table's, or has no posterior for so many views.
    BundleError
        If it cannot be opened.
    """
    name = model or about.get("model", "")
    if model is None and name not in builtin_models():
        of = f"by model {name!r}, which does not come with the package" if name else "by a model it does not name"
        raise PopulationError(f"the table was predicted {of}; name its folder with --model")
    bundle = open_bundle(name)
    if about.get("model_sha256", bundle.sha256) != bundle.sha256:
        text = f"the table was predicted by another version of model {bundle.name}"
        if model is None:
            raise PopulationError(f"{text}; predict again, or name with --model the one whose posterior is to be used")
        logger.warning("%s; its draws are of the posterior of %s", text, model)
    if "model_sha256" not in about:
        logger.warning("the table does not say which model predicted it; taken to be %s", bundle.name)
    posterior = bundle.calibration.posterior if bundle.calibration else None
    if posterior is None:
        raise PopulationError(
            f"model {bundle.name} has no posterior to draw from: calibrate it (`tuningfork calibrate`)"
        )
    if (views := about.get("views", str(posterior.n_views))) != str(posterior.n_views):
        raise PopulationError(
            f"the table was predicted with --views {views}, and the posterior of {bundle.name} is of "
            f"{counted(posterior.n_views, 'view')}; predict with --views {posterior.n_views}, or calibrate with {views}"
        )
    return bundle, posterior


def _values(cells: Sequence[object], is_text: bool, name: str, path: Path) -> NDArray[Any]:
    if is_text:
        return np.array(["" if cell is None else str(cell) for cell in cells], object)
    return _numbers(cells, name, path)


def _numbers(cells: Sequence[object], name: str, path: Path) -> NDArray[np.float64]:
    out = np.array([_number(cell) for cell in cells], object)
    bad = [cell for cell, number in zip(cells, out, strict=True) if number is None]
    if bad:
        raise PopulationError(
            f"{path}, column {name}: {str(bad[0])[:50]!r} is not a number; leave it blank if it is unknown"
        )
    return out.astype(np.float64)


def _number(cell: object) -> float | None:
    """A cell as a number; NaN where it is blank, None if it is none."""
    if is_blank(cell):
        return float("nan")
    try:
        return float(cell)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
