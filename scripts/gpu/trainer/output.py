"""What the job prints, and files that are there whole or not at all."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

STARTED = time.time()


def say(line: str) -> None:
    print(f"{time.time() - STARTED:7.1f} {line}", flush=True)


def whole(path: Path, write: Callable[[Path], Any]) -> None:
    """A file is there whole or not at all."""
    beside = path.with_name(f".{path.name}" if path.suffix != ".npz" else f".{path.stem}.npz")
    write(beside)
    beside.replace(path)


def about(device: torch.device) -> dict[str, Any]:
    return {
        "device": torch.cuda.get_device_name() if device.type == "cuda" else platform.processor() or "cpu",
        "torch": torch.__version__,
        "timm": metadata.version("timm"),
        "cudnn": torch.backends.cudnn.version() if device.type == "cuda" else None,
        "python": platform.python_version(),
        "cores": os.cpu_count(),
    }
