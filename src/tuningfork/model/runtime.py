"""Inference engines: ONNX Runtime; OpenVINO for 16-bit arithmetic on CPUs; PyTorch on NVIDIA GPUs."""

from __future__ import annotations

import importlib.util
import logging
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from .._utils.extras import install_hint
from .._utils.text import one_line
from .onnx_check import NetworkError, RuntimeUnavailable, check_onnx

__all__ = ["DEVICES", "ENGINES", "PRECISIONS", "NetworkError", "Runtime", "RuntimeUnavailable", "open_network"]

PRECISIONS = {"f32": "float32", "bf16": "bfloat16"}
DEVICES = ("auto", "cpu", "cuda")
ENGINES = ("auto", "onnxruntime", "openvino", "torch")
_CUDA, _CPU = "CUDAExecutionProvider", "CPUExecutionProvider"
#: TensorFloat-32 would round to 10 bits; a search for the best algorithm would begin anew at the last, smaller batch.
_CUDA_OPTIONS = {"use_tf32": "0", "cudnn_conv_algo_search": "HEURISTIC"}

#: Threads of ONNX Runtime wait for work in a busy loop before they sleep: by default for tens of milliseconds, of a
#: core that others need. In so many microseconds the next operator of the same run, and the next run of a series, have
#: begun: on two idle cores images one after the other take as long as by default, and one after a pause of 30 ms takes
#: 2.2 ms with `fast` (by default 1.9, without any busy loop 3.3) and 6 ms of processor time (34, 4). It is
#: ignored before 1.26.
_SPIN = ("session.intra_op.spin_duration_us", "1000")

#: Images at a time, if not chosen.
CPU_BATCH, GPU_BATCH = 8, 256

logger = logging.getLogger(__name__)

Shape = tuple[int | None, ...]
Floats = NDArray[np.float32]


class Runtime(Protocol):
    """A network that runs. It may be called from many threads.

    Attributes
    ----------
    name : str
        What it runs on, such as ``ONNX Runtime 1.32.0, float32, CPU``.
    inputs : tuple of str
    outputs : mapping of name → shape
        None where a side may have any length.
    stacks_views : bool
        Whether all views of a batch belong in one call; on a CPU each by itself is as fast, in less memory.
    batch : int
        Images at a time, if not chosen.

    One that scales images itself has a method ``run_bytes(names, images, preprocess)``, with images (N, size, size, 3)
    uint8.
    """

    name: str
    inputs: tuple[str, ...]
    outputs: Mapping[str, Shape]
    stacks_views: bool

    @property
    def batch(self) -> int: ...

    def run(self, names: Sequence[str], images: Floats) -> list[Floats]:
        """Return the outputs `names`, each (N, ...), of images (N, 3, size, size) float32, scaled.

        Raises
        ------
        NetworkError
            If the network fails, for example for lack of memory.
        """


