"""What the figures were measured on: processor, cores, memory, versions."""

from __future__ import annotations

import os
import platform
import sys
import time
from importlib import metadata
from pathlib import Path
from typing import Any

from .._utils.processes import available_cores

__all__ = ["Others", "machine"]

_LIBRARIES = (
    "tuningfork", "numpy", "pillow", "simplejpeg", "pyarrow", "onnxruntime", "openvino", "torch", "timm", "lightning"
)  # fmt: skip


def machine() -> dict[str, Any]:
    """Processor, cores, memory in GB (10⁹ bytes; None if unknown), system and versions, as JSON takes them.

    `bytecode` says whether Python may keep compiled modules; where it may not, every start compiles them anew.
    """
    versions = {"python": platform.python_version()}
    for library in _LIBRARIES:
        try:
            versions[library] = metadata.version(library)
        except metadata.PackageNotFoundError:
            continue
    return {
        "processor": _processor(),
        "cores": available_cores(),
        "memory_gb": _memory(),
        "system": f"{platform.system()} {platform.release()}",
        "bytecode": not sys.dont_write_bytecode,
        "versions": versions,
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, "") or platform.processor() or platform.machine()


def _memory() -> float | None:
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1)
    except (AttributeError, OSError, ValueError):
        return None


class Others:
    """What other programs take of this machine from now on: figures taken beside them are not the machine's own."""

    def __init__(self) -> None:
        self._started, self._busy, self._own = time.perf_counter(), _busy(), _own()

    def share(self) -> float | None:
        """Their share of all cores' time, in [0, 1]; None where the system does not tell.

        Of our own children only those that have ended are known.
        """
        busy = _busy()
        if busy is None or self._busy is None:
            return None
        available = (time.perf_counter() - self._started) * (os.cpu_count() or 1)
        return min(max((busy - self._busy - (_own() - self._own)) / available, 0.0), 1.0)


def _busy() -> float | None:
    """Seconds for which the cores have worked for anyone, another virtual machine included."""
    try:
        first = Path("/proc/stat").read_text("ascii").splitlines()[0].split()[1:9]
    except (OSError, IndexError):
        return None
    user, nice, system, _, _, *rest = map(int, first)
    return (user + nice + system + sum(rest)) / os.sysconf("SC_CLK_TCK")


def _own() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system
