"""Columns of prediction tables: names, types, units and descriptions, in our layout and in Kaggle's."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa

from ..tables import Column, arrow_schema, ucd
from ..tables.arrow import number_array, number_arrays, text_array, vector_array
from ..votes.clean_samples import NO_CLASS
from ..votes.tree import DecisionTree
from .embeddings import COLUMN, Embedder
from .structure_columns import REASON, STRUCTURE_COLUMNS, structure_arrays

__all__ = ["kaggle_schema", "kaggle_table", "output_schema", "output_table"]


def output_table(predictions: Any) -> pa.Table:
    """Return an Arrow table of `Predictions` with the columns of `output_schema`, a row for each image."""
    tree, structure = predictions.tree, predictions.structure
    schema = output_schema(tree, predictions.embedder, structure=structure is not None)
    columns = {name: text_array(getattr(predictions, f"{name}s")) for name in ("id", "path", "warning", "error")}
    # A NaN where there is a prediction means that nobody would reach the question; a blank, that there is none.
    predicted = predictions.votes.complete
    columns.update(zip(tree.fraction_names, number_arrays(predictions.fractions, np.float32, predicted), strict=True))
    for end, bounds in (("low", predictions.low), ("high", predictions.high)):
        names = [f"{name}_{end}" for name in tree.answer_names]
        columns.update(zip(names, number_arrays(bounds, np.float32), strict=True))
    columns["description"] = text_array(predictions.descriptions)
    columns["interval_level"] = number_array(predictions.level, np.float64)
    if tree.classes:
        index = predictions.class_index
        columns["class"] = number_array(index, np.int8, (index >= 0) & (index < len(tree.classes)))
        columns["class_name"] = text_array(predictions.class_names)
        columns["nearest_class"] = text_array(name or None for name in predictions.nearest_classes)
        columns["clean_class"] = text_array(name or None for name in predictions.clean_classes)
        names = [f"class_{number}_probability" for number in range(len(tree.classes))]
        columns.update(zip(names, number_arrays(predictions.class_probability, np.float32), strict=True))
        columns["no_class_probability"] = number_array(predictions.no_class_probability, np.float32)
    for name in ("rotation_spread", "network_spread", "domain_score"):
        columns[name] = number_array(getattr(predictions, name), np.float32)
    columns["out_of_domain"] = number_array(predictions.out_of_domain, np.bool_, ~np.isnan(predictions.domain_score))
    if structure is not None:
        columns.update(structure_arrays(structure))
        # What was not read was not measured for the same reason.
        reasons = (row["error"] if row else error for row, error in zip(structure, predictions.errors, strict=True))
        columns[REASON.name] = text_array(reasons)
    if predictions.embeddings is not None:
        columns[COLUMN] = vector_array(predictions.embeddings)
    return pa.Table.from_arrays([columns[field.name] for field in schema], schema=schema)


def kaggle_table(predictions: Any) -> pa.Table:
    """Return ID and cumulative fractions of `Predictions` in the campaign's order; blank without a prediction."""
    columns = [text_array(predictions.ids), *number_arrays(predictions.cumulative, np.float64)]
    return pa.Table.from_arrays(columns, schema=kaggle_schema(predictions.tree))


def output_schema(tree: DecisionTree, embedder: Embedder | None = None, *, structure: bool = False) -> pa.Schema:
    """Return the columns of the output table, with descriptions.

    Parameters
    ----------
    embedder : Embedder, optional
        Whose embeddings are a column, too.
    structure : bool
        Whether there are columns of structural parameters.
    """
    # Trees are equal whatever their classes' descriptions say, which stand in the columns' descriptions.
    return _output_schema(tree, tuple(rule.meaning for rule in tree.classes), embedder, structure)


@lru_cache(maxsize=8)
def _output_schema(
    tree: DecisionTree, meanings: tuple[str, ...], embedder: Embedder | None, structure: bool
) -> pa.Schema:
    columns = [*_ABOUT, *_fraction_columns(tree), *(_class_columns(tree, meanings) if tree.classes else ()), *_QUALITY]
    if structure:
        columns += [*STRUCTURE_COLUMNS, REASON]
    schema = arrow_schema(columns)
    return schema.append(embedder.field) if embedder else schema


