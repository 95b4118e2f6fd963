"""An opened bundle that predicts: pictures in memory → votes and class probabilities."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..display.cards import thumbnail
from ..images.find import find_images
from ..images.fits.framing import Framing
from ..images.image import ImageError
from ..images.preprocess import Preprocess
from ..votes import fractions as votes
from .bundle import Bundle, BundleError, Network, open_bundle
from .calibration import Calibration
from .embeddings import Embedder
from .image_reader import Read, Reading, Source
from .intervals import Intervals
from .predictions import Prediction, Predictions, concatenated
from .runtime import NetworkError, Runtime, open_network

__all__ = ["FEATURES", "INPUT", "OUTPUT", "Model", "Read", "Votes", "load", "softmax"]

#: A network's input, and its outputs; one without `features` has no embeddings.
INPUT, OUTPUT, FEATURES = "pictures", "logits", "features"
MAX_FEATURES = 100_000
#: Pictures of which `Model.predict` keeps a thumbnail, a few kilobytes each.
MAX_THUMBNAILS = 1000


def load(
    name_or_path: str | Path = "default",
    *,
    threads: int = 0,
    precision: str = "f32",
    device: str = "auto",
    framing: Framing = Framing(),
) -> Model:
    """Open a model: one that comes with the package, by name, or a bundle's folder.

    Parameters
    ----------
    threads : int
        Threads of the network on a CPU; 0: as many as cores.
    precision : "f32" or "bf16"
        bfloat16 is faster on CPUs that know it, and deviates; it needs the extra ``tuningfork[openvino]``.
    device : "auto", "cpu" or "cuda"
        "auto": an NVIDIA GPU if the installed ONNX Runtime can use it, else the CPU.
    framing : Framing
        How FITS images become pictures; by default the first image, north up, all that it shows.

    Raises
    ------
    BundleError
        If there is no such model, or it is not whole.
    RuntimeUnavailable
        If this machine or installation has not the precision or the device.
    """
    return Model(open_bundle(name_or_path), threads=threads, precision=precision, device=device, framing=framing)


@dataclass(frozen=True, eq=False)
class Votes:
    """What the networks say of N pictures.

    Parameters
    ----------
    cumulative : (N, A) float64 in [0, 1]
        Mean over views and networks; NaN if the model tells only classes.
    class_probability : (N, C) float64 in [0, 1]
        Mean over views and networks, as the networks give it, not yet calibrated; NaN if the model
        tells only votes.
    rotation_spread, network_spread : (N,) float64 in [0, 0.5]
        Root mean square over the answers of the standard deviation of the cumulative fractions over the
        views (averaged over the networks), and over the networks (averaged over the views). NaN if there
        is only one, or no votes are told.
    features : (N, D) float32 or None
        Mean over the views; those of several networks side by side. None if they were not asked for.
    """

    cumulative: NDArray[np.float64]
    class_probability: NDArray[np.float64]
    rotation_spread: NDArray[np.float64]
    network_spread: NDArray[np.float64]
    features: NDArray[np.float32] | None = None


class Model:
    """A bundle with its networks ready to run.

    Raises
    ------
    BundleError
        If a network cannot be opened, or its inputs and outputs are not those of the bundle's tree.
    RuntimeUnavailable
        If this machine or installation has not the precision, the device or the engine; see `runtime.open_network`.
    """

    def __init__(
        self,
        bundle: Bundle,
        *,
        threads: int = 0,
        precision: str = "f32",
        device: str = "auto",
        engine: str = "auto",
        framing: Framing = Framing(),
    ) -> None:
        self.bundle = bundle
        self.tree = bundle.tree
        self.views = bundle.views
        self.calibration = bundle.calibration or Calibration()
        self.framing = framing
        #: How the networks were opened, for whoever opens them again elsewhere.
        self.running = {"threads": threads, "precision": precision, "device": device, "engine": engine}
        self._networks = [_opened(network, bundle, self.running) for network in bundle.networks]

    @property
    def runtime(self) -> str:
        """What its networks run on, such as ``ONNX Runtime 1.32.0, float32, CPU``."""
        return self._networks[0].name

    @cached_property
    def reading(self) -> Reading:
        """How its pictures are read."""
        return Reading(self.preprocesses, self.calibration.domain, self.framing)

    @property
    def preprocesses(self) -> tuple[Preprocess, ...]:
        """The distinct preprocessings of the bundle's networks."""
        return tuple(dict.fromkeys(network.preprocess for network in self.bundle.networks))

    @property
    def feature_width(self) -> int:
        """D, numbers in a picture's `features`; 0 if a network has none."""
        widths = [_feature_width(network) for network in self._networks]
        return sum(widths) if all(widths) else 0

    def embedder(self, views: int | None = None) -> Embedder:
        """Whose its embeddings are, as means of so many views; None: as many as the bundle asks.

        Raises
        ------
        ValueError
            If a network has no features.
        """
        if not self.feature_width:
            raise ValueError(
                f"model {self.bundle.name}: a network has no output {FEATURES!r}; give it one with "
                "scripts/add_features.py, or train it again"
            )
        return Embedder(self.bundle.name, self.bundle.sha256, views or self.views, self.feature_width)

    def inputs(self, picture: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], ...]:
        """One picture (H, W, 3), cropped and resized once for each of `preprocesses`."""
        return self.reading.inputs(picture)

    def intervals(self, views: int | None = None) -> Intervals | None:
        """Intervals for the mean of so many views; None if the model was not calibrated with that many."""
        intervals = self.calibration.intervals
        return intervals if intervals and intervals.views == (self.views if views is None else views) else None

    def votes(
        self,
        inputs: Sequence[tuple[NDArray[np.uint8], ...]],
        views: int | None = None,
        *,
        batch: int | None = None,
        features: bool = False,
    ) -> Votes:
        """Votes and class probabilities of N pictures' `inputs`.

        Averaged over `views` rotations and reflections and over the ensemble's networks; the average
        of cumulative fractions keeps every sum of the tree.

        Parameters
        ----------
        batch : int, optional
            Pictures that a network gets at a time; None: all.

        Raises
        ------
        ValueError
            If `features` are asked of networks that have none.
        """
        if features:
            self.embedder(views)
        count, outputs = len(inputs), self.bundle.outputs
        answers, classes = outputs.widths(self.tree)
        turns = _turns(self.views if views is None else views)
        cumulative = np.full((count, len(self.tree.columns)), 0.0 if answers else np.nan)
        probability = np.full((count, len(self.tree.classes)), 0.0 if classes else np.nan)
        by_view = np.zeros((len(turns), *cumulative.shape))
        by_network = np.zeros((len(self._networks), *cumulative.shape))
        seen = []
        stacks = {p: np.stack([row[i] for row in inputs]) for i, p in enumerate(self.preprocesses) if count}
        for k, (network, runtime) in enumerate(zip(self.bundle.networks, self._networks, strict=True)):
            wanted = [OUTPUT, FEATURES] if features else [OUTPUT]
            mean = np.zeros((count, _feature_width(runtime) if features else 0), np.float32)
            stack = stacks[network.preprocess] if count else ()
            told_of_views = _run(runtime, wanted, network.preprocess, stack, turns, batch or count) if count else ()
            for v, (logits, *extra) in enumerate(told_of_views):
                if answers:
                    told = votes.cumulative_from_logits(logits[:, :answers], self.tree, outputs.votes)
                    cumulative += told
                    by_view[v] += told
                    by_network[k] += told
                if classes:
                    probability += softmax(logits[:, answers:].astype(np.float64))
                if extra:
                    mean += extra[0] / len(turns)
            seen.append(mean)
        passes = len(turns) * len(self._networks)
        return Votes(
            cumulative / passes,
            probability / passes,
            _spread(by_view / len(self._networks)) if answers else np.full(count, np.nan),
            _spread(by_network / len(turns)) if answers else np.full(count, np.nan),
            np.concatenate(seen, 1) if features else None,
        )

    def predict(
        self,
        source: Source | Iterable[Source],
        *,
        views: int | None = None,
        batch: int = 32,
        framing: Framing | None = None,
        embeddings: bool = False,
    ) -> Prediction | Predictions:
        """Predict a picture (path, file's bytes, array) → Prediction; a folder or several → Predictions.

        Parameters
        ----------
        framing : Framing, optional
            How FITS images become pictures; None: as the model was loaded with.
        embeddings : bool
            Also say what the networks see: `Predictions.embeddings`, in the same pass.

        Raises
        ------
        ValueError
            If `embeddings` are asked of a model that has none.
        ImageError
            If a single picture cannot be read; among several it becomes that row's `error`.
        FileNotFoundError
            If a path does not exist.
        """
        if batch < 1:
            raise ValueError(f"batch = {batch}; at least 1 is needed")
        reading = self.reading if framing is None else replace(self.reading, framing=framing)
        if isinstance(source, np.ndarray | bytes):
            rows = self._rows([source], views, batch, reading, embeddings)
        elif isinstance(source, str | os.PathLike):
            path = Path(source)
            if path.is_dir():
                return self._rows(list(find_images([path])), views, batch, reading, embeddings)
            if not path.exists():
                raise FileNotFoundError(f"{path}: no such file or folder")
            rows = self._rows([path], views, batch, reading, embeddings)
        else:
            return self._rows(list(source), views, batch, reading, embeddings)
        if rows.errors[0]:
            raise ImageError(rows.errors[0])
        return rows[0]

    def _rows(
        self, sources: list[Source], views: int | None, batch: int, reading: Reading, embeddings: bool
    ) -> Predictions:
        parts = []
        # Of no pictures too there is one batch, which says how wide embeddings are.
        for first in range(0, max(1, len(sources)), batch):
            reads = [reading.read(source, n) for n, source in enumerate(sources[first : first + batch], first)]
            shown = tuple(
                thumbnail(row.inputs[0]) if row.inputs and n < MAX_THUMBNAILS else b""
                for n, row in enumerate(reads, first)
            )
            parts.append(replace(self.finish(reads, views, embeddings=embeddings), thumbnails=shown))
        return concatenated(self.tree, parts)

    def rows(
        self, sources: Sequence[Source], first: int = 0, views: int | None = None, embeddings: bool = False
    ) -> Predictions:
        """One batch; rows that are not files are named by their number, counted from `first`."""
        reads = [self.read(source, first + i) for i, source in enumerate(sources)]
        return self.finish(reads, views, embeddings=embeddings)

    def read(self, source: Source, number: int = 0) -> Read:
        """Read and resize one picture; a failure becomes the row's error. Safe to call from many threads."""
        return self.reading.read(source, number)

    def finish(
        self, reads: Sequence[Read], views: int | None = None, *, batch: int | None = None, embeddings: bool = False
    ) -> Predictions:
        """Run the networks over pictures that `read` has read, `batch` at a time (None: all)."""
        good = [i for i, row in enumerate(reads) if row.inputs is not None]
        told = self.votes([reads[i].inputs for i in good], views, batch=batch, features=embeddings)
        intervals, classes = self.intervals(views), self.calibration.classes
        unknown = np.full_like(told.cumulative, np.nan)
        low, high = intervals.bounds(told.cumulative, self.tree) if intervals else (unknown, unknown)
        level = np.full(len(good), intervals.level if intervals else np.nan)

        def rows(values: NDArray[Any]) -> NDArray[Any]:
            out = np.full((len(reads), *values.shape[1:]), np.nan, values.dtype)
            out[good] = values
            return out

        return Predictions(
            self.tree,
            tuple(row.id for row in reads),
            tuple(row.path for row in reads),
            rows(told.cumulative),
            rows(classes(told.class_probability) if classes else told.class_probability),
            tuple(row.error for row in reads),
            rows(low),
            rows(high),
            rows(level),
            rows(told.rotation_spread),
            rows(told.network_spread),
            np.array([row.domain_score for row in reads]),
            tuple(row.warning for row in reads),
            None if told.features is None else rows(told.features),
            self.embedder(views) if embeddings else None,
        )


