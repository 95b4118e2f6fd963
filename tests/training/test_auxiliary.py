"""Auxiliary sources: each says what its labels mean; none teaches on a galaxy that is judged."""

from __future__ import annotations

import csv
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from trainings import fit

torch = pytest.importorskip("torch", reason="the extra `train` is not installed")
pytest.importorskip("tuningfork.training")

import tuningfork
from tuningfork.images.read import read_image
from tuningfork.model.bundle import open_bundle, write_bundle
from tuningfork.simulation import simulate
from tuningfork.training.auxiliary.config import AuxiliaryTarget, SourceError, load_sources
from tuningfork.training.auxiliary.dataset import SAME_AT_ANY_SCALE, read_auxiliary
from tuningfork.training.auxiliary.loss import AuxiliaryLoss, TargetScheme
from tuningfork.training.auxiliary.targets import SourceGalaxies
from tuningfork.training.dataset import EpochSampler
from tuningfork.training.join import TrainError, read_training_set
from tuningfork.training.lightning_module import candidate_loss, vote_loss
from tuningfork.training.losses import (
    candidate_cost,
    count_cost,
    distribution_cost,
    squared_cost,
    threshold_cost,
)
from tuningfork.training.network import cumulative_from_logits
from tuningfork.training.recipe import Recipe
from tuningfork.training.run_files import Curves
from tuningfork.training.split import signature
from tuningfork.votes import fractions as votes
from tuningfork.votes.label_table import read_labels
from tuningfork.votes.tree_files import load_tree

TREE = load_tree("gz2")
A, C = len(TREE.columns), len(TREE.classes)
RECIPE = Recipe(network="test_efficientnet", size=32, epochs=2, batch=16, validation=0.2, test=0.2)


@pytest.fixture(scope="module")
def galaxies(tmp_path_factory):
    """Simulated: a labelled folder of 40, and another of 20 by the same volunteers."""
    folder = tmp_path_factory.mktemp("galaxies")
    simulate(folder / "own", 40, 1, workers=1)
    simulate(folder / "other", 20, 2, workers=1)
    return folder


def labels_of(folder):
    return folder / "training_solutions_rev1.csv"


def images_of(folder):
    return folder / "images_training_rev1"


