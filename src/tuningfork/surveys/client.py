"""HTTP client of survey services: rate limit, retry, cache, and limits on what is received."""

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
from .._utils.extras import install_hint
from .._utils.retry import RetriesExhausted, TransientError, retry
from .._utils.urls import public_url
from ..images.image import ImageError
from .cache import Cache
from .hosts import MAX_WAIT, Host, HostUnavailable, try_later

__all__ = ["MAX_BYTES", "RATE", "Answer", "Client", "DamagedResponse", "ServiceDown"]

#: Requests a second to one host: what a person who looks at a page of thumbnails causes.
RATE = 4.0
TRIES = 5
#: Failures in a row of one host after which it counts as down.
MAX_FAILURES = 10
#: Seconds before the second attempt; see `retry`.
PAUSE = 1.0
#: Seconds for one answer from its request to its last byte, and for a sign of life.
TIMEOUT, SILENCE = 120.0, 30.0
#: Bytes of an answer; a cutout has some hundred thousand, a coadded tile of a survey up to a hundred million.
MAX_BYTES = 256 * 2**20
MAX_REDIRECTS = 5
#: Characters of an error message of a service that are passed on.
MESSAGE = 200
_CHUNK = 2**16
_TITLE = re.compile(r"<title[^>]*>(.*?)</title>", re.IGNORECASE | re.DOTALL)
_TAG = re.compile(r"<[^>]*>")

T = TypeVar("T")


class DamagedResponse(TuningforkError):
    """An answer that came damaged; another attempt may succeed."""


class ServiceDown(ImageError):
    """A host that failed too often in a row; to go on would fail for all that follows."""


@dataclass(frozen=True)
class Answer:
    """The response of a service: the body, its `Content-Type`, and when it came, in seconds since 1970."""

    data: bytes
    kind: str
    time: float


class Client:
    """HTTP client of survey services; safe to use from many threads.

    Parameters
    ----------
    rate : float
        Requests a second to one host, of all threads together.
    cache : Cache, optional
        Where good answers are stored; None: nowhere.
    timeout : float
        Seconds for one attempt in all; `silence` without a byte end it too.
    tries : int
        Attempts for what is transient (429, 5xx, lost or cut answers); `pause` is the delay of `retry`.
    max_bytes : int
        A larger answer is an error.
    max_failures : int
        Requests of one host that may fail in a row before it counts as down.

    Its connections, its rate of requests a second and its retries hold for all threads together.
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
        max_failures: int = MAX_FAILURES,
    ) -> None:
        if not rate > 0:
            raise ValueError(f"a rate of {rate} requests a second; more than 0 is needed")
        self._rate, self._cache, self._timeout, self._silence = rate, cache, timeout, min(silence, timeout)
        self._tries, self._pause, self._max_bytes = tries, pause, max_bytes
        self._max_failures = max_failures
        self._hosts: dict[str, Host] = {}
        self._lock = threading.Lock()
        self._session = _session()
        # Whoever forgets to close it leaves no connection open.
        self._close = weakref.finalize(self, self._session.close)

    def close(self) -> None:
        """Close all connections."""
        self._close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def get(self, address: str, read: Callable[[Answer], T]) -> T:
        """Request an address and return what `read` makes of the answer.

        Parameters
        ----------
        read : function of an Answer
            Raises DamagedResponse for one that another try may mend, ImageError for one that will stay as it is. Only
            answers that it could read go into the cache.

        Raises
        ------
        ImageError
            If there is no good answer; the message is the reason, without the address' secrets.
        ServiceDown
            If the host has failed `MAX_FAILURES` times in a row, whatever the addresses.
        """
        if self._cache and (cached := self._cache.get(address)):
            try:
                return read(Answer(cached[0], "", cached[1]))
            except (DamagedResponse, ImageError):
                self._cache.drop(address)

        name, host = _host_name(address), self._host(address)

        def attempt() -> tuple[T, bytes]:
            answer = self._request(address, host)
            return read(answer), answer.data

        try:
            value, data = retry(attempt, self._classify, attempts=self._tries, delay=self._pause)
        except (RetriesExhausted, HostUnavailable) as error:
            reason = f"no image {error}" if isinstance(error, RetriesExhausted) else str(error)
            failures = host.count_failure()
            if failures >= self._max_failures:
                raise ServiceDown(f"{name}: {failures} requests in a row failed, the last: {reason}") from None
            raise ImageError(f"{name}: {reason}") from None
        except ImageError as error:
            host.count_success()
            raise ImageError(f"{name}: {error}") from None
        host.count_success()
        if self._cache:
            self._cache.put(address, data)
        return value

    def _request(self, address: str, host: Host) -> Answer:
        host.wait()
        ends = time.monotonic() + self._timeout
        with self._session.get(address, stream=True, timeout=self._silence) as response:
            kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
            if response.status_code != 200:
                wait = _retry_after(response.headers.get("Retry-After", ""))
                message = _message(self._body(response, ends, at_most=_CHUNK), kind)
                host.hold(wait)
                raise _Status(response.status_code, wait, message)
            length = response.headers.get("Content-Length", "")
            if length.isdigit() and int(length) > self._max_bytes:
                raise ImageError(f"an answer of {length} bytes; at most {self._max_bytes} are read")
            data = self._body(response, ends)
            if len(data) > self._max_bytes:
                raise ImageError(f"an answer of more than {self._max_bytes} bytes, the most that are read")
        if _is_page(data, kind):
            raise ImageError(f"answered with a web page instead of an image: {_message(data, 'text/html')}")
        return Answer(data, kind, time.time())

    def _body(self, response: Any, ends: float, at_most: int | None = None) -> bytes:
        """The body as far as it is wanted: one byte more than allowed at most."""
        at_most = self._max_bytes if at_most is None else at_most
        body = bytearray()
        # Whatever has come, at once, so that a byte a minute does not last for ever.
        while len(body) <= at_most and (chunk := response.raw.read1(_CHUNK, decode_content=True)):
            body += chunk
            if time.monotonic() > ends:
                raise TimeoutError
        return bytes(body[: at_most + 1])

    def _classify(self, error: Exception) -> TransientError:
        """The error as a transient one, or raise it as a permanent one."""
        import requests
        import urllib3

        if isinstance(error, ImageError):
            raise error
        if isinstance(error, DamagedResponse):
            return TransientError(str(error))
        if isinstance(error, _Status):
            if error.status in (404, 410):
                raise ImageError(f"no image there (HTTP {error.status}{error.message})") from None
            if error.status < 500 and error.status not in (408, 425, 429):
                kind = HostUnavailable if error.status in (401, 403) else ImageError
                raise kind(f"refused (HTTP {error.status}{error.message})") from None
            if error.wait > MAX_WAIT:
                raise HostUnavailable(f"busy (HTTP {error.status}), {try_later(error.wait)}") from None
            return TransientError(f"HTTP {error.status}", error.wait)
        if isinstance(error, requests.TooManyRedirects):
            raise ImageError(f"leads from address to address, more than {MAX_REDIRECTS} times") from None
        if isinstance(error, TimeoutError | requests.Timeout | urllib3.exceptions.TimeoutError):
            return TransientError(f"no whole answer within {self._timeout:g} s, or no byte for {self._silence:g} s")
        if isinstance(error, requests.exceptions.SSLError):
            raise HostUnavailable("its certificate is not trusted") from None
        if isinstance(error, urllib3.exceptions.HTTPError | requests.exceptions.ChunkedEncodingError):
            return TransientError("the answer was cut")
        if isinstance(error, requests.ConnectionError):
            return TransientError("the connection failed")
        if isinstance(error, requests.RequestException):
            # Their messages hold addresses with all their secrets.
            raise ImageError(f"cannot be requested ({type(error).__name__})") from None
        raise error

    def _host(self, address: str) -> Host:
        with self._lock:
            return self._hosts.setdefault(_host_name(address), Host(1 / self._rate))


class _Status(Exception):
    """An HTTP status other than 200, the service's message, and the seconds that it asks to wait."""

    def __init__(self, status: int, wait: float, message: str) -> None:
        super().__init__(status)
        self.status, self.wait = status, wait
        self.message = f": {message}" if message else ""


