"""Files appear whole or not at all, and one process at a time holds a lock."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tuningfork._utils import files, locks
from tuningfork._utils.files import (
    OutputError,
    atomic_file,
    check_output,
    check_writable,
    part_of,
    reserved_output,
    write_text,
)
from tuningfork._utils.locks import lock

needs_locks = pytest.mark.skipif(not locks.has_locks(), reason="the system has no flock")
needs_root_limits = pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere"
)


def fail(code: int) -> object:
    def call(*args: object, **kwargs: object) -> None:
        raise OSError(code, os.strerror(code))

    return call


def test_a_file_appears_when_the_block_ends(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    with atomic_file(path) as part:
        part.write_text("whole")
        assert not path.exists()
    assert path.read_text() == "whole"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_the_part_lies_hidden_beside_the_file(tmp_path: Path) -> None:
    assert part_of(tmp_path / "a.txt") == tmp_path / ".a.txt.part"
    with atomic_file(tmp_path / "a.txt") as part:
        part.touch()
        assert part == tmp_path / ".a.txt.part"


@pytest.mark.parametrize(
    "error", [ValueError("bad"), KeyboardInterrupt(), SystemExit(1), OSError(errno.ENOSPC, "full")]
)
@pytest.mark.parametrize("sync", [True, False])
def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path: Path, error: BaseException, sync: bool) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(type(error)), atomic_file(path, sync=sync) as part:  # noqa: PT012
        part.write_text("half")
        raise error
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_an_error_before_anything_is_written_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="early"), atomic_file(tmp_path / "a.txt"):
        raise ValueError("early")
    assert os.listdir(tmp_path) == []


def test_a_block_that_writes_nothing_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("old")
    with pytest.raises(FileNotFoundError), atomic_file(tmp_path / "a.txt"):
        pass
    assert (tmp_path / "a.txt").read_text() == "old"


def test_an_old_file_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a long old text")
    write_text(tmp_path / "a.txt", "new")
    assert (tmp_path / "a.txt").read_text() == "new"


@needs_locks
def test_what_a_killed_run_left_is_removed(tmp_path: Path) -> None:
    part_of(tmp_path / "a.txt").write_text("half of a long old text")
    write_text(tmp_path / "a.txt", "new")
    assert (tmp_path / "a.txt").read_text() == "new"
    assert os.listdir(tmp_path) == ["a.txt"]


@pytest.mark.parametrize("kind", [str, Path])
def test_relative_paths_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: type) -> None:
    monkeypatch.chdir(tmp_path)
    check_writable(kind("a.txt"))
    write_text(kind("a.txt"), "here")
    (tmp_path / "sub").mkdir()
    write_text(kind("sub/../b.txt"), "there")
    assert sorted(os.listdir()) == ["a.txt", "b.txt", "sub"]


def test_text_is_utf8_with_the_newlines_it_has(tmp_path: Path) -> None:
    write_text(tmp_path / "a.txt", "größer\r\n×\n")
    assert (tmp_path / "a.txt").read_bytes() == "größer\r\n×\n".encode()


def test_a_text_that_has_no_utf8_leaves_the_old_file(tmp_path: Path) -> None:
    write_text(tmp_path / "a.txt", "old")
    with pytest.raises(UnicodeEncodeError):
        write_text(tmp_path / "a.txt", "\udcff")
    assert (tmp_path / "a.txt").read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


# ---------------------------------------------------------------- trouble


@pytest.mark.parametrize("call", ["fsync", "replace"])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EACCES])
def test_a_full_or_broken_disk_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, code: int
) -> None:
    write_text(tmp_path / "a.txt", "old")
    with monkeypatch.context() as broken:
        broken.setattr(files.os, call, fail(code))
        with pytest.raises(OSError, match=os.strerror(code)):
            write_text(tmp_path / "a.txt", "new")
    assert (tmp_path / "a.txt").read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


@pytest.mark.skipif(os.name != "posix", reason="file size limits are POSIX")
def test_a_file_size_limit_leaves_the_old_file(tmp_path: Path) -> None:
    import resource
    import signal

    write_text(tmp_path / "a.txt", "old")
    limits, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            write_text(tmp_path / "a.txt", "x" * 5000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert (tmp_path / "a.txt").read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


@pytest.mark.skipif(os.name != "posix", reason="only POSIX opens folders")
def test_a_folder_that_cannot_be_synced_is_no_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.fsync

    def fsync(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "Invalid argument")
        real(descriptor)

    monkeypatch.setattr(files.os, "fsync", fsync)
    write_text(tmp_path / "a.txt", "new")
    assert (tmp_path / "a.txt").read_text() == "new"


@pytest.mark.parametrize("sync", [True, False])
def test_bytes_and_folder_are_synced_in_this_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sync: bool) -> None:
    calls: list[str] = []
    real = {name: getattr(os, name) for name in ("fsync", "replace")}
    for name, function in real.items():
        monkeypatch.setattr(files.os, name, lambda *a, n=name, f=function: (calls.append(n), f(*a))[1])
    with atomic_file(tmp_path / "a.txt", sync=sync) as part:
        part.touch()
    assert calls[: 1 + sync] == (["fsync", "replace"] if sync else ["replace"])
    assert ("fsync" in calls) == sync


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no named pipes")
def test_a_pipe_is_not_replaced_by_a_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for act in (check_writable, lambda path: write_text(path, "x")):
        with pytest.raises(OSError, match="pipe: is a device or a pipe; name a file"):
            act(tmp_path / "pipe")
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)


@pytest.mark.skipif(not Path("/dev/null").exists(), reason="the system has no /dev/null")
def test_a_device_is_not_replaced_by_a_file(tmp_path: Path) -> None:
    (tmp_path / "null").symlink_to("/dev/null")
    with pytest.raises(OSError, match="is a device or a pipe"):
        write_text(tmp_path / "null", "x")
    assert (tmp_path / "null").is_symlink()


# ---------------------------------------------------------------- found out before the work


def test_a_writable_place_is_left_as_it_was(tmp_path: Path) -> None:
    check_writable(tmp_path / "a.txt")
    assert os.listdir(tmp_path) == []
    (tmp_path / "a.txt").write_text("old")
    check_writable(tmp_path / "a.txt")
    assert (tmp_path / "a.txt").read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_a_folder_is_told_apart(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError, match="is a folder; name a file in it"):
        check_writable(tmp_path)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="none: no such folder; make it first"):
        check_writable(tmp_path / "none" / "a.txt")


def test_a_file_in_place_of_the_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(FileNotFoundError, match="file: no such folder"):
        check_writable(tmp_path / "file" / "a.txt")


def test_a_name_that_is_too_long_is_reported(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="cannot be written: File name too long"):
        check_writable(tmp_path / ("x" * 254))


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EACCES])
def test_the_reason_and_its_number_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    monkeypatch.setattr(files.os, "open", fail(code))
    with pytest.raises(OSError, match=f"a.csv: cannot be written: {os.strerror(code)}") as caught:
        check_writable(tmp_path / "a.csv")
    assert caught.value.errno == code


@needs_root_limits
def test_a_forbidden_folder_is_reported(tmp_path: Path) -> None:
    folder = tmp_path / "locked"
    folder.mkdir(mode=0o500)
    with pytest.raises(PermissionError, match="cannot be written: Permission denied"):
        check_writable(folder / "a.txt")
    with pytest.raises(PermissionError):
        write_text(folder / "a.txt", "x")
    assert os.listdir(folder) == []


# ---------------------------------------------------------------- strangers and two writers


@pytest.mark.skipif(os.name != "posix", reason="links are POSIX")
def test_links_that_somebody_planted_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "victim").write_text("precious")
    for name in (".a.txt.part", ".a.txt.lock"):
        (tmp_path / name).symlink_to(tmp_path / "victim")
    write_text(tmp_path / "a.txt", "new")
    check_writable(tmp_path / "a.txt")
    with pytest.raises(OSError, match="Too many levels"), lock(tmp_path / ".a.txt.lock", ValueError()):
        pytest.fail("the link was followed")
    assert (tmp_path / "victim").read_text() == "precious"
    assert (tmp_path / "a.txt").read_text() == "new"
    assert sorted(os.listdir(tmp_path)) == [".a.txt.lock", ".a.txt.part", "a.txt", "victim"]


@needs_locks
def test_two_writers_of_one_file_do_not_meet(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    with atomic_file(path) as first:
        first.write_text("first")
        check_writable(path)  # another job's probe
        with atomic_file(path) as second:
            assert second != first
            second.write_text("second")
        assert path.read_text() == "second"
    assert path.read_text() == "first"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_many_writers_of_one_file_leave_a_complete_one(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: write_text(tmp_path / "a.txt", str(n % 10) * 10_000), range(200)))
    assert len(set((tmp_path / "a.txt").read_text())) == 1
    assert len((tmp_path / "a.txt").read_text()) == 10_000
    assert os.listdir(tmp_path) == ["a.txt"]


# ---------------------------------------------------------------- the output guard


def test_an_output_that_is_an_input_is_refused_by_any_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in.csv").write_text("precious")
    os.link(tmp_path / "in.csv", tmp_path / "hard.csv")
    (tmp_path / "soft.csv").symlink_to("in.csv")
    (tmp_path / "folder").mkdir()
    for name in ("in.csv", "./in.csv", "folder/../in.csv", str(tmp_path / "in.csv"), "hard.csv", "soft.csv"):
        with pytest.raises(OutputError, match="is an input of this command"):
            check_output(name, ["s3://b/c", "in.csv"], overwrite=True)
    with pytest.raises(OutputError, match="is an input of this command"):
        check_output("folder", [tmp_path / "folder"], overwrite=True, is_folder=True)
    check_output("new.csv", ["in.csv", "missing"])


def test_what_exists_is_refused_without_overwrite(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("old")
    (tmp_path / "dangling.csv").symlink_to("nowhere")
    for name in ("a.csv", "dangling.csv"):
        with pytest.raises(OutputError, match="--overwrite"):
            check_output(tmp_path / name)
        check_output(tmp_path / name, overwrite=True)
    with pytest.raises(OutputError, match="is a file; name a folder"):
        check_output(tmp_path / "a.csv", is_folder=True, overwrite=True)
    with pytest.raises(OutputError, match="is not empty"):
        check_output(tmp_path, is_folder=True)
    check_output(tmp_path, is_folder=True, overwrite=True)
    (tmp_path / "empty").mkdir()
    check_output(tmp_path / "empty", is_folder=True)
    check_output(tmp_path / "none", is_folder=True)


@needs_locks
@pytest.mark.parametrize("is_folder", [False, True])
def test_the_second_of_two_runs_on_one_output_is_refused(tmp_path: Path, is_folder: bool) -> None:
    path = tmp_path / "out"
    for overwrite in (False, True):
        with reserved_output(path, is_folder=is_folder):
            with (
                pytest.raises(OutputError, match="another run is writing"),
                reserved_output(path, overwrite=overwrite, is_folder=is_folder),
            ):
                pytest.fail("both write")
            assert os.listdir(tmp_path) == [".out.lock"]
    assert os.listdir(tmp_path) == []


# ---------------------------------------------------------------- one process alone


@needs_locks
def test_who_comes_second_is_reported_and_the_first_goes_on(tmp_path: Path) -> None:
    path = tmp_path / ".lock"
    with lock(path, ValueError("busy")):
        with pytest.raises(ValueError, match="second"), lock(path, ValueError("second")):
            pytest.fail("both are in")
        # The refused one has not let the first one's lock go.
        with pytest.raises(ValueError, match="third"), lock(path, ValueError("third")):
            pytest.fail("both are in")
    assert os.listdir(tmp_path) == []
    with lock(path, ValueError("busy")):
        pass


@pytest.mark.parametrize("error", [BlockingIOError("of the work"), KeyboardInterrupt()])
def test_an_error_of_the_work_passes_and_lets_go(tmp_path: Path, error: BaseException) -> None:
    with pytest.raises(type(error)) as caught, lock(tmp_path / ".lock", ValueError("busy")):
        raise error
    assert caught.value is error
    assert os.listdir(tmp_path) == []


@needs_locks
def test_of_many_that_wait_one_is_in_at_a_time(tmp_path: Path) -> None:
    inside: list[int] = []
    most = []

    def work(number: int) -> None:
        with lock(tmp_path / ".lock"):
            inside.append(number)
            most.append(len(inside))
            time.sleep(0.001)
            inside.remove(number)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(200)))
    assert most == [1] * 200
    assert os.listdir(tmp_path) == []


@needs_locks
def test_the_lock_of_a_killed_process_is_in_nobodys_way(tmp_path: Path) -> None:
    path = str(tmp_path / ".lock")
    code = f"from tuningfork._utils.locks import lock\nwith lock({path!r}): print(flush=True); input()"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", code], **pipes) as process:
        assert process.stdout is not None
        process.stdout.readline()
        with pytest.raises(ValueError, match="busy"), lock(tmp_path / ".lock", ValueError("busy")):
            pytest.fail("both are in")
        process.kill()
        process.wait()
    assert os.listdir(tmp_path) == [".lock"]
    with lock(tmp_path / ".lock", ValueError("busy")):
        pass


def test_without_locks_the_work_is_done_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "fcntl", None)
    with lock(tmp_path / ".lock", ValueError("busy")), lock(tmp_path / ".lock", ValueError("busy")):
        assert os.listdir(tmp_path) == []
