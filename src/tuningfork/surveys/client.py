"""A polite client of survey services: few requests a second, patient, wary of what comes back."""

from __future__ import annotations

import html
import json
import math
import re
import threading
import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar
from urllib.parse import urlsplit

from .. import __version__
from .._utils.errors import TuningforkError
from .._utils.retry import RetriesExhausted, TransientError, retry
from .._utils.urls import public_url
from ..images.image import ImageError
from .cache import Cache

__all__ = ["MAX_BYTES", "RATE", "Answer", "Client", "Spoiled"]

#: Requests a second to one host: what a person who looks at a page of thumbnails causes.
RATE = 4.0
TRIES = 5
#: Seconds before the second try; see `retry`.
PAUSE = 1.0
#: Seconds for one answer from its request to its last byte, and for a sign of life.
TIMEOUT, SILENCE = 120.0, 30.0
#: Bytes of an answer; a cutout has some hundred thousand, a coadded tile of a survey up to a hundred million.
MAX_BYTES = 256 * 2**20
#: Seconds that a server may ask us to wait; if it asks for more, nobody asks it until then, and all rows fail at once:
#: `--resume` tries them again later.
MAX_WAIT = 120.0
MAX_REDIRECTS = 5
#: Characters of an error message of a service that are passed on.
SAID = 200
_CHUNK = 2**16
_TITLE = re.compile(r"<title[^>]*>(.*?)</title>", re.IGNORECASE | re.DOTALL)
_TAG = re.compile(r"<[^>]*>")

T = TypeVar("T")


class Spoiled(TuningforkError):
    """An answer that came damaged; another try may mend it."""


@dataclass(frozen=True)
class Answer:
    """What a service sent: the body, its `Content-Type`, and when it came, in seconds since 1970."""

    data: bytes
    kind: str
    time: float


class Client:
    """Asks services; safe to use from many threads. `requests` does the work: pyvo depends on it anyway.

    Parameters
    ----------
    rate : float
        Requests a second to one host, of all threads together.
    cache : Cache, optional
        Where good answers are kept; None: nowhere.
    timeout : float
        Seconds for one try in all; `silence` without a byte end it too.
    tries : int
        How often what may pass (429, 5xx, lost or cut answers) is tried; `pause` as in `retry`.
    max_bytes : int
        A larger answer is an error.
    """

    def __init__(
        self,
        *,
        rate: float = RATE,
        cache: Cache | None = None,
        timeout: float = TIMEOUT,
        silence: float = SILENCE,
        tries: int = TRIES,
        pause: float = PAUSE,
        max_bytes: int = MAX_BYTES,
    ) -> None:
        if not rate > 0:
            raise ValueError(f"a rate of {rate} requests a second; more than 0 is needed")
        self._rate, self._cache, self._timeout, self._silence = rate, cache, timeout, min(silence, timeout)
        self._tries, self._pause, self._max_bytes = tries, pause, max_bytes
        self._paces: dict[str, _Pace] = {}
        self._lock = threading.Lock()
        self._session = _session()
        # Whoever forgets to close it leaves no connection open.
        self._close = weakref.finalize(self, self._session.close)

    def close(self) -> None:
        """Let go of all connections."""
        self._close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def get(self, address: str, read: Callable[[Answer], T]) -> T:
        """What `read` makes of the answer to an address.

        Parameters
        ----------
        read : function of an Answer
            Raises Spoiled for one that another try may mend, ImageError for one that will stay as it is. Only
            answers that it could read are kept in the cache.

        Raises
        ------
        ImageError
            If there is no good answer; the message tells why, without the address' secrets.
        """
        if self._cache and (kept := self._cache.get(address)):
            try:
                return read(Answer(kept[0], "", kept[1]))
            except (Spoiled, ImageError):
                self._cache.drop(address)

        def attempt() -> tuple[T, bytes]:
            answer = self._ask(address)
            return read(answer), answer.data

        try:
            found, data = retry(attempt, self._judged, attempts=self._tries, delay=self._pause)
        except RetriesExhausted as error:
            raise ImageError(f"{_host(address)}: no picture {error}") from None
        except ImageError as error:
            raise ImageError(f"{_host(address)}: {error}") from None
        if self._cache:
            self._cache.put(address, data)
        return found

    def _ask(self, address: str) -> Answer:
        pace = self._pace(_host(address))
        pace.wait()
        ends = time.monotonic() + self._timeout
        with self._session.get(address, stream=True, timeout=self._silence) as response:
            kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
            if response.status_code != 200:
                wait = _asked_to_wait(response.headers.get("Retry-After", ""))
                said = self._body(response, ends, at_most=_CHUNK)
                pace.hold(wait)
                raise _Status(response.status_code, wait, _message(said, kind))
            length = response.headers.get("Content-Length", "")
            if length.isdigit() and int(length) > self._max_bytes:
                raise ImageError(f"an answer of {length} bytes; at most {self._max_bytes} are read")
            data = self._body(response, ends)
            if len(data) > self._max_bytes:
                raise ImageError(f"an answer of more than {self._max_bytes} bytes, which are read at most")
        if _is_page(data, kind):
            raise ImageError(f"answered with a web page instead of a picture: {_message(data, 'text/html')}")
        return Answer(data, kind, time.time())

    def _body(self, response: Any, ends: float, at_most: int | None = None) -> bytes:
        """The body as far as it is wanted: one byte more than allowed at most."""
        at_most = self._max_bytes if at_most is None else at_most
        body = bytearray()
        # Whatever has come, at once: who sends a byte a minute is found out.
        while len(body) <= at_most and (chunk := response.raw.read1(_CHUNK, decode_content=True)):
            body += chunk
            if time.monotonic() > ends:
                raise TimeoutError
        return bytes(body[: at_most + 1])

    def _judged(self, error: Exception) -> TransientError:
        import requests
        import urllib3

        if isinstance(error, ImageError):
            raise error
        if isinstance(error, Spoiled):
            return TransientError(str(error))
        if isinstance(error, _Status):
            if error.status in (404, 410):
                raise ImageError(f"no picture there (HTTP {error.status}{error.said})") from None
            if error.status < 500 and error.status not in (408, 425, 429):
                raise ImageError(f"refused (HTTP {error.status}{error.said})") from None
            if error.wait > MAX_WAIT:
                raise ImageError(f"busy (HTTP {error.status}), {_closed(error.wait)}") from None
            return TransientError(f"HTTP {error.status}", error.wait)
        if isinstance(error, requests.TooManyRedirects):
            raise ImageError(f"leads from address to address, more than {MAX_REDIRECTS} times") from None
        if isinstance(error, TimeoutError | requests.Timeout | urllib3.exceptions.TimeoutError):
            return TransientError(f"no whole answer within {self._timeout:g} s, or no byte for {self._silence:g} s")
        if isinstance(error, requests.exceptions.SSLError):
            raise ImageError("its certificate is not trusted") from None
        if isinstance(error, urllib3.exceptions.HTTPError | requests.exceptions.ChunkedEncodingError):
            return TransientError("the answer was cut")
        if isinstance(error, requests.ConnectionError):
            return TransientError("the connection failed")
        if isinstance(error, requests.RequestException):
            # Their messages hold addresses with all their secrets.
            raise ImageError(f"cannot be asked ({type(error).__name__})") from None
        raise error

    def _pace(self, host: str) -> _Pace:
        with self._lock:
            return self._paces.setdefault(host, _Pace(1 / self._rate))


