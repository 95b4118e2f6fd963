"""A Ray cluster that is connected to, or started on this machine for one run; its size, and what its nodes have."""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections.abc import Container, Iterator
from contextlib import contextmanager, redirect_stdout
from typing import Any

from ... import __version__
from ..._utils.environment import available_cores
from ..._utils.errors import TuningforkError
from ..._utils.extras import install_hint
from ..._utils.processes import WorkerError
from ...model.model import Model

__all__ = ["MissingRay", "check_nodes", "check_ray", "cluster_size", "ray_cluster", "ray_reason"]

#: How often starting a cluster on this machine is tried: Ray gives its own processes 30 seconds, too few on a busy one.
STARTS = 3
#: Seconds that threads of Ray Data have to end, at most; and its one that waits for ever, with no reference to free.
THREADS_TIMEOUT, ENDLESS = 10.0, "Prefetcher"
_SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",  # sends no statistics
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # warns of nothing that is not used here
    "RAY_BACKEND_LOG_LEVEL": "fatal",  # failures are reported by our own errors
    "RAY_worker_niceness": "0",  # as willing to work as the processes of the local engine
}


class MissingRay(TuningforkError, ValueError):
    """Ray is not installed."""


def check_ray() -> None:
    """Raise MissingRay if Ray is not installed."""
    # It asks the environment when it is imported.
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
    try:
        import ray.data  # noqa: F401
    except ImportError as error:
        raise MissingRay(f"--engine ray needs Ray ({error}): {install_hint('ray')}") from None


@contextmanager
def ray_cluster(address: str | None) -> Iterator[bool]:
    """Ray, connected; True if it was started here, on this machine, and will be ended."""
    import ray

    # Failures are reported by our own errors.
    logger = logging.getLogger("ray.data")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    started_here = not ray.is_initialized()
    before: set[threading.Thread] = set()
    try:
        if started_here:
            _connect(address)
        before.update(threading.enumerate())
        with redirect_stdout(_NoRayOutput(sys.stdout)):
            yield started_here and address is None
    finally:
        logger.setLevel(level)
        if started_here:
            if before:
                _wait_for_threads(before)
            ray.shutdown()


def _wait_for_threads(before: Container[threading.Thread]) -> None:
    """Wait for the threads that Ray Data has started since.

    They end by themselves a little after its results. But one that frees its references when Ray is shut down makes Ray
    end this process at once, with exit code 1 and no word.
    """
    deadline = time.monotonic() + THREADS_TIMEOUT
    for thread in threading.enumerate():
        if thread.daemon and thread not in before and thread.name != ENDLESS:
            thread.join(max(0.0, deadline - time.monotonic()))


class _NoRayOutput:
    """stdout without what Ray's own thread prints of processes that died and are replaced."""

    def __init__(self, stdout: Any) -> None:
        self._stdout = stdout

    def write(self, text: str) -> int:
        """Write, unless it comes from Ray's thread."""
        is_ray = threading.current_thread().name.startswith("ray_")
        return len(text) if is_ray else self._stdout.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stdout, name)


def _connect(address: str | None) -> None:
    import ray

    options: dict[str, Any] = {"address": address or "local", "log_to_driver": False, "logging_level": logging.ERROR}
    if address is None:
        options |= {"num_cpus": available_cores(), "include_dashboard": False}
    for left in reversed(range(STARTS)):
        try:
            with _stderr_suppressed():
                ray.init(**options)
            return
        except Exception as error:  # ConnectionError, ValueError, RuntimeError, Exception
            ray.shutdown()
            if address is None and left:
                continue
            wrong = f"there is no Ray cluster at {address}" if address else "Ray does not start on this machine"
            raise WorkerError(f"{wrong}: {ray_reason(error)}") from None


@contextmanager
def _stderr_suppressed() -> Iterator[None]:
    """Discard what is written to stderr: Ray's compiled part announces its log level there."""
    sys.stderr.flush()
    stderr, null = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(null, 2)
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
        os.close(null)


def cluster_size(model: Model) -> tuple[float, float]:
    """How many CPUs and GPUs the cluster has now; GPUs only if the model may use them."""
    import ray

    resources = ray.cluster_resources()  # type: ignore[no-untyped-call]
    return resources.get("CPU", 0.0), resources.get("GPU", 0.0) if model.running["device"] != "cpu" else 0.0


def check_nodes() -> None:
    """Raise WorkerError if a node of the cluster lacks this version of the package."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    # Inside of this function, it goes there by value: nodes without the package could not import it.
    def version() -> str | None:
        try:
            import tuningfork
        except ImportError:
            return None
        return tuningfork.__version__

    task = ray.remote(version)
    nodes = [node for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]
    versions_pending = [
        task.options(
            num_cpus=0, scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=True)
        ).remote()
        for node in nodes
    ]  # fmt: skip
    try:
        versions = ray.get(versions_pending)
    except ray.exceptions.RayError as error:
        raise WorkerError(f"Ray's cluster runs nothing: {ray_reason(error)}") from None
    for node, installed in zip(nodes, versions, strict=True):
        if installed != __version__:
            there = f"has tuningfork {installed}, not {__version__} as here" if installed else "lacks tuningfork"
            raise WorkerError(f"node {node['NodeManagerAddress']} {there}; install it there: {install_hint('ray')}")


def ray_reason(error: Exception) -> str:
    """The last line of an error of Ray, with its kind."""
    # Ray's messages are long, and end with what matters.
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[-1] if lines else 'no reason given'}"
