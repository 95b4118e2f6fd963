"""The posterior of the vote fractions: what is fitted is recovered, draws are reproducible and calibrated."""

from __future__ import annotations

import json

import numpy as np
import pytest
from dirichlet import dirichlet_galaxies

from tuningfork import load_tree
from tuningfork._utils.gamma import digamma, log_gamma
from tuningfork.model.posterior import WIDTH, Split, VotePosterior
from tuningfork.model.posterior_fit import LEAST_GALAXIES, fit_posterior
from tuningfork.votes.fractions import conditional_from_cumulative, sum_violations

TREE = load_tree("gz2")


def galaxies(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    return dirichlet_galaxies(TREE, count, seed)


@pytest.fixture(scope="module")
def fitted() -> tuple[VotePosterior, np.ndarray, np.ndarray]:
    predicted, true = galaxies(1200)
    return fit_posterior(predicted[:600], true[:600], TREE, n_views=1), predicted[600:], true[600:]


def test_gamma_functions_agree_with_scipy() -> None:
    special = pytest.importorskip("scipy.special")
    x = 10.0 ** np.linspace(-6, 4, 300)
    np.testing.assert_allclose(log_gamma(x), special.gammaln(x), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(digamma(x), special.psi(x), rtol=1e-9)


def test_draws_are_calibrated(fitted: tuple[VotePosterior, np.ndarray, np.ndarray]) -> None:
    posterior, predicted, true = fitted
    ids = [str(n) for n in range(len(predicted))]
    fractions = conditional_from_cumulative(predicted, TREE)
    draws = conditional_from_cumulative(posterior.draws(fractions, ids, TREE, 200), TREE)
    below = (draws < conditional_from_cumulative(true, TREE)).mean(0)
    for level in (0.5, 0.8, 0.9):
        inside = np.abs(below - 0.5) <= level / 2
        assert abs(inside.mean() - level) < 0.03, level


def test_draws_depend_on_the_galaxy_alone(fitted: tuple[VotePosterior, np.ndarray, np.ndarray]) -> None:
    posterior, predicted, _ = fitted
    fractions, ids = conditional_from_cumulative(predicted[:20], TREE), [f"galaxy {n}" for n in range(20)]
    draws = posterior.draws(fractions, ids, TREE, 7)
    order = np.random.default_rng(1).permutation(20)
    shuffled = posterior.draws(fractions[order], [ids[n] for n in order], TREE, 7)
    np.testing.assert_array_equal(shuffled, draws[:, order])
    np.testing.assert_array_equal(posterior.draws(fractions[3:4], ids[3:4], TREE, 7), draws[:, 3:4])
    few = posterior.draws(fractions.astype(np.float32), ids, TREE, 7, questions={"bar"})
    np.testing.assert_array_equal(few[:, :, TREE.slices[2]], draws[:, :, TREE.slices[2]])
    assert np.isnan(few[:, :, TREE.slices[5]]).all()
    assert not np.array_equal(posterior.draws(fractions, ids, TREE, 7, seed=1), draws)
    assert np.nanmax(np.abs(sum_violations(draws, TREE))) < 1e-9


def test_rows_without_prediction_and_unreached_questions(
    fitted: tuple[VotePosterior, np.ndarray, np.ndarray],
) -> None:
    posterior, predicted, _ = fitted
    fractions = conditional_from_cumulative(predicted[:2], TREE)
    fractions[0] = np.nan
    # Nobody says "features": what lies below has no share, and no draw is missing for that.
    fractions[1, TREE.slices[0]] = [1, 0, 0]
    fractions[1, TREE.slices[1]] = np.nan
    draws = posterior.draws(fractions, ["a", "b"], TREE, 5)
    assert np.isnan(draws[:, 0]).all()
    assert np.isfinite(draws[:, 1]).all()


def test_too_few_galaxies_are_told_and_have_no_draws() -> None:
    predicted, true = galaxies(LEAST_GALAXIES)
    true[0, TREE.slices[2]] = np.nan
    posterior = fit_posterior(predicted, true, TREE, n_views=1)
    assert posterior.missing == {"bar": f"{LEAST_GALAXIES - 1} galaxies reach it; {LEAST_GALAXIES} are needed"}
    draws = posterior.draws(conditional_from_cumulative(predicted[:3], TREE), list("abc"), TREE, 2)
    assert np.isnan(draws[:, :, TREE.slices[2]]).all()
    assert np.isfinite(draws[:, :, TREE.slices[3]]).all()


def test_plain_form_reads_back(fitted: tuple[VotePosterior, np.ndarray, np.ndarray]) -> None:
    plain = json.loads(json.dumps(fitted[0].to_dict()))
    again = VotePosterior.from_dict(plain)
    assert again == fitted[0]
    again.check(TREE)
    with pytest.raises(ValueError, match="not those of tree"):
        again.check(load_tree("gz1"))
    for key, wrong in (("order", [1]), ("order", []), ("splits", []), ("galaxies", -1)):
        broken = json.loads(json.dumps(plain))
        broken["questions"]["bar"][key] = wrong
        with pytest.raises(ValueError, match="posterior"):
            VotePosterior.from_dict(broken).check(TREE)
    with pytest.raises(ValueError, match="positive"):
        Split((0.0,) * WIDTH, (-1.0,) + (0.0,) * 20)
    with pytest.raises(ValueError, match="finite"):
        Split((float("nan"),) * WIDTH, (0.0,) * 21)


def test_no_draws_or_a_negative_seed_are_refused(fitted: tuple[VotePosterior, np.ndarray, np.ndarray]) -> None:
    fractions = conditional_from_cumulative(fitted[1][:1], TREE)
    for k, seed in ((0, 0), (1, -1)):
        with pytest.raises(ValueError, match="at least"):
            fitted[0].draws(fractions, ["a"], TREE, k, seed)


@pytest.mark.slow
def test_common_error_makes_counts_of_few_calibration_galaxies_less_sure() -> None:
    predicted, true = galaxies(1000)
    fractions, ids = conditional_from_cumulative(predicted, TREE), [str(n) for n in range(1000)]
    scatter = [
        (fit_posterior(predicted[:n], true[:n], TREE, n_views=1).draws(fractions, ids, TREE, 40)[:, :, 0] >= 0.5)
        .sum(1)
        .std()
        for n in (LEAST_GALAXIES, 1000)
    ]
    assert scatter[0] > 2 * scatter[1]


@pytest.mark.slow
def test_galaxies_of_which_few_were_asked_do_not_decide_for_the_others() -> None:
    predicted, true = galaxies(400)
    part, parent = TREE.slices[1], TREE.parents[1]
    rng = np.random.default_rng(3)
    few_predicted, few_true = galaxies(1200, seed=1)
    for cumulative in (few_predicted, few_true):
        cumulative[:, TREE.slices[0]] = 0.985, 0.005, 0.01
    assert parent == 1
    # One volunteer of 200 was asked: says yes or no, whatever is predicted.
    few_predicted[:, part] = 0.005 * rng.dirichlet([1, 1], 1200)
    few_true[:, part] = 0.005 * np.eye(2)[rng.integers(0, 2, 1200)]
    spreads = []
    for more in (0, 1200):
        known = np.concatenate([true, few_true[:more]])
        posterior = fit_posterior(np.concatenate([predicted, few_predicted[:more]]), known, TREE, n_views=1)
        fractions = conditional_from_cumulative(predicted[predicted[:, parent] > 0.3], TREE)
        draws = posterior.draws(fractions, [str(n) for n in range(len(fractions))], TREE, 100, questions={"edge_on"})
        spreads.append(conditional_from_cumulative(draws, TREE)[..., part.start].std(0).mean())
    assert spreads[1] == pytest.approx(spreads[0], rel=0.1)
