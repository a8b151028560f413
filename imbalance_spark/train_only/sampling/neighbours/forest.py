"""Random-projection trees (Dasgupta and Freund, 2008): cells of near rows, from a sample, free of the layout."""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from imbalance_spark.train_only.sampling.neighbours.space import Floats, Numbers, PointArrays, Space, Words

TREES = 4
CELL_ROWS = 512
"""Rows of a cell, roughly: a search compares each row with those of its cell in each tree."""
SAMPLE_ROWS = 1 << 18
"""Rows that the trees are learnt on, which the driver holds."""
_LEAST_SAMPLED = 16
_QUANTUM, _LIMIT = float(1 << 14), float(1 << 12)
_STEPS = 64
_CATEGORIES = 4093


@dataclass(frozen=True, kw_only=True)
class Forest:
    """Trees whose nodes of one depth share a direction and halve the sample at a threshold of their own.

    Args:
        directions: (numbers of a point, trees x depth), whole numbers.
        categories: (categorical columns, 4093, trees x depth), whole numbers: a category's share in a projection.
        thresholds: for each tree and depth one number a node.
    """

    directions: Floats
    categories: Floats
    thresholds: tuple[tuple[Floats, ...], ...]

    @property
    def trees(self) -> int:
        """How many cells a row is in."""
        return len(self.thresholds)

    def cells(self, points: PointArrays) -> Words:
        """(points, trees): the cell of each point in each tree.

        All sums are of whole numbers below 2**53, hence exact: no row changes its cell with the batch it is in.
        """
        projected = self._project(points.values)
        depth = len(self.thresholds[0])
        found = np.zeros((len(points), self.trees), np.int64)
        for tree, levels in enumerate(self.thresholds):
            for level, thresholds in enumerate(levels):
                value, at = projected[:, tree * depth + level], thresholds[found[:, tree]]
                found[:, tree] = 2 * found[:, tree] + _is_right(value, at, points.hashes, level)
        return found

    def _project(self, values: Numbers) -> Floats:
        first = len(self.directions)
        numbers = np.rint(np.clip(np.asarray(values[:, :first], np.float64), -_LIMIT, _LIMIT) * _QUANTUM)
        projected = np.asarray(numbers @ self.directions, np.float64)
        for column, table in enumerate(self.categories):
            projected += table[np.abs(values[:, first + column] * 2).astype(np.int64) % _CATEGORIES]
        return projected


def fit_forest(sample: PointArrays, space: Space, rows: int, seed: int) -> Forest:
    """Learn trees for so many rows from a sample of them."""
    cell = max(CELL_ROWS, rows * _LEAST_SAMPLED / max(1, len(sample)))
    depth = max(1, math.ceil(math.log2(max(2.0, rows / cell))))
    draws = np.random.default_rng([seed, rows])
    columns, first = TREES * depth, len(space.numeric)
    scale = _STEPS / 3
    directions = np.rint(draws.normal(0, scale, (first, columns)))
    shape = (len(space.categorical), _CATEGORIES, columns)
    categories = np.rint(draws.normal(0, scale * min(space.penalty, _LIMIT) / math.sqrt(2), shape) * _QUANTUM)
    plain = Forest(directions=directions, categories=categories, thresholds=())
    projected = plain._project(sample.values)
    thresholds = tuple(_halved(projected[:, t * depth : (t + 1) * depth], sample.hashes) for t in range(TREES))
    return Forest(directions=directions, categories=categories, thresholds=thresholds)


def _halved(projected: Floats, hashes: Words) -> tuple[Floats, ...]:
    node = np.zeros(len(projected), np.int64)
    levels = []
    for level in range(projected.shape[1]):
        value = projected[:, level]
        thresholds = np.zeros(1 << level)
        order = np.lexsort((value, node))
        ends = np.searchsorted(node[order], np.arange((1 << level) + 1))
        middle = (ends[:-1] + ends[1:]) // 2
        has_rows = ends[1:] > ends[:-1]
        thresholds[has_rows] = value[order[middle[has_rows]]]
        levels.append(thresholds)
        node = 2 * node + _is_right(value, thresholds[node], hashes, level)
    return tuple(levels)


def _is_right(value: Floats, at: Floats, hashes: Words, level: int) -> npt.NDArray[np.bool_]:
    # Rows on the threshold, such as many equal ones, are halved by a bit of their hash: no cell grows without bound.
    return np.asarray((value > at) | ((value == at) & ((hashes >> level) & 1 == 1)))
