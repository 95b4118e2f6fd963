"""Purity, completeness and yield: against scikit-learn, with galaxies of no class, in groups; table, plot, command."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import precision_score, recall_score

from tuningfork._utils.binomial import binomial_interval
from tuningfork.evaluation.prediction_table import PredictionTable
from tuningfork.evaluation.purity import SHORT, THRESHOLDS, purity, sample_curve
from tuningfork.evaluation.true_classes import TrueClasses
from tuningfork.model.bundle import open_bundle
from tuningfork.model.card import model_card
from tuningfork.model.training_ids import TrainingIDs
from tuningfork.tables import read_table
from tuningfork.votes.clean_samples import classify
from tuningfork.votes.tree import DecisionTree
from tuningfork.votes.vote_table import VoteTable

SINGLE = tuple((c,) for c in range(7))


@given(st.integers(0, 10_000), st.sampled_from(THRESHOLDS))
@settings(max_examples=40, derandomize=True)
def test_shares_are_scikit_learns_and_lie_in_their_intervals(seed, threshold) -> None:
    rng = np.random.default_rng(seed)
    probability, of_class = rng.random(40).round(2), rng.random(40) < 0.3
    (point,) = sample_curve(probability, of_class, [threshold])
    selected = probability >= threshold
    if selected.any():
        assert point["purity"] == pytest.approx(precision_score(of_class, selected))
        bounds = binomial_interval(point["right"], point["selected"])
        assert (point["purity_low"], point["purity_high"]) == pytest.approx(bounds)
    else:
        assert point["purity"] is None is point["purity_low"]
    if of_class.any():
        assert point["completeness"] == pytest.approx(recall_score(of_class, selected))
    assert point["yield"] == pytest.approx(selected.mean())
    for name in ("purity", "completeness", "yield"):
        if point[name] is not None:
            assert 0 <= point[f"{name}_low"] <= point[name] <= point[f"{name}_high"] <= 1


def test_weights_count_as_repeated_galaxies_do_in_shares_but_not_in_intervals() -> None:
    rng = np.random.default_rng(1)
    probability, of_class = rng.random(50), rng.random(50) < 0.4
    weights = rng.integers(1, 6, 50)
    (ours,) = sample_curve(probability, of_class, [0.5], weights=weights.astype(float))
    (repeated,) = sample_curve(np.repeat(probability, weights), np.repeat(of_class, weights), [0.5])
    (plain,) = sample_curve(probability, of_class, [0.5])
    for name in ("purity", "completeness", "yield"):
        assert ours[name] == pytest.approx(repeated[name])
        width = ours[f"{name}_high"] - ours[f"{name}_low"]
        assert width > repeated[f"{name}_high"] - repeated[f"{name}_low"]  # nothing was seen more often
    assert {ours[key] == plain[key] for key in ("judged", "galaxies", "selected", "right")} == {True}
    (even,) = sample_curve(probability, of_class, [0.5], weights=np.full(50, 3.0))
    assert even["purity_low"] == pytest.approx(plain["purity_low"])


@pytest.fixture
def survey(gz2: DecisionTree) -> tuple[PredictionTable, TrueClasses]:
    """300 galaxies with random votes; half of them have the class that they fit, a sixth is open between 4 and 5."""
    rng = np.random.default_rng(2)
    rows = np.zeros((300, len(gz2.columns)))
    for column, low in (("Class1.1", 0.3), ("Class7.1", 0.3), ("Class6.2", 0.4)):
        rows[:, gz2.columns.index(column)] = rng.uniform(low, 1, 300)
    probability = rng.dirichlet(np.full(7, 0.4), 300)
    fits = np.zeros((300, 7), np.int8)
    fits[np.arange(150), probability[:150].argmax(1)] = 1
    fits[150:200, 4:6] = -1
    ids = tuple(f"g{i}" for i in range(300))
    table = PredictionTable(
        "votes.csv", VoteTable(gz2, ids, rows), (), probability=probability, no_class_probability=rng.random(300)
    )
    return table, TrueClasses("labels.csv", gz2, ids, fits, SINGLE)


def test_galaxies_of_no_class_contaminate_and_open_ones_are_left_out_where_they_are_open(survey) -> None:
    table, truth = survey
    report = purity(table, truth).report
    assert (report["galaxies"], report["no_class"], report["undecided"]) == (300, 100, 50)
    for c, each in enumerate(report["probability"].values()):
        open_ = 50 if c in (4, 5) else 0
        assert (each["judged"], each["unknown"]) == (300 - open_, open_)
        assert each["galaxies"] == (truth.fits[:, c] == 1).sum()
        first = each["curve"][0]  # no threshold: all galaxies
        assert (first["completeness"], first["yield"]) == (1, 1)
        assert first["purity"] == each["galaxies"] / each["judged"]
        counts = [point["selected"] for point in each["curve"]]
        assert counts == sorted(counts, reverse=True)
    # Without the galaxies of no class, as it was once judged, the same samples look purer.
    only = TrueClasses("labels.csv", truth.tree, truth.ids[:200], truth.fits[:200], SINGLE)
    decided = purity(table, only).report["probability"]["in_between"]["curve"][4]
    assert decided["purity"] > report["probability"]["in_between"]["curve"][4]["purity"]


def test_a_clean_sample_has_votes_that_pass_the_rule(survey, gz2: DecisionTree) -> None:
    table, truth = survey
    report = purity(table, truth, [0.0]).report
    voted = classify(table.votes.fractions, gz2)
    for c, each in enumerate(report["clean"].values()):
        assert each["curve"][0]["selected"] == (voted[truth.fits[:, c] >= 0] == c).sum()
    assert report["clean"]["completely_round"]["curve"][0]["selected"] > 0
    # A model of classes alone has no votes, so no clean sample.
    blank = PredictionTable(
        "classes.csv",
        VoteTable(gz2, table.ids, np.full_like(table.votes.fractions, np.nan)),
        (),
        probability=table.probability,
    )
    assert purity(blank, truth).report["clean"] == {}


def test_groups_add_up_and_training_galaxies_are_left_out(survey, caplog) -> None:
    table, truth = survey
    fits = np.column_stack([truth.fits[:, :4], truth.fits[:, 4:6].max(1), truth.fits[:, 6]])
    fits[150:200, 4] = -1
    together = TrueClasses("labels.csv", truth.tree, truth.ids, fits, ((0,), (1,), (2,), (3,), (4, 5), (6,)))
    learned = TrainingIDs.of({"train": truth.ids[:30]}, salt="s")
    report = purity(table, together, exclude=learned).report
    assert (report["galaxies"], report["left_out"]) == (270, {"train": 30})
    assert "30 of 300 galaxies" in caplog.text
    spirals = report["probability"]["barred_spiral+unbarred_spiral"]
    assert spirals["name"] == "barred spiral or unbarred spiral"
    assert table.no_class_probability is not None
    all_galaxies = table.probability[:, 4:6].sum(1) * (1 - table.no_class_probability)
    judged = [i for i in range(30, 300) if not 150 <= i < 200]
    assert spirals["curve"][10]["selected"] == (all_galaxies[judged] >= 0.5).sum()


def test_the_table_has_a_row_for_each_sample(survey) -> None:
    rows = purity(*survey).to_table()
    assert rows.num_rows == 2 * 7 * len(THRESHOLDS)
    assert all(field.metadata and field.metadata[b"description"] for field in rows.schema)
    assert set(SHORT) <= set(rows["threshold"].to_pylist())


def test_the_plot_is_drawn_of_any_report(survey) -> None:
    pytest.importorskip("matplotlib", reason="the extra `report` is not installed")
    from tuningfork.display.purity_plot import purity_panels

    report = purity(*survey).report
    assert purity_panels(report, "png").startswith(b"\x89PNG")
    text = purity_panels(report).decode()
    assert text == purity_panels(report).decode()
    assert purity_panels({"probability": {}, "clean": {}}).startswith(b"<?xml")


def test_a_card_shows_clean_samples_at_three_thresholds(survey) -> None:
    bundle = open_bundle("fast")
    without = {key: value for key, value in bundle.figures.items() if key != "purity"}
    assert "## Samples of a class" not in model_card(replace(bundle, figures=without))
    result = purity(*survey)
    card = model_card(replace(bundle, figures={**without, "purity": json.loads(json.dumps(result.short()))}))
    about, table = card.split("## Samples of a class\n\n")[1].split("\n\n")[:2]
    assert "100 of which have no class" in about
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]]
    assert len(rows) == 3 * 7
    point = result.report["clean"]["completely_round"]["curve"][0]
    assert rows[0][1:3] == ["any", str(point["selected"])]
    assert rows[0][3].startswith(f"{point['purity']:.2f} (")
    assert [row[1] for row in rows[:3]] == ["any", "0.5", "0.8"]


def test_the_command(tmp_path, run, gz2: DecisionTree) -> None:
    rng = np.random.default_rng(5)
    names = [*gz2.fraction_names, "class", *(f"class_{c}_probability" for c in range(7))]
    lines, labels = [",".join(["id", *names])], ["id,kind"]
    for i in range(60):
        probability = rng.dirichlet(np.full(7, 0.2))
        lines.append(",".join([f"g{i}", *["0.5"] * 37, "0", *map(str, probability)]))
        labels.append(f"g{i},{probability.argmax() if i % 2 else 'none'}")
    (tmp_path / "votes.csv").write_text("\n".join(lines) + "\n")
    (tmp_path / "labels.csv").write_text("\n".join(labels) + "\n")
    words = ["purity", tmp_path / "votes.csv", tmp_path / "labels.csv", "--column", "kind"]
    shown = run(*words, "-o", tmp_path / "purity.csv", "--plot", tmp_path / "purity.png").stdout
    assert "30 of no class" in shown
    assert "completely round" in shown
    assert (tmp_path / "purity.png").read_bytes().startswith(b"\x89PNG")
    report = json.loads(run(*words, "--json").stdout)
    first = report["probability"]["completely_round"]["curve"][10]
    row = next(r for r in read_table(tmp_path / "purity.csv").to_pylist() if r["threshold"] == 0.5)
    assert row["purity"] == pytest.approx(first["purity"])
    run(*words, "-o", tmp_path / "purity.csv", code=1)  # it exists
    run(*words, "--plot", tmp_path / "purity.pdf", code=2)
    (tmp_path / "labels.csv").write_text("id,kind\ng1,1\ng2,0\n")
    assert "no labelled galaxy is without a class" in run(*words).stderr