def write_source(folder, text, header, rows):
    """A file of one source, `text` its settings, with a table of labels and copies of the other galaxies' images."""
    with open(folder / "labels.csv", "w", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    path = folder / "sources.toml"
    path.write_text(f'[[source]]\nname = "other"\nimages = "images"\nlabels = "labels.csv"\n{text}')
    return path


@pytest.fixture
def other(galaxies, tmp_path):
    (tmp_path / "images").mkdir()
    for path in images_of(galaxies / "other").iterdir():
        shutil.copy(path, tmp_path / "images" / f"o{path.name}")  # every simulation counts its galaxies alike
    return tmp_path


@pytest.fixture(scope="module")
def data(galaxies):
    return read_training_set(read_labels(labels_of(galaxies / "own"), TREE), [images_of(galaxies / "own")], RECIPE)


def ids_of(folder):
    return sorted(path.stem for path in (folder / "images").iterdir())


def read(path, data, cache=None):
    return read_auxiliary(load_sources(path, TREE), data, TREE, RECIPE, cache)


def test_labels_of_a_scheme_of_its_own(other, data):
    ids = ids_of(other)
    rows = [[id_, "ab?"[i % 3]] for i, id_ in enumerate(ids)]
    target = '[[source.targets]]\nkind = "labels"\ncolumn = "kind"\nleave_out = ["?"]\n'
    auxiliary = read(write_source(other, target, ["id", "kind"], rows), data)
    assert [scheme.labels for scheme in auxiliary.targets] == [("a", "b")]
    assert len(auxiliary.dataset()) == sum(kind != "?" for _, kind in rows)
    values = {
        path.rsplit("/", 1)[-1][:-4]: row
        for path, row in zip(auxiliary.galaxies[0].images.paths, auxiliary.values, strict=True)
    }
    for id_, kind in rows:
        if kind != "?":
            np.testing.assert_array_equal(values[id_], [kind == "a", kind == "b"])
    image, row = auxiliary.dataset()[0, 3]
    assert image.shape == (3, 32, 32)
    assert row.shape == (2,)


def test_a_class_label_is_an_inequality_on_votes(other, data):
    ids = ids_of(other)
    target = (
        '[[source.targets]]\nkind = "classes"\ncolumn = "c"\nignores = ["odd"]\nor_class = ["irregular"]\n'
        '[source.targets.means]\n0 = ["completely_round"]\n4 = ["barred_spiral", "unbarred_spiral"]\n'
    )
    auxiliary = read(write_source(other, target, ["id", "c"], [[ids[0], 0], [ids[1], 4], [ids[2], 9]]), data)
    keys = [rule.key for rule in TREE.classes]
    round_, spiral = auxiliary.values
    assert {keys[i] for i in np.flatnonzero(round_[:C])} == {"completely_round", "irregular"}
    assert {keys[i] for i in np.flatnonzero(spiral[:C])} == {"barred_spiral", "unbarred_spiral", "irregular"}
    least = dict(zip(TREE.columns, round_[C:], strict=True))
    assert least["Class1.1"] == np.float32(0.469)
    assert least["Class7.1"] == 0.5
    assert least["Class6.2"] == 0  # whether it is odd was not asked
    least = dict(zip(TREE.columns, spiral[C:], strict=True))
    assert least["Class4.1"] == np.float32(0.619)
    assert least["Class3.1"] == least["Class3.2"] == 0
    assert ["9" in error.reason for error in auxiliary.errors if error.column == "c"] == [True]


def test_class_numbers_stored_as_floats_are_the_same_labels(other):
    target = '[[source.targets]]\nkind = "classes"\ncolumn = "c"\n[source.targets.means]\n4 = ["irregular"]\n'
    (source,) = load_sources(write_source(other, target, ["id", "c"], []), TREE)
    table = pa.table({"id": ["a", "b"], "c": [4.0, None]})
    assert SourceGalaxies(source, (), "", table, [0, 1, -1]).labels("c") == ["4", "", ""]


def test_counts_keep_the_fractions_and_the_volunteers(other, data, galaxies):
    table = read_labels(labels_of(galaxies / "other"), TREE)
    conditional = np.nan_to_num(votes.conditional_from_cumulative(votes.cumulative_from(table.values, TREE), TREE))
    header = ["id", *(f"x{i}_fraction" for i in range(A)), "n"]
    rows = [[f"o{id_}", *row, 40] for id_, row in zip(table.ids, conditional, strict=True)]
    rows[1][-1] = ""  # unknown: no count can be values
    target = '[[source.targets]]\nkind = "counts"\ncolumns = "x*_fraction"\ntotal = "n"\n'
    auxiliary = read(write_source(other, target, header, rows), data)
    assert len(auxiliary.values) == len(rows) - 1
    np.testing.assert_allclose(auxiliary.values[:, TREE.slices[0]].sum(1), 40, rtol=1e-5)
    back = votes.conditional_from_counts(auxiliary.values.astype(float), TREE)
    where = np.array(
        [list(table.ids).index(path.rsplit("/", 1)[-1][1:-4]) for path in auxiliary.galaxies[0].images.paths]
    )
    asked = ~np.isnan(back) & (auxiliary.values > 1e-3)
    np.testing.assert_allclose(back[asked], conditional[where][asked], atol=1e-5)


def test_a_judged_galaxy_teaches_nothing(galaxies, data, tmp_path):
    """By ID, by a column that names the same galaxy, by a near-identical image, by one on another scale."""
    own = images_of(galaxies / "own")
    judged = [data.ids[row] for row in np.flatnonzero(data.parts != "train")]
    known = np.stack([signature(read_image(path).rgb) for path in data.paths])
    known = known @ known.T  # two simulated galaxies may well be alike
    trained = [data.ids[row] for row in data.rows("train") if known[row][data.parts != "train"].max() < 0.9]
    folder = tmp_path / "images"
    folder.mkdir()
    by_id, by_column, by_image, by_scale = judged[:4]
    shutil.copy(own / f"{by_id}.jpg", folder)
    Image.new("RGB", (64, 64), "grey").save(folder / "elsewhere.png")
    Image.open(own / f"{by_image}.jpg").save(folder / "again.jpg", quality=70)
    frame = Image.open(own / f"{by_scale}.jpg")
    frame.crop((80, 80, 344, 344)).resize((240, 240)).save(folder / "zoomed.png")
    shutil.copy(own / f"{trained[0]}.jpg", folder)
    shutil.copy(own / f"{trained[1]}.jpg", folder / "copy.jpg")
    rows = [[by_id, "a", ""], ["elsewhere", "b", by_column], ["again", "a", ""], ["zoomed", "b", ""],
            [trained[0], "a", ""], ["copy", "b", ""]]  # fmt: skip
    target = '[[source.targets]]\nkind = "labels"\ncolumn = "kind"\n'
    path = write_source(tmp_path, 'same_as = "kaggle"\n' + target, ["id", "kind", "kaggle"], rows)
    auxiliary = read(path, data)
    left = {p.rsplit("/", 1)[-1].split(".")[0] for p in auxiliary.galaxies[0].images.paths}
    assert left == {"zoomed", trained[0], "copy"}
    assert auxiliary.about[0]["in_validation_or_test"] == 3
    text = path.read_text("utf-8").replace("same_as", "any_scale = true\nsame_as")
    path.write_text(text, "utf-8")
    cache = tmp_path / "cache"
    again = read(path, data, cache)
    names = sorted(path.stem for path in folder.iterdir())
    left = {names[row] for row in again.galaxies[0].images.rows}
    assert left == {trained[0], "copy"}
    assert [p.name.split("-")[0] for p in cache.glob("*.npy")] == ["alike"]  # sought once
    np.testing.assert_array_equal(read(path, data, cache).values, again.values)


def test_scaled_copies_are_told_from_other_galaxies(data):
    """The published threshold separates on simulated galaxies as it does on real ones."""
    images = [read_image(path).rgb for path in data.paths[:12]]
    known = np.stack([signature(image) for image in images])
    parts = np.geomspace(0.3, 1.0, 32)
    for row, image in enumerate(images):
        cut = np.asarray(Image.fromarray(image).crop((62, 62, 362, 362)).resize((240, 240)))
        alike = (np.stack([signature(cut, part) for part in parts]) @ known.T).max(0)
        assert alike[row] > SAME_AT_ANY_SCALE


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "targets is missing"),
        ('[[source.targets]]\nkind = "guess"\n', "kind = 'guess' is not 'votes', 'classes'"),
        ('[[source.targets]]\nkind = "labels"\n', "column is missing"),
        (
            '[[source.targets]]\nkind = "labels"\ncolumn = "kind"\nwieght = 2\n',
            "targets.wieght'; is 'weight' meant",
        ),
        ('[[source.targets]]\nkind = "labels"\ncolumn = "kind"\nweight = 0\n', "weight = 0 is not greater than 0"),
        ('[[source.targets]]\nkind = "classes"\ncolumn = "kind"\n[source.targets.means]\na = ["oval"]\n', "no class"),
        ('frame = 3\n[[source.targets]]\nkind = "labels"\ncolumn = "kind"\n', "frame"),
        ('[[source.targets]]\nkind = "labels"\ncolumn = "knd"\n', "no column 'knd'"),
        ('[[source.targets]]\nkind = "counts"\ncolumns = "t*"\ntotal = "n"\n', "0 columns match"),
        ('[[source.targets]]\nkind = "labels"\ncolumn = "same"\n', "has 1 labels"),
        ('[[source.targets]]\nkind = "labels"\ncolumn = "empty"\n', "has 0 labels"),
        ('same_as = "twin"\n[[source.targets]]\nkind = "labels"\ncolumn = "kind"\n', "no column 'twin'"),
        ('[[source.targets]]\nkind = "teacher"\nmodel = "nobody"\n', "teacher nobody"),
    ],
)
def test_bad_sources_say_why(other, data, text, reason):
    rows = [[id_, "ab"[i % 2], "x", ""] for i, id_ in enumerate(ids_of(other))]
    path = write_source(other, text, ["id", "kind", "same", "empty"], rows)
    with pytest.raises(SourceError, match=reason):
        read(path, data)


