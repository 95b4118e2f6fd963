"""The command line as a person and as another program use it."""

import csv
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import typer.main
from PIL import Image

from tuningfork._utils.progress import ProgressLog
from tuningfork.cli import app
from tuningfork.cli.progress import progress_bar
from tuningfork.simulation import simulate
from tuningfork.votes.tree_files import load_tree

COMMANDS = (
    "predict",
    "cutouts",
    "merge",
    "match",
    "send",
    "classes",
    "lint",
    "evaluate",
    "rank",
    "select",
    "purity",
    "label",
    "index",
    "similar",
    "score",
    "simulate",
    "train",
    "calibrate",
    "ood",
    "study folds",
    "study label-efficiency",
    "study paper",
    "study search",
    "study trust",
    "report",
    "map",
    "gallery",
    "plot",
    "population",
    "bench",
    "serve",
    "models",
    "export",
    "demo",
    "cache",
    "measure",
)
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def galaxies(tmp_path_factory):
    return simulate(tmp_path_factory.mktemp("cli") / "sim", 12, seed=6, workers=1)


@pytest.fixture
def labels(galaxies):
    return galaxies / "training_solutions_rev1.csv"


@pytest.fixture
def pictures(galaxies):
    return galaxies / "images_training_rev1"


# ------------------------------------------------------------------ help and documents


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_examples(run, command, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("TERMINAL_WIDTH", "200")
    said = run(*command.split(), "--help").stdout
    _, heading, examples = said.partition("Examples:")
    assert heading
    # One a line, as they are typed.
    lines = [line.strip() for line in examples.splitlines()]
    known = typer.main.get_command(app)
    for word in command.split():
        known = known.commands[word]
    typed = [line.strip() for line in known.help.partition("Examples:")[2].splitlines() if line.strip()]
    assert typed
    assert [line for line in typed if line not in lines] == []


def test_no_command_is_undocumented(run):
    named = [("", command) for command in app.registered_commands]
    for group in app.registered_groups:
        named += [(f"{group.name} ", command) for command in group.typer_instance.registered_commands]
    names = {group + (command.name or command.callback.__name__.replace("_", "-")) for group, command in named}
    assert names == set(COMMANDS)
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md"), *(ROOT / "docs" / "howto").glob("*.md")]
    text = "".join(page.read_text("utf-8") for page in pages)
    assert [command for command in COMMANDS if f"tuningfork {command}" not in text] == []


def test_readme_names_the_two_commands_that_ci_runs():
    readme = (ROOT / "README.md").read_text("utf-8")
    ci = (ROOT / ".ci" / "run").read_text("utf-8").splitlines()
    for command in ("sh scripts/start", "sh scripts/test"):
        assert re.search(rf"^ *{command}( *#.*)?$", readme, re.MULTILINE)
        assert command in ci


def test_version(run):
    assert re.fullmatch(r"tuningfork \d+\.\d+\.\d+\n", run("--version").stdout)


@pytest.mark.parametrize(
    ("words", "module", "extra"),
    [
        (["train", "--images", ".", "--labels", ".", "-o", "run"], "tuningfork.training.train", "train"),
        (
            ["study", "search", "--images", ".", "--labels", ".", "-o", "s"],
            "tuningfork.experiments.search.run",
            "study",
        ),
        (["study", "paper", "--data", ".", "-o", "study"], "tuningfork.experiments.paper", "study"),
        (["report", ".", "-o", "report.html"], "tuningfork.experiments.report.write", "report"),
        (["label", "."], "tuningfork.web.label.app", "serve"),
        (["serve"], "tuningfork.web.predict.app", "serve"),
    ],
)
def test_a_missing_library_names_its_extra(run, monkeypatch, words, module, extra):
    monkeypatch.setitem(sys.modules, module, None)
    error = run(*words, code=1).stderr
    assert re.fullmatch(rf"error: .* needs more libraries \(.+\): pip install '\.\[{extra}\]' in the clone\n", error)


def test_a_bar_is_there_while_there_is_work_and_only_on_a_terminal(capsys, monkeypatch):
    with progress_bar("reading pictures") as progress:
        assert isinstance(progress, ProgressLog)
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TTY_INTERACTIVE", "1")
    monkeypatch.setattr(type(sys.stderr), "isatty", lambda _: True)
    for passes in (1, 2):
        with progress_bar("reading pictures") as progress:
            assert capsys.readouterr().err == ""
            for _ in range(passes):
                progress(1, 2)
                progress(2, 2)
                shown = capsys.readouterr().err
                assert "reading pictures" in shown
                assert "2/2" in shown
                print("between", file=sys.stderr)
                assert capsys.readouterr().err == "between\n"  # nothing is drawn over it
    with pytest.raises(KeyboardInterrupt), progress_bar("reading pictures") as progress:  # noqa: PT012
        progress(1, 2)
        raise KeyboardInterrupt
    capsys.readouterr()
    print("after", file=sys.stderr)
    assert capsys.readouterr().err == "after\n"


# ------------------------------------------------------------------ predict


def test_predict_one_image_says_it_in_words(run, pictures):
    picture = min(pictures.iterdir())
    said = run("predict", picture, "--views", 1).stdout
    assert said.startswith(picture.stem)
    assert "├─ smooth or features\n" in said
    assert "█" in said
    assert "└─ class\n" in said


def test_predict_json_is_a_line_a_image(run, pictures):
    lines = run("predict", pictures, "--json", "--views", 1).stdout.splitlines()
    rows = [json.loads(line) for line in lines]
    assert len(rows) == 12
    assert rows[0]["class"] in range(7)
    assert 0 <= rows[0]["bar_yes_fraction"] <= 1


@pytest.mark.parametrize("suffix", ["csv", "parquet", "fits", "vot", "ecsv"])
def test_predict_to_each_format(run, pictures, tmp_path, suffix):
    pytest.importorskip("astropy", reason="the extra `sky` is not installed")
    output = tmp_path / f"votes.{suffix}"
    assert "12 galaxies" in run("predict", pictures, "-o", output, "--views", 1).stdout
    assert output.stat().st_size > 1000
    beside = [tmp_path / "votes.csv-metadata.json"] if suffix == "csv" else []
    assert sorted(tmp_path.iterdir()) == [output, *beside]


def test_predict_in_kaggles_format(run, pictures, tmp_path):
    output = tmp_path / "submission.csv"
    run("predict", pictures, "-o", output, "--format", "kaggle", "--views", 1)
    with open(output, newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["GalaxyID", *load_tree("gz2").columns]
    assert [row["GalaxyID"] for row in rows] == sorted(path.stem for path in pictures.iterdir())


def test_predict_keeps_the_good_rows_and_names_the_bad(run, pictures, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    for path in pictures.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    bad = min(folder.iterdir())
    bad.write_bytes(bad.read_bytes()[:500])
    Image.new("RGB", (1, 1)).save(folder / "dot.png")
    result = run("predict", folder, "-o", tmp_path / "votes.csv", "--views", 1, code=3)
    assert bad.name in result.stderr
    assert "1×1" in result.stderr
    assert "2 failed" in result.stdout
    with open(tmp_path / "votes.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 13
    assert sum(bool(row["error"]) for row in rows) == 2


def test_predict_bad_usage(run, pictures, tmp_path):
    run("predict", tmp_path / "nowhere", code=2)
    run("predict", pictures, "--views", 3, code=2)
    run("predict", pictures, "--resume", code=2)
    run("predict", pictures, "--format", "kaggle", code=2)
    run("predict", pictures, "--format", "xml", "-o", tmp_path / "x.csv", code=2)


def test_predict_failures_are_one_clear_line(run, pictures, tmp_path):
    (tmp_path / "empty").mkdir()
    assert "no image" in run("predict", tmp_path / "empty", code=1).stderr
    assert "no image" in run("predict", tmp_path / "empty", "-o", tmp_path / "o.csv", code=1).stderr
    assert "no such folder" in run("predict", pictures, "-o", tmp_path / "a" / "b.csv", code=1).stderr
    assert "extension" in run("predict", pictures, "-o", tmp_path / "b.doc", code=1).stderr
    (tmp_path / "folder.csv").mkdir()
    assert "is a folder" in run("predict", pictures, "-o", tmp_path / "folder.csv", code=1).stderr
    error = run("predict", pictures, "--model", tmp_path / "none", code=1).stderr
    assert error.count("\n") == 1
    assert "default" in error


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_predict_into_a_folder_without_permission(run, pictures, tmp_path):
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o555)
    assert "cannot be written" in run("predict", pictures, "-o", locked / "o.csv", code=1).stderr


def test_what_ray_prints_is_not_among_the_results(run, pictures, tmp_path, monkeypatch):
    from tuningfork.pipeline import predict
    from tuningfork.pipeline.summary import RunSummary

    def noisy(*_, **options):
        print("(raylet) an actor died")
        return RunSummary(tmp_path / "votes.csv", 6, 0, 0, (), 0)

    monkeypatch.setattr(predict, "predict_files", noisy)
    result = run("predict", pictures, "-o", tmp_path / "votes.csv", "--engine", "ray", "--json", "--model", "fast")
    assert json.loads(result.stdout)["rows"] == 6
    assert "(raylet) an actor died" in result.stderr


def test_a_full_disk_is_reported(run, labels, monkeypatch):
    from tuningfork.votes import class_counts as module

    def full(*_):
        raise OSError(28, "No space left on device", "somewhere")

    monkeypatch.setattr(module, "class_counts", full)
    assert "no space left" in run("classes", labels, code=1).stderr


def test_a_bundle_with_one_byte_changed_is_refused(run, pictures, tmp_path):
    from tuningfork.model.bundle import open_bundle, write_bundle

    folder = write_bundle(open_bundle(), tmp_path / "bundle")
    network = folder / "network-0.onnx"
    data = bytearray(network.read_bytes())
    data[len(data) // 2] ^= 1
    network.write_bytes(data)
    error = run("predict", pictures, "--model", folder, code=1).stderr
    assert "SHA-256" in error
    assert "network-0.onnx" in error


def test_an_interrupt_says_how_to_go_on(run, pictures, tmp_path, monkeypatch):
    from tuningfork.model import model

    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(model.Model, "predict_loaded", interrupt)
    assert "--resume" in run("predict", pictures, "-o", tmp_path / "o.csv", code=130).stderr


# ------------------------------------------------------------------ classes and lint


def test_classes_counts_in_the_papers_order(run, labels, tmp_path):
    told = json.loads(run("classes", labels, "--json", "-o", tmp_path / "classes.csv").stdout)
    assert list(told["counts"]) == [
        "completely round", "in-between", "cigar-shaped", "lenticular (edge-on)", "barred spiral",
        "unbarred spiral", "irregular", "unclassified", "undecided",
    ]  # fmt: skip
    assert sum(told["counts"].values()) == told["galaxies"] == 12
    with open(tmp_path / "classes.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["GalaxyID", "class", "status"]
    assert all((row["class"] != "") == (row["status"] == "classified") for row in rows)


def test_lint_of_a_good_table(run, labels):
    told = json.loads(run("lint", labels, "--json").stdout)
    assert (told["rows"], told["complete_rows"]) == (12, 12)
    assert told["broken_sums"] == told["unusable_rows"] == []


def _edited(labels, target, edit):
    with open(labels, newline="") as file:
        rows = list(csv.reader(file))
    edit(rows)
    with open(target, "w", newline="") as file:
        csv.writer(file).writerows(rows)
    return target


def test_lint_names_row_column_and_size(run, labels, tmp_path):
    def spoil(rows):
        rows[3][1] = "1.7"
        rows[5][2] = str(float(rows[5][2]) + 0.01)
        rows[8][0] = rows[7][0]
        rows[9][4] = "many"

    result = run("lint", _edited(labels, tmp_path / "bad.csv", spoil), code=3)
    assert "row 3" in result.stderr
    assert "outside [0, 1]" in result.stderr
    assert "row 8" in result.stderr
    assert "row 9" in result.stderr
    assert "'many'" in result.stderr
    assert "off by" in result.stdout


def test_a_renamed_column_suggests_the_right_name(run, labels, tmp_path):
    def rename(rows):
        rows[0][1] = "Clas1.1"

    error = run("classes", _edited(labels, tmp_path / "bad.csv", rename), code=1).stderr
    assert "'Class1.1' is missing" in error
    assert "Clas1.1" in error


def test_galaxy_id_may_be_spelt_as_in_the_sample_header(run, labels, tmp_path):
    def rename(rows):
        rows[0][0] = "GalaxyId"

    run("lint", _edited(labels, tmp_path / "other.csv", rename))


# ------------------------------------------------------------------ evaluate


def test_evaluate_scores_a_perfect_table_perfectly(run, labels):
    told = json.loads(run("evaluate", labels, labels, "--json", "--resamples", 50).stdout)
    assert told["rmse_complete_rows"]["value"] == 0
    assert told["galaxies"] == 12


def test_evaluate_predictions_with_baselines(run, galaxies, pictures, labels, tmp_path):
    run("predict", pictures, "-o", tmp_path / "votes.parquet", "--views", 1)
    ids = sorted(path.stem for path in pictures.iterdir())
    split = tmp_path / "split.csv"
    split.write_text("id,part\n" + "".join(f"{i},{'train' if n < 8 else 'test'}\n" for n, i in enumerate(ids)))
    words = ["evaluate", tmp_path / "votes.parquet", labels, "--split", split, "--images", pictures]
    told = json.loads(run(*words, "--json", "--resamples", 50).stdout)
    assert told["galaxies"] == 4
    assert set(told["baselines"]) == {"mean_of_training_votes", "25_nearest_neighbours_32x32"}
    known = np.genfromtxt(labels, delimiter=",", skip_header=1)
    row = {str(int(values[0])): values[1:] for values in known}
    mean = np.mean([row[i] for i in ids[:8]], 0)
    expected = np.sqrt(np.mean([(row[i] - mean) ** 2 for i in ids[8:]]))
    assert told["baselines"]["mean_of_training_votes"]["rmse_complete_rows"]["value"] == pytest.approx(expected)
    # Eight training galaxies are fewer than 25 neighbours: all of them, hence the mean.
    assert told["baselines"]["25_nearest_neighbours_32x32"]["rmse_complete_rows"]["value"] == pytest.approx(expected)
    assert "RMSE" in run(*words, "--resamples", 50).stdout


def test_evaluate_agrees_between_the_layouts(run, pictures, labels, tmp_path):
    run("predict", pictures, "-o", tmp_path / "words.csv", "--views", 1)
    run("predict", pictures, "-o", tmp_path / "kaggle.csv", "--format", "kaggle", "--views", 1)
    words, kaggle = (
        json.loads(run("evaluate", tmp_path / name, labels, "--json", "--resamples", 20).stdout)
        for name in ("words.csv", "kaggle.csv")
    )
    assert words["rmse_complete_rows"]["value"] == pytest.approx(kaggle["rmse_complete_rows"]["value"], abs=1e-6)
    assert "classes" in words
    assert "classes" not in kaggle


def test_evaluate_reports_who_is_missing_on_either_side(run, pictures, labels, tmp_path):
    def shorten(rows):
        del rows[5]

    run("predict", pictures, "-o", tmp_path / "votes.csv", "--views", 1)
    few = _edited(labels, tmp_path / "few.csv", shorten)
    result = run("evaluate", tmp_path / "votes.csv", few, "--json")
    assert "few.csv: no label of 1 of the galaxies, which are left out: " in result.stderr
    assert json.loads(result.stdout)["unmatched"] == {"predictions": 1}
    few = _edited(tmp_path / "votes.csv", tmp_path / "few_votes.csv", shorten)
    result = run("evaluate", few, labels, "--json")
    assert "few_votes.csv: no prediction of 1 of the galaxies, which are left out: " in result.stderr
    assert json.loads(result.stdout)["unmatched"] == {"labels": 1}


def test_evaluate_of_strangers_says_so(run, labels, tmp_path):
    def rename(rows):
        for row in rows[1:]:
            row[0] = f"x{row[0]}"

    other = _edited(labels, tmp_path / "other.csv", rename)
    assert "in common" in run("evaluate", other, labels, code=1).stderr


# ------------------------------------------------------------------ simulate, models, demo, train


def test_simulate_writes_kaggles_layout(run, tmp_path):
    run("simulate", tmp_path / "sim", "--n", 3, "--seed", 9, "--workers", 1)
    assert len(list((tmp_path / "sim" / "images_training_rev1").iterdir())) == 3
    run("lint", tmp_path / "sim" / "training_solutions_rev1.csv")
    assert "seed" in run("simulate", tmp_path / "sim", "--n", 3, "--seed", 8, code=1).stderr


def test_models_lists_what_is_shipped_with_its_card(run):
    assert "default" in run("models").stdout
    (model,) = [m for m in json.loads(run("models", "--json").stdout) if m["name"] == "default"]
    assert model["training"]["labels_sha256"]
    card = run("models", "default").stdout
    for word in ("job.py", "RMSE", "Licence", "SDSS", "Known failures"):
        assert word in card
    assert "nowhere" in run("models", "nowhere", code=1).stderr


def test_demo_writes_one_page_that_needs_nothing_else(run, tmp_path):
    said = run("demo", "-o", tmp_path / "demo.html", "--n", 2).stdout
    page = (tmp_path / "demo.html").read_text("utf-8")
    assert page.count("<article") == 2
    assert page.count("data:image/jpeg;base64,") == 2
    assert not re.search(r"(src|href)=\"(?!data:)", page)
    assert page.count("drawn as:") == 2
    assert [line.split("  ")[0] for line in said.splitlines()[:3]] == ["id", "galaxy 1", "galaxy 2"]


def test_train_without_its_libraries_says_what_to_install(run, galaxies, tmp_path):
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from tuningfork.cli import main\n"
        f"sys.argv = ['tuningfork', 'train', '--images', {str(galaxies)!r}, '--labels', "
        f"{str(galaxies / 'training_solutions_rev1.csv')!r}, '-o', {str(tmp_path / 'run')!r}]\nmain()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1
    assert "[train]" in done.stderr


def test_train_refuses_an_unknown_recipe(run, pictures, labels, tmp_path):
    pytest.importorskip("torch", reason="the extra `train` is not installed")
    words = ["train", "--images", pictures, "--labels", labels, "-o", tmp_path / "run"]
    assert "efficientnet_b0" in run(*words, "--recipe", "mine", code=1).stderr


@pytest.mark.slow
def test_train_evaluate_and_predict_hang_together(run, tmp_path):
    pytest.importorskip("torch", reason="the extra `train` is not installed")
    galaxies = simulate(tmp_path / "sim", 60, seed=6, workers=1)
    pictures, labels = galaxies / "images_training_rev1", galaxies / "training_solutions_rev1.csv"
    recipe = tmp_path / "small.toml"
    recipe.write_text('network = "test_efficientnet"\nsize = 32\nepochs = 1\nbatch = 16\nviews = 1\n')
    words = ["train", "--images", pictures, "--labels", labels, "-o", tmp_path / "run", "--recipe", recipe]
    told = json.loads(run(*words, "--workers", 0, "--json").stdout)
    run("predict", pictures, "--model", told["bundle"], "-o", tmp_path / "votes.csv")
    split = tmp_path / "run" / "split.csv"
    told = json.loads(run("evaluate", tmp_path / "votes.csv", labels, "--split", split, "--json").stdout)
    assert told["part"] == "test"
    assert told["rmse_complete_rows"]["value"] < 0.5


@pytest.mark.parametrize("cell", ["3.5", "x", "7", "-1"])
def test_evaluate_names_a_class_that_is_none(run, pictures, labels, tmp_path, cell):
    run("predict", pictures, "-o", tmp_path / "votes.csv", "--views", 1)

    def spoil(rows):
        rows[4][rows[0].index("class")] = cell

    bad = _edited(tmp_path / "votes.csv", tmp_path / "bad.csv", spoil)
    error = run("evaluate", bad, labels, code=1).stderr
    assert "column class" in error
    assert repr(cell) in error


@pytest.mark.parametrize("name", ["default", "fast"])
def test_the_card_beside_the_model_is_the_one_that_is_shown(run, name):
    from tuningfork.model import bundle

    card = Path(bundle.__file__).parent / "models" / name / "CARD.md"
    assert run("models", name).stdout.strip() == card.read_text("utf-8").strip()


def test_readme_figures_are_the_shipped_models(run):
    """Every figure of the README and of the page on accuracy is the one that the evaluation wrote into the bundle."""
    test = json.loads(run("models", "default", "--json").stdout)["figures"]["test"]
    readme = (ROOT / "README.md").read_text("utf-8")
    scores = [test, *test.get("baselines", {}).values()]
    for interval in [score[key] for score in scores for key in ("rmse_complete_rows", "rmse_known_columns")]:
        assert f"{interval['value']:.4f}" in readme
        assert f"({interval['low']:.4f}…{interval['high']:.4f})" in readme
    page = (ROOT / "docs" / "good.md").read_text("utf-8")
    assert f"{test['classes']['accuracy']['value']:.3f}" in page
    assert f"{test['classes']['macro_f1']['value']:.3f}" in page


def test_evaluate_names_the_parts_there_are(run, labels, tmp_path):
    split = tmp_path / "split.csv"
    split.write_text("id,part\n1,train\n2,test\n")
    assert "test, train" in run("evaluate", labels, labels, "--split", split, "--part", "tset", code=1).stderr


def test_a_blank_class_is_left_out_and_reported(run, pictures, labels, tmp_path):
    run("predict", pictures, "-o", tmp_path / "votes.csv", "--views", 1)

    def blank(rows):
        for name in ("class", "no_class_probability"):
            rows[4][rows[0].index(name)] = ""

    some = _edited(tmp_path / "votes.csv", tmp_path / "some.csv", blank)
    result = run("evaluate", some, labels, "--json", code=3)
    assert "column class" in result.stderr
    assert "classes" in json.loads(result.stdout)


@pytest.mark.parametrize("words", [["models", "default"], ["models", "--json"]])
def test_a_terminal_that_knows_only_ascii_still_gets_its_text(words):
    done = subprocess.run(
        [sys.executable, "-m", "tuningfork", *words],
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.isascii()


def test_a_csv_says_what_its_columns_mean(run, pictures, tmp_path):
    run("predict", pictures, "-o", tmp_path / "votes.csv", "--views", 1)
    told = json.loads((tmp_path / "votes.csv-metadata.json").read_text("utf-8"))
    with open(tmp_path / "votes.csv", newline="") as file:
        header = next(csv.reader(file))
    assert [column["name"] for column in told["tableSchema"]["columns"]] == header
    assert all(column["dc:description"] for column in told["tableSchema"]["columns"])


@pytest.mark.slow
def test_an_interrupted_training_says_how_to_go_on(interrupted, tmp_path):
    pytest.importorskip("torch", reason="the extra `train` is not installed")
    galaxies = simulate(tmp_path / "sim", 60, seed=6, workers=1)
    recipe = tmp_path / "long.toml"
    recipe.write_text('network = "test_efficientnet"\nsize = 32\nepochs = 1000\npatience = 1000\nbatch = 16\n')
    words = ["train", "--images", galaxies, "--labels", galaxies / "training_solutions_rev1.csv"]
    words += ["-o", tmp_path / "run", "--recipe", recipe, "--workers", "0"]
    assert "--resume" in interrupted(*words, line="epoch 2/")
    assert (tmp_path / "run" / "last.ckpt").exists()
