"""An opened bundle that predicts: pictures in memory → votes and class probabilities."""

from __future__ import annotations

import operator
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pyarrow as pa
from numpy.typing import NDArray

from . import votes
from .bundle import Bundle, BundleError, Network, open_bundle
from .catalog import Column, arrow_schema
from .images import PictureError, find_pictures, load_picture, picture_from_array
from .preprocess import Preprocess
from .schema import Tree

__all__ = ["Model", "Prediction", "Predictions", "kaggle_schema", "load", "output_schema", "softmax"]

Source = str | os.PathLike[str] | bytes | NDArray[Any]
INPUT, OUTPUT = "pictures", "logits"


def load(name_or_path: str | Path = "default", *, threads: int = 0) -> Model:
    """Open a model: one that comes with the package, by name, or a bundle's folder.

    Parameters
    ----------
    threads : int
        Threads of the network; 0: as many as cores.

    Raises
    ------
    BundleError
        If there is no such model, or it is not whole.
    """
    return Model(open_bundle(name_or_path), threads=threads)


@dataclass(frozen=True, eq=False)
class Predictions:
    """Predictions of N pictures, in the order given.

    Parameters
    ----------
    ids, paths, errors : (N,) texts
        `errors` is "" where there is a prediction, else why there is none.
    cumulative : (N, A) float64 in [0, 1]
        Products of the vote fractions down the tree; NaN without a prediction.
    class_probability : (N, C) float64 in [0, 1]
        Sums to 1 over the tree's classes; NaN without a prediction.

    A model that tells only votes, or only classes, leaves NaN in the other.
    """

    tree: Tree
    ids: tuple[str, ...]
    paths: tuple[str, ...]
    cumulative: NDArray[np.float64]
    class_probability: NDArray[np.float64]
    errors: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, row: int) -> Prediction:
        row = operator.index(row)
        return Prediction(
            self.tree,
            self.ids[row],
            self.paths[row],
            self.cumulative[row],
            self.class_probability[row],
            self.errors[row],
        )

    @cached_property
    def fractions(self) -> NDArray[np.float64]:
        """(N, A) of those asked, the share that gives each answer."""
        return votes.shares(self.cumulative, self.tree)

    @cached_property
    def class_index(self) -> NDArray[np.int8]:
        """(N,) the most probable class, -1 without a prediction."""
        if not self.tree.classes:
            return np.full(len(self), -1, np.int8)
        missing = np.isnan(self.class_probability).any(1)
        best = np.argmax(np.where(missing[:, None], 0, self.class_probability), 1).astype(np.int8)
        return np.where(missing, np.int8(-1), best)

    @cached_property
    def clean(self) -> NDArray[np.bool_]:
        """(N,) whether the predicted votes pass the thresholds of the most probable class."""
        if not self.tree.classes:
            return np.zeros(len(self), bool)
        fits = votes.class_fits(self.cumulative, self.tree) == 1
        return fits[np.arange(len(self)), self.class_index] & (self.class_index >= 0)

    def to_table(self) -> pa.Table:
        """An Arrow table with the columns of `output_schema`."""
        schema = output_schema(self.tree)
        columns: dict[str, Any] = {"id": list(self.ids), "path": list(self.paths), "error": list(self.errors)}
        # A NaN where there is a prediction says that nobody would be asked; a blank, that there is none.
        untold = np.isnan(self.cumulative).any(1)
        for name, values in zip(self.tree.fraction_names, self.fractions.T, strict=True):
            columns[name] = pa.array(values.astype(np.float32), mask=untold)
        if self.tree.classes:
            names = [rule.name for rule in self.tree.classes]
            untold = self.class_index < 0
            columns["class"] = pa.array(self.class_index, mask=untold)
            columns["class_name"] = [names[c] if c >= 0 else "" for c in self.class_index]
            columns["clean"] = self.clean
            for number, values in enumerate(self.class_probability.T):
                columns[f"class_{number}_probability"] = pa.array(values.astype(np.float32), mask=untold)
        return pa.table([columns[field.name] for field in schema], schema=schema)

    def to_kaggle(self) -> pa.Table:
        """GalaxyID and the cumulative columns in the order of the campaign's table; blank without a prediction."""
        arrays = [pa.array(list(self.ids))]
        arrays += [pa.array(values, mask=np.isnan(values)) for values in self.cumulative.T]
        return pa.table(arrays, schema=kaggle_schema(self.tree))

    def to_pandas(self) -> Any:
        """`to_table` as a pandas data frame; needs pandas."""
        return self.to_table().to_pandas()


