"""From labelled galaxies to a model whose table says how far it may be trusted."""

from __future__ import annotations

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest
from typer.testing import CliRunner

import tuningfork
from tuningfork._utils.text import percent
from tuningfork.cli import app
from tuningfork.evaluation.calibrate import CalibrationError, CalibrationOptions, calibrate
from tuningfork.model.bundle import Bundle, BundleError, open_bundle, write_bundle
from tuningfork.model.calibration import Calibration
from tuningfork.model.card import model_card
from tuningfork.model.class_calibration import ClassCalibration, class_probabilities
from tuningfork.model.model import Model
from tuningfork.model.out_of_domain import fit_novelty_detector
from tuningfork.simulation import simulate
from tuningfork.votes.label_table import read_labels
from tuningfork.votes.tree_files import load_tree

COUNT = 130


@pytest.fixture(scope="module")
def galaxies(tmp_path_factory):
    """Pictures, labels and a split: the first ten galaxies of the training, then validation."""
    folder = simulate(tmp_path_factory.mktemp("calibrate") / "sim", COUNT, seed=8, workers=1)
    ids = sorted(path.stem for path in (folder / "images_training_rev1").iterdir())
    parts = ["train" if number < 10 else "validation" for number in range(COUNT)]
    (folder / "split.csv").write_text("id,part\n" + "".join(f"{i},{p}\n" for i, p in zip(ids, parts, strict=True)))
    return folder


@pytest.fixture(scope="module")
def plain(tmp_path_factory) -> Path:
    """The faster of the shipped models, seen from one side only."""
    bundle = replace(open_bundle("fast"), n_views=1, calibration=None, figures={})
    return write_bundle(bundle, tmp_path_factory.mktemp("plain") / "model")


@pytest.fixture(scope="module")
def calibrated(galaxies, plain) -> Bundle:
    return calibrate(
        open_bundle(plain), [galaxies / "images_training_rev1"], read_labels(galaxies / "training_solutions_rev1.csv")
    ).bundle


@pytest.fixture
def run(galaxies, plain):
    def invoke(*words, code=0, labels=galaxies / "training_solutions_rev1.csv"):
        command = ["calibrate", plain, "--images", galaxies / "images_training_rev1", "--labels", labels, *words]
        # Enough galaxies to fit a domain for this rate.
        command += ["--false-alarms", "0.05"]
        result = CliRunner().invoke(app, [str(word) for word in command])
        assert result.exit_code == code, result.output
        return result

    return invoke


def test_the_calibrated_model_comes_back_and_predicts_the_same_fractions(galaxies, plain, calibrated, tmp_path):
    again = open_bundle(write_bundle(calibrated, tmp_path / "model"))
    assert again == calibrated
    assert json.loads((tmp_path / "model" / "bundle.json").read_text("utf-8"))["version"] == 3
    before = tuningfork.load(plain).predict(galaxies / "images_training_rev1")
    after = tuningfork.load(tmp_path / "model").predict(galaxies / "images_training_rev1")
    np.testing.assert_array_equal(after.cumulative, before.cumulative)
    expected, none = class_probabilities(again.calibration.classes, again.tree, votes=before.cumulative)
    np.testing.assert_array_equal(after.class_probability, expected)
    np.testing.assert_array_equal(after.no_class_probability, none)
    assert np.isnan(before.low).all()
    assert (after.level == 0.9).all()
    told = ~np.isnan(after.low)
    assert told[:, :3].all()
    assert (after.low[told] <= after.fractions[told]).all()
    assert (after.fractions[told] <= after.high[told]).all()


def test_the_table_holds_the_bounds_and_is_blank_without_calibration(galaxies, plain, calibrated):
    pictures = sorted((galaxies / "images_training_rev1").iterdir())[:3]
    table = Model(calibrated).predict(pictures).to_table()
    rows = table.to_pylist()
    assert all(
        row["smooth_or_features_smooth_low"]
        <= row["smooth_or_features_smooth_fraction"]
        <= row["smooth_or_features_smooth_high"]
        for row in rows
    )
    assert table["interval_level"].to_pylist() == [0.9] * 3
    blank = tuningfork.load(plain).predict(pictures).to_table()
    assert blank.schema == table.schema
    for name in ("interval_level", "bar_yes_low", "bar_yes_high"):
        assert blank[name].null_count == 3
    other = [name for name in table.column_names if not name.endswith(("_low", "_high", "_level", "_probability"))]
    # The class probabilities are calibrated, and with them which is most probable.
    other = [name for name in other if name not in ("class", "class_name", "nearest_class")]
    assert table.select(other) == blank.select(other)


