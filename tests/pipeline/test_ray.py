"""Prediction on a Ray cluster: the same bytes as on this machine, whatever dies, comes or goes."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import tuningfork
from tuningfork._utils.processes import WorkerError
from tuningfork.inputs import InputItem
from tuningfork.model.options import InferenceOptions
from tuningfork.pipeline.chunks import Chunk
from tuningfork.pipeline.options import ExecutionOptions
from tuningfork.pipeline.predict import PredictError, predict_files
from tuningfork.pipeline.ray import engine
from tuningfork.pipeline.ray import queue as chunk_queue
from tuningfork.pipeline.ray.cluster import MissingRay, check_ray, ray_cluster
from tuningfork.pipeline.ray.queue import ChunkQueue
from tuningfork.pipeline.ray.resources import ACTOR_CPUS, READ_CPUS, ActorPool
from tuningfork.pipeline.ray.tracker import AttemptTracker
from tuningfork.simulation import draw, render

# Ray leaves files and sockets to the garbage collector, and warns of its own future.
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:ray"),
    pytest.mark.filterwarnings("ignore::FutureWarning:ray"),
]

# ---------------------------------------------------------------- without a cluster


@given(st.integers(3, 40_000).map(lambda quarters: quarters / 4), st.integers(0, 5000), st.integers(0, 64))
def test_readers_always_have_room(cpus, workers, gpus):
    actor_pool = ActorPool.of(cpus, gpus, workers)
    assert actor_pool.actors >= 1
    assert actor_pool.fits(cpus, gpus)
    assert actor_pool.actors * ACTOR_CPUS + READ_CPUS <= cpus
    assert actor_pool.actors <= max(1, 2 * cpus)
    assert not workers or actor_pool.actors <= workers
    assert actor_pool.gpus * actor_pool.actors <= gpus


@given(st.integers(2, 10_000))
def test_half_of_the_nodes_may_go(cpus):
    assert ActorPool.of(cpus).actors == cpus
    assert ActorPool.of(cpus).fits(cpus / 2)


def test_actors_go_where_the_gpus_are():
    assert ActorPool.of(64, 4) == ActorPool(4, 1)
    assert ActorPool.of(64, 4, workers=2) == ActorPool(2, 1)
    assert ActorPool.of(64, 0) == ActorPool(64)
    assert not ActorPool.of(64, 4).fits(64, 3)


@pytest.mark.parametrize("cpus", [0, 0.5])
def test_a_cluster_without_room_is_reported(cpus):
    with pytest.raises(WorkerError, match="add a node"):
        ActorPool.of(cpus)


def test_without_ray_the_remedy_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingRay, match=r"pip install '\.\[ray\]'"):
        check_ray()


@pytest.mark.parametrize(
    ("address", "told"), [("10.9.8.7:6379", "no Ray cluster at 10.9.8.7:6379"), (None, "on this machine")]
)
def test_a_cluster_that_is_not_there_is_reported(address, told, tmp_path, monkeypatch):
    ray = pytest.importorskip("ray")

    def refuse(**options):
        raise ConnectionError("Ray is not reachable.\n\nNobody answers.")

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", refuse)
    Image.fromarray(render(draw(4, 0))).save(tmp_path / "a.jpg")
    with pytest.raises(PredictError, match=f"{told}.*Nobody answers"):
        predict_files(
            tuningfork.load("fast"),
            [tmp_path / "a.jpg"],
            tmp_path / "out",
            execution=ExecutionOptions(engine="ray", address=address),
        )


def _chunk(number, rows, kind="file"):
    return Chunk(number, [InputItem(f"{number}-{row}", f"{number}-{row}", kind, "x") for row in range(rows)])


class _Told:
    """Stands for the predictions of some items."""

    def __init__(self, items):
        self.ids = [item.id for item in items]


@given(
    st.lists(st.lists(st.integers(1, 40), min_size=1, max_size=4), max_size=12),
    st.integers(1, 16),
    st.sampled_from(["file", "row"]),
    st.randoms(use_true_random=False),
)
def test_every_row_goes_out_once_and_comes_back_in_order(groups, size, kind, chance):
    numbers = iter(range(1000))
    chunks = [[_chunk(next(numbers), rows, kind) for rows in group] for group in groups]
    queue = ChunkQueue(iter(chunks), size)
    whole, given_out = {}, []
    while queue.more():
        given_out += [(work.number, i, part) for work in queue.work_items(0.01) for i, part in work.slices.items()]
        number, index, part = given_out.pop(chance.randrange(len(given_out)))
        assert len(part.items) <= size
        rows, done = queue.settle(number, index, [_Told(part.items)])
        assert rows == len(part.items)
        assert queue.settle(number, index, [_Told(part.items)]) == (0, None)
        if done:
            whole[done.chunk.number] = [name for told in done.predictions() for name in told.ids]
    assert whole == {chunk.number: [item.id for item in chunk.items] for group in chunks for chunk in group}


def test_few_parts_are_under_way_however_many_there_are():
    drawn = 0

    def groups():
        nonlocal drawn
        for number in range(10_000):
            drawn += 1
            yield [_chunk(number, 64)]

    queue = ChunkQueue(groups(), 64)
    out = list(queue.work_items(2))
    assert sum(len(part.items) for work in out for part in work.slices.values()) == 2 * chunk_queue.ROWS_PER_CPU
    assert drawn <= 2 * chunk_queue.ROWS_PER_CPU / 64 + 1
    assert list(queue.work_items(2)) == []
    queue.settle(out[0].number, 0, [])
    assert len(list(queue.work_items(2))) == 1


def test_rows_of_one_table_stay_together():
    work_items = list(
        ChunkQueue(iter([[_chunk(0, 20, "row"), _chunk(1, 20, "row")], [_chunk(2, 20)]]), 8).work_items(4)
    )
    assert [[part.chunk for part in work_item.slices.values()] for work_item in work_items] == [
        [0, 0, 0, 1, 1, 1],
        [2],
        [2],
        [2],
    ]


def test_the_tracker_counts_starts_and_finds_the_row_at_fault():

    async def story():
        tracker = AttemptTracker()
        waiting = asyncio.ensure_future(tracker.number(0))
        await asyncio.sleep(0)
        assert not waiting.done()
        await tracker.add(list(ChunkQueue(iter([[_chunk(0, 4)]]), 4).work_items(1)))
        assert await waiting == 0
        assert (await tracker.start(0))[1:] == ({}, 0)
        assert (await tracker.start(0))[1:] == ({}, 1)
        await tracker.set_row(0, (0, 2))
        _, known_failures, before = await tracker.start(0)
        assert before == 2
        assert list(known_failures) == [(0, 2)]
        await tracker.forget(0)
        assert await tracker.start(0) is None
        late = asyncio.ensure_future(tracker.number(1))
        await tracker.end(2)
        assert await tracker.number(2) is None
        assert not late.done()
        await tracker.add(list(ChunkQueue(iter([[_chunk(0, 4)]]), 4).work_items(1)))
        assert await late == 0

    asyncio.run(story())


# ---------------------------------------------------------------- on clusters of this machine


@pytest.fixture(scope="module")
def model():
    return tuningfork.load("fast", threads=1)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    for index in range(40):
        Image.fromarray(render(draw(4, index))).resize((160, 160)).save(folder / f"{index:03d}.jpg", quality=90)
    (folder / "017.jpg").write_bytes(b"\xff\xd8\xff broken")
    return folder


@pytest.fixture(scope="module")
def many(pictures, tmp_path_factory):
    """480 files."""
    folder = tmp_path_factory.mktemp("many")
    for copy in range(12):
        for picture in pictures.iterdir():
            os.link(picture, folder / f"{copy:02d}-{picture.name}")
    return folder


@pytest.fixture(scope="module")
def whole(model, many, tmp_path_factory):
    file = tmp_path_factory.mktemp("whole") / "whole.parquet"
    predict_files(model, [many], file, execution=ExecutionOptions(chunk_rows=100, workers=1))
    return file.read_bytes()


def _slow_and_deadly():
    """What to run in each of the cluster's processes when it starts; goes there by value."""

    def patch():
        import os
        import signal

        from tuningfork.pipeline import chunks
        from tuningfork.pipeline.ray import stages

        read_item = chunks.read_item

        def deadly(reading, item, fetch, **options):
            time.sleep(0.02)
            if item.location.endswith("kills.jpg") and not item.error:
                os.kill(os.getpid(), signal.SIGKILL)
            return read_item(reading, item, fetch, **options)

        chunks.read_item = stages.read_item = deadly

    return patch


