"""`tuningfork bench`: both limits, our pipeline and a peer's loop, measured in turn on the same pictures."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from .._utils.processes import available_cores
from ..model.bundle import open_bundle
from . import ours
from .fresh import fresh_process
from .limits import BATCHES, Limits
from .machine import Others, machine
from .pictures import repeated, simulated, temporary_folder, users
from .report import Pass, Repeat, Report, one_pass

__all__ = ["bench", "why_no_peer"]

#: Distinct simulated galaxies; links repeat them.
_DISTINCT = 200
#: The peer is slower by so much that fewer rows tell its speed as well.
_PEER_SHARE = 4
#: Some batches, so that the first one can be left out.
_PEER_LEAST = 192
_PEER_NEEDS = ("torch", "torchvision", "timm", "lightning")


def why_no_peer() -> str:
    """Which libraries the peer's loop lacks here, in words; empty if none."""
    lacks = [name for name in _PEER_NEEDS if find_spec(name) is None]
    return f"the peer's loop needs {', '.join(lacks)}: pip install 'tuningfork[train]'" if lacks else ""


def bench(
    model: str = "fast",
    images: str | Path | None = None,
    *,
    rows: int = 4096,
    repeats: int = 3,
    seconds: float = 3.0,
    views: int | None = None,
    precision: str = "f32",
    price: float | None = None,
    peer: bool = True,
    say: Callable[[str], None] = lambda line: None,
) -> Report:
    """Measure decoding alone, the network alone, our whole way and a peer's, one after the other, `repeats` times.

    Parameters
    ----------
    model : str
        A shipped model's name, or a bundle's folder.
    images : path, optional
        A folder whose pictures are used, at most 512 of them; else simulated galaxies are.
    rows : int
        Files that our whole way goes through, and the peer's through a quarter of them; pictures are
        repeated as links. All are in the system's cache of files: the disk is not measured.
    seconds : float
        What each limit is measured for in each repeat.
    views : 1, 2, 4, 8 or None
        None: as the model asks.
    precision : "f32" or "bf16"
        Of our networks; the peer's run in float32.
    price : float, optional
        Of an hour of this machine.
    peer : bool
        Also measure the peer's loop, where its libraries are installed.

    Raises
    ------
    BundleError
        If there is no such model.
    BenchError
        If a part of it cannot run, or there is no picture.
    """
    bundle = open_bundle(model)
    passes = bundle.n_views if views is None else views
    others = Others()
    left_out = why_no_peer() if peer else "the peer's loop was not asked for"
    measured: list[Repeat] = []
    with temporary_folder() as folder:
        if images is None:
            say(f"drawing {min(_DISTINCT, rows)} galaxies")
            pictures = simulated(folder / "distinct", min(_DISTINCT, rows))
        else:
            pictures = users(Path(images))
        files = repeated(pictures, rows, folder / "files")
        fewer = repeated(pictures, min(rows, max(rows // _PEER_SHARE, _PEER_LEAST)), folder / "fewer")
        with Limits(model, pictures, passes, precision, available_cores()) as limits:
            batches = limits.choose_batch(seconds / len(BATCHES))
            parts: dict[str, Callable[[], float | Pass | None]] = {
                "decode": lambda: limits.decode(seconds),
                "network": lambda: limits.network(seconds),
                "ours": lambda: _pass(
                    ours.predict_folder, model, str(files), str(folder / "ours.parquet"), views, precision
                ),
            }
            if not left_out:
                parts["peer"] = lambda: _pass(_peer, model, str(fewer), str(folder / "peer.csv"), views)
            for number in range(repeats):
                # Every other one backwards: a drift of the machine's speed then favours none of them.
                told: dict[str, Any] = {"peer": None}
                for name in list(parts) if number % 2 == 0 else list(reversed(parts)):
                    say(f"repeat {number + 1} of {repeats}: {name}")
                    told[name] = parts[name]()
                measured.append(Repeat(**told))
    settings = {
        "model": model,
        "images": None if images is None else str(images),
        "distinct": len(pictures),
        "rows": rows,
        "views": passes,
        "repeats": repeats,
        "seconds": seconds,
        "runtime": limits.runtime,
        "network_batch": limits.batch,
    }
    return Report(settings, machine(), measured, batches, left_out, price, others.share())


def _pass(function: Callable[..., dict[str, Any]], *arguments: Any) -> Pass:
    done = fresh_process(function, *arguments)
    return one_pass(done.result, done.seconds, done.peak_mb)


def _peer(*arguments: Any) -> dict[str, Any]:
    # In its own process: PyTorch is never loaded beside us.
    from .peer import predict_folder

    return predict_folder(*arguments)
