"""Confusion matrices: of one threshold, and multi-class."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
import numpy.typing as npt

from imbalance_spark.core.arrays import FloatArray


@dataclass(frozen=True, kw_only=True)
class ConfusionMatrix:
    """True and false positives and negatives: rows, or sums of weights where rows have weights.

    Values equal those of scikit-learn and imbalanced-learn. For 0 / 0: precision and F-beta are 0 if nothing is
    flagged, the Matthews coefficient is 0 if a margin is empty. Metrics that are undefined without a class are
    NaN, never 0 or 1: recall, specificity, G-mean, kappa. Where they are reported by name, `metrics.matrix_metrics`
    leaves precision and the Matthews coefficient undefined if nothing is flagged.

    Examples:
        >>> matrix = ConfusionMatrix(tp=60, fp=40, tn=9860, fn=40)
        >>> matrix.precision, matrix.recall, matrix.accuracy
        (0.6, 0.6, 0.992)
        >>> matrix.cost(fn=10, fp=1), round(matrix.savings(fn=10, fp=1), 2)
        (440, 0.56)
    """

    tp: float
    fp: float
    tn: float
    fn: float

    @property
    def total(self) -> float:
        """All rows."""
        return self.tp + self.fp + self.tn + self.fn

    @property
    def flagged(self) -> float:
        """Rows predicted positive."""
        return self.tp + self.fp

    @property
    def precision(self) -> float:
        """Share of the flagged rows that are positive; 0 if none is flagged."""
        return _ratio(self.tp, self.tp + self.fp, otherwise=0.0)

    @property
    def recall(self) -> float:
        """Share of the positive rows that are flagged."""
        return _ratio(self.tp, self.tp + self.fn)

    @property
    def specificity(self) -> float:
        """Share of the negative rows that are not flagged."""
        return _ratio(self.tn, self.tn + self.fp)

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall."""
        return self.f_beta(1.0)

    def f_beta(self, beta: float) -> float:
        """(1 + b^2) TP / ((1 + b^2) TP + FP + b^2 FN): recall counts `beta` times as much as precision; 0/0 is 0."""
        square = beta * beta
        hits = (1.0 + square) * self.tp
        return _ratio(hits, hits + self.fp + square * self.fn, otherwise=0.0)

    @property
    def mcc(self) -> float:
        """Matthews correlation coefficient, in [-1, 1]; 0 if a row or column of the matrix is empty."""
        margins = (self.tp + self.fp, self.tp + self.fn, self.tn + self.fp, self.tn + self.fn)
        # Square roots first: the product of four margins would lose digits.
        scale = math.prod(math.sqrt(margin) for margin in margins)
        return _ratio(self.tp * self.tn - self.fp * self.fn, scale, otherwise=0.0)

    @property
    def kappa(self) -> float:
        """Cohen's kappa: agreement beyond chance; NaN if chance alone agrees on every row."""
        by_chance = (self.tp + self.fp) * (self.fp + self.tn) + (self.tp + self.fn) * (self.fn + self.tn)
        return _ratio(2.0 * (self.tp * self.tn - self.fp * self.fn), by_chance)

    @property
    def balanced_accuracy(self) -> float:
        """Mean of recall over the classes that have rows."""
        defined = [rate for rate in (self.recall, self.specificity) if not math.isnan(rate)]
        return sum(defined) / len(defined) if defined else math.nan

    @property
    def g_mean(self) -> float:
        """Geometric mean of recall and specificity."""
        return math.sqrt(self.recall * self.specificity)

    def index_balanced_accuracy(self, alpha: float = 0.1) -> float:
        """IBA of the squared G-mean: (1 + alpha (recall - specificity)) recall specificity.

        Of two matrices of equal G-mean it prefers the one with more recall (García, Mollineda and Sánchez, 2009).
        """
        return (1.0 + alpha * (self.recall - self.specificity)) * self.recall * self.specificity

    @property
    def accuracy(self) -> float:
        """Share of correct predictions. Near 1 for a model that flags no row: read it beside recall, never alone."""
        return _ratio(self.tp + self.tn, self.total)

    def cost(self, *, fn: float, fp: float) -> float:
        """`fn` for each false negative plus `fp` for each false positive."""
        return fn * self.fn + fp * self.fp

    def savings(self, *, fn: float, fp: float) -> float:
        """1 - cost / the lower cost of flagging no row and flagging every row; at most 1, below 0 is a loss.

        NaN if that cost is 0, as without positives (Bahnsen et al., 2014).
        """
        trivial = min(fn * (self.tp + self.fn), fp * (self.fp + self.tn))
        return 1.0 - self.cost(fn=fn, fp=fp) / trivial if trivial > 0.0 else math.nan

    @property
    def macro(self) -> "ClassAverages":
        """Precision, recall and F1 as plain means over the two classes."""
        return self._averaged(0.5)

    @property
    def weighted(self) -> "ClassAverages":
        """Precision, recall and F1 as means over the two classes, by their number of rows."""
        return self._averaged(_ratio(self.tp + self.fn, self.total))

    def _averaged(self, share: float) -> "ClassAverages":
        other = ConfusionMatrix(tp=self.tn, fp=self.fn, tn=self.tp, fn=self.fp)
        return ClassAverages(
            precision=share * self.precision + (1.0 - share) * other.precision,
            recall=share * self.recall + (1.0 - share) * other.recall,
            f1=share * self.f1 + (1.0 - share) * other.f1,
        )

    @classmethod
    def majority_baseline(cls, *, positives: float, negatives: float) -> Self:
        """The confusion matrix of predicting the larger class for every row; on a tie the negative class."""
        if positives > negatives:
            return cls(tp=positives, fp=negatives, tn=0.0, fn=0.0)
        return cls(tp=0.0, fp=0.0, tn=negatives, fn=positives)


