"""What several tests share."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from typer.testing import CliRunner, Result

from tuningfork.cli import app
from tuningfork.votes.tree import DecisionTree
from tuningfork.votes.tree_files import load_tree

# On a busy machine an example may take as long as it likes.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")
# A shell starts programs in its background with interrupts ignored, and so would be what the tests start and interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder that holds `data/`; TUNINGFORK_SHARED names another one."""
    folder = Path(os.environ.get("TUNINGFORK_SHARED") or Path(__file__).parents[2] / "shared")
    if not folder.is_dir():
        pytest.skip(f"{folder} is not there; name the folder of real galaxies in TUNINGFORK_SHARED")
    return folder


@pytest.fixture(scope="session")
def gz2() -> DecisionTree:
    return load_tree("gz2")


@pytest.fixture
def run() -> Callable[..., Result]:
    """Run a command in this process; it must end with the exit code `code`."""

    def invoke(*words: object, code: int = 0) -> Result:
        result = CliRunner().invoke(app, [str(word) for word in words])
        assert result.exit_code == code, result.output
        return result

    return invoke


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium, started once for a module; between modules there is none, since its event loop hinders others."""
    pytest.importorskip("playwright.sync_api")
    from pages import chromium

    with chromium() as opened:
        yield opened


@pytest.fixture
def interrupted() -> Callable[..., str]:
    """Run a command, send it SIGINT once it prints a line that begins with `line`; gives what it prints after that."""
    if sys.platform == "win32":
        pytest.skip("no SIGINT to send")

    def invoke(*words: object, line: str) -> str:
        command = [sys.executable, "-m", "tuningfork", *map(str, words)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        with subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environment
        ) as process:
            assert process.stderr is not None
            lines = []
            try:
                for text in process.stderr:
                    lines.append(text)
                    if text.lstrip().startswith(line):
                        process.send_signal(signal.SIGINT)
                        break
                _, rest = process.communicate(timeout=400)
            finally:
                process.kill()
        assert process.returncode == 130, "".join(lines) + rest
        return rest

    return invoke


@pytest.fixture
def with_gaps(tmp_path: Path) -> Callable[..., tuple[Path, list[Path]]]:
    """A folder of images like another one, but incomplete; gives it and all the other one's files in order.

    It holds the first `kept`, of which number `broken` is damaged, and an image of the ID `unknown`.
    """

    def make(images: Path, *, kept: int, broken: int, unknown: str) -> tuple[Path, list[Path]]:
        folder, paths = tmp_path / "images", sorted(images.iterdir())
        folder.mkdir()
        for path in paths[:kept]:
            (folder / path.name).write_bytes(path.read_bytes())
        (folder / paths[broken].name).write_bytes(b"broken")
        (folder / f"{unknown}.jpg").write_bytes(paths[0].read_bytes())
        return folder, paths

    return make
