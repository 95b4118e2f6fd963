"""What a model learned about its own errors, on galaxies that its training did not see: part of its bundle."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from .intervals import Intervals
from .schema import Tree
from .temperature import Temperature

__all__ = ["Calibration"]

#: A domain larger or deeper than this is refused.
MAX_VALUES, MAX_DEPTH = 1_000_000, 8


@dataclass(frozen=True)
class Calibration:
    """The parts of a bundle's ``calibration``; one that is None was not fitted.

    Parameters
    ----------
    intervals : Intervals or None
        Of the vote fractions.
    classes : Temperature or None
        What makes the class probabilities calibrated.
    domain : mapping or None
        How unlike the training pictures a picture may be.

    Raises
    ------
    ValueError
        If the domain is not made of what JSON has, holds a number that is not finite, or is too large.
    """

    intervals: Intervals | None = None
    classes: Temperature | None = None
    domain: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        if self.domain is not None:
            _check(self.domain, "domain")

    def check(self, tree: Tree) -> None:
        """Raise ValueError if a part is of another tree."""
        if self.intervals:
            self.intervals.check(tree)
        if self.classes and not tree.classes:
            raise ValueError(f"classes: tree {tree.name} has none")

    def to_dict(self) -> dict[str, Any]:
        """The parts that there are, in plain types; `from_dict` reads them back."""
        return {
            **({"intervals": self.intervals.to_dict()} if self.intervals else {}),
            **({"classes": self.classes.to_dict()} if self.classes else {}),
            **({"domain": self.domain} if self.domain else {}),
        }

    @classmethod
    def from_dict(cls, data: object) -> Calibration:
        """A calibration from its plain form. Raises ValueError, also for a part that this version does not know."""
        if not isinstance(data, dict) or not data:
            raise ValueError(f"calibration {str(data)[:50]!r} has no parts")
        unknown = set(data) - {part.name for part in fields(cls)}
        if unknown:
            raise ValueError(f"calibration: part {min(unknown)!r} is not known to this version")
        try:
            return cls(
                Intervals.from_dict(data["intervals"]) if "intervals" in data else None,
                Temperature.from_dict(data["classes"]) if "classes" in data else None,
                data.get("domain"),
            )
        except (AttributeError, TypeError, ValueError) as error:
            raise ValueError(f"calibration: {error}") from None


def _check(part: object, where: str) -> None:
    if not isinstance(part, dict) or not part:
        raise ValueError(f"{where}: an object with entries is expected, not {str(part)[:50]!r}")
    count, level = 0, [part]
    for _ in range(MAX_DEPTH):
        below: list[Any] = []
        for value in level:
            if isinstance(value, dict):
                if not all(isinstance(key, str) for key in value):
                    raise ValueError(f"{where}: an entry's name is not a text")
                below += value.values()
            elif isinstance(value, list):
                below += value
            elif isinstance(value, float) and not math.isfinite(value):
                raise ValueError(f"{where}: {value} is not a finite number")
            elif not (value is None or type(value) in (bool, int, float, str)):
                raise ValueError(f"{where}: JSON has no {type(value).__name__}")
        count += len(below)
        if count > MAX_VALUES:
            raise ValueError(f"{where}: more than {MAX_VALUES} values")
        level = below
    if level:
        raise ValueError(f"{where}: nested more than {MAX_DEPTH} deep")