_ABOUT = (
    Column(
        "id",
        pa.string(),
        "Identifier of the galaxy: the catalogue's, else the image file's name without extension",
        ucd=ucd.IDENTIFIER,
    ),
    Column("path", pa.string(), "Image file", ucd=ucd.FILE),
    Column(
        "description",
        pa.string(),
        "What the majority says, in words, by the predicted votes; empty without a prediction of them",
        ucd=ucd.CLASS_NAME,
    ),
)


def _fraction_columns(tree: DecisionTree) -> list[Column]:
    """The fraction of each answer with the bounds of its interval, and the level of the intervals."""
    columns = []
    for name, answer, question in zip(tree.answer_names, tree.answers, tree.question_numbers, strict=True):
        text = f'Predicted share of those asked "{tree.questions[question].text}" who answer "{answer.text}", 0 to 1'
        fraction = f"{name}_fraction"
        columns.append(Column(fraction, pa.float32(), text, "", ucd.FRACTION))
        for end, word, limit in (("low", "lower", ucd.LOWER), ("high", "upper", ucd.UPPER)):
            text = f"Interval of {fraction}, {word} bound; null: not calibrated"
            columns.append(Column(f"{name}_{end}", pa.float32(), text, "", limit))
    text = "Promised share of galaxies with all fractions of a question within their intervals; null: not calibrated"
    return [*columns, Column("interval_level", pa.float64(), text, "", ucd.LEVEL)]


def _class_columns(tree: DecisionTree, meanings: tuple[str, ...]) -> list[Column]:
    """The class in several words, and the probability of each class and of none."""
    listed = ", ".join(f"{number} {meaning}" for number, meaning in enumerate(meanings))
    return [
        Column(
            "class",
            pa.int8(),
            f"Most probable class: {listed}; null if none is more probable, or without a prediction",
            ucd=ucd.CLASS,
        ),
        Column(
            "class_name",
            pa.string(),
            f'Most probable class in words, "{NO_CLASS}" if none is more probable; empty without a prediction',
            ucd=ucd.CLASS_NAME,
        ),
        Column(
            "nearest_class",
            pa.string(),
            "Most probable class in words, also where none is more probable; null without a prediction",
            ucd=ucd.CLASS_NAME,
        ),
        Column(
            "clean_class",
            pa.string(),
            "Class whose clean-sample thresholds the predicted votes pass; null if they pass none",
            ucd=ucd.SAMPLE,
        ),
        *(
            Column(
                f"class_{number}_probability",
                pa.float32(),
                f"Probability of class {number}, {rule.name}, given that the galaxy has a class, 0 to 1",
                "",
                ucd.CLASS_PROBABILITY,
            )
            for number, rule in enumerate(tree.classes)
        ),
        Column(
            "no_class_probability",
            pa.float32(),
            "Probability that the volunteers' votes pass the thresholds of no clean sample, 0 to 1; null: the "
            "model predicts no votes",
            "",
            ucd.CLASS_PROBABILITY,
        ),
    ]


_QUALITY = (
    Column(
        "rotation_spread",
        pa.float32(),
        "How much the image's rotated and reflected views disagree: root mean square over the answers of the "
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
        "How unlike the galaxies of the model's training the image is: Mahalanobis distance of its sky, noise, "
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
    Column(
        "warning",
        pa.string(),
        "Empty, or what to know of the image: a part without data, another angular scale than the model's",
        ucd=ucd.NOTE,
    ),
    Column("error", pa.string(), "Empty, or why this row has no prediction", ucd=ucd.NOTE),
)


@lru_cache(maxsize=8)
def kaggle_schema(tree: DecisionTree) -> pa.Schema:
    """The campaign's own layout: its ID column and the cumulative columns, in its order."""
    columns = [Column(tree.id_columns[0], pa.string(), "Identifier of the galaxy", ucd=ucd.IDENTIFIER)]
    for question in tree.questions:
        for answer in question.answers:
            text = f'Cumulative fraction of "{answer.text}" to "{question.text}", 0 to 1'
            columns.append(Column(answer.column, pa.float64(), text, "", ucd.FRACTION))
    return arrow_schema(columns)
