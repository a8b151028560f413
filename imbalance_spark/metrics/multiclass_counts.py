"""Counts of K classes: the confusion matrix, and the scores of each class against the rest."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from imbalance_spark.core.arrays import FloatArray, IntArray
from imbalance_spark.core.errors import ConfigError, DataContractError
from imbalance_spark.metrics.binning import DEFAULT_GRID
from imbalance_spark.metrics.confusion import MulticlassConfusion
from imbalance_spark.metrics.counts import EXACT_LIMIT, ScoreCounts
from imbalance_spark.metrics.curve import Curve
from imbalance_spark.metrics.grid import INVALID_LABEL, INVALID_SCORE, INVALID_WEIGHT, LogitGrid


@dataclass(frozen=True, kw_only=True, eq=False)
class MulticlassCounts:
    """What metrics of K classes need; classes are numbered 0 to K - 1.

    A row is predicted to be of the class of highest probability, of equal ones the first.
    """

    rows: IntArray
    """Rows by true and predicted class, K x K."""
    confusion: MulticlassConfusion
    """The same by weight."""
    one_vs_rest: tuple[ScoreCounts, ...]
    """For each class its score, with the rows of that class as positives."""

    @classmethod
    def from_arrays(
        cls,
        labels: npt.ArrayLike,
        probabilities: npt.ArrayLike,
        weights: npt.ArrayLike | None = None,
        *,
        grid: LogitGrid = DEFAULT_GRID,
        exact_limit: int = EXACT_LIMIT,
    ) -> Self:
        """Count rows held in memory; each class exact up to `exact_limit` distinct scores.

        Args:
            labels: class number per row. probabilities: n x K, in [0, 1]. weights: finite, not negative.
        Raises:
            ConfigError: `probabilities` is not n x K with K >= 2.
            DataContractError: a label, probability or weight breaks these rules, or there is no row.
        """
        score, label = np.asarray(probabilities, dtype=np.float64), np.asarray(labels, dtype=np.float64)
        if score.ndim != 2 or score.shape[1] < 2 or len(score) != len(label):
            raise ConfigError(f"MulticlassCounts: {len(label)} labels need probabilities n x K, got {score.shape}.")
        weight = np.ones(len(label)) if weights is None else np.asarray(weights, dtype=np.float64)
        classes = score.shape[1]
        refuse_invalid(_invalid_rows(label, score, weight), len(label), classes)
        cell = label.astype(np.int64) * classes + score.argmax(axis=1)
        one_vs_rest = [
            ScoreCounts.from_arrays(label == k, score[:, k], weight, grid=grid, exact_limit=exact_limit)
            for k in range(classes)
        ]
        return cls.of_cells(cell, np.ones(len(cell)), weight, one_vs_rest)

    @classmethod
    def of_cells(
        cls, cell: IntArray, rows: npt.NDArray[np.generic], weight: FloatArray, one_vs_rest: Sequence[ScoreCounts]
    ) -> Self:
        """Sums by `cell` = true class * K + predicted class; a cell that comes twice is added up."""
        classes = len(one_vs_rest)

        def by_cell(values: npt.NDArray[np.generic]) -> FloatArray:
            return np.bincount(cell, values, minlength=classes**2).astype(np.float64).reshape(classes, classes)

        return cls(
            rows=by_cell(rows).astype(np.int64),
            confusion=MulticlassConfusion(weight=by_cell(weight)),
            one_vs_rest=tuple(one_vs_rest),
        )

    @property
    def classes(self) -> int:
        """Number of classes, K."""
        return len(self.one_vs_rest)

    def average_precision(self) -> FloatArray:
        """One-vs-rest average precision of each class; NaN where a class has no row or all rows."""
        return self._of_each(Curve.average_precision)

    def roc_auc(self) -> FloatArray:
        """One-vs-rest ROC-AUC of each class; NaN where a class has no row or all rows."""
        return self._of_each(Curve.roc_auc)

    def macro(self, per_class: FloatArray) -> float:
        """Plain mean of a number of each class, of those that define it; NaN when none does."""
        return self._mean(per_class, np.ones(self.classes))

    def weighted(self, per_class: FloatArray) -> float:
        """Mean of a number of each class by their rows, of those that define it; NaN when none does."""
        return self._mean(per_class, self.confusion.support)

    def _of_each(self, metric: Callable[[Curve], float | None]) -> FloatArray:
        values = [metric(counts.curve()) for counts in self.one_vs_rest]
        return np.array([math.nan if value is None else value for value in values])

    def _mean(self, per_class: FloatArray, share: FloatArray) -> float:
        used = ~np.isnan(per_class)
        return float(np.average(per_class[used], weights=share[used])) if share[used].any() else math.nan


def refuse_invalid(broken: Mapping[int, int], rows: int, classes: int) -> None:
    """Raise `DataContractError` that says how many rows break which rule; `broken` is by code, of `rows` rows."""
    rules = {
        INVALID_SCORE: "have a probability that is null, NaN or outside [0, 1]",
        INVALID_LABEL: f"have a label that is not a class number, 0 to {classes - 1}",
        INVALID_WEIGHT: "have a weight that is null, NaN, infinite or negative",
    }
    if not rows:
        raise DataContractError("multi-class counts: there is no row to count. Check that the split left some.")
    problems = [f"{broken[code]} rows {rule}" for code, rule in rules.items() if broken.get(code)]
    if problems:
        raise DataContractError(f"multi-class counts: {', '.join(problems)}, of {rows} rows. Quarantine these rows.")


def _invalid_rows(label: FloatArray, score: FloatArray, weight: FloatArray) -> dict[int, int]:
    """Rows by the first rule that they break."""
    rules = {
        INVALID_SCORE: np.all((score >= 0.0) & (score <= 1.0), axis=1),
        INVALID_LABEL: (label >= 0.0) & (label < score.shape[1]) & (np.rint(label) == label),
        INVALID_WEIGHT: (weight >= 0.0) & (weight < np.inf),
    }
    first = np.select([~is_kept for is_kept in rules.values()], list(rules), 0)
    return {code: int(np.sum(first == code)) for code in rules}
