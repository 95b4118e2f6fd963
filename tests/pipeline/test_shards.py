"""The recipe of docs/survey.md: a Slurm array's shards as processes, one of them killed, one table in the end."""

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from PIL import Image

import tuningfork
from tuningfork.pipeline.manifest import read_run
from tuningfork.simulation import draw, render

GUIDE = Path(__file__).parents[2] / "docs" / "survey.md"
SHARDS = 3


@pytest.fixture
def script(tmp_path):
    """The guide's batch script as a file, with the folders of this test."""
    (text,) = re.findall(r"```bash\n(#!/bin/bash\n#SBATCH.*?)```", GUIDE.read_text("utf-8"), re.DOTALL)
    assert re.search(r"^#SBATCH --array=1-(\d+)$", text, re.MULTILINE)
    bin_ = tmp_path / "bin"
    bin_.mkdir()
    # The command as installed, whatever the environment of the tests is.
    (bin_ / "tuningfork").write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m tuningfork "$@"\n')
    (bin_ / "tuningfork").chmod(0o755)
    for name, value in (("INPUT", "in"), ("OUTPUT", "votes"), ("MODEL", "fast")):
        text, changed = re.subn(rf"^{name}=.*$", f"{name}={value}", text, flags=re.MULTILINE)
        assert changed == 1
    (tmp_path / "shards.sbatch").write_text(text)
    return tmp_path / "shards.sbatch"


@pytest.fixture
def pictures(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    for index in range(40):
        Image.fromarray(render(draw(6, index))).resize((160, 160)).save(folder / f"{index:03d}.jpg", quality=90)
    for copy in range(1, 12):
        for index in range(40):
            os.link(folder / f"{index:03d}.jpg", folder / f"{copy:02d}-{index:03d}.jpg")
    (folder / "999.jpg").write_bytes(b"\xff\xd8\xff broken")
    return folder


def _shard(script, number):
    """A chunk of the array, its variables set as Slurm sets them."""
    variables = {
        "SLURM_ARRAY_TASK_ID": str(number),
        "SLURM_ARRAY_TASK_COUNT": str(SHARDS),
        "SLURM_CPUS_PER_TASK": "1",
        "PYTHONPATH": str(Path(tuningfork.__file__).parents[1]),
        "PATH": f"{script.parent / 'bin'}{os.pathsep}{os.environ['PATH']}",
    }
    return subprocess.Popen(
        ["bash", str(script)],
        cwd=script.parent,
        env={**os.environ, **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        process_group=0,
    )


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="Slurm runs on Linux")
def test_an_array_of_shards_with_one_killed_is_one_table(script, pictures, tmp_path):
    names = sorted(path.stem for path in pictures.iterdir())
    shards = {number: _shard(script, number) for number in range(1, SHARDS + 1)}
    # Slurm kills a chunk's whole group when its node fails.
    while not list((tmp_path / "votes").glob("part-*.parquet")):
        assert shards[2].poll() is None
        time.sleep(0.01)
    os.killpg(shards[2].pid, signal.SIGKILL)
    told = {number: (process.communicate(timeout=300), process.returncode) for number, process in shards.items()}
    assert told.pop(2)[1] == -signal.SIGKILL
    # One picture is broken: exit code 3, which is no failure of the chunk.
    for (_, said), code in told.values():
        assert code == 0, said
    run = read_run(tmp_path / "votes")
    missing = [number for number in range(run.parts) if not run.is_complete(number)]
    assert missing
    assert {number % SHARDS for number in missing} == {1}

    again = _shard(script, 2)
    (_, said), code = again.communicate(timeout=300), again.returncode
    assert code == 0, said
    merged = subprocess.run(
        [script.parent / "bin" / "tuningfork", "merge", "votes/", "-o", "votes.parquet"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(tuningfork.__file__).parents[1])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert merged.returncode in (0, 3), merged.stderr
    assert sorted(pq.read_table(tmp_path / "votes.parquet")["id"].to_pylist()) == names
    assert sorted(pq.read_table(tmp_path / "votes")["id"].to_pylist()) == names