def test_a_prediction_says_its_intervals(galaxies, plain, calibrated):
    picture = min((galaxies / "images_training_rev1").iterdir())
    prediction = Model(calibrated).predict(picture)
    low, high = prediction.intervals["odd_yes_fraction"]
    assert low <= prediction.fractions["odd_yes_fraction"] <= high
    question, answer, share = prediction.steps()[0]
    at = int(np.argmax(prediction.cumulative[:3]))
    within = f"{percent(share)} ({100 * prediction.low[at]:.0f}–{percent(prediction.high[at])})"
    assert f"{question.replace('_', ' ')}: {answer} {within}" in str(prediction)
    bare = tuningfork.load(plain).predict(picture)
    assert bare.intervals == {}
    assert "–" not in str(bare)


def test_other_views_than_those_of_the_fit_promise_nothing(galaxies, calibrated):
    picture = min((galaxies / "images_training_rev1").iterdir())
    told = Model(calibrated).predict([picture], n_views=4)
    assert np.isnan(told.low).all()
    assert np.isnan(told.level).all()


def test_the_class_calibration_of_the_bundle_is_applied(galaxies, plain, calibrated):
    warm = replace(calibrated, calibration=Calibration(classes=ClassCalibration(0.5)))
    pictures = sorted((galaxies / "images_training_rev1").iterdir())[:4]
    before = tuningfork.load(plain).predict(pictures)
    after = Model(warm).predict(pictures)
    expected, none = class_probabilities(ClassCalibration(0.5), before.tree, votes=before.cumulative)
    np.testing.assert_array_equal(after.class_probability, expected)
    np.testing.assert_array_equal(after.no_class_probability, none)
    assert (after.no_class_probability != before.no_class_probability).all()


def test_intervals_of_another_tree_are_not_opened(calibrated, tmp_path):
    write_bundle(replace(calibrated, tree=load_tree("gz1")), tmp_path / "model")
    with pytest.raises(BundleError, match="not those of tree"):
        open_bundle(tmp_path / "model")


def test_the_domain_of_a_model_survives_a_calibration_with_too_few_pictures_for_a_new_one(galaxies, plain):
    domain = fit_novelty_detector(np.random.default_rng(0).normal(size=(300, 15)))
    bundle = replace(open_bundle(plain), calibration=Calibration(domain=domain))
    again = calibrate(
        bundle, [galaxies / "images_training_rev1"], read_labels(galaxies / "training_solutions_rev1.csv")
    ).bundle
    assert again.calibration.domain == domain
    assert again.calibration.intervals


def test_a_second_calibration_is_not_fitted_on_the_first(galaxies, calibrated):
    again = calibrate(
        calibrated, [galaxies / "images_training_rev1"], read_labels(galaxies / "training_solutions_rev1.csv")
    ).bundle
    assert again == calibrated


def test_the_figures_say_what_it_was_fitted_on(galaxies, plain, calibrated):
    figures = calibrated.figures["calibration"]
    assert figures["galaxies"] == COUNT
    assert figures["part"] == "all"
    assert len(figures["labels_sha256"]) == 64
    assert figures["left_out"]["odd"]["galaxies"] == COUNT
    assert 0.75 < figures["left_out"]["odd"]["joint"] <= 1
    card = model_card(calibrated)
    assert "## Calibration" in card
    assert figures["labels_sha256"] in card
    assert "## Calibration" not in model_card(open_bundle(plain))


# ---------------------------------------------------------------- the command


