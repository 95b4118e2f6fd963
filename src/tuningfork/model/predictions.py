"""What was predicted, in memory and as a table: one picture, several, and the columns that say it."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ..display.cards import MAX_ROWS, Bar, Card, card_html, table_html
from ..tables import Column, arrow_schema, astropy_table, ucd
from ..tables.arrow import number_array, number_arrays, text_array, vector_array
from ..votes import fractions as votes
from ..votes.tree import DecisionTree, Question
from .embeddings import COLUMN, Embedder

__all__ = ["Prediction", "Predictions", "bound_name", "concatenated", "kaggle_schema", "output_schema"]


@dataclass(frozen=True, eq=False, repr=False)
class Predictions:
    """Predictions of N pictures, in the order given.

    Parameters
    ----------
    ids, paths, errors : (N,) texts
        `errors` is "" where there is a prediction, else why there is none.
    warnings : (N,) texts
        What to know of the picture, such as a part without data or another scale than the model's; "" if nothing.
    cumulative : (N, A) float64 in [0, 1]
        Products of the vote fractions down the tree; NaN without a prediction.
    class_probability : (N, C) float64 in [0, 1]
        Sums to 1 over the tree's classes; calibrated if the model is. NaN without a prediction.
    low, high : (N, A) float64 in [0, 1]
        Bounds of the intervals of `fractions`; NaN where the model has none.
    level : (N,) float64 in (0, 1)
        The share of galaxies whose fraction the intervals hold, as the model promises; NaN if it does not.
    rotation_spread, network_spread : (N,) float64
        How much the rotated and reflected views, and the ensemble's networks, differ; see `Votes`.
    domain_score : (N,) float64, 0 and above
        How unlike the pictures that the model knows; above 1 it is flagged. NaN if the model cannot tell.
    embeddings : (N, D) float32 or None
        What the networks' last layers stand on, and whose it is (`embedder`); NaN without a prediction, None if
        they were not asked for.

    thumbnails : (N,) bytes
        Small JPEGs of what the model sees, for a notebook; b"" where there is none, () if none were kept.

    A model that tells only votes, or only classes, leaves NaN in the other. In a notebook they show themselves: a
    line for each of the first galaxies.
    """

    tree: DecisionTree
    ids: tuple[str, ...]
    paths: tuple[str, ...]
    cumulative: NDArray[np.float64]
    class_probability: NDArray[np.float64]
    errors: tuple[str, ...]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    level: NDArray[np.float64]
    rotation_spread: NDArray[np.float64]
    network_spread: NDArray[np.float64]
    domain_score: NDArray[np.float64]
    warnings: tuple[str, ...]
    embeddings: NDArray[np.float32] | None = None
    embedder: Embedder | None = None
    thumbnails: tuple[bytes, ...] = ()

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, row: int) -> Prediction:
        row = operator.index(row)
        return Prediction(
            self.tree,
            self.ids[row],
            self.paths[row],
            self.cumulative[row],
            self.class_probability[row],
            self.errors[row],
            self.low[row],
            self.high[row],
            float(self.domain_score[row]),
            self.warnings[row],
            None if self.embeddings is None else self.embeddings[row],
            table=self._only(row),
        )

    def _only(self, row: int) -> Predictions:
        """One row, as a table."""
        rows = slice(row, row + 1 or None)
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        cut = {k: v[rows] for k, v in values.items() if isinstance(v, tuple | np.ndarray)}
        return Predictions(**{**values, **cut})

    @cached_property
    def fractions(self) -> NDArray[np.float64]:
        """(N, A) of those asked, the share that gives each answer."""
        return votes.shares(self.cumulative, self.tree)

    @cached_property
    def class_index(self) -> NDArray[np.int8]:
        """(N,) the most probable class, -1 without a prediction."""
        if not self.tree.classes:
            return np.full(len(self), -1, np.int8)
        missing = np.isnan(self.class_probability).any(1)
        best = np.argmax(np.where(missing[:, None], 0, self.class_probability), 1).astype(np.int8)
        return np.where(missing, np.int8(-1), best)

    @cached_property
    def clean(self) -> NDArray[np.bool_]:
        """(N,) whether the predicted votes pass the thresholds of the most probable class."""
        if not self.tree.classes:
            return np.zeros(len(self), bool)
        fits = votes.class_fits(self.cumulative, self.tree) == 1
        return fits[np.arange(len(self)), self.class_index] & (self.class_index >= 0)

    @property
    def out_of_domain(self) -> NDArray[np.bool_]:
        """(N,) whether the model flags the picture as unlike those that it knows; False if it cannot tell."""
        return self.domain_score > 1

    def to_table(self) -> pa.Table:
        """An Arrow table with the columns of `output_schema`."""
        schema, tree = output_schema(self.tree, self.embedder), self.tree
        columns = {name: text_array(getattr(self, f"{name}s")) for name in ("id", "path", "warning", "error")}
        # A NaN where there is a prediction says that nobody would be asked; a blank, that there is none.
        told = ~np.isnan(self.cumulative).any(1)
        columns.update(zip(tree.fraction_names, number_arrays(self.fractions, np.float32, told), strict=True))
        for end, bounds in (("low", self.low), ("high", self.high)):
            names = [bound_name(name, end) for name in tree.fraction_names]
            columns.update(zip(names, number_arrays(bounds, np.float32), strict=True))
        columns["interval_level"] = number_array(self.level, np.float64)
        if tree.classes:
            told = self.class_index >= 0
            names = [*(rule.name for rule in tree.classes), ""]  # the last one, at -1, is that of no prediction
            columns["class"] = number_array(self.class_index, np.int8, told)
            columns["class_name"] = text_array([names[c] for c in self.class_index.tolist()])
            columns["clean"] = number_array(self.clean, np.bool_, np.ones(len(self), bool))
            names = [f"class_{number}_probability" for number in range(len(tree.classes))]
            columns.update(zip(names, number_arrays(self.class_probability, np.float32, told), strict=True))
        for name in ("rotation_spread", "network_spread", "domain_score"):
            columns[name] = number_array(getattr(self, name), np.float32)
        columns["out_of_domain"] = number_array(self.out_of_domain, np.bool_, ~np.isnan(self.domain_score))
        if self.embeddings is not None:
            columns[COLUMN] = vector_array(self.embeddings)
        return pa.Table.from_arrays([columns[field.name] for field in schema], schema=schema)

    def to_kaggle(self) -> pa.Table:
        """GalaxyID and the cumulative columns in the order of the campaign's table; blank without a prediction."""
        columns = [text_array(self.ids), *number_arrays(self.cumulative, np.float64)]
        return pa.Table.from_arrays(columns, schema=kaggle_schema(self.tree))

    def to_pandas(self) -> Any:
        """`to_table` as a pandas data frame; needs pandas."""
        return self.to_table().to_pandas()

    def to_astropy(self) -> Any:
        """`to_table` as an astropy QTable with units and descriptions; needs ``tuningfork[sky]``."""
        return astropy_table(self.to_table())

    def __str__(self) -> str:
        shown = [str(self[row]) for row in range(min(len(self), MAX_ROWS))]
        more = [f"… and {len(self) - MAX_ROWS} more"] if len(self) > MAX_ROWS else []
        return "\n".join([*shown, *more]) or "no galaxies"

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return table_html([self[row].card() for row in range(min(len(self), MAX_ROWS))], len(self))


