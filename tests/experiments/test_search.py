"""The search: its book-keeping with a stand-in for the training, and once with a real one."""

import csv
import json
import math
import re
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("torch", reason="the extra `train` is not installed")
optuna = pytest.importorskip("optuna", reason="the extra `study` is not installed")

from typer.testing import CliRunner

from tuningfork.cli import app
from tuningfork.experiments.search import output as search_output
from tuningfork.experiments.search import run as search_run
from tuningfork.experiments.search.output import recipe_toml
from tuningfork.experiments.search.run import SearchOptions, search
from tuningfork.experiments.search.space import apply_values, own_values, shorten, space_around
from tuningfork.experiments.search.store import SearchError, fingerprint
from tuningfork.model.bundle import open_bundle
from tuningfork.simulation import simulate
from tuningfork.training.join import TrainError
from tuningfork.training.recipe import Recipe, RecipeError, builtin_recipes, load_recipe

FIGURES = search_output.optuna_figures


@pytest.fixture(autouse=True, scope="module")
def hasty_files():
    """Here nothing need survive a power failure, and a busy disk makes each commit slow."""
    sqlalchemy = pytest.importorskip("sqlalchemy")

    def hasten(connection, _):
        connection.execute("PRAGMA synchronous = OFF")

    sqlalchemy.event.listen(sqlalchemy.Engine, "connect", hasten)
    yield
    sqlalchemy.event.remove(sqlalchemy.Engine, "connect", hasten)


@pytest.fixture(scope="module")
def galaxies(tmp_path_factory):
    return simulate(tmp_path_factory.mktemp("search") / "sim", 40, seed=4, workers=1)


@pytest.fixture
def recipe():
    return Recipe(network="test_efficientnet", size=32, epochs=3, batch=16, ema_decay=0.5, views=1)


class Trainer:
    """In place of a training: writes what one writes, and its error is least at one learning rate."""

    def __init__(self):
        self.recipes = []
        self.at = {}  # call → what it does instead

    def __call__(self, labels, images, run, recipe, *, on_epoch, **options):
        call = len(self.recipes)
        self.recipes.append(recipe)
        run.mkdir(parents=True)
        (run / "run.json").write_text(json.dumps({"recipe": recipe.to_dict(), "initial_weights": "scratch"}))
        (run / "best.ckpt").write_text("large")
        if call in self.at:
            self.at[call](run)
        for epoch in range(1, recipe.epochs + 1):
            value = abs(math.log(recipe.learning_rate / 2e-3)) + recipe.dropout + 1 / epoch
            (run / "curves.csv").write_text("epoch\n")
            on_epoch(epoch, {"val_rmse": value, "train_loss": 1.0})
        (run / "bundle").mkdir()
        for name in ("result.json", "predictions.parquet", "truth.parquet", "last.ckpt"):
            (run / name).write_text("{}")


@pytest.fixture
def seek(galaxies, tmp_path, recipe, monkeypatch):
    def run(train, output="out", recipe=recipe, figures=False, labels=None, **options):
        monkeypatch.setattr(search_output, "optuna_figures", FIGURES if figures else lambda *_, **__: {})
        monkeypatch.setattr(search_run, "train", train)
        labels, images = labels or galaxies / "training_solutions_rev1.csv", [galaxies / "images_training_rev1"]
        options = SearchOptions(**{"n_trials": 4, "command": "tuningfork study search", **options})
        return search(labels, images, tmp_path / output, recipe, options)

    return run