def _session() -> Any:
    try:
        import requests
    except ImportError:
        raise ValueError(f"survey services need requests: {install_hint('sky')}") from None
    from http.cookiejar import DefaultCookiePolicy

    session = requests.Session()
    session.headers["User-Agent"] = f"tuningfork/{__version__} (galaxy morphology; python-requests)"
    session.max_redirects = MAX_REDIRECTS
    # A session's cookies are all that its threads could get into each other's way with.
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    return session


def _host_name(address: str) -> str:
    return urlsplit(public_url(address)).netloc


def _retry_after(value: str) -> float:
    """Seconds by a header Retry-After (RFC 9110, section 10.2.3: seconds or a date); 0 if it says none."""
    try:
        seconds = float(value) if value.strip().isdigit() else parsedate_to_datetime(value).timestamp() - time.time()
    except (ValueError, TypeError, OverflowError):
        return 0.0
    return max(0.0, seconds) if math.isfinite(seconds) else 0.0


def _is_page(data: bytes, kind: str) -> bool:
    start = data[:256].lstrip().lower()
    return kind in ("text/html", "application/xhtml+xml") or start.startswith((b"<!doctype html", b"<html"))


def _message(body: bytes, kind: str) -> str:
    """The message in an error's body: a JSON's title and description, a page's title, or its text."""
    text = body[:_CHUNK].decode("utf-8", "replace")
    if kind == "application/json":
        try:
            fields = json.loads(text)
            text = ": ".join(str(fields[key]) for key in ("title", "description", "error", "detail") if fields.get(key))
        except (ValueError, AttributeError):
            text = ""
    elif kind in ("text/html", "application/xhtml+xml"):
        title = _TITLE.search(text)
        text = html.unescape(title[1] if title else _TAG.sub(" ", text))
    elif kind != "text/plain":
        text = ""
    words = " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())
    return words[:MESSAGE]
