"""Learning: the parts against their definitions, and a whole small training."""

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the extra `train` is not installed")

from trainings import fit

from tuningfork.images.preprocess import Preprocess
from tuningfork.images.read import read_image
from tuningfork.model.bundle import open_bundle
from tuningfork.model.model import Model
from tuningfork.simulation import draw, render, simulate
from tuningfork.training.augmentation import augmented
from tuningfork.training.dataset import EpochSampler, GalaxyDataset, ImageFiles, Targets, loader
from tuningfork.training.join import TrainError, read_training_set
from tuningfork.training.lightning_module import candidate_loss, vote_loss
from tuningfork.training.network import MorphologyNetwork, cumulative_from_logits
from tuningfork.training.recipe import Augmentation, Recipe
from tuningfork.training.split import near_duplicates, signature, split
from tuningfork.votes import fractions as votes
from tuningfork.votes.label_table import read_labels
from tuningfork.votes.tree_files import builtin_trees, load_tree

STILL = Augmentation(rotation=(0, 0), flip=False, shift=0, zoom=(1, 1), brightness=(1, 1))


@pytest.fixture
def recipe():
    return Recipe(network="test_efficientnet", size=32, epochs=2, batch=16, ema_decay=0.5, views=1)


# ------------------------------------------------------------------ tree layer and losses


@pytest.mark.parametrize("name", builtin_trees())
def test_the_tree_layer_equals_the_one_that_predicts(name):
    tree = load_tree(name)
    logits = torch.randn(50, len(tree.columns), dtype=torch.float64) * 5
    here = cumulative_from_logits(logits, tree).numpy()
    there = votes.cumulative_from_conditional(votes.conditional_from_logits(logits.numpy(), tree), tree)
    np.testing.assert_allclose(here, there, rtol=1e-10, atol=1e-14)
    single = cumulative_from_logits(logits.float(), tree).numpy()
    assert np.abs(votes.sum_violations(single, tree)).max() < 1e-6


def test_a_blank_column_costs_nothing_and_teaches_nothing(gz2):
    logits = torch.randn(4, 37, requires_grad=True)
    known = torch.rand(4, 37)
    known[:, 10:] = float("nan")
    loss = vote_loss(logits, known)
    loss.backward()
    assert loss.item() == pytest.approx((((logits - known)[:, :10] ** 2).sum() / 4).item(), rel=1e-5)
    assert (logits.grad[:, 10:] == 0).all()
    assert (logits.grad[:, :10] != 0).all()


def test_one_candidate_is_cross_entropy_and_all_candidates_cost_nothing():
    logits = torch.randn(6, 7)
    classes = torch.tensor([0, 3, 6, 2, 2, 1])
    one = torch.nn.functional.one_hot(classes, 7).float()
    torch.testing.assert_close(candidate_loss(logits, one), torch.nn.functional.cross_entropy(logits, classes))
    assert float(candidate_loss(logits, torch.ones(6, 7))) == pytest.approx(0, abs=1e-6)
    assert float(candidate_loss(logits, torch.zeros(6, 7))) == 0


def test_two_candidates_share_their_probability():
    logits = torch.tensor([[1.0, 2.0, 0.5]])
    p = logits.softmax(-1)[0]
    assert float(candidate_loss(logits, torch.tensor([[1.0, 0, 1]]))) == pytest.approx(-float(torch.log(p[0] + p[2])))


def test_targets_say_which_classes_a_galaxy_may_have(gz2):
    smooth, spiral, neither = np.zeros(37), np.zeros(37), np.zeros(37)
    at = {column: i for i, column in enumerate(gz2.columns)}
    smooth[[at["Class1.1"], at["Class7.2"], at["Class6.2"]]] = 0.9
    spiral[[at["Class1.2"], at["Class2.2"]]] = 0.9
    spiral[at["Class3.1"] : at["Class5.1"]] = np.nan
    candidates = Targets.of(np.stack([smooth, spiral, neither]), gz2).candidates
    assert candidates.tolist() == [[0, 1, 0, 0, 0, 0, 0], [0, 0, 0, 0, 1, 1, 0], [0] * 7]


# ------------------------------------------------------------------ images


def test_training_and_predicting_prepare_a_image_alike(galaxies):
    """Without augmentation the batch is the very array that a prediction feeds its network."""
    paths = sorted((galaxies / "images_training_rev1").iterdir())[:8]
    preprocess = Preprocess(crop=0.5, size=48)
    targets = Targets(np.zeros((8, 37), np.float32), np.zeros((8, 7), np.float32))
    batch = next(
        iter(loader(GalaxyDataset(ImageFiles(paths), targets, preprocess), batch=8, shuffle=False, workers=0))
    )[0].numpy()
    model = Model(open_bundle())
    network = replace(model.bundle.networks[0], preprocess=preprocess)
    model.ensemble.bundle = replace(model.bundle, networks=(network,))
    for path, row in zip(paths, batch, strict=True):
        (resized,) = model.read(path).inputs
        np.testing.assert_array_equal(preprocess.scaled(resized), row)


