"""Response types of the service; its OpenAPI description is generated from them."""

from __future__ import annotations

import math

import numpy as np
from pydantic import BaseModel, Field

from ...model.predictions import Prediction
from ...votes.fractions import reach_probability

__all__ = ["About", "Galaxy", "ModelCard", "Neighbour", "Neighbours", "OcclusionMap", "Problem", "Results", "galaxy_of"]


class Problem(BaseModel):
    """An error, the same for all routes."""

    status: int = Field(examples=[413])
    error: str = Field(description="Why, and what to do about it")


class Answer(BaseModel):
    """An answer to a question, and its vote fraction."""

    key: str
    text: str
    name: str = Field(description="Column of the fraction in tables", examples=["bar_yes_fraction"])
    fraction: float | None = Field(
        description="Fraction of those who are asked, 0 to 1; null where nobody would be asked"
    )
    low: float | None = Field(description="Lower bound of the prediction interval; null: not calibrated")
    high: float | None
    chosen: bool = Field(description="Whether it is the most frequent answer")


class Question(BaseModel):
    """A question of the decision tree."""

    key: str
    text: str
    reach: float | None = Field(description="Fraction of all volunteers who reach it, 0 to 1")
    step: int | None = Field(description="Place on the most probable path down the tree, from 1; null: not on it")
    answers: list[Answer]


class ClassProbability(BaseModel):
    """A class and its probability."""

    name: str
    probability: float


class Galaxy(BaseModel):
    """One row: a galaxy's prediction, or why there is none."""

    name: str = Field(description="The name of the file as a safe label")
    error: str = Field(description="Empty, or why this row has no prediction")
    summary: str = Field(default="", description="The prediction as one line of text")
    description: str = Field(
        default="",
        description="What the majority says, in words, by the predicted votes",
        examples=["barred spiral, two medium arms, obvious bulge, nothing odd"],
    )
    class_summary: str = Field(default="", description="The class with its probability, or the nearest, in words")
    class_name: str = Field(default="", description='The most probable of `classes`, perhaps "no clean class"')
    nearest_class: str = Field(default="", description='The most probable class, "no clean class" left aside')
    clean_class: str = Field(default="", description="Class whose thresholds the predicted votes pass; empty: none")
    classes: list[ClassProbability] = Field(
        default=[], description='The most probable first, "no clean class" among them; they sum to 1'
    )
    questions: list[Question] = Field(
        default=[], description="The most probable path first, then the rest in the tree's order"
    )
    interval_level: float | None = Field(
        default=None, description="Share of galaxies of which a question's prediction intervals hold all answers"
    )
    domain_score: float | None = Field(
        default=None, description="Novelty of the image for the model; above 1 it is out of domain"
    )
    out_of_domain: bool = False
    warning: str = Field(default="", description="Empty, or what to know of the image")
    ra: float | None = Field(default=None, description="ICRS, degrees; null for an uploaded image")
    dec: float | None = None
    origin: str = Field(default="", description="Source of the image at a position")
    image: str | None = Field(default=None, description="The image as a data URL, if `images` is true")


class Results(BaseModel):
    """The rows of one request, in the order given."""

    model: str
    result: str = Field(description="Name of the stored rows: download them at /api/results/{result}.csv or .vot")
    first: int = Field(description="Number of the first of these rows among those stored, for ?rows= of a download")
    failed: int
    rows: list[Galaxy]


class OcclusionMap(BaseModel):
    """Where the network looked: how much a score falls where the image is covered."""

    about: str = Field(description="The explained class or answer", examples=["spiral"])
    score: float = Field(description="Its fraction, or uncalibrated probability, in one view with nothing covered")
    fall: list[list[float]] = Field(description="How much the score falls where that cell is covered; row 0 is the top")
    left: float = Field(description="Extent of the cells, as fractions of the image's width …")
    top: float = Field(description="… and of its height")
    width: float
    height: float
    x: float = Field(description="Where the score falls most, as fractions of width and height")
    y: float
    overlay: str = Field(description="Overlay for the image, a PNG as a data URL")


class Neighbour(BaseModel):
    """A galaxy of the index."""

    id: str
    distance: float
    image: str | None = Field(description="A thumbnail as a data URL; null if its file cannot be read")


class Neighbours(BaseModel):
    """The nearest galaxies of the index by the network's embeddings, the nearest first."""

    neighbours: list[Neighbour]


class About(BaseModel):
    """Features and limits of this service."""

    version: str
    model: str
    title: str
    runs_on: str = Field(examples=["ONNX Runtime 1.32.0, float32, CPU"])
    sky: str = Field(description="Source of images by position; empty: none")
    similar: bool = Field(description="Whether there is an index of galaxies")
    stretches: list[str] = Field(description="Stretches of FITS images")
    images: int = Field(description="Maximum number of images or positions in one request")
    image_bytes: int
    body_bytes: int


class ModelCard(BaseModel):
    """A model, and what to know before using it."""

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
    rmse: str = Field(description="Root mean square error of the vote fractions on the test set")
    sha256: str


def galaxy_of(prediction: Prediction, level: float) -> Galaxy:
    """A prediction as a response; NaN becomes null."""
    galaxy = Galaxy(name=prediction.path, error=prediction.error, warning=prediction.warning)
    if prediction.error:
        return galaxy
    galaxy.summary = str(prediction)
    galaxy.description, galaxy.class_summary = prediction.description, prediction.class_summary
    galaxy.class_name, galaxy.nearest_class = prediction.class_name, prediction.nearest_class
    galaxy.clean_class = prediction.clean
    galaxy.classes = sorted(
        (ClassProbability(name=name, probability=value) for name, value in prediction.classes.items()),
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
    for number, (question, columns) in enumerate(zip(tree.questions, tree.slices, strict=True)):
        most = columns.start + int(np.argmax(prediction.cumulative[columns]))
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
            for at, answer in enumerate(question.answers, columns.start)
        ]
        step = places.get(question.key)
        out.append(
            Question(
                key=question.key,
                text=question.text,
                reach=_number(float(reach_probability(prediction.cumulative, tree, number))),
                step=step,
                answers=answers,
            )
        )
    return sorted(out, key=lambda question: question.step or math.inf)


def _number(value: float) -> float | None:
    return None if math.isnan(value) else float(value)
