"""Plots of predictions: each panel that the columns allow, and clear errors where there is nothing to draw."""

from __future__ import annotations

import io

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

pytest.importorskip("matplotlib", reason="the extra `report` is not installed")

from tuningfork.display.cards import Bar, Card
from tuningfork.display.plot_style import PlotError, save_plot
from tuningfork.display.prediction_columns import ColumnError, ShownColumns, tree_of_columns
from tuningfork.display.prediction_plots import PANELS, plot_card, plot_predictions
from tuningfork.evaluation import training_overlap
from tuningfork.images.encode import jpeg
from tuningfork.model.training_ids import TrainingIDs
from tuningfork.votes.clean_samples import NO_CLASS
from tuningfork.votes.fractions import conditional_from_logits, cumulative_from_conditional
from tuningfork.votes.tree_files import load_tree
from tuningfork.votes.vote_table import VoteTable

ROWS = 60


@pytest.fixture(scope="module")
def tree():
    return load_tree("gz2")


@pytest.fixture(scope="module")
def votes(tree):
    logits = np.random.default_rng(0).normal(0, 2, (ROWS, len(tree.columns)))
    return conditional_from_logits(logits, tree)


@pytest.fixture(scope="module")
def table(tree, votes):
    rng = np.random.default_rng(1)
    names = [rule.name for rule in tree.classes]
    probability = rng.dirichlet(np.ones(len(names)), ROWS)
    none = rng.uniform(0, 0.4, ROWS)
    columns = {
        "id": [f"g{row}" for row in range(ROWS)],
        **dict(zip(tree.fraction_names, votes.T.astype(np.float32), strict=True)),
        **{f"class_{c}_probability": probability[:, c] for c in range(len(names))},
        "no_class_probability": none,
        "class_name": [NO_CLASS if row % 9 == 0 else names[row % len(names)] for row in range(ROWS)],
        "clean_class": [names[row % len(names)] if row % 4 == 0 else None for row in range(ROWS)],
        "petroMag_g": rng.normal(17, 1, ROWS),
        "petroMag_r": rng.normal(16, 1, ROWS),
    }
    return pa.table(columns)


def titles(figure):
    return " ".join(part.get_suptitle() for part in figure.subfigs)


def test_each_panel_is_drawn_that_the_columns_allow(table, tree, votes, tmp_path):
    labels = VoteTable(tree, tuple(table["id"].to_pylist()), cumulative_from_conditional(votes, tree))
    pairs = [("petroMag_g", "petroMag_r")]
    figure = plot_predictions(table, tree, labels=labels, pairs=pairs)
    assert len(figure.subfigs) == len(PANELS)
    few = plot_predictions(table.drop_columns(["petroMag_g"]), tree)
    assert "Colour" not in titles(few)
    assert len(few.subfigs) == 2
    small = plot_predictions(table, tree, panels=["classes"])
    for kind in (".png", ".svg", ".pdf"):
        save_plot(small, tmp_path / f"a{kind}")
        assert (tmp_path / f"a{kind}").stat().st_size > 5000


def test_the_numbers_drawn_are_those_of_the_table(table, tree):
    shown = ShownColumns.of(table, tree)
    np.testing.assert_allclose(shown.class_probability.sum(1), 1)
    (part,) = plot_predictions(table, tree, panels=["classes"]).subfigs
    (axes,) = part.axes
    bars = [bar.get_width() for bar in axes.patches]
    names = table["class_name"].to_pylist()
    assert bars == [names.count(name) for name in [*(rule.name for rule in tree.classes), NO_CLASS]]
    expected = axes.containers[-1].lines[0].get_xdata()
    np.testing.assert_allclose(expected, shown.class_probability.sum(0))
    assert expected.sum() == pytest.approx(ROWS)


def test_predictions_that_are_the_votes_lie_on_the_diagonal(table, tree, votes):
    labels = VoteTable(tree, tuple(table["id"].to_pylist()), cumulative_from_conditional(votes, tree))
    (part,) = plot_predictions(table, tree, labels=labels, panels=["reliability"]).subfigs
    lines = [line for line in part.axes[0].lines if line.get_marker() != "None"]
    assert len(lines) >= 3
    for line in lines:
        np.testing.assert_allclose(line.get_xdata(), line.get_ydata(), atol=1e-6)