class _Pace:
    """When the next request to one host may go."""

    def __init__(self, interval: float) -> None:
        self._interval = interval
        self._next = self._held = 0.0
        self._lock = threading.Lock()

    def wait(self) -> None:
        """Wait for one's turn; ImageError if that is too far off."""
        with self._lock:
            at = max(self._next, time.monotonic())
            if (seconds := self._held - time.monotonic()) > MAX_WAIT:
                raise ImageError(_closed(seconds))
            self._next = at + self._interval
        time.sleep(max(0.0, at - time.monotonic()))

    def hold(self, seconds: float) -> None:
        """Nobody asks before so many seconds."""
        with self._lock:
            self._held = max(self._held, time.monotonic() + seconds)
            self._next = max(self._next, self._held)


class _Status(Exception):
    """An answer that is none, with what the service says of it and how many seconds it asks to wait."""

    def __init__(self, status: int, wait: float, said: str) -> None:
        super().__init__(status)
        self.status, self.wait = status, wait
        self.said = f": {said}" if said else ""


def _closed(seconds: float) -> str:
    return f"asks to wait {seconds:.0f} s; try it later"


def _session() -> Any:
    try:
        import requests
    except ImportError:
        raise ValueError("survey services need requests: pip install 'tuningfork[sky]'") from None
    from http.cookiejar import DefaultCookiePolicy

    session = requests.Session()
    session.headers["User-Agent"] = f"tuningfork/{__version__} (galaxy morphology; python-requests)"
    session.max_redirects = MAX_REDIRECTS
    # A session's cookies are all that its threads could get into each other's way with.
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    return session


def _host(address: str) -> str:
    return urlsplit(public_url(address)).netloc


def _asked_to_wait(told: str) -> float:
    """Seconds by a header Retry-After (RFC 9110, section 10.2.3: seconds or a date); 0 if it says none."""
    try:
        seconds = float(told) if told.strip().isdigit() else parsedate_to_datetime(told).timestamp() - time.time()
    except (ValueError, TypeError, OverflowError):
        return 0.0
    return max(0.0, seconds) if math.isfinite(seconds) else 0.0


def _is_page(data: bytes, kind: str) -> bool:
    start = data[:256].lstrip().lower()
    return kind in ("text/html", "application/xhtml+xml") or start.startswith((b"<!doctype html", b"<html"))


def _message(body: bytes, kind: str) -> str:
    """What an error's body says to people: a JSON's title and description, a page's title, or its text."""
    text = body[:_CHUNK].decode("utf-8", "replace")
    if kind == "application/json":
        try:
            told = json.loads(text)
            text = ": ".join(str(told[name]) for name in ("title", "description", "error", "detail") if told.get(name))
        except (ValueError, AttributeError):
            text = ""
    elif kind in ("text/html", "application/xhtml+xml"):
        title = _TITLE.search(text)
        text = html.unescape(title[1] if title else _TAG.sub(" ", text))
    elif kind != "text/plain":
        text = ""
    words = " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())
    return words[:SAID]
