"""Inference on an NVIDIA GPU through PyTorch: bytes over the bus, scaled there, channels last, float32 or bfloat16."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from .._utils.text import one_line
from ..images.preprocess import Preprocess
from .onnx_check import NetworkError, RuntimeUnavailable
from .torch_network import TorchNetwork

__all__ = ["TorchRuntime"]

Floats = NDArray[np.float32]
_DTYPES = {"f32": ("float32", torch.float32), "bf16": ("bfloat16", torch.bfloat16)}


class TorchRuntime:
    """A network that PyTorch runs; see `runtime.Runtime`.

    In float32 it gives the fractions of ONNX Runtime within 1e-5: TensorFloat-32, which keeps 10 bits, is off.

    Parameters
    ----------
    onnx : bytes
    device : "cuda" or "cpu"
        The CPU is for tests: ONNX Runtime is faster there.
    precision : "f32" or "bf16"

    Raises
    ------
    RuntimeUnavailable
        If the device cannot be used; the message says what is missing.
    NetworkError
        If the network has operators that PyTorch's side does not know.
    """

    stacks_views = True
    #: Images at a time, if not chosen: a GPU is idle between small batches.
    batch = 256

    def __init__(self, onnx: bytes, device: str, precision: str) -> None:
        _check(device)
        name, self._dtype = _DTYPES[precision]
        try:
            network = TorchNetwork(onnx).eval().requires_grad_(False)
            # PyTorch's stubs leave memory_format out.
            self._network = network.to(device, self._dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]
        except NetworkError:
            raise
        except torch.OutOfMemoryError as error:
            raise RuntimeUnavailable(f"the GPU has no memory left for the network{_free()}: {_end(error)}") from None
        except Exception as error:  # PyTorch raises several kinds
            raise NetworkError(f"PyTorch cannot open it: {one_line(error, 300)}") from None
        self._device = torch.device(device)
        where = "CPU" if device == "cpu" else f"CUDA, {torch.cuda.get_device_name()}"
        self.name = f"PyTorch {torch.__version__}, {name}, {where}"
        self.inputs: tuple[str, ...] = network.inputs
        self.outputs: Mapping[str, tuple[int | None, ...]] = network.outputs

    def run(self, names: Sequence[str], images: Floats) -> list[Floats]:
        """Return outputs of images (N, 3, size, size) float32, scaled."""
        return self._run(names, lambda: self._to_device(images))

    def run_bytes(self, names: Sequence[str], images: NDArray[np.uint8], preprocess: Preprocess) -> list[Floats]:
        """Return outputs of images (N, size, size, 3) uint8, which are scaled on the device: a quarter of the bytes."""

        def scaled() -> Any:
            gain, offset = (torch.from_numpy(each).to(self._device) for each in preprocess.gain_and_offset)
            return self._to_device(images).permute(0, 3, 1, 2).to(torch.float32) * gain + offset

        return self._run(names, scaled)

    def _to_device(self, images: NDArray[Any]) -> Any:
        host = torch.from_numpy(np.ascontiguousarray(images))
        if self._device.type == "cuda":
            # From pinned memory the copy overlaps with what the GPU still does.
            return host.pin_memory().to(self._device, non_blocking=True)
        return host

    def _run(self, names: Sequence[str], inputs: Any) -> list[Floats]:
        try:
            with torch.inference_mode(), torch.backends.cudnn.flags(allow_tf32=False):
                images = inputs().to(self._dtype).contiguous(memory_format=torch.channels_last)
                outputs = self._network(images)
                return [outputs[name].to(torch.float32).cpu().numpy() for name in names]
        except NetworkError:
            raise
        except torch.OutOfMemoryError as error:
            raise NetworkError(f"the GPU has no memory left{_free()}; try a smaller --batch: {_end(error)}") from None
        except Exception as error:  # PyTorch raises several kinds
            raise NetworkError(f"PyTorch failed while running the network: {one_line(error, 300)}") from None


def _check(device: str) -> None:
    if device == "cpu":
        return
    if torch.version.cuda is None:
        raise RuntimeUnavailable(
            f"PyTorch {torch.__version__} is built without CUDA; install it from https://pytorch.org with CUDA"
        )
    try:
        if torch.cuda.is_available():
            torch.cuda.init()  # type: ignore[no-untyped-call]  # PyTorch gives it no types
            return
    except Exception as error:  # drivers fail in several ways
        raise RuntimeUnavailable(f"PyTorch cannot use the NVIDIA GPU: {one_line(error, 300)}") from None
    raise RuntimeUnavailable(
        f"PyTorch {torch.__version__} finds no NVIDIA GPU; `nvidia-smi` shows whether one is there, and whether its "
        f"driver is new enough for CUDA {torch.version.cuda}"
    )


def _free() -> str:
    try:
        free, total = torch.cuda.mem_get_info()
    except Exception:  # without a device there is nothing to say
        return ""
    return f" ({free / 2**30:.1f} of {total / 2**30:.1f} GiB are free; other programs may hold the rest)"


def _end(error: Exception) -> str:
    return one_line(error, 150)
