"""Class probabilities that mean what they say: one temperature, fitted by likelihood (Guo et al. 2017)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Temperature", "fit_temperature"]

Floats = NDArray[np.float64]

#: What class probabilities are made of.
SOURCES = ("network", "votes")
#: Fewer galaxies than this cannot tell one temperature from another.
LEAST_GALAXIES = 50
#: Grid of the logarithm of the temperature, 0.25 to 4; 0 is the identity.
_LOGARITHMS = np.arange(-139, 140) / 100


@dataclass(frozen=True, slots=True)
class Temperature:
    """Probabilities to the power of 1 / `temperature`, normalised; above 1 they become more cautious.

    Parameters
    ----------
    temperature : float in [0.1, 10]
    galaxies : int
        Those that it was fitted on: the volunteers' votes decide their class.
    log_loss_before, log_loss_after : float or None
        Mean −log probability of the true class: as the networks give it, and with a temperature that was
        fitted without the galaxy itself. None if it was not fitted.
    reason : str
        Why the probabilities stay as they are; "" if they do not.
    source : "network" or "votes"
        What is calibrated: the class outputs of the networks, or the classes that follow from the predicted fractions
        (`votes.clean_samples.classes_from_votes`).
    """

    temperature: float
    galaxies: int
    log_loss_before: float | None = None
    log_loss_after: float | None = None
    reason: str = ""
    source: str = "network"

    def __post_init__(self) -> None:
        if type(self.temperature) is not float or not 0.1 <= self.temperature <= 10:
            raise ValueError(f"classes: temperature {self.temperature!r} is not in 0.1…10")
        if type(self.galaxies) is not int or self.galaxies < 0 or type(self.reason) is not str:
            raise ValueError(f"classes: galaxies {self.galaxies!r} or reason {self.reason!r} makes no sense")
        if self.source not in SOURCES:
            raise ValueError(f"classes: source {self.source!r} is none of {', '.join(SOURCES)}")
        for loss in (self.log_loss_before, self.log_loss_after):
            if loss is not None and not (type(loss) in (int, float) and 0 <= loss < math.inf):
                raise ValueError(f"classes: {loss!r} is no log loss")

    def __call__(self, probability: Floats) -> Floats:
        """Calibrated probabilities of (N, C) ones, whose sums are 1; NaN stays NaN."""
        if self.temperature == 1:
            return probability
        return np.exp(_log_probability(probability, self.temperature))

    def to_dict(self) -> dict[str, Any]:
        """Plain types; `from_dict` reads them back."""
        data = asdict(self)
        # Bundles from before there was a choice do not name it.
        return {key: value for key, value in data.items() if (key, value) != ("source", "network")}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Temperature:
        """From the plain form. Raises ValueError or TypeError if it is none."""
        return cls(**data)


def fit_temperature(probability: Floats, classes: NDArray[np.integer], source: str = "network") -> Temperature:
    """The temperature of highest likelihood, if it also does better on galaxies that it was not fitted on.

    Leave-one-out: each galaxy is judged with the temperature that the others choose. The order of the
    galaxies is of no importance.

    Parameters
    ----------
    probability : (N, C) float64, sums 1
    classes : (N,) int in 0…C−1
        The true ones.
    source : "network" or "votes"
        Where the probabilities come from.
    """
    count = len(classes)
    if count < LEAST_GALAXIES:
        return Temperature(
            1.0, count, reason=f"the votes decide the class of {count}; {LEAST_GALAXIES} are needed", source=source
        )
    true = np.arange(count), classes
    temperatures = np.exp(_LOGARITHMS)
    loss = -np.stack([_log_probability(probability, t)[true] for t in temperatures], 1)
    total = loss.sum(0)
    others_choice = (total - loss).argmin(1)
    before = float(loss[:, np.flatnonzero(_LOGARITHMS == 0)[0]].mean())
    after = float(loss[np.arange(count), others_choice].mean())
    if after >= before:
        reason = f"on galaxies left out, a temperature is no better (log loss {after:.4f}) than none ({before:.4f})"
        return Temperature(1.0, count, before, after, reason, source)
    return Temperature(float(temperatures[total.argmin()]), count, before, after, source=source)


def _log_probability(probability: Floats, temperature: float) -> Floats:
    # A probability of 0 has no logarithm; 1e-12 of it changes nothing that is printed.
    scaled = np.log(np.maximum(probability, 1e-12)) / temperature
    scaled -= scaled.max(-1, keepdims=True)
    return scaled - np.log(np.exp(scaled).sum(-1, keepdims=True))
