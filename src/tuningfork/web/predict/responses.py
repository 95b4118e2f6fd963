"""What the service answers, as types: the OpenAPI description is made of them."""

from __future__ import annotations

import math

import numpy as np
from pydantic import BaseModel, Field

from ...model.predictions import Prediction
from ...votes.fractions import reach_probability

__all__ = ["About", "Galaxy", "Look", "ModelCard", "Neighbour", "Neighbours", "Problem", "Results", "galaxy_of"]


class Problem(BaseModel):
    """An error, the same for all routes."""

    status: int = Field(examples=[413])
    error: str = Field(description="Why, and what to do about it")


class Answer(BaseModel):
    """An answer of a question, and the share of those asked who give it."""

    key: str
    text: str
    name: str = Field(description="The fraction's column in tables", examples=["bar_yes_fraction"])
    fraction: float | None = Field(description="Share of those asked, 0 to 1; null where nobody would be asked")
    low: float | None = Field(description="Lower bound of the interval; null: not calibrated")
    high: float | None
    chosen: bool = Field(description="Whether most of those asked give it")


class Question(BaseModel):
    """A question of the decision tree."""

    key: str
    text: str
    asked: float | None = Field(description="Share of all volunteers who would be asked, 0 to 1")
    step: int | None = Field(description="Its place on the majority's way down the tree, from 1; null: off the way")
    answers: list[Answer]


class ClassProbability(BaseModel):
    """A class and its probability."""

    name: str
    probability: float


class Galaxy(BaseModel):
    """One row: a galaxy's prediction, or why there is none."""

    name: str = Field(description="The given name, made harmless")
    error: str = Field(description="Empty, or why this row has no prediction")
    summary: str = Field("", description="The prediction in one line of words")
    class_name: str = ""
    classes: list[ClassProbability] = Field([], description="The most probable first")
    questions: list[Question] = Field([], description="The majority's way first, then the rest in the tree's order")
    interval_level: float | None = Field(None, description="Share of galaxies that the intervals promise to hold")
    domain_score: float | None = Field(None, description="How unlike what the model knows; above 1 it is flagged")
    out_of_domain: bool = False
    warning: str = Field("", description="Empty, or what to tell of the picture beside its prediction")
    ra: float | None = Field(None, description="ICRS, degrees; null if it was no position")
    dec: float | None = None
    origin: str = Field("", description="Where a position's picture comes from")
    picture: str | None = Field(None, description="The picture as a data: address, if `pictures` was asked for")


class Results(BaseModel):
    """The rows of one request, in the order given."""

    model: str
    result: str = Field(description="Name of the kept rows: download them at /api/results/{result}.csv or .vot")
    failed: int
    rows: list[Galaxy]


class Look(BaseModel):
    """Where the network looked: how much the answer suffers where the picture is covered."""

    about: str = Field(description="What was asked about: a class, or an answer", examples=["spiral"])
    score: float = Field(description="Its share, or uncalibrated probability, in one view with nothing covered")
    fall: list[list[float]] = Field(description="How much the score falls where that cell is covered; row 0 is the top")
    left: float = Field(description="What the cells span, as parts of the picture's width …")
    top: float = Field(description="… and of its height")
    width: float
    height: float
    x: float = Field(description="Where covering hurts most, as parts of width and height")
    y: float
    overlay: str = Field(description="A layer for the picture, PNG as a data: address")


class Neighbour(BaseModel):
    """A galaxy of the index."""

    id: str
    distance: float
    picture: str | None = Field(description="A small picture as a data: address; null if its file cannot be read")


class Neighbours(BaseModel):
    """The galaxies of the index that look most alike to the network, the nearest first."""

    neighbours: list[Neighbour]


class About(BaseModel):
    """What this service has and takes."""

    version: str
    model: str
    title: str
    runs_on: str = Field(examples=["ONNX Runtime 1.32.0, float32, CPU"])
    sky: str = Field(description="The source of pictures by position; empty: none")
    similar: bool = Field(description="Whether there is an index of galaxies")
    pictures: int = Field(description="Pictures or positions in one request, at most")
    picture_bytes: int
    body_bytes: int


class ModelCard(BaseModel):
    """A model, and what to know before trusting it."""

    name: str
    served: bool
    title: str
    description: str
    licence: str
    limits: list[str]
    attribution: list[str]
    tree: str
    classes: list[str]
    networks: int
    views: int
    calibrated: bool
    rmse: str = Field(description="Root mean square error of the vote fractions on untouched galaxies")
    sha256: str


def galaxy_of(prediction: Prediction, level: float) -> Galaxy:
    """A prediction as the service tells it; NaN becomes null."""
    galaxy = Galaxy(name=prediction.path, error=prediction.error, warning=prediction.warning)
    if prediction.error:
        return galaxy
    tree = prediction.tree
    galaxy.summary = str(prediction)
    galaxy.class_name = prediction.class_name
    if prediction.class_name:
        told = zip(tree.classes, prediction.class_probability.tolist(), strict=True)
        galaxy.classes = sorted(
            (ClassProbability(name=rule.name, probability=value) for rule, value in told),
            key=lambda each: -each.probability,
        )
    galaxy.questions = _questions(prediction)
    galaxy.interval_level = _number(level)
    galaxy.domain_score = _number(prediction.domain_score)
    galaxy.out_of_domain = prediction.out_of_domain
    return galaxy


def _questions(prediction: Prediction) -> list[Question]:
    tree = prediction.tree
    if np.isnan(prediction.cumulative).any():
        return []
    places = {key: number for number, (key, _, _) in enumerate(prediction.steps(), 1)}
    shares = prediction.conditional
    out = []
    for number, (question, part) in enumerate(zip(tree.questions, tree.slices, strict=True)):
        most = part.start + int(np.argmax(prediction.cumulative[part]))
        answers = [
            Answer(
                key=answer.key,
                text=answer.text,
                name=tree.fraction_names[at],
                fraction=_number(shares[at]),
                low=_number(prediction.low[at]),
                high=_number(prediction.high[at]),
                chosen=at == most,
            )
            for at, answer in enumerate(question.answers, part.start)
        ]
        step = places.get(question.key)
        out.append(
            Question(
                key=question.key,
                text=question.text,
                asked=_number(float(reach_probability(prediction.cumulative, tree, number))),
                step=step,
                answers=answers,
            )
        )
    return sorted(out, key=lambda question: question.step or math.inf)


def _number(value: float) -> float | None:
    return None if math.isnan(value) else float(value)
