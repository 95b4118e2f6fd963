"""Plots: every figure of empty, unknown or not finite numbers is drawn, or a PlotError says what is missing."""

from __future__ import annotations

import math
import re
import warnings

import numpy as np
import pytest

pytest.importorskip("matplotlib", reason="the extra `report` is not installed")

from tuningfork.display import plots

NAN = math.nan
BLANK = {"value": None, "low": None, "high": None, "noise_floor": None, "galaxies": 0}


def row(mean):
    return {"labels": 10, "a": {"mean": mean, "deviation": None}}


def group(**values):
    keys = ("coverage", "low", "high", "accuracy", "probability")
    return {"group": "all", "galaxies": 0, "judged": 0, **dict.fromkeys(keys), **values}


@pytest.fixture(autouse=True)
def no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


@pytest.mark.parametrize("fractions", [np.empty((0, 37)), np.full((3, 37), NAN)])
def test_fractions_that_are_not_known_leave_the_panel_empty(gz2, fractions):
    image = plots.predicted_against_true(fractions, fractions, gz2, "bar", 40)
    assert image.startswith(b"\x89PNG")


def test_unknown_scores_are_left_out(gz2):
    score = {**BLANK, "value": 0.1}
    blank_answers = {column: {"volunteers": None, "model": None} for column in gz2.columns}
    for figure in (
        plots.question_errors({"a": BLANK, "b": score}),
        plots.confusion([[0, 0], [0, 0]], ["a", "b"], "x", fractions=True),
        plots.ensemble_size([{"size": 1, "a": BLANK}], {"a": "A"}),
        plots.learning_curves({"random": [row(None)], "ranked": []}, {"a": "A"}),
        plots.trust_panels({"groups": [], "reliability": [], "level": 0.9}),
        plots.trust_panels({"groups": [group()], "reliability": [], "level": None}),
        plots.decision_tree({"answers": blank_answers}, gz2),
    ):
        assert figure.count(b"<svg") == 1
        assert not re.search(rb"\bnan\b", figure, re.IGNORECASE)


def test_runs_without_the_column_draw_nothing():
    assert plots.curves([], "loss", "loss", []) is None
    for rows in ([], [{"epoch": 1.0}], [{"epoch": 1.0, "loss": NAN}]):
        assert plots.curves([{"curves": rows}], "loss", "loss", ["a"]) is None


@pytest.mark.parametrize(
    ("draw", "reason"),
    [
        (lambda: plots.question_errors({}), "no question has a score"),
        (lambda: plots.question_errors({"a": BLANK}), "no question has a score"),
        (lambda: plots.confusion([], [], "x"), "at least one class"),
        (lambda: plots.learning_curves({}, {"a": "A"}), "at least one score and one order"),
        (lambda: plots.learning_curves({"random": []}, {"a": "A"}), "at least one score and one order"),
        (lambda: plots.learning_curves({"random": [row(0.1)]}, {}), "at least one score and one order"),
    ],
)
def test_nothing_to_plot_is_a_clear_error(draw, reason):
    with pytest.raises(plots.PlotError, match=reason):
        draw()


def test_names_are_no_formulas():
    figure = plots.question_errors({"$\\frac{1}{": {**BLANK, "value": 0.1}})
    assert b"<svg" in figure
