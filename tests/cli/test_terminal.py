"""What `predict` prints: one galaxy as a tree, many as a table, JSON; widths, colours, messages."""

import io
import json
import sys

import numpy as np
import pytest
from PIL import Image

from tuningfork._utils.progress import ProgressLog, duration
from tuningfork._utils.text import nearest
from tuningfork.cli.errors import print_rows, row_error
from tuningfork.cli.terminal import Counts, GalaxyTable, Style, cut, galaxy_tree, pad, text_width
from tuningfork.model.model import load
from tuningfork.simulation import draw, render


@pytest.fixture(scope="module")
def predictions():
    images = [render(draw(seed=3, index=index)) for index in range(4)]
    return load("fast", threads=1).predict([*images, b"no image"], n_views=1)


@pytest.mark.parametrize("width", [60, 80, 120])
def test_a_tree_and_a_table_fit_the_terminal(predictions, width):
    for style in (Style(), Style(plain=True), Style(colours=True)):
        tree = galaxy_tree(predictions[0], width, style)
        table = [*GalaxyTable(width, style).lines(predictions)]
        assert max(map(text_width, [*tree, *table])) <= width
        assert len(table) == len(predictions) + 1
        assert "failed: " in table[-1]
        if style.plain:
            assert "".join(tree).isascii()
        if not style.colours:
            assert "\x1b" not in "".join([*tree, *table])


def test_a_tree_shows_the_path_of_the_majority_and_all_larger_answers(predictions):
    galaxy = predictions[1]
    text = "\n".join(galaxy_tree(galaxy, 100, Style()))
    for key, answer, _ in galaxy.steps():
        assert f"─ {key.replace('_', ' ')}" in text
        assert answer in text
    assert galaxy.description in text
    chosen = [bar for _, _, bars in galaxy.card().questions for bar in bars if bar.is_chosen]
    assert all(f"{100 * bar.fraction:3.0f} %" in text for bar in chosen)


def test_tree_table_and_counts_name_one_class():
    """Of a galaxy whose most probable class is one whose thresholds its fractions miss, too."""
    rows = load("fast", threads=1).predict([render(draw(seed=3, index=40))])
    galaxy, counts = rows[0], Counts()
    assert (galaxy.class_name, galaxy.clean) == ("completely round", "")
    counts.add(rows)
    share = galaxy.classes[galaxy.class_name]
    assert f"class: completely round ({100 * share:.0f} %)" in galaxy_tree(galaxy, 100, Style())
    assert [*GalaxyTable(100, Style()).lines(rows)][1].endswith(f"completely round      {share:.2f}")
    assert counts.text(1).endswith("1 completely round")


def test_bars_are_as_long_as_the_fraction():
    style = Style()
    assert style.bar(0.5, 8, False).rstrip() == "████"
    assert style.bar(1, 8, False) == "████████"
    assert style.bar(0.0625, 8, False).rstrip() == "▌"
    assert Style(plain=True).bar(0.5, 8, False) == "####    "


def test_control_characters_and_wide_letters_do_not_break_the_columns():
    assert text_width("星系") == 4
    assert text_width(cut("星系" * 10, 9, Style())) <= 9
    assert text_width(pad("星系", 7)) == 7
    assert cut("abcdef", 4, Style(plain=True)) == "abc."


def test_counts_say_what_was_printed(predictions):
    counts = Counts()
    counts.add(predictions)
    text = counts.text(2.5)
    assert text.startswith("5 galaxies in 2.5 s: ")
    assert "1 failed" in text
    assert sum(counts.classes.values()) == 4


def test_rows_of_one_reason_are_printed_once_and_counted(capsys):
    rows = [row_error(f"{n}.jpg", "too small") for n in range(50)]
    rows += [row_error("x.jpg", "damaged"), *(row_error(f"{n}.png", f"reason {n}") for n in range(30))]
    print_rows("failed", rows, 1000)
    said = capsys.readouterr().err.splitlines()
    assert said[:5] == [
        "failed: 0.jpg: too small",
        "failed: 1.jpg: too small",
        "failed: 2.jpg: too small",
        "  … and 47 more for this reason",
        "failed: x.jpg: damaged",
    ]
    assert (len(said), said[-1]) == (22, f"  … and {1000 - 50 - 1 - 16} more")


def test_warnings_of_many_galaxies_are_printed_below_the_table(run, tmp_path):
    for name in ("a", "b"):
        Image.fromarray(np.full((64, 64, 3), 9, np.uint8)).save(tmp_path / f"{name}.png")
    said = run("predict", tmp_path, "--model", "fast")
    assert f"warning: {tmp_path}/a.png: no data" in said.stderr
    assert "warning: " not in run("predict", tmp_path, "--model", "fast", "-q").stderr


