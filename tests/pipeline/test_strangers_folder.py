"""A stranger's folder: none of its code runs, nothing calls home, and nothing in it vanishes from the count."""

import gzip
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

import tuningfork
from tuningfork.images.find import find_images
from tuningfork.inputs import find_items
from tuningfork.inputs.fits_kind import holds_table
from tuningfork.inputs.zip import zip_members
from tuningfork.pipeline import manifest
from tuningfork.pipeline.predict import ExecutionOptions, left_out_text, predict_files
from tuningfork.simulation import draw, render

SRC = str(Path(tuningfork.__file__).parents[1])


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    path = tmp_path_factory.mktemp("image") / "galaxy.jpg"
    Image.fromarray(render(draw(2, 0))).resize((96, 96)).save(path, quality=90)
    return path


@pytest.fixture(scope="module")
def model():
    return tuningfork.load("fast", threads=1)


def tuningfork_command(*words, folder, **environment):
    env = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    command = [sys.executable, "-P", "-m", "tuningfork", *map(str, words)]
    env |= {"PYTHONPATH": SRC, "OMP_NUM_THREADS": "1", **environment}
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)


PLANTED = (
    *("random", "numpy", "pyarrow", "PIL", "onnxruntime", "simplejpeg", "json", "pickle", "struct", "typer", "rich"),
    *("tuningfork", "sitecustomize", "usercustomize", "torch", "astropy", "tempfile", "socket", "types", "this"),
)


def test_no_code_of_the_folder_runs_and_nothing_calls_home(image, tmp_path):
    folder, home = tmp_path / "folder", tmp_path / "home"
    folder.mkdir()
    home.mkdir()
    for number in range(2):
        shutil.copy(image, folder / f"{number}.jpg")
    for name in PLANTED:
        (folder / f"{name}.py").write_text(f"open({str(tmp_path / 'executed')!r}, 'a').write({name!r})\n")
    homes = {"HOME": str(home), "XDG_CACHE_HOME": str(home / "cache"), "XDG_CONFIG_HOME": str(home / "config")}
    words = ("predict", ".", "-o", "votes.parquet", "--model", "fast", "--workers", 2)
    done = tuningfork_command(*words, folder=folder, **homes)
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "executed").exists()
    assert [str(path) for path in home.rglob("*") if path.is_file()] == []
    assert f".py {len(PLANTED)}" in done.stderr


@pytest.mark.skipif(not shutil.which("strace"), reason="needs strace")
@pytest.mark.slow
def test_a_prediction_opens_no_connection(image, tmp_path):
    command = [
        *("strace", "-f", "-qq", "-e", "trace=connect", "-o", tmp_path / "calls"),
        *(sys.executable, "-P", "-m", "tuningfork", "predict", image, "--model", "fast"),
    ]  # fmt: skip
    env = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    subprocess.run(command, env=env | {"PYTHONPATH": SRC, "HOME": str(tmp_path)}, capture_output=True, check=True)
    assert "AF_INET" not in (tmp_path / "calls").read_text()


def test_the_environment_turns_telemetry_off_before_anything_is_imported():
    code = "import tuningfork, os, sys; print(os.environ['ORT_DISABLE_TELEMETRY'], 'onnxruntime' in sys.modules)"
    env = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"} | {"PYTHONPATH": SRC}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1", "False"]


@pytest.fixture
def project(image, tmp_path):
    """One image, and beside it one of each kind that is left out."""
    folder, other = tmp_path / "project", tmp_path / "other"
    folder.mkdir()
    other.mkdir()
    shutil.copy(image, folder / "a.jpg")
    shutil.copy(image, other / "linked.jpg")
    os.symlink(other, folder / "field2")
    os.symlink(folder, folder / "circle")
    (folder / ".hidden").mkdir()
    for name in (".hidden/b.jpg", ".c.jpg", "notes.txt", "more.TXT", "README", "table.csv.gz"):
        (folder / name).write_bytes(b"x")
    return folder


LEFT_OUT = {"hidden": 2, "linked folders": 2, ".txt": 2, "without extension": 1, ".gz": 1}


def test_what_is_left_out_is_counted_and_reported(run, project, tmp_path):
    output = tmp_path / "votes.parquet"
    done = run("predict", project, "-o", output, "--model", "fast", "--json")
    assert json.loads(done.stdout)["left_out"] == LEFT_OUT
    assert f"left out: {left_out_text(LEFT_OUT)}" in done.stderr
    assert "left out: " in run("predict", project, "--model", "fast").stderr
    for name in ("a.jpg", "table.csv.gz"):
        (project / name).unlink()
    nothing = run("predict", project, "-o", output, "--overwrite", code=1).stderr
    assert "no image in" in nothing
    assert "left out: .txt 2, hidden 2, linked folders 2, without extension 1" in nothing


def test_an_interrupted_run_remembers_what_was_left_out(model, project, tmp_path):
    predict_files(model, [project], tmp_path / "votes", execution=ExecutionOptions(workers=1))
    summary = predict_files(model, [project], tmp_path / "votes", execution=ExecutionOptions(workers=1, resume=True))
    assert summary.left_out == LEFT_OUT