def _opened(network: Network, bundle: Bundle, running: Mapping[str, Any]) -> Runtime:
    try:
        opened = open_network(network.onnx, **running)
    except NetworkError as error:
        raise BundleError(f"network {network.architecture}: {error}") from None
    wanted = sum(bundle.outputs.widths(bundle.tree))
    if opened.inputs != (INPUT,) or opened.outputs.get(OUTPUT, (None,))[-1] != wanted:
        raise BundleError(
            f"network {network.architecture}: its outputs are not the {wanted} of tree {bundle.tree.name}"
        )
    shape = opened.outputs.get(FEATURES)
    if shape is not None and not (len(shape) == 2 and 1 <= (shape[1] or 0) <= MAX_FEATURES):
        raise BundleError(
            f"network {network.architecture}: features of shape {shape}; (N, D) with a fixed "
            f"D in 1…{MAX_FEATURES} is expected"
        )
    return opened


def _feature_width(network: Runtime) -> int:
    return network.outputs.get(FEATURES, (0,))[-1] or 0


def _run(
    runtime: Runtime,
    wanted: list[str],
    preprocess: Preprocess,
    stack: NDArray[np.uint8],
    turns: Sequence[tuple[int, bool]],
    batch: int,
) -> Iterator[list[NDArray[np.float32]]]:
    """For each view of (N, size, size, 3) pictures the outputs `wanted`, of `batch` pictures at a time."""
    views = [_turned(stack, *turn) for turn in turns]
    if runtime.stacks_views:
        told = _in_batches(runtime, wanted, preprocess, np.concatenate(views), batch * len(turns))
        yield from (list(parts) for parts in zip(*(np.split(each, len(turns)) for each in told), strict=True))
        return
    for view in views:
        yield _in_batches(runtime, wanted, preprocess, view, batch)


