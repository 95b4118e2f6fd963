"""Processes that die are replaced, what they were at is done again, and nothing is lost, doubled or left behind."""

import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

import tuningfork
from tuningfork._utils.environment import available_cores, child_environment, python_command
from tuningfork._utils.processes import Worker, WorkerCrash, WorkerError, WorkerTimeout, run_tasks

TESTS = Path(__file__).parent


@dataclass(frozen=True)
class Squares:
    """Squares numbers; a task may ask it to die, to raise, to print or to sleep."""

    folder: str = ""

    def open(self):
        def answer(task, send):
            if task == "die":
                os.kill(os.getpid(), signal.SIGKILL)
            if task == "die once" and not os.path.exists(self.folder + "/died"):
                open(self.folder + "/died", "w").close()
                send("dying")
                os._exit(7)
            if task == "raise":
                raise ValueError("no such number")
            if task == "print":
                print("noise on stdout")
                os.system("echo more noise")
            if task == "sleep":
                time.sleep(60)
            if task == "report and sleep":
                send("awake")
                time.sleep(60)
            if task == "reports":
                for _ in range(4):
                    time.sleep(0.2)
                    send("awake")
                return "done"
            if task == "allocate":
                return len(bytearray(2**30))
            if task == "pid":
                return os.getpid()
            send("squaring")
            return task * task if isinstance(task, int) else task

        return answer


@pytest.fixture(autouse=True)
def importable(monkeypatch):
    # A worker runs the package's code; here it must find the test's job too.
    monkeypatch.setenv(
        "PYTHONPATH", os.pathsep.join([str(TESTS), str(TESTS.parents[1]), str(Path(tuningfork.__file__).parents[1])])
    )


@pytest.fixture
def make_workers(tmp_path):
    made = []

    def make(count):
        made.extend(Worker(Squares(str(tmp_path))) for _ in range(count))
        return made[-count:]

    yield make
    for worker in made:
        worker.close()


def _simply(worker, task, report):
    yield worker.run(task, lambda message: None)


@pytest.mark.parametrize("count", [1, 3])
def test_every_task_is_answered_once(make_workers, count):
    assert sorted(run_tasks(range(20), make_workers(count), _simply)) == [n * n for n in range(20)]


def test_messages_of_a_worker_reach_the_caller(make_workers):
    heard = []
    assert make_workers(1)[0].run(3, heard.append) == 9
    assert heard == ["squaring"]


def test_what_a_library_prints_does_not_come_between(make_workers, capfd):
    (worker,) = make_workers(1)
    assert worker.run("print", print) == "print"
    assert worker.run(4, lambda message: None) == 16
    assert "noise" in capfd.readouterr().err


def test_a_dead_worker_is_replaced_and_its_last_message_kept(make_workers):
    (worker,) = make_workers(1)
    with pytest.raises(WorkerCrash) as caught:
        worker.run("die once", lambda message: None)
    assert (caught.value.exit_code, caught.value.last_message) == (7, "dying")
    assert worker.run("die once", lambda message: None) == "die once"
    with pytest.raises(WorkerCrash) as caught:
        worker.run("die", lambda message: None)
    assert caught.value.exit_code == -signal.SIGKILL
    assert worker.run(5, lambda message: None) == 25


def test_what_a_task_raises_ends_the_run(make_workers):
    with pytest.raises(WorkerError, match="ValueError: no such number"):
        list(run_tasks([1, "raise", *range(100)], make_workers(2), _simply))


def test_tasks_are_taken_as_they_are_needed(make_workers):
    taken = 0

    def tasks():
        nonlocal taken
        for number in range(1000):
            taken += 1
            yield number

    answers = run_tasks(tasks(), make_workers(2), _simply)
    for _ in range(10):
        next(answers)
    time.sleep(0.3)
    # Two under way, two answered, and two that wait to be fetched.
    assert taken <= 10 + 3 * 2 + 1
    answers.close()


def test_a_source_that_fails_is_reported(make_workers):
    def tasks():
        yield 1
        raise OSError("the listing is gone")

    with pytest.raises(OSError, match="listing"):
        list(run_tasks(tasks(), make_workers(2), _simply))


