"""Figures for Prometheus, in its text format.

The format is a page of rules (https://prometheus.io/docs/instrumenting/exposition_formats/), so that a library
for it is not needed.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Mapping

from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["BUCKETS", "Counted", "Metrics"]

#: Upper bounds of the histogram of times, seconds.
BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class Metrics:
    """What was asked, how long it took, and how many pictures there were.

    Parameters
    ----------
    gauges : mapping
        Name → what it means and a function that tells it now.
    """

    def __init__(self, gauges: Mapping[str, tuple[str, Callable[[], float]]]) -> None:
        self.gauges = gauges
        self.requests: Counter[tuple[str, str, int]] = Counter()
        self.pictures: Counter[str] = Counter()
        self.in_progress = 0
        self._times: dict[str, list[int]] = {}
        self._sums: Counter[str] = Counter()

    def took(self, route: str, seconds: float) -> None:
        """Note how long a request took."""
        self._times.setdefault(route, [0] * (len(BUCKETS) + 1))[bisect_left(BUCKETS, seconds)] += 1
        self._sums[route] += seconds

    def text(self) -> str:
        """The page that Prometheus reads."""
        lines = _head("requests_total", "counter", "Requests by route, method and status")
        for (route, method, status), count in sorted(self.requests.items()):
            lines.append(_line("requests_total", count, route=route, method=method, status=str(status)))
        lines += _head("request_seconds", "histogram", "Time from a request's headers to the end of its answer")
        for route, counts in sorted(self._times.items()):
            so_far = 0
            for bound, count in zip((*BUCKETS, "+Inf"), counts, strict=True):
                so_far += count
                lines.append(_line("request_seconds_bucket", so_far, route=route, le=str(bound)))
            lines.append(_line("request_seconds_sum", self._sums[route], route=route))
            lines.append(_line("request_seconds_count", so_far, route=route))
        lines += _head("pictures_total", "counter", "Pictures by outcome")
        lines += [_line("pictures_total", self.pictures[each], outcome=each) for each in ("predicted", "failed")]
        lines += _head("requests_in_progress", "gauge", "Requests that are received, wait or are worked for")
        lines.append(_line("requests_in_progress", self.in_progress))
        for name, (meaning, value) in self.gauges.items():
            lines += [*_head(name, "gauge", meaning), _line(name, value())]
        return "\n".join(lines) + "\n"


class Counted:
    """Notes every request and its answer, those of the guards too."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self.app = app
        self.metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        # 499, after nginx: the client went away before there was an answer.
        status, begun = 499, time.perf_counter()

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        self.metrics.in_progress += 1
        try:
            await self.app(scope, receive, noted)
        finally:
            self.metrics.in_progress -= 1
            # Addresses that anyone may invent are one route, or the page would grow without end.
            route = getattr(scope.get("route"), "path", "") or "none"
            method = scope["method"] if scope["method"] in ("GET", "HEAD", "POST", "OPTIONS") else "other"
            self.metrics.requests[route, method, status] += 1
            self.metrics.took(route, time.perf_counter() - begun)


def _head(name: str, kind: str, meaning: str) -> list[str]:
    return [f"# HELP tuningfork_{name} {meaning}", f"# TYPE tuningfork_{name} {kind}"]


def _line(name: str, value: float, **labels: str) -> str:
    told = ",".join(f'{key}="{_escaped(text)}"' for key, text in labels.items())
    return f"tuningfork_{name}{{{told}}} {value!r}" if told else f"tuningfork_{name} {value!r}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