def open_network(
    onnx: bytes, *, threads: int = 0, precision: str = "f32", device: str = "auto", engine: str = "auto"
) -> Runtime:
    """Open a network of a single input.

    Parameters
    ----------
    onnx : bytes
        An ONNX file.
    threads : int
        On a CPU; 0: as many as cores.
    precision : "f32" or "bf16"
        bfloat16 is faster and deviates: it keeps 8 bits of each number. On a CPU it needs OpenVINO, and a processor
        that knows it; elsewhere it would be emulated or ignored, and is refused.
    device : "auto", "cpu" or "cuda"
        "auto": an NVIDIA GPU if there is one and PyTorch or ONNX Runtime can use it, else the CPU, with a warning if a
        GPU is there. A GPU that is named is used, or it is an error.
    engine : "auto", "onnxruntime", "openvino" or "torch"
        "auto": on a GPU PyTorch if it is installed with CUDA and knows the network's operators, else ONNX Runtime; on
        a CPU OpenVINO for bfloat16, else ONNX Runtime; of float32 they are equally fast.

    Raises
    ------
    RuntimeUnavailable
        If this machine or installation does not have the precision, device or engine.
    NetworkError
        If the network cannot be opened.
    ValueError
        If an option is unknown.
    """
    for name, value, known in (("precision", precision, PRECISIONS), ("device", device, DEVICES)):
        if value not in known:
            raise ValueError(f"{name} {value!r} is none of {', '.join(known)}")
    if engine not in ENGINES:
        raise ValueError(f"engine {engine!r} is none of {', '.join(ENGINES)}")
    if threads < 0:
        raise ValueError(f"threads = {threads}; at least 0 is needed")
    check_onnx(onnx)
    if engine == "torch":
        return _torch(onnx, "cpu" if device == "cpu" else "cuda", precision)
    if engine == "openvino":
        if device == "cuda":
            raise RuntimeUnavailable("OpenVINO runs on the CPU only; leave out cuda")
        return _OpenVINO(onnx, threads, precision)
    if engine == "auto" and device != "cpu" and (on_gpu := _on_gpu(onnx, threads, precision, device)):
        return on_gpu
    if precision != "f32":
        if engine == "onnxruntime":
            raise RuntimeUnavailable(f"ONNX Runtime runs these networks in float32, not in {PRECISIONS[precision]}")
        return _OpenVINO(onnx, threads, precision)
    return _ONNXRuntime(onnx, threads, "cpu" if engine == "auto" else device)


def _on_gpu(onnx: bytes, threads: int, precision: str, device: str) -> Runtime | None:
    """The network on an NVIDIA GPU, through whatever is installed; None: there is none, and none was asked for.

    Raises
    ------
    RuntimeUnavailable, NetworkError
        If `device` is "cuda" and nothing can run it there.
    """
    if device == "auto" and not _driver_is_loaded():
        return None
    with_cuda = _torch_with_cuda()
    offered = precision == "f32" and _CUDA in onnxruntime.get_available_providers()
    problems = []
    ways: tuple[tuple[bool, Callable[[], Runtime]], ...] = (
        (with_cuda, lambda: _torch(onnx, "cuda", precision)),
        (offered, lambda: _ONNXRuntime(onnx, threads, "cuda")),
    )
    for is_there, open_ in ways:
        if is_there:
            try:
                return open_()
            except (RuntimeUnavailable, NetworkError) as error:
                problems.append(error)
    if device == "auto":
        if problems:
            logger.warning("predicting on the CPU: %s", "; ".join(map(str, problems)))
        return None
    if problems:
        raise problems[0] if len(problems) == 1 else RuntimeUnavailable("; ".join(map(str, problems)))
    raise RuntimeUnavailable(
        "nothing that is installed runs on an NVIDIA GPU: PyTorch with CUDA (https://pytorch.org) and "
        f"{install_hint('gpu')}, or pip uninstall onnxruntime, pip install onnxruntime-gpu"
    )


def _driver_is_loaded() -> bool:
    """Whether there may be a GPU, judged without a library."""
    # Linux; Windows' subsystem for it; Windows.
    return any(map(os.path.exists, ("/dev/nvidiactl", "/dev/dxg", r"C:\Windows\System32\nvcuda.dll")))


@cache
def _torch_with_cuda() -> bool:
    """Whether PyTorch is installed with CUDA, without importing it: that takes seconds."""
    try:
        spec = importlib.util.find_spec("torch")
    except (ImportError, ValueError):
        return False
    folders = map(Path, spec.submodule_search_locations or ()) if spec else ()
    return any(any((folder / "lib").glob("*torch_cuda*")) for folder in folders)


def _torch(onnx: bytes, device: str, precision: str) -> Runtime:
    try:
        from .torch_runtime import TorchRuntime
    except ImportError as error:
        raise RuntimeUnavailable(f"needs more libraries ({error.name}): {install_hint('gpu')}") from None
    return TorchRuntime(onnx, device, precision)


