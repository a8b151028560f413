"""The scale on which a metric's estimate is nearly normal, by the metric's name."""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from imbalance_spark.metrics.grid import FloatArray


@dataclass(frozen=True, kw_only=True)
class Scale:
    """A rising map from (low, high) to all numbers, and back; infinite at a finite end."""

    low: float
    high: float
    forward: Callable[[FloatArray], FloatArray]
    inverse: Callable[[FloatArray], FloatArray]


def _quietly(function: Callable[[FloatArray], FloatArray]) -> Callable[[FloatArray], FloatArray]:
    def quiet(values: FloatArray) -> FloatArray:
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            return np.asarray(function(values), dtype=np.float64)

    return quiet


RATE = Scale(
    low=0.0,
    high=1.0,
    forward=_quietly(lambda values: np.log(values) - np.log1p(-values)),
    inverse=_quietly(lambda logit: 1.0 / (1.0 + np.exp(-logit))),
)
POSITIVE = Scale(low=0.0, high=math.inf, forward=_quietly(np.log), inverse=_quietly(np.exp))
CORRELATION = Scale(low=-1.0, high=1.0, forward=_quietly(np.arctanh), inverse=_quietly(np.tanh))
REAL = Scale(low=-math.inf, high=math.inf, forward=lambda values: values, inverse=lambda values: values)

_RATES = (
    *("average_precision", "roc_auc", "partial_roc_auc", "pr_auc_trapezoid", "h_measure", "brier"),
    *("ece_equal_width", "ece_equal_mass", "mean_score", "prevalence", "precision", "recall", "specificity"),
    *("accuracy", "balanced_accuracy", "g_mean"),
)
_POSITIVE = ("log_loss", "cost", "expected_cost", "lift", "mean_over_base_rate", "tp", "fp", "tn", "fn")
_CORRELATIONS = ("mcc", "kappa")
_F_BETA = re.compile(r"f\d+(_\d+)?")


def scale_of(metric: str) -> Scale:
    """The scale of a metric, by its name between the last slash and `_at_`; REAL for an unknown name.

    REAL is safe for any metric: its interval may be rougher, and may reach beyond the metric's range.
    """
    name = metric.rsplit("/", 1)[-1].split("_at_", 1)[0]
    for scale, names in ((RATE, _RATES), (POSITIVE, _POSITIVE), (CORRELATION, _CORRELATIONS)):
        if name in names:
            return scale
    return RATE if _F_BETA.fullmatch(name) else REAL
