"""One temperature makes overconfident probabilities honest, and leaves honest ones alone."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from tuningfork.model.temperature import Temperature, fit_temperature


def galaxies(count: int, seed: int, sharper: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Told probabilities (N, 4), too sharp by that power, and the classes drawn from the right ones."""
    rng = np.random.default_rng(seed)
    right = rng.dirichlet(np.full(4, 0.7), count) * 0.98 + 0.005
    classes = (right.cumsum(1) < rng.random((count, 1))).sum(1)
    told = right**sharper
    return told / told.sum(1, keepdims=True), classes


def log_loss(probability: np.ndarray, classes: np.ndarray) -> float:
    return float(np.mean([-math.log(row[c]) for row, c in zip(probability, classes, strict=True)]))


@pytest.mark.parametrize("sharper", [0.5, 1.5, 2.5])
def test_a_wrong_sharpness_is_undone(sharper: float) -> None:
    told, classes = galaxies(4000, 1, sharper)
    fitted = fit_temperature(told, classes)
    assert fitted.temperature == pytest.approx(sharper, rel=0.1)
    other, other_classes = galaxies(4000, 2, sharper)
    assert log_loss(fitted(other), other_classes) < log_loss(other, other_classes) - 0.01
    np.testing.assert_allclose(fitted(other), galaxies(4000, 2)[0], atol=0.03)


def test_no_other_temperature_has_a_higher_likelihood() -> None:
    told, classes = galaxies(500, 3, 1.8)
    fitted = fit_temperature(told, classes)
    best = log_loss(fitted(told), classes)
    for factor in (0.7, 0.95, 1.05, 1.4):
        assert log_loss(Temperature(fitted.temperature * factor, 500)(told), classes) > best


def test_the_log_losses_are_those_with_and_without() -> None:
    told, classes = galaxies(60, 4, 2.0)
    fitted = fit_temperature(told, classes)
    assert fitted.log_loss_before == pytest.approx(log_loss(told, classes))
    left_out = []
    for row in range(60):
        rest = np.arange(60) != row
        losses = {
            t: log_loss(Temperature(float(t), 1)(told[rest]), classes[rest]) for t in np.exp(np.arange(0, 120) / 100)
        }
        best = Temperature(float(min(losses, key=losses.__getitem__)), 1)
        left_out.append(log_loss(best(told[[row]]), classes[[row]]))
    assert fitted.log_loss_after == pytest.approx(np.mean(left_out), abs=1e-6)


def test_honest_probabilities_mostly_stay_as_they_are() -> None:
    fits = [fit_temperature(*galaxies(100, 100 + seed)) for seed in range(60)]
    kept = [fit for fit in fits if fit.temperature == 1]
    assert len(kept) > 30
    assert all("no better" in fit.reason for fit in kept)


def test_the_order_of_the_galaxies_is_of_no_importance() -> None:
    told, classes = galaxies(200, 5, 1.7)
    order = np.random.default_rng(0).permutation(200)
    one, other = fit_temperature(told, classes), fit_temperature(told[order], classes[order])
    assert one.temperature == other.temperature
    assert one.log_loss_after == pytest.approx(other.log_loss_after)


def test_too_few_galaxies_change_nothing_and_say_so() -> None:
    told, classes = galaxies(49, 6, 3.0)
    fitted = fit_temperature(told, classes)
    assert fitted == Temperature(1.0, 49, reason="the votes decide the class of 49; 50 are needed")
    assert fitted(told) is told


def test_probabilities_stay_probabilities() -> None:
    rows = np.array([[1.0, 0, 0], [0.5, 0.5, 0], [1 / 3, 1 / 3, 1 / 3], [1e-300, 1e-20, 1], [np.nan] * 3])
    for temperature in (0.1, 0.9, 4.0):
        out = Temperature(temperature, 100)(rows)
        np.testing.assert_allclose(out[:4].sum(1), 1)
        assert (out[:4] >= 0).all()
        assert np.isnan(out[4]).all()
        assert (out[:4].argmax(1) == rows[:4].argmax(1)).all()


def test_a_temperature_comes_back_from_json() -> None:
    for fitted in (fit_temperature(*galaxies(100, 7, 2.0)), fit_temperature(*galaxies(20, 7))):
        assert Temperature.from_dict(json.loads(json.dumps(fitted.to_dict()))) == fitted


@pytest.mark.parametrize("change", [
    {"temperature": 0.0}, {"temperature": 11.0}, {"temperature": math.nan}, {"temperature": "1"}, {"galaxies": -1},
    {"galaxies": 1.0}, {"log_loss_after": math.inf}, {"log_loss_before": -1.0}, {"reason": None}, {"other": 1},
])  # fmt: skip
def test_nonsense_is_refused(change: dict) -> None:
    with pytest.raises((ValueError, TypeError)):
        Temperature.from_dict({"temperature": 1.5, "galaxies": 100, **change})
