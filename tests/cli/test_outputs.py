"""The output guard of every writing command: nothing is overwritten by mistake, and before anything is read."""

import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import typer
from PIL import Image
from typer.testing import CliRunner

from tuningfork._utils.files import reserved_output
from tuningfork.cli import app
from tuningfork.tables import read_table, write_table

#: Command → its words; {in} stands for an input that the output may be taken for, {out} for the output.
FILES = {
    "predict": "predict {in} -o {out}",
    "measure": "measure {in} -o {out}",
    "merge": "merge folder -o {out}",
    "classes": "classes {in} -o {out}",
    "rank": "rank {in} -o {out}",
    "select": "select {in} labels.csv -o {out}",
    "purity": "purity {in} labels.csv -o {out}",
    "population": "population {in} --rule smooth>=0.8 -o {out}",
    "match": "match {in} labels.csv --radius 1arcsec -o {out}",
    "index": "index {in} -o {out}",
    "map": "map {in} -o {out}",
    "demo": "demo -o {out}",
    "report": "report folder -o {out}",
    "similar": "similar picture.png --index {in} -o {out}",
    "label": "label folder --export {out}",
    "export": "export {in} -o {out}",
    "gallery": "gallery {in} -o {out}",
    "plot": "plot {in} -o {out}",
    "purity's figure": "purity {in} labels.csv --plot {out}",
    "population's figure": "population {in} --rule smooth>=0.8 --plot {out}",
}
FOLDERS = {
    "calibrate": "calibrate fast --images {in} --labels labels.csv -o {out}",
    "trust": "study trust table.csv labels.csv --images {in} -o {out}",
    "hats": "merge {in} --hats -o {out}",
    "gallery folder": "gallery table.csv --images {in} -o {out}",
}
#: Those that go on with a folder of theirs.
RESUMABLE = {
    "train": "train --images {in} --labels labels.csv -o {out}",
    "cutouts": "cutouts table.csv --source {in} --size 60 -o {out}",
    "search": "study search --images {in} --labels labels.csv -o {out}",
    "folds": "study folds plan.toml --images {in} --labels labels.csv -o {out}",
    "paper": "study paper --data {in} -o {out}",
    "label-efficiency": "study label-efficiency --images {in} --labels labels.csv --init table.csv -o {out}",
    "simulate": "simulate {out} --n 1",
}
#: Options that name what a command writes, beside arguments of the name `output`; caches are shared by all.
OUTPUTS = ("--output", "--export", "--plot")
EXTENSION = {
    **dict.fromkeys(("map", "demo", "report", "similar", "gallery"), ".html"),
    **{"export": ".onnx", "plot": ".png", "purity's figure": ".svg", "population's figure": ".svg"},
}


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
    for extension in (".csv", *EXTENSION.values()):
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
            # The extension that the output must have.
            table = f"table{EXTENSION.get(name, '.csv')}"
            if not Path(table).exists():
                shutil.copy("table.csv", table)
            result = run(f"{words} --overwrite", table, f"./{table}")
            if result.exit_code != 1 or "is an input" not in result.output:
                wrong.append((name, result.exit_code, result.output))
    for name, words in (FOLDERS | RESUMABLE).items():
        if "{in}" not in words:
            continue
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
    for extension in set(EXTENSION.values()):
        Path(f"table{extension}").unlink(missing_ok=True)
    assert contents() == before


def commands(command, path=()):
    """All commands with their words."""
    for name, part in getattr(command, "commands", {}).items():
        yield from commands(part, (*path, name))
    if not getattr(command, "commands", None):
        yield " ".join(path), command


def test_every_command_that_writes_is_in_the_tables():
    missing = []
    for name, command in commands(typer.main.get_command(app)):
        named = [option for each in command.params for option in each.opts if option in OUTPUTS]
        named += ["{out}" for each in command.params if each.name == "output" and "output" in each.opts]
        for option in named:
            short = {"--output": "-o", "{out}": "{out}"}.get(option, option)
            tested = (FILES | FOLDERS | RESUMABLE).values()
            if not any(words.startswith(f"{name} ") and short in words.split() for words in tested):
                missing.append((name, option))
    assert not missing


def test_a_folder_for_an_output_file_and_a_file_for_a_folder_are_refused(place):
    Path("taken.csv").mkdir()
    for extension in EXTENSION.values():
        Path(f"taken{extension}").mkdir(exist_ok=True)
    Path("taken").write_text("precious")
    before = contents()
    wrong = []
    for name, words in (FILES | FOLDERS | RESUMABLE).items():
        is_file = name in FILES
        # The database of a labelling is opened first.
        if name == "label":
            continue
        again = "" if name in RESUMABLE else " --overwrite"
        source = "table.csv" if is_file else "folder"
        result = run(words + again, source, f"taken{EXTENSION.get(name, '.csv')}" if is_file else "taken")
        if result.exit_code != 1 or ("is a folder" if is_file else "is a file") not in result.output:
            wrong.append((name, result.exit_code, result.output))
    assert not wrong
    assert contents() == before


def test_a_folder_of_others_is_not_gone_on_with(place):
    Path("filled").mkdir()
    Path("filled/x").write_text("precious")
    before = contents()
    wrong = []
    for name, words in RESUMABLE.items():
        result = run(words, "folder", "filled")
        if result.exit_code != 1 or "filled" not in result.output or "other files" not in result.output:
            wrong.append((name, result.exit_code, result.output))
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