def test_bad_rows_are_named_and_the_rest_teaches(other, data):
    ids = ids_of(other)
    (other / "images" / f"{ids[0]}.jpg").write_bytes(b"not an image")
    rows = [[id_, "ab"[i % 2]] for i, id_ in enumerate(ids)] + [[ids[1], "b"]]  # one ID, two labels
    auxiliary = read(
        write_source(other, '[[source.targets]]\nkind = "labels"\ncolumn = "k"\n', ["id", "k"], rows), data
    )
    assert {error.id for error in auxiliary.errors} == {ids[0], ids[1]}
    assert len(auxiliary.values) == len(ids) - 2
    assert any("more than one row" in error.reason for error in auxiliary.errors)


def test_a_file_of_sources_that_is_none(tmp_path):
    path = tmp_path / "s.toml"
    for text, reason in (("x = 1", "unknown key"), ("source = 3", r"\[\[source\]\]"), ("[[source", "not valid TOML")):
        path.write_text(text)
        with pytest.raises(SourceError, match=reason):
            load_sources(path, TREE)
    with pytest.raises(SourceError, match="cannot be read"):
        load_sources(tmp_path / "none.toml", TREE)


vectors = st.integers(0, 2**32 - 1)


@given(vectors)
@settings(max_examples=30)
def test_costs_are_those_of_the_labelled_galaxies(seed):
    """On the same targets the mean of the costs is the loss, and what it says written out."""
    rng = np.random.default_rng(seed)
    predicted, known = torch.tensor(rng.random((5, A))), torch.tensor(rng.random((5, A)))
    known[torch.tensor(rng.random((5, A)) < 0.3)] = float("nan")
    torch.testing.assert_close(squared_cost(predicted, known).mean(), vote_loss(predicted, known))
    torch.testing.assert_close(squared_cost(predicted, known), ((predicted - known) ** 2).nansum(1))
    logits = torch.tensor(rng.normal(size=(5, C)))
    candidates = torch.tensor((rng.random((5, C)) < 0.4).astype(float))
    candidates[:, 0] = 1
    torch.testing.assert_close(candidate_cost(logits, candidates).mean(), candidate_loss(logits, candidates))
    chance = (logits.softmax(1) * candidates).sum(1)
    torch.testing.assert_close(candidate_cost(logits, candidates), -chance.log())
    one_hot = torch.eye(C, dtype=torch.float64)[torch.tensor(rng.integers(C, size=5))]
    torch.testing.assert_close(
        distribution_cost(logits, one_hot).mean(), torch.nn.functional.cross_entropy(logits, one_hot.argmax(1))
    )


