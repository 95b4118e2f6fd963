"""`tuningfork bench`: both limits, our pipeline and a peer's loop, measured in turn on the same pictures."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

from ..bundle import open_bundle
from . import ours
from .fresh import Done, fresh_process
from .limits import Limits
from .machine import cores, machine
from .pictures import repeated, simulated, temporary_folder, users
from .report import Pass, Repeat, Report, one_pass

__all__ = ["bench", "why_no_peer"]

#: Distinct simulated galaxies; links repeat them.
_DISTINCT = 200
_PEER_NEEDS = ("torch", "torchvision", "timm", "lightning")


def why_no_peer() -> str:
    """Which library the peer's loop lacks here, in words; empty if none."""
    lacks = [name for name in _PEER_NEEDS if find_spec(name) is None]
    return f"the peer's loop needs {', '.join(lacks)}: pip install 'tuningfork[train]'" if lacks else ""


def bench(
    model: str = "fast",
    images: str | Path | None = None,
    *,
    rows: int = 1500,
    repeats: int = 3,
    seconds: float = 3.0,
    views: int | None = None,
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
        Files that a whole way goes through; pictures are repeated as links. All are in the system's
        cache of files: the disk is not measured.
    seconds : float
        What each limit is measured for in each repeat.
    views : 1, 2, 4, 8 or None
        None: as the model asks.
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
    found = machine()  # first, since the load is that of others
    bundle = open_bundle(model)
    passes = bundle.views if views is None else views
    left_out = why_no_peer() if peer else "the peer's loop was not asked for"
    measured: list[Repeat] = []
    with temporary_folder() as folder:
        if images is None:
            say(f"drawing {_DISTINCT} galaxies")
            pictures = simulated(folder / "distinct", min(_DISTINCT, rows))
        else:
            pictures = users(Path(images))
        files = repeated(pictures, rows, folder / "files")
        with Limits(model, pictures, passes, cores()) as limits:
            batches = limits.choose_batch()

            def ours_whole() -> Pass:
                return _pass(fresh_process(ours.predict_folder, model, str(files), str(folder / "ours.parquet"), views))

            def peer_whole() -> Pass | None:
                return (
                    None
                    if left_out
                    else _pass(fresh_process(_peer, model, str(files), str(folder / "peer.csv"), views))
                )

            parts: dict[str, Callable[[], float | Pass | None]] = {
                "decode": lambda: limits.decode(seconds),
                "network": lambda: limits.network(seconds),
                "ours": ours_whole,
                "peer": peer_whole,
            }
            for number in range(repeats):
                # Every other one backwards: a drift of the machine's speed then favours none of them.
                order = list(parts) if number % 2 == 0 else list(reversed(parts))
                told = {}
                for name in order:
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
        "network_batch": max(batches, key=batches.__getitem__),
    }
    return Report(settings, found, measured, batches, left_out, price)


def _pass(done: Done) -> Pass:
    return one_pass(done.result, done.started, done.seconds, done.peak_mb)


def _peer(*arguments: object) -> object:
    # In its own process: PyTorch is never loaded beside us.
    from .peer import predict_folder

    return predict_folder(*arguments)
