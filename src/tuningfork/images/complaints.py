"""Complaints of decoders: Python warnings about damaged files, collected for each thread by itself."""

from __future__ import annotations

import re
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from .._utils.text import one_line

__all__ = ["decoder_complaints"]

#: What a warning says when a file is damaged; decoders warn of much that is harmless too.
DAMAGE = re.compile(r"truncat|corrupt|damage|checksum|datasum", re.IGNORECASE)

_lock = threading.Lock()
_thread = threading.local()
_depth = 0
_saved: Any = None


@contextmanager
def decoder_complaints() -> Iterator[list[str]]:
    """Yield a list to which warnings of damage in this thread are added; all other warnings are silenced.

    `warnings.catch_warnings` alone changes the state of all threads.
    """
    global _depth, _saved
    with _lock:
        if _depth == 0:
            _saved = warnings.catch_warnings()
            _saved.__enter__()
            warnings.simplefilter("always")
            warnings.showwarning = _collect
        _depth += 1
    outer = getattr(_thread, "complaints", None)
    complaints: list[str] = []
    _thread.complaints = complaints
    try:
        yield complaints
    finally:
        _thread.complaints = outer
        with _lock:
            _depth -= 1
            if _depth == 0:
                _saved.__exit__(None, None, None)


def _collect(message: Warning | str, *_: Any, **__: Any) -> None:
    complaints = getattr(_thread, "complaints", None)
    text = one_line(message)
    if complaints is not None and DAMAGE.search(text) and text not in complaints:
        complaints.append(text)
