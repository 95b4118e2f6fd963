"""Prediction on a Ray cluster: the same bytes as on this machine, whatever dies, comes or goes."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import tuningfork
from tuningfork.engines import ray as engine
from tuningfork.engines import tickets
from tuningfork.engines.crew import ACTOR_CPUS, READ_CPUS, Crew
from tuningfork.engines.tickets import Feed
from tuningfork.inputs import Entry
from tuningfork.predict import PredictError, predict_files
from tuningfork.simulate import draw, render
from tuningfork.work import Task
from tuningfork.workers import WorkerError

# Ray leaves files and sockets to the garbage collector, and warns of its own future.
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:ray"),
    pytest.mark.filterwarnings("ignore::FutureWarning:ray"),
]

# ---------------------------------------------------------------- without a cluster


@given(st.integers(3, 40_000).map(lambda quarters: quarters / 4), st.integers(0, 5000), st.integers(0, 64))
def test_readers_always_have_room(cpus, workers, gpus):
    crew = Crew.of(cpus, gpus, workers)
    assert crew.actors >= 1
    assert crew.fits(cpus, gpus)
    assert crew.actors * ACTOR_CPUS + READ_CPUS <= cpus
    assert crew.actors <= max(1, 2 * cpus)
    assert not workers or crew.actors <= workers
    assert crew.gpus * crew.actors <= gpus


@given(st.integers(2, 10_000))
def test_half_of_the_nodes_may_go(cpus):
    assert Crew.of(cpus).actors == cpus
    assert Crew.of(cpus).fits(cpus / 2)


def test_actors_go_where_the_gpus_are():
    assert Crew.of(64, 4) == Crew(4, 1)
    assert Crew.of(64, 4, workers=2) == Crew(2, 1)
    assert Crew.of(64, 0) == Crew(64)
    assert not Crew.of(64, 4).fits(64, 3)


@pytest.mark.parametrize("cpus", [0, 0.5])
def test_a_cluster_without_room_is_told(cpus):
    with pytest.raises(WorkerError, match="add a node"):
        Crew.of(cpus)


def test_without_ray_the_remedy_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(engine.MissingRay, match=r"pip install 'tuningfork\[ray\]'"):
        engine.check()


def _task(number, rows, kind="file"):
    return Task(number, [Entry(f"{number}-{row}", f"{number}-{row}", kind, "x") for row in range(rows)])


class _Told:
    """Stands for the predictions of some entries."""

    def __init__(self, entries):
        self.ids = [entry.id for entry in entries]


@given(
    st.lists(st.lists(st.integers(1, 40), min_size=1, max_size=4), max_size=12),
    st.integers(1, 16),
    st.sampled_from(["file", "row"]),
    st.randoms(use_true_random=False),
)
def test_every_row_goes_out_once_and_comes_back_in_order(groups, size, kind, chance):
    numbers = iter(range(1000))
    tasks = [[_task(next(numbers), rows, kind) for rows in group] for group in groups]
    feed = Feed(iter(tasks), size)
    whole, given_out = {}, []
    while feed.more():
        given_out += [(ticket.number, i, part) for ticket in feed.tickets(0.01) for i, part in ticket.slices.items()]
        number, index, part = given_out.pop(chance.randrange(len(given_out)))
        assert len(part.entries) <= size
        rows, done = feed.settle(number, index, [_Told(part.entries)])
        assert rows == len(part.entries)
        assert feed.settle(number, index, [_Told(part.entries)]) == (0, None)
        if done:
            whole[done.task.number] = [name for told in done.predictions() for name in told.ids]
    assert whole == {task.number: [entry.id for entry in task.entries] for group in tasks for task in group}


def test_few_parts_are_under_way_however_many_there_are():
    drawn = 0

    def groups():
        nonlocal drawn
        for number in range(10_000):
            drawn += 1
            yield [_task(number, 64)]

    feed = Feed(groups(), 64)
    out = list(feed.tickets(2))
    assert sum(len(part.entries) for ticket in out for part in ticket.slices.values()) == 2 * tickets.ROWS_PER_CPU
    assert drawn <= 2 * tickets.ROWS_PER_CPU / 64 + 1
    assert list(feed.tickets(2)) == []
    feed.settle(out[0].number, 0, [])
    assert len(list(feed.tickets(2))) == 1


def test_rows_of_one_table_stay_together():
    tickets_ = list(Feed(iter([[_task(0, 20, "row"), _task(1, 20, "row")], [_task(2, 20)]]), 8).tickets(4))
    assert [[part.part for part in ticket.slices.values()] for ticket in tickets_] == [
        [0, 0, 0, 1, 1, 1],
        [2],
        [2],
        [2],
    ]


def test_the_ledger_knows_what_was_begun_and_which_row_killed():
    stages = pytest.importorskip("tuningfork.engines.stages")

    async def story():
        ledger = stages.Ledger()
        waiting = asyncio.ensure_future(ledger.number(0))
        await asyncio.sleep(0)
        assert not waiting.done()
        await ledger.add(list(Feed(iter([[_task(0, 4)]]), 4).tickets(1)))
        assert await waiting == 0
        assert (await ledger.begin(0))[1:] == ({}, 0)
        assert (await ledger.begin(0))[1:] == ({}, 1)
        await ledger.at(0, (0, 2))
        _, doomed, before = await ledger.begin(0)
        assert before == 2
        assert list(doomed) == [(0, 2)]
        await ledger.forget(0)
        assert await ledger.begin(0) is None
        await ledger.end()
        assert await ledger.number(1) is None

    asyncio.run(story())