@pytest.fixture(scope="module")
def cluster():
    ray = pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    check_ray()
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    try:
        made.add_node(num_cpus=1)
        hook = {"worker_process_setup_hook": _slow_and_deadly()}
        ray.init(address=made.address, log_to_driver=False, logging_level="error", runtime_env=hook)
        yield made
    finally:
        ray.shutdown()
        made.shutdown()


@pytest.fixture
def small(monkeypatch):
    """Slices of 64 rows, of which few are under way, and a close watch on the cluster."""
    monkeypatch.setattr(engine, "SLICE", 64)
    monkeypatch.setattr(engine, "CHECK_INTERVAL", 0.2)
    monkeypatch.setattr(chunk_queue, "ROWS_PER_CPU", 64)
    monkeypatch.setattr(chunk_queue, "ITEMS_PER_CPU", 2)


#: The title of the processes that run the networks.
ACTOR = "MapWorker(MapBatches(NetworkActor)"


def _processes(title):
    """Processes of Ray with that title, of the clusters that this process has started."""
    return [pid for pid in _descendants(os.getpid()) if _command(pid).startswith(f"ray::{title}")]


def _command(pid):
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
    except OSError:
        return ""


def _descendants(pid):
    parents = {}
    for item in Path("/proc").iterdir():
        if item.name.isdecimal():
            try:
                parents[int(item.name)] = int((item / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
    found = [pid]
    for parent in found:
        found += [child for child, of in parents.items() if of == parent]
    return found[1:]


@pytest.mark.slow
def test_killed_workers_cost_no_row(model, many, whole, tmp_path, cluster, small):
    """SIGKILL of an actor and of a reader in mid-run; the bytes are those of a quiet run on one machine."""
    left = [ACTOR, "MapBatches(read)"]

    def kill(done, total):
        if done and left and (found := _processes(left[0])):
            os.kill(found[0], signal.SIGKILL)
            left.pop(0)

    summary = predict_files(
        model, [many], tmp_path / "out.parquet", execution=ExecutionOptions(chunk_rows=100, engine="ray"), progress=kill
    )
    assert not left
    assert (summary.rows, summary.failed) == (480, 12)
    assert (tmp_path / "out.parquet").read_bytes() == whole


@pytest.mark.slow
def test_the_row_that_kills_is_found_and_reported(model, pictures, tmp_path, cluster, small):
    folder = tmp_path / "in"
    folder.mkdir()
    for index in range(10):
        os.link(pictures / f"{index:03d}.jpg", folder / f"{index:03d}.jpg")
    os.link(pictures / "000.jpg", folder / "005-kills.jpg")
    summary = predict_files(model, [folder], tmp_path / "out.parquet", execution=ExecutionOptions(engine="ray"))
    assert (summary.rows, summary.failed) == (11, 1)
    assert summary.errors[0].id == "005-kills"
    assert "process that read it ended" in summary.errors[0].reason


@pytest.mark.slow
def test_embeddings_are_those_of_this_machine(model, pictures, tmp_path, cluster):
    for engine_name in ("local", "ray"):
        predict_files(
            model,
            [pictures],
            tmp_path / f"{engine_name}.parquet",
            inference=InferenceOptions(embeddings=True, batch_size=8),
            execution=ExecutionOptions(engine=engine_name),
        )
    assert pq.read_table(tmp_path / "ray.parquet").equals(pq.read_table(tmp_path / "local.parquet"))


@pytest.mark.slow
def test_nodes_come_and_go(model, many, whole, tmp_path, cluster, small):
    """A node is added in mid-run, and used; then all but the first are lost."""
    first, second = cluster.head_node, next(node for node in cluster.list_all_nodes() if node != cluster.head_node)
    third, before, new, is_lost = None, set(), set(), False

    def change(done, total):
        nonlocal third, new, is_lost
        if done >= 32 and third is None:
            before.update(_processes(ACTOR))
            third = cluster.add_node(num_cpus=2)
        elif third and not is_lost and set(_processes(ACTOR)) - before:
            # The stages were started anew, with an actor for each CPU; a busy machine takes its time for all of them.
            deadline = time.monotonic() + 120
            while len(new) < 4 and time.monotonic() < deadline:
                new |= set(_processes(ACTOR)) - before
                time.sleep(0.1)
            cluster.remove_node(third, allow_graceful=False)
            cluster.remove_node(second, allow_graceful=False)
            is_lost = True

    try:
        predict_files(
            model,
            [many],
            tmp_path / "out.parquet",
            execution=ExecutionOptions(chunk_rows=100, engine="ray"),
            progress=change,
        )
    finally:
        for node in [node for node in cluster.list_all_nodes() if node != first]:
            cluster.remove_node(node, allow_graceful=False)
        cluster.add_node(num_cpus=1)
    assert is_lost
    assert len(new) >= 4
    assert (tmp_path / "out.parquet").read_bytes() == whole


_ALONE = """
import os, signal, sys, time
sys.path.insert(0, sys.argv[1])
from test_ray import ACTOR, _processes
from tuningfork.pipeline.predict import ExecutionOptions, load, predict_files

OPTIONS = ExecutionOptions(engine='ray', chunk_rows=16)
killed = []

def kill_one(done, total):
    if done and not killed:
        killed.extend(_processes(ACTOR)[:1])
        os.kill(killed[0], signal.SIGKILL)

def hold(done, total):
    print(done, flush=True)
    if done:
        time.sleep(60)

"""


@pytest.mark.slow
def test_a_cluster_for_the_occasion_says_nothing_and_is_gone_after_it(pictures, model, tmp_path):
    """With relative paths and an actor that is killed; then another one, interrupted at its first rows."""
    pytest.importorskip("ray")
    os.symlink(pictures, tmp_path / "in")
    predict_files(
        model, [tmp_path / "in"], tmp_path / "local.parquet", execution=ExecutionOptions(workers=1, chunk_rows=16)
    )
    run = "predict_files(load('fast'), ['in'], 'out.parquet', execution=OPTIONS, progress=progress)"
    command = [sys.executable, "-c", _ALONE + run.replace("progress)", "kill_one)"), str(Path(__file__).parent)]
    home = str(Path(tuningfork.__file__).parents[1])
    options = {"cwd": tmp_path, "env": {**os.environ, "PYTHONPATH": home}, "text": True}
    done = subprocess.run(command, capture_output=True, check=False, **options)
    assert done.returncode == 0, done.stderr
    # Ray itself may say that it tries again what the killed actor did: it depends on when its connection is lost.
    of_ours = [line for line in done.stdout.splitlines() if "(raylet)" not in line or "will be retried" not in line]
    assert (of_ours, done.stderr) == ([], "")
    ours, local = (pq.read_table(tmp_path / name) for name in ("out.parquet", "local.parquet"))
    assert ours.drop_columns("path").equals(local.drop_columns("path"))

    stopped = run.replace("out.parquet", "stopped").replace("progress)", "hold)")
    with subprocess.Popen(
        [sys.executable, "-c", _ALONE + stopped, command[-1]], stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options
    ) as process:
        assert process.stdout
        assert next(process.stdout) == "0\n"
        assert next(process.stdout)
        mine = _descendants(process.pid)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert said.rstrip().endswith("KeyboardInterrupt")
    assert mine
    assert not [pid for pid in mine if _alive(pid)]


@pytest.mark.parametrize("name", ["iter_threaded", "Prefetcher"])
def test_ray_is_shut_down_after_the_threads_that_use_it(monkeypatch, name):
    """Ray ends the process of a thread that frees references afterwards, with exit code 1 and no word."""
    calls, started = [], threading.Event()

    def use():
        started.set()
        time.sleep(0.2)
        calls.append("thread")

    ray = SimpleNamespace(
        is_initialized=lambda: False, init=lambda **_: None, shutdown=lambda: calls.append("shutdown")
    )
    monkeypatch.setitem(sys.modules, "ray", ray)
    with ray_cluster(None):
        thread = threading.Thread(target=use, name=name, daemon=True)
        thread.start()
        started.wait()
    thread.join()
    # One of its threads waits for ever, and so is not waited for.
    assert calls == (["shutdown", "thread"] if name == "Prefetcher" else ["thread", "shutdown"])


def _alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