def _in_batches(
    runtime: Runtime, wanted: list[str], preprocess: Preprocess, pictures: NDArray[np.uint8], batch: int
) -> list[NDArray[np.float32]]:
    told = [
        runtime.run(wanted, preprocess.scaled(pictures[first : first + batch]))
        for first in range(0, len(pictures), batch)
    ]
    return told[0] if len(told) == 1 else [np.concatenate(parts) for parts in zip(*told, strict=True)]


def _turned(stack: NDArray[np.uint8], quarter: int, mirrored: bool) -> NDArray[np.uint8]:
    view = np.rot90(stack, quarter, axes=(1, 2))
    return view[:, :, ::-1] if mirrored else view


def _spread(fractions: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N,) root mean square over the answers of the standard deviation over the first axis of (K, N, A)."""
    if len(fractions) == 1:
        return np.full(fractions.shape[1], np.nan)
    return np.sqrt(fractions.var(0).mean(-1))


def _turns(views: int) -> list[tuple[int, bool]]:
    """Quarter turns and reflections of a square: 1, 2, 4 or all 8 of them."""
    if views not in (1, 2, 4, 8):
        raise ValueError(f"views = {views} is none of 1, 2, 4, 8")
    return {
        1: [(0, False)],
        2: [(0, False), (0, True)],
        4: [(0, False), (1, False), (2, False), (3, False)],
        8: [(quarter, mirrored) for mirrored in (False, True) for quarter in range(4)],
    }[views]


def softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Probabilities over the last axis of any finite numbers; same shape."""
    exponential = np.exp(logits - logits.max(-1, keepdims=True))
    return exponential / exponential.sum(-1, keepdims=True)
