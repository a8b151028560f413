"""The grid that scores are counted on, and the columns of a table of such counts.

Bins are of equal width in logit(score), the same in numpy and in Spark.
"""

import math
from dataclasses import dataclass
from decimal import Decimal, localcontext
from functools import cached_property, lru_cache

import numpy as np
import numpy.typing as npt
from pyspark.sql import Column
from pyspark.sql import functions as F

from imbalance_spark.core.arrays import LARGEST_PROBABILITY, SMALLEST_PROBABILITY, IntArray
from imbalance_spark.core.arrays import FloatArray as FloatArray
from imbalance_spark.core.errors import ConfigError

INVALID_SCORE, INVALID_LABEL, INVALID_WEIGHT, INVALID_AMOUNT = -1, -2, -3, -4
"""Bins of rows that break a rule; they are part of the counts, so that finding them needs no extra pass."""

_STRIDE = 256


@dataclass(frozen=True)
class LogitGrid:
    """`bins` bins of equal width in logit(score) over [-bound, bound]; the end bins include everything beyond.

    Equal width in logit resolves both ends of the scale. With bins of equal width in the score ROC-AUC is wrong at low
    prevalence, with bins of equal mass average precision is.

    A row's bin follows from the nearest bin edge and one comparison of its odds with that edge. Odds and edges need
    only division and multiplication, which IEEE 754 defines to the last bit; the logarithm, which libraries round
    differently, is only used to find the nearest edge. So NumPy and Spark agree on every double.

    Raises:
        ConfigError: fewer than 2 or more than 2^20 bins, a bound that is not above 0, or bins that are too narrow for
            the doubles near 1.
    """

    bins: int = 65_536
    bound: float = 20.0

    def __post_init__(self) -> None:
        if not 2 <= self.bins <= 1 << 20:
            raise ConfigError(f"LogitGrid.bins must be in [2, {1 << 20}], got {self.bins!r}. 65536 suits most uses.")
        if not 0.0 < self.bound <= 36.0 or math.exp(-self.bound) * 2.0 * self.bound / self.bins < 2.0**-50:
            raise ConfigError(
                f"LogitGrid.bound must be above 0 and leave several doubles to each bin near 1, got {self.bound!r} "
                f"with {self.bins} bins. 20 suits most uses."
            )

    def __reduce__(self) -> tuple[type["LogitGrid"], tuple[int, float]]:
        return LogitGrid, (self.bins, self.bound)  # without the tables, which are recomputed after pickling

    def bin_of(self, scores: npt.ArrayLike) -> IntArray:
        """Each score's bin in [0, bins), or INVALID_SCORE for NaN and scores outside [0, 1]."""
        score = np.asarray(scores, dtype=np.float64)
        is_valid = (score >= 0.0) & (score <= 1.0)
        odds = _odds(np.where(is_valid, score, 0.5))
        position = np.rint((np.log(odds) + self.bound) * self._per_logit)
        edge = np.clip(position, 1, self.bins - 1).astype(np.int64)
        return np.where(is_valid, edge - 1 + (odds >= self._edge_odds(edge)), INVALID_SCORE)

    def bin_column(self, score: Column) -> Column:
        """`bin_of` as an int Column; null counts as an invalid score."""
        double = score.cast("double")
        finite = F.greatest(F.least(double, F.lit(LARGEST_PROBABILITY)), F.lit(SMALLEST_PROBABILITY))
        odds = finite / (F.lit(1.0) - finite)
        position = F.rint((F.ln(odds) + F.lit(self.bound)) * F.lit(self._per_logit))
        edge = F.greatest(F.least(position, F.lit(float(self.bins - 1))), F.lit(1.0)).cast("int")
        coarse, fine = map(F.lit, self._edge_tables)  # two literals of type array<double>
        edge_odds = F.get(coarse, F.shiftright(edge, 8)) * F.get(fine, edge.bitwiseAND(_STRIDE - 1))
        bin_number = edge - F.lit(1) + (odds >= edge_odds).cast("int")
        return F.when(double.between(0.0, 1.0), bin_number).otherwise(F.lit(INVALID_SCORE))

    def value(self, bins: npt.ArrayLike) -> FloatArray:
        """The probability at the middle of each bin, in logit."""
        logit = (np.asarray(bins, dtype=np.float64) + 0.5) / self._per_logit - self.bound
        return np.asarray(1.0 / (1.0 + np.exp(-logit)), dtype=np.float64)

    def lower(self, bins: npt.ArrayLike) -> FloatArray:
        """The lowest double in each bin: `score >= lower(b)` holds for exactly the rows of bins >= b."""
        return self._lowest[np.asarray(bins, dtype=np.int64)]

    @property
    def _per_logit(self) -> float:
        return self.bins / (2.0 * self.bound)

    def _edge_odds(self, edge: IntArray) -> FloatArray:
        coarse, fine = self._edge_tables
        return np.asarray(coarse[edge >> 8] * fine[edge & (_STRIDE - 1)], dtype=np.float64)

    @property
    def _edge_tables(self) -> tuple[FloatArray, FloatArray]:
        return _edge_tables(self.bins, self.bound)

    @cached_property
    def _lowest(self) -> FloatArray:
        edge_odds = self._edge_odds(np.arange(1, self.bins))
        score = edge_odds / (1.0 + edge_odds)
        # The quotient is within a few units in the last place of the lowest score that reaches the edge.
        while np.any(below := _odds(score) < edge_odds):
            score[below] = np.nextafter(score[below], 1.0)
        while np.any(above := _odds(np.nextafter(score, 0.0)) >= edge_odds):
            score[above] = np.nextafter(score[above], 0.0)
        return np.concatenate([[0.0], score])


@lru_cache(maxsize=16)  # each model's counts have grids of their own, of two or three kinds
def _edge_tables(bins: int, bound: float) -> tuple[FloatArray, FloatArray]:
    """Odds of every 256th edge and the factors in between, correctly rounded, so the same on every machine."""
    with localcontext(prec=40):
        width, below = 2 * Decimal(bound) / bins, Decimal(bound)
        steps = range(math.ceil(bins / _STRIDE) + 1)
        coarse = [float((width * (_STRIDE * step) - below).exp()) for step in steps]
        fine = [float((width * step).exp()) for step in range(_STRIDE)]
    return np.array(coarse), np.array(fine)


def _odds(score: FloatArray) -> FloatArray:
    finite = np.maximum(np.minimum(score, LARGEST_PROBABILITY), SMALLEST_PROBABILITY)
    return finite / (1.0 - finite)


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
