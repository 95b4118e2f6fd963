"""Invitation token in the address of a campaign that other machines can reach."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import secrets
import socket
from contextlib import suppress
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from ..errors import send_error

__all__ = ["InviteToken", "is_loopback", "new_token", "public_host"]

PARAMETER = "join"


def new_token() -> str:
    """A random token of 128 bits."""
    return secrets.token_urlsafe(16)


def is_loopback(host: str) -> bool:
    """Whether a server bound to that name or address is reachable from this machine only."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def public_host(host: str) -> str:
    """How others reach a server bound to `host`: for a wildcard, this machine's address, else its name."""
    with suppress(ValueError):
        address = ipaddress.ip_address(host)
        if address.is_unspecified:
            return _own_address(address.version) or socket.gethostname()
    return f"[{host}]" if ":" in host else host


def _own_address(version: int) -> str:
    """The address that this machine would send from, "" without a network; nothing is sent."""
    family, elsewhere = (socket.AF_INET, "192.0.2.1") if version == 4 else (socket.AF_INET6, "2001:db8::1")
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((elsewhere, 9))
            name = probe.getsockname()[0]
    except OSError:
        return ""
    return f"[{name}]" if version == 6 else name


class InviteToken:
    """Requires the token once, as ``?join=…`` in the page's address; from then on a cookie holds it."""

    def __init__(self, app: ASGIApp, token: str) -> None:
        self.app = app
        self._token = token
        # Cookies do not distinguish ports; two campaigns on one host must not take each other's.
        self._cookie = "tuningfork-" + hashlib.sha256(token.encode()).hexdigest()[:12]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or self._matches(_cookie(scope, self._cookie)):
            await self.app(scope, receive, send)
            return
        token = parse_qs(scope["query_string"].decode("latin-1")).get(PARAMETER, [""])[0]
        if not self._matches(token):
            reason = "this campaign is by invitation; ask for its complete address, with ?join=… at its end"
            await send_error(send, 403, reason)
            return
        # Away from the address, so that it is in no bookmark and no screenshot.
        cookie = f"{self._cookie}={self._token}; HttpOnly; SameSite=Lax; Path=/"
        headers = [(b"location", b"/"), (b"set-cookie", cookie.encode()), (b"content-length", b"0")]
        await send({"type": "http.response.start", "status": 303, "headers": headers})
        await send({"type": "http.response.body", "body": b""})

    def _matches(self, token: str) -> bool:
        return hmac.compare_digest(token.encode(), self._token.encode())


def _cookie(scope: Scope, name: str) -> str:
    try:
        cookie = SimpleCookie(Headers(scope=scope).get("cookie", "")).get(name)
    except CookieError:
        return ""
    return cookie.value if cookie else ""
