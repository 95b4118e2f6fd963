"""What a training minimises, leaves behind and survives."""

from __future__ import annotations

import json
import sys
from importlib.resources import files
from types import SimpleNamespace

import numpy as np
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

torch = pytest.importorskip("torch", reason="the extra `train` is not installed")
pytest.importorskip("tuningfork.training")  # first: it lets timm import torchvision

import lightning
from trainings import fit

from tuningfork.cli import app
from tuningfork.evaluation import metrics
from tuningfork.model.bundle import Outputs, open_bundle
from tuningfork.model.model import Model
from tuningfork.training.dataset import Targets
from tuningfork.training.initial.pretrained import with_scaling
from tuningfork.training.join import TrainError, read_training_set
from tuningfork.training.lightning_module import MorphologyModule, candidate_loss, rmse_loss, vote_loss
from tuningfork.training.network import cumulative_from_logits
from tuningfork.training.recipe import Recipe
from tuningfork.training.run_files import Curves
from tuningfork.votes import fractions as votes
from tuningfork.votes.clean_samples import Status, classify
from tuningfork.votes.label_table import read_labels

RECIPE = Recipe(network="test_efficientnet", size=32, epochs=2, batch=16, ema_decay=0.5, views=1, validation=0.2)
KINDS = {
    "both": RECIPE,
    "votes": RECIPE.changed(task="votes", drop_path=0.0),
    # The paper's way, all at once.
    "sigmoid": RECIPE.changed(task="votes", output="sigmoid", loss="rmse", hidden=16, dropout=0.5, optimizer="adam",
                       weight_decay=0.0, schedule="plateau", ema_decay=0.0, learning_rate=1e-3),
    "classes": RECIPE.changed(task="classes", precision="bf16-mixed"),
}  # fmt: skip


def _data(galaxies, gz2, recipe=RECIPE, cache=None):
    return read_training_set(
        read_labels(galaxies / "training_solutions_rev1.csv", gz2), [galaxies / "images_training_rev1"], recipe, cache
    )


def with_labels(galaxies, file, change):
    """A label table with its votes changed: `change` takes the values (N, 37) and gives new ones."""
    header, *rows = (galaxies / "training_solutions_rev1.csv").read_text().splitlines()
    ids = [row.split(",")[0] for row in rows]
    values = change(np.array([[float(cell) for cell in row.split(",")[1:]] for row in rows]))
    lines = (",".join([i, *("" if np.isnan(v) else str(v) for v in row)]) for i, row in zip(ids, values, strict=True))
    file.write_text("\n".join([header, *lines]))
    return file


# ------------------------------------------------------------------ losses and figures


def test_the_rmse_loss_is_that_of_numpy():
    rng = np.random.default_rng(0)
    predicted, known = rng.random((9, 37)), rng.random((9, 37))
    known[rng.random(known.shape) < 0.4] = np.nan
    expected = metrics.rmse(predicted, known)
    found = rmse_loss(torch.from_numpy(predicted), torch.from_numpy(known))
    assert float(found) == pytest.approx(expected, abs=1e-9)
    assert float(found) == pytest.approx(np.sqrt(np.nanmean((predicted - known) ** 2)), abs=1e-9)


@pytest.mark.parametrize("known", [torch.full((4, 37), torch.nan), torch.ones(4, 37)])
def test_the_rmse_loss_has_a_slope_everywhere(known):
    """Where nothing is known, and where all is met, the root's slope would be no number."""
    predicted = torch.ones(4, 37, requires_grad=True)
    rmse_loss(predicted, known).backward()
    assert predicted.grad.isfinite().all()
    assert (predicted.grad == 0).all()


def test_blank_cells_teach_the_rmse_loss_nothing():
    predicted = torch.rand(5, 37, requires_grad=True)
    known = torch.rand(5, 37)
    known[:, 20:] = torch.nan
    rmse_loss(predicted, known).backward()
    assert (predicted.grad[:, 20:] == 0).all()
    assert (predicted.grad[:, :20] != 0).all()


def test_galaxies_without_a_class_teach_no_class():
    logits = torch.randn(4, 7, requires_grad=True)
    candidates = torch.zeros(4, 7)
    candidates[1, 3] = 1
    candidate_loss(logits, candidates).backward()
    assert (logits.grad[[0, 2, 3]] == 0).all()
    assert (logits.grad[1] != 0).all()
    candidate_loss(logits, torch.zeros(4, 7)).backward()
    assert logits.grad.isfinite().all()