@pytest.mark.parametrize(
    ("change", "options", "error", "reason"),
    [
        (lambda t: t.drop_columns(["bar_yes_fraction"]), {}, ColumnError, "bar_yes_fraction"),
        (lambda t: t.set_column(1, t.column_names[1], [["x"] * ROWS]), {}, ColumnError, "holds no numbers"),
        (lambda t: t, {"pairs": [("petroMag_g", "z")]}, PlotError, "no column 'z'"),
        (lambda t: t, {"panels": ["pairs"]}, PlotError, "--pair"),
        (
            lambda t: t.append_column("blank", pa.nulls(t.num_rows, pa.float32())),
            {"pairs": [("petroMag_g", "blank")]},
            PlotError,
            "column 'blank' is blank in all rows",
        ),
        (lambda t: t, {"panels": ["reliability"]}, PlotError, "--labels"),
        (lambda t: t, {"panels": ["colours"]}, PlotError, "none of fractions"),
        (lambda t: t.slice(0, 0), {}, PlotError, "none of 0 rows"),
    ],
)
def test_what_cannot_be_drawn_says_why(table, tree, change, options, error, reason):
    with pytest.raises(error, match=reason):
        plot_predictions(change(table), tree, **options)


def test_labels_of_other_galaxies_are_an_error(table, tree):
    labels = VoteTable(tree, ("other",), np.zeros((1, len(tree.columns))))
    with pytest.raises(PlotError, match="no ID"):
        plot_predictions(table, tree, labels=labels)


def test_rows_without_a_prediction_are_counted(table, tree):
    blank = [[None] * 2 + table[name].to_pylist()[2:] for name in (*tree.fraction_names, "class_name")]
    for name, values in zip((*tree.fraction_names, "class_name"), blank, strict=True):
        table = table.set_column(table.column_names.index(name), name, [values])
    assert "2 of them without a prediction" in plot_predictions(table, tree).get_suptitle()


def test_a_card_shows_its_image_and_a_notebook_the_figure():
    bars = (Bar("yes", 0.8, 0.6, 0.9, True), Bar("no", 0.2))
    image = jpeg(np.full((40, 40, 3), 90, np.uint8))
    figure = plot_card(Card("$g1", image, "barred spiral 80 %", ("WARNING",), questions=(("bar", "A bar?", bars),)))
    drawn = Image.open(io.BytesIO(figure._repr_png_()))
    assert drawn.width > 300
    assert [text.get_text() for text in figure.axes[1].texts][:3] == ["A bar?", "yes", "80 %  (60–90 %)"]


def test_the_tree_follows_from_the_columns(tree):
    assert tree_of_columns(["id", *tree.fraction_names]).name == "gz2"
    with pytest.raises(ColumnError, match="--tree"):
        tree_of_columns(["id"])


def test_the_command_writes_a_figure_and_refuses_other_files(run, table, tmp_path):
    from pyarrow import parquet

    parquet.write_table(table, tmp_path / "votes.parquet")
    said = run("plot", tmp_path / "votes.parquet", "-o", tmp_path / "a.png", "--panel", "classes").stdout
    assert "60 galaxies" in said
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    assert ".svg" in run("plot", tmp_path / "votes.parquet", "-o", tmp_path / "a.gif", code=1).stderr
    assert (
        "two columns" in run("plot", tmp_path / "votes.parquet", "-o", tmp_path / "b.png", "--pair", "x", code=2).stderr
    )
    (tmp_path / "other.csv").write_text("id,x\n1,2\n")
    assert "tuningfork predict" in run("plot", tmp_path / "other.csv", "-o", tmp_path / "b.png", code=1).stderr


def test_reliability_is_of_galaxies_that_the_model_has_not_seen(run, table, tree, tmp_path, monkeypatch):
    from pyarrow import parquet

    ids = table["id"].to_pylist()
    parquet.write_table(table, tmp_path / "votes.parquet")
    lines = [f"{id_}," + ",".join("0.5" for _ in tree.columns) for id_ in ids]
    (tmp_path / "labels.csv").write_text("\n".join([",".join(["GalaxyID", *tree.columns]), *lines]))
    known = TrainingIDs.of({"train": ids[:20]}, salt="s")
    monkeypatch.setattr(training_overlap, "training_ids_of", lambda *_: known)
    words = ("plot", tmp_path / "votes.parquet", "--labels", tmp_path / "labels.csv", "--panel", "reliability")
    said = run(*words, "-o", tmp_path / "a.png").output
    assert "20 of 60 galaxies were in the training of the model" in said
    assert "left out" in said
    assert "are included" in run(*words, "-o", tmp_path / "b.png", "--include-training").output
    monkeypatch.setattr(training_overlap, "training_ids_of", lambda *_: TrainingIDs.of({"train": ids}, salt="s"))
    assert "all 60 galaxies were in the training" in run(*words, "-o", tmp_path / "c.png", code=1).stderr