@dataclass(frozen=True, eq=False, repr=False)
class Prediction:
    """The prediction of one picture; see `Predictions` for the arrays, without their first axis.

    In a notebook it shows itself: the picture, the class, and the votes along the majority's way as bars.
    """

    tree: DecisionTree
    id: str
    path: str
    cumulative: NDArray[np.float64]
    class_probability: NDArray[np.float64]
    error: str
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    domain_score: float
    warning: str = ""
    embedding: NDArray[np.float32] | None = None
    #: The same as a table of one row.
    table: Predictions = field(kw_only=True)

    @property
    def out_of_domain(self) -> bool:
        """Whether the model flags the picture as unlike those that it knows; False if it cannot tell."""
        return self.domain_score > 1

    @property
    def fractions(self) -> dict[str, float]:
        """Name in words → share of those asked, such as ``{"bar_yes_fraction": 0.8, …}``."""
        values = votes.shares(self.cumulative, self.tree)
        return dict(zip(self.tree.fraction_names, values.tolist(), strict=True))

    @property
    def intervals(self) -> dict[str, tuple[float, float]]:
        """Name in words → the bounds of that fraction's interval; without those that the model does not give."""
        bounds = zip(self.tree.fraction_names, self.low.tolist(), self.high.tolist(), strict=True)
        return {name: (low, high) for name, low, high in bounds if not math.isnan(low)}

    @property
    def class_name(self) -> str:
        """The most probable class in words, "" if the tree has no classes or there is no prediction of it."""
        if not self.tree.classes or np.isnan(self.class_probability).any():
            return ""
        return self.tree.classes[int(np.argmax(self.class_probability))].name

    def steps(self) -> list[tuple[str, str, float]]:
        """The majority's way down the tree: each question's key, its answer's text, the share of those asked."""
        values = votes.shares(self.cumulative, self.tree)
        return [(question.key, self.tree.answers[at].text, float(values[at])) for question, at in self._way()]

    def _way(self) -> list[tuple[Question, int]]:
        """The questions of `steps`, with the answer's position in `tree.answers`."""
        if np.isnan(self.cumulative).any():
            return []
        parts = {question.key: part for question, part in zip(self.tree.questions, self.tree.slices, strict=True)}
        way, key = [], self.tree.questions[0].key
        while key is not None:
            # Within a question the cumulative fractions stand in the same proportion as the shares.
            at = parts[key].start + int(np.argmax(self.cumulative[parts[key]]))
            way.append((self.tree.question(key), at))
            key = self.tree.answers[at].next
        return way

    def to_table(self) -> pa.Table:
        """An Arrow table of one row; see `Predictions.to_table`."""
        return self.table.to_table()

    def to_pandas(self) -> Any:
        """`to_table` as a pandas data frame; needs pandas."""
        return self.table.to_pandas()

    def to_astropy(self) -> Any:
        """`to_table` as an astropy QTable; needs ``tuningfork[sky]``."""
        return self.table.to_astropy()

    def to_dict(self) -> dict[str, Any]:
        """Column → value of its row in `to_table`, None where that is blank; JSON can hold it."""
        (row,) = self.to_table().to_pylist()
        return row

    def card(self) -> Card:
        """What a notebook shows of it."""
        if self.error:
            return Card(self.id, error=self.error)
        shares = votes.shares(self.cumulative, self.tree)
        parts = dict(zip(self.tree.questions, self.tree.slices, strict=True))
        questions = tuple(
            (
                question.key.replace("_", " "),
                question.text,
                tuple(
                    Bar(self.tree.answers[i].text, float(shares[i]), float(self.low[i]), float(self.high[i]), i == at)
                    for i in range(parts[question].start, parts[question].stop)
                ),
            )
            for question, at in self._way()
        )
        classes = ()
        if self.class_name:
            chances = zip(self.tree.classes, self.class_probability.tolist(), strict=True)
            classes = tuple(Bar(rule.name, share, taken=rule.name == self.class_name) for rule, share in chances)
        return Card(
            self.id,
            self.table.thumbnails[0] if self.table.thumbnails else b"",
            f"{self.class_name} {self.class_probability.max():.0%}" if self.class_name else "",
            self._flags(),
            questions=questions,
            classes=classes,
        )

    def _flags(self) -> tuple[str, ...]:
        """What speaks against relying on it."""
        strange = f"OUT OF DOMAIN (score {self.domain_score:.2g}; 1 is the limit)" if self.out_of_domain else ""
        warning = f"WARNING ({self.warning})" if self.warning else ""
        return tuple(filter(None, (strange, warning)))

    def _repr_html_(self) -> str:
        return card_html(self.card())

    def __str__(self) -> str:
        if self.error:
            return f"{self.id}: {self.error}"
        top = [f"{self.class_name} ({self.class_probability.max():.0%})"] if self.class_name else []
        shares = votes.shares(self.cumulative, self.tree)
        way = ", ".join(
            f"{question.key.replace('_', ' ')}: {self.tree.answers[at].text} {shares[at]:.0%}"
            + ("" if np.isnan(self.low[at]) else f" ({self.low[at]:.0%}–{self.high[at]:.0%})")
            for question, at in self._way()
        )
        return f"{self.id}: " + "; ".join([*self._flags(), *top, *([way] if way else [])])

    __repr__ = __str__


