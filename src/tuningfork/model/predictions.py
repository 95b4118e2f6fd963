"""Predictions in memory: of one image, and of several; as text, HTML, and tables."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any, overload

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ..display.cards import MAX_ROWS, table_html
from ..tables import astropy_table
from ..votes.clean_samples import NO_CLASS, classify
from ..votes.description import descriptions
from ..votes.tree import DecisionTree
from ..votes.vote_table import VoteTable
from .class_calibration import class_index
from .embeddings import Embedder
from .posterior import VotePosterior
from .prediction import Prediction
from .prediction_columns import kaggle_table, output_schema, output_table
from .prediction_files import write_file as _write_file
from .prediction_files import write_gallery_of
from .row_lookup import RowLookup, Rows

__all__ = ["Prediction", "Predictions", "concatenated"]


@dataclass(frozen=True, eq=False, repr=False)
class Predictions:
    """Predictions of N images, in the order of the input.

    A model that predicts only votes, or only classes, leaves NaN in the other. In a notebook they are shown as a
    table with a row for each of the first galaxies.

    Parameters
    ----------
    votes : VoteTable
        Identifiers and cumulative fractions (N, A); NaN without a prediction.
    paths, errors : (N,) texts
        `errors` is "" where there is a prediction, else why there is none.
    class_probability : (N, C) float64 in [0, 1]
        Probability of each of the tree's classes given that the galaxy has one: sums to 1; calibrated if the model is.
        NaN without a prediction.
    no_class_probability : (N,) float64 in [0, 1]
        Probability that the volunteers' votes pass the thresholds of no class. NaN without a prediction, and of a model
        that predicts classes without votes, which knows only galaxies that have one.
    low, high : (N, A) float64 in [0, 1]
        Bounds of the intervals of `fractions`; NaN where the model has none.
    level : (N,) float64 in (0, 1)
        Share of galaxies of which a question's intervals hold all fractions (conformal prediction); NaN if they do not
        exist.
    rotation_spread, network_spread : (N,) float64
        How much the rotated and reflected views, and the networks of the ensemble, differ; see `NetworkOutputs`.
    domain_score : (N,) float64, 0 and above
        How unlike the images that the model was trained on; above 1 it is out of domain. NaN if not calibrated.
    warnings : (N,) texts
        What to know of the image, such as a part without data or another scale than the model's; "" if nothing.
    embeddings : (N, D) float32 or None
        Features of the networks before their last layer, and whose they are (`embedder`); NaN without a prediction,
        None if not requested.
    thumbnails : (N,) bytes
        Small JPEGs of what the model sees, for a notebook; b"" where there is none, () if none were made.
    posterior : VotePosterior or None
        What `draws` draws from; None if the model was not calibrated with so many views.
    structure : (N,) mappings or None
        Structural parameters, by statmorph, see `InferenceOptions`: a value by the name of its column in `to_table`,
        and ``error``, why the galaxy was not measured; empty where the image cannot be read. None if not requested.

    Examples
    --------
    >>> import tuningfork
    >>> from tuningfork.simulation import draw, render
    >>> predictions = tuningfork.load("fast").predict([render(draw(1, 0)), b"not an image"])
    >>> len(predictions), [bool(error) for error in predictions.errors]
    (2, [False, True])
    >>> predictions.to_table().num_rows
    2
    """

    votes: VoteTable
    paths: tuple[str, ...]
    class_probability: NDArray[np.float64]
    no_class_probability: NDArray[np.float64]
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
    posterior: VotePosterior | None = None
    structure: tuple[Mapping[str, Any], ...] | None = None

    def __len__(self) -> int:
        return len(self.votes)

    @overload
    def __getitem__(self, rows: int | str) -> Prediction: ...  # type: ignore[overload-overlap]

    @overload
    def __getitem__(self, rows: Rows) -> Predictions: ...

    def __getitem__(self, rows: int | str | Rows) -> Prediction | Predictions:
        """One galaxy by its number or ID; several by a slice, a mask, or a list of numbers or IDs."""
        if isinstance(rows, str | int | np.integer):
            return Prediction(self.select([self._rows.one(rows)]))
        return self.select(rows)

    @cached_property
    def _rows(self) -> RowLookup:
        return RowLookup(self.ids, output_schema(self.tree).names)

    def select(self, rows: Rows) -> Predictions:
        """Return some of the galaxies, in this order.

        Parameters
        ----------
        rows : slice, mask (N,) of bool, or sequence of numbers or of IDs
            An Arrow or pandas column of bool is a mask, too.

        Raises
        ------
        KeyError
            If there is no galaxy of an ID, or several are.
        IndexError
            If a number, or the length of a mask, does not fit.
        """
        at = self._rows.several(rows)
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        parts: dict[str, Any] = {}
        for name, value in values.items():
            if isinstance(value, np.ndarray):
                parts[name] = value[at]
            elif isinstance(value, tuple) and value:
                parts[name] = tuple(value[row] for row in at.tolist())
        return replace(self, votes=self.votes.select(at), **parts)

    @property
    def tree(self) -> DecisionTree:
        """The decision tree whose answers are predicted."""
        return self.votes.tree

    @property
    def ids(self) -> tuple[str, ...]:
        """(N,) identifiers of the galaxies, which are file names without extension unless the input names them."""
        return self.votes.ids

    @property
    def cumulative(self) -> NDArray[np.float64]:
        """(N, A) predicted share of all volunteers who give each answer, the fractions multiplied down the tree."""
        return self.votes.fractions

    @property
    def fractions(self) -> NDArray[np.float64]:
        """(N, A) predicted share of those who reach the question that give each answer."""
        return self.votes.conditional

    @cached_property
    def class_index(self) -> NDArray[np.int8]:
        """(N,) the most probable of the classes and none, 0 to C − 1, C if it is none; −1 without a prediction."""
        return class_index(self.class_probability, self.no_class_probability)

    @property
    def class_names(self) -> tuple[str, ...]:
        """(N,) names of `class_index`; "no clean class" if that is none, "" without a prediction."""
        names = [*(rule.name for rule in self.tree.classes), NO_CLASS, ""]
        return tuple(names[index] for index in self.class_index.tolist())

    @property
    def nearest_classes(self) -> tuple[str, ...]:
        """(N,) names of the most probable class, none left aside; "" without a prediction."""
        if not self.tree.classes:
            return ("",) * len(self)
        known = self.class_index >= 0
        best = np.argmax(np.where(known[:, None], self.class_probability, 0), 1)
        names = [rule.name for rule in self.tree.classes]
        return tuple(names[index] if has else "" for index, has in zip(best.tolist(), known.tolist(), strict=True))

    @cached_property
    def clean_classes(self) -> tuple[str, ...]:
        """(N,) names of the class whose clean-sample thresholds the predicted votes pass; "" if there is none."""
        names = [*(rule.name for rule in self.tree.classes), ""]
        return tuple(names[max(index, -1)] for index in classify(self.cumulative, self.tree).tolist())

    @cached_property
    def descriptions(self) -> tuple[str, ...]:
        """(N,) what the majority says of each galaxy, in words; "" without predicted votes."""
        return descriptions(self.tree, self.cumulative)

    def class_counts(self) -> dict[str, int]:
        """Return how many galaxies each class is the most probable of, by name, the most frequent first."""
        return dict(Counter(filter(None, self.class_names)).most_common())

    @property
    def out_of_domain(self) -> NDArray[np.bool_]:
        """(N,) whether the image is flagged as out of distribution; False if the model is not calibrated for it."""
        return self.domain_score > 1

    def draws(self, k: int, seed: int = 0) -> NDArray[np.float64]:
        """Draw the volunteers' fractions from their posterior: one per question, down the tree.

        Count the draws that fulfil a condition, rather than the galaxies whose predicted fractions do: a threshold on
        predictions is biased. Each draw has also an error of its own that all galaxies share, so a count's scatter over
        the draws is the error of the classification.

        Parameters
        ----------
        k : int, at least 1
        seed : int, at least 0
            A galaxy's draws depend on its ID, its fractions, k and the seed, and on no other galaxy.

        Returns
        -------
        (k, N, A) float64 in [0, 1]
            Cumulative fractions; NaN without a prediction, and for questions that too few galaxies were fitted on.

        Raises
        ------
        ValueError
            If the model was not calibrated, or not with so many views.

        Examples
        --------
        >>> import tuningfork
        >>> from tuningfork.simulation import draw, render
        >>> predictions = tuningfork.load("fast").predict([render(draw(seed=0, index=i)) for i in range(3)])
        >>> smooth = predictions.draws(100)[:, :, 0] >= 0.5
        >>> smooth.sum(1).shape
        (100,)
        """
        if self.posterior is None:
            raise ValueError(
                "the model has no posterior for so many views to draw from: calibrate it (`tuningfork calibrate`)"
            )
        return self.posterior.draws(self.fractions, self.ids, self.tree, k, seed)

    def to_table(self) -> pa.Table:
        """Return an Arrow table with the columns that `tuningfork predict` writes."""
        about = {"values_kind": self.tree.values_kind, "values_kind_source": self.tree.values_kind_source}
        return output_table(self).replace_schema_metadata({key: value for key, value in about.items() if value})

    def to_kaggle(self) -> pa.Table:
        """Return GalaxyID and the cumulative fractions in the order of the campaign's table."""
        return kaggle_table(self)

    def write(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
        """Write `to_table` as a file: CSV, Parquet, FITS, VOTable or ECSV, by its extension.

        Parameters
        ----------
        path : path-like
        overwrite : bool
            Whether to replace a file that is there.

        Returns
        -------
        Path

        Raises
        ------
        OutputError
            If the file exists and `overwrite` is False.
        CatalogError
            If the extension is of no format, or its library is missing.
        """
        return _write_file(self.to_table(), path, overwrite)

    def to_csv(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
        """Write `to_table` as CSV, with a description of its columns beside it; see `write`.

        Parameters
        ----------
        path : path-like
            A file .csv.
        overwrite : bool
            Whether to replace a file that is there.

        Raises
        ------
        ValueError
            If the extension is another.
        """
        if Path(path).suffix.lower() != ".csv":
            raise ValueError(f"{path}: to_csv writes .csv; write() takes the format from the extension")
        return self.write(path, overwrite=overwrite)

    def gallery(
        self, path: str | os.PathLike[str] = "gallery.html", *, title: str = "Predictions", overwrite: bool = False
    ) -> Path:
        """Write a page to browse the galaxies: thumbnails, search, filters, sorting, a selection to save.

        Parameters
        ----------
        path : path-like
            A file .html, which holds all thumbnails; or a folder.
        title : str
        overwrite : bool
            Whether to replace what is there.

        Returns
        -------
        Path
        """
        return write_gallery_of(self, Path(path), title, overwrite)

    def plot(self, labels: VoteTable | None = None, *, panels: Sequence[str] = ()) -> Any:
        """Plot the vote fractions, the class counts with intervals and, with labels, the reliability.

        Parameters
        ----------
        labels : VoteTable, optional
            Votes of volunteers, matched by ID; see `read_labels`.
        panels : sequence of str
            ``fractions``, ``classes``, ``reliability``; empty: all that apply.

        Returns
        -------
        matplotlib.figure.Figure
            Shown by a notebook; needs matplotlib, the extra ``report``.
        """
        from ..display.prediction_plots import plot_predictions

        return plot_predictions(self.to_table(), self.tree, labels=labels, panels=panels)

    def to_pandas(self) -> Any:
        """Return `to_table` as a pandas data frame; needs pandas."""
        return self.to_table().to_pandas()

    def to_astropy(self) -> Any:
        """Return `to_table` as an astropy QTable with units and descriptions; needs ``pip install '.[sky]'``."""
        return astropy_table(self.to_table())

    def __str__(self) -> str:
        lines = [self[row]._line() for row in range(min(len(self), MAX_ROWS))]
        more = [f"… and {len(self) - MAX_ROWS} more"] if len(self) > MAX_ROWS else []
        return "\n".join([*lines, *more]) or "no galaxies"

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return table_html([self[row].card() for row in range(min(len(self), MAX_ROWS))], len(self))


def concatenated(tree: DecisionTree, parts: Sequence[Predictions]) -> Predictions:
    """Return several Predictions of one tree as one."""
    if not parts:
        none, answers = np.empty(0), np.empty((0, len(tree.columns)))
        return Predictions(
            votes=VoteTable(tree, (), answers),
            paths=(),
            class_probability=np.empty((0, len(tree.classes))),
            no_class_probability=none,
            errors=(),
            low=answers,
            high=answers,
            level=none,
            rotation_spread=none,
            network_spread=none,
            domain_score=none,
            warnings=(),
        )

    def joined(values: list[Any]) -> Any:
        if isinstance(values[0], VoteTable):
            return VoteTable.concatenated(values)
        if isinstance(values[0], np.ndarray):
            return np.concatenate(values)
        # Not their sum, which would copy those before once for each part.
        return tuple(chain.from_iterable(values)) if isinstance(values[0], tuple) else values[0]

    return Predictions(*(joined([getattr(part, field.name) for part in parts]) for field in fields(Predictions)))