def _table(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _raise(error):
    raise error


# ------------------------------------------------------------------ the space


def test_every_recipe_has_a_space_and_its_own_settings_are_in_it():
    for recipe in map(load_recipe, builtin_recipes()):
        space = space_around(recipe)
        for dimension in space:
            if dimension.choices:
                assert dimension.own in dimension.choices
            else:
                assert dimension.low <= dimension.own <= dimension.high
                assert dimension.low < dimension.high
        own = apply_values(recipe, own_values(space))
        assert own.size == recipe.size
        assert (own.crop, own.learning_rate) == pytest.approx((recipe.crop, recipe.learning_rate))
        for bound in ("low", "high"):
            edge = {d.name: getattr(d, bound) if not d.choices else d.choices[-(bound == "high")] for d in space}
            apply_values(recipe, edge)


def test_a_recipe_written_is_the_recipe_read(tmp_path):
    for recipe in map(load_recipe, builtin_recipes()):
        (tmp_path / "r.toml").write_text(recipe_toml(recipe), "utf-8")
        assert load_recipe(tmp_path / "r.toml") == recipe


def test_a_shortened_recipe_keeps_its_shape():
    recipe = load_recipe("fair/classes-efficientnet-b0")
    short = shorten(recipe, 10)
    assert short.epochs == 10
    assert short.warmup_epochs / 10 == pytest.approx(recipe.warmup_epochs / recipe.epochs, abs=0.1)
    # The average forgets as much in a tenth of either.
    assert short.ema_decay == pytest.approx(recipe.ema_decay ** (recipe.epochs / 10), rel=1e-3)
    assert shorten(recipe, None) is recipe


def test_sizes_given_are_the_only_ones(seek, tmp_path, recipe):
    train = Trainer()
    found = seek(train, recipe=recipe.changed(size=224), sizes=(32, 40), n_trials=6)
    assert {told.size for told in train.recipes} == {32, 40}
    assert train.recipes[0].size == 40
    seek(train, "one", recipe=recipe.changed(size=224), sizes=(32,), n_trials=2)
    assert train.recipes[-1].size == 32
    assert load_recipe(tmp_path / "one" / "best.toml").size == 32
    assert "size" in found.names


def test_a_size_that_the_network_cannot_take_is_named(seek):
    with pytest.raises(RecipeError, match="size = 40"):
        seek(Trainer(), recipe=load_recipe("fair/classes-inception-v3").changed(size=96), sizes=(40, 80))


# ------------------------------------------------------------------ going on


def test_a_search_goes_on_until_all_trials_are_finished(seek, tmp_path):
    first, second = Trainer(), Trainer()
    assert len(seek(first, n_trials=3).finished) == 3
    found = seek(second, n_trials=5)
    assert (len(first.recipes), len(second.recipes)) == (3, 2)
    assert [row.number for row in found.finished] == [0, 1, 2, 3, 4]
    assert len(seek(Trainer(), n_trials=5).finished) == 5


@pytest.mark.slow
def test_the_same_seed_proposes_the_same_also_after_a_rest(seek):
    whole, rested, other = Trainer(), Trainer(), Trainer()
    seek(whole, "whole", n_trials=10)
    seek(rested, "rested", n_trials=4)
    seek(rested, "rested", n_trials=10)
    assert rested.recipes == whole.recipes
    seek(other, "other", n_trials=2, seed=1)
    assert other.recipes[0] == whole.recipes[0]  # the recipe's own settings
    assert other.recipes[1] != whole.recipes[1]


def test_the_first_trial_is_the_recipe_itself(seek, recipe):
    train = Trainer()
    seek(train, n_trials=1)
    (tried,) = train.recipes
    assert (tried.learning_rate, tried.dropout, tried.size) == (recipe.learning_rate, recipe.dropout, recipe.size)
    assert tried.augmentation.zoom == pytest.approx(recipe.augmentation.zoom, abs=0.01)


def test_another_search_in_the_folder_is_refused_by_name(seek, recipe, galaxies, tmp_path):
    seek(Trainer(), n_trials=1)
    lines = (galaxies / "training_solutions_rev1.csv").read_text().splitlines(keepends=True)
    (tmp_path / "other.csv").write_text("".join(lines[:35]))
    with pytest.raises(SearchError, match="other labels"):
        seek(Trainer(), labels=tmp_path / "other.csv")
    with pytest.raises(SearchError, match=r"another recipe \(in batch\)"):
        seek(Trainer(), recipe=recipe.changed(batch=8))
    with pytest.raises(SearchError, match=r"another recipe \(in ema_decay, epochs"):
        seek(Trainer(), epochs=2)
    with pytest.raises(SearchError, match=r"another space \(in size\)"):
        seek(Trainer(), sizes=(32, 64))
    with pytest.raises(SearchError, match="another seed"):
        seek(Trainer(), seed=3)
    assert len(seek(Trainer(), n_trials=2).finished) == 2


def test_a_killed_trial_is_made_up_for_with_its_own_values(seek, tmp_path, caplog):
    train = Trainer()
    seek(train, n_trials=2)
    storage = optuna.storages.RDBStorage(f"sqlite:///{tmp_path / 'out' / 'search.sqlite3'}")
    study = optuna.load_study(study_name="search", storage=storage)
    study.enqueue_trial({**study.trials[0].params, "dropout": 0.123})
    left = study.ask()
    for name, distribution in study.trials[0].distributions.items():
        left._suggest(name, distribution)
    storage.remove_session()
    storage.engine.dispose()
    (tmp_path / "out" / "trials" / "0002").mkdir()
    caplog.set_level("INFO")
    found = seek(train, n_trials=3)
    assert [row.state for row in found.rows] == ["complete", "complete", "failed", "complete"]
    assert found.rows[2].reason == "killed"
    assert not (tmp_path / "out" / "trials" / "0002").exists()
    assert train.recipes[2].dropout == 0.123
    assert "trial 2 was killed" in caplog.text


def test_an_interruption_leaves_what_is_finished(seek, tmp_path):
    train = Trainer()
    train.at = {2: lambda run: _raise(KeyboardInterrupt())}
    with pytest.raises(KeyboardInterrupt):
        seek(train, n_trials=4)
    states = [row["state"] for row in _table(tmp_path / "out" / "trials.csv")]
    assert states == ["complete", "complete", "failed"]
    assert (tmp_path / "out" / "best.toml").exists()
    found = seek(train, n_trials=4)
    assert len(found.finished) == 4
    assert train.recipes[3] == train.recipes[2]


def test_two_searches_at_once_are_refused(seek):
    train = Trainer()
    said = []

    def another(run):
        with pytest.raises(SearchError) as caught:
            seek(Trainer())
        said.append(str(caught.value))

    train.at = {0: another}
    assert len(seek(train, n_trials=1).finished) == 1
    assert "another search is running" in said[0]


def test_no_trial_begins_when_the_minutes_are_over(seek, caplog):
    caplog.set_level("INFO")
    found = seek(Trainer(), minutes=0)
    assert found.rows == ()
    assert found.best is None
    assert "minutes are over" in caplog.text


def test_a_file_that_is_no_search_is_named(seek, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "search.sqlite3").write_bytes(b"something else entirely" * 100)
    with pytest.raises(SearchError, match=r"search\.sqlite3: cannot be used"):
        seek(Trainer())


# ------------------------------------------------------------------ bad trials


def test_a_loss_that_explodes_counts_with_its_reason_and_the_search_goes_on(seek):
    train = Trainer()
    train.at = {1: lambda run: _raise(TrainError("the loss is no longer a number; lower learning_rate"))}
    found = seek(train, n_trials=4)
    assert [row.state for row in found.rows] == ["complete", "pruned", "complete", "complete"]
    assert "no longer a number" in found.rows[1].reason
    assert found.rows[1].value is None


def test_a_failing_trial_is_named_and_made_up_for(seek, tmp_path):
    train = Trainer()
    train.at = {1: lambda run: _raise(RuntimeError("out of memory\nand more"))}
    found = seek(train, n_trials=3)
    assert [row.state for row in found.rows] == ["complete", "failed", "complete", "complete"]
    assert _table(tmp_path / "out" / "trials.csv")[1]["reason"] == "RuntimeError: out of memory"


def test_failure_after_failure_ends_the_search(seek):
    train = Trainer()
    train.at = dict.fromkeys(range(10), lambda run: _raise(RuntimeError("out of memory")))
    with pytest.raises(SearchError, match="3 trials in a row failed, the last with: RuntimeError: out of memory"):
        seek(train)
    assert len(train.recipes) == 3


def test_what_is_wrong_before_the_training_ends_the_search(seek, galaxies, tmp_path, recipe):
    def refuse(run):
        (run / "run.json").unlink()
        raise TrainError("no such network")

    train = Trainer()
    train.at = {0: refuse}
    with pytest.raises(TrainError, match="no such network"):
        seek(train)
    with pytest.raises(TrainError, match="--init"):
        seek(Trainer(), "b", recipe=recipe.changed(init="weights.tflite"))


def test_a_search_that_begins_with_a_model_is_known_by_the_models_digest(recipe):
    data = SimpleNamespace(labels_sha256="a", images_sha256="b")
    begins = fingerprint(data, recipe, space_around(recipe), "fast", 0)["initial weights"]
    assert begins == open_bundle("fast").sha256


@pytest.mark.slow
def test_a_hopeless_trial_is_pruned(seek):
    train = Trainer()
    found = seek(train, n_trials=20)
    pruned = [row for row in found.rows if row.state == "pruned"]
    assert pruned
    assert all(row.epochs == 2 and "median" in row.reason for row in pruned)
    # Optuna's model finds the one good rate better than chance: the later half is nearer to it.
    away = [abs(math.log(recipe.learning_rate / 2e-3)) for recipe in train.recipes]
    assert np.mean(away[10:]) < np.mean(away[1:10])
    assert sum(found.importances.values()) == pytest.approx(1)
    assert set(found.importances) == set(found.names)
    assert max(found.importances, key=found.importances.get) in ("learning_rate", "dropout")


# ------------------------------------------------------------------ what is left


@pytest.mark.slow
def test_the_table_and_the_recipe_tell_the_best_trial(seek, tmp_path, recipe):
    train = Trainer()
    found = seek(train, n_trials=10, epochs=2, figures=True)
    out = tmp_path / "out"
    rows = _table(out / "trials.csv")
    assert len(rows) == 10
    assert list(rows[0]) == ["number", "state", "value", *found.names, "epochs", "seconds", "reason"]
    assert all(row[name] for row in rows for name in (*found.names, "epochs", "seconds"))
    complete = [row for row in rows if row["state"] == "complete"]
    least = min(complete, key=lambda row: float(row["value"]))
    assert int(least["number"]) == found.best.number
    assert float(least["value"]) == found.best.value

    best = load_recipe(out / "best.toml")
    assert best.epochs == recipe.epochs
    tried = train.recipes[found.best.number]
    assert tried.epochs == 2
    assert shorten(best, 2) == tried
    for row, told in zip(rows, train.recipes, strict=True):
        assert float(row["learning_rate"]) == told.learning_rate
        assert int(row["size"]) == told.size
    header = [line for line in (out / "best.toml").read_text("utf-8").splitlines() if line.startswith("#")]
    for word in ("tuningfork train", "tuningfork study search", "Hardware", "Time", f"{found.best.value:.4f}"):
        assert any(word in line for line in header)

    page = (out / "README.md").read_text("utf-8")
    assert "$ tuningfork study search" in page
    assert len(re.findall(r"^\| \**\d+\** \| (?:complete|pruned)", page, re.MULTILINE)) == 10
    assert f"**{found.best.number}**" in page
    for name in ("history.png", "slices.png", "importance.png"):
        assert (out / name).read_bytes().startswith(b"\x89PNG")
        assert name in page
    json.dumps(found.to_dict(), allow_nan=False)


def test_only_the_best_trial_keeps_its_model_and_none_its_predictions(seek, tmp_path):
    found = seek(Trainer(), n_trials=6)
    assert found.importances == {}  # of so few
    for folder in (tmp_path / "out" / "trials").iterdir():
        kept = {path.name for path in folder.iterdir()}
        assert {"run.json", "curves.csv"} <= kept
        assert not kept & {"predictions.parquet", "truth.parquet", "last.ckpt"}
        assert ("bundle" in kept) == ("best.ckpt" in kept) == (int(folder.name) == found.best.number)


def test_a_folders_name_cannot_end_the_recipes_comments(seek, tmp_path):
    seek(Trainer(), n_trials=1, command="tuningfork study search -o 'a\nepochs = 9\x00'")
    assert load_recipe(tmp_path / "out" / "best.toml").epochs == 3


@pytest.mark.parametrize("output", ["a b%20?x=1#y", "{x}ä"])
def test_a_folder_may_have_any_name(seek, output):
    assert len(seek(Trainer(), output, n_trials=1).finished) == 1
    assert len(seek(Trainer(), output, n_trials=2).finished) == 2


# ------------------------------------------------------------------ the command


def _words(galaxies, tmp_path, **recipe):
    file = tmp_path / "small.toml"
    small = Recipe(network="test_efficientnet", size=32, batch=16, ema_decay=0.5, views=1, **recipe)
    file.write_text(recipe_toml(small))
    words = ["study", "search", "--images", galaxies / "images_training_rev1", "--labels"]
    words += [galaxies / "training_solutions_rev1.csv", "-o", tmp_path / "out", "--recipe", file]
    return [str(word) for word in (*words, "--cache", tmp_path / "cache", "--workers", 0, "--threads", 1)]


def test_without_its_libraries_it_says_what_to_install(galaxies, tmp_path):
    code = (
        "import sys; sys.modules['optuna'] = None\n"
        "from tuningfork.cli import main\n"
        f"sys.argv = ['tuningfork', *{_words(galaxies, tmp_path)!r}]\nmain()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1
    assert "[study]" in done.stderr


@pytest.mark.slow
def test_a_real_search(galaxies, tmp_path):
    words = _words(galaxies, tmp_path, epochs=2)
    result = CliRunner().invoke(app, [*words, "--trials", "3", "--json"])
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert told["finished"] == len(told["trials"]) == 3
    assert all(trial["seconds"] > 0 for trial in told["trials"])
    result = CliRunner().invoke(app, [*words, "--trials", "4"])
    assert result.exit_code == 0, result.output
    assert result.stderr.count("\ntrial ") == 1
    assert "best.toml" in result.stdout
    best = told["best"]
    run = json.loads((tmp_path / "out" / "trials" / f"{best:04d}" / "run.json").read_text())
    assert Recipe.from_dict(run["recipe"]).learning_rate == told["trials"][best]["parameters"]["learning_rate"]
    assert not list((tmp_path / "out").rglob("predictions.parquet"))
    assert len(list((tmp_path / "out").rglob("bundle.json"))) == 1


@pytest.mark.slow
def test_an_interrupted_search_says_how_to_go_on(interrupted, galaxies, tmp_path):
    words = _words(galaxies, tmp_path, epochs=4)
    assert "run the same command again to continue" in interrupted(*words, "--trials", 50, line="trial 1,")
    rows = _table(tmp_path / "out" / "trials.csv")
    assert [row["state"] for row in rows][:2] == ["complete", "complete"]
