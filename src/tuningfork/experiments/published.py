"""The published numbers of the paper, and its errata as its own numbers imply them."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..evaluation import metrics

__all__ = ["PublishedNumbers", "errata", "load_published"]


@dataclass(frozen=True)
class PublishedNumbers:
    """The numbers of Kalvankar, Pandit & Parwate 2020; ``paper.toml`` describes the entries of each row."""

    reference: str
    galaxies: int
    test_images: int
    size: int
    class_galaxies: int
    regression: tuple[dict[str, Any], ...]
    ensemble_rmse_in_table: float
    classification: tuple[dict[str, Any], ...]
    classes: tuple[dict[str, Any], ...]
    confusion: NDArray[np.int64]  # (C, C), rows the true class
    confusion_network: str
    anchors: tuple[dict[str, Any], ...]

    def rmse_of(self, network: str) -> float | None:
        """The printed RMSE of a network by timm's name, of several by their names joined with ``+``."""
        return next((row["rmse"] for row in self.regression if row["network"] == network), None)

    def classes_of(self, network: str) -> dict[str, Any] | None:
        """The printed accuracy, macro precision, recall and F1 of a network by timm's name."""
        return next((row for row in self.classification if row["network"] == network), None)


@cache
def load_published() -> PublishedNumbers:
    """The paper's numbers, from ``paper.toml``.

    Examples
    --------
    >>> load_published().rmse_of("efficientnet_b0+efficientnet_b2")
    0.07765
    """
    data = tomllib.loads(resources.files(__package__).joinpath("paper.toml").read_text("utf-8"))
    matrix = data.pop("confusion")
    values: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in data.items()}
    confusion = np.array(matrix["counts"], np.int64)
    return PublishedNumbers(**values, confusion=confusion, confusion_network=matrix["network"])


def errata() -> list[dict[str, Any]]:
    """What the paper prints beside what its own confusion matrix and tables give: what, printed, computed, note."""
    paper = load_published()
    matrix = paper.confusion
    printed = paper.classes_of(paper.confusion_network)
    assert printed is not None
    each, mean = metrics.per_class(matrix), metrics.macro(matrix)
    rows = [
        {
            "what": "accuracy of EfficientNet-B5",
            "printed": printed["accuracy"],
            "computed": metrics.accuracy(matrix),
            "note": "from the paper's confusion matrix; the two agree",
        }
    ]
    for name, word in (("precision", "precision"), ("recall", "recall"), ("f1", "F1")):
        rounded = float(np.mean(np.round(each[name], 2)))
        note = "unrounded, from the paper's confusion matrix"
        if abs(rounded - printed[name]) < 1e-4:
            note += f"; the printed one is near {rounded:.4f}, the mean of the seven values rounded to two decimals"
        rows.append(
            {"what": f"macro {word} of EfficientNet-B5", "printed": printed[name], "computed": mean[name], "note": note}
        )
    ensemble = paper.rmse_of("efficientnet_b0+efficientnet_b2")
    rows.append(
        {
            "what": "RMSE of the mean of B0 and B2",
            "printed": ensemble,
            "computed": paper.ensemble_rmse_in_table,
            "note": "the text has the first number, the table the second",
        }
    )
    return rows
