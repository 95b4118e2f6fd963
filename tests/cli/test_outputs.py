"""The output guard of every writing command: nothing is overwritten by mistake, and before anything is read."""

import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from typer.testing import CliRunner

from tuningfork._utils.files import reserved_output
from tuningfork.cli import app
from tuningfork.tables import read_table, write_table

#: Command → its words; {in} stands for an input that the output may be taken for, {out} for the output.
FILES = {
    "predict": "predict {in} -o {out}",
    "merge": "merge folder -o {out}",
    "classes": "classes {in} -o {out}",
    "rank": "rank {in} -o {out}",
    "select": "select {in} labels.csv -o {out}",
    "purity": "purity {in} labels.csv -o {out}",
    "match": "match {in} labels.csv --radius 1arcsec -o {out}",
    "index": "index {in} -o {out}",
    "map": "map {in} -o {out}",
    "demo": "demo -o {out}",
    "report": "report folder -o {out}",
    "similar": "similar picture.png --index {in} -o {out}",
    "label": "label folder --export {out}",
}
FOLDERS = {
    "calibrate": "calibrate fast --images {in} --labels labels.csv -o {out}",
    "trust": "study trust table.csv labels.csv --images {in} -o {out}",
    "hats": "merge {in} --hats -o {out}",
}
#: Those that go on with a folder of theirs.
RESUMABLE = {
    "train": "train --images {in} --labels labels.csv -o {out}",
    "cutouts": "cutouts table.csv --source {in} --size 60 -o {out}",
    "search": "study search --images {in} --labels labels.csv -o {out}",
    "folds": "study folds plan.toml --images {in} --labels labels.csv -o {out}",
    "paper": "study paper --data {in} -o {out}",
}
EXTENSION = {"map": ".html", "demo": ".html", "report": ".html", "similar": ".html"}


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("table.csv", "labels.csv"):
        Path(name).write_text("id,ra,dec,path\na,1,2,picture.png\n")
    Path("plan.toml").write_text("")
    Path("folder").mkdir()
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 255, (64, 64, 3), np.uint8)).save("picture.png")
    shutil.copy("picture.png", "folder/a.png")
    Path("folder/labels.sqlite").touch()
    return tmp_path


def run(words, source, output):
    words = [word.replace("{in}", str(source)).replace("{out}", str(output)) for word in words.split()]
    return CliRunner().invoke(app, words)


def contents():
    return {path: path.read_bytes() for path in sorted(Path().rglob("*")) if path.is_file()}


def test_an_output_that_exists_is_refused_without_overwrite(place):
    for extension in (".csv", ".html"):
        Path(f"old{extension}").write_text("precious")
    before = contents()
    wrong = []
    for name, words in FILES.items():
        result = run(words, "table.csv", f"old{EXTENSION.get(name, '.csv')}")
        if result.exit_code != 1 or "--overwrite" not in result.output:
            # The database of a labelling is opened first.
            wrong += [] if name == "label" and result.exit_code == 1 else [(name, result.exit_code, result.output)]
    for name, words in FOLDERS.items():
        Path("filled").mkdir(exist_ok=True)
        Path("filled/x").write_text("precious")
        result = run(words, "folder", "filled")
        if result.exit_code != 1 or "--overwrite" not in result.output:
            wrong.append((name, result.exit_code, result.output))
    assert not wrong
    assert contents() == {**before, Path("filled/x"): b"precious"}


def test_an_output_that_is_an_input_is_refused_even_with_overwrite(place):
    before = contents()
    wrong = []
    for name, words in FILES.items():
        if "{in}" in words and name != "similar":
            result = run(f"{words} --overwrite", "table.csv", "./table.csv")
            if result.exit_code != 1 or "is an input" not in result.output:
                wrong.append((name, result.exit_code, result.output))
    for name, words in (FOLDERS | RESUMABLE).items():
        result = run(words + (" --overwrite" if name in FOLDERS else ""), "folder", place / "folder")
        if result.exit_code != 1 or "is an input" not in result.output:
            wrong.append((name, result.exit_code, result.output))
    result = run("predict {in} -o {out} --overwrite", "folder", "folder")
    if result.exit_code != 1 or "is an input" not in result.output:
        wrong.append(("predict folder", result.exit_code, result.output))
    Path("folder/a.fits").write_bytes(b"x")
    result = run("predict {in} -o {out} --overwrite", "folder", "folder/a.fits")
    if result.exit_code != 1 or "is an image of a folder" not in result.output:
        wrong.append(("predict image", result.exit_code, result.output))
    Path("folder/a.fits").unlink()
    assert not wrong
    assert contents() == before


def test_an_output_that_another_run_writes_is_refused(place):
    before = contents()
    wrong = []
    for name, words in (FILES | FOLDERS | RESUMABLE).items():
        if name == "label":
            continue
        output = Path(f"new{EXTENSION.get(name, '.csv')}" if name in FILES else "new")
        with reserved_output(output, is_folder=name not in FILES):
            result = run(words, "table.csv" if name in FILES else "folder", output)
        if result.exit_code != 1 or "another run is writing" not in result.output:
            wrong.append((name, result.exit_code, result.output))
    assert not wrong
    assert contents() == before


def test_a_link_to_an_input_is_that_input(place):
    Path("link.csv").symlink_to("table.csv")
    result = run("classes {in} -o {out} --overwrite", "table.csv", "link.csv")
    assert "is an input" in result.output
    assert Path("link.csv").is_symlink()


def test_standard_output_and_input(place):
    data = Path("picture.png").read_bytes()
    result = CliRunner().invoke(app, ["predict", "-", "--model", "fast", "-o", "-"], input=data)
    assert result.exit_code == 0, result.output
    header, row = result.stdout.splitlines()
    assert header.startswith('"id","path",')
    assert row.startswith('"stdin",')
    Path("out.csv").write_text(result.stdout)
    alone = CliRunner().invoke(app, ["predict", "picture.png", "--model", "fast", "-o", "alone.csv"])
    assert alone.exit_code == 0
    names = read_table("alone.csv").column_names[2:]
    assert read_table("out.csv").select(names).equals(read_table("alone.csv").select(names))
    again = CliRunner().invoke(app, ["predict", "picture.png", "--model", "fast", "-o", "alone.csv"])
    assert again.exit_code == 1
    again = CliRunner().invoke(app, ["predict", "picture.png", "--model", "fast", "-o", "alone.csv", "--overwrite"])
    assert again.exit_code == 0


def test_a_failed_command_writes_nothing_to_standard_output(place):
    result = run("classes {in} -o {out}", "table.csv", "-")
    assert result.exit_code == 1
    assert result.stdout == ""


def test_control_characters_of_strangers_reach_no_terminal(place):
    name = "folder/\x1b[2J\x07\r\nfailed: forged\u202e.png"
    Path(name).write_bytes(b"no image")
    for words in (["predict", "folder"], ["predict", "folder", "-o", "out.csv"], ["predict", "folder", "--json"]):
        result = CliRunner().invoke(app, [*words, "--model", "fast"])
        assert result.exit_code == 3
        text = result.stdout + result.stderr
        assert not {"\x1b", "\x07", "\r", "\u202e"} & set(text)
        assert not any(line.startswith("failed: forged") for line in text.splitlines())
    write_table("\x1b]0;x.csv", pa.table({"id": ["a"]}))
    result = run("classes {in}", "\x1b]0;x.csv", "")
    assert "\x1b" not in result.output
