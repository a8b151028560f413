"""The neighbour engine against brute force and scikit-learn."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.neighbors import NearestNeighbors

from imbalance_spark.train_only.sampling.neighbours import nearest


def brute(queries: np.ndarray, rows: np.ndarray, k: int, own: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    squares = np.square(rows[None] - queries[:, None]).sum(axis=2)
    inside = np.flatnonzero(own >= 0)
    squares[inside, own[inside]] = np.inf
    order = np.argsort(squares, axis=1, kind="stable")[:, :k]
    return order, np.sqrt(np.take_along_axis(squares, order, axis=1))


@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e12])
@pytest.mark.parametrize("shift", [0.0, 1e6])
def test_neighbours_are_those_of_scikit_learn(scale: float, shift: float) -> None:
    rows = (np.random.default_rng(1).normal(size=(3000, 7)) + shift) * scale
    found = nearest(rows, rows, 5, np.arange(3000))
    distances, positions = NearestNeighbors(n_neighbors=6, algorithm="kd_tree").fit(rows).kneighbors(rows)
    np.testing.assert_array_equal(found.positions, positions[:, 1:])
    np.testing.assert_allclose(found.distances, distances[:, 1:], rtol=1e-9)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), n=st.integers(7, 900), width=st.integers(1, 4), levels=st.integers(1, 6))
def test_ties_and_twins_are_ordered_by_position_as_brute_force_does(seed: int, n: int, width: int, levels: int) -> None:
    draws = np.random.default_rng(seed)
    rows = draws.integers(0, levels, size=(n, width)).astype(float)
    own = np.where(draws.random(n) < 0.5, np.arange(n), -1)
    found = nearest(rows, rows, 5, own)
    positions, distances = brute(rows, rows, 5, own)
    np.testing.assert_array_equal(found.positions, positions)
    np.testing.assert_array_equal(found.distances, distances)


def test_a_far_row_does_not_hide_near_ones() -> None:
    rows = np.random.default_rng(2).normal(size=(500, 3))
    rows[0] = 1e9
    found = nearest(rows, rows, 4, np.arange(500))
    np.testing.assert_array_equal(found.positions, brute(rows, rows, 4, np.arange(500))[0])


def test_a_row_is_not_its_own_neighbour_but_its_twin_is() -> None:
    rows = np.array([[0.0], [0.0], [5.0]])
    found = nearest(rows, rows, 1, np.arange(3))
    assert found.positions[:, 0].tolist() == [1, 0, 0]


@pytest.mark.parametrize("k", [0, 3])
def test_more_neighbours_than_rows_are_refused(k: int) -> None:
    rows = np.zeros((3, 1))
    with pytest.raises(ValueError, match=r"k must be in \[1, rows other than the query\]"):
        nearest(rows, rows, k, np.arange(3))
