"""The number that stops a fit: one value for the rows of all workers, from sums and histograms that they share.

XGBoost's distributed `aucpr` and `auc` are means over workers, and NaN where a worker has one class only, which stops
a fit without a word. Here each worker adds up its own rows, the sums travel, and every worker gets the same number.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from imbalance_spark.calibration import PriorCorrection
from imbalance_spark.core.arrays import FloatArray
from imbalance_spark.core.errors import ConfigError

if TYPE_CHECKING:
    import lightgbm
    import xgboost

MetricName = Literal["log_loss", "average_precision", "expected_cost"]

Costs = tuple[float, float] | tuple[tuple[float, ...], ...]
"""Of a false negative and a false positive; for more classes the cost of each true class (row) by decided class."""

_BINS = 1 << 16  # a megabyte of sums for each worker and round
_FEWEST_BINS = 1 << 12
_BOUND = 20.0
_SMALLEST = 1e-37  # XGBoost hands over float32


@dataclass(frozen=True, kw_only=True)
class StoppingMetric:
    """A metric of corrected probabilities for `xgboost.train(custom_metric=)`, the same on every worker.

    - `log_loss` is the weighted mean over the rows of all workers, exact as a sum.
    - `average_precision` is the step-wise area (as scikit-learn's) from weighted counts in bins of
      logit(probability) over [-20, 20]: 65,536 bins each 0.0006 wide for one target, and for the K targets of K
      classes as many together, but at least 4,096 each. The end bins take what lies beyond, rows of a bin count as
      tied. Over several targets it is the mean of those with a positive row; NaN where there is none.
    - `expected_cost` is the cost of a row: for two classes at the best of all thresholds on the same bins, flagging
      nobody included; for more of what the cost matrix decides, argmin_j sum_i p_i cost_ij.

    A worker may have one class or no row.

    Args:
        correction: from the model's margins to probabilities.
        is_margin: whether XGBoost hands over margins, as it does with a custom objective, or probabilities (float32:
            above 0.9999 they are coarser than the bins).
        costs: for `expected_cost`.
    Raises:
        ConfigError: no such metric, or `expected_cost` without costs for these classes.
    """

    name: MetricName
    correction: PriorCorrection
    is_margin: bool
    costs: Costs | None = None

    def __post_init__(self) -> None:
        if self.name not in get_args(MetricName):
            raise ConfigError(
                f"training.early_stopping_metric: {self.name!r} is none of {list(get_args(MetricName))}: a fit stops "
                "only by what is exact over the rows of all workers. XGBoost's auc and aucpr are not."
            )
        if self.name == "expected_cost" and (self.costs is None or np.array(self.costs).shape != self._shape_of_costs):
            raise ConfigError(
                "training.early_stopping_metric: expected_cost needs the costs of a false negative and a false "
                f"positive, or with {self.correction.classes} classes each decision for each true class, got "
                f"{self.costs}. Add an objective with costs in numbers, or stop by log_loss."
            )

    @property
    def is_maximised(self) -> bool:
        """Whether more is better."""
        return self.name == "average_precision"

    def __call__(self, predicted: npt.NDArray[Any], data: "xgboost.DMatrix | lightgbm.Dataset") -> tuple[str, float]:
        """Name and value; every worker calls it in the same round, for the same part of the rows."""
        return self.name, self.of(predicted, data.get_label(), data.get_weight())

    def of(self, predicted: npt.NDArray[Any], labels: Any, weights: Any) -> float:
        """The value for the rows of all workers, from those of this one.

        Args:
            predicted: margins or probabilities, for more classes than two rows by classes.
            labels, weights: arrays; None or an empty one weighs all rows alike.
        """
        label, weight = np.asarray(labels, dtype=np.int64), np.asarray(() if weights is None else weights, np.float64)
        weight = weight if len(weight) else np.ones(len(label))
        if self.correction.classes == 2:
            return self._of_two(predicted, label == 1, weight)
        score = predicted.reshape(len(label), self.correction.classes)
        log_score = score if self.is_margin else np.log(np.maximum(score, _SMALLEST))
        return self._of_many(self.correction.log_probabilities(log_score), label, weight)

    @property
    def _shape_of_costs(self) -> tuple[int, ...]:
        classes = self.correction.classes
        return (2,) if classes == 2 else (classes, classes)

    def _of_two(self, predicted: npt.NDArray[Any], label: npt.NDArray[np.bool_], weight: FloatArray) -> float:
        logit = self.correction.logit(predicted if self.is_margin else _logit(predicted.astype(np.float64)))
        if self.name == "log_loss":
            return _mean_over_workers(np.logaddexp(0.0, np.where(label, -logit, logit)), weight)
        [(hits, alarms)] = _flagged(_over_workers(_histogram(logit, label, weight, _BINS)), _BINS)
        if self.name == "average_precision":
            return _average_precision(hits, alarms)
        false_negative, false_positive = np.array(self.costs).tolist()
        return _cost_of_a_row(hits, alarms, false_negative, false_positive)

    def _of_many(self, log_p: FloatArray, label: npt.NDArray[np.int64], weight: FloatArray) -> float:
        if self.name == "log_loss":
            return _mean_over_workers(-log_p[np.arange(len(label)), label], weight)
        if self.name == "expected_cost":
            costs = np.array(self.costs)
            return _mean_over_workers(costs[label, (np.exp(log_p) @ costs).argmin(axis=1)], weight)
        classes = self.correction.classes
        bins, logit = max(_BINS // classes, _FEWEST_BINS), _logit(np.exp(log_p))
        sums = [_histogram(logit[:, k], label == k, weight, bins) for k in range(classes)]
        areas = [_average_precision(*target) for target in _flagged(_over_workers(np.concatenate(sums)), bins)]
        known = [area for area in areas if not np.isnan(area)]
        return float(np.mean(known)) if known else np.nan


def stopping_metric(
    name: MetricName, correction: PriorCorrection, *, is_margin: bool, costs: Costs | None
) -> StoppingMetric | None:
    """What stops a fit; None where XGBoost's own log loss will do, which is summed over workers too and takes no time.

    Args:
        correction, is_margin, costs: see `StoppingMetric`.
    """
    if name == "log_loss" and correction.is_identity and not is_margin:
        return None
    return StoppingMetric(name=name, correction=correction, is_margin=is_margin, costs=costs)


def plain_log_loss(classes: int, *, is_margin: bool) -> StoppingMetric:
    """Log loss of scores that need no correction, for learners whose own is not summed over workers."""
    return StoppingMetric(name="log_loss", correction=PriorCorrection.identity(classes), is_margin=is_margin)


def _histogram(logit: FloatArray, label: npt.NDArray[np.bool_], weight: FloatArray, bins: int) -> FloatArray:
    """Weight by bin, first of the negatives, then of the positives."""
    position = np.floor((logit + _BOUND) * (bins / (2.0 * _BOUND)))
    entry = np.clip(position, 0, bins - 1).astype(np.int64) + bins * label
    return np.asarray(np.bincount(entry, weight, minlength=2 * bins), dtype=np.float64)


def _flagged(sums: FloatArray, bins: int) -> Sequence[tuple[FloatArray, FloatArray]]:
    """For each target the weight of positives and of negatives at each threshold, from the highest bin down."""
    by_target = sums.reshape(-1, 2, bins)
    return [(np.cumsum(target[1][::-1]), np.cumsum(target[0][::-1])) for target in by_target]


def _average_precision(hits: FloatArray, alarms: FloatArray) -> float:
    if not hits[-1]:
        return np.nan
    found = np.diff(hits, prepend=0.0)
    is_step = found > 0.0
    return float(found[is_step] @ (hits[is_step] / (hits[is_step] + alarms[is_step])) / hits[-1])


def _cost_of_a_row(hits: FloatArray, alarms: FloatArray, false_negative: float, false_positive: float) -> float:
    cost = false_negative * (hits[-1] - hits) + false_positive * alarms
    return float(min(cost.min(), false_negative * hits[-1]) / (hits[-1] + alarms[-1]))


def _mean_over_workers(values: FloatArray, weight: FloatArray) -> float:
    total, weights = _over_workers(np.array([weight @ values, weight.sum()]))
    return float(total / weights) if weights else np.nan


def _over_workers(sums: FloatArray) -> FloatArray:
    from xgboost import collective  # importing this package needs no xgboost

    return np.asarray(collective.allreduce(sums, collective.Op.SUM), dtype=np.float64)


def _logit(probability: FloatArray) -> FloatArray:
    p = np.clip(probability, 1e-300, 1.0 - 2.0**-53)
    return np.asarray(np.log(p) - np.log1p(-p), dtype=np.float64)
