"""Trying again: what may pass is tried with growing pauses, what will not pass ends at once."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from .errors import TuningforkError

__all__ = ["GivenUp", "Passing", "tried"]

T = TypeVar("T")


class GivenUp(TuningforkError):
    """All tries failed; the message tells how many there were and how each of them ended."""


@dataclass(frozen=True)
class Passing:
    """A failure that another try may mend.

    Parameters
    ----------
    told : str
        How it is told, without secrets.
    wait : float
        Seconds that the other side asks to wait at least.
    """

    told: str
    wait: float = 0.0


def tried(
    attempt: Callable[[], T],
    judged: Callable[[Exception], Passing],
    *,
    tries: int,
    pause: float,
) -> T:
    """What `attempt` gives, tried up to `tries` times.

    Parameters
    ----------
    judged : function of what `attempt` raised
        Raises what ends it at once.
    pause : float
        Seconds before the second try; each next one is twice as long, and a random half of it is left out, so that
        those who failed together do not come back together.

    Raises
    ------
    GivenUp
        After the last try.
    """
    ends: Counter[str] = Counter()
    for number in range(1, tries + 1):
        try:
            return attempt()
        except Exception as error:  # what it can be, `judged` knows
            end = judged(error)
            ends[end.told] += 1
        if number < tries:
            time.sleep(max(end.wait, pause * 2 ** (number - 1) * random.uniform(0.5, 1)))
    told = ", ".join(f"{end} ({times} times)" if times > 1 and len(ends) > 1 else end for end, times in ends.items())
    raise GivenUp(f"after {tries} {'try' if tries == 1 else 'tries'}: {told}")
