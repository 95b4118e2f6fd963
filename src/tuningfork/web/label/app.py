"""The labelling page over HTTP: labellers and their answers, images by number, agreement, export, fine-tuning."""

from __future__ import annotations

import hmac
import logging
import math
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

from fastapi import FastAPI, HTTPException, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, Field
from starlette.types import ASGIApp

from ...labelling.agreement import agreement
from ...labelling.campaign import MAX_KEY, MAX_NAME, Campaign, StaleAnswerError
from ...labelling.database import LabellingError
from ...labelling.export import FORMATS, export
from ...labelling.fine_tune import FineTuning
from ...labelling.image_folder import excluded_galaxies
from ...labelling.records import LabellerState
from ...labelling.tally import tally, votes_table
from ...votes.tree import Question
from ..decoder import DecodeError, ImageDecoder
from ..downloads import Downloads
from ..errors import error_body, install_errors
from ..guards.guard import guarded
from ..limits import RequestLimits
from ..static import StaticFolder
from .guide import AnswerGuide, QuestionGuide, example_jpeg, guide
from .image_job import EncodedImage, JpegJob
from .invite import InviteToken

__all__ = ["LIMITS", "label_app"]

#: Nobody sends more than an answer.
LIMITS = RequestLimits(body_bytes=2**14, held_bytes=2**22, idle_seconds=5, body_seconds=10, seconds=60, at_once=16)
RETRY_SECONDS = 3
#: An image whose decoder fails is tried again, as the machine may have been busy; in the end it is excluded.
DECODE_ATTEMPTS = 3

logger = logging.getLogger(__name__)

#: More characters than a valid name has, which the campaign then explains.
_Name = Annotated[str, Field(max_length=10 * MAX_NAME)]
#: Range of SQLite.
_Number = Annotated[int, Field(ge=0, lt=2**63)]
_Key = Annotated[str, Field(max_length=MAX_KEY)]


class _Join(BaseModel):
    name: _Name


class _Person(BaseModel):
    person: _Number


class _Undo(_Person):
    campaign: str
    version: _Number
    key: _Key


class _Answer(_Undo):
    galaxy: _Number
    question: str
    answer: str


