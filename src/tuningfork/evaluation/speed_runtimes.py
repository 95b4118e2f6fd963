"""Speed of each runtime on this machine, and what it changes in the predictions."""

from __future__ import annotations

import logging
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..images.read import read_image
from ..model.bundle import Network
from ..model.ensemble import INPUT
from ..model.model import LoadedImage, Model
from ..model.options import InferenceOptions
from ..model.runtime import RuntimeUnavailable

__all__ = ["DecodingSpeed", "RuntimeSpeed", "measure_decoding", "measure_runtimes"]


@dataclass(frozen=True, slots=True)
class RuntimeSpeed:
    """What a model's networks take and predict on one runtime, beside ONNX Runtime in float32.

    Parameters
    ----------
    runtime : str
        Its name, version, precision and device; "int8" is calibrated on the very images, and not offered otherwise.
    milliseconds, spread : float
        The least time for an image with one view, and the median above it.
    speed : float
        ONNX Runtime's time in float32 over this one's: above 1 is faster.
    rms, largest : float
        Of the deviations of all cumulative fractions; of the probabilities if the model predicts only classes.
    agreement : float in [0, 1]
        Share of the images whose most probable class is the same; NaN if the model predicts no classes.
    """

    runtime: str
    milliseconds: float
    spread: float
    speed: float
    rms: float
    largest: float
    agreement: float


@dataclass(frozen=True, slots=True)
class DecodingSpeed:
    """What decoding JPEG files at a smaller size saves, and changes.

    Parameters
    ----------
    images : int
        JPEG files that were decoded.
    milliseconds, scaled_milliseconds : float
        The least time for an image's decoding and resize: at full size, and at the smallest of libjpeg's scales that
        still has as many pixels as the network's input.
    rms, largest : float
        Of the deviations of all cumulative fractions.
    """

    images: int
    milliseconds: float
    scaled_milliseconds: float
    rms: float
    largest: float


def measure_decoding(model: Model, files: Sequence[Path], *, rounds: int = 3) -> DecodingSpeed | None:
    """Compare JPEG files decoded at full size and at a smaller one; None if there are none.

    Predictions never use the smaller size: it changes fractions by several hundredths, since libjpeg's scaling is
    another filter than the resize that the networks were trained with.
    """
    import simplejpeg

    data = [content for content in (path.read_bytes() for path in files) if content.startswith(b"\xff\xd8\xff")]
    if not data:
        return None
    side = max(int(np.ceil(each.size / each.crop)) for each in model.preprocesses)
    ways: dict[str, Callable[[bytes], NDArray[np.uint8]]] = {
        "full": lambda content: read_image(content).rgb,
        "scaled": lambda content: simplejpeg.decode_jpeg(content, min_height=side, min_width=side),
    }
    times: dict[str, list[float]] = {way: [] for way in ways}
    votes = {}
    for _ in range(rounds):
        for way, decode in ways.items():
            started = time.perf_counter()
            inputs = [model.inputs(decode(content)) for content in data]
            times[way].append(1e3 * (time.perf_counter() - started) / len(data))
            if way not in votes:
                votes[way] = model.run(inputs, InferenceOptions(1, 8)).cumulative
    off = votes["scaled"] - votes["full"]
    least = {way: min(many) for way, many in times.items()}
    rms, largest = float(np.sqrt(np.mean(off**2))), float(np.abs(off).max())
    return DecodingSpeed(len(data), least["full"], least["scaled"], rms, largest)