def _fit(recipe, tree, targets, **options):
    """Lightning's loop on noise, without images; gives the module and its trainer."""
    import warnings

    lightning.seed_everything(0, verbose=False)
    count = len(targets)
    images = torch.from_numpy(np.random.default_rng(0).uniform(-1, 1, (count, 3, 32, 32)).astype(np.float32))
    known, candidates = torch.from_numpy(targets.cumulative), torch.from_numpy(targets.candidates)
    loaders = [
        torch.utils.data.DataLoader(torch.utils.data.TensorDataset(images, known, candidates), recipe.batch)
        for _ in range(2)
    ]
    module = MorphologyModule(recipe, tree)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer = lightning.Trainer(
            max_epochs=recipe.epochs, accelerator="cpu", devices=1, logger=False, enable_checkpointing=False,
            enable_progress_bar=False, enable_model_summary=False, num_sanity_val_steps=0,
            precision=recipe.precision, **options,
        )  # fmt: skip
        trainer.fit(module, *loaders)
    return module, trainer


@pytest.mark.parametrize("kind", KINDS)
def test_each_task_has_its_outputs_and_its_figures(gz2, galaxies, kind):
    recipe = KINDS[kind].changed(epochs=1)
    data = _data(galaxies, gz2, recipe)
    module, trainer = _fit(recipe, gz2, Targets.of(data.cumulative, gz2))
    width = {"both": 44, "votes": 37, "classes": 7}[recipe.task]
    assert module.network.head.out_features == width
    figures = {key for key in trainer.callback_metrics if key.startswith("val_")}
    assert (
        figures
        == {
            "both": {"val_rmse", "val_accuracy", "val_loss"},
            "votes": {"val_rmse"},
            "classes": {"val_accuracy", "val_loss"},
        }[recipe.task]
    )
    assert recipe.monitor in figures
    assert all(value.isfinite() for value in trainer.callback_metrics.values())


@pytest.mark.parametrize("kind", KINDS)
def test_a_step_minimises_what_its_recipe_says(gz2, galaxies, kind):
    recipe = KINDS[kind].changed(class_weight=0.25)
    targets = Targets.of(_data(galaxies, gz2).cumulative[:8], gz2)
    known, candidates = torch.from_numpy(targets.cumulative), torch.from_numpy(targets.candidates)
    images = torch.randn(len(known), 3, 32, 32)
    module = MorphologyModule(recipe, gz2).eval()
    with torch.no_grad():
        told = module(images)
        expected = {
            "both": lambda: (
                vote_loss(cumulative_from_logits(told[:, :37], gz2), known)
                + 0.25 * candidate_loss(told[:, 37:], candidates)
            ),
            "votes": lambda: vote_loss(cumulative_from_logits(told, gz2), known),
            "sigmoid": lambda: rmse_loss(told.sigmoid(), known),
            "classes": lambda: candidate_loss(told, candidates),
        }[kind]()
        assert float(module.loss((images, known, candidates))) == pytest.approx(float(expected), rel=1e-6)


def test_the_validation_figures_are_those_of_numpy(gz2, galaxies):
    recipe = RECIPE.changed(epochs=1, dropout=0.0, drop_path=0.0)
    data = _data(galaxies, gz2, recipe)
    cumulative = data.cumulative.copy()
    cumulative[np.random.default_rng(0).random(cumulative.shape) < 0.3] = np.nan
    targets = Targets.of(cumulative, gz2)
    module, trainer = _fit(recipe, gz2, targets)
    images = torch.from_numpy(np.random.default_rng(0).uniform(-1, 1, (len(targets), 3, 32, 32)).astype(np.float32))
    module.eval()
    with torch.no_grad():
        answers, classes = module._outputs(images)
        told = module._cumulative(answers).numpy()
    columns = np.nanmean((told - cumulative) ** 2, 0)
    assert float(trainer.callback_metrics["val_rmse"]) == pytest.approx(np.sqrt(columns.mean()), abs=1e-6)
    # Of a galaxy whose known columns leave one class open, that class is taken for the true one.
    decided = targets.candidates.sum(1) == 1
    truth = targets.candidates.argmax(1)[decided]
    hits = classes.numpy().argmax(1)[decided] == truth
    assert float(trainer.callback_metrics["val_accuracy"]) == pytest.approx(hits.mean(), abs=1e-6)
    log = classes.log_softmax(-1).numpy()[decided, truth]
    assert float(trainer.callback_metrics["val_loss"]) == pytest.approx(-log.mean(), abs=1e-5)


