"""Errors of object stores: transient or permanent, and their message without a URL's secrets."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TypeVar

from .._utils.errors import TuningforkError
from .._utils.retry import RetriesExhausted, TransientError, retry
from .._utils.text import one_line
from ..images.image import ImageError
from .byte_source import CHANGED_MESSAGE, SourceUnavailable

__all__ = ["TIMEOUT_VARIABLE", "HttpStatus", "ObjectNotFoundError", "TruncatedReadError", "with_retries", "timeout"]

TRIES = 6
#: Seconds before the second try; see `retry`.
PAUSE = 0.25
#: Seconds that one attempt may take in all; a stalled attempt ends then.
TIMEOUT = 60.0
TIMEOUT_VARIABLE = "TUNINGFORK_REMOTE_TIMEOUT"
_MEANING = {
    401: "who asks is not known",
    403: "no permission, or a signed address that has run out",
    404: "not there",
    410: "not there any more",
    429: "too many requests",
    503: "the store is busy",
}
#: Kinds of errors of aiohttp, botocore, requests and Google's client that may pass, by name: none is imported for it.
_TRANSIENT = {
    *("OSError", "ClientError", "HTTPClientError", "ConnectionError", "IncompleteReadError", "ResponseParserError"),
    *("TransportError", "RefreshError", "ChecksumError"),
}
_PERMANENT = {
    "InvalidURL",
    "NonHttpUrlClientError",
    "UnsupportedProtocol",
    "NoCredentialsError",
    "PartialCredentialsError",
}

T = TypeVar("T")


class ObjectNotFoundError(SourceUnavailable):
    """The store answers that there is no such object."""


class HttpStatus(TuningforkError):
    """An HTTP response with an error status."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class TruncatedReadError(TuningforkError, OSError):
    """Fewer or more bytes than there should be."""

    def __init__(self, got: int, expected: int) -> None:
        super().__init__(f"{got} of {expected} bytes came")


def timeout() -> float:
    """Seconds for one attempt; raises SourceUnavailable if the environment holds none."""
    value = os.environ.get(TIMEOUT_VARIABLE, "")
    try:
        seconds = float(value or TIMEOUT)
        if not 0 < seconds < 1e6:
            raise ValueError
    except ValueError:
        raise SourceUnavailable(f"{TIMEOUT_VARIABLE} is {value!r}; a number of seconds is expected") from None
    return seconds


def with_retries(attempt: Callable[[], T]) -> T:
    """Retry `attempt` up to `TRIES` times while its failures are transient.

    Raises
    ------
    ObjectNotFoundError
        If there is no such object.
    ImageError
        If it has changed.
    SourceUnavailable
        If all tries failed, or the failure is permanent; the message has how each attempt ended.
    """
    try:
        return retry(attempt, _classify, attempts=TRIES, delay=PAUSE)
    except RetriesExhausted as error:
        raise SourceUnavailable(f"cannot be read {error}") from None


def _classify(error: Exception) -> TransientError:
    """Classify an error: return what another attempt may mend, raise what is permanent."""
    if isinstance(error, ImageError):
        raise error
    status = _status(error)
    is_transient, reason = _describe(error, status)
    if status == 404:
        raise ObjectNotFoundError(f"cannot be read: {reason}") from None
    if status in (412, 416):
        raise ImageError(CHANGED_MESSAGE) from None
    if not is_transient:
        raise SourceUnavailable(f"cannot be read: {reason}") from None
    return TransientError(reason)


def _status(error: BaseException | None) -> int | None:
    """The HTTP status of an error of any library; None if it has none."""
    while error is not None:
        response = getattr(error, "response", None)
        aws_status = response.get("ResponseMetadata", {}).get("HTTPStatusCode") if isinstance(response, dict) else None
        # Google's client has its own word; aiohttp calls a cut body code 400.
        coded = getattr(error, "code", None) if type(error).__name__ == "HttpError" else None
        for value in map(str, (aws_status, getattr(error, "status", None), coded)):
            if value.isdigit() and 100 <= int(value) < 600:
                return int(value)
        if isinstance(error, FileNotFoundError):
            return 404
        if isinstance(error, PermissionError):
            return 403
        error = error.__cause__
    return None


def _describe(error: Exception, status: int | None) -> tuple[bool, str]:
    if status is not None:
        reason = f"HTTP {status}" + (f" ({_MEANING[status]})" if status in _MEANING else "")
        return status >= 500 or status in (408, 429), reason
    kinds = {kind.__name__ for kind in type(error).__mro__}
    if isinstance(error, TruncatedReadError):
        return True, str(error)
    if "FlexibleChecksumError" in kinds:
        return True, "damaged or cut on the way, by its checksum"
    if any("Timeout" in kind for kind in kinds):
        return True, f"no complete answer within {timeout():g} s ({TIMEOUT_VARIABLE})"
    if "NoCredentialsError" in kinds:
        return False, "no credentials; for a public bucket set FSSPEC_S3_ANON=true"
    # The messages of libraries hold addresses, with their signatures.
    return bool(kinds & _TRANSIENT) and not kinds & _PERMANENT, f"{_plain(error)} ({type(error).__name__})"


def _plain(error: Exception) -> str:
    strerror = getattr(error, "strerror", None)
    if isinstance(error, OSError) and error.errno and isinstance(strerror, str) and "://" not in strerror:
        return one_line(strerror, 100)
    return "the connection failed" if isinstance(error, OSError) else "the store's library failed"
