"""A batch system's array as it is documented: its tasks run at once, one is killed, and the folder is whole."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.dataset
import pytest
from PIL import Image

from tuningfork.simulate import draw, render

SCRIPT = Path(__file__).parents[1] / "docs" / "survey.sbatch"


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="a shell script")
def test_an_array_of_jobs_writes_one_folder(tmp_path):
    pictures, output = tmp_path / "in", tmp_path / "votes"
    pictures.mkdir()
    for index in range(6):
        Image.fromarray(render(draw(4, index))).save(pictures / f"{index}.jpg")
    for index in range(6, 600):
        os.link(pictures / f"{index % 6}.jpg", pictures / f"{index}.jpg")

    def task(number):
        environment = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "SLURM_ARRAY_TASK_ID": str(number),
            "SLURM_ARRAY_TASK_COUNT": "3",
            "SLURM_CPUS_PER_TASK": "1",
        }
        words = ["sh", str(SCRIPT), str(pictures), str(output), "--model", "fast"]
        return subprocess.Popen(words, env=environment, stdout=subprocess.DEVNULL)

    tasks = [task(number) for number in (1, 2, 3)]
    # Killed once it is at work; the others go on.
    deadline = time.monotonic() + 60
    while not list(output.glob("part-*")) and time.monotonic() < deadline:
        time.sleep(0.05)
    tasks[1].send_signal(signal.SIGKILL)
    tasks[1].wait()
    tasks[1] = task(2)
    assert [each.wait(timeout=240) for each in tasks] == [0, 0, 0]
    ids = pyarrow.dataset.dataset(output).to_table(columns=["id"])["id"].to_pylist()
    assert sorted(ids, key=int) == [str(number) for number in range(600)]
    manifest = json.loads((output / "_manifest.json").read_text())
    assert manifest["complete"]
    assert manifest["shards"] == 3