def test_the_rate_falls_where_validation_stands_still(gz2):
    """With steps of a ten-millionth nothing is learned."""
    recipe = KINDS["sigmoid"].changed(network="convnext_atto", epochs=7, dropout=0.0, learning_rate=1e-7,
                     plateau_patience=2, plateau_factor=0.2)  # fmt: skip
    known = np.random.default_rng(0).integers(0, 2, (16, 37)).astype(np.float32)
    _, trainer = _fit(recipe, gz2, Targets(known, np.zeros((16, 7), np.float32)))
    assert isinstance(trainer.optimizers[0], torch.optim.Adam)
    falls = np.log(trainer.optimizers[0].param_groups[0]["lr"] / 1e-7) / np.log(0.2)
    assert falls == pytest.approx(round(falls))
    assert 1 <= falls <= 3


def test_the_classes_alone_learn_of_decided_galaxies(galaxies, gz2, tmp_path):
    recipe = KINDS["classes"]
    labels = with_labels(galaxies, tmp_path / "l.csv", lambda v: np.where(np.arange(37) >= 17, np.nan, v))
    images = [galaxies / "images_training_rev1"]
    both, alone = (
        read_training_set(read_labels(labels, gz2), images, recipe.changed(task=task)) for task in ("both", "classes")
    )
    classes = classify(both.cumulative, gz2)
    assert (classes == Status.UNDECIDED).any()
    assert alone.ids == tuple(id_ for id_, c in zip(both.ids, classes, strict=True) if c >= 0)
    parts = dict(zip(both.ids, both.parts, strict=True))
    assert [parts[id_] for id_ in alone.ids] == alone.parts.tolist()  # the split is that of the votes
    assert (Targets.of(alone.cumulative, gz2).candidates.sum(1) == 1).all()


# ------------------------------------------------------------------ bad input


def test_an_empty_class_and_a_class_of_one_are_noted(galaxies, gz2, tmp_path):
    def change(values):
        classes = classify(values, gz2)
        values[np.flatnonzero(classes == 0)] = 0
        values[np.flatnonzero(classes == 1)[1:]] = 0
        return values

    labels = with_labels(galaxies, tmp_path / "l.csv", change)
    data = read_training_set(read_labels(labels, gz2), [galaxies / "images_training_rev1"], RECIPE)
    notes = data.warnings(gz2)
    assert any(note.startswith("no galaxy has class 0 (completely round") for note in notes)
    assert any("class 1" in note and "1 in all, is absent from: validation, test" in note for note in notes)
    assert data.counts(gz2)["train_classes"]["completely_round"] == 0


def test_no_class_at_all_is_an_error_for_the_classes_alone(galaxies, gz2, tmp_path):
    labels = with_labels(galaxies, tmp_path / "l.csv", np.zeros_like)
    with pytest.raises(TrainError, match="no galaxy of the train part has votes that decide a class"):
        read_training_set(read_labels(labels, gz2), [galaxies / "images_training_rev1"], KINDS["classes"])


@pytest.mark.parametrize("packing", [False, True])
def test_reading_tells_how_far_it_is(galaxies, tmp_path, gz2, packing):
    place = read_labels(galaxies / "training_solutions_rev1.csv", gz2), [galaxies / "images_training_rev1"]
    passes = []
    for _ in range(2):
        told = []
        cache = tmp_path / "cache" if packing else None
        read_training_set(*place, RECIPE, cache, lambda *counts, told=told: told.append(counts))
        assert {total for _, total in told} == {60}
        assert told[0] == (1, 60)
        assert told[-1] == (60, 60)
        passes.append(told.count((60, 60)))
    # Hashes, then the images; packed ones are not read again.
    assert passes == [2, 1 if packing else 2]


@pytest.mark.parametrize(("command", "place"), [
    (["train"], "tuningfork.training.train.train"),
    (["study", "search"], "tuningfork.experiments.search.run.search"),
])  # fmt: skip
def test_a_terminal_sees_how_far_the_reading_is(galaxies, tmp_path, monkeypatch, command, place):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TTY_INTERACTIVE", "1")
    terminal = SimpleNamespace(stderr=SimpleNamespace(isatty=lambda: True))
    monkeypatch.setattr("tuningfork._utils.progress.sys", terminal)

    def reading(*_, progress, **__):
        progress(30, 60)
        progress(60, 60)
        raise TrainError("read")

    pytest.importorskip("optuna")
    monkeypatch.setattr(place, reading)
    labels = galaxies / "training_solutions_rev1.csv"
    result = CliRunner().invoke(app, [*command, "--images", galaxies, "--labels", labels, "-o", tmp_path / "run"])
    assert result.exit_code == 1
    assert "reading" in result.stderr
    assert "60/60" in result.stderr


