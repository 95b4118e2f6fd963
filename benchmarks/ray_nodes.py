"""Predicts a folder on a Ray cluster of two local nodes, kills a worker, adds a node; compares rows and times.

    python benchmarks/ray_nodes.py FOLDER [--model fast] [--repeats 3] [--rows N]

The cluster and the local engine take turns. The overhead is the ratio of their times, without the start of Ray's nodes,
which is told apart; what is killed and added is so in runs of their own. Both have as many processes for the network.
"""

import argparse
import hashlib
import os
import signal
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pyarrow.parquet as pq

import tuningfork
from tuningfork.images.find import find_images
from tuningfork.pipeline.predict import ExecutionOptions, predict_files
from tuningfork.pipeline.ray.cluster import check_ray


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", default="fast")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--rows", type=int)
    args = parser.parse_args()
    check_ray()
    import ray
    from ray.cluster_utils import Cluster

    pictures = sorted(find_images([args.folder]))[: args.rows]
    model = tuningfork.load(args.model, threads=1)
    started = time.perf_counter()
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    cluster.add_node(num_cpus=1)
    ray.init(address=cluster.address, log_to_driver=False, logging_level="error")
    print(f"{len(pictures)} pictures, model {args.model}; two nodes of one CPU each: up in {_since(started)} s")

    def predict(name: str, watch: Callable[[int, int], None] | None = None, **options: object) -> tuple[float, str]:
        with tempfile.TemporaryDirectory() as folder:
            began, output = time.perf_counter(), Path(folder) / "votes.parquet"
            predict_files(model, pictures, output, execution=ExecutionOptions(**options), progress=watch)  # type: ignore[arg-type]
            took = time.perf_counter() - began
            digest = hashlib.sha256(output.read_bytes()).hexdigest()[:16]
            print(f"{name:<24} {took:8.1f} s   {pq.read_metadata(output).num_rows} rows, SHA-256 {digest}", flush=True)
            return took, digest

    try:
        first = _First()
        times: dict[str, list[float]] = {"local": [], "ray": [], "ready": []}
        digests = set()
        for _ in range(args.repeats):
            took, digest = predict("local engine", workers=2)
            times["local"].append(took)
            digests.add(digest)
            took, digest = predict("two nodes", first.begin(), engine="ray", workers=2)
            times["ray"].append(took)
            times["ready"].append(took - first.after)
            digests.add(digest)
        digests.add(predict("… a worker is killed", _Kill(len(pictures) // 3), engine="ray", workers=2)[1])
        digests.add(predict("… a node is added", _Add(cluster, len(pictures) // 3), engine="ray")[1])
        print(f"rows are {'the same, to the last byte' if len(digests) == 1 else 'NOT THE SAME'}")
        for kind, told in (("ray", "overhead"), ("ready", "overhead once the actors have begun")):
            ratios = [each / local for each, local in zip(times[kind], times["local"], strict=True)]
            print(f"{told}: ×{statistics.median(ratios):.2f} (×{min(ratios):.2f} … ×{max(ratios):.2f})")
    finally:
        ray.shutdown()
        cluster.shutdown()


def _since(started: float) -> str:
    return f"{time.perf_counter() - started:.1f}"


class _First:
    """Tells after how many seconds the first rows came."""

    def begin(self) -> Callable[[int, int], None]:
        """The function that is told of progress."""
        self.after, began = 0.0, time.perf_counter()

        def watch(done: int, total: int) -> None:
            if done and not self.after:
                self.after = time.perf_counter() - began

        return watch


class _Kill:
    """Kills one of the actors that run the network, as the system does when memory runs out."""

    def __init__(self, at: int) -> None:
        self._at: int | None = at

    def __call__(self, done: int, total: int) -> None:
        if self._at is None or done < self._at:
            return
        victims = [child.pid for child in psutil.Process().children(recursive=True) if _is_actor(child)]
        if victims:
            print(f"  at row {done}: SIGKILL to one of {len(victims)} actors", flush=True)
            os.kill(victims[0], signal.SIGKILL)
            self._at = None


def _is_actor(process: psutil.Process) -> bool:
    try:
        return process.cmdline()[0].startswith("ray::MapWorker(MapBatches(NetworkActor)")
    except (psutil.Error, IndexError):
        return False


class _Add:
    """Adds a node of one CPU."""

    def __init__(self, cluster: object, at: int) -> None:
        self._cluster, self._at = cluster, at

    def __call__(self, done: int, total: int) -> None:
        if self._at is not None and done >= self._at:
            self._at = None  # type: ignore[assignment]
            self._cluster.add_node(num_cpus=1)  # type: ignore[attr-defined]
            print(f"  at row {done}: a third node", flush=True)


if __name__ == "__main__":
    main()