@dataclass(frozen=True, eq=False)
class Prediction:
    """The prediction of one picture; see `Predictions` for the arrays, without their first axis."""

    tree: Tree
    id: str
    path: str
    cumulative: NDArray[np.float64]
    class_probability: NDArray[np.float64]
    error: str = ""

    @property
    def fractions(self) -> dict[str, float]:
        """Name in words → share of those asked, such as ``{"bar_yes_fraction": 0.8, …}``."""
        values = votes.shares(self.cumulative, self.tree)
        return dict(zip(self.tree.fraction_names, values.tolist(), strict=True))

    @property
    def class_name(self) -> str:
        """The most probable class in words, "" if the tree has no classes or there is no prediction of it."""
        if not self.tree.classes or np.isnan(self.class_probability).any():
            return ""
        return self.tree.classes[int(np.argmax(self.class_probability))].name

    def steps(self) -> list[tuple[str, str, float]]:
        """The majority's way down the tree: each question's key, its answer's text, the share of those asked."""
        if np.isnan(self.cumulative).any():
            return []
        values = votes.shares(self.cumulative, self.tree)
        steps, key = [], self.tree.questions[0].key
        while key is not None:
            number = next(i for i, question in enumerate(self.tree.questions) if question.key == key)
            part = self.tree.slices[number]
            answer = self.tree.questions[number].answers[int(np.argmax(values[part]))]
            steps.append((self.tree.questions[number].key, answer.text, float(values[part].max())))
            key = answer.next
        return steps

    def __str__(self) -> str:
        if self.error:
            return f"{self.id}: {self.error}"
        top = [f"{self.class_name} ({self.class_probability.max():.0%})"] if self.class_name else []
        way = ", ".join(f"{key.replace('_', ' ')}: {answer} {share:.0%}" for key, answer, share in self.steps())
        return f"{self.id}: " + "; ".join([*top, *([way] if way else [])])


