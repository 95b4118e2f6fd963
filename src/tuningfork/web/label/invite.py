"""A word in the address that lets others join a labelling that can be reached from outside of this machine."""

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

from .. import answer_error

__all__ = ["JoinToken", "is_loopback", "new_token", "reached_at"]

PARAMETER = "join"


def new_token() -> str:
    """A word that nobody guesses."""
    return secrets.token_urlsafe(16)


def is_loopback(host: str) -> bool:
    """Whether a server bound to that name or address is reached from this machine only."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def reached_at(host: str) -> str:
    """How others reach a server bound to `host`: of a wildcard, this machine's address, else its name."""
    with suppress(ValueError):
        address = ipaddress.ip_address(host)
        if address.is_unspecified:
            return _outward(address.version) or socket.gethostname()
    return f"[{host}]" if ":" in host else host


def _outward(version: int) -> str:
    """The address that this machine would send from, "" without a net; nothing is sent."""
    family, elsewhere = (socket.AF_INET, "192.0.2.1") if version == 4 else (socket.AF_INET6, "2001:db8::1")
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((elsewhere, 9))
            name = probe.getsockname()[0]
    except OSError:
        return ""
    return f"[{name}]" if version == 6 else name


class JoinToken:
    """Asks for the token once, as ``?join=…`` in the page's address; from then on a cookie tells it."""

    def __init__(self, app: ASGIApp, token: str) -> None:
        self.app = app
        self._token = token
        # Cookies do not tell ports apart; two labellings on one host must not take each other's.
        self._cookie = "tuningfork-" + hashlib.sha256(token.encode()).hexdigest()[:12]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or self._fits(_cookie(scope, self._cookie)):
            await self.app(scope, receive, send)
            return
        given = parse_qs(scope["query_string"].decode("latin-1")).get(PARAMETER, [""])[0]
        if not self._fits(given):
            reason = "this labelling is for those who were invited; ask for its whole address, with ?join=… at its end"
            await answer_error(send, 403, reason)
            return
        # Away from the address, so that it is in no bookmark and no screenshot.
        cookie = f"{self._cookie}={self._token}; HttpOnly; SameSite=Lax; Path=/"
        headers = [(b"location", b"/"), (b"set-cookie", cookie.encode()), (b"content-length", b"0")]
        await send({"type": "http.response.start", "status": 303, "headers": headers})
        await send({"type": "http.response.body", "body": b""})

    def _fits(self, given: str) -> bool:
        return hmac.compare_digest(given.encode(), self._token.encode())


def _cookie(scope: Scope, name: str) -> str:
    try:
        found = SimpleCookie(Headers(scope=scope).get("cookie", "")).get(name)
    except CookieError:
        return ""
    return found.value if found else ""