def test_blank_votes_alone_are_an_error(galaxies, gz2, tmp_path):
    labels = with_labels(galaxies, tmp_path / "l.csv", lambda values: np.full_like(values, np.nan))
    with pytest.raises(TrainError, match="every vote is blank"):
        read_training_set(read_labels(labels, gz2), [galaxies / "images_training_rev1"], RECIPE)


def test_a_tree_without_classes_has_none_to_learn(galaxies, tmp_path):
    tree = tmp_path / "tree.toml"
    questions, _, _ = (files("tuningfork.votes") / "trees/gz2.toml").read_text("utf-8").partition("[[classes]]")
    tree.write_text(questions, "utf-8")
    with pytest.raises(TrainError, match="has no classes to learn"):
        fit(galaxies, tmp_path / "run", KINDS["classes"].changed(tree=str(tree)))
    assert not (tmp_path / "run").exists()


def test_a_run_folder_that_is_a_file_is_told(galaxies, tmp_path):
    (tmp_path / "run").write_text("")
    with pytest.raises(TrainError, match="is a file; name a folder"):
        fit(galaxies, tmp_path / "run", RECIPE)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"accelerator": "cray"}, "cray"),
        ({"strategy": "dpd"}, "dpd"),
        ({"devices": "many"}, "many"),
        ({"devices": "0"}, "devices 0"),
    ],
)
def test_machines_that_are_not_there_are_told(galaxies, tmp_path, options, says):
    with pytest.raises(TrainError, match=says):
        fit(galaxies, tmp_path / "run", RECIPE, **{"accelerator": "cpu", **options})


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_missing_gpu_is_one_line(galaxies, tmp_path):
    arguments = ["train", "--images", str(galaxies / "images_training_rev1"), "--labels",
                 str(galaxies / "training_solutions_rev1.csv"), "-o", str(tmp_path / "run"), "--recipe",
                 "efficientnet_b0", "--no-cache", "--accelerator", "gpu", "--workers", "0"]  # fmt: skip
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 1
    assert done.stderr.splitlines()[-1].startswith("error: accelerator gpu, devices auto, strategy auto: ")


def test_tensorboard_that_is_not_installed_is_one_line_before_the_work(galaxies, tmp_path, monkeypatch):
    for name in ("tensorboard", "tensorboardX"):
        monkeypatch.setitem(sys.modules, name, None)
        monkeypatch.setattr(f"lightning.fabric.loggers.tensorboard._{name.upper()}_AVAILABLE", False)
    monkeypatch.setattr("tuningfork.training.train.read_training_set", None)
    arguments = ["train", "--images", str(galaxies / "images_training_rev1"), "--labels",
                 str(galaxies / "training_solutions_rev1.csv"), "-o", str(tmp_path / "run"),
                 "--tensorboard"]  # fmt: skip
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 1
    assert done.stderr.strip().splitlines()[-1].startswith("error: logging for TensorBoard needs it: pip install")
    assert not (tmp_path / "run").exists()


# ------------------------------------------------------------------ curves


def test_curves_go_on_and_drop_what_is_repeated(tmp_path):
    file = tmp_path / "curves.csv"
    for epoch in (1, 2, 3):
        Curves(file).add(epoch, {"val_rmse": 0.1 * epoch, "seconds": 2.0})
    again = Curves(file)
    again.add(3, {"val_rmse": 0.5, "seconds": 1.0, "val_accuracy": 0.25})
    again.add(4, {"seconds": 1.0})
    rows = Curves(file).rows
    assert [row["epoch"] for row in rows] == [1, 2, 3, 4]
    assert rows[2] == {"epoch": 3, "val_rmse": 0.5, "seconds": 1, "val_accuracy": 0.25}
    assert "val_accuracy" not in rows[0]
    assert Curves(file).seconds == 6
    assert Curves(tmp_path / "none.csv").rows == []


def test_the_wait_for_data_is_a_share_of_the_time(tmp_path):
    file = tmp_path / "curves.csv"
    for epoch, (seconds, share) in enumerate([(30.0, 0.1), (10.0, 0.5)], 1):
        Curves(file).add(epoch, {"seconds": seconds, "data_wait": share})
    assert Curves(file).data_wait == pytest.approx((3 + 5) / 40)
    assert Curves(tmp_path / "none.csv").data_wait == 0