def test_colours_are_for_terminals_and_ascii_for_those_that_know_no_more(monkeypatch):
    class Terminal(io.StringIO):
        encoding = "utf-8"

        def isatty(self):
            return True

    for name in ("NO_COLOR", "FORCE_COLOR", "TERM"):
        monkeypatch.delenv(name, raising=False)
    assert Style.of(Terminal()) == Style(colours=True)
    assert not Style.of(io.StringIO()).colours
    monkeypatch.setenv("NO_COLOR", "1")
    assert not Style.of(Terminal()).colours
    Terminal.encoding = "ascii"
    assert Style.of(Terminal()).plain


def test_a_log_has_a_line_a_minute(capsys):
    now = 0.0
    log = ProgressLog("predicting", "galaxies", lambda: now)
    for second in range(0, 151, 10):
        now = float(second)
        log(100 * second, 100_000)
    log(100_000, 100_000)
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "predicting: 6,000 of 100,000 galaxies (6 %), 100 galaxies/s, 15 min 40 s left",
        "predicting: 12,000 of 100,000 galaxies (12 %), 100 galaxies/s, 14 min 40 s left",
    ]
    assert [duration(seconds) for seconds in (0.44, 12, 103, 7500)] == ["0.4 s", "12 s", "1 min 43 s", "2 h 05 min"]


def test_a_misspelled_name_is_answered_with_the_nearest():
    assert nearest("Fsat", ["default", "fast"]) == "; did you mean 'fast'?"
    assert nearest("nothing like it", ["default", "fast"]) == ""


# ------------------------------------------------------------------ the command


@pytest.fixture
def pictures(tmp_path):
    from PIL import Image

    folder = tmp_path / "in"
    folder.mkdir()
    for index in range(3):
        Image.fromarray(render(draw(seed=3, index=index))).save(folder / f"g{index}.png")
    (folder / "notes.txt").write_text("x")
    return folder


def test_json_lines_and_one_document_hold_the_same(run, pictures):
    words = ["predict", pictures, "--model", "fast", "--views", 1]
    lines = [json.loads(line) for line in run(*words, "--json").stdout.splitlines()]
    assert json.loads(run(*words, "--json-array").stdout) == lines
    assert [row["id"] for row in lines] == ["g0", "g1", "g2"]
    run(*words, "--json", "--json-array", code=2)
    run(*words, "--json-array", "-o", pictures.parent / "x.csv", code=2)


def test_many_galaxies_are_a_table_and_its_summary_is_no_part_of_it(run, pictures):
    result = run("predict", pictures, "--model", "fast", "--views", 1)
    assert [line.split()[0] for line in result.stdout.splitlines()] == ["id", "g0", "g1", "g2"]
    assert result.stderr.startswith("3 galaxies in ")
    assert "left out: .txt 1" in result.stderr
    quiet = run("predict", pictures, "--model", "fast", "--views", 1, "-q")
    assert quiet.stdout == result.stdout
    assert quiet.stderr == ""
    assert "ONNX Runtime" in run("predict", pictures, "--model", "fast", "--views", 1, "-v").stderr
    run("predict", pictures, "-q", "-v", code=2)


def test_an_output_is_summarised_with_time_and_classes(run, pictures, tmp_path):
    words = ["predict", pictures, "--model", "fast", "--views", 1, "-o", tmp_path / "votes.csv"]
    lines = run(*words).stdout.splitlines()
    assert lines[0].startswith(f"{tmp_path / 'votes.csv'}: 3 galaxies in ")
    assert lines[1].startswith("classes: ")
    assert run(*words, "--overwrite", "-q").stdout == ""


def test_help_is_short_and_help_all_is_whole(run):
    short, whole = run("predict", "--help").stdout, run("predict", "--help-all").stdout
    assert "--mask-bits" not in short
    assert "--help-all" in short
    assert "--mask-bits" in whole
    assert "legacy" in whole  # the sources are listed by name
    assert "JSON Lines" in short
    groups = run("--help").stdout
    order = [groups.index(f"─ {name} ─") for name in ("Predict", "Data", "Label and train", "Evaluate", "Serve")]
    assert order == sorted(order)


@pytest.mark.parametrize(
    ("parameter", "begins", "expected"),
    [("model", "f", ["fast"]), ("stretch", "sd", ["sdss"]), ("source", "leg", ["legacy"])],
)
def test_names_are_completed(parameter, begins, expected):
    import typer.main

    from tuningfork.cli import app

    command = typer.main.get_command(app).commands["predict"]
    context = command.make_context("predict", [], resilient_parsing=True)
    option = next(each for each in command.params if each.name == parameter)
    assert [item.value for item in option.shell_complete(context, begins)] == expected


