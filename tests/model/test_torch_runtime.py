"""Prediction through PyTorch, as on a GPU: here its CPU is the device, and the code is the same."""

from __future__ import annotations

import logging
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the extra `gpu` is not installed")
pytest.importorskip("onnx", reason="the extra `gpu` is not installed")

import tuningfork
from tuningfork.images.preprocess import Preprocess
from tuningfork.model import runtime, torch_runtime
from tuningfork.model.bundle import Network
from tuningfork.model.graph import GraphBuilder
from tuningfork.model.model import Model
from tuningfork.model.options import InferenceOptions
from tuningfork.model.runtime import NetworkError, RuntimeUnavailable, open_network
from tuningfork.model.torch_network import OPERATORS, TorchNetwork
from tuningfork.pipeline.task import chosen_batch_size
from tuningfork.simulation import draw, render


@pytest.fixture(scope="module")
def model():
    return tuningfork.load("fast", threads=1, device="cpu")


@pytest.fixture(scope="module")
def reads(model):
    return [model.read(render(draw(7, index))) for index in range(5)]


def in_torch(model, **options):
    return Model(model.bundle, engine="torch", device="cpu", **options)


@pytest.mark.parametrize(("name", "n_views"), [("fast", 1), ("fast", 4), ("default", 1)])
def test_the_same_table_within_the_stated_tolerance(reads, name, n_views):
    ours = tuningfork.load(name, threads=1, device="cpu")
    theirs = in_torch(ours)
    assert theirs.runtime == f"PyTorch {torch.__version__}, float32, CPU"
    rows = reads if name == "fast" else [ours.read(render(draw(7, index))) for index in range(2)]
    options = InferenceOptions(n_views, 2, embeddings=True)
    expected, found = ours.predict_loaded(rows, options), theirs.predict_loaded(rows, options)
    for part in ("cumulative", "class_probability", "low", "high", "rotation_spread"):
        np.testing.assert_allclose(getattr(found, part), getattr(expected, part), rtol=0, atol=1e-5)
    np.testing.assert_allclose(found.embeddings, expected.embeddings, rtol=0, atol=1e-3)


def test_bytes_are_scaled_on_the_device(model, reads):
    opened = in_torch(model).networks[0]
    images = np.stack([row.inputs[0] for row in reads])
    preprocess = model.preprocesses[0]
    (from_bytes,), (from_floats,) = (
        opened.run_bytes(["logits"], images, preprocess),
        opened.run(["logits"], preprocess.scaled(images)),
    )
    np.testing.assert_allclose(from_bytes, from_floats, rtol=0, atol=1e-4)


def test_bfloat16_deviates_a_little(model, reads):
    opened = in_torch(model, precision="bf16")
    assert ", bfloat16, " in opened.runtime
    off = opened.predict_loaded(reads).cumulative - model.predict_loaded(reads).cumulative
    assert 0 < np.sqrt((off**2).mean()) < 0.02


def test_no_image_gives_no_row(model):
    assert len(in_torch(model).predict_loaded([])) == 0


def test_its_batches_are_large_if_not_chosen(model):
    assert chosen_batch_size(in_torch(model), 1, 1, 10**6) == 256
    assert chosen_batch_size(model, 1, 1, 10) == 8


# ------------------------------------------------------------------ operators


def both(build, images, rank=4):
    """Outputs of a graph of one value from `build`, by ONNX Runtime and by PyTorch."""
    graph = GraphBuilder(18)
    graph.input("pictures", np.float32, ["n", *images.shape[1:]])
    graph.output("out", build(graph, "pictures"), np.float32, [f"side_{place}" for place in range(rank)])
    data = graph.finish("one", {})
    (expected,) = runtime._ONNXRuntime(data, 1, "cpu").run(["out"], images)
    return expected, TorchNetwork(data)(torch.from_numpy(images))["out"].numpy()


