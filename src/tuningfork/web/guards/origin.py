"""Whom we answer: pages of our own, programs without a browser, and no page of a stranger."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from ..errors import answer_error

__all__ = ["SAFE_METHODS", "KnownHosts", "SameOrigin"]

#: Requests that change nothing and send nothing.
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


class KnownHosts:
    """Refuses names that are not ours (421): a stranger's name may be made to point at this machine.

    An IP address is always ours; DNS rebinding needs a name. See Jackson et al. (2007), "Protecting
    Browsers from DNS Rebinding Attacks", https://doi.org/10.1145/1315245.1315298
    """

    def __init__(self, app: ASGIApp, hosts: Iterable[str] = ()) -> None:
        self.app = app
        self.hosts = {host.lower() for host in ("localhost", socket.gethostname(), *hosts)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] == "http":
            given = Headers(scope=scope).get("host", "")
            if not self._ours(given):
                await answer_error(send, 421, f"{given!r} is no name of this service; start it with --allow-host")
                return
        await self.app(scope, receive, send)

    def _ours(self, given: str) -> bool:
        try:
            name = urlsplit(f"//{given}").hostname or ""
            if name in self.hosts:
                return True
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True


class SameOrigin:
    """Refuses (403) what another site's page would have a browser send; no answer allows other origins."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] == "http" and scope["method"] not in SAFE_METHODS:
            headers = Headers(scope=scope)
            # Browsers tell at least one of the two; other programs neither. A proxy may change the scheme.
            origin, site = headers.get("origin"), headers.get("sec-fetch-site", "none")
            foreign = origin is not None and urlsplit(origin).netloc != headers.get("host")
            if foreign or site not in ("same-origin", "none"):
                await answer_error(send, 403, "another site's page may not send this")
                return
        await self.app(scope, receive, send)
