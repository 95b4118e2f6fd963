"""How much of a server one request, and all together, may take."""

from __future__ import annotations

from dataclasses import dataclass, fields

__all__ = ["MIB", "RequestLimits"]

MIB = 2**20


@dataclass(frozen=True)
class RequestLimits:
    """Limits of requests that send something (POST, PUT, PATCH, DELETE); `seconds` holds for all.

    Parameters
    ----------
    body_bytes : int
        Of one request; beyond it, 413.
    json_bytes : int
        Of one that is JSON, which is parsed in memory; beyond it, 413.
    held_bytes : int
        Of all requests that are received or wait, in memory or in temporary files; beyond it, 503.
    idle_seconds, body_seconds : float
        Without a byte of the body, and for all of it; beyond it, 408.
    seconds : float
        For the answer; beyond it, 504.
    at_once : int
        Requests at work.
    waiting : int
        Whole requests that wait for their turn; beyond it, 503.

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

    def __post_init__(self) -> None:
        for field in fields(self):
            if not getattr(self, field.name) > 0:
                raise ValueError(f"limit {field.name} = {getattr(self, field.name)}; above 0 is needed")
