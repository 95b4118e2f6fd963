"""What networks run on: every runtime tells the same of trained networks, and says what it lacks."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import numpy as np
import onnxruntime
import pytest

import tuningfork
from tuningfork.model import runtime
from tuningfork.model.bundle import BundleError
from tuningfork.model.model import Model
from tuningfork.model.options import InferenceOptions
from tuningfork.model.runtime import NetworkError, RuntimeUnavailable, open_network
from tuningfork.simulation import draw, render

SESSION = onnxruntime.InferenceSession


@pytest.fixture(scope="module")
def model():
    return tuningfork.load("fast", threads=1, device="cpu")


@pytest.fixture(scope="module")
def pictures():
    return [render(draw(7, index)) for index in range(12)]


def opened(model, **options):
    """The same model otherwise; skips where this machine has not what it needs."""
    if options.get("engine") == "openvino" or options.get("precision") == "bf16":
        pytest.importorskip("openvino")
    try:
        return Model(model.bundle, threads=1, **options)
    except RuntimeUnavailable as error:
        pytest.skip(str(error))


def test_a_model_says_what_it_runs_on(model):
    assert model.runtime == f"ONNX Runtime {onnxruntime.__version__}, float32, CPU"


def test_threads_that_wait_for_work_sleep_soon(monkeypatch):
    """Or an idle thread keeps a core busy for tens of milliseconds after each run."""
    opened_with = []

    def session(onnx, options, **others):
        opened_with.append(options.get_session_config_entry("session.intra_op.spin_duration_us"))
        return SESSION(onnx, options, **others)

    monkeypatch.setattr(onnxruntime, "InferenceSession", session)
    tuningfork.load("fast", threads=2, device="cpu")
    assert 10 <= int(opened_with[0]) <= 1000


def test_openvino_in_float32_tells_the_same_table(model, pictures):
    other = opened(model, engine="openvino")
    assert other.runtime.startswith("OpenVINO ")
    assert other.runtime.endswith(", float32, CPU")
    for views in (1, 4):
        ours, theirs = model.predict(pictures, n_views=views), other.predict(pictures, n_views=views)
        for name in ("cumulative", "class_probability", "low", "high", "rotation_spread", "domain_score"):
            np.testing.assert_allclose(getattr(theirs, name), getattr(ours, name), rtol=0, atol=1e-5)


def test_bfloat16_deviates_within_what_is_stated(model, pictures):
    other = opened(model, precision="bf16")
    assert ", bfloat16, CPU" in other.runtime
    ours, theirs = model.predict(pictures), other.predict(pictures)
    off = theirs.cumulative - ours.cumulative
    assert 0 < np.sqrt((off**2).mean()) < 0.015
    assert np.abs(off).max() < 0.15
    np.testing.assert_array_equal(theirs.domain_score, ours.domain_score)


@pytest.mark.parametrize("options", [{}, {"engine": "openvino"}, {"precision": "bf16"}], ids=str)
def test_the_size_of_a_batch_changes_nothing(model, pictures, options):
    told = opened(model, **options)
    whole = told.predict(pictures, options=InferenceOptions(batch_size=12)).cumulative
    for batch in (1, 5, 8):
        np.testing.assert_allclose(
            told.predict(pictures, options=InferenceOptions(batch_size=batch)).cumulative, whole, rtol=0, atol=1e-6
        )


def test_views_in_one_call_tell_the_same(model, pictures, monkeypatch):
    together = Model(model.bundle, threads=1)
    monkeypatch.setattr(together.networks[0], "stacks_views", True)
    calls = []
    run = together.networks[0].run
    monkeypatch.setattr(
        together.networks[0], "run", lambda wanted, given: calls.append(given.shape) or run(wanted, given)
    )
    for views in (1, 2, 8):
        ours, theirs = model.predict(pictures[:3], n_views=views), together.predict(pictures[:3], n_views=views)
        assert calls.pop()[0] == 3 * views
        assert not calls
        np.testing.assert_allclose(theirs.cumulative, ours.cumulative, rtol=0, atol=1e-6)
        np.testing.assert_allclose(theirs.rotation_spread, ours.rotation_spread, rtol=0, atol=1e-6)


# ---------------------------------------------------------------- a GPU, as far as one can tell without


@pytest.fixture
def gpu(monkeypatch):
    """An ONNX Runtime that offers CUDA; gives the providers that sessions were asked for. `works`: whether it does."""
    asked = []

    class Session:
        works = True

        def __init__(self, onnx, options, providers):
            asked.append(providers)
            self._real = SESSION(onnx, options, providers=["CPUExecutionProvider"])
            names = [each if isinstance(each, str) else each[0] for each in providers]
            self.providers = names if self.works else ["CPUExecutionProvider"]

        def get_providers(self):
            return self.providers

        def __getattr__(self, name):
            return getattr(self._real, name)

    monkeypatch.setattr(
        onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"]
    )
    monkeypatch.setattr(onnxruntime, "preload_dlls", lambda: None, raising=False)
    monkeypatch.setattr(runtime, "_driver_is_loaded", lambda: True)
    monkeypatch.setattr(runtime, "_torch_with_cuda", lambda: False)
    monkeypatch.setattr(onnxruntime, "InferenceSession", Session)
    return Session, asked


@pytest.mark.parametrize("device", ["auto", "cuda"])
def test_a_gpu_is_taken_where_there_is_one(model, pictures, gpu, device):
    _, asked = gpu
    there = Model(model.bundle, device=device)
    assert there.runtime.endswith(", float32, CUDA")
    assert [p if isinstance(p, str) else p[0] for p in asked[-1]] == ["CUDAExecutionProvider", "CPUExecutionProvider"]
    # TensorFloat-32, CUDA's default, is no float32.
    assert asked[-1][0][1]["use_tf32"] == "0"
    np.testing.assert_allclose(
        there.predict(pictures, n_views=4).cumulative, model.predict(pictures, n_views=4).cumulative, rtol=0, atol=1e-5
    )


def test_the_cpu_can_be_asked_for_beside_a_gpu(model, gpu):
    assert Model(model.bundle, device="cpu").runtime.endswith(", float32, CPU")
    assert gpu[1][-1] == ["CPUExecutionProvider"]


def test_a_gpu_out_of_reach_is_an_error_only_if_it_was_asked_for(model, gpu):
    gpu[0].works = False
    assert Model(model.bundle).runtime.endswith(", CPU")
    with pytest.raises(RuntimeUnavailable, match="driver"):
        Model(model.bundle, device="cuda")


def test_without_a_gpu_the_error_says_what_to_install(model, monkeypatch):
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(RuntimeUnavailable, match="onnxruntime-gpu"):
        Model(model.bundle, device="cuda")


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    "options", [{"precision": "int8"}, {"device": "tpu"}, {"engine": "tensorrt"}, {"threads": -1}], ids=str
)
def test_an_unknown_option_is_named(model, options):
    (name, value), *_ = options.items()
    with pytest.raises(ValueError, match=name) as told:
        open_network(model.bundle.networks[0].onnx, **options)
    assert str(value) in str(told.value)


def test_bfloat16_is_refused_where_it_would_be_something_else(model, monkeypatch):
    onnx = model.bundle.networks[0].onnx
    monkeypatch.setattr(runtime, "_torch_with_cuda", lambda: False)
    with pytest.raises(RuntimeUnavailable, match="PyTorch with CUDA"):
        open_network(onnx, precision="bf16", device="cuda")
    with pytest.raises(RuntimeUnavailable, match="CPU only"):
        open_network(onnx, engine="openvino", device="cuda")
    with pytest.raises(RuntimeUnavailable, match="float32"):
        open_network(onnx, precision="bf16", engine="onnxruntime")
    openvino = pytest.importorskip("openvino")
    # A CPU without it emulates it, or computes in float32 in silence.
    monkeypatch.setattr(openvino.Core, "get_property", lambda *_: ["FP32", "INT8"])
    with pytest.raises(RuntimeUnavailable, match="no bfloat16"):
        open_network(onnx, precision="bf16")


def test_without_openvino_the_error_names_the_extra(model, monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(RuntimeUnavailable, match=r"\.\[openvino\]"):
        open_network(model.bundle.networks[0].onnx, precision="bf16")


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_a_broken_network_is_named(model, engine):
    if engine == "openvino":
        pytest.importorskip("openvino")
    with pytest.raises(NetworkError, match=r"cannot open it|no ONNX file"):
        open_network(b"broken", engine=engine)
    broken = replace(model.bundle.networks[0], onnx=b"broken")
    with pytest.raises(BundleError, match="efficientnet_lite0"):
        Model(replace(model.bundle, networks=(broken,)), engine=engine)


def test_openvino_is_imported_only_if_it_is_asked_for():
    code = "import sys, tuningfork; tuningfork.load('fast', threads=1); print('openvino' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False"]


@pytest.mark.skipif(sys.platform == "win32", reason="other signals")
def test_a_signal_finds_its_stack_after_another_thread_has_let_openvino_go():
    pytest.importorskip("openvino")
    code = (
        "import os, signal, threading, tuningfork\n"
        "from tuningfork.model.runtime import open_network\n"
        "signal.signal(signal.SIGUSR1, lambda *_: print('alive'))\n"
        "held = [open_network(tuningfork.load('fast').bundle.networks[0].onnx, engine='openvino')]\n"
        "thread = threading.Thread(target=held.clear)\nthread.start()\nthread.join()\n"
        "os.kill(os.getpid(), signal.SIGUSR1)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "alive\n"), done.stderr


def test_openvino_answers_many_threads_at_once(model, pictures):
    from concurrent.futures import ThreadPoolExecutor

    other = opened(model, engine="openvino")
    alone = [other.predict([picture]).cumulative for picture in pictures]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda picture: other.predict([picture]).cumulative, pictures * 3))
    np.testing.assert_allclose(together, alone * 3, rtol=0, atol=1e-6)


# ---------------------------------------------------------------- measured
