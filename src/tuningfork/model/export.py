"""Export of a whole model as one ONNX file: pixels in, vote fractions and classes out, for programs without Python.

The graph holds what `Model.run` does between the resized image and the table: scaling, rotated and reflected views, the
networks, the tree layer, the means. Cropping and resizing stay with the caller; the file's metadata say how.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from .. import __version__
from .._utils.errors import TuningforkError
from .bundle import Bundle
from .ensemble import FEATURES, INPUT, OUTPUT
from .export_classes import class_outputs
from .graph import GraphBuilder
from .image_reader import LoadedImage
from .model import Model
from .onnx_check import NetworkError
from .options import InferenceOptions
from .views import check_n_views, view_transforms

__all__ = ["OPSET", "TAILS", "ExportError", "export_onnx"]

OPSET = 18
#: Arithmetic behind the networks → largest difference from the package. Browsers' GPUs have no float64.
TAILS = {"float64": 1e-6, "float32": 1e-5}
BATCH = "batch"


class ExportError(TuningforkError, ValueError):
    """A model that cannot be one ONNX file; the message says why."""


def export_onnx(bundle: Bundle, *, n_views: int | None = None, tail: str = "float64") -> bytes:
    """Return a bundle as one ONNX file of opset 18 that needs no other, checked against the package.

    Parameters
    ----------
    bundle : Bundle
    n_views : 1, 2, 4, 8 or None
        Rotated and reflected views that the file averages; None: as many as the model asks for.
    tail : "float64" or "float32"
        Arithmetic behind the networks: "float64" is equal to the package within 1e-6 for every batch size, "float32"
        within 1e-5, for browsers whose GPUs have no float64.

    Returns
    -------
    bytes
        Input: `images` (N, size, size, 3) uint8, red, green, blue, cropped and resized; `images_1`… for each further
        preprocessing of an ensemble. Outputs, those that the model has: `cumulative` (N, A), `class_probability`
        (N, C), `no_class_probability` (N,) of a model of votes, `rotation_spread` (N,) with several views,
        `network_spread` (N,) with several networks, all of the tail's type, and `features` (N, D) float32; see
        `NetworkOutputs` and `Predictions`. The metadata describe columns, classes, preprocessing, licence and hash.

    Raises
    ------
    ExportError
        If a network cannot be put into a graph of opset 18, or the file's numbers are not the package's.

    Examples
    --------
    >>> import onnxruntime, tuningfork
    >>> file = export_onnx(tuningfork.load("fast").bundle, n_views=2)
    >>> session = onnxruntime.InferenceSession(file)
    >>> session.run(["cumulative"], {"images": np.zeros((3, 112, 112, 3), np.uint8)})[0].shape
    (3, 37)
    """
    if tail not in TAILS:
        raise ValueError(f"tail {tail!r} is none of {', '.join(TAILS)}")
    views = check_n_views(n_views or bundle.n_views)
    model = Model(bundle, threads=1, device="cpu")
    try:
        graph = GraphBuilder(OPSET)
        _build(graph, model, views, np.dtype(tail))
        file = graph.finish(f"tuningfork-{model.bundle.name}", _metadata(model, views, tail))
    except NetworkError as error:
        raise ExportError(f"model {model.bundle.name}: {error}") from None
    _check(file, model, views, TAILS[tail])
    return file


def _build(graph: GraphBuilder, model: Model, n_views: int, dtype: np.dtype[Any]) -> None:
    bundle, tree = model.bundle, model.tree
    answers, classes = bundle.outputs.widths(tree)
    stacks = {}
    for name, preprocess in zip(_input_names(model), model.preprocesses, strict=True):
        graph.input(name, np.uint8, [BATCH, preprocess.size, preprocess.size, 3])
        gain, offset = preprocess.gain_and_offset
        planes = graph.cast(graph.add("Transpose", name, perm=[0, 3, 1, 2]), np.float32)
        stacks[preprocess] = _views(graph, graph.add("Add", graph.add("Mul", planes, gain), offset), n_views)

    def by_view(value: str, width: int) -> str:
        """(V·N, width) → (V, N, width)."""
        return graph.add("Reshape", value, np.array([n_views, -1, width]))

    votes, probabilities, features = [], [], []
    for number, (network, runtime) in enumerate(zip(bundle.networks, model.networks, strict=True)):
        outputs = graph.network(network.onnx, f"network_{number}", {INPUT: stacks[network.preprocess]})
        logits = by_view(graph.cast(outputs[OUTPUT], dtype), answers + classes)
        if answers:
            votes.append(_cumulative(graph, graph.part(logits, 2, 0, answers), model, dtype))
        if classes:
            of_classes = graph.add("Softmax", graph.part(logits, 2, answers, answers + classes), axis=-1)
            probabilities.append(_mean(graph, of_classes, 0))
        if model.feature_width:
            width = runtime.outputs[FEATURES][-1] or 0
            features.append(_mean(graph, by_view(outputs[FEATURES], width), 0))
    if answers:
        # (K, V, N, A)
        stacked = graph.add("Concat", *(graph.add("Unsqueeze", each, np.array([0])) for each in votes), axis=0)
        cumulative = _mean(graph, stacked, 0, 1)
        graph.output("cumulative", cumulative, dtype, [BATCH, answers])
        for name, count, others in (("rotation_spread", n_views, 0), ("network_spread", len(votes), 1)):
            if count > 1:
                graph.output(name, _spread(graph, _mean(graph, stacked, others)), dtype, [BATCH])
    if tree.classes:
        evidence = {"votes": cumulative} if answers else {"probability": _networks_mean(graph, probabilities)}
        probability, none = class_outputs(graph, tree, model.calibration.classes, dtype, **evidence)
        graph.output("class_probability", probability, dtype, [BATCH, len(tree.classes)])
        if none:
            graph.output("no_class_probability", none, dtype, [BATCH])
    if features:
        joined = graph.add("Concat", *features, axis=1)
        graph.output(FEATURES, joined, np.float32, [BATCH, model.feature_width])


def _views(graph: GraphBuilder, images: str, n_views: int) -> str:
    """All views of images (N, 3, S, S), one view after the other: (V·N, 3, S, S)."""
    flipped = {axis: lambda value, axis=axis: graph.part(value, axis, -1, -1, -1) for axis in (2, 3)}
    views = []
    for quarter_turns, mirrored in view_transforms(n_views):
        view = images
        if quarter_turns % 2:
            view = graph.add("Transpose", view, perm=[0, 1, 3, 2])
        # As np.rot90 of rows and columns: a quarter counterclockwise ends with the rows in reverse.
        if quarter_turns in (1, 2):
            view = flipped[2](view)
        if quarter_turns in (2, 3):
            view = flipped[3](view)
        views.append(flipped[3](view) if mirrored else view)
    return graph.add("Concat", *views, axis=0) if n_views > 1 else images


def _cumulative(graph: GraphBuilder, logits: str, model: Model, dtype: np.dtype[Any]) -> str:
    """Cumulative fractions of logits (V, N, A); see `votes.fractions.cumulative_from_logits`."""
    tree = model.tree
    if model.bundle.outputs.votes == "sigmoid":
        half = np.array(0.5, dtype)
        tanh = graph.add("Tanh", graph.add("Mul", logits, half))
        return graph.add("Mul", graph.add("Add", tanh, np.array(1, dtype)), half)
    questions = [graph.add("Softmax", graph.part(logits, 2, part.start, part.stop), axis=-1) for part in tree.slices]
    shares = graph.add("Concat", *questions, axis=2)
    # A question's position in the tree decides how many products lead to it: after each round one level more is right.
    above = np.concatenate(
        [
            np.full(part.stop - part.start, -1 if parent is None else parent)
            for part, parent in zip(tree.slices, tree.parents, strict=True)
        ]
    )
    depth = max(_depth(above, answer) for answer in range(len(above)))
    first = graph.part(shares, 2, 0, 1)
    one = graph.add("Add", graph.add("Sub", first, first), np.array(1, dtype))
    cumulative = shares
    for _ in range(depth):
        padded = graph.add("Concat", cumulative, one, axis=2)
        reach = graph.add("Gather", padded, np.where(above < 0, len(above), above), axis=2)
        cumulative = graph.add("Mul", reach, shares)
    return cumulative


def _depth(above: NDArray[np.integer], answer: int) -> int:
    """How many answers lead to one."""
    depth = 0
    while (answer := int(above[answer])) >= 0:
        depth += 1
    return depth


def _networks_mean(graph: GraphBuilder, values: list[str]) -> str:
    each = [graph.add("Unsqueeze", value, np.array([0])) for value in values]
    return _mean(graph, graph.add("Concat", *each, axis=0), 0)


def _mean(graph: GraphBuilder, value: str, *axes: int) -> str:
    return graph.add("ReduceMean", value, np.array(axes), keepdims=0)


def _spread(graph: GraphBuilder, fractions: str) -> str:
    """(N,) root mean square over the answers of the standard deviation over the first axis of (K, N, A)."""
    off = graph.add("Sub", fractions, graph.add("ReduceMean", fractions, np.array([0]), keepdims=1))
    return graph.add("Sqrt", _mean(graph, _mean(graph, graph.add("Mul", off, off), 0), 1))


def _input_names(model: Model) -> list[str]:
    return [f"images_{number}" if number else "images" for number in range(len(model.preprocesses))]


def _metadata(model: Model, n_views: int, tail: str) -> dict[str, str]:
    """What a reader of the file needs to know, texts and JSON."""
    bundle, tree = model.bundle, model.tree
    inputs = dict(zip(_input_names(model), (each.to_dict() for each in model.preprocesses), strict=True))
    content: dict[str, Any] = {
        "columns": tree.columns,
        "fraction_names": tree.fraction_names,
        "parents": [None if parent is None else tree.columns[parent] for parent in tree.parents],
        "classes": [rule.name for rule in tree.classes],
        "inputs": inputs,
        "views": n_views,
        "attribution": bundle.attribution,
        "limits": bundle.limits,
        "tree": tree.to_dict(),
    }
    return {
        "model": bundle.name,
        "title": bundle.title,
        "licence": bundle.licence,
        "sha256": bundle.sha256,
        "tail": tail,
        "tuningfork": __version__,
        **{key: json.dumps(value, ensure_ascii=False) for key, value in content.items()},
    }


def _check(file: bytes, model: Model, n_views: int, tolerance: float) -> None:
    """Compare file and package on images of noise and on a black one."""
    rng = np.random.default_rng(0)
    rows = [
        LoadedImage(
            str(row),
            "",
            tuple((rng.integers(0, 256, (p.size, p.size, 3)) * (row > 0)).astype(np.uint8) for p in model.preprocesses),
            "",
        )
        for row in range(3)
    ]
    expected = model.predict_loaded(rows, InferenceOptions(n_views, embeddings=bool(model.feature_width)))
    try:
        session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
        stacks = zip(_input_names(model), zip(*(row.inputs or () for row in rows), strict=True), strict=True)
        outputs = session.run(None, {name: np.stack(images) for name, images in stacks})
    except Exception as error:  # ONNX Runtime raises several kinds of its own
        raise ExportError(f"model {model.bundle.name}: ONNX Runtime does not run its export: {error}") from None
    for output, values in zip(session.get_outputs(), outputs, strict=True):
        name = "embeddings" if output.name == FEATURES else output.name
        largest = float(np.abs(values - getattr(expected, name)).max())
        if not largest <= tolerance:
            raise ExportError(
                f"model {model.bundle.name}: {output.name} of its export differ by {largest:.2g} from the package's"
            )
