"""Predictions of many images in this process, batch by batch: nothing is written, and memory does not grow."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

from .._utils.environment import available_cores
from ..inputs import Columns, ItemReader, find_items
from ..inputs.files import file_item
from ..model.model import Model
from ..model.options import InferenceOptions
from ..model.predictions import Predictions
from .chunks import predict_items
from .summary import no_image_error

__all__ = ["predict_batches", "predict_inputs"]

#: Entries that `predict_inputs` holds.
LISTED_AT_ONCE = 1024


def predict_inputs(
    model: Model,
    paths: Iterable[str | os.PathLike[str]],
    inference: InferenceOptions = InferenceOptions(),
    columns: Columns = Columns(),
    left_out: Counter[str] | None = None,
) -> Iterator[Predictions]:
    """Predictions of all that `paths` name, batch by batch, in this process.

    Parameters
    ----------
    model : Model
    paths : iterable of paths or URLs
        Images, folders, catalogues, archives, or places in object stores.
    inference : InferenceOptions
        Views, batch size, and whether embeddings are computed.
    columns : Columns
        Of catalogues.
    left_out : Counter, optional
        Counts what the inputs hold beside images, by kind.

    Yields
    ------
    Predictions
        In the order of the inputs.

    Raises
    ------
    PredictError
        If there is no image.
    """
    left_out = Counter() if left_out is None else left_out
    listed = iter(find_items(paths, columns, left_out))
    empty = True
    with ItemReader() as reader:
        while items := list(islice(listed, LISTED_AT_ONCE)):
            empty = False
            yield from predict_items(model, items, reader, inference, threads=available_cores())
    if empty:
        raise no_image_error(paths, left_out)


def predict_batches(
    model: Model, images: Sequence[str | os.PathLike[str]], inference: InferenceOptions = InferenceOptions()
) -> Iterator[Predictions]:
    """Predict image files batch by batch, in this process; see `chunks.predict_items`.

    Parameters
    ----------
    model : Model
    images : sequence of paths
        One that is missing or damaged has an error.
    inference : InferenceOptions
        Views, batch size, and whether embeddings are computed.
    """
    items = [file_item(Path(path)) for path in images]
    with ItemReader() as reader:
        yield from predict_items(model, items, reader, inference, threads=available_cores())