def label_app(
    campaign: Campaign, folder: Path, training: FineTuning | None = None, *, token: str = "", hosts: Iterable[str] = ()
) -> ASGIApp:
    """The app of one campaign, behind all guards.

    Parameters
    ----------
    folder : path
        The images.
    training : FineTuning, optional
        What the page's button starts; without it, there is none.
    token : str
        Invitation token that labellers need; "" for a campaign that only this machine can reach.
    hosts : iterable of str
        As for `web.guarded`.
    """
    images = _Images(campaign, folder)
    downloads = Downloads(LIMITS)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        images.close()
        if training:
            training.stop()

    app = FastAPI(title="tuningfork label", docs_url=None, redoc_url=None, openapi_url=None, lifespan=lifespan)
    install_errors(app)
    app.add_exception_handler(LabellingError, _refused)
    static = StaticFolder("tuningfork.display", "tuningfork.web.label")
    app.mount("/static", static)

    @app.get("/")
    async def page(request: Request) -> Response:
        return await static.page("label.html", request)

    @app.get("/api/campaign")
    def campaign_info() -> dict[str, Any]:
        guides = guide(campaign.tree)
        return {
            "folder": folder.resolve().name,
            "tree": campaign.tree.title,
            "reference": campaign.tree.reference,
            "trains": training is not None,
            "progress": campaign.progress(),
            "guide": [
                {
                    "text": question.text,
                    "help": guides[question.key].text,
                    "answers": _answers(question, guides[question.key]),
                }
                for question in campaign.tree.questions
                if question.key in guides
            ],
        }

    @app.get("/api/examples/{column}.jpg")
    def example(column: str) -> Response:
        answers = [answer for each in guide(campaign.tree).values() for answer in each.answers.values()]
        if column not in {answer.column for answer in answers}:
            raise HTTPException(404, f"there is no example of {column!r}")
        # The same for everybody, and for ever.
        return Response(example_jpeg(column), media_type="image/jpeg", headers={"cache-control": "max-age=86400"})

    # ------------------------------------------------------------ labellers

    @app.post("/api/people")
    def join(body: _Join) -> JSONResponse:
        state = campaign.join(body.name)
        response = JSONResponse(_state(state, campaign))
        # One cookie a person: two windows of one browser may be two people.
        name, signature = _cookie_name(campaign, state.person), campaign.signature(state.person)
        response.set_cookie(name, signature, httponly=True, samesite="strict", path="/api")
        return response

    def check(request: Request, body: _Person) -> None:
        if isinstance(body, _Undo) and body.campaign != campaign.identity:
            raise StaleAnswerError(
                "this page showed another campaign, which was served here before; this is the new one"
            )
        signature = request.cookies.get(_cookie_name(campaign, body.person), "")
        if not hmac.compare_digest(signature.encode(), campaign.signature(body.person).encode()):
            raise HTTPException(403, "this browser has not joined as this person; enter your name again")

    @app.post("/api/turn")
    def turn(request: Request, body: _Person) -> dict[str, Any]:
        check(request, body)
        return _state(campaign.state(body.person), campaign)

    @app.post("/api/answer")
    def answer(request: Request, body: _Answer) -> dict[str, Any]:
        check(request, body)
        state = campaign.answer(
            body.person, body.galaxy, body.question, body.answer, version=body.version, key=body.key
        )
        return _state(state, campaign)

    @app.post("/api/undo")
    def undo(request: Request, body: _Undo) -> dict[str, Any]:
        check(request, body)
        return _state(campaign.undo(body.person, version=body.version, key=body.key), campaign)

    @app.get("/api/images/{number}")
    async def image(number: _Number) -> Response:
        return Response(await images.jpeg(number), media_type="image/jpeg")

    # ------------------------------------------------------------ results

    @app.get("/api/agreement")
    def agreement_by_question() -> dict[str, Any]:
        counted = tally(campaign.answers(), campaign.tree)
        rows = [asdict(each) for each in agreement(counted.counts, campaign.tree)]
        for row in rows:
            row.update({name: None if math.isnan(row[name]) else row[name] for name in ("raw", "alpha")})
        # A tie of own classes is no label either.
        errors = [*excluded_galaxies(campaign, folder), *votes_table(counted, campaign.tree)[1]]
        totals = counted.counts.sum(0)
        answers = [
            {
                "text": question.text,
                "answers": [
                    {"text": answer.text, "count": int(totals[at])}
                    for at, answer in enumerate(question.answers, columns.start)
                ],
            }
            for question, columns in zip(campaign.tree.questions, campaign.tree.slices, strict=True)
        ]
        return {
            "questions": rows,
            "answers": answers,
            "galaxies": len(counted.ids),
            "progress": campaign.progress(),
            "left_out": [{"id": each.id, "reason": each.reason} for each in errors],
        }

    @app.get("/api/export/{kind}")
    async def export_labels(kind: str) -> Response:
        if kind not in FORMATS:
            raise HTTPException(404, f"{kind!r} is none of {', '.join(FORMATS)}")

        def write(path: Path) -> None:
            # A downloaded manifest is put beside the images.
            export(campaign, folder, path, kind, root=folder)

        return await downloads.response(write, f"{kind}.csv", "text/csv")

    # ------------------------------------------------------------ fine-tuning

    @app.get("/api/training")
    def training_status() -> dict[str, Any]:
        return _required(training).status()

    @app.post("/api/training")
    def start_training() -> dict[str, Any]:
        return _required(training).start()

    @app.delete("/api/training")
    def stop_training() -> dict[str, Any]:
        _required(training).stop()
        return _required(training).status()

    return guarded(InviteToken(app, token) if token else app, LIMITS, hosts)


