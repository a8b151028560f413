"""The confusion matrix of one threshold, and every number that follows from its four counts."""

import math
from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True, kw_only=True)
class ConfusionMatrix:
    """True and false positives and negatives: rows, or sums of weights where rows have weights.

    Values equal those of scikit-learn and imbalanced-learn. Where those divide 0 by 0: precision and F-beta are 0 when
    nothing is flagged, the Matthews coefficient is 0 when a margin is empty. What a missing class leaves undefined is
    NaN, never 0 or 1: recall, specificity, G-mean, kappa.
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
        """Share of the flagged rows that are positive; 0 when none is flagged."""
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
        """Matthews correlation coefficient, in [-1, 1]; 0 when a row or column of the matrix is empty."""
        margins = (self.tp + self.fp, self.tp + self.fn, self.tn + self.fp, self.tn + self.fn)
        # A product of square roots: the plain product of four margins overflows no double, but loses digits sooner.
        scale = math.prod(math.sqrt(margin) for margin in margins)
        return _ratio(self.tp * self.tn - self.fp * self.fn, scale, otherwise=0.0)

    @property
    def kappa(self) -> float:
        """Cohen's kappa: agreement beyond chance; NaN when chance alone agrees on every row."""
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
        """Share of right predictions. Near 1 for a model that flags nobody: read it beside recall, never alone."""
        return _ratio(self.tp + self.tn, self.total)

    def cost(self, *, fn: float, fp: float) -> float:
        """`fn` for each missed positive plus `fp` for each false alarm."""
        return fn * self.fn + fp * self.fp

    def savings(self, *, fn: float, fp: float) -> float:
        """1 - cost / cost of the cheaper of flagging nobody and flagging everybody; at most 1, below 0 is a loss.

        NaN where that does nothing wrong, as without positives (Bahnsen et al., 2014).
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
        """What a model gets that predicts the larger class for every row; on a tie the negative one."""
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
