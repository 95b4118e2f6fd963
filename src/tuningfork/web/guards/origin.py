"""Trusted hosts and same origin: our own pages and programs without a browser are served, no stranger's page."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from ..errors import send_error

__all__ = ["SAFE_METHODS", "SameOrigin", "TrustedHosts"]

#: Requests that change nothing and have no body.
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


class TrustedHosts:
    """Refuses host names that are not ours (421): a stranger's name may be made to point at this machine.

    An IP address is always ours; DNS rebinding needs a name. See Jackson et al. (2007), "Protecting Browsers from
    DNS Rebinding Attacks", https://doi.org/10.1145/1315245.1315298. (Starlette's TrustedHostMiddleware has no rule
    for all IP addresses.)
    """

    def __init__(self, app: ASGIApp, hosts: Iterable[str] = ()) -> None:
        self.app = app
        self.hosts = {host.lower() for host in ("localhost", socket.gethostname(), *hosts)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] == "http":
            host = Headers(scope=scope).get("host", "")
            if not self._is_ours(host):
                await send_error(send, 421, f"{host!r} is no name of this service; start it with --allow-host")
                return
        await self.app(scope, receive, send)

    def _is_ours(self, host: str) -> bool:
        try:
            name = urlsplit(f"//{host}").hostname or ""
            if name in self.hosts:
                return True
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True


class SameOrigin:
    """Refuses (403) what another site's page would have a browser send; no response allows other origins."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] == "http" and scope["method"] not in SAFE_METHODS:
            headers = Headers(scope=scope)
            # Browsers send at least one of the two; other programs neither. A proxy may change the scheme.
            origin, site = headers.get("origin"), headers.get("sec-fetch-site", "none")
            is_foreign = origin is not None and urlsplit(origin).netloc != headers.get("host")
            if is_foreign or site not in ("same-origin", "none"):
                await send_error(send, 403, "another site's page may not send this")
                return
        await self.app(scope, receive, send)
