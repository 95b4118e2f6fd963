"""Schedules, weight averaging, clipping and validation, against their definitions and independent references."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the extra `train` is not installed")
pytest.importorskip("tuningfork.training")  # first: it lets timm import torchvision

from tuningfork.images.preprocess import Preprocess
from tuningfork.training.augmentation import augmented
from tuningfork.training.dataset import Targets
from tuningfork.training.lightning_module import MorphologyModule, cosine_factor, warmed_average
from tuningfork.training.options import Hardware
from tuningfork.training.recipe import Augmentation, Recipe
from tuningfork.training.train import _trainer
from tuningfork.votes.clean_samples import Status, classify

RECIPE = Recipe(network="mobilenetv3_small_050", size=32, epochs=4, batch=16, warmup_epochs=1)


def schedule(recipe, tree, steps=40):
    """Optimiser and scheduler of a training of so many steps."""
    module = MorphologyModule(recipe, tree)
    module._trainer = SimpleNamespace(estimated_stepping_batches=steps, world_size=1)
    made = module.configure_optimizers()
    return made["optimizer"], made["lr_scheduler"]["scheduler"]


def rates(recipe, tree, steps=40):
    """The learning rate of each step."""
    optimizer, scheduler = schedule(recipe, tree, steps)
    found = []
    for _ in range(steps):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return np.array(found)


# ------------------------------------------------------------------ the cosine


def test_the_cosine_is_pytorchs_after_a_linear_warmup(gz2):
    recipe = RECIPE.changed(learning_rate=0.04)
    found = rates(recipe, gz2)
    np.testing.assert_allclose(found[:10], 0.04 * np.arange(1, 11) / 10)
    parameter = torch.nn.Parameter(torch.zeros(1))
    reference = torch.optim.SGD([parameter], lr=0.04)
    annealing = torch.optim.lr_scheduler.CosineAnnealingLR(reference, T_max=30)
    expected = []
    for _ in range(30):
        expected.append(reference.param_groups[0]["lr"])
        reference.step()
        annealing.step()
    np.testing.assert_allclose(found[10:], expected, rtol=1e-6)
    assert found.max() == pytest.approx(0.04)  # the recipe's rate is the highest


def test_the_cosine_factor_ends_at_nothing():
    assert cosine_factor(100, 100, 10) == pytest.approx(0)
    assert cosine_factor(1000, 100, 10) == pytest.approx(0)
    assert cosine_factor(55, 100, 10) == pytest.approx(0.5)


# ------------------------------------------------------------------ the plateau


def keras_drops(values, patience):
    """Epochs after which Keras' ReduceLROnPlateau reduces the rate, as its source code has it (min_delta 1e-4)."""
    best, wait, drops = np.inf, 0, []
    for epoch, value in enumerate(values):
        if value < best - 1e-4:
            best, wait = value, 0
        else:
            wait += 1
            if wait >= patience:
                drops.append(epoch)
                wait = 0
    return drops


def test_the_plateau_is_that_of_keras(gz2):
    rng = np.random.default_rng(0)
    for patience in (1, 2, 4):
        recipe = RECIPE.changed(schedule="plateau", plateau_patience=patience, plateau_factor=0.5, learning_rate=1.0)
        # Improvements of all sizes about the least that counts, and none.
        values = 0.3 - np.cumsum(rng.choice([0, 5e-5, 2e-4, -1e-3], 40))
        optimizer, scheduler = schedule(recipe, gz2)
        drops = []
        for epoch, value in enumerate(values):
            before = optimizer.param_groups[0]["lr"]
            scheduler.step(value)
            if optimizer.param_groups[0]["lr"] < before:
                drops.append(epoch)
        assert drops == keras_drops(values, patience)
        assert drops


# ------------------------------------------------------------------ the moving average


def test_the_moving_average_warms_up():
    """After n updates it holds no more of the first weights than the product of (1 + i) / (10 + i)."""
    update = warmed_average(0.995)
    average, kept = torch.zeros(3), 1.0
    for n in range(1, 60):
        average = update(average, torch.ones(3), torch.tensor(n))
        kept *= min(0.995, (1 + n) / (10 + n))
        torch.testing.assert_close(average, torch.full((3,), 1 - kept))
    assert kept < 1e-6  # without the warm-up 0.995 ** 59 = 0.74
    late = update(torch.zeros(1), torch.ones(1), torch.tensor(100_000))
    torch.testing.assert_close(late, torch.tensor([0.005]), rtol=1e-4, atol=0)
    assert update(torch.tensor(3), torch.tensor(9), torch.tensor(5)) == 9  # counters are not averaged


# ------------------------------------------------------------------ clipping


def test_gradients_are_clipped_only_if_the_recipe_says_so(tmp_path):
    for clip, expected in ((0.0, None), (5.0, 5.0)):
        trainer = _trainer(RECIPE.changed(gradient_clip=clip), tmp_path, Hardware(accelerator="cpu"), [], False)
        assert trainer.gradient_clip_val == expected


# ------------------------------------------------------------------ validation


def test_validation_counts_decided_galaxies_alone(gz2):
    """A galaxy whose known columns leave one class open is not decided: that class may be refuted yet."""
    rng = np.random.default_rng(1)
    cumulative = rng.random((4000, len(gz2.columns)))
    cumulative[rng.random(cumulative.shape) < 0.4] = np.nan
    classes = classify(cumulative, gz2)
    training, validation = Targets.of(cumulative, gz2), Targets.of_decided(cumulative, gz2)
    assert ((training.candidates.sum(1) == 1) & (classes == Status.UNDECIDED)).any()
    np.testing.assert_array_equal(validation.candidates.sum(1) == 1, classes >= 0)
    decided = np.flatnonzero(classes >= 0)
    np.testing.assert_array_equal(validation.candidates[decided].argmax(1), classes[decided])
    np.testing.assert_array_equal(validation.cumulative, training.cumulative)


# ------------------------------------------------------------------ augmentation at the frame's edge


def test_no_black_corners():
    """Beyond the frame a view shows its mirror image, as if the frame had been larger."""
    rng = np.random.default_rng(0)
    small = rng.integers(100, 256, (10, 10, 3), dtype=np.uint8)
    image = np.kron(small, np.ones((6, 6, 1), np.uint8))
    larger = np.pad(image, ((60, 60), (60, 60), (0, 0)), mode="symmetric")
    still = Augmentation(rotation=(0, 360), flip=True, shift=0.1, zoom=(0.6, 1.0), brightness=(1, 1))
    for seed in range(8):
        view = augmented(image, Preprocess(crop=1, size=48), still, np.random.default_rng(seed))
        expected = augmented(larger, Preprocess(crop=1 / 3, size=48), still, np.random.default_rng(seed))
        assert view.min() >= 90
        np.testing.assert_allclose(view.astype(int), expected.astype(int), atol=1)