def concatenated(tree: DecisionTree, parts: Sequence[Predictions]) -> Predictions:
    """Several Predictions of one tree as one."""
    none, answers = np.empty(0), np.empty((0, len(tree.columns)))
    classes = np.empty((0, len(tree.classes)))
    parts = parts or [Predictions(tree, (), (), answers, classes, (), answers, answers, *[none] * 4, ())]

    def joined(values: list[Any]) -> Any:
        if isinstance(values[0], np.ndarray):
            return np.concatenate(values)
        return sum(values, ()) if isinstance(values[0], tuple) else values[0]

    return Predictions(tree, *(joined([getattr(part, f.name) for part in parts]) for f in fields(Predictions)[1:]))


@lru_cache(maxsize=8)
def output_schema(tree: DecisionTree, embedder: Embedder | None = None) -> pa.Schema:
    """Columns of the output table, with descriptions; those of an `embedder` have its column too."""
    columns = [
        Column(
            "id", pa.string(), "Identifier of the galaxy: the picture file's name without extension", ucd=ucd.IDENTIFIER
        ),
        Column("path", pa.string(), "Picture file", ucd=ucd.FILE),
    ]
    names = iter(tree.fraction_names)
    for question in tree.questions:
        for answer in question.answers:
            name, text = next(names), f'Predicted share of those asked "{question.text}" who answer "{answer.text}"'
            columns += [
                Column(name, pa.float32(), f"{text}, 0 to 1", "", ucd.FRACTION),
                *(
                    Column(
                        bound_name(name, end),
                        pa.float32(),
                        f"Interval of {name}, {word} bound; null: not calibrated",
                        "",
                        limit,
                    )
                    for end, word, limit in (("low", "lower", ucd.LOWER), ("high", "upper", ucd.UPPER))
                ),
            ]
    text = "Share of galaxies whose volunteers' fraction lies within its interval, as promised; null: not calibrated"
    columns.append(Column("interval_level", pa.float64(), text, "", ucd.LEVEL))
    if tree.classes:
        listed = ", ".join(f"{number} {rule.name}" for number, rule in enumerate(tree.classes))
        columns += [
            Column("class", pa.int8(), f"Most probable class: {listed}", ucd=ucd.CLASS),
            Column("class_name", pa.string(), "Most probable class in words", ucd=ucd.CLASS_NAME),
            Column(
                "clean",
                pa.bool_(),
                "Whether the predicted votes pass the thresholds of that class's clean sample",
                ucd=ucd.SAMPLE,
            ),
        ]
        columns += [
            Column(
                f"class_{number}_probability",
                pa.float32(),
                f"Probability of class {number}, {rule.name}, 0 to 1",
                "",
                ucd.CLASS_PROBABILITY,
            )
            for number, rule in enumerate(tree.classes)
        ]
    columns += [
        Column(
            "rotation_spread",
            pa.float32(),
            "How much the picture's rotated and reflected views disagree: root mean square over the answers of the "
            "standard deviation of the cumulative fractions, 0 to 0.5; null with one view",
            "",
            ucd.SPREAD,
        ),
        Column(
            "network_spread",
            pa.float32(),
            "How much the model's networks disagree, in the same measure; null with one network",
            "",
            ucd.SPREAD,
        ),
        Column(
            "domain_score",
            pa.float32(),
            "How unlike the galaxies that the model knows the picture is: Mahalanobis distance of its sky, noise, "
            "light and colours, over the model's threshold; 0 and above; null: not calibrated",
            "",
            ucd.VALUE,
        ),
        Column(
            "out_of_domain",
            pa.bool_(),
            "Whether domain_score is above 1: perhaps another survey, a star, an artefact, no galaxy in the middle; "
            "the other columns are then not to be relied on; null: not calibrated",
            ucd=ucd.QUALITY,
        ),
    ]
    text = "Empty, or what to know of the picture: a part without data, another angular scale than the model's"
    columns.append(Column("warning", pa.string(), text, ucd=ucd.NOTE))
    columns.append(Column("error", pa.string(), "Empty, or why this row has no prediction", ucd=ucd.NOTE))
    schema = arrow_schema(columns)
    return schema.append(embedder.field) if embedder else schema


def bound_name(fraction_name: str, end: str) -> str:
    """The column of an interval's `end`, "low" or "high": ``bar_yes_fraction`` → ``bar_yes_low``."""
    return f"{fraction_name.removesuffix('_fraction')}_{end}"


@lru_cache(maxsize=8)
def kaggle_schema(tree: DecisionTree) -> pa.Schema:
    """The campaign's own layout: its ID column and the cumulative columns, in its order."""
    columns = [Column(tree.id_columns[0], pa.string(), "Identifier of the galaxy", ucd=ucd.IDENTIFIER)]
    for question in tree.questions:
        for answer in question.answers:
            text = f'Cumulative fraction of "{answer.text}" to "{question.text}", 0 to 1'
            columns.append(Column(answer.column, pa.float64(), text, "", ucd.FRACTION))
    return arrow_schema(columns)
