"""What a training is told of each galaxy, and errors."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from .family import Family
from .galaxies import Galaxies

#: What is told of each galaxy, and how many numbers it takes; A answers, C classes, F folders.
TABLES = {
    "target": "A",  # cumulative fractions, of volunteers or of a teacher
    "weight": "A",  # of their squared errors; 0 where nothing is known
    "candidates": "C",  # classes that the galaxy may have, given that it has one; all 0: nothing is known
    "soft": "C",  # a teacher's probabilities, where there are any (sum 1, else 0)
    "least": "A",  # votes that must be reached; 0 asks nothing
    "hart": "A",  # shares of answers in the reduction of Hart et al. 2016
    "hart_weight": "A",
    "folders": "F",
}


def tables_of(family: Family, galaxies: Galaxies, taught: np.ndarray | None) -> dict[str, Tensor]:
    """What the training is told, (N, …) each, `taught` (N, A + C) being what its teachers say on average.

    A labelled galaxy's unknown fractions follow from what is known above them: the known share of volunteers who
    reach a question times the teachers' shares of its answers.
    """
    pack = galaxies.pack
    target, known = np.nan_to_num(pack["cumulative"]), ~np.isnan(pack["cumulative"])
    weight = known.astype(np.float32)
    soft = np.zeros_like(pack["candidates"])
    if taught is not None:
        answers = target.shape[1]
        target = target + family.blend * (taught[:, :answers] - target)
        target = filled(target, known, taught[:, :answers], pack["question"], pack["parent"])
        weight = np.where(known, weight, family.fill).astype(np.float32)
        foreign = pack["source"] != "labelled"
        soft[foreign] = family.fill * taught[foreign, answers:]
    return {
        key: torch.from_numpy(np.ascontiguousarray(value, np.float32))
        for key, value in {
            "target": target, "weight": weight, "candidates": pack["candidates"], "soft": soft,
            "least": pack["least"], "hart": pack["hart"], "hart_weight": pack["hart_asked"] * asked_weight(pack),
            "folders": pack["folders"],
        }.items()
    }  # fmt: skip


def asked_weight(pack: Mapping[str, np.ndarray]) -> np.ndarray:
    """(A,) 1, but 0 for the first question, whose debiasing depends on more than the votes."""
    return (pack["question"] > 0).astype(np.float32)


def filled(
    target: np.ndarray, known: np.ndarray, taught: np.ndarray, question: np.ndarray, parent: np.ndarray
) -> np.ndarray:
    """Known fractions (N, A), the others as a teacher shares out what reaches their question."""
    out = np.where(known, target, 0).astype(np.float32)
    for q, above in enumerate(parent):
        part = np.flatnonzero(question == q)
        reach = np.ones(len(out), np.float32) if above < 0 else out[:, above]
        total = taught[:, part].sum(1, keepdims=True)
        shares = np.where(total > 1e-6, taught[:, part] / np.maximum(total, 1e-6), 1 / len(part))
        out[:, part] = np.where(known[:, part], out[:, part], reach[:, None] * shares)
    return out


def rmse(said: np.ndarray, known: np.ndarray) -> dict[str, float]:
    """Of the complete rows, and over all known cells."""
    wrong = said[:, : known.shape[1]] - known
    complete = ~np.isnan(known).any(1)
    return {
        "complete": float(np.sqrt((wrong[complete] ** 2).mean())) if complete.any() else math.nan,
        "known": float(np.sqrt(np.nanmean(wrong**2))),
    }


def from_255ths(said: np.ndarray) -> np.ndarray:
    """Fractions as kept: as they are, or in 255ths."""
    return said.astype(np.float32) / (255 if said.dtype == np.uint8 else 1)
