"""Nearest neighbours in pixel space: against a plain loop over scikit-learn's order of distances."""

from __future__ import annotations

import numpy as np
from sklearn.neighbors import NearestNeighbors

from tuningfork.evaluation import baselines


def test_neighbours_are_those_with_the_answer_in_any_number_of_blocks(monkeypatch):
    monkeypatch.setattr(baselines, "_ROWS_AT_ONCE", 4)
    rng = np.random.default_rng(0)
    votes, train, test = rng.random((40, 3)), rng.random((40, 12)), rng.random((11, 12))
    votes[rng.random(40) < 0.5, 1] = np.nan
    votes[:, 2] = np.nan  # known of no galaxy
    predicted = baselines.nearest_neighbour_votes(votes, train.astype(np.float32), test.astype(np.float32), 5)
    for column in (0, 1):
        known = np.flatnonzero(~np.isnan(votes[:, column]))
        nearest = NearestNeighbors(n_neighbors=5).fit(train[known]).kneighbors(test, return_distance=False)
        np.testing.assert_allclose(predicted[:, column], votes[known[nearest], column].mean(1))
    assert np.isnan(predicted[:, 2]).all()


def test_fewer_galaxies_than_neighbours_are_all_averaged():
    votes, pixels = np.array([[0.2], [0.8]]), np.eye(2, dtype=np.float32)
    np.testing.assert_allclose(baselines.nearest_neighbour_votes(votes, pixels, pixels, 25), 0.5)
