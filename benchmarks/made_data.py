"""Three kinds of data that are drawn in memory, with the probability of each label."""

from collections.abc import Callable

import numpy as np

_FEATURES = 10

Draw = Callable[[np.random.Generator, int, float], tuple[np.ndarray, np.ndarray]]
"""Inputs (float32) and the probability of being positive, of so many rows at a prior."""


def labels_of(draws: np.random.Generator, probability: np.ndarray) -> np.ndarray:
    """A label for each probability, 0 or 1."""
    return np.asarray(draws.random(len(probability)) < probability, np.int8)


def _thin_region(draws: np.random.Generator, rows: int, prior: float) -> tuple[np.ndarray, np.ndarray]:
    """Most positives lie in an interval of one feature that holds twice as many rows as there are positives."""
    inputs = draws.random((rows, _FEATURES)).astype(np.float32)
    is_inside = np.abs(inputs[:, 0] - 0.37) < prior
    return inputs, np.where(is_inside, np.where(inputs[:, 1] > 0.5, 0.75, 0.15), 0.1 * prior)


def _heavy_tailed(draws: np.random.Generator, rows: int, prior: float) -> tuple[np.ndarray, np.ndarray]:
    """Log-normal features; log-odds grow with three of them and the product of two."""
    logs = draws.normal(size=(rows, _FEATURES))
    signal = 1.2 * logs[:, 0] + 0.8 * np.maximum(logs[:, 1], 0.0) + 0.7 * logs[:, 2] * (logs[:, 3] > 0.5)
    return np.exp(1.5 * logs).astype(np.float32), _probability(1.3 * signal, prior)


def _overlapping(draws: np.random.Generator, rows: int, prior: float) -> tuple[np.ndarray, np.ndarray]:
    """Normal features of equal spread whose means differ by half a standard deviation in three of them."""
    inputs = draws.normal(size=(rows, _FEATURES))
    return inputs.astype(np.float32), _probability(0.5 * inputs[:, :3].sum(axis=1), prior)


def _probability(log_odds: np.ndarray, prior: float) -> np.ndarray:
    """Probabilities whose mean is the prior; the intercept by bisection."""
    low, high = -40.0, 20.0
    for _ in range(60):
        middle = (low + high) / 2
        is_high = (1 / (1 + np.exp(-(log_odds + middle)))).mean() > prior
        low, high = (low, middle) if is_high else (middle, high)
    return np.asarray(1 / (1 + np.exp(-(log_odds + low))), np.float64)


MADE: dict[str, Draw] = {"thin region": _thin_region, "heavy tails": _heavy_tailed, "overlap": _overlapping}