def test_an_augmentation_that_changes_nothing_is_the_plain_crop():
    image = render(draw(1, 2))
    preprocess = Preprocess(crop=0.5, size=64)
    rng = np.random.default_rng(0)
    np.testing.assert_array_equal(augmented(image, preprocess, STILL, rng), preprocess.resized(image))


@pytest.mark.parametrize("quarter", [1, 2, 3])
def test_a_quarter_turn_turns_the_image(quarter):
    image = render(draw(1, 3))
    preprocess = Preprocess(crop=0.5, size=64)
    turn = Augmentation(rotation=(90 * quarter, 90 * quarter), flip=False, shift=0, zoom=(1, 1), brightness=(1, 1))
    turned = augmented(image, preprocess, turn, np.random.default_rng(0)).astype(int)
    candidates = [np.rot90(preprocess.resized(image), k).astype(int) for k in range(4)]
    errors = [np.abs(turned - candidate).mean() for candidate in candidates]
    assert int(np.argmin(errors)) in ((1, 3), (2,), (1, 3))[quarter - 1]
    assert min(errors) < 1


def test_zoom_and_light_do_what_they_say():
    y, x = np.mgrid[:200, :200] - 99.5
    disk = np.repeat(((np.hypot(x, y) < 30) * 100).astype(np.uint8)[:, :, None], 3, 2)
    preprocess = Preprocess(crop=0.5, size=100)
    larger = Augmentation(rotation=(0, 360), flip=True, shift=0, zoom=(1.2, 1.2), brightness=(1.1, 1.1))
    view = augmented(disk, preprocess, larger, np.random.default_rng(1))
    assert view.max() == 110
    area = (view[:, :, 0] > 55).sum()
    assert area == pytest.approx(np.pi * 36**2, rel=0.03)


def test_views_depend_on_epoch_and_row_alone(galaxies):
    paths = sorted((galaxies / "images_training_rev1").iterdir())[:4]
    targets = Targets(np.zeros((4, 37), np.float32), np.zeros((4, 7), np.float32))
    data = GalaxyDataset(ImageFiles(paths), targets, Preprocess(size=32), Augmentation(), seed=3)
    assert torch.equal(data[(5, 2)][0], data[(5, 2)][0])
    assert not torch.equal(data[(5, 2)][0], data[(6, 2)][0])


def test_an_epoch_has_every_row_once():
    sampler = EpochSampler(101, shuffle=True, seed=1)
    sampler.set_epoch(3)
    first = list(sampler)
    assert sorted(row for _, row in first) == list(range(101))
    assert {epoch for epoch, _ in first} == {3}
    assert list(sampler) == first
    sampler.set_epoch(4)
    assert [row for _, row in sampler] != [row for _, row in first]


# ------------------------------------------------------------------ splitting


def test_a_split_keeps_proportions_in_every_stratum():
    strata = np.repeat(["a", "b", "c"], [1000, 200, 50])
    parts = split(strata, np.arange(1250), validation=0.1, test=0.2, seed=0)
    for stratum, count in (("a", 1000), ("b", 200), ("c", 50)):
        here = parts[strata == stratum]
        assert (here == "test").sum() == round(0.2 * count)
        assert (here == "validation").sum() == round(0.1 * count)
    assert (parts == split(strata, np.arange(1250), validation=0.1, test=0.2, seed=0)).all()
    assert (parts != split(strata, np.arange(1250), validation=0.1, test=0.2, seed=1)).any()


def test_duplicates_stay_on_one_side():
    groups = np.arange(500) // 5
    parts = split(np.zeros(500), groups, validation=0.2, test=0.2, seed=2)
    for group in range(100):
        assert len(set(parts[groups == group])) == 1
    assert (parts == "test").sum() == 100


def test_one_galaxy_saved_twice_is_found_and_others_are_not():
    images = [render(draw(8, index)) for index in range(40)]
    copies = [np.clip(p.astype(int) + np.random.default_rng(0).integers(-4, 5, p.shape), 0, 255) for p in images[:5]]
    signatures = np.stack([signature(p.astype(np.uint8)) for p in (*images, *copies)])
    groups = near_duplicates(signatures, block=16)
    assert groups[40:].tolist() == [0, 1, 2, 3, 4]
    assert len(set(groups.tolist())) == 40


# ------------------------------------------------------------------ a whole training


@pytest.mark.slow
def test_a_training_gives_a_bundle_that_predicts(galaxies, tmp_path, recipe, messages):
    report = fit(galaxies, tmp_path / "run", recipe)
    assert report.deviation["float32"] < 1e-3
    assert any("ONNX against PyTorch" in line for line in messages())
    model = Model(open_bundle(report.bundle))
    rows = model.predict(galaxies / "images_training_rev1")
    assert np.abs(votes.sum_violations(rows.cumulative, model.tree)).max() < 1e-6
    counts = model.bundle.training["counts"]["galaxies"]
    assert sum(counts.values()) == 60
    parts = (tmp_path / "run" / "split.csv").read_text().splitlines()
    assert len(parts) == 61


