"""The labelling over HTTP: its page, where each person stands, pictures by number, agreement, the training."""

from __future__ import annotations

import io
import math
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import FileResponse, JSONResponse, Response
from PIL import Image
from pydantic import BaseModel, Field
from starlette.background import BackgroundTask
from starlette.types import ASGIApp

from ...images.image import ImageError
from ...images.read import read_image
from ...labelling.agreement import agreement
from ...labelling.campaign import MAX_KEY, MAX_NAME, Place, Stale, Store
from ...labelling.database import TeachError
from ...labelling.export import FORMATS, export
from ...labelling.fine_tune import Training
from ...labelling.pictures import left_out
from ...labelling.tally import tally, votes_table
from .. import RequestLimits, StaticFolder, error_body, guarded, install_errors
from .invite import JoinToken

__all__ = ["LIMITS", "label_app"]

#: Nobody sends more than an answer.
LIMITS = RequestLimits(body_bytes=2**14, held_bytes=2**22, idle_seconds=5, body_seconds=10, seconds=60, at_once=16)
#: Larger pictures are shown smaller; a browser's window holds no more.
SHOWN_SIDE = 1024
JPEG_QUALITY = 95
#: More letters than a good name has, which the store then explains.
_Name = Annotated[str, Field(max_length=10 * MAX_NAME)]
#: What SQLite holds.
_Number = Annotated[int, Field(ge=0, lt=2**63)]
_Key = Annotated[str, Field(max_length=MAX_KEY)]


class _Joining(BaseModel):
    name: _Name


class _Turning(BaseModel):
    person: _Number


class _Undoing(_Turning):
    labelling: str
    version: _Number
    key: _Key


class _Answering(_Undoing):
    galaxy: _Number
    question: str
    answer: str


def label_app(
    store: Store, folder: Path, training: Training | None = None, *, token: str = "", hosts: Iterable[str] = ()
) -> ASGIApp:
    """The app of one labelling, behind all guards.

    Parameters
    ----------
    folder : path
        The pictures.
    training : Training, optional
        What the page's button starts; without, there is none.
    token : str
        What those must know who join; "" for a labelling that this machine alone can reach.
    hosts : iterable of str
        As `web.guarded` takes them.
    """

    @asynccontextmanager
    async def life(_: FastAPI) -> AsyncIterator[None]:
        yield
        if training:
            training.stop()

    app = FastAPI(title="tuningfork label", docs_url=None, redoc_url=None, openapi_url=None, lifespan=life)
    install_errors(app)
    static = StaticFolder("tuningfork.web", "tuningfork.web.label")
    app.mount("/static", static)

    app.add_exception_handler(TeachError, _refused)

    @app.get("/")
    def page(request: Request) -> Response:
        return static.response("label.html", request.headers.get("if-none-match", ""))

    @app.get("/api/labelling")
    def labelling() -> dict[str, Any]:
        return {
            "folder": folder.resolve().name,
            "tree": store.tree.title,
            "reference": store.tree.reference,
            "trains": training is not None,
            "progress": store.progress(),
        }

    @app.post("/api/people")
    def join(asked: _Joining) -> dict[str, Any]:
        return _told(store.join(asked.name), store)

    @app.post("/api/turn")
    def turn(asked: _Turning) -> dict[str, Any]:
        return _told(store.place(asked.person), store)

    def check_labelling(asked: _Undoing) -> None:
        if asked.labelling != store.identity:
            raise Stale("this page showed another labelling, which was served here before; here is this one")

    @app.post("/api/answer")
    def answer(asked: _Answering) -> dict[str, Any]:
        check_labelling(asked)
        place = store.answer(
            asked.person, asked.galaxy, asked.question, asked.answer, version=asked.version, key=asked.key
        )
        return _told(place, store)

    @app.post("/api/undo")
    def undo(asked: _Undoing) -> dict[str, Any]:
        check_labelling(asked)
        return _told(store.undo(asked.person, version=asked.version, key=asked.key), store)

    @app.get("/api/pictures/{number}")
    def picture(number: _Number) -> Response:
        look = store.galaxy(number)
        if look is None:
            raise HTTPException(404, f"there is no galaxy {number}")
        try:
            shown = _jpeg(folder / look.path)
        except ImageError as error:
            if not folder.is_dir():
                raise HTTPException(503, "the folder of pictures cannot be read now") from None
            store.leave_out(number, str(error))
            raise HTTPException(410, f"{look.id}: {error}; it is left out") from None
        return Response(shown, media_type="image/jpeg")

    @app.get("/api/agreement")
    def agreed() -> dict[str, Any]:
        found = tally(store.given(), store.tree)
        rows = [asdict(each) for each in agreement(found.counts, store.tree)]
        for row in rows:
            row.update({name: None if math.isnan(row[name]) else row[name] for name in ("raw", "alpha")})
        # A tie of own classes is no label either.
        out = [*left_out(store, folder), *votes_table(found, store.tree)[1]]
        return {
            "questions": rows,
            "progress": store.progress(),
            "left_out": [{"id": each.id, "reason": each.reason} for each in out],
        }

    @app.get("/api/export/{kind}")
    def exported(kind: str) -> Response:
        if kind not in FORMATS:
            raise HTTPException(404, f"{kind!r} is none of {', '.join(FORMATS)}")
        beside = Path(tempfile.mkdtemp(prefix="tuningfork-"))
        output = beside / f"{kind}.csv"
        try:
            # Who downloads a manifest puts it beside the pictures.
            export(store, folder, output, kind, root=folder)
        except BaseException:
            shutil.rmtree(beside)
            raise
        return FileResponse(
            output, media_type="text/csv", filename=output.name, background=BackgroundTask(shutil.rmtree, beside)
        )

    @app.get("/api/training")
    def status() -> dict[str, Any]:
        return _trainer(training).status()

    @app.post("/api/training")
    def start() -> dict[str, Any]:
        return _trainer(training).start()

    @app.delete("/api/training")
    def stop() -> dict[str, Any]:
        _trainer(training).stop()
        return _trainer(training).status()

    return guarded(JoinToken(app, token) if token else app, LIMITS, hosts)


def _refused(_: Request, error: Exception) -> JSONResponse:
    status = 409 if isinstance(error, Stale) else 400
    return JSONResponse(error_body(status, str(error)), status)


def _trainer(training: Training | None) -> Training:
    if training is None:
        raise HTTPException(404, "this labelling starts no training; see tuningfork label --help")
    return training


def _told(place: Place, store: Store) -> dict[str, Any]:
    """A person's place as the page shows it; `given` in words, `question` None if nothing is left to do."""
    questions = {question.key: question for question in store.tree.questions}
    texts = {(q.key, answer.key): answer.text for q in store.tree.questions for answer in q.answers}
    asked = place.question
    return {
        "labelling": store.identity,
        "person": place.person,
        "name": place.name,
        "version": place.version,
        "galaxy": place.galaxy,
        "id": place.id,
        "given": [{"question": questions[q].text, "answer": texts[q, a]} for q, a in place.given],
        "question": asked
        and {
            "key": asked.key,
            "text": asked.text,
            "answers": [{"key": each.key, "text": each.text} for each in asked.answers],
        },
        "progress": store.progress(),
    }


def _jpeg(path: Path) -> bytes:
    """A picture as the network's reader sees it, whatever its file is. Raises ImageError."""
    shown = Image.fromarray(read_image(path).rgb)
    shown.thumbnail((SHOWN_SIDE, SHOWN_SIDE))
    stream = io.BytesIO()
    shown.save(stream, "JPEG", quality=JPEG_QUALITY, subsampling=0)
    return stream.getvalue()