def test_leaving_in_the_middle_ends_the_processes(make_workers):
    pids = []

    def drive(worker, task, report):
        yield worker.run("pid", lambda message: None)
        yield worker.run("sleep", lambda message: None)

    answers = run_tasks(iter(int, 1), make_workers(2), drive)
    pids = [next(answers), next(answers)]
    answers.close()
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_when_the_parent_is_killed_its_workers_end(tmp_path):
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from test_processes import Squares, Worker\n"
        "worker = Worker(Squares())\n"
        "print(worker.run('pid', print), flush=True)\n"
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
        code += "from tuningfork._utils.environment import available_cores; print(available_cores())"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert done.stdout == "1\n"


def test_a_job_is_small_enough_to_send(make_workers):
    assert len(pickle.dumps(Squares())) < 1000


def test_modules_of_the_current_folder_are_never_imported(tmp_path, monkeypatch):
    # A stranger's data folder may hold files with names of modules.
    names = [
        "random",
        "numpy",
        "torch",
        "pickle",
        "struct",
        "queue",
        "tuningfork",
        "sitecustomize",
        "onnxruntime",
        "json",
    ]
    for name in names:
        (tmp_path / f"{name}.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'a').write({name!r})")
    monkeypatch.chdir(tmp_path)
    importable = os.environ["PYTHONPATH"]
    monkeypatch.setenv("PYTHONPATH", f"{os.pathsep}{importable}{os.pathsep}")
    with closing(Worker(Squares())) as worker:
        assert worker.run(3, lambda message: None) == 9
    code = "import random, json, numpy, tuningfork"
    subprocess.run(python_command("-c", code), env=child_environment(), check=True, timeout=60)
    assert not (tmp_path / "ran").exists()


def test_children_are_started_in_one_way_that_imports_nothing_from_the_current_folder():
    source = Path(tuningfork.__file__).parent
    users = {str(file.relative_to(source)) for file in source.rglob("*.py") if "sys.executable" in file.read_text()}
    assert users == {"_utils/environment.py"}
    assert "-P" in python_command()


def test_a_task_that_takes_too_long_is_killed_and_the_next_one_gets_a_new_process():
    with closing(Worker(Squares())) as worker:
        pid = worker.run("pid")
        begun = time.monotonic()
        with pytest.raises(WorkerTimeout, match=r"0\.2 s"):
            worker.run("sleep", timeout=0.2)
        assert time.monotonic() - begun < 5
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
        assert worker.run(3, timeout=20) == 9


def test_a_task_that_reports_nothing_for_too_long_is_killed():
    with closing(Worker(Squares())) as worker:
        worker.run(3)
        with pytest.raises(WorkerTimeout, match=r"0\.5 s") as timeout:
            worker.run("report and sleep", idle=0.5)
        assert timeout.value.last_message == "awake"
        # Reports begin the time anew.
        assert worker.run("reports", idle=0.5) == "done"


@pytest.mark.skipif(sys.platform != "linux", reason="limits of memory")
def test_a_worker_that_is_closed_while_its_process_starts_leaves_none(monkeypatch):
    started, real = threading.Event(), subprocess.Popen
    processes = []

    def slow(*words, **options):
        started.set()
        time.sleep(0.2)
        processes.append(real(*words, **options))
        return processes[-1]

    monkeypatch.setattr(subprocess, "Popen", slow)
    worker = Worker(Squares())
    failures = []

    def run():
        try:
            worker.run("sleep")
        except (WorkerCrash, WorkerError) as error:
            failures.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    started.wait(60)
    worker.close()
    thread.join(30)
    assert not thread.is_alive()
    assert [process.poll() is None for process in processes] == [False]
    assert len(failures) == 1


def test_a_task_that_wants_too_much_memory_fails_and_the_process_goes_on():
    with closing(Worker(Squares(), memory_limit=2**29)) as worker:
        with pytest.raises(WorkerError, match="MemoryError"):
            worker.run("allocate")
        assert worker.run(3) == 9


def test_that_no_process_can_be_started_is_no_crash_of_the_task(monkeypatch):
    def fail(*_, **__):
        raise OSError(24, "Too many open files")

    with closing(Worker(Squares())) as worker:
        with monkeypatch.context() as broken:
            broken.setattr(subprocess, "Popen", fail)
            with pytest.raises(OSError, match="open files"):
                worker.run(3)
        assert worker.run(3) == 9
