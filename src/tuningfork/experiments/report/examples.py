"""Which galaxies a report shows: examples of each class, the best and worst predicted, the most uncertain."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..runs import TrainingRun

__all__ = ["class_examples", "remarkable_classes", "remarkable_votes"]

Floats = NDArray[np.float64]


def class_examples(runs: Sequence[TrainingRun], each: int = 6, seed: int = 0) -> dict[str, list[dict[str, Any]]]:
    """A few galaxies of each class, drawn at random from all that were judged: key → entries of id and path."""
    tree = runs[0].tree
    galaxies: dict[str, tuple[str, int]] = {}
    for run in runs:
        for id_, path, class_ in zip(run.ids, run.paths, run.classes.tolist(), strict=True):
            if class_ >= 0:
                galaxies.setdefault(id_, (path, class_))
    rng, examples = np.random.default_rng(seed), {}
    for c, rule in enumerate(tree.classes):
        ids = sorted(id_ for id_, (_, class_) in galaxies.items() if class_ == c)
        chosen = [ids[i] for i in sorted(rng.permutation(len(ids))[:each])]
        examples[rule.key] = [{"id": id_, "path": galaxies[id_][0]} for id_ in chosen]
    return examples


def remarkable_classes(run: TrainingRun, part: str, count: int = 8) -> dict[str, list[dict[str, Any]]]:
    """Right and wrong with the highest probability, and most uncertain (entropy of the probabilities, in bits)."""
    rows = run.class_rows(part)
    probability = run.probability
    if probability is None or not len(rows):
        return {}
    rows = rows[~np.isnan(probability[rows]).any(1)]
    probability, true = probability[rows], run.classes[rows]
    top, highest = probability.argmax(1), probability.max(1)
    entropy = -(probability * np.log2(np.maximum(probability, 1e-12))).sum(1)
    right = top == true

    def entries(order: NDArray[np.int64]) -> list[dict[str, Any]]:
        return [
            {
                "id": run.ids[rows[i]],
                "path": run.paths[rows[i]],
                "true": run.tree.classes[true[i]].name,
                "predicted": run.tree.classes[top[i]].name,
                "probability": float(highest[i]),
                "entropy_bits": float(entropy[i]),
            }
            for i in order[:count]
        ]

    order = np.argsort(-highest, kind="stable")
    return {
        "best": entries(order[right[order]]),
        "worst": entries(order[~right[order]]),
        "uncertain": entries(np.argsort(-entropy, kind="stable")),
    }


def remarkable_votes(
    run: TrainingRun, others: Sequence[TrainingRun], part: str, count: int = 8
) -> dict[str, list[dict[str, Any]]]:
    """Smallest and largest RMSE over a galaxy's known columns, and where `others` differ most.

    With fewer than two other runs of the same galaxies, uncertain is where the first question's predicted
    fractions have the highest entropy.
    """
    predicted, rows = run.predicted, run.rows(part)
    if predicted is None or not len(rows):
        return {}
    rows = rows[~np.isnan(predicted[rows]).any(1) & ~np.isnan(run.known[rows]).all(1)]
    if not len(rows):
        return {}
    values, known, tree = predicted[rows], run.known[rows], run.tree
    difference = np.abs(values - known)
    rmse = np.sqrt(np.nanmean(difference**2, 1))
    where = np.nanargmax(difference, 1)
    spread = _spread(run, others, rows)
    name = "spread" if spread is not None else "entropy_bits"
    if spread is None:
        first = np.maximum(values[:, tree.slices[0]], 1e-12)
        spread = -(first * np.log2(first)).sum(1)
    question = [(q, a) for q in tree.questions for a in q.answers]

    def entries(order: NDArray[np.int64]) -> list[dict[str, Any]]:
        return [
            {
                "id": run.ids[rows[i]],
                "path": run.paths[rows[i]],
                "rmse": float(rmse[i]),
                name: float(spread[i]),
                "question": question[where[i]][0].key,
                "answer": question[where[i]][1].text,
                "volunteers": float(known[i, where[i]]),
                "model": float(values[i, where[i]]),
            }
            for i in order[:count]
        ]

    order = np.argsort(rmse, kind="stable")
    return {
        "best": entries(order),
        "worst": entries(order[::-1]),
        "uncertain": entries(np.argsort(-spread, kind="stable")),
    }


def _spread(run: TrainingRun, others: Sequence[TrainingRun], rows: NDArray[np.int64]) -> Floats | None:
    ids, stack = [run.ids[row] for row in rows], []
    for other in others:
        position = {id_: row for row, id_ in enumerate(other.ids)}
        if other.predicted is not None and all(id_ in position for id_ in ids):
            stack.append(other.predicted[[position[id_] for id_ in ids]])
    return np.std(stack, axis=0, ddof=1).mean(1) if len(stack) > 1 else None