def test_recipes_and_trees_are_completed():
    from tuningfork.cli import completion

    assert "gz2" in completion.trees("gz")
    if completion.recipes(""):
        assert all(name.startswith("eff") for name in completion.recipes("eff"))


# ------------------------------------------------------------------ the commonest mistakes


def test_common_mistakes_are_answered_with_the_right_command(run, tmp_path, pictures, monkeypatch):
    import zipfile

    from tuningfork.votes.tree_files import load_tree

    monkeypatch.chdir(tmp_path)
    (tmp_path / "galaxies.csv").write_text("objid,ra,dec,z\n1,10.0,20.0,0.1\n")
    columns = load_tree("gz2").columns
    (tmp_path / "votes.csv").write_text(",".join(["GalaxyID", *columns]) + "\n" + ",".join(["1", *["0.5"] * 37]) + "\n")
    with zipfile.ZipFile("kaggle.zip", "w") as archive:
        archive.writestr("images_training_rev1.zip", b"")
        archive.writestr("training_solutions_rev1.zip", b"")
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty/notes.txt").write_text("x")
    answers = {
        ("predict", "galaxies.csv"): "tuningfork predict galaxies.csv --source sdss --size 60 -o votes.parquet",
        ("predict", "votes.csv"): "tuningfork evaluate votes.parquet votes.csv",
        ("predict", "kaggle.zip"): "tuningfork predict images_training_rev1.zip -o votes.parquet",
        ("predict", "empty"): "no image",
        ("predict", "in", "--model", "defualt"): "did you mean 'default'?",
        ("predict", "in", "--stretch", "sdds"): "did you mean 'sdss'?",
        ("predict", "in", "--source", "legacy", "--size", "60", "-o", "o.csv"): "leave --source out",
        ("predict", "galaxies.csv", "--source", "legcy", "--size", "60", "-o", "o.csv"): "did you mean 'legacy'?",
        ("predict", "in", "--workers", "4"): "--output",
        ("predict", "in", "--rate", "2"): "--source",
        ("predct", "in"): "predict",
    }
    wrong = []
    for words, answer in answers.items():
        from typer.testing import CliRunner

        from tuningfork.cli import app

        result = CliRunner().invoke(app, list(words))
        if result.exit_code not in (1, 2) or answer not in " ".join(result.stderr.replace("│", " ").split()):
            wrong.append((words, result.exit_code, result.stderr))
    assert not wrong, wrong


def test_options_that_cannot_apply_are_reported(run, pictures):
    error = run("predict", pictures, "--model", "fast", "--views", 1, "--stretch", "sdss", "--id-column", "x").stderr
    assert "--stretch is for FITS images; these are none" in error
    assert "--id-column is for catalogues; none of the inputs is one" in error
    assert "note" not in run("predict", pictures, "--model", "fast", "--views", 1).stderr


def test_a_model_given_as_an_image_is_reported(run, tmp_path):
    (tmp_path / "bundle.json").write_text("{}")
    assert "--model" in run("predict", tmp_path, code=1).stderr


def test_no_library_speaks_on_its_own(run, tmp_path, monkeypatch):
    """Warnings of libraries are shown with -v only."""
    import warnings

    from PIL import Image

    from tuningfork.cli import command_line

    Image.fromarray(np.zeros((32, 32, 3), np.uint8)).save(tmp_path / "a.png")

    def leaky(*_, **__):
        warnings.warn("a library's own", DeprecationWarning, stacklevel=1)

    monkeypatch.setattr("tuningfork.cli.mistakes.check_inputs", leaky)
    monkeypatch.setattr(sys, "warnoptions", [])
    shown = []
    monkeypatch.setattr(warnings, "showwarning", lambda message, *_, **__: shown.append(str(message)))
    run("predict", tmp_path, "--model", "fast", code=0)
    assert shown == []
    run("predict", tmp_path, "--model", "fast", "-v", code=0)
    assert shown == ["a library's own"]
    assert command_line.verbosity() == 0


def test_a_warning_is_printed_once(run, tmp_path, pictures):
    """A catalogue is read for its columns, its types and its rows."""
    (tmp_path / "c.csv").write_text(f"id,ra,path\na,150,{pictures / 'g0.png'}\n")
    for name in ("one.csv", "other.csv"):
        lines = run("predict", tmp_path / "c.csv", "-o", tmp_path / name, "--model", "fast").stderr.splitlines()
        assert sum("is half a position" in line for line in lines) == 1
