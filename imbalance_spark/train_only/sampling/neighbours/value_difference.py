"""The value difference metric (Stanfill and Waltz, 1986): categories are as far apart as the classes they go with."""

from dataclasses import dataclass

import numpy as np

from imbalance_spark.train_only.sampling.neighbours.exact import Neighbours
from imbalance_spark.train_only.sampling.neighbours.space import Floats, Numbers, Space, Words

_BLOCK_NUMBERS = 1 << 21
_SPREAD_ROWS = 1024


@dataclass(frozen=True, kw_only=True)
class ValueDifferenceSpace(Space):
    """Distance^2 = sum over features of (sum over classes of |p(c | v) - p(c | w)|)^2, as imbalanced-learn's VDM.

    Args:
        numeric: p(c | value) of each feature and class, feature after feature.
        classes: how many classes there are.
    """

    classes: int

    @property
    def is_euclidean(self) -> bool:
        """With two classes."""
        return self.classes == 2

    def nearest(self, queries: Numbers, rows: Numbers, k: int, own: Words) -> Neighbours:
        """As `exact.nearest`; with two classes the distance is Euclidean, with more each row is compared."""
        if self.classes == 2:
            return super().nearest(queries, rows, k, own)
        size = max(1, _BLOCK_NUMBERS // (len(rows) * self.classes))
        blocks = range(0, len(queries), size)
        parts = [self._of_block(queries[at : at + size], rows, k, own[at : at + size]) for at in blocks]
        return Neighbours(
            positions=np.vstack([part.positions for part in parts]),
            distances=np.vstack([part.distances for part in parts]),
        )

    def vectors(self, queries: Numbers, rows: Numbers) -> tuple[Floats, Floats]:
        """With two classes |p - q| is the same for both, so one coordinate of twice its size stands for a feature."""
        left, right = super().vectors(queries, rows)
        return (2 * left[:, ::2], 2 * right[:, ::2]) if self.classes == 2 else (left, right)

    def squares(self, queries: Numbers, rows: Numbers) -> Floats:
        """(queries, rows): squared distances, class by class, so that a block of one class is all that is held."""
        left, right = np.asarray(queries, np.float64), np.asarray(rows, np.float64)
        total = np.zeros((len(left), len(right)))
        for first in range(0, self.width, self.classes):
            apart = np.zeros_like(total)
            for column in range(first, first + self.classes):
                apart += np.abs(left[:, column, None] - right[None, :, column])
            total += np.square(apart)
        return total

    def spread(self, values: Numbers) -> float:
        """Root mean square distance of two points, from the first of them."""
        few = values[:_SPREAD_ROWS]
        return float(np.sqrt(self.squares(few, few).mean()))

    def _of_block(self, queries: Numbers, rows: Numbers, k: int, own: Words) -> Neighbours:
        squares = self.squares(queries, rows)
        has_own = np.flatnonzero(own >= 0)
        squares[has_own, own[has_own]] = np.inf
        limits = np.partition(squares, k - 1, axis=1)[:, k - 1]
        positions = np.empty((len(queries), k), np.int64)
        for query, limit in enumerate(limits):
            near = np.flatnonzero(squares[query] <= limit)
            positions[query] = near[np.argsort(squares[query, near], kind="stable")][:k]
        return Neighbours(positions=positions, distances=np.sqrt(np.take_along_axis(squares, positions, axis=1)))