# ------------------------------------------------------------------ whole trainings


@pytest.fixture(scope="module")
def runs(galaxies, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    return {
        kind: (folder / kind, fit(galaxies, folder / kind, recipe, cache=folder / "cache"))
        for kind, recipe in KINDS.items()
    }


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_run_leaves_what_another_program_needs(runs, galaxies, gz2, kind):
    folder, report = runs[kind]
    recipe = KINDS[kind]
    result = json.loads((folder / "result.json").read_text("utf-8"))
    assert result["format"] == "tuningfork-run"
    assert (result["network"], result["task"], result["size"], result["seed"]) == (recipe.network, recipe.task, 32, 0)
    assert (result["epochs"], result["epochs_planned"], result["initial_weights"]) == (2, 2, "scratch")
    assert result["best_epoch"] == report.best_epoch in (1, 2)
    curves = Curves(folder / "curves.csv")
    assert [row["epoch"] for row in curves.rows] == [1, 2]
    best = min(curves.rows, key=lambda row: row[recipe.monitor])
    assert best["epoch"] == report.best_epoch
    for key, value in result["validation"].items():
        assert best[key] == value
    assert result["seconds"] == pytest.approx(curves.seconds)
    assert 0 < result["data_wait"] <= 1
    assert result["data_wait"] == pytest.approx(curves.data_wait)
    assert result["peak_memory_mb"] > 50
    assert result["processes"] == 1
    assert result["deviation"]["float32"] < 1e-3
    told = json.loads((folder / "run.json").read_text("utf-8"))
    assert Recipe.from_dict(told["recipe"]) == with_scaling(recipe)
    assert told["initial_weights"] == "scratch"
    data = _data(galaxies, gz2, recipe)
    assert told["images_sha256"] == data.images_sha256
    assert result["counts"] == data.counts(gz2)

    judged = np.flatnonzero(data.parts != "train")
    truth, predicted = (pq.read_table(folder / f"{name}.parquet") for name in ("truth", "predictions"))
    ids = [data.ids[i] for i in judged]
    assert truth["id"].to_pylist() == predicted["id"].to_pylist() == ids
    assert truth["part"].to_pylist() == predicted["part"].to_pylist() == data.parts[judged].tolist()
    assert truth["path"].to_pylist() == [str(data.paths[i]) for i in judged]
    known = np.stack([truth[column].to_numpy() for column in gz2.columns], 1)
    np.testing.assert_array_equal(known, data.cumulative[judged])
    assert truth["class"].to_pylist() == classify(known, gz2).tolist()

    model = Model(open_bundle(folder / "bundle"))
    assert model.bundle.outputs == Outputs("" if kind == "classes" else recipe.output, recipe.task != "votes")
    rows = model.predict([data.paths[i] for i in judged])
    answers, classes = model.bundle.outputs.widths(gz2)
    names = [*(gz2.columns if answers else ()), *(f"class_{c}_probability" for c in range(classes))]
    assert predicted.column_names == ["id", "part", *names]
    expected = np.hstack([rows.cumulative[:, :answers], rows.class_probability[:, :classes]])
    found = np.stack([predicted[name].to_numpy() for name in names], 1)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    if recipe.output == "tree" and answers:
        assert np.abs(votes.sum_violations(found[:, :37], gz2)).max() < 1e-9


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sigmoid", "classes"])
def test_its_bundle_predicts_from_the_command_line(runs, galaxies, tmp_path, kind):
    folder, _ = runs[kind]
    arguments = ["predict", str(galaxies / "images_training_rev1"), "--model", str(folder / "bundle")]
    done = CliRunner().invoke(app, [*arguments, "-o", str(tmp_path / "votes.parquet")])
    assert done.exit_code == 0, done.output
    table = pq.read_table(tmp_path / "votes.parquet")
    assert table.num_rows == 60
    # A model of votes alone names classes, too: they follow from its votes.
    assert table["class_name"].null_count == 0
    assert "" not in table["class_name"].to_pylist()
    assert table["bar_yes_fraction"].null_count == (0 if kind == "sigmoid" else 60)


@pytest.mark.slow
def test_a_finished_run_resumed_ends_as_it_was(runs, galaxies):
    folder, report = runs["both"]
    before = {name: (folder / name).read_bytes() for name in ("curves.csv", "split.csv", "run.json")}
    bundle = open_bundle(folder / "bundle")
    again = fit(galaxies, folder, RECIPE, cache=folder.parent / "cache", resume=True)
    assert {name: (folder / name).read_bytes() for name in before} == before
    assert again.best == report.best
    networks = [Model(b).predict(galaxies / "images_training_rev1") for b in (bundle, open_bundle(folder / "bundle"))]
    np.testing.assert_allclose(networks[0].cumulative, networks[1].cumulative, atol=1e-6)


@pytest.fixture(scope="module")
def three_epochs(galaxies, tmp_path_factory):
    """A training that nothing interrupts: its recipe, folder and report."""
    recipe, folder = RECIPE.changed(epochs=3), tmp_path_factory.mktemp("whole") / "run"
    return recipe, folder, fit(galaxies, folder, recipe)


@pytest.mark.slow
@pytest.mark.parametrize("when", ["half", "nothing"])
def test_a_checkpoint_interrupted_leaves_the_one_before(galaxies, three_epochs, tmp_path, monkeypatch, when, messages):
    """The disk fills up, or the plug is pulled, while the second epoch's last.ckpt is written."""
    recipe, uninterrupted, whole = three_epochs
    save, seen = torch.save, []

    def breaking(checkpoint, file, *rest, **options):
        seen.append(str(file))
        if sum("last" in name for name in seen) == 2 and "last" in str(file):
            if when == "half":
                with open(file, "wb") as half:
                    half.write(b"PK\x03\x04 half a checkpoint")
            raise OSError(28, "No space left on device")
        save(checkpoint, file, *rest, **options)

    monkeypatch.setattr(torch, "save", breaking)
    with pytest.raises(OSError, match="No space left"):
        fit(galaxies, tmp_path / "run", recipe)
    monkeypatch.undo()
    assert not list((tmp_path / "run").glob("*.part"))
    assert not list((tmp_path / "run").glob(".*.part"))
    assert not (tmp_path / "run" / "result.json").exists()
    assert torch.load(tmp_path / "run" / "last.ckpt", weights_only=True)["epoch"] == 0
    messages()
    resumed = fit(galaxies, tmp_path / "run", recipe, resume=True)
    assert [line.split(":")[0] for line in messages() if line.startswith("epoch")] == ["epoch 2/3", "epoch 3/3"]
    curves = Curves(tmp_path / "run" / "curves.csv").rows
    assert [row["epoch"] for row in curves] == [1, 2, 3]
    clocks = {"seconds", "data_wait"}
    for ours, theirs in zip(curves, Curves(uninterrupted / "curves.csv").rows, strict=True):
        assert {k: v for k, v in ours.items() if k not in clocks} == pytest.approx(
            {k: v for k, v in theirs.items() if k not in clocks}, abs=1e-6
        )
    assert resumed.best == pytest.approx(whole.best, abs=1e-6)


@pytest.mark.slow
def test_gaps_in_the_data_are_noted_and_the_training_goes_on(with_gaps, galaxies, tmp_path, gz2, messages):
    """Lost images, unknown images, a broken one, an empty class, a class of one: all in one run."""
    folder, paths = with_gaps(galaxies / "images_training_rev1", kept=55, broken=7, unknown="424242")

    def change(values):
        classes = classify(values, gz2)
        values[np.flatnonzero(classes == 0)] = 0
        values[np.flatnonzero(classes == 1)[1:], 10:] = np.nan
        return values

    labels = with_labels(galaxies, tmp_path / "l.csv", change)
    report = fit(galaxies, tmp_path / "run", RECIPE, labels=labels, images=folder)
    said = messages()
    assert {error.id for error in report.errors} == {path.stem for path in (*paths[55:], paths[7])}
    assert any("1 image has no label in" in line and "424242" in line for line in said)
    assert any(line.startswith("note: no galaxy has class 0") for line in said)
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert result["notes"] == [line.removeprefix("note: ") for line in said if line.startswith("note: ")]
    assert open_bundle(report.bundle).training["counts"]["train_classes"]["completely_round"] == 0


@pytest.mark.slow
def test_tensorboard_logs_where_it_is_installed(galaxies, tmp_path):
    pytest.importorskip("tensorboard")
    fit(galaxies, tmp_path / "run", RECIPE.changed(epochs=1), tensorboard=True)
    assert list((tmp_path / "run" / "tensorboard").glob("events.out.tfevents.*"))
