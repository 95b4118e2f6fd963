"""Rate limit of each host of a client, and how often it has failed in a row."""

from __future__ import annotations

import threading
import time

from ..images.image import ImageError

__all__ = ["MAX_WAIT", "Host", "HostUnavailable", "try_later"]

#: Seconds that a server may make us wait (Retry-After); if it demands more, no request goes out until then, and all
#: rows fail at once: `--resume` tries them again later.
MAX_WAIT = 120.0


class HostUnavailable(ImageError):
    """A permanent failure that is the host's, not the row's."""


class Host:
    """Rate limit of one host, and how often it has failed in a row."""

    def __init__(self, interval: float) -> None:
        self._interval = interval
        self._next = self._held = 0.0
        self._failures = 0
        self._lock = threading.Lock()

    def wait(self) -> None:
        """Wait until a request may go; raise if the host demands to wait for too long."""
        with self._lock:
            at = max(self._next, time.monotonic())
            if (seconds := self._held - time.monotonic()) > MAX_WAIT:
                raise HostUnavailable(try_later(seconds))
            self._next = at + self._interval
        time.sleep(max(0.0, at - time.monotonic()))

    def hold(self, seconds: float) -> None:
        """Let no request go before so many seconds."""
        with self._lock:
            self._held = max(self._held, time.monotonic() + seconds)
            self._next = max(self._next, self._held)

    def count_failure(self) -> int:
        """Count a failure and return how many there were since the last success."""
        with self._lock:
            self._failures += 1
            return self._failures

    def count_success(self) -> None:
        """The host answers."""
        self._failures = 0


def try_later(seconds: float) -> str:
    """The message about a host that demands to wait too long."""
    return f"asks to wait {seconds:.0f} s; try it later"
