"""Processes that die are replaced, what they were at is done again, and nothing is lost, doubled or left behind."""

import os
import pickle
import signal
import subprocess
import sys
import time
from dataclasses import dataclass

import pytest

from tuningfork._utils.processes import Died, Worker, WorkerError, available_cores, work_through


@dataclass(frozen=True)
class Squares:
    """Squares numbers; a task may ask it to die, to raise, to print or to sleep."""

    folder: str = ""

    def open(self):
        def answer(task, say):
            if task == "die":
                os.kill(os.getpid(), signal.SIGKILL)
            if task == "die once" and not os.path.exists(self.folder + "/died"):
                open(self.folder + "/died", "w").close()
                say("dying")
                os._exit(7)
            if task == "raise":
                raise ValueError("no such number")
            if task == "print":
                print("noise on stdout")
                os.system("echo more noise")
            if task == "sleep":
                time.sleep(60)
            if task == "pid":
                return os.getpid()
            say("squaring")
            return task * task if isinstance(task, int) else task

        return answer


@pytest.fixture(autouse=True)
def importable(monkeypatch):
    # A worker runs the package's code; here it must find the test's job too.
    monkeypatch.setenv("PYTHONPATH", os.path.dirname(__file__))


@pytest.fixture
def crew(tmp_path):
    made = []

    def make(count):
        made.extend(Worker(Squares(str(tmp_path))) for _ in range(count))
        return made[-count:]

    yield make
    for worker in made:
        worker.close()


def _simply(worker, task, tell):
    yield worker.do(task, lambda said: None)


@pytest.mark.parametrize("count", [1, 3])
def test_every_task_is_answered_once(crew, count):
    assert sorted(work_through(range(20), crew(count), _simply)) == [n * n for n in range(20)]


def test_what_a_worker_says_is_heard(crew):
    heard = []
    assert crew(1)[0].do(3, heard.append) == 9
    assert heard == ["squaring"]


def test_what_a_library_prints_does_not_come_between(crew, capfd):
    (worker,) = crew(1)
    assert worker.do("print", print) == "print"
    assert worker.do(4, lambda said: None) == 16
    assert "noise" in capfd.readouterr().err


def test_a_dead_worker_is_replaced_and_its_last_words_kept(crew):
    (worker,) = crew(1)
    with pytest.raises(Died) as caught:
        worker.do("die once", lambda said: None)
    assert (caught.value.exit_code, caught.value.said) == (7, "dying")
    assert worker.do("die once", lambda said: None) == "die once"
    with pytest.raises(Died) as caught:
        worker.do("die", lambda said: None)
    assert caught.value.exit_code == -signal.SIGKILL
    assert worker.do(5, lambda said: None) == 25


def test_what_a_worker_raises_ends_it_all(crew):
    with pytest.raises(WorkerError, match="ValueError: no such number"):
        list(work_through([1, "raise", *range(100)], crew(2), _simply))


def test_tasks_are_taken_as_they_are_needed(crew):
    taken = 0

    def tasks():
        nonlocal taken
        for number in range(1000):
            taken += 1
            yield number

    answers = work_through(tasks(), crew(2), _simply)
    for _ in range(10):
        next(answers)
    time.sleep(0.3)
    # Two under way, two answered, and two that wait to be fetched.
    assert taken <= 10 + 3 * 2 + 1
    answers.close()


def test_a_source_that_fails_is_told(crew):
    def tasks():
        yield 1
        raise OSError("the listing is gone")

    with pytest.raises(OSError, match="listing"):
        list(work_through(tasks(), crew(2), _simply))


def test_leaving_in_the_middle_ends_the_processes(crew):
    pids = []

    def drive(worker, task, tell):
        yield worker.do("pid", lambda said: None)
        yield worker.do("sleep", lambda said: None)

    answers = work_through(iter(int, 1), crew(2), drive)
    pids = [next(answers), next(answers)]
    answers.close()
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_when_the_parent_is_killed_its_workers_end(tmp_path):
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from test_processes import Squares, Worker\n"
        "worker = Worker(Squares())\n"
        "print(worker.do('pid', print), flush=True)\n"
        "import time; time.sleep(60)"
    )
    command = [sys.executable, "-c", code, os.path.dirname(__file__)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        pid = int(parent.stdout.readline())
        os.kill(pid, 0)
        parent.kill()
        parent.wait()
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return
        time.sleep(0.05)
    pytest.fail("the worker goes on without its parent")


def test_cores_are_those_that_this_process_may_use():
    assert 1 <= available_cores() <= os.cpu_count()
    if hasattr(os, "sched_setaffinity"):
        code = "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
        code += "from tuningfork._utils.processes import available_cores; print(available_cores())"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert done.stdout == "1\n"


def test_a_job_is_small_enough_to_send(crew):
    assert len(pickle.dumps(Squares())) < 1000
