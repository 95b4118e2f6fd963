"""The networks of a bundle, run as one: averaged over views (test-time augmentation) and over the networks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray

from ..images.preprocess import Preprocess
from ..votes.fractions import cumulative_from_logits, softmax
from .bundle import Bundle, BundleError, Network
from .options import InferenceOptions
from .runtime import NetworkError, Runtime, open_network
from .views import views_of

__all__ = ["FEATURES", "INPUT", "OUTPUT", "Ensemble", "NetworkOutputs", "Running"]

#: A network's input, and its outputs; one without `features` has no embeddings.
INPUT, OUTPUT, FEATURES = "pictures", "logits", "features"
MAX_FEATURES = 100_000
#: Rows that a CPU's caches hold: so many views go through a network in one call, more of them one after the other.
MAX_STACKED_VIEWS = 8


@dataclass(frozen=True, eq=False)
class NetworkOutputs:
    """Means over networks and views of N images' outputs: test-time augmentation and deep ensembles.

    Parameters
    ----------
    cumulative : (N, A) float64 in [0, 1]
        Cumulative vote fractions; NaN if the model predicts only classes.
    class_probability : (N, C) float64 in [0, 1]
        The class outputs of the networks, which `Predictions` have only if there are no votes; NaN if the model
        predicts only votes.
    rotation_spread, network_spread : (N,) float64 in [0, 0.5]
        Root mean square over the answers of the standard deviation of the cumulative fractions over the
        views (averaged over the networks), and over the networks (averaged over the views). NaN if there
        is only one, or if the model predicts no votes.
    features : (N, D) float32 or None
        Mean over the views; those of several networks side by side. None if not requested.
    """

    cumulative: NDArray[np.float64]
    class_probability: NDArray[np.float64]
    rotation_spread: NDArray[np.float64]
    network_spread: NDArray[np.float64]
    features: NDArray[np.float32] | None = None


class Running(TypedDict):
    """How a model's networks are opened; see `runtime.open_network`."""

    threads: int
    precision: str
    device: str
    engine: str


