"""The prediction of one image: fractions, intervals and classes by name; as text, card and plot."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from .._utils.named_values import NamedValues
from .._utils.text import percent
from ..display.cards import Bar, Card, card_html
from ..votes.clean_samples import NO_CLASS
from ..votes.traversal import majority_path
from ..votes.tree import DecisionTree, Question

__all__ = ["Prediction"]


@dataclass(frozen=True, eq=False, repr=False)
class Prediction:
    """The prediction of one image.

    In a notebook it is shown as the image, a description, the class, and the votes on the path of the majority as bars.

    Parameters
    ----------
    table : Predictions
        The same as a table of one row.

    Examples
    --------
    >>> import tuningfork
    >>> from tuningfork.simulation import draw, render
    >>> prediction = tuningfork.load("fast").predict(render(draw(seed=0, index=1)))
    >>> prediction.steps()[0][0]
    'smooth_or_features'
    >>> round(sum(prediction.classes.values()), 6)
    1.0
    """

    #: `Predictions`, whose module imports this one.
    table: Any

    @property
    def tree(self) -> DecisionTree:
        """The decision tree whose answers are predicted."""
        return self.table.tree

    @property
    def id(self) -> str:
        """Identifier of the galaxy."""
        return self.table.ids[0]

    @property
    def path(self) -> str:
        """The image's file, "" if it is none."""
        return self.table.paths[0]

    @property
    def error(self) -> str:
        """Why there is no prediction; "" if there is one."""
        return self.table.errors[0]

    @property
    def warning(self) -> str:
        """What to know of the image, such as a part without data; "" if nothing."""
        return self.table.warnings[0]

    @property
    def cumulative(self) -> NDArray[np.float64]:
        """(A,) predicted share of all volunteers who give each answer."""
        return self.table.cumulative[0]

    @property
    def conditional(self) -> NDArray[np.float64]:
        """(A,) predicted share of those who reach the question that give each answer; see `fractions`."""
        return self.table.fractions[0]

    @property
    def class_probability(self) -> NDArray[np.float64]:
        """(C,) probability of each class given that the galaxy has one; see `classes`."""
        return self.table.class_probability[0]

    @property
    def low(self) -> NDArray[np.float64]:
        """(A,) lower bounds of the intervals; NaN where the model has none."""
        return self.table.low[0]

    @property
    def high(self) -> NDArray[np.float64]:
        """(A,) upper bounds of the intervals; NaN where the model has none."""
        return self.table.high[0]

    @property
    def domain_score(self) -> float:
        """How unlike the images that the model was trained on; above 1 it is out of domain. NaN if not calibrated."""
        return float(self.table.domain_score[0])

    @property
    def embedding(self) -> NDArray[np.float32] | None:
        """(D,) features of the networks; None if not requested."""
        return None if self.table.embeddings is None else self.table.embeddings[0]

    @property
    def structure(self) -> Mapping[str, Any] | None:
        """Structural parameters by the names of their columns; None if not requested. See `Predictions.structure`."""
        return None if self.table.structure is None else self.table.structure[0]

    @property
    def out_of_domain(self) -> bool:
        """Whether the image is flagged as out of distribution; False if the model is not calibrated for it."""
        return self.domain_score > 1

    def __getitem__(self, name: str) -> Any:
        """A value by its column in `to_table` or by its class, such as ``bar_yes_fraction`` or ``barred spiral``."""
        if name in self.classes:
            return self.classes[name]
        return NamedValues(self.to_dict(), "column or class")[name]

    @property
    def fractions(self) -> NamedValues[float]:
        """Column name → share of those who reach the question, such as ``{"bar_yes_fraction": 0.8, …}``."""
        return NamedValues(zip(self.tree.fraction_names, self.conditional.tolist(), strict=True), "fraction")

    @property
    def intervals(self) -> NamedValues[tuple[float, float]]:
        """Column name → bounds of that fraction's interval; without those that the model does not give."""
        bounds = zip(self.tree.fraction_names, self.low.tolist(), self.high.tolist(), strict=True)
        return NamedValues(((name, (low, high)) for name, low, high in bounds if not math.isnan(low)), "interval")

    @property
    def no_class_probability(self) -> float:
        """Probability that the galaxy fits no clean sample; NaN if the model does not predict it."""
        return float(self.table.no_class_probability[0])

    @property
    def classes(self) -> NamedValues[float]:
        """Class in words → its probability, "no clean class" last; they sum to 1. Empty without a prediction of them.

        A model that predicts classes without votes knows only galaxies that have one; its classes sum to 1 alone.
        """
        if np.isnan(self.class_probability).any():
            return NamedValues((), "class")
        none = 0.0 if math.isnan(self.no_class_probability) else self.no_class_probability
        shares = dict(zip(self._class_names, (self.class_probability * (1 - none)).tolist(), strict=True))
        return NamedValues(shares if math.isnan(self.no_class_probability) else {**shares, NO_CLASS: none}, "class")

    @property
    def class_name(self) -> str:
        """The most probable of `classes`, perhaps "no clean class"; "" if the tree has none or without a prediction."""
        return self.table.class_names[0]

    @property
    def nearest_class(self) -> str:
        """The most probable class, "no clean class" left aside; "" if the tree has none or without a prediction."""
        return self.table.nearest_classes[0]

    @property
    def clean(self) -> str:
        """The class whose clean-sample thresholds the predicted votes pass; "" if there is none."""
        return self.table.clean_classes[0]

    @property
    def description(self) -> str:
        """What the majority says of the galaxy, such as "smooth, completely round, nothing odd"; "" without votes."""
        return self.table.descriptions[0]

    @property
    def class_summary(self) -> str:
        """The most probable of `classes` with its probability, or that there is none and the nearest; "" without."""
        classes, name = self.classes, self.class_name
        if not name:
            return ""
        if name == NO_CLASS:
            nearest = self.nearest_class
            return f"{name} ({percent(classes[name])}); nearest: {nearest} ({percent(classes[nearest])})"
        # Of a tree of classes alone, the description is the class.
        return f"{'class: ' if classes.get(NO_CLASS) else ''}{name} ({percent(classes[name])})"

    def headline(self) -> str:
        """Return the description, then the most probable class with its probability, or "no clean class"."""
        description = self.description if self.description != self.class_name else ""
        return "; ".join(filter(None, (description, self.class_summary)))

    @property
    def _class_names(self) -> tuple[str, ...]:
        return tuple(rule.name for rule in self.tree.classes)

    def steps(self) -> list[tuple[str, str, float]]:
        """Return the path of the majority down the tree: question key, answer text, share of those who reach it."""
        return [
            (question.key, self.tree.answers[at].text, float(self.conditional[at])) for question, at in self._path()
        ]

    def _path(self) -> list[tuple[Question, int]]:
        """The questions of `steps`, with the answer's position in `tree.answers`."""
        return majority_path(self.tree, self.cumulative)

    def to_table(self) -> pa.Table:
        """Return an Arrow table of one row; see `Predictions.to_table`."""
        return self.table.to_table()

    def to_pandas(self) -> Any:
        """Return `to_table` as a pandas data frame; needs pandas."""
        return self.table.to_pandas()

    def to_astropy(self) -> Any:
        """Return `to_table` as an astropy QTable; needs ``pip install '.[sky]'``."""
        return self.table.to_astropy()

    def to_dict(self) -> dict[str, Any]:
        """Return column → value of its row in `to_table`, None where that is blank; JSON can hold it."""
        (row,) = self.to_table().to_pylist()
        return row

    def plot(self) -> Any:
        """Plot the image and the bars of the questions on the majority's path, with intervals.

        Returns
        -------
        matplotlib.figure.Figure
            Shown by a notebook; needs matplotlib, the extra ``report``.
        """
        from ..display.prediction_plots import plot_card

        return plot_card(self.card())

    def card(self) -> Card:
        """Return what a notebook shows of it."""
        if self.error:
            return Card(self.id, error=self.error)
        shares = self.conditional
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
            for question, at in self._path()
        )
        classes = tuple(Bar(name, share, is_chosen=name == self.class_name) for name, share in self.classes.items())
        return Card(
            self.id,
            self.table.thumbnails[0] if self.table.thumbnails else b"",
            self.headline(),
            self._flags(),
            questions=questions,
            classes=classes,
        )

    def _flags(self) -> tuple[str, ...]:
        """Reasons not to rely on it."""
        domain = f"OUT OF DOMAIN (score {self.domain_score:.2f}, above the limit of 1)" if self.out_of_domain else ""
        warning = f"WARNING ({self.warning})" if self.warning else ""
        return tuple(filter(None, (domain, warning)))

    def _repr_html_(self) -> str:
        return card_html(self.card())

    def _line(self) -> str:
        """Return identifier, flags, description and class, or why there is no prediction, in one line."""
        return f"{self.id}: {self.error or '; '.join(filter(None, (*self._flags(), self.headline())))}"

    def __str__(self) -> str:
        if self.error:
            return self._line()
        answers = ", ".join(
            f"{question.key.replace('_', ' ')}: {self.tree.answers[at].text} {percent(self.conditional[at])}"
            + ("" if np.isnan(self.low[at]) else f" ({100 * self.low[at]:.0f}–{percent(self.high[at])})")
            for question, at in self._path()
        )
        return "; ".join(filter(None, (self._line(), answers)))

    __repr__ = __str__
