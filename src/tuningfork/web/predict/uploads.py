"""Images in a request: files of a form, or the body itself; their names become safe labels."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request

from ..limits import MIB
from .limits import Limits

__all__ = ["Upload", "label", "uploads"]

#: Longer names are shortened.
MAX_NAME = 120
#: Other fields of a form, which are ignored.
MAX_FIELDS = 20


@dataclass(frozen=True)
class Upload:
    """An uploaded image: its label, its bytes or their file, and why it is refused, or ""."""

    name: str
    file: UploadFile | bytes
    error: str

    async def content(self) -> bytes:
        """Its bytes."""
        return self.file if isinstance(self.file, bytes) else await self.file.read()


@asynccontextmanager
async def uploads(request: Request, limits: Limits) -> AsyncIterator[list[Upload]]:
    """The images of a request, in the order sent; their temporary files are deleted when the block ends.

    Raises
    ------
    HTTPException
        400 if there is no image or the form is damaged, 413 if there are too many.
    """
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "multipart/form-data":
        yield [await _body(request, limits)]
        return
    try:
        form = await request.form(max_files=limits.images, max_fields=MAX_FIELDS)
    except HTTPException as error:
        if "Too many files" in str(error.detail):
            raise HTTPException(413, f"more than {limits.images} images in one request; send fewer") from None
        raise HTTPException(400, f"the form cannot be read: {error.detail}") from None
    try:
        files = [part for _, part in form.multi_items() if isinstance(part, UploadFile)]
        if not files:
            raise HTTPException(400, "no image in the form; choose at least one file")
        names = [label(file.filename or "", number) for number, file in enumerate(files, 1)]
        yield [Upload(name, file, _too_large(file.size or 0, limits)) for name, file in zip(names, files, strict=True)]
    finally:
        await form.close()


async def _body(request: Request, limits: Limits) -> Upload:
    body, size = bytearray(), 0
    async for piece in request.stream():
        size += len(piece)
        # What is too large is counted, not stored.
        if size <= limits.image_bytes:
            body += piece
    if not size:
        raise HTTPException(400, "no image; send files as multipart/form-data, or one as the body")
    return Upload(label(request.query_params.get("name", ""), 1), bytes(body), _too_large(size, limits))


def _too_large(size: int, limits: Limits) -> str:
    if size <= limits.image_bytes:
        return ""
    return f"file of {size / MIB:.3g} MiB; at most {limits.image_bytes / MIB:g} MiB are accepted here"


def label(name: str, number: int) -> str:
    """A safe label from a name that anyone may have chosen; it is never a path.

    Folders are removed, as are invisible characters and those that change the direction of writing. A name that a
    spreadsheet would take for a formula is changed.
    """
    name = re.split(r"[/\\]", unicodedata.normalize("NFC", name[-4 * MAX_NAME :]))[-1]
    name = "".join(sign for sign in name if unicodedata.category(sign)[0] not in "CZ" or sign == " ").strip()
    name = re.sub(r"^[=+@-]+", "_", name)
    if len(name) > MAX_NAME:
        name = f"{name[: MAX_NAME - 13]}…{name[-12:]}"
    return name if name.strip(". ") else f"image {number}"
