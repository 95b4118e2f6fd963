"""Limits of a server's resources: what one request, and all together, may use."""

from __future__ import annotations

from dataclasses import dataclass, fields

__all__ = ["MIB", "RequestLimits"]

MIB = 2**20


@dataclass(frozen=True)
class RequestLimits:
    """Limits of requests that send something (POST, PUT, PATCH, DELETE); `seconds` and downloads are of all.

    Parameters
    ----------
    body_bytes : int
        Body of one request; beyond it, 413.
    json_bytes : int
        Body of one JSON request, which is parsed in memory; beyond it, 413.
    held_bytes : int
        Bodies of all requests that are received or wait, in memory or in temporary files; beyond it, 503.
    idle_seconds, body_seconds : float
        Without a byte of the body, and for the complete body; beyond it, 408.
    seconds : float
        Until the response; beyond it, 504.
    at_once : int
        Requests that are processed concurrently.
    waiting : int
        Complete requests that wait for their turn; beyond it, 503.
    downloads : int
        Files that are written and sent concurrently; others wait for their turn.
    download_seconds : float
        For one download; beyond it, the connection ends.

    Raises
    ------
    ValueError
        If one is not above 0.
    """

    body_bytes: int = 128 * MIB
    json_bytes: int = 4 * MIB
    held_bytes: int = 1024 * MIB
    idle_seconds: float = 10
    body_seconds: float = 120
    seconds: float = 60
    at_once: int = 8
    waiting: int = 256
    downloads: int = 4
    download_seconds: float = 600

    def __post_init__(self) -> None:
        for field in fields(self):
            if not getattr(self, field.name) > 0:
                raise ValueError(f"limit {field.name} = {getattr(self, field.name)}; it must be above 0")
