"""A model's card: made of the bundle alone, as tables that can be read as they are, nothing twice."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tuningfork.model.bundle import open_bundle
from tuningfork.model.card import coverage_cells, interval_text, model_card


@pytest.fixture(scope="module")
def bundle():
    return open_bundle("fast")


def tables(card: str) -> list[list[list[str]]]:
    """Each table's rows as cells, its header first."""
    parts = [part.splitlines() for part in card.split("\n\n") if part.startswith("|")]
    return [
        [[cell.strip() for cell in line.strip("|").split("|")] for line in part if "---" not in line] for part in parts
    ]


def test_columns_of_a_table_are_aligned(bundle):
    for part in model_card(bundle).split("\n\n"):
        if part.startswith("|"):
            lines = part.splitlines()
            assert len({len(line) for line in lines}) == 1
            assert len({tuple(at for at, sign in enumerate(line) if sign == "|") for line in lines}) == 1


def test_the_tables_hold_the_figures(bundle):
    test = bundle.figures["test"]
    scores, classes, every, coverage, samples = tables(model_card(bundle))
    assert [row[0] for row in scores[1:]] == [
        "this model",
        *(f"baseline, {each}" for each in _spoken(test["baselines"])),
    ]
    assert scores[1][1].startswith(f"{test['rmse_complete_rows']['value']:.4f} (")
    assert [row[0] for row in classes[1:]] == _spoken(test["classes"]["per_class"])
    assert classes[1][1] == str(test["classes"]["per_class"]["completely_round"]["galaxies"])
    assert every[-1][0] == "none"
    assert [row[0] for row in coverage[1:]] == _spoken(test["intervals"]["per_question"])
    assert coverage[1][2].startswith(f"{test['intervals']['per_question']['smooth_or_features']['joint']:.4f} (")
    assert len(samples) == 1 + 3 * len(bundle.figures["purity"]["clean"])


def _spoken(names) -> list[str]:
    return [name.replace("_", " ") for name in names]


def test_coverage_of_what_the_fit_left_out_stands_there_once(bundle):
    assert model_card(bundle).count("| bar ") == 1
    other = {**bundle.figures["calibration"], "left_out": {}}
    changed = replace(bundle, figures={**bundle.figures, "calibration": other})
    assert "left out of the fit:" in model_card(changed)


def test_a_model_without_figures_has_no_empty_sections(bundle):
    card = model_card(replace(bundle, figures={}, calibration=None, limits=(), attribution=()))
    assert "## Scores" not in card
    assert "## Calibration" not in card
    assert "1 network, " in card
    assert "\n\n\n" not in card


def test_coverage_is_written_alike_with_as_many_digits_as_asked_for():
    shown = {"galaxies": 20, "coverage": 0.9, "low": 0.7, "high": 0.97222, "mean_width": 0.25}
    none = {"galaxies": 0, **dict.fromkeys(("joint", "coverage", "low", "high", "mean_width"))}
    each = {"galaxies": 40, "joint": 0.95, "low": 0.83, "high": 0.98625, "mean_width": 0.12345}
    assert coverage_cells({**each, "shown": shown}) == (
        ("0.9500 (0.8300…0.9862)", "0.123"),
        ("0.9000 (0.7000…0.9722)", "0.250"),
    )
    assert coverage_cells({**each, "shown": none}, 3) == (("0.950 (0.830…0.986)", "0.12"), ("–", "–"))
    assert interval_text({"value": 0.5, "low": None, "high": None}, digits=2) == "0.50"