@pytest.mark.slow
def test_calibrate_then_predict_then_evaluate(run, galaxies, tmp_path):
    said = run("-o", tmp_path / "new", "--split", galaxies / "split.csv").stdout
    assert "calibrated on 120 galaxies (part: validation)" in said
    assert "smooth_or_features" in said
    labels, pictures = galaxies / "training_solutions_rev1.csv", galaxies / "images_training_rev1"
    reports = {}
    for name in ("votes.parquet", "votes.csv"):
        words = ["predict", pictures, "-o", tmp_path / name, "--model", tmp_path / "new"]
        assert CliRunner().invoke(app, [str(word) for word in words]).exit_code == 0
        words = ["evaluate", str(tmp_path / name), str(labels), "--resamples", "20"]
        reports[name] = json.loads(CliRunner().invoke(app, [*words, "--json"]).stdout)
        shown = CliRunner().invoke(app, words).stdout
        assert "promised: 0.9" in shown
        assert "calibration error" in shown
    told = reports["votes.parquet"]["intervals"]
    assert told["level"] == 0.9
    table = pyarrow.parquet.read_table(tmp_path / "votes.parquet")
    ids = table["id"].to_pylist()
    with open(labels, newline="") as file:
        known = {row["GalaxyID"]: (float(row["Class6.1"]), float(row["Class6.2"])) for row in csv.DictReader(file)}
    bounds = [
        np.array([table[f"odd_{answer}_{end}"].to_pylist() for answer in ("yes", "no")]).T for end in ("low", "high")
    ]
    true = np.array([known[i] for i in ids])
    assert told["per_question"]["odd"]["coverage"] == pytest.approx(((bounds[0] <= true) & (true <= bounds[1])).mean())
    assert reports["votes.csv"]["intervals"]["per_question"]["odd"]["coverage"] == pytest.approx(
        told["per_question"]["odd"]["coverage"], abs=0.02
    )
    assert reports["votes.parquet"]["classes"]["reliability"]["galaxies"] > 0


def test_evaluate_says_that_there_are_no_intervals(galaxies, plain, tmp_path):
    pictures, labels = galaxies / "images_training_rev1", galaxies / "training_solutions_rev1.csv"
    words = ["predict", pictures, "-o", tmp_path / "votes.csv", "--model", plain]
    assert CliRunner().invoke(app, [str(word) for word in words]).exit_code == 0
    words = ["evaluate", str(tmp_path / "votes.csv"), str(labels), "--resamples", "20"]
    assert "no intervals to judge" in CliRunner().invoke(app, words).stdout
    assert "intervals" not in json.loads(CliRunner().invoke(app, [*words, "--json"]).stdout)


def test_two_models_in_one_table_are_refused(galaxies, calibrated, tmp_path):
    pictures = sorted((galaxies / "images_training_rev1").iterdir())[:2]
    table = Model(calibrated).predict(pictures).to_table()
    at = table.column_names.index("interval_level")
    pyarrow.parquet.write_table(
        table.set_column(at, "interval_level", pyarrow.array([0.9, 0.8])), tmp_path / "both.parquet"
    )
    words = ["evaluate", str(tmp_path / "both.parquet"), str(galaxies / "training_solutions_rev1.csv")]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 1
    assert "several interval_level" in result.stderr


def test_a_bound_that_is_no_number_is_named(galaxies, calibrated, tmp_path):
    pictures = sorted((galaxies / "images_training_rev1").iterdir())[:2]
    table = Model(calibrated).predict(pictures).to_table()
    at = table.column_names.index("bar_yes_low")
    path = tmp_path / "odd.parquet"
    pyarrow.parquet.write_table(table.set_column(at, "bar_yes_low", pyarrow.array(["0.5", "wide"])), path)
    result = CliRunner().invoke(app, ["evaluate", str(path), str(galaxies / "training_solutions_rev1.csv")])
    assert result.exit_code == 1
    assert f"{path}, row 2, column bar_yes_low: 'wide'" in result.stderr
    assert "wide" in result.stderr


def test_json_tells_the_fit(run, galaxies, tmp_path):
    told = json.loads(run("-o", tmp_path / "new", "--split", galaxies / "split.csv", "--json").stdout)
    assert told["galaxies"] == 120
    assert told["intervals"]["level"] == 0.9
    assert told["missing"] == []
    assert set(told["left_out"]) == set(told["intervals"]["questions"])