@dataclass(frozen=True, kw_only=True)
class ClassAverages:
    """Precision, recall and F1 averaged over the classes."""

    precision: float
    recall: float
    f1: float


def _ratio(part: float, whole: float, otherwise: float = math.nan) -> float:
    return part / whole if whole > 0.0 else otherwise


@dataclass(frozen=True, kw_only=True, eq=False)
class MulticlassConfusion:
    """Weight of rows by true class (first axis) and predicted class (second axis), K x K.

    Values equal those of scikit-learn and imbalanced-learn where every class has rows. A class without rows has
    recall NaN and is left out of all means, where scikit-learn counts it as 0.
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
        """Share of correct predictions. Near 1 if the largest class is always predicted: read it beside recall."""
        return float(self._hits.sum() / self.total)

    @property
    def balanced_accuracy(self) -> float:
        """Mean recall of the classes that have rows."""
        return self.macro.recall

    @property
    def g_mean(self) -> float:
        """Geometric mean of the recalls of the classes that have rows; 0 if one of them is 0."""
        recall = np.array([matrix.recall for matrix in self.per_class])[self._has_rows]
        return float(np.prod(recall) ** (1.0 / len(recall)))

    @property
    def mcc(self) -> float:
        """R_K, the Matthews coefficient of K classes (Gorodkin, 2004), in [-1, 1]; 0 if a margin has one class."""
        total, true, predicted = self.total, self.support, self._predicted
        covariance = self._hits.sum() * total - true @ predicted
        # total^2 - sum of squared parts, as a sum of products of different parts: never below 0.
        others = 1.0 - np.eye(len(true))
        spread = math.sqrt(predicted @ others @ predicted) * math.sqrt(true @ others @ true)
        return float(covariance / spread) if spread > 0.0 else 0.0

    @property
    def kappa(self) -> float:
        """Cohen's kappa: agreement beyond chance; NaN if chance alone agrees on every row."""
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
        """Precision, recall and F1 of all decisions together: each equals the accuracy, since a row has one class."""
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
