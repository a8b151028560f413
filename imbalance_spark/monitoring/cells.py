"""Histograms of served probabilities: what a day, or validation, is counted into. A cell is a bin on one side of the
threshold."""

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from imbalance_spark.core.arrays import LARGEST_PROBABILITY, SMALLEST_PROBABILITY, FloatArray, IntArray, logit
from imbalance_spark.core.errors import DataContractError
from imbalance_spark.metrics.curve import Curve
from imbalance_spark.metrics.grid import LogitGrid

GRID = LogitGrid(bins=2048)
"""Steps of 0.02 in logit. A cell knows the mean of its probabilities, so that sums of probabilities are exact."""

BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True, eq=False)
class ScoreCells:
    """Rows by served probability, highest first.

    Args:
        probability: mean of each cell's rows, in [0, 1].
        rows: number of rows in each cell, above 0.
        flagged: whether the cell's rows are flagged.
        variance: sum of p (1 - p) over each cell's rows; by default that of rows that all have the mean.
    """

    probability: FloatArray
    rows: FloatArray
    flagged: BoolArray
    variance: FloatArray | None = None

    @classmethod
    def of_rows(cls, probabilities: npt.ArrayLike, flagged: npt.ArrayLike) -> Self:
        """Cells of rows in memory.

        Raises:
            DataContractError: there is no row.
        """
        p, above = np.asarray(probabilities, dtype=np.float64), np.asarray(flagged, dtype=bool)
        # Keys are few: counting them takes a pass, sorting millions of rows would take most of the time.
        key = _keys(p, above)
        rows, sums, variance = (_sums(key, values, 2 * GRID.bins) for values in (np.ones_like(p), p, p * (1.0 - p)))
        seen = np.flatnonzero(rows)
        return cls.of_sums(rows[seen], sums[seen], variance[seen], seen % 2 == 1)

    @classmethod
    def of_sums(cls, rows: FloatArray, p: FloatArray, variance: FloatArray, flagged: BoolArray) -> Self:
        """Cells from their sums of 1, of p and of p (1 - p), in any order.

        Raises:
            DataContractError: there is no row.
        """
        if not rows.sum() > 0.0:
            raise DataContractError("monitoring: there is no scored order to estimate from. Score a batch first.")
        mean = p / rows
        order = np.argsort(-mean, kind="stable")
        return cls(probability=mean[order], rows=rows[order], flagged=flagged[order], variance=variance[order])

    @property
    def total(self) -> float:
        """All rows."""
        return float(self.rows.sum())

    @property
    def alerts(self) -> float:
        """Flagged rows."""
        return float(self.rows @ self.flagged)

    @property
    def mean(self) -> float:
        """Mean probability: the base rate to expect if probabilities are calibrated."""
        return float(self.rows @ self.probability) / self.total

    @property
    def log_odds(self) -> FloatArray:
        """Logit of each cell's probability, finite also for 0 and 1."""
        return logit(np.clip(self.probability, SMALLEST_PROBABILITY, LARGEST_PROBABILITY))


@dataclass(frozen=True, kw_only=True, eq=False)
class LabelledCells:
    """Cells whose classes are known, such as those of validation.

    Args:
        positives: positive rows in each cell; with weights, scaled to the number of rows.
    """

    cells: ScoreCells
    positives: FloatArray

    @classmethod
    def of_rows(cls, labels: npt.ArrayLike, probabilities: npt.ArrayLike, flagged: npt.ArrayLike) -> Self:
        """Cells of rows in memory, whose labels are 0 or 1.

        Raises:
            DataContractError: there is no row.
        """
        p, above = np.asarray(probabilities, dtype=np.float64), np.asarray(flagged, dtype=bool)
        cells = ScoreCells.of_rows(p, above)
        number = {key: cell for cell, key in enumerate(_keys(cells.probability, cells.flagged).tolist())}
        is_positive = np.asarray(labels) == 1
        positives = np.zeros(len(number))
        for key, rows in zip(*np.unique(_keys(p, above)[is_positive], return_counts=True), strict=True):
            positives[number[int(key)]] = rows
        return cls(cells=cells, positives=positives)

    @classmethod
    def of_curve(cls, curve: Curve, threshold: float) -> Self:
        """The rows of a curve on served probabilities, flagged from the threshold on.

        Raises:
            DataContractError: a class has no row.
        """
        if curve.missing_class:
            raise DataContractError(f"monitoring: {curve.missing_class} among the model's validation rows.")
        counts = curve.counts
        scale = float(counts.positives.sum() + counts.negatives.sum()) / (curve.positives + curve.negatives)
        positive, negative = counts.positive_weight * scale, counts.negative_weight * scale
        flagged = curve.threshold[1:] >= threshold
        key, cell = np.unique(_keys(curve.score, flagged), return_inverse=True)
        rows = _sums(cell, positive + negative, len(key))
        p = _sums(cell, (positive + negative) * curve.score, len(key)) / rows
        order = np.argsort(-p, kind="stable")
        cells = ScoreCells(probability=p[order], rows=rows[order], flagged=(key % 2 == 1)[order])
        return cls(cells=cells, positives=_sums(cell, positive, len(key))[order])

    @property
    def base_rate(self) -> float:
        """Share of positives."""
        return float(self.positives.sum()) / self.cells.total


def _keys(probability: FloatArray, flagged: BoolArray) -> IntArray:
    return np.asarray(GRID.bin_of(probability) * 2 + flagged, dtype=np.int64)


def _sums(cell: IntArray, values: FloatArray, cells: int) -> FloatArray:
    return np.bincount(cell, values, cells).astype(np.float64)