def measure_runtimes(
    model: Model, reads: Sequence[LoadedImage], *, threads: int = 1, batch: int = 8, rounds: int = 5
) -> list[RuntimeSpeed]:
    """Every runtime that this machine offers, measured with the model's own weights on `reads`.

    float32 on ONNX Runtime comes first; bfloat16 and float32 on OpenVINO where it is installed, bfloat16 where the
    CPU knows it; CUDA where ONNX Runtime offers it; 8-bit integers, calibrated for each channel, where onnx is
    installed: to see what they would cost, since trained networks may not bear them. Rounds are interleaved.

    Parameters
    ----------
    reads : sequence of LoadedImage
        Images that could be read; others are ignored. A hundred are enough to measure the deviations.

    Raises
    ------
    ValueError
        If no image could be read.
    """
    inputs = [row.inputs for row in reads if row.inputs is not None]
    if not inputs:
        raise ValueError("no image could be read; name galaxies' images")
    models = {opened.runtime: opened for opened in _candidates(model, threads)}
    eight = _in_eight_bits(model, inputs, threads)
    if eight is not None:
        models[eight.runtime.replace("float32", "int8")] = eight
    votes = {name: opened.run(inputs, InferenceOptions(1)) for name, opened in models.items()}
    times: dict[str, list[float]] = {name: [] for name in models}
    for _ in range(rounds):
        for name, opened in models.items():
            started = time.perf_counter()
            for first in range(0, len(inputs), batch):
                opened.run(inputs[first : first + batch], InferenceOptions(1))
            times[name].append(1e3 * (time.perf_counter() - started) / len(inputs))
    baseline = next(iter(models))
    rows = []
    for name, each in votes.items():
        fractions, truth = each.cumulative, votes[baseline].cumulative
        if not model.bundle.outputs.votes:
            fractions, truth = each.class_probability, votes[baseline].class_probability
        same = each.class_probability.argmax(1) == votes[baseline].class_probability.argmax(1) if truth.size else np.nan
        least, off = min(times[name]), fractions - truth
        rows.append(
            RuntimeSpeed(
                name,
                least,
                statistics.median(times[name]) - least,
                min(times[baseline]) / least,
                float(np.sqrt(np.mean(off**2))),
                float(np.abs(off).max()),
                float(np.mean(same)) if model.bundle.outputs.classes else float("nan"),
            )
        )
    return rows


def _candidates(model: Model, threads: int) -> Iterator[Model]:
    yield Model(model.bundle, threads=threads, device="cpu")
    for engine, device, precision in (
        ("openvino", "auto", "f32"),
        ("openvino", "auto", "bf16"),
        ("auto", "cuda", "f32"),
        ("auto", "cuda", "bf16"),
    ):
        try:
            yield Model(model.bundle, threads=threads, precision=precision, device=device, engine=engine)
        except RuntimeUnavailable:
            continue


def _in_eight_bits(model: Model, inputs: Sequence[tuple[NDArray[np.uint8], ...]], threads: int) -> Model | None:
    """The model with its networks as 8-bit integers; None where the libraries for that are not installed."""
    try:
        import onnx  # noqa: F401
        from onnxruntime import quantization  # noqa: F401
    except ImportError:
        return None
    stacks = dict(zip(model.preprocesses, (np.stack(each[:128]) for each in zip(*inputs, strict=True)), strict=True))
    networks = tuple(
        replace(network, onnx=_quantized(network, stacks[network.preprocess])) for network in model.bundle.networks
    )
    return Model(replace(model.bundle, networks=networks), threads=threads, device="cpu")


def _quantized(network: Network, images: NDArray[np.uint8]) -> bytes:
    """A network's weights and activations as 8-bit integers, calibrated on images (N, size, size, 3)."""
    from onnxruntime import quantization
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Images(quantization.CalibrationDataReader):  # type: ignore[misc]  # ONNX Runtime has no types
        def __init__(self) -> None:
            self._batches = iter(np.array_split(images, -(-len(images) // 16)))

        def get_next(self) -> dict[str, Any] | None:
            batch = next(self._batches, None)
            return None if batch is None else {INPUT: network.preprocess.scaled(batch)}

    with tempfile.TemporaryDirectory() as folder, _quiet():
        original, prepared, quantized = (
            str(Path(folder) / name) for name in ("original.onnx", "prepared.onnx", "quantized.onnx")
        )
        Path(original).write_bytes(network.onnx)
        quant_pre_process(original, prepared, skip_symbolic_shape=True)
        quantization.quantize_static(
            prepared,
            quantized,
            Images(),
            quant_format=quantization.QuantFormat.QDQ,
            per_channel=True,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
        )
        return Path(quantized).read_bytes()


@contextmanager
def _quiet() -> Iterator[None]:
    """The library warns through the root logger of what we do."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
