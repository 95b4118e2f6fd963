"""Which galaxies a report shows: examples of each class, the best and worst predicted, the most uncertain."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..runs import Run

__all__ = ["class_examples", "remarkable_classes", "remarkable_votes"]

Floats = NDArray[np.float64]


def class_examples(runs: Sequence[Run], each: int = 6, seed: int = 0) -> dict[str, list[dict[str, Any]]]:
    """A few galaxies of each class, drawn at random from all that were judged: key → entries of id and path."""
    tree = runs[0].tree
    found: dict[str, tuple[str, int]] = {}
    for run in runs:
        for id_, path, class_ in zip(run.ids, run.paths, run.classes.tolist(), strict=True):
            if class_ >= 0:
                found.setdefault(id_, (path, class_))
    rng, out = np.random.default_rng(seed), {}
    for c, rule in enumerate(tree.classes):
        ids = sorted(id_ for id_, (_, class_) in found.items() if class_ == c)
        chosen = [ids[i] for i in sorted(rng.permutation(len(ids))[:each])]
        out[rule.key] = [{"id": id_, "path": found[id_][0]} for id_ in chosen]
    return out


def remarkable_classes(run: Run, part: str, count: int = 8) -> dict[str, list[dict[str, Any]]]:
    """Classified right and surely, wrong and surely, and most uncertainly (entropy of the probabilities, in bits)."""
    rows = run.class_rows(part)
    probability = run.probability
    if probability is None or not len(rows):
        return {}
    rows = rows[~np.isnan(probability[rows]).any(1)]
    told, true = probability[rows], run.classes[rows]
    top, sure = told.argmax(1), told.max(1)
    entropy = -(told * np.log2(np.maximum(told, 1e-12))).sum(1)
    right = top == true

    def entries(order: NDArray[np.int64]) -> list[dict[str, Any]]:
        return [
            {
                "id": run.ids[rows[i]],
                "path": run.paths[rows[i]],
                "true": run.tree.classes[true[i]].name,
                "predicted": run.tree.classes[top[i]].name,
                "probability": float(sure[i]),
                "entropy_bits": float(entropy[i]),
            }
            for i in order[:count]
        ]

    by_surety = np.argsort(-sure, kind="stable")
    return {
        "best": entries(by_surety[right[by_surety]]),
        "worst": entries(by_surety[~right[by_surety]]),
        "uncertain": entries(np.argsort(-entropy, kind="stable")),
    }


def remarkable_votes(run: Run, others: Sequence[Run], part: str, count: int = 8) -> dict[str, list[dict[str, Any]]]:
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
    told, known, tree = predicted[rows], run.known[rows], run.tree
    difference = np.abs(told - known)
    rmse = np.sqrt(np.nanmean(difference**2, 1))
    where = np.nanargmax(difference, 1)
    spread = _spread(run, others, rows)
    name = "spread" if spread is not None else "entropy_bits"
    if spread is None:
        first = np.maximum(told[:, tree.slices[0]], 1e-12)
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
                "model": float(told[i, where[i]]),
            }
            for i in order[:count]
        ]

    order = np.argsort(rmse, kind="stable")
    return {
        "best": entries(order),
        "worst": entries(order[::-1]),
        "uncertain": entries(np.argsort(-spread, kind="stable")),
    }


def _spread(run: Run, others: Sequence[Run], rows: NDArray[np.int64]) -> Floats | None:
    wanted, stack = [run.ids[row] for row in rows], []
    for other in others:
        position = {id_: row for row, id_ in enumerate(other.ids)}
        if other.predicted is not None and all(id_ in position for id_ in wanted):
            stack.append(other.predicted[[position[id_] for id_ in wanted]])
    return np.std(stack, axis=0, ddof=1).mean(1) if len(stack) > 1 else None