class Ensemble:
    """The opened networks of a bundle.

    Raises
    ------
    BundleError
        If a network cannot be opened, or its inputs and outputs are not those of the bundle's tree.
    RuntimeUnavailable
        If this machine or installation has not the precision, the device or the engine; see `runtime.open_network`.
    """

    def __init__(self, bundle: Bundle, running: Running) -> None:
        self.bundle = bundle
        self.tree = bundle.target
        self.networks = [_open(network, bundle, running) for network in bundle.networks]

    @property
    def preprocesses(self) -> tuple[Preprocess, ...]:
        """The distinct preprocessings of the networks."""
        return tuple(dict.fromkeys(network.preprocess for network in self.bundle.networks))

    @property
    def feature_width(self) -> int:
        """D, numbers in an image's `features`; 0 if a network has none."""
        widths = [_feature_width(network) for network in self.networks]
        return sum(widths) if all(widths) else 0

    def check_features(self) -> None:
        """Raise ValueError if a network has no features."""
        if not self.feature_width:
            raise ValueError(
                f"model {self.bundle.name}: a network has no output {FEATURES!r}, so it has no embeddings; "
                "train it again, or choose another model"
            )

    def run(
        self, inputs: Sequence[tuple[NDArray[np.uint8], ...]], options: InferenceOptions = InferenceOptions()
    ) -> NetworkOutputs:
        """Run the networks on N images, averaged over views and networks; arguments and errors as of `Model.run`."""
        if options.embeddings:
            self.check_features()
        count, outputs = len(inputs), self.bundle.outputs
        answers, classes = outputs.widths(self.tree)
        n_views = options.n_views or self.bundle.n_views
        passes = n_views * len(self.networks)
        logits, features = self._logits(inputs, n_views, options)
        cumulative = spread = probability = None
        if answers:
            # One tail for all views and networks; added up in their order, since the last bits depend on it.
            fractions = cumulative_from_logits(logits[..., :answers], self.tree, outputs.votes)
            cumulative = _total(fractions.reshape(passes, count, answers)) / passes
            by_view, by_network = _total(fractions) / len(self.networks), _total(fractions.swapaxes(0, 1)) / n_views
            spread = _spread(by_view), _spread(by_network)
        if classes:
            chances = softmax(logits[..., answers:].astype(np.float64))
            probability = _total(chances.reshape(passes, count, classes)) / passes
        rotation, network = spread or (np.full(count, np.nan), np.full(count, np.nan))
        return NetworkOutputs(
            np.full((count, len(self.tree.columns)), np.nan) if cumulative is None else cumulative,
            np.full((count, len(self.tree.classes)), np.nan) if probability is None else probability,
            rotation,
            network,
            np.concatenate(features, 1) if options.embeddings else None,
        )

    def _logits(
        self, inputs: Sequence[tuple[NDArray[np.uint8], ...]], n_views: int, options: InferenceOptions
    ) -> tuple[NDArray[np.float32], list[NDArray[np.float32]]]:
        """All networks' logits (K, V, N, A + C), and the features of each network (N, D), means over the views."""
        count, size = len(inputs), options.batch_size or len(inputs)
        names = [OUTPUT, FEATURES] if options.embeddings else [OUTPUT]
        logits = np.empty((len(self.networks), n_views, count, sum(self.bundle.outputs.widths(self.tree))), np.float32)
        features = [
            np.zeros((count, _feature_width(each) if options.embeddings else 0), np.float32) for each in self.networks
        ]
        for number, preprocess in enumerate(self.preprocesses if count else ()):
            sharing = [k for k, each in enumerate(self.bundle.networks) if each.preprocess == preprocess]
            views = views_of(np.stack([row[number] for row in inputs]), n_views)
            together = n_views * min(size, count) <= MAX_STACKED_VIEWS or all(
                self.networks[k].stacks_views for k in sharing
            )
            for shown in [range(n_views)] if together else [range(v, v + 1) for v in range(n_views)]:
                for first in range(0, count, size):
                    batch = [views[v][first : first + size] for v in shown]
                    images = batch[0] if len(batch) == 1 else np.concatenate(batch)
                    scaled: NDArray[np.float32] | None = None
                    for k in sharing:
                        if run_bytes := getattr(self.networks[k], "run_bytes", None):
                            output, *extra = run_bytes(names, images, preprocess)
                        else:
                            # Once for all networks that see it alike.
                            scaled = preprocess.scaled(images) if scaled is None else scaled
                            output, *extra = self.networks[k].run(names, scaled)
                        rows = slice(first, first + len(batch[0]))
                        logits[k, shown.start : shown.stop, rows] = output.reshape(len(batch), len(batch[0]), -1)
                        for each in extra:
                            for one in each.reshape(len(batch), len(batch[0]), -1):
                                features[k][rows] += one / n_views
        return logits, features

    def is_finite(self, outputs: NetworkOutputs) -> NDArray[np.bool_]:
        """(N,) whether all that the model predicts of an image is a finite number."""
        arrays: list[NDArray[Any]] = [outputs.cumulative] if self.bundle.outputs.votes else []
        arrays += [outputs.class_probability] if self.bundle.outputs.classes else []
        arrays += [outputs.features] if outputs.features is not None else []
        return np.all([np.isfinite(array).all(1) for array in arrays], axis=0)


def _open(network: Network, bundle: Bundle, running: Running) -> Runtime:
    try:
        opened = open_network(network.onnx, **running)
    except NetworkError as error:
        raise BundleError(f"network {network.architecture}: {error}") from None
    width = sum(bundle.outputs.widths(bundle.tree))
    if opened.inputs != (INPUT,) or opened.outputs.get(OUTPUT, (None,))[-1] != width:
        raise BundleError(f"network {network.architecture}: its outputs are not the {width} of tree {bundle.tree.name}")
    shape = opened.outputs.get(FEATURES)
    if shape is not None and not (len(shape) == 2 and 1 <= (shape[1] or 0) <= MAX_FEATURES):
        raise BundleError(
            f"network {network.architecture}: features of shape {shape}; (N, D) with a fixed "
            f"D in 1…{MAX_FEATURES} is expected"
        )
    return opened


def _feature_width(network: Runtime) -> int:
    return network.outputs.get(FEATURES, (0,))[-1] or 0


def _total(arrays: NDArray[np.float64]) -> NDArray[np.float64]:
    """The sum over the first axis, one after the other."""
    total: Any = sum(arrays)
    return total


def _spread(fractions: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N,) root mean square over the answers of the standard deviation over the first axis of (K, N, A)."""
    if len(fractions) == 1:
        return np.full(fractions.shape[1], np.nan)
    return np.sqrt(fractions.var(0).mean(-1))
