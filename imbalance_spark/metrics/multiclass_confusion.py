"""The confusion matrix of several classes, and every number that follows from it."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from imbalance_spark.metrics.confusion import ClassAverages, ConfusionMatrix
from imbalance_spark.metrics.grid import FloatArray


@dataclass(frozen=True, kw_only=True, eq=False)
class MulticlassConfusion:
    """Weight of rows by true class (first axis) and predicted class (second axis), K x K.

    Values equal those of scikit-learn and imbalanced-learn where every class has rows. A class without rows leaves its
    recall NaN and counts in no mean, where scikit-learn takes it for 0.
    """

    weight: FloatArray

    @cached_property
    def per_class(self) -> tuple[ConfusionMatrix, ...]:
        """Each class against the rest."""
        hit, true, predicted = (values.tolist() for values in (self._hits, self.support, self._predicted))
        return tuple(
            ConfusionMatrix(tp=tp, fp=flagged - tp, fn=rows - tp, tn=self.total - rows - flagged + tp)
            for tp, rows, flagged in zip(hit, true, predicted, strict=True)
        )

    @property
    def support(self) -> FloatArray:
        """Rows of each class, or their weight."""
        return np.asarray(self.weight.sum(axis=1), dtype=np.float64)

    @property
    def total(self) -> float:
        """All rows, or their weight."""
        return float(self.weight.sum())

    @property
    def accuracy(self) -> float:
        """Share of right predictions. Near 1 for a model that knows the largest class only: read it beside recall."""
        return float(self._hits.sum() / self.total)

    @property
    def balanced_accuracy(self) -> float:
        """Mean recall of the classes that have rows."""
        return self.macro.recall

    @property
    def g_mean(self) -> float:
        """Geometric mean of the recalls of the classes that have rows; 0 when one of them is never found."""
        recall = np.array([matrix.recall for matrix in self.per_class])[self._has_rows]
        return float(np.prod(recall) ** (1.0 / len(recall)))

    @property
    def mcc(self) -> float:
        """R_K, the Matthews coefficient of K classes (Gorodkin, 2004), in [-1, 1]; 0 when one class takes a margin."""
        total, true, predicted = self.total, self.support, self._predicted
        covariance = self._hits.sum() * total - true @ predicted
        # The square of the total less those of the parts, as products of different parts: never below 0.
        others = 1.0 - np.eye(len(true))
        spread = math.sqrt(predicted @ others @ predicted) * math.sqrt(true @ others @ true)
        return float(covariance / spread) if spread > 0.0 else 0.0

    @property
    def kappa(self) -> float:
        """Cohen's kappa: agreement beyond chance; NaN when chance alone agrees on every row."""
        by_chance = float(self.support @ self._predicted) / self.total
        left = self.total - by_chance
        return (float(self._hits.sum()) - by_chance) / left if left > 0.0 else math.nan

    @property
    def macro(self) -> ClassAverages:
        """Precision, recall and F1 as plain means over the classes that have rows."""
        return self._averages(self._has_rows.astype(np.float64))

    @property
    def weighted(self) -> ClassAverages:
        """Precision, recall and F1 as means over the classes, by their number of rows."""
        return self._averages(self.support)

    @property
    def micro(self) -> ClassAverages:
        """Precision, recall and F1 of all decisions together: each is the accuracy when a row has one class."""
        return ClassAverages(precision=self.accuracy, recall=self.accuracy, f1=self.accuracy)

    def macro_f_beta(self, beta: float) -> float:
        """F-beta as a plain mean over the classes that have rows."""
        return self._mean(lambda matrix: matrix.f_beta(beta), self._has_rows.astype(np.float64))

    def _averages(self, share: FloatArray) -> ClassAverages:
        return ClassAverages(
            precision=self._mean(lambda matrix: matrix.precision, share),
            recall=self._mean(lambda matrix: matrix.recall, share),
            f1=self._mean(lambda matrix: matrix.f1, share),
        )

    def _mean(self, metric: Callable[[ConfusionMatrix], float], share: FloatArray) -> float:
        used = np.flatnonzero(share > 0.0)
        return float(np.average([metric(self.per_class[k]) for k in used], weights=share[used]))

    @property
    def _hits(self) -> FloatArray:
        return np.asarray(np.diagonal(self.weight), dtype=np.float64)

    @property
    def _predicted(self) -> FloatArray:
        return np.asarray(self.weight.sum(axis=0), dtype=np.float64)

    @property
    def _has_rows(self) -> npt.NDArray[np.bool_]:
        return np.asarray(self.support > 0.0, dtype=np.bool_)