def test_what_archives_hold_beside_images_is_counted(image, tmp_path):
    from collections import Counter

    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for name in ("x/a.jpg", "x/.b.jpg", ".git/config", "x/readme.md", "b.fits.gz"):
            archive.writestr(name, image.read_bytes())
    left_out = Counter()
    assert [item.id for item in find_items([tmp_path / "a.zip"], left_out=left_out)] == ["a", "b"]
    assert left_out == {"hidden": 2, ".md": 1}


def test_compressed_fits_of_a_folder_are_images(tmp_path):
    for name in ("g1.fits", "g2.FITS.GZ", "g3.fits.fz", "g4.csv.gz"):
        (tmp_path / name).write_bytes(b"x")
    assert [path.name for path in find_images([tmp_path])] == ["g1.fits", "g2.FITS.GZ", "g3.fits.fz"]


def test_names_are_read_where_the_locale_knows_only_ascii(image, tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    shutil.copy(image, folder / "ünï 銀河.JPG")
    (tmp_path / "table.csv").write_text("id,path\nNGC é,images/ünï 銀河.JPG\n", encoding="utf-8")
    ascii_only = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    for source, name in ((folder, "ünï 銀河"), ("table.csv", "NGC é")):
        words = ("predict", source, "-o", "votes.parquet", "--overwrite", "--model", "fast")
        done = tuningfork_command(*words, folder=tmp_path, **ascii_only)
        assert done.returncode == 0, done.stderr
        (row,) = pq.read_table(tmp_path / "votes.parquet").to_pylist()
        assert (row["id"], row["error"]) == (name, "")


def test_fits_tables_are_reported_from_images(tmp_path):
    fits = pytest.importorskip("astropy.io.fits")
    columns = fits.ColDefs([fits.Column("id", "J", array=[1, 2])])
    plus = fits.PrimaryHDU(np.frombuffer(b"<VOTABLE/>", np.uint8))
    plus.header["VOTMETA"] = True
    for name, first, expected in (
        ("plus", plus, True),
        ("basic", fits.PrimaryHDU(), True),
        ("image", fits.PrimaryHDU(np.zeros((8, 8))), False),
    ):
        path = tmp_path / f"{name}.fits"
        fits.HDUList([first, fits.BinTableHDU.from_columns(columns)]).writeto(path)
        Path(f"{path}.gz").write_bytes(gzip.compress(path.read_bytes()))
        assert holds_table(str(path)) == holds_table(f"{path}.gz") == expected
    (tmp_path / "cut.fits.gz").write_bytes(gzip.compress((tmp_path / "basic.fits").read_bytes())[:-20])
    assert not holds_table(str(tmp_path / "cut.fits.gz"))


def test_a_run_of_another_version_is_continued_with_a_warning(model, image, tmp_path, monkeypatch, caplog):
    folder = tmp_path / "votes"
    predict_files(model, [image], folder, execution=ExecutionOptions(workers=1))
    content = json.loads((folder / manifest.MANIFEST).read_text())
    (folder / manifest.MANIFEST).write_text(json.dumps({**content, "tuningfork": "0.0.1"}))
    caplog.set_level("WARNING", "tuningfork")
    predict_files(model, [image], folder, execution=ExecutionOptions(workers=1, resume=True))
    assert "was begun by tuningfork 0.0.1" in caplog.text


def test_overlapping_members_of_a_zip_are_not_unpacked(tmp_path):
    """As of a zip bomb: entries of the directory that all point at, or into, one member's bytes."""
    from tuningfork.inputs.byte_source import LocalFile

    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("a.jpg", "b.jpg", "c.jpg"):
            archive.writestr(name, b"x" * 1000)
    assert [member.problem for member in zip_members(LocalFile(str(path)))] == ["", "", ""]
    data = bytearray(path.read_bytes())
    second = data.index(b"PK\1\2", data.index(b"PK\1\2") + 1)
    data[second + 42 : second + 46] = (0).to_bytes(4, "little")
    path.write_bytes(data)
    problems = [member.problem for member in zip_members(LocalFile(str(path)))]
    assert sum("overlap" in problem for problem in problems) >= 1
    assert problems[2] == ""


@pytest.mark.skipif(sys.platform != "linux", reason="signals")
@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGKILL, marks=pytest.mark.slow)])
def test_a_run_that_is_ended_leaves_what_resume_needs_and_nothing_else(image, tmp_path, number):
    folder = tmp_path / "in"
    folder.mkdir()
    for index in range(160):
        os.link(image, folder / f"{index:03d}.jpg")
    words = ("predict", "in", "-o", "votes.parquet", "--model", "fast", "--workers", "2")
    env = {**os.environ, "PYTHONPATH": SRC, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        [sys.executable, "-P", "-m", "tuningfork", *words], cwd=tmp_path, env=env, stderr=subprocess.PIPE, text=True
    ) as process:
        while not list(tmp_path.glob("votes.parquet.parts/part-*")):
            assert process.poll() is None
            time.sleep(0.02)
        process.send_signal(number)
        _, stderr = process.communicate(timeout=30)
    if number == signal.SIGTERM:
        assert process.returncode == 128 + number
        assert "terminated" in stderr
        assert not [path.name for path in tmp_path.iterdir() if path.name.endswith((".lock", ".part"))]
    done = tuningfork_command(*words, "--resume", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "votes.parquet"]
    assert pq.read_table(tmp_path / "votes.parquet", columns=["id"]).num_rows == 160
