"""Kinds of vote fractions: raw, weighted or debiased; comparing or mixing different ones is an error or a warning.

*Raw* fractions are shares of the votes as they were given. *Weighted* ones give less weight to volunteers who often
disagree with all others (Willett et al. 2013, MNRAS 435, 2835, section 3.2). *Debiased* ones were moved, statistically,
to what volunteers would have answered if the galaxy were near: fine features of distant galaxies are not resolved
(section 3.3 there; Hart et al. 2016, MNRAS 461, 3663). They depend on more than the image.
"""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["COUNTABLE", "KINDS", "UNKNOWN", "common_kind", "kind_conflict"]

UNKNOWN = "unknown"
#: What vote fractions can be.
KINDS = ("raw", "weighted", "debiased", UNKNOWN)
#: Those that are shares of votes which were counted, so that a likelihood of counts can be computed.
COUNTABLE = ("raw", "weighted")


def kind_conflict(first: str, kind: str, second: str, other: str) -> str:
    """Return a sentence if two kinds are known and different, else "".

    Parameters
    ----------
    first, second : str
        What has them, as the sentence names it.
    kind, other : one of `KINDS`

    Examples
    --------
    >>> kind_conflict("the model", "debiased", "votes.csv", "raw")[:61]
    'the model has debiased vote fractions, votes.csv has raw ones'
    >>> kind_conflict("the model", "debiased", "votes.csv", "unknown")
    ''
    """
    if kind == other or UNKNOWN in (kind, other):
        return ""
    return (
        f"{first} has {kind} vote fractions, {second} has {other} ones: their differences are not errors alone; "
        "see the documents' page on what is predicted"
    )


def common_kind(kinds: Iterable[str]) -> str:
    """Return the kind of several together; unknown if one is. Raises ValueError if two known ones differ."""
    known = sorted(set(kinds))
    different = [kind for kind in known if kind != UNKNOWN]
    if len(different) > 1:
        raise ValueError(f"vote fractions of different kinds, {' and '.join(different)}, cannot be one table")
    return UNKNOWN if UNKNOWN in known or not known else known[0]