@pytest.mark.slow
def test_an_interrupted_training_goes_on_to_the_same_end(galaxies, tmp_path, recipe, messages):
    recipe = recipe.changed(epochs=3)
    whole = fit(galaxies, tmp_path / "whole", recipe)

    def stop(epoch, figures):
        if epoch == 2:
            raise RuntimeError("pulled the plug")

    with pytest.raises(RuntimeError, match="pulled"):
        fit(galaxies, tmp_path / "run", recipe, on_epoch=stop)
    with pytest.raises(TrainError, match="resume"):
        fit(galaxies, tmp_path / "run", recipe)
    messages()
    resumed = fit(galaxies, tmp_path / "run", recipe, resume=True)
    assert [line.split(":")[0] for line in messages() if line.startswith("epoch")] == ["epoch 2/3", "epoch 3/3"]
    assert resumed.best["val_rmse"] == pytest.approx(whole.best["val_rmse"], abs=1e-6)
    other = tmp_path / "other.csv"
    lines = (galaxies / "training_solutions_rev1.csv").read_text().splitlines(keepends=True)
    other.write_text("".join(lines[:50]))
    with pytest.raises(TrainError, match="other labels"):
        fit(galaxies, tmp_path / "run", recipe, labels=other, resume=True)
    with pytest.raises(TrainError, match="another recipe"):
        fit(galaxies, tmp_path / "run", recipe.changed(size=40), resume=True)


@pytest.mark.slow
def test_another_tree_trains_and_predicts_alike(galaxies, tmp_path, recipe):
    labels = tmp_path / "gz1.csv"
    tree = load_tree("gz1")
    ids = sorted(path.stem for path in (galaxies / "images_training_rev1").iterdir())
    shares = np.random.default_rng(0).dirichlet(np.ones(6), len(ids))
    lines = [
        ",".join(["OBJID", *tree.columns]),
        *(f"{i},{','.join(map(str, s))}" for i, s in zip(ids, shares, strict=True)),
    ]
    labels.write_text("\n".join(lines))
    report = fit(galaxies, tmp_path / "run", recipe.changed(tree="gz1"), labels=labels)
    model = Model(open_bundle(report.bundle))
    prediction = model.predict(read_image(galaxies / "images_training_rev1" / f"{ids[0]}.jpg").rgb)
    assert sum(prediction.fractions.values()) == pytest.approx(1)
    assert len(prediction.class_probability) == 3


def test_rows_and_images_that_do_not_meet_are_reported(with_gaps, galaxies, gz2, recipe, caplog):
    folder, paths = with_gaps(galaxies / "images_training_rev1", kept=40, broken=3, unknown="999999")
    data = read_training_set(read_labels(galaxies / "training_solutions_rev1.csv", gz2), [folder], recipe)
    assert len(data.ids) == 39
    reasons = {error.id: error.reason for error in data.errors}
    # Most who label some of their images train with the folder of all: no failure.
    assert "999999" not in reasons
    assert "1 image has no label in" in caplog.text
    assert reasons[paths[50].stem] == "no image of this ID"
    assert "not an image" in reasons[paths[3].stem]
    assert set(data.parts) == {"train", "validation", "test"}


def test_nothing_in_common_is_said(galaxies, tmp_path, gz2, recipe):
    (tmp_path / "a.jpg").write_bytes(next((galaxies / "images_training_rev1").iterdir()).read_bytes())
    with pytest.raises(TrainError, match="named by their ID"):
        read_training_set(read_labels(galaxies / "training_solutions_rev1.csv", gz2), [tmp_path], recipe)


def test_an_unknown_network_names_near_ones(gz2):
    with pytest.raises(ValueError, match="efficientnet"):
        MorphologyNetwork("efficientnet_b99", gz2)


def test_a_recipe_that_starts_from_a_file_asks_for_it(galaxies, tmp_path):
    recipe = Recipe(network="mobilenetv2_100", init="weights.tflite", size=32, epochs=1)
    with pytest.raises(TrainError, match="--init"):
        fit(galaxies, tmp_path / "run", recipe)
    (tmp_path / "weights.tflite").write_bytes(b"not a network")
    with pytest.raises(TrainError, match=r"weights\.tflite"):
        fit(galaxies, tmp_path / "run2", recipe, init=tmp_path / "weights.tflite")


@pytest.mark.slow
def test_a_network_learns_what_is_there_to_learn(tmp_path, gz2):
    """On simulated galaxies seconds of learning beat the mean of the votes clearly."""
    galaxies = simulate(tmp_path / "sim", 300, seed=11)
    recipe = Recipe(network="test_efficientnet", size=48, epochs=12, batch=32, ema_decay=0.9, views=1)
    report = fit(galaxies, tmp_path / "run", recipe, workers=1)
    assert report.deviation["float32"] < 1e-3
    data = read_training_set(
        read_labels(galaxies / "training_solutions_rev1.csv", gz2), [galaxies / "images_training_rev1"], recipe
    )
    test, known = data.rows("test"), data.cumulative
    mean = np.sqrt(np.mean((known[data.rows("train")].mean(0) - known[test]) ** 2))
    told = Model(open_bundle(report.bundle)).predict([data.paths[row] for row in test]).cumulative
    assert np.sqrt(np.mean((told - known[test]) ** 2)) < 0.85 * mean
