"""All guards around an app, the outermost first: headers, where a request comes from, time, body, turns."""

from __future__ import annotations

from collections.abc import Iterable

from starlette.types import ASGIApp

from ..limits import RequestLimits
from .admission import Admission
from .body import WholeBody
from .headers import SecurityHeaders
from .origin import KnownHosts, SameOrigin

__all__ = ["guarded"]


def guarded(app: ASGIApp, limits: RequestLimits, hosts: Iterable[str] = ()) -> ASGIApp:
    """The app behind all guards.

    Parameters
    ----------
    hosts : iterable of str
        Names, without port, under which browsers reach it, besides localhost, this machine's and any IP address.
    """
    whole = WholeBody(Admission(app, limits), limits)
    return SecurityHeaders(KnownHosts(SameOrigin(whole), hosts))
