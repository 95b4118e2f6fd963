"""What a running measurement uses: the GPU's utilisation, and memory, sampled in a thread of their own."""

from __future__ import annotations

import statistics
import subprocess
import threading
from contextlib import suppress

__all__ = ["gpu_utilisation", "peak_memory"]


def gpu_utilisation(ended: threading.Event) -> float | None:
    """Mean utilisation of the first GPU until `ended` is set, in percent; None without ``nvidia-smi``."""
    command = ["nvidia-smi", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits"]
    samples = []
    while not ended.wait(0.5):
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
            samples.append(float(done.stdout.splitlines()[0]))
        except (OSError, subprocess.SubprocessError, ValueError, IndexError):
            break
    return statistics.mean(samples) if samples else None


def peak_memory(ended: threading.Event) -> float | None:
    """Peak memory of this process and its children until `ended` is set, in MB; None if it is not known."""
    try:
        import psutil
    except ImportError:
        return None
    peak, own = 0, psutil.Process()
    while not ended.wait(0.3):  # ten times a second slowed the work by 5 %
        total = 0
        for process in (own, *own.children(recursive=True)):
            with suppress(psutil.Error):
                total += getattr(process.memory_full_info(), "pss", 0)
        peak = max(peak, total)
    return peak / 1e6 or None
