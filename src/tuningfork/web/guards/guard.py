"""All guards around an app, the outermost first: headers, origin, body, concurrency, backpressure."""

from __future__ import annotations

from collections.abc import Iterable

from starlette.types import ASGIApp

from ..limits import RequestLimits
from .admission import AdmissionControl
from .backpressure import Backpressure
from .body import BodyLimits
from .headers import SecurityHeaders
from .origin import SameOrigin, TrustedHosts

__all__ = ["guarded"]


def guarded(app: ASGIApp, limits: RequestLimits, hosts: Iterable[str] = ()) -> ASGIApp:
    """The app behind all guards.

    Parameters
    ----------
    hosts : iterable of str
        Host names, without port, under which browsers reach it, besides localhost, this machine's name and any IP
        address.
    """
    inner = BodyLimits(AdmissionControl(Backpressure(app), limits), limits)
    return SecurityHeaders(TrustedHosts(SameOrigin(inner), hosts))
