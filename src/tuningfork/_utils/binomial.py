"""Wilson's interval of a share."""

from __future__ import annotations

import math

__all__ = ["binomial_interval"]


def binomial_interval(hits: float, count: float) -> tuple[float, float]:
    """95 % interval of the share that `hits` of `count` estimates (Wilson 1927, J. Am. Stat. Assoc. 22, 209)."""
    z = 1.959963984540054
    share = hits / count
    middle = (share + z**2 / (2 * count)) / (1 + z**2 / count)
    half = z / (1 + z**2 / count) * math.sqrt(share * (1 - share) / count + z**2 / (4 * count**2))
    # Rounding must not put the share itself outside.
    return max(0.0, min(share, middle - half)), min(1.0, max(share, middle + half))
