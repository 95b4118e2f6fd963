"""The bytes of an image: of a path, a file object, or as they are."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import Any

from .._utils.text import native_path
from .image import ImageError, TransientImageError, check_file_size

__all__ = ["file_bytes", "is_file_object", "path_or_bytes"]

#: Errors that belong to the file; all others, such as too many open files, to the machine.
_PERMANENT = frozenset(
    {errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EACCES, errno.EPERM, errno.ELOOP, errno.ENAMETOOLONG, errno.ENXIO}
)


def is_file_object(source: Any) -> bool:
    """Whether an object is an open file; astropy's tables and images have `read` as well, but cannot be closed."""
    return callable(getattr(source, "read", None)) and hasattr(source, "close")


def path_or_bytes(source: Any) -> Path | bytes:
    """Return the path, or the bytes, of `source`; TypeError if it is neither path, bytes nor a binary file object."""
    if isinstance(source, str | os.PathLike):
        path = os.fspath(source)
        return Path(native_path(path) if isinstance(path, str) else path)
    if isinstance(source, bytes | bytearray | memoryview):
        return bytes(source)
    if is_file_object(source):
        data = source.read()
        if isinstance(data, bytes):
            if not data and callable(getattr(source, "tell", None)) and source.tell():
                raise ImageError("nothing is left to read of the file object; seek(0) goes back to its beginning")
            return data
    raise TypeError(
        f"an image is a path, bytes, a binary file object, an array or a Pillow image, not {type(source).__name__}"
    )


def file_bytes(path: Path) -> bytes:
    """Read a regular file of at most `MAX_FILE_BYTES`.

    Raises
    ------
    TransientImageError
        For an error of the machine, such as too many open files.
    ImageError
        If the file cannot be read.
    """
    try:
        status = path.stat()
        # Reading a pipe or a device may never end.
        if not stat.S_ISREG(status.st_mode):
            raise ImageError("cannot be read: not a regular file")
        check_file_size(status.st_size)
        return path.read_bytes()
    except OSError as error:
        kind = ImageError if error.errno in _PERMANENT else TransientImageError
        raise kind(f"cannot be read: {error.strerror or error}") from None
    except ImageError:
        raise
    except ValueError as error:  # a name that no file can have
        raise ImageError(f"cannot be read: {error}") from None
