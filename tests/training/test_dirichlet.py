"""The Dirichlet-multinomial likelihood, against SciPy, by its gradient, and where it may be used."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the extra `train` is not installed")
pytest.importorskip("tuningfork.training")  # first: it lets timm import torchvision

import csv

from scipy import special, stats
from trainings import fit

from tuningfork import load
from tuningfork.training.join import TrainError
from tuningfork.training.lightning_module import MorphologyModule, dirichlet_loss
from tuningfork.training.losses import LOG_CONCENTRATION, dirichlet_cost
from tuningfork.training.recipe import Recipe, RecipeError
from tuningfork.votes.label_table import TOTAL
from tuningfork.votes.tree_files import load_tree

TREE = load_tree("gz2")
GZ1 = load_tree("gz1")
RECIPE = Recipe(network="test_efficientnet", size=32, epochs=1, batch=16, views=1, loss="dirichlet", class_weight=0.0)


def drawn(tree, n=6, seed=0):
    """Logits (N, A) and counts (N, A) of questions with 0 to 40 votes."""
    rng = np.random.default_rng(seed)
    counts = np.zeros((n, len(tree.columns)))
    for part in tree.slices:
        width = part.stop - part.start
        for row in range(n):
            counts[row, part] = rng.multinomial(rng.integers(0, 41), rng.dirichlet(np.ones(width)))
    return rng.normal(0, 2, counts.shape), counts


def test_it_is_scipys_dirichlet_multinomial():
    logits, counts = drawn(TREE)
    expected = [
        -sum(
            stats.dirichlet_multinomial(np.exp(logits[row, part]), int(counts[row, part].sum())).logpmf(
                counts[row, part].astype(int)
            )
            for part in TREE.slices
            if counts[row, part].sum()
        )
        for row in range(len(counts))
    ]
    found = dirichlet_cost(torch.from_numpy(logits), torch.from_numpy(counts), TREE)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-9)


def test_two_answers_are_scipys_beta_binomial():
    part = TREE.slices[[question.key for question in TREE.questions].index("bar")]
    logits, counts = np.zeros((1, 37)), np.zeros((1, 37))
    logits[0, part], counts[0, part] = np.log([2.5, 0.7]), [9, 4]
    found = dirichlet_cost(torch.from_numpy(logits), torch.from_numpy(counts), TREE)
    assert float(found) == pytest.approx(-stats.betabinom(13, 2.5, 0.7).logpmf(9), rel=1e-12)


def test_with_a_large_concentration_it_is_the_multinomial():
    logits, counts = np.full((1, 6), LOG_CONCENTRATION[1]), np.array([[3.0, 1, 0, 0, 2, 1]])
    expected = -stats.multinomial(7, np.full(6, 1 / 6)).logpmf(counts[0])
    found = dirichlet_cost(torch.from_numpy(logits), torch.from_numpy(counts), GZ1)
    assert float(found) == pytest.approx(expected, abs=1e-3)


def test_its_gradient_is_that_of_finite_differences():
    logits, counts = map(torch.from_numpy, drawn(GZ1, n=4))
    assert torch.autograd.gradcheck(lambda z: dirichlet_cost(z, counts, GZ1), (logits.requires_grad_(),))


@pytest.mark.parametrize("size", [-1e4, -30.0, 0.0, 30.0, 1e4])
def test_any_logits_and_counts_have_a_finite_loss_and_slope(size):
    logits = torch.full((2, 37), size, dtype=torch.float32, requires_grad=True)
    counts = torch.zeros(2, 37)
    counts[1, 0] = 1e6
    loss = dirichlet_loss(logits, counts, TREE)
    loss.backward()
    assert loss.isfinite()
    assert logits.grad.isfinite().all()


def test_single_precision_keeps_its_digits_at_large_concentrations():
    logits, counts = drawn(TREE)
    logits = logits.clip(-1, 1) + 8
    found = dirichlet_cost(torch.from_numpy(logits).float(), torch.from_numpy(counts).float(), TREE)
    alpha = np.exp(logits.astype(np.float32).astype(np.float64))
    expected = np.zeros(len(logits))
    for part in TREE.slices:
        a, k = alpha[:, part], counts[:, part]
        expected -= special.gammaln(k.sum(1) + 1) + special.gammaln(a.sum(1)) - special.gammaln(k.sum(1) + a.sum(1))
        expected -= (special.gammaln(k + a) - special.gammaln(k + 1) - special.gammaln(a)).sum(1)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-5)


def test_questions_without_votes_teach_nothing():
    logits, counts = drawn(TREE)
    counts[:, 3:] = 0
    logits = torch.from_numpy(logits).requires_grad_()
    dirichlet_loss(logits, torch.from_numpy(counts), TREE).backward()
    assert (logits.grad[:, 3:] == 0).all()
    assert (logits.grad[:, :3] != 0).any()


def test_the_fitted_concentration_is_that_of_the_draws():
    """Galaxies alike but for their own probabilities: the maximum of the likelihood is at the truth."""
    rng = np.random.default_rng(3)
    alpha = np.array([6.0, 3.0, 1.0, 0.5, 2.0, 4.0])
    votes = np.stack([rng.multinomial(40, rng.dirichlet(alpha)) for _ in range(4000)])
    logits = torch.zeros(6, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([logits], max_iter=60)

    def closure():
        optimizer.zero_grad()
        loss = dirichlet_loss(logits.expand(len(votes), 6), torch.from_numpy(votes), GZ1)
        loss.backward()
        return loss

    optimizer.step(closure)
    np.testing.assert_allclose(logits.detach().exp().numpy(), alpha, rtol=0.08)


def test_it_needs_the_tree_layer():
    with pytest.raises(RecipeError, match='loss = "dirichlet" needs output = "tree"'):
        Recipe(loss="dirichlet", output="sigmoid")


def test_debiased_tables_and_tables_without_counts_are_refused(galaxies: Path, tmp_path: Path):
    with pytest.raises(TrainError, match="has debiased vote fractions; loss dirichlet is a likelihood of votes"):
        fit(galaxies, tmp_path / "run", RECIPE)
    with pytest.raises(TrainError, match=f"needs the number of votes; .* add the column '{TOTAL}'"):
        fit(galaxies, tmp_path / "run", RECIPE, values_kind="raw")


def test_a_training_learns_the_counts_of_a_batch():
    _, counts = drawn(TREE, n=3)
    module = MorphologyModule(RECIPE.changed(task="votes"), TREE)
    images = torch.randn(3, 3, 32, 32)
    module.eval()
    known, candidates = torch.full((3, 37), torch.nan), torch.zeros(3, 7)
    with torch.no_grad():
        found = module.loss((images, known, candidates, torch.from_numpy(counts).float()))
        expected = dirichlet_cost(module(images), torch.from_numpy(counts), TREE).mean()
    assert float(found) == pytest.approx(float(expected), rel=1e-6)


@pytest.mark.slow
def test_a_training_on_a_catalogues_counts_exports_a_model_like_any_other(galaxies: Path, tmp_path: Path):
    """Made-up votes of Galaxy Zoo CANDELS, as fractions and their number, for simulated images."""
    tree = load_tree("gz_candels")
    images = sorted((galaxies / "images_training_rev1").iterdir())
    rng = np.random.default_rng(0)
    with open(tmp_path / "candels.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["ID", *tree.columns, tree.total_column])
        for image in images:
            shares = np.concatenate([rng.dirichlet(np.ones(part.stop - part.start)) for part in tree.slices])
            writer.writerow([image.stem, *shares, 40])
    recipe = RECIPE.changed(tree="gz_candels")
    report = fit(galaxies, tmp_path / "run", recipe, labels=tmp_path / "candels.csv")
    assert math.isfinite(report.best["val_dirichlet"])
    model = load(report.bundle)
    assert model.tree == tree
    assert (model.tree.values_kind, model.bundle.training["recipe"]["loss"]) == ("raw", "dirichlet")
    predictions = model.predict(images[:1])
    assert predictions.votes.values_kind == "raw"
    assert predictions.cumulative[0, :3].sum() == pytest.approx(1)
    assert predictions.fractions.shape == (1, 50)
