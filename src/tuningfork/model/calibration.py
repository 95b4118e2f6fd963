"""Calibration of a model, fitted on galaxies that were not in its training: part of its bundle."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

from ..votes.tree import DecisionTree
from .class_calibration import ClassCalibration
from .intervals import Intervals
from .out_of_domain import NoveltyDetector
from .posterior import VotePosterior

__all__ = ["Calibration"]


@dataclass(frozen=True)
class Calibration:
    """The parts of a bundle's ``calibration``; one that is None was not fitted.

    Parameters
    ----------
    intervals : Intervals or None
        Of the vote fractions.
    classes : ClassCalibration or None
        Of the class probabilities, "no clean class" among them.
    domain : NoveltyDetector or None
        Which images are out of domain.
    posterior : VotePosterior or None
        What the volunteers' fractions may be, for draws.
    """

    intervals: Intervals | None = None
    classes: ClassCalibration | None = None
    domain: NoveltyDetector | None = None
    posterior: VotePosterior | None = None

    def check(self, tree: DecisionTree) -> None:
        """Raise ValueError if a part is of another tree."""
        if self.intervals:
            self.intervals.check(tree)
        if self.classes:
            self.classes.check(tree)
        if self.posterior:
            self.posterior.check(tree)

    def for_views(self, n_views: int) -> Calibration:
        """Return the parts that hold for the mean of so many views: intervals and posterior only if fitted on them.

        Parameters
        ----------
        n_views : 1, 2, 4 or 8
        """
        return replace(
            self,
            intervals=self.intervals if self.intervals and self.intervals.n_views == n_views else None,
            posterior=self.posterior if self.posterior and self.posterior.n_views == n_views else None,
        )

    def to_dict(self) -> dict[str, Any]:
        """The parts that there are, in plain types; `from_dict` reads them back."""
        return {
            **({"intervals": self.intervals.to_dict()} if self.intervals else {}),
            **({"classes": self.classes.to_dict()} if self.classes else {}),
            **({"domain": self.domain.to_dict()} if self.domain else {}),
            **({"posterior": self.posterior.to_dict()} if self.posterior else {}),
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
                ClassCalibration.from_dict(data["classes"]) if "classes" in data else None,
                NoveltyDetector.from_dict(data["domain"]) if "domain" in data else None,
                VotePosterior.from_dict(data["posterior"]) if "posterior" in data else None,
            )
        except (AttributeError, TypeError, ValueError) as error:
            raise ValueError(f"calibration: {error}") from None
