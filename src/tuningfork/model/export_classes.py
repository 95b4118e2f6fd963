"""The classes of an exported model: `class_calibration.class_probabilities`, operator by operator."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..votes.class_labels import is_class_tree
from ..votes.clean_samples import SLACK
from ..votes.traversal import question_sources
from ..votes.tree import DecisionTree
from .class_calibration import BELOW_NONE, LEAST_PROBABILITY, MARGIN_SCALE, ClassCalibration
from .graph import GraphBuilder

__all__ = ["class_outputs"]


def class_outputs(
    graph: GraphBuilder,
    tree: DecisionTree,
    calibration: ClassCalibration | None,
    dtype: np.dtype[Any],
    *,
    votes: str = "",
    probability: str = "",
) -> tuple[str, str]:
    """Return the values of the classes' probabilities (N, C) and of that of none (N,); "" if it is not predicted.

    Parameters
    ----------
    votes : name of a value (N, A)
        Cumulative fractions; "" if there are none.
    probability : name of a value (N, C)
        Class outputs of networks that predict no votes.
    """
    source = "votes" if votes else "network"
    if calibration is None or calibration.source != source:
        calibration = ClassCalibration(source=source)
    by_rules = bool(votes) and not is_class_tree(tree)
    if by_rules:
        margins = _margins(graph, votes, tree, dtype)
        scores = graph.add("Div", margins, np.array(MARGIN_SCALE, dtype))
    else:
        if votes:
            places = [tree.positions[rule.all_of[0][0]] for rule in tree.classes]
            probability = graph.add("Gather", votes, np.array(places), axis=1)
        scores = graph.add("Log", graph.add("Max", probability, np.array(LEAST_PROBABILITY, dtype)))
    logits = graph.add("Mul", scores, np.array(calibration.slope, dtype))
    if calibration.slope_above is not None:
        above = graph.add("Max", scores, np.array(0, dtype))
        more = graph.add("Mul", above, np.array(calibration.slope_above - calibration.slope, dtype))
        logits = graph.add("Add", logits, more)
    if calibration.offsets:
        logits = graph.add("Add", logits, np.array(calibration.offsets, dtype))
    first = graph.part(logits, 1, 0, 1)
    zeros = graph.add("Sub", first, first)
    if by_rules:
        justified = graph.add(
            "Or",
            graph.add("GreaterOrEqual", margins, np.array(-SLACK, dtype)),
            graph.add("GreaterOrEqual", _agreement(graph, votes, tree, dtype), np.array(0.5, dtype)),
        )
        below_none = graph.add("Min", logits, np.array(-BELOW_NONE, dtype))
        logits = graph.add("Where", justified, logits, below_none)
        joint = graph.add("Softmax", graph.add("Concat", logits, zeros, axis=1), axis=1)
        none = graph.part(joint, 1, len(tree.classes), len(tree.classes) + 1)
    else:
        none = zeros if is_class_tree(tree) else ""
    shape = np.array([-1])
    return graph.add("Softmax", logits, axis=1), none and graph.add("Reshape", none, shape)


def _margins(graph: GraphBuilder, votes: str, tree: DecisionTree, dtype: np.dtype[Any]) -> str:
    """(N, C); see `votes.clean_samples.class_margins`."""

    def differences(thresholds: tuple[tuple[str, float], ...]) -> str:
        places = np.array([tree.positions[column] for column, _ in thresholds])
        least = np.array([least for _, least in thresholds], dtype)
        return graph.add("Sub", graph.add("Gather", votes, places, axis=1), least)

    return _of_rules(graph, tree, differences)


def _agreement(graph: GraphBuilder, votes: str, tree: DecisionTree, dtype: np.dtype[Any]) -> str:
    """(N, C), 1 where the answers that a rule demands are on the majority's path; see `clean_samples.justified`."""
    chosen = []
    for part in tree.slices:
        most = graph.add("ArgMax", graph.part(votes, 1, part.start, part.stop), axis=1, keepdims=1)
        answers = np.arange(part.stop - part.start)[None]
        chosen.append(graph.cast(graph.add("Equal", most, answers), dtype))
    for number, sources in question_sources(tree):
        reached = []
        for position in sources:
            question = tree.question_numbers[position]
            at = position - tree.slices[question].start
            reached.append(graph.part(chosen[question], 1, at, at + 1))
        any_of = graph.add("Max", *reached) if len(reached) > 1 else reached[0]
        chosen[number] = graph.add("Mul", chosen[number], any_of)
    on_path = graph.add("Concat", *chosen, axis=1)

    def marks(thresholds: tuple[tuple[str, float], ...]) -> str:
        return graph.add("Gather", on_path, np.array([tree.positions[column] for column, _ in thresholds]), axis=1)

    return _of_rules(graph, tree, marks)


def _of_rules(graph: GraphBuilder, tree: DecisionTree, values: Any) -> str:
    """(N, C): of each rule the least of the values of `all_of` and the largest of those of `any_of`."""
    columns = []
    for rule in tree.classes:
        parts = []
        if rule.all_of:
            parts.append(graph.add("ReduceMin", values(rule.all_of), np.array([1]), keepdims=1))
        if rule.any_of:
            parts.append(graph.add("ReduceMax", values(rule.any_of), np.array([1]), keepdims=1))
        columns.append(graph.add("Min", *parts) if len(parts) > 1 else parts[0])
    return graph.add("Concat", *columns, axis=1)