class Model:
    """A bundle with its networks ready to run.

    Raises
    ------
    BundleError
        If a network cannot be opened, or its inputs and outputs are not those of the bundle's tree.
    """

    def __init__(self, bundle: Bundle, *, threads: int = 0) -> None:
        self.bundle = bundle
        self.tree = bundle.tree
        self.views = bundle.views
        self._sessions = [_session(network, bundle, threads) for network in bundle.networks]

    @property
    def preprocesses(self) -> tuple[Preprocess, ...]:
        """The distinct preprocessings of the bundle's networks."""
        return tuple(dict.fromkeys(network.preprocess for network in self.bundle.networks))

    def inputs(self, picture: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], ...]:
        """One picture (H, W, 3), cropped and resized once for each of `preprocesses`."""
        return tuple(preprocess.resized(picture) for preprocess in self.preprocesses)

    def votes(
        self, inputs: Sequence[tuple[NDArray[np.uint8], ...]], views: int | None = None
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Cumulative fractions (N, A) and class probabilities (N, C) of N pictures' `inputs`.

        Averaged over `views` rotations and reflections and over the ensemble's networks; the average
        of cumulative fractions keeps every sum of the tree. NaN where the model tells only the other.
        """
        count, outputs = len(inputs), self.bundle.outputs
        answers, classes = outputs.widths(self.tree)
        turns = _turns(self.views if views is None else views)
        cumulative = np.full((count, len(self.tree.columns)), 0.0 if answers else np.nan)
        probability = np.full((count, len(self.tree.classes)), 0.0 if classes else np.nan)
        if not count:
            return cumulative, probability
        stacks = {p: np.stack([row[i] for row in inputs]) for i, p in enumerate(self.preprocesses)}
        for network, session in zip(self.bundle.networks, self._sessions, strict=True):
            for quarter, mirrored in turns:
                view = np.rot90(stacks[network.preprocess], quarter, axes=(1, 2))
                view = view[:, :, ::-1] if mirrored else view
                (logits,) = session.run([OUTPUT], {INPUT: network.preprocess.scaled(view)})
                if answers:
                    cumulative += votes.cumulative_from_logits(logits[:, :answers], self.tree, outputs.votes)
                if classes:
                    probability += softmax(logits[:, answers:].astype(np.float64))
        passes = len(turns) * len(self._sessions)
        return cumulative / passes, probability / passes

    def predict(
        self, source: Source | Iterable[Source], *, views: int | None = None, batch: int = 32
    ) -> Prediction | Predictions:
        """Predict a picture (path, file's bytes, array) → Prediction; a folder or several → Predictions.

        Raises
        ------
        PictureError
            If a single picture cannot be read; among several it becomes that row's `error`.
        FileNotFoundError
            If a path does not exist.
        """
        if batch < 1:
            raise ValueError(f"batch = {batch}; at least 1 is needed")
        if isinstance(source, np.ndarray | bytes):
            rows = self._rows([source], views, batch)
        elif isinstance(source, str | os.PathLike):
            path = Path(source)
            if path.is_dir():
                return self._rows(list(find_pictures([path])), views, batch)
            if not path.exists():
                raise FileNotFoundError(f"{path}: no such file or folder")
            rows = self._rows([path], views, batch)
        else:
            return self._rows(list(source), views, batch)
        if rows.errors[0]:
            raise PictureError(rows.errors[0])
        return rows[0]

    def _rows(self, sources: list[Source], views: int | None, batch: int) -> Predictions:
        return concatenated(
            self.tree, [self.rows(sources[i : i + batch], i, views) for i in range(0, len(sources), batch)]
        )

    def rows(self, sources: Sequence[Source], first: int = 0, views: int | None = None) -> Predictions:
        """One batch; rows that are not files are named by their number, counted from `first`."""
        return self.finish([self.read(source, first + i) for i, source in enumerate(sources)], views)

    def read(self, source: Source, number: int = 0) -> Read:
        """Read and resize one picture; a failure becomes the row's error. Safe to call from many threads."""
        is_file = isinstance(source, str | os.PathLike)
        id_, path = (_text(Path(source).stem), _text(str(source))) if is_file else (str(number), "")
        try:
            picture = picture_from_array(source) if isinstance(source, np.ndarray) else load_picture(source)
            return Read(id_, path, self.inputs(picture), "")
        except PictureError as error:
            return Read(id_, path, None, str(error))

    def finish(self, reads: Sequence[Read], views: int | None = None) -> Predictions:
        """Run the networks over pictures that `read` has read."""
        cumulative = np.full((len(reads), len(self.tree.columns)), np.nan)
        probability = np.full((len(reads), len(self.tree.classes)), np.nan)
        good = [i for i, row in enumerate(reads) if row.inputs is not None]
        cumulative[good], probability[good] = self.votes([reads[i].inputs for i in good], views)
        return Predictions(
            self.tree,
            tuple(row.id for row in reads),
            tuple(row.path for row in reads),
            cumulative,
            probability,
            tuple(row.error for row in reads),
        )


@dataclass(frozen=True, slots=True)
class Read:
    """A picture ready for the networks, or the reason why there is none."""

    id: str
    path: str
    inputs: tuple[NDArray[np.uint8], ...] | None
    error: str


def concatenated(tree: Tree, parts: Sequence[Predictions]) -> Predictions:
    """Several Predictions of one tree as one."""
    empty = Predictions(tree, (), (), np.empty((0, len(tree.columns))), np.empty((0, len(tree.classes))), ())
    parts = parts or [empty]
    return Predictions(
        tree,
        sum((part.ids for part in parts), ()),
        sum((part.paths for part in parts), ()),
        np.concatenate([part.cumulative for part in parts]),
        np.concatenate([part.class_probability for part in parts]),
        sum((part.errors for part in parts), ()),
    )


def output_schema(tree: Tree) -> pa.Schema:
    """Columns of the output table, with descriptions."""
    columns = [
        Column("id", pa.string(), "Identifier of the galaxy: the picture file's name without extension"),
        Column("path", pa.string(), "Picture file"),
    ]
    names = iter(tree.fraction_names)
    for question in tree.questions:
        for answer in question.answers:
            text = f'Predicted share of those asked "{question.text}" who answer "{answer.text}", 0 to 1'
            columns.append(Column(next(names), pa.float32(), text))
    if tree.classes:
        listed = ", ".join(f"{number} {rule.name}" for number, rule in enumerate(tree.classes))
        columns += [
            Column("class", pa.int8(), f"Most probable class: {listed}"),
            Column("class_name", pa.string(), "Most probable class in words"),
            Column("clean", pa.bool_(), "Whether the predicted votes pass the thresholds of that class's clean sample"),
        ]
        columns += [
            Column(f"class_{number}_probability", pa.float32(), f"Probability of class {number}, {rule.name}, 0 to 1")
            for number, rule in enumerate(tree.classes)
        ]
    columns.append(Column("error", pa.string(), "Empty, or why this row has no prediction"))
    return arrow_schema(columns)


def kaggle_schema(tree: Tree) -> pa.Schema:
    """The campaign's own layout: its ID column and the cumulative columns, in its order."""
    columns = [Column(tree.id_columns[0], pa.string(), "Identifier of the galaxy")]
    for question in tree.questions:
        for answer in question.answers:
            text = f'Cumulative fraction of "{answer.text}" to "{question.text}", 0 to 1'
            columns.append(Column(answer.column, pa.float64(), text))
    return arrow_schema(columns)


def _session(network: Network, bundle: Bundle, threads: int) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(network.onnx, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime raises several kinds of its own
        raise BundleError(f"network {network.architecture}: ONNX Runtime cannot open it: {error}") from None
    wanted = sum(bundle.outputs.widths(bundle.tree))
    outputs = {output.name: output.shape for output in session.get_outputs()}
    if [i.name for i in session.get_inputs()] != [INPUT] or outputs.get(OUTPUT, [None])[-1] != wanted:
        raise BundleError(
            f"network {network.architecture}: its outputs are not the {wanted} of tree {bundle.tree.name}"
        )
    return session


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


def _text(name: str) -> str:
    # File names may hold bytes that are no UTF-8; tables hold text only.
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