def test_galaxies_of_the_training_are_refused_unless_told(run, galaxies, tmp_path):
    words = ("-o", tmp_path / "new", "--split", galaxies / "split.csv", "--part", "train")
    assert "or another --part" in run(*words, code=1).stderr
    assert not (tmp_path / "new").exists()
    # Ten galaxies are enough for intervals, not for the classes.
    assert "class probabilities are not calibrated" in run(*words, "--include-training", code=3).stderr
    assert open_bundle(tmp_path / "new").calibration.classes.reason


def test_the_labels_of_the_training_need_its_split(galaxies, plain, calibrated):
    labels = galaxies / "training_solutions_rev1.csv"
    digest = calibrated.figures["calibration"]["labels_sha256"]
    trained = replace(open_bundle(plain), training={"labels_sha256": digest})
    with pytest.raises(CalibrationError, match="--split"):
        calibrate(trained, [galaxies / "images_training_rev1"], read_labels(labels))
    assert calibrate(
        trained,
        [galaxies / "images_training_rev1"],
        read_labels(labels),
        options=CalibrationOptions(include_training=True),
    ).bundle.calibration


def test_an_unknown_part_is_named(run, galaxies, tmp_path):
    words = ("-o", tmp_path / "new", "--split", galaxies / "split.csv", "--part", "valid")
    assert "train, validation" in run(*words, code=1).stderr


def test_where_nothing_can_be_promised_nothing_is_written(run, galaxies, tmp_path):
    words = ("--split", galaxies / "split.csv", "--part", "train", "--include-training", "--level", 0.99)
    said = run("-o", tmp_path / "new", *words, code=1).stderr
    assert "10 galaxies reach it; a level of 0.99 needs 99" in said
    assert "class probabilities are not calibrated" in said
    assert not (tmp_path / "new").exists()


@pytest.mark.slow
def test_a_question_with_too_few_galaxies_is_told_and_left_blank(run, galaxies, tmp_path):
    def thin(rows):
        at = rows[0].index("Class3.1")
        for row in rows[9:]:
            row[at] = row[at + 1] = ""

    with open(galaxies / "training_solutions_rev1.csv", newline="") as file:
        rows = list(csv.reader(file))
    thin(rows)
    with open(tmp_path / "labels.csv", "w", newline="") as file:
        csv.writer(file).writerows(rows)
    result = run("-o", tmp_path / "new", labels=tmp_path / "labels.csv", code=3)
    assert "missing: no interval for bar: " in result.stderr
    bundle = open_bundle(tmp_path / "new")
    assert "needs 9" in bundle.calibration.intervals.questions["bar"].reason
    assert "no interval for bar" in model_card(bundle)
    table = Model(bundle).predict([min((galaxies / "images_training_rev1").iterdir())]).to_table()
    assert table["bar_yes_low"].null_count == 1
    assert table["odd_yes_low"].null_count == 0


def test_bad_and_missing_pictures_are_named(run, galaxies, plain, tmp_path):
    pictures = tmp_path / "pictures"
    shutil.copytree(galaxies / "images_training_rev1", pictures)
    files = sorted(pictures.iterdir())
    files[20].unlink()
    files[21].write_bytes(b"no picture")
    words = ["calibrate", plain, "--images", pictures, "--labels", galaxies / "training_solutions_rev1.csv"]
    words += ["-o", tmp_path / "new", "--split", galaxies / "split.csv"]
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert result.exit_code == 3
    assert f"({files[20].stem}): no image of this ID" in result.stderr
    assert files[21].name in result.stderr
    assert open_bundle(tmp_path / "new").figures["calibration"]["galaxies"] == 118


def test_pictures_of_strangers_are_told(galaxies, plain, tmp_path):
    (tmp_path / "other").mkdir()
    shutil.copy(min((galaxies / "images_training_rev1").iterdir()), tmp_path / "other" / "stranger.jpg")
    with pytest.raises(CalibrationError, match="names of one kind"):
        calibrate(open_bundle(plain), [tmp_path / "other"], read_labels(galaxies / "training_solutions_rev1.csv"))


def test_wrong_usage(run, tmp_path):
    for level in ("0", "1", "-1", "nan"):
        assert "--level" in run("-o", tmp_path / "new", "--level", level, code=2).stderr
    (tmp_path / "file").write_text("")
    assert "is a file" in run("-o", tmp_path / "file", code=1).stderr