class _ONNXRuntime:
    @property
    def batch(self) -> int:
        return GPU_BATCH if self.stacks_views else CPU_BATCH

    def __init__(self, onnx: bytes, threads: int, device: str) -> None:
        providers: list[Any] = [_CPU]
        offered = _CUDA in onnxruntime.get_available_providers()
        if device == "cuda" and not offered:
            raise RuntimeUnavailable(
                "this ONNX Runtime knows no NVIDIA GPU: pip uninstall onnxruntime, pip install onnxruntime-gpu"
            )
        if device != "cpu" and offered:
            # Finds NVIDIA's libraries where pip puts them.
            getattr(onnxruntime, "preload_dlls", lambda: None)()
            providers.insert(0, (_CUDA, _CUDA_OPTIONS))
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        options.add_session_config_entry(*_SPIN)
        try:
            self._session = onnxruntime.InferenceSession(onnx, options, providers=providers)
        except Exception as error:  # ONNX Runtime raises several kinds of its own
            raise NetworkError(f"ONNX Runtime cannot open it: {one_line(error, 300)}") from None
        self.stacks_views = self._session.get_providers()[0] == _CUDA
        if device == "cuda" and not self.stacks_views:
            raise RuntimeUnavailable("ONNX Runtime cannot reach the NVIDIA GPU; are its driver, CUDA and cuDNN there?")
        self.name = f"ONNX Runtime {onnxruntime.__version__}, float32, {'CUDA' if self.stacks_views else 'CPU'}"
        self.inputs = tuple(each.name for each in self._session.get_inputs())
        self.outputs: Mapping[str, Shape] = {
            each.name: tuple(side if type(side) is int else None for side in each.shape)
            for each in self._session.get_outputs()
        }

    def run(self, names: Sequence[str], images: Floats) -> list[Floats]:
        try:
            return self._session.run(names, {self.inputs[0]: images})
        except Exception as error:  # ONNX Runtime raises several kinds of its own
            raise NetworkError(f"ONNX Runtime failed while running the network: {one_line(error, 300)}") from None


@cache
def _openvino_core() -> Any:
    """One for the whole process, never released.

    Its CPU plugin gives the thread that loads it another stack for signals, and unmaps that stack when the last
    of its networks goes; if this happens in another thread, the next signal, such as a child's end, kills the process.
    """
    import openvino

    return openvino.Core()


class _OpenVINO:
    stacks_views = False
    batch = CPU_BATCH

    def __init__(self, onnx: bytes, threads: int, precision: str) -> None:
        try:
            import openvino
        except ImportError:
            raise RuntimeUnavailable(f"{PRECISIONS[precision]} needs OpenVINO: {install_hint('openvino')}") from None
        core = _openvino_core()
        if precision == "bf16" and "BF16" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
            raise RuntimeUnavailable("this CPU has no bfloat16 arithmetic (AVX-512 BF16 or AMX); take precision f32")
        options = {"INFERENCE_PRECISION_HINT": precision, "INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1}
        try:
            # For any size of a batch: for one size it is hardly faster, and the last batch is smaller.
            self._network = core.compile_model(core.read_model(onnx), "CPU", options)
        except Exception as error:  # OpenVINO raises RuntimeErrors of many lines
            raise NetworkError(f"OpenVINO cannot open it: {one_line(error, 300)}") from None
        self._requests = threading.local()
        self.name = f"OpenVINO {openvino.__version__.split('-')[0]}, {PRECISIONS[precision]}, CPU"
        self.inputs = tuple(each.get_any_name() for each in self._network.inputs)
        self.outputs: Mapping[str, Shape] = {
            each.get_any_name(): tuple(side.get_length() if side.is_static else None for side in each.partial_shape)
            for each in self._network.outputs
        }

    def run(self, names: Sequence[str], images: Floats) -> list[Floats]:
        # A request answers one thread at a time.
        if not hasattr(self._requests, "own"):
            self._requests.own = self._network.create_infer_request()
        try:
            outputs = self._requests.own.infer({0: np.ascontiguousarray(images)}, share_inputs=True)
        except Exception as error:  # OpenVINO raises RuntimeErrors of many lines
            raise NetworkError(f"OpenVINO failed while running the network: {one_line(error, 300)}") from None
        return [outputs[name] for name in names]
