"""Object stores, one module each, registered by URL scheme: a new one is a file of this folder."""

from __future__ import annotations

import os
import pkgutil
import re
import threading
from importlib import import_module

from ..._utils.errors import InputError
from ..._utils.extras import install_hint
from ..._utils.urls import public_url, split_url
from ...images.image import ImageError
from ..byte_source import SourceUnavailable
from .store import REMOTE_THREADS, Store, StoredObject, schemes, store_class

__all__ = ["REMOTE_THREADS", "Store", "StoredObject", "check_url", "schemes", "store_of"]

for _module in pkgutil.iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")

_CONTROLS = re.compile(r"[\x00-\x1f]")
_open_stores: dict[tuple[int, type[Store]], Store] = {}
_lock = threading.Lock()


def _new_lock() -> None:
    global _lock
    _lock = threading.Lock()


# Connections do not survive a fork: each process makes its own, whatever lock another thread held then.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_new_lock)


def check_url(url: str) -> None:
    """Check that a URL names an object or a folder of a store that is read.

    Raises
    ------
    InputError
        If it does not; the message shows none of the URL's secrets.
    """
    scheme, host, _ = split_url(url)
    if scheme not in schemes():
        known = ", ".join(f"{each}://" for each in schemes())
        raise InputError(f"{public_url(url)}: {scheme}:// is none of {known}")
    if "@" in host:
        raise InputError(
            f"{public_url(url)}: holds a user's name or password; give them to the store's own configuration "
            "(environment, ~/.config/fsspec), where no table shows them"
        )
    if not host:
        raise InputError(f"{public_url(url)}: names no {'host' if scheme.startswith('http') else 'bucket'}")
    if _CONTROLS.search(url):
        raise InputError(f"{public_url(url)}: holds control characters")


def store_of(url: str) -> Store:
    """The store that a URL names, opened once in every process, configured as fsspec is.

    Raises
    ------
    SourceUnavailable
        If what it needs is not installed, or its configuration is wrong.
    """
    scheme = split_url(url)[0]
    with _lock:
        key = (os.getpid(), store_class(scheme))
        if key not in _open_stores:
            try:
                _open_stores[key] = key[1]()
            except ImportError:
                raise SourceUnavailable(f"{scheme}:// needs fsspec: {install_hint('remote')}") from None
            except ImageError:
                raise
            except Exception as error:  # whatever a configuration can be wrong in
                raise SourceUnavailable(
                    f"{scheme}:// cannot be opened as fsspec is configured ({type(error).__name__})"
                ) from None
        return _open_stores[key]