@given(vectors)
@settings(max_examples=30)
def test_counts_are_best_explained_by_their_own_shares(seed):
    """The multinomial cost is 0 at the observed shares and above it elsewhere; more voters weigh no question less."""
    rng = np.random.default_rng(seed)
    counts = torch.tensor(rng.integers(1, 30, (4, A)).astype(float))
    own = torch.cat([(counts[:, part] / counts[:, part].sum(1, keepdim=True)).log() for part in TREE.slices], 1)
    torch.testing.assert_close(count_cost(own, counts, TREE), torch.zeros(4, dtype=torch.float64), atol=1e-9, rtol=0)
    other = own + torch.tensor(rng.normal(size=(4, A)))
    assert (count_cost(other, counts, TREE) > 0).all()
    # Against scipy-like multinomial log-likelihoods, written out.
    expected = torch.zeros(4, dtype=torch.float64)
    for part in TREE.slices:
        shares = counts[:, part] / counts[:, part].sum(1, keepdim=True)
        expected += (counts[:, part] * (shares.log() - other[:, part].log_softmax(1))).sum(1)
    torch.testing.assert_close(count_cost(other, counts, TREE), expected / counts[:, TREE.slices[0]].sum(1))


def test_thresholds_cost_only_what_is_missing():
    least = torch.tensor([[0.5, 0.0], [0.5, 0.0]])
    predicted = torch.tensor([[0.7, 0.3], [0.2, 0.8]])
    torch.testing.assert_close(threshold_cost(predicted, least), torch.tensor([0.0, 0.09]))


