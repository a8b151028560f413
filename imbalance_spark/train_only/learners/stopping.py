"""The number that stops a fit: one value for the rows of all workers, from sums and histograms that they share.

XGBoost's distributed `aucpr` and `auc` are means over workers, and NaN where a worker has one class only, which stops
a fit without a word. Here each worker adds up its own rows, the sums travel, and every worker gets the same number.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
import numpy.typing as npt

from imbalance_spark.calibration import PriorCorrection
from imbalance_spark.core.errors import ConfigError
from imbalance_spark.metrics.grid import FloatArray
from imbalance_spark.train_only.learners.losses import FocalLoss

if TYPE_CHECKING:
    import xgboost


MetricName = Literal["log_loss", "average_precision", "expected_cost"]


_BINS = 1 << 16  # a megabyte of sums for each worker and round


_BOUND = 20.0


@dataclass(frozen=True, kw_only=True)
class StoppingMetric:
    """A metric of corrected probabilities for `xgboost.train(custom_metric=)`, the same on every worker.

    `log_loss` is the weighted mean over the rows of all workers, exact as a sum. The other two come from weighted
    counts in 65,536 bins of logit(probability), each 0.0006 wide, over [-20, 20]; the end bins take what lies beyond
    and rows of a bin count as tied. `average_precision` is the step-wise area (as scikit-learn's). `expected_cost` is
    the cost of a row at the best of all cut-offs, flagging nobody included. A worker may have one class or no row;
    without a positive row on any worker average precision is NaN.

    Args:
        correction: from the model's margins to probabilities.
        is_margin: whether XGBoost hands over margins, as it does with a custom objective, or probabilities (float32:
            above 0.9999 they are coarser than the bins).
        costs: of a missed positive and of a false alarm, for `expected_cost`.
    Raises:
        ConfigError: no such metric, or `expected_cost` without costs.
    """

    name: MetricName
    correction: PriorCorrection
    is_margin: bool
    costs: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        if self.name not in get_args(MetricName):
            raise ConfigError(
                f"training.early_stopping_metric: {self.name!r} is none of {list(get_args(MetricName))}: a fit stops "
                "only by what is exact over the rows of all workers. XGBoost's auc and aucpr are not."
            )
        if self.name == "expected_cost" and self.costs is None:
            raise ConfigError(
                "training.early_stopping_metric: expected_cost needs to know what a miss and a false alarm cost. "
                "Add an objective min_cost with numbers for fn and fp, or stop by log_loss."
            )

    @property
    def is_maximised(self) -> bool:
        """Whether more is better."""
        return self.name == "average_precision"

    def __call__(self, predicted: npt.NDArray[np.float32], data: "xgboost.DMatrix") -> tuple[str, float]:
        """Name and value; every worker calls it in the same round, for the same part of the rows."""
        logit = self.correction.logit(predicted if self.is_margin else _logit(predicted))
        label, weight = data.get_label() == 1, data.get_weight().astype(np.float64)
        weight = weight if len(weight) else np.ones(len(label))
        if self.name == "log_loss":
            loss = np.logaddexp(0.0, np.where(label, -logit, logit))
            found = _over_workers(np.array([weight @ loss, weight.sum()]))
            return self.name, float(found[0] / found[1]) if found[1] else np.nan
        negatives, positives = _over_workers(_histogram(logit, label, weight)).reshape(2, _BINS)
        # From the highest bin down: what is flagged at each cut-off.
        hits, alarms = np.cumsum(positives[::-1]), np.cumsum(negatives[::-1])
        if self.name == "average_precision" or self.costs is None:
            return self.name, _average_precision(hits, alarms)
        return self.name, _cost_of_a_row(hits, alarms, *self.costs)


def stopping_metric(
    name: MetricName, loss: FocalLoss | None, costs: tuple[float, float] | None
) -> StoppingMetric | None:
    """What stops a fit with this loss, None being the logistic one.

    None where XGBoost's own log loss will do, which is summed over workers too and takes no time.
    """
    if loss is None and name == "log_loss":
        return None
    correction = PriorCorrection.identity() if loss is None else loss.correction()
    return StoppingMetric(name=name, correction=correction, is_margin=loss is not None, costs=costs)


def _histogram(logit: FloatArray, label: npt.NDArray[np.bool_], weight: FloatArray) -> FloatArray:
    place = np.floor((logit + _BOUND) * (_BINS / (2.0 * _BOUND)))
    entry = np.clip(place, 0, _BINS - 1).astype(np.int64) + _BINS * label
    return np.asarray(np.bincount(entry, weight, minlength=2 * _BINS), dtype=np.float64)


def _average_precision(hits: FloatArray, alarms: FloatArray) -> float:
    if not hits[-1]:
        return np.nan
    found = np.diff(hits, prepend=0.0)
    is_step = found > 0.0
    return float(found[is_step] @ (hits[is_step] / (hits[is_step] + alarms[is_step])) / hits[-1])


def _cost_of_a_row(hits: FloatArray, alarms: FloatArray, miss: float, alarm: float) -> float:
    cost = miss * (hits[-1] - hits) + alarm * alarms
    return float(min(cost.min(), miss * hits[-1]) / (hits[-1] + alarms[-1]))


def _over_workers(sums: FloatArray) -> FloatArray:
    from xgboost import collective  # importing this package needs no xgboost

    return np.asarray(collective.allreduce(sums, collective.Op.SUM), dtype=np.float64)


def _logit(probability: npt.NDArray[np.float32]) -> FloatArray:
    p = np.clip(probability.astype(np.float64), 1e-300, 1.0 - 2.0**-53)
    return np.asarray(np.log(p) - np.log1p(-p), dtype=np.float64)


_SMALLEST = 1e-37  # XGBoost hands over float32


@dataclass(frozen=True, kw_only=True)
class ClassLogLoss:
    """Weighted mean of -ln p of the true class for `xgboost.train(custom_metric=)`, the same on every worker.

    Args:
        correction: from the model's scores to probabilities at the real class shares.
        is_margin: whether XGBoost hands over margins, as it does with a custom objective, or probabilities.
    """

    correction: PriorCorrection
    is_margin: bool

    def __call__(self, predicted: npt.NDArray[np.float32], data: "xgboost.DMatrix") -> tuple[str, float]:
        """Name and value; every worker calls it in the same round, for the same part of the rows."""
        from xgboost import collective  # importing this package needs no xgboost

        label, weight = data.get_label().astype(np.int64), data.get_weight().astype(np.float64)
        weight = weight if len(weight) else np.ones(len(label))
        score = predicted.reshape(len(label), len(self.correction.factors))
        log_score = score if self.is_margin else np.log(np.maximum(score, _SMALLEST))
        loss = -self.correction.log_probabilities(log_score)[np.arange(len(label)), label]
        sums = np.array([weight @ loss, weight.sum()])
        found = np.asarray(collective.allreduce(sums, collective.Op.SUM), dtype=np.float64)
        return "log_loss", float(found[0] / found[1]) if found[1] else np.nan
