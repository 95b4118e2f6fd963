"""Retry with exponential backoff: transient failures are tried again, permanent ones end at once."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable
from typing import TypeVar

from .errors import TuningforkError

__all__ = ["RetriesExhausted", "TransientError", "retry"]

T = TypeVar("T")


class RetriesExhausted(TuningforkError):
    """All attempts failed; the message has their number and how each of them ended."""


class TransientError(TuningforkError):
    """A failure that another attempt may mend.

    Parameters
    ----------
    reason : str
        For people, without secrets.
    wait : float
        Seconds that the other side asks to wait at least.
    """

    def __init__(self, reason: str, wait: float = 0.0) -> None:
        super().__init__(reason)
        self.reason, self.wait = reason, wait


def retry(
    operation: Callable[[], T],
    classify: Callable[[Exception], TransientError],
    *,
    attempts: int,
    delay: float,
) -> T:
    """Call `operation` until it succeeds, up to `attempts` times, with exponential backoff and jitter.

    Parameters
    ----------
    operation : callable
        Called without arguments.
    classify : callable
        Gets what `operation` raised; returns a `TransientError`, or raises what is permanent.
    attempts : int
        At least 1.
    delay : float
        Seconds before the second attempt. Each next delay is twice as long, less a random part of up to one half, so
        that clients that failed together do not come back together.

    Returns
    -------
    object
        What `operation` returned.

    Raises
    ------
    RetriesExhausted
        After the last attempt.
    """
    failures: Counter[str] = Counter()
    for number in range(attempts):
        try:
            return operation()
        except Exception as error:
            failure = classify(error)
            failures[failure.reason] += 1
        if number + 1 < attempts:
            time.sleep(max(failure.wait, delay * 2**number * random.uniform(0.5, 1)))
    reasons = [
        f"{reason} ({times} times)" if times > 1 and len(failures) > 1 else reason for reason, times in failures.items()
    ]
    raise RetriesExhausted(f"after {attempts} {'try' if attempts == 1 else 'tries'}: {', '.join(reasons)}")
