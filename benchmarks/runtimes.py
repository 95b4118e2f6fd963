"""What faster runtimes gain, and what they change in the predictions.

python benchmarks/runtimes.py [FOLDER] [--model fast]
"""

from __future__ import annotations

import argparse
import json
import logging
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tuningfork.evaluation.speed import sample_images, simulated_images
from tuningfork.evaluation.speed_report import machine
from tuningfork.model.bundle import Network
from tuningfork.model.model import INPUT, LoadedImage, Model, load
from tuningfork.model.options import InferenceOptions
from tuningfork.model.runtime import RuntimeUnavailable

_FILES = ("original.onnx", "prepared.onnx", "quantized.onnx")


def main() -> None:
    """Measure a folder's images, or simulated ones, on every runtime of this machine."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", type=Path, nargs="?", help="folder; none: simulated galaxies")
    parser.add_argument("--model", default="fast")
    parser.add_argument("--count", type=int, default=100, help="of simulated images")
    args = parser.parse_args()
    model = load(args.model, threads=1, device="cpu")
    with tempfile.TemporaryDirectory() as folder:
        paths = sample_images(args.images) if args.images else simulated_images(Path(folder) / "images", args.count)
        rows = measure_runtimes(model, [model.read(path) for path in paths])
    runtimes = [{key: None if value != value else value for key, value in asdict(row).items()} for row in rows]
    print(json.dumps({"machine": machine(), "images": len(paths), "runtimes": runtimes}, indent=1))


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
        Of the deviations of all cumulative fractions; of the probabilities if the model tells only classes.
    agreement : float in [0, 1]
        Share of the images whose most probable class is the same; NaN if the model tells no classes.
    """

    runtime: str
    milliseconds: float
    spread: float
    speed: float
    rms: float
    largest: float
    agreement: float


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
        Images that could be read; others are passed over. A hundred tell the deviations well.

    Raises
    ------
    ValueError
        If no image could be read.
    """
    inputs = [row.inputs for row in reads if row.inputs is not None]
    if not inputs:
        raise ValueError("no image could be read; name galaxies' images")
    models = {opened.runtime: opened for opened in _offered(model, threads)}
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
    first = next(iter(models))
    rows = []
    for name, each in votes.items():
        fractions, truth = each.cumulative, votes[first].cumulative
        if not model.bundle.outputs.votes:
            fractions, truth = each.class_probability, votes[first].class_probability
        same = each.class_probability.argmax(1) == votes[first].class_probability.argmax(1) if truth.size else np.nan
        least, off = min(times[name]), fractions - truth
        rows.append(
            RuntimeSpeed(
                name,
                least,
                statistics.median(times[name]) - least,
                min(times[first]) / least,
                float(np.sqrt(np.mean(off**2))),
                float(np.abs(off).max()),
                float(np.mean(same)) if model.bundle.outputs.classes else float("nan"),
            )
        )
    return rows


def _offered(model: Model, threads: int) -> Iterator[Model]:
    yield Model(model.bundle, threads=threads, device="cpu")
    for options in (
        {"engine": "openvino"},
        {"engine": "openvino", "precision": "bf16"},
        {"device": "cuda"},
    ):
        try:
            yield Model(model.bundle, threads=threads, **options)
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

    class Images(quantization.CalibrationDataReader):
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


if __name__ == "__main__":
    main()