def test_nothing_told_costs_nothing_and_weights_are_proportions():
    teacher = TargetScheme(AuxiliaryTarget(kind="teacher", model="x"))
    labels = AuxiliaryTarget(kind="labels", weight=0.5, column="k")
    torch.manual_seed(0)
    loss = AuxiliaryLoss((teacher, TargetScheme(labels, ("a", "b", "c"))), TREE, 8, 0.1)
    features, answers, classes = torch.randn(6, 8), torch.randn(6, A), torch.randn(6, C)

    def cost(values):
        return loss(
            features, answers, classes, values, lambda logits: cumulative_from_logits(logits, TREE), lambda x: x
        )

    values = torch.full((6, A + C + 3), float("nan"))
    assert cost(values) == 0
    values[2, A + C :] = torch.tensor([0.0, 1.0, 0.0])
    once = cost(values)
    values[3], features[3] = values[2], features[2]
    torch.testing.assert_close(cost(values), 2 * once)
    loss.schemes = (teacher, TargetScheme(labels.changed(weight=1.0), ("a", "b", "c")))
    torch.testing.assert_close(cost(values), 4 * once)


@given(st.integers(1, 40), st.integers(1, 60), st.integers(0, 5))
def test_an_epoch_of_draws_takes_all_before_any_again(count, draw, seed):
    sampler = EpochSampler(count, shuffle=True, seed=seed, draw=draw)
    rows = []
    for epoch in range(4):
        sampler.set_epoch(epoch)
        found = list(sampler)
        assert len(found) == len(sampler) == draw
        assert {e for e, _ in found} == {epoch}
        rows += [row for _, row in found]
    for start in range(0, len(rows) - count + 1, count):
        assert sorted(rows[start : start + count]) == list(range(count))


@pytest.fixture
def named(other):
    """Two targets of one source: labels of its own, and a teacher."""
    rows = [[id_, "ab"[i % 2]] for i, id_ in enumerate(ids_of(other))]
    targets = (
        '[[source.targets]]\nkind = "labels"\ncolumn = "k"\n[[source.targets]]\nkind = "teacher"\nmodel = "fast"\n'
    )
    return write_source(other, targets, ["id", "k"], rows)


@pytest.mark.slow
def test_a_training_learns_from_them_and_is_resumed(galaxies, named, tmp_path, messages):
    own, cache = galaxies / "own", tmp_path / "cache"
    recipe = RECIPE.changed(dropout=0.0)

    def stop(epoch, figures):
        if epoch == 2:  # the first epoch's checkpoint is written, and the figures of both
            raise OSError("the power went")

    def epochs(name):
        return Curves(tmp_path / name / "curves.csv").rows

    for name, sources in (("complete", named), ("alone", None)):
        with pytest.raises(OSError, match="power"):
            fit(own, tmp_path / name, recipe, sources=sources, cache=cache, on_epoch=stop)
    assert any("20 galaxies to train on" in line for line in messages())
    assert epochs("alone")[0]["val_rmse"] != epochs("complete")[0]["val_rmse"]
    cut = tmp_path / "cut"
    shutil.copytree(tmp_path / "complete", cut)
    with pytest.raises(TrainError, match="other auxiliary sources"):
        fit(own, cut, recipe, resume=True, cache=cache)
    with pytest.raises(TrainError, match="another teacher"):
        fit(own, cut, recipe, sources=named, teacher="default", resume=True, cache=cache)
    same = shutil.copytree(Path(tuningfork.__file__).parent / "model" / "models" / "fast", tmp_path / "elsewhere")
    report = fit(own, cut, recipe, sources=named, teacher=same, resume=True, cache=cache)
    assert epochs("cut")[1]["val_rmse"] == pytest.approx(epochs("complete")[1]["val_rmse"], abs=1e-6)
    assert report.best_epoch in (1, 2)


def test_a_teacher_that_was_calibrated_anew_predicts_anew(named, data, tmp_path):
    again = write_bundle(replace(open_bundle("fast"), calibration=None), tmp_path / "again")
    cache = tmp_path / "cache"
    for teacher in ("fast", again, again):
        read_auxiliary(load_sources(named, TREE, teacher=teacher), data, TREE, RECIPE, cache)
    first, second = (np.load(path) for path in cache.glob("teacher-*.npy"))
    answers = len(TREE.columns)
    np.testing.assert_array_equal(first[:, :answers], second[:, :answers])
    assert (first[:, answers:] != second[:, answers:]).any()


def test_another_teacher_may_be_named(named, tmp_path):
    sources = load_sources(named, TREE, teacher="somebody")
    assert [target.model for target in sources[0].targets] == ["", "somebody"]
    text = named.read_text("utf-8")
    named.write_text(text[: text.rindex("[[source.targets]]")])
    with pytest.raises(SourceError, match="no source has a target"):
        load_sources(named, TREE, teacher="somebody")
