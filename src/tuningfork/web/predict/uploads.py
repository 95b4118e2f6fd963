"""Pictures out of a request: files of a form, or the body itself; given names become harmless labels."""

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

#: Longer names are cut.
MAX_NAME = 120
#: Other fields of a form, which are ignored.
MAX_FIELDS = 20


@dataclass(frozen=True)
class Upload:
    """A picture that was sent: its label, where its bytes are, and why they are not looked at, or ""."""

    name: str
    file: UploadFile | bytes
    error: str

    async def content(self) -> bytes:
        """Its bytes."""
        return self.file if isinstance(self.file, bytes) else await self.file.read()


@asynccontextmanager
async def uploads(request: Request, limits: Limits) -> AsyncIterator[list[Upload]]:
    """The pictures of a request, in the order sent; their temporary files go when the block ends.

    Raises
    ------
    HTTPException
        400 if there is no picture or the form is damaged, 413 if there are too many.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "multipart/form-data":
        yield [await _body(request, limits)]
        return
    try:
        form = await request.form(max_files=limits.pictures, max_fields=MAX_FIELDS)
    except HTTPException as error:
        if "Too many files" in str(error.detail):
            raise HTTPException(413, f"more than {limits.pictures} pictures in one request; send fewer") from None
        raise HTTPException(400, f"the form cannot be read: {error.detail}") from None
    try:
        files = [part for _, part in form.multi_items() if isinstance(part, UploadFile)]
        if not files:
            raise HTTPException(400, "no picture in the form; choose at least one file")
        names = [label(file.filename or "", number) for number, file in enumerate(files, 1)]
        yield [Upload(name, file, _too_large(file.size or 0, limits)) for name, file in zip(names, files, strict=True)]
    finally:
        await form.close()


async def _body(request: Request, limits: Limits) -> Upload:
    body, size = bytearray(), 0
    async for piece in request.stream():
        size += len(piece)
        # What is too large is counted, not held.
        if size <= limits.picture_bytes:
            body += piece
    if not size:
        raise HTTPException(400, "no picture; send files as multipart/form-data, or one as the body")
    return Upload(label(request.query_params.get("name", ""), 1), bytes(body), _too_large(size, limits))


def _too_large(size: int, limits: Limits) -> str:
    if size <= limits.picture_bytes:
        return ""
    return f"file of {size / MIB:.3g} MiB; at most {limits.picture_bytes / MIB:g} MiB are taken here"


def label(name: str, number: int) -> str:
    """What a picture is called, after a name that anyone may have given; it is never a path.

    Folders are left out, as are characters that cannot be seen or that turn the direction of writing. What a
    spreadsheet would take for a formula is made none.
    """
    name = re.split(r"[/\\]", unicodedata.normalize("NFC", name))[-1]
    name = "".join(sign for sign in name if unicodedata.category(sign)[0] not in "CZ" or sign == " ").strip()
    name = re.sub(r"^[=+@-]+", "_", name)
    if len(name) > MAX_NAME:
        name = f"{name[: MAX_NAME - 13]}…{name[-12:]}"
    return name if name.strip(". ") else f"picture {number}"
