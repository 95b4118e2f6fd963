"""Metrics for Prometheus: requests, their durations, and images."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["BUCKETS", "Metrics", "MetricsMiddleware"]

#: Upper bounds of the histogram of durations, seconds.
BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_METHODS = frozenset({"GET", "HEAD", "POST", "OPTIONS"})


class Metrics:
    """The metrics of one service.

    Parameters
    ----------
    waiting : callable
        Number of images that wait for the network now.
    """

    def __init__(self, waiting: Callable[[], float]) -> None:
        self._registry = CollectorRegistry()
        options: dict[str, Any] = {"namespace": "tuningfork", "registry": self._registry}
        labels = ("route", "method", "status")
        self.requests = Counter("requests", "Requests by route, method and status", labels, **options)
        self.duration = Histogram(
            "request_seconds",
            "Time from a request's headers to the end of its response",
            ("route",),
            buckets=BUCKETS,
            **options,
        )
        self.images = Counter("images", "Images by outcome", ("outcome",), **options)
        for outcome in ("predicted", "failed"):
            self.images.labels(outcome)
        self.in_progress = Gauge("requests_in_progress", "Requests that are received, wait or are processed", **options)
        Gauge("images_waiting", "Images that wait for the network, or are in it", **options).set_function(waiting)

    def text(self) -> bytes:
        """All metrics in the text format of Prometheus, 0.0.4."""
        return generate_latest(self._registry)


class MetricsMiddleware:
    """Counts every request with its response, refusals of the guards included."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self.app = app
        self.metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        # 499, after nginx: the client disconnected before there was a response.
        status, started = 499, time.perf_counter()

        async def watched_send(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            with self.metrics.in_progress.track_inprogress():
                await self.app(scope, receive, watched_send)
        finally:
            # Paths that anyone may invent are one route, or the number of time series would grow without bound.
            route = getattr(scope.get("route"), "path", "") or "none"
            method = scope["method"] if scope["method"] in _METHODS else "other"
            self.metrics.requests.labels(route, method, str(status)).inc()
            self.metrics.duration.labels(route).observe(time.perf_counter() - started)