class _Images:
    """The images of a campaign by number; those that cannot be read are excluded from it."""

    def __init__(self, campaign: Campaign, folder: Path) -> None:
        self._campaign = campaign
        self._folder = folder
        self._decoder = ImageDecoder(JpegJob())
        self._failures: dict[int, int] = {}

    def close(self) -> None:
        """End the decoders."""
        self._decoder.close()

    async def jpeg(self, number: int) -> bytes:
        """An image as a JPEG file.

        Raises
        ------
        HTTPException
            404 if there is no such galaxy, 410 if its image cannot be read, 503 if it cannot be read now.
        """
        # In threads: the database may have to wait for another process that is writing.
        galaxy = await run_in_threadpool(self._campaign.galaxy, number)
        if galaxy is None:
            raise HTTPException(404, f"there is no galaxy {number}")
        image = await self._encode(number, self._folder / galaxy.path)
        if not image.error:
            return image.content
        if image.transient or not self._folder.is_dir():
            # What passes must not cost a galaxy.
            logger.warning("%r cannot be read now: %s", galaxy.path, image.error)
            raise HTTPException(
                503, f"{galaxy.id}: {image.error}; it is tried again", {"retry-after": str(RETRY_SECONDS)}
            )
        await run_in_threadpool(self._campaign.exclude, number, image.error)
        raise HTTPException(410, f"{galaxy.id}: {image.error}; it is left out")

    async def _encode(self, number: int, path: Path) -> EncodedImage:
        try:
            return await self._decoder.run(path)
        except DecodeError as error:
            self._failures[number] = self._failures.get(number, 0) + 1
            return EncodedImage(b"", str(error), self._failures[number] < DECODE_ATTEMPTS)
        except OSError as error:  # no decoder can be started: too many open files, no memory
            return EncodedImage(b"", error.strerror or str(error), transient=True)


def _refused(_: Request, error: Exception) -> JSONResponse:
    status = 409 if isinstance(error, StaleAnswerError) else 400
    return JSONResponse(error_body(status, str(error)), status)


def _required(training: FineTuning | None) -> FineTuning:
    if training is None:
        raise HTTPException(404, "this campaign starts no training; see tuningfork label --help")
    return training


def _cookie_name(campaign: Campaign, person: int) -> str:
    return f"tuningfork-{campaign.identity}-{person}"


def _state(state: LabellerState, campaign: Campaign) -> dict[str, Any]:
    """A labeller's state for the page, answers as texts; `question` is None if nothing is left to do."""
    questions = {question.key: question for question in campaign.tree.questions}
    texts = {(q.key, answer.key): answer.text for q in campaign.tree.questions for answer in q.answers}
    question = state.question
    question_guide = guide(campaign.tree).get(question.key) if question else None
    return {
        "campaign": campaign.identity,
        "person": state.person,
        "name": state.name,
        "version": state.version,
        "galaxy": state.galaxy,
        "id": state.id,
        "previous": [{"question": questions[q].text, "answer": texts[q, a]} for q, a in state.answers],
        "question": question
        and {
            "key": question.key,
            "text": question.text,
            "help": question_guide.text if question_guide else "",
            "answers": _answers(question, question_guide),
        },
        "progress": campaign.progress(),
    }


def _answers(question: Question, question_guide: QuestionGuide | None) -> list[dict[str, str]]:
    """The answers of a question with their explanations and the addresses of examples; "" where there is none."""
    out = []
    for each in question.answers:
        answer_guide = question_guide.answers.get(each.key, AnswerGuide()) if question_guide else AnswerGuide()
        example = f"/api/examples/{answer_guide.column}.jpg" if answer_guide.column else ""
        out.append({"key": each.key, "text": each.text, "help": answer_guide.text, "example": example})
    return out
