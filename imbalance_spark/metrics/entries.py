"""The columns of a counts table, which curves and bounds are computed from."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from imbalance_spark.core.arrays import FloatArray, IntArray
from imbalance_spark.metrics.grid import LogitGrid


@dataclass(frozen=True, kw_only=True, eq=False)
class ScoreEntries:
    """Rows of each class by score, highest score first.

    An entry is one distinct score, or one occupied bin of `grid`; after an exact recount both occur, and negatives
    between two positives are one entry. Counts are rows (int64), weights are sums over rows
    (float64; equal to the counts if rows have no weights), amounts are sums of weight times amount.
    """

    score: FloatArray
    """Probability in [0, 1] that represents the entry: the score itself, or the middle of the bin."""
    threshold: FloatArray
    """Lowest score of the entry: `score >= threshold[i]` holds for the rows of entries 0..i and no other."""
    positives: IntArray
    negatives: IntArray
    positive_weight: FloatArray
    negative_weight: FloatArray
    positive_amount: FloatArray | None
    negative_amount: FloatArray | None
    grid: LogitGrid | None
    """The bins, or None if the scores are exact."""

    @property
    def is_exact(self) -> bool:
        """Whether an entry is one distinct score, not a bin."""
        return self.grid is None

    @property
    def is_bin(self) -> npt.NDArray[np.bool_]:
        """Whether each entry is a bin, whose rows may have several scores; the middle of a bin is above its edge."""
        return np.asarray(self.score != self.threshold, dtype=np.bool_)

    @property
    def is_weighted(self) -> bool:
        """Whether any row's weight is not 1, judged by the sums."""
        same = np.array_equal(self.positive_weight, self.positives)
        return not (same and np.array_equal(self.negative_weight, self.negatives))