RNG = np.random.default_rng(0)
KERNEL, DEEP = RNG.normal(size=(4, 3, 3, 3)).astype(np.float32), RNG.normal(size=(3, 1, 2, 2)).astype(np.float32)
FOUR, SIX = np.ones(4, np.float32), RNG.normal(size=6).astype(np.float32)


def ints(*values):
    return np.array(values, np.int64)


BUILDS = {
    "conv, unequal padding": lambda g, x: g.add("Conv", x, KERNEL, FOUR, pads=[0, 1, 2, 1], strides=[2, 1]),
    "conv by channel": lambda g, x: g.add("Conv", x, DEEP, group=3, dilations=[2, 2]),
    "max pool": lambda g, x: g.add("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]),
    "mean pool": lambda g, x: g.add("AveragePool", x, kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1),
    "global pool, flatten": lambda g, x: g.add("Flatten", g.add("GlobalAveragePool", x)),
    "mean, sum, least, most": lambda g, x: g.add(
        "Concat",
        *(g.add(f"Reduce{kind}", x, ints(2, 3), keepdims=1) for kind in ("Mean", "Sum", "Min", "Max")),
        axis=1,
    ),
    "clip": lambda g, x: g.add("Clip", x, np.array(-0.5, np.float32), np.array(0.7, np.float32)),
    "slices": lambda g, x: g.part(g.part(x, 3, 1, 5), 2, 0, 6, 2),
    "gather, squeeze": lambda g, x: g.add("Squeeze", g.add("Gather", x, ints(2), axis=1), ints(1)),
    "gather, unsqueeze": lambda g, x: g.add("Unsqueeze", g.add("Gather", x, ints(-1, 0), axis=1), ints(1)),
    "turned, softmax": lambda g, x: g.add("Softmax", g.add("Transpose", x, perm=[0, 2, 3, 1]), axis=-1),
    "layer norm": lambda g, x: g.add("LayerNormalization", x, SIX, axis=-1, epsilon=1e-6),
    "matrices": lambda g, x: g.add("MatMul", x, RNG.normal(size=(6, 5)).astype(np.float32)),
    "reshaped": lambda g, x: g.add("Reshape", x, ints(0, 3, -1)),
    "padded": lambda g, x: g.add("Pad", x, ints(0, 0, 1, 2, 0, 0, 0, 1)),
    "reflected": lambda g, x: g.add("Pad", x, ints(0, 0, 1, 2, 0, 0, 0, 1), mode="reflect"),
    "batch norm": lambda g, x: g.add(
        "BatchNormalization", x, *(np.array(each, np.float32) for each in ([1, 2, 3], [0, 1, 0], [0, 1, 2], [1, 4, 9]))
    ),
    "activations": lambda g, x: g.add(
        "Concat",
        *(
            g.add(kind, x)
            for kind in ("Relu", "Sigmoid", "HardSigmoid", "HardSwish", "Tanh", "Erf", "Exp", "Neg", "LeakyRelu")
        ),
        axis=1,
    ),
    "arithmetic": lambda g, x: g.add(
        "Sqrt",
        g.add("Pow", g.add("Div", g.add("Sub", g.add("Mul", x, x), x), g.add("Exp", x)), np.array(2, np.float32)),
    ),
    "stored in half": lambda g, x: g.add("Mul", x, g.cast(g.constant(np.array(0.1, np.float16)), np.float32)),
}

#: Of outputs that are no images.
RANKS = {"global pool, flatten": 2, "gather, squeeze": 3, "reshaped": 3, "gather, unsqueeze": 5}


@pytest.mark.parametrize("kind", BUILDS)
def test_operators_are_as_onnx_defines_them(kind):
    images = np.random.default_rng(1).normal(size=(2, 3, 8, 6)).astype(np.float32)
    expected, found = both(BUILDS[kind], images, RANKS.get(kind, 4))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def foreign(**changes):
    graph = GraphBuilder(18)
    graph.input("pictures", np.float32, ["n", 3, 16, 16])
    flat = graph.add("Flatten", graph.add("GlobalAveragePool", graph.add("Mish", "pictures")))
    graph.output("logits", graph.add("Gemm", flat, np.ones((3, 44), np.float32)), np.float32, ["n", 44])
    return graph.finish("foreign", {})


@pytest.mark.parametrize(
    ("build", "reason"),
    [
        (lambda g, x: g.add("Pad", x, ints(1, 1), "", ints(1)), "Pad of chosen axes"),
        (lambda g, x: g.add("Pad", x, ints(0, 1, 0, 0, 0, 1, 0, 0), mode="reflect"), "more than two axes"),
    ],
)
def test_uses_of_an_operator_that_are_not_known_are_refused(build, reason):
    with pytest.raises(NetworkError, match=reason):
        both(build, np.zeros((2, 3, 8, 6), np.float32), 4)


def test_foreign_operators_are_refused_by_name():
    assert "Mish" not in OPERATORS
    with pytest.raises(NetworkError, match="operator Mish is not known to the PyTorch runtime"):
        open_network(foreign(), engine="torch", device="cpu")


# ------------------------------------------------------------------ what may be missing


@pytest.fixture
def gpu(monkeypatch):
    """A machine with a driver and a PyTorch with CUDA; `torch_runtime` meets what a test makes of it."""
    monkeypatch.setattr(runtime, "_driver_is_loaded", lambda: True)
    monkeypatch.setattr(runtime, "_torch_with_cuda", lambda: True)
    return monkeypatch


def test_pytorch_without_cuda_says_so():
    if torch.version.cuda is None:
        with pytest.raises(RuntimeUnavailable, match="built without CUDA"):
            open_network(foreign(), engine="torch", device="cuda")


def test_a_missing_driver_is_named_and_auto_falls_back(gpu, model, caplog):
    gpu.setattr(torch.version, "cuda", "12.8")
    with pytest.raises(RuntimeUnavailable, match=r"finds no NVIDIA GPU; `nvidia-smi`.* CUDA 12\.8"):
        Model(model.bundle, device="cuda")
    with caplog.at_level(logging.WARNING):
        assert Model(model.bundle, device="auto", threads=1).runtime == model.runtime
    assert "predicting on the CPU: PyTorch" in caplog.text


def test_a_full_gpu_is_an_error_that_says_so(gpu, model, reads):
    def full(*_, **__):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 MiB")

    gpu.setattr(torch_runtime, "_check", lambda device: None)
    gpu.setattr(TorchNetwork, "to", full)
    with pytest.raises(RuntimeUnavailable, match="no memory left for the network"):
        Model(model.bundle, device="cuda")
    gpu.undo()
    opened = in_torch(model)
    gpu.setattr(TorchNetwork, "forward", full)
    with pytest.raises(NetworkError, match="smaller --batch"):
        opened.predict_loaded(reads)


def test_foreign_operators_on_a_gpu(gpu, model, caplog):
    gpu.setattr(torch_runtime, "_check", lambda device: None)
    bundle = replace(model.bundle, networks=(Network(foreign(), Preprocess(size=16), "foreign"),), calibration=None)
    with pytest.raises(Exception, match="operator Mish"):
        Model(bundle, device="cuda")
    with caplog.at_level(logging.WARNING):
        assert "CPU" in Model(bundle, device="auto", threads=1).runtime
    assert "operator Mish" in caplog.text


def test_without_anything_for_gpus_the_message_names_both_ways(monkeypatch, model):
    monkeypatch.setattr(runtime, "_torch_with_cuda", lambda: False)
    monkeypatch.setattr(runtime.onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(RuntimeUnavailable, match=r"PyTorch with CUDA.*onnxruntime-gpu"):
        Model(model.bundle, device="cuda")
