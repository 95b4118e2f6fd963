"""A function in a fresh process: how long it takes from the process's start to its end, and its peak memory."""

from __future__ import annotations

import importlib
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tuningfork._utils.processes import Worker
from tuningfork.evaluation.resource_use import peak_memory


@dataclass(frozen=True)
class Done:
    """What the function returned, seconds with imports and start, and peak memory of the process and its children."""

    result: Any
    seconds: float
    peak_mb: float | None


class _Call:
    """Call a function; see `processes.Job`."""

    def open(self) -> Callable[[Any, Any], tuple[Any, float | None]]:
        """Called in the worker."""

        def answer(task: Any, send_message: Any) -> tuple[Any, float | None]:
            name, arguments = task
            module, _, function = name.partition(".")
            ended = threading.Event()
            with ThreadPoolExecutor(1) as thread:
                peak = thread.submit(peak_memory, ended)
                try:
                    result = getattr(importlib.import_module(module), function)(*arguments)
                finally:
                    ended.set()
            return result, peak.result()

        return answer


def fresh_process(function: str, *arguments: Any) -> Done:
    """Call ``MODULE.FUNCTION``, of a module of this folder, in a new interpreter."""
    paths = [str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, dict.fromkeys(paths)))
    started = time.perf_counter()
    with closing(Worker(_Call())) as worker:
        result, peak = worker.run((function, arguments), lambda _: None)
        return Done(result, time.perf_counter() - started, peak)
