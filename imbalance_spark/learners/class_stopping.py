"""What stops a fit of several classes: the log loss of corrected probabilities, over the rows of all workers."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from imbalance_spark.calibration.softmax import SoftmaxCorrection

if TYPE_CHECKING:
    import xgboost

_SMALLEST = 1e-37  # XGBoost hands over float32


@dataclass(frozen=True, kw_only=True)
class ClassLogLoss:
    """Weighted mean of -ln p of the true class for `xgboost.train(custom_metric=)`, the same on every worker.

    Args:
        correction: from the model's scores to probabilities at the real class shares.
        is_margin: whether XGBoost hands over margins, as it does with a custom objective, or probabilities.
    """

    correction: SoftmaxCorrection
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
