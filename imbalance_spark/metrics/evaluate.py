"""The flat, named metrics of one model on one set of rows, for two classes and for K: what a run logs."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from imbalance_spark.core.errors import ConfigError
from imbalance_spark.metrics.areas import h_measure, partial_roc_auc, pr_auc_trapezoid, pr_gain_auc, top_share
from imbalance_spark.metrics.confusion import ConfusionMatrix
from imbalance_spark.metrics.curve import Curve
from imbalance_spark.metrics.multiclass_counts import MulticlassCounts
from imbalance_spark.metrics.probability import (
    brier_parts,
    brier_skill,
    expected_calibration_error,
    expected_calibration_error_equal_mass,
    expected_cost,
)

MAX_FPR = 0.01
"""False positive rate up to which `partial_roc_auc` looks."""


TOP_SHARES = {"0.1_percent": 0.001, "1_percent": 0.01}
"""Shares of the rows whose precision, recall and lift are reported."""


NEEDS_BOTH_CLASSES = (
    *("average_precision", "roc_auc", "calibration_intercept", "calibration_slope", "brier_skill", "h_measure"),
    *("miscalibration", "discrimination"),
    *("pr_auc_trapezoid", "partial_roc_auc", "pr_gain_auc"),
    *(f"{name}_at_{share}" for share in TOP_SHARES for name in ("precision", "recall", "lift")),
    *("precision", "recall", "specificity", "f1", "f2", "f0_5", "mcc", "kappa", "balanced_accuracy", "g_mean", "iba"),
    *("accuracy", "savings"),
)
"""Metrics that rows of one class leave undefined, or would make a meaningless 0 or 1.

Accuracy is one of them: it never comes without the recall beside it.
"""


NEEDS_FLAGGED_ROWS = ("precision", "mcc")
"""Metrics that are 0 / 0 when no row is flagged."""


@dataclass(frozen=True)
class TargetNames:
    """What metrics of targets are called: bare with one target; with K `recall/fraud` and, over all, `macro_recall`.

    A target is one class against the rest. Two classes have one target, K have K.

    Args:
        targets: the classes that are targets, in the order of their numbers.
    """

    targets: tuple[str, ...]

    @classmethod
    def of_classes(cls, classes: Sequence[str]) -> Self:
        """Of two classes class 1 is the target; of K each class is one."""
        return cls(tuple(classes[1:] if len(classes) == 2 else classes))

    def of(self, metric: str, number: int) -> str:
        """The name of a metric of one target."""
        return metric if len(self.targets) == 1 else f"{metric}/{self.targets[number]}"

    def macro(self, metric: str) -> str:
        """The name of a metric's mean over the targets; the mean of one target is its own."""
        return metric if len(self.targets) == 1 else f"macro_{metric}"

    def named(self, metric: str, values: Sequence[float]) -> dict[str, float]:
        """A metric's value for each target by its name, and their macro average."""
        found = {self.of(metric, number): value for number, value in enumerate(values)}
        return found | {self.macro(metric): mean_of_defined(values)}


def mean_of_defined(values: Sequence[float]) -> float:
    """The mean of the values that are not NaN; NaN when all are."""
    defined = [value for value in values if not math.isnan(value)]
    return sum(defined) / len(defined) if defined else math.nan


RANKING = ("average_precision", "roc_auc")
"""Metrics that neither a threshold nor the calibration of a single target moves."""


def ranking_metrics(curves: Sequence[Curve], names: TargetNames, metrics: Sequence[str] = RANKING) -> dict[str, float]:
    """Average precision and ROC-AUC of each target, and their macro averages; see `TargetNames`.

    Args:
        curves: one for each target.
        metrics: which of `RANKING`.
    Returns:
        NaN where a class has no row.
    """
    found: dict[str, float] = {}
    for metric in metrics:
        area = Curve.average_precision if metric == "average_precision" else Curve.roc_auc
        found |= names.named(metric, [_or_nan(area(curve)) for curve in curves])
    return found


def evaluate(curve: Curve, threshold: float | None = None, *, fn: float = 1.0, fp: float = 1.0) -> dict[str, float]:
    """Every metric that these rows define, by name; `undefined` names the others and says why.

    Args:
        curve: counts of one model on one set of rows.
        threshold: adds the metrics of "positive if score >= threshold"; None leaves them out.
        fn, fp: cost of a missed positive and of a false positive, for `cost`, `expected_cost` and `savings`.
    Returns:
        Values by metric name, never NaN: what is undefined is left out.
    """
    values = curve_metrics(curve) | {"expected_cost": expected_cost(curve, fn=fn, fp=fp)}
    found = _defined(values, _meaningless(curve, None))
    return found if threshold is None else found | threshold_metrics(curve, threshold, fn=fn, fp=fp)


def threshold_metrics(curve: Curve, threshold: float, *, fn: float = 1.0, fp: float = 1.0) -> dict[str, float]:
    """What `evaluate` says of a threshold alone: the metrics of its confusion matrix that these rows define."""
    return _defined(matrix_metrics(curve.at(threshold), fn=fn, fp=fp), _meaningless(curve, threshold))


_SELDOM = frozenset(
    {
        *("partial_roc_auc", "pr_auc_trapezoid", "pr_gain_auc", "h_measure", "brier_skill", "ece_equal_width"),
        *("ece_equal_mass", "kappa", "balanced_accuracy", "g_mean", "iba", "specificity", "accuracy", "f0_5"),
        *("micro_precision", "micro_recall", "micro_f1"),
    }
)
"""Metrics that people look up, and that decide nothing here."""


def deciding(values: Mapping[str, float]) -> dict[str, float]:
    """The metrics of `evaluate` or `evaluate_multiclass` without those that decide nothing: what a run logs by default.

    Averages over classes, and costs, ranking, calibration, precision and recall all stay.
    """
    return {name: value for name, value in values.items() if name.split("/")[0] not in _SELDOM}


def _defined(values: Mapping[str, float], absent: Mapping[str, str]) -> dict[str, float]:
    return {name: value for name, value in values.items() if name not in absent and not math.isnan(value)}


def undefined(curve: Curve, threshold: float | None = None) -> dict[str, str]:
    """Reason by name for each metric that `evaluate` leaves out at this threshold; usually empty.

    Args:
        curve: counts of one model on one set of rows.
        threshold: as in `evaluate`.
    Returns:
        Sentences by metric name.
    """
    reasons = _meaningless(curve, threshold)
    if not curve.missing_class and curve.calibration_slope() is None:
        reasons["calibration_slope"] = "no finite slope fits: the scores separate the classes, or are all equal"
    return reasons


def curve_metrics(curve: Curve) -> dict[str, float]:
    """Metrics of the scores themselves; NaN where undefined."""
    parts = brier_parts(curve)
    values = {
        "average_precision": curve.average_precision(),
        "roc_auc": curve.roc_auc(),
        "partial_roc_auc": partial_roc_auc(curve, max_fpr=MAX_FPR),
        "pr_auc_trapezoid": pr_auc_trapezoid(curve),
        "pr_gain_auc": pr_gain_auc(curve),
        "h_measure": h_measure(curve),
        "brier": curve.brier(),
        "brier_skill": brier_skill(curve),
        "miscalibration": None if parts is None else parts.miscalibration,
        "discrimination": None if parts is None else parts.discrimination,
        "log_loss": curve.log_loss(),
        "mean_score": curve.mean_score(),
        "prevalence": curve.prevalence(),
        "calibration_intercept": curve.calibration_intercept(),
        "calibration_slope": curve.calibration_slope(),
        "ece_equal_width": expected_calibration_error(curve),
        "ece_equal_mass": expected_calibration_error_equal_mass(curve),
    }
    return {name: _or_nan(value) for name, value in values.items()} | _top_metrics(curve)


def matrix_metrics(matrix: ConfusionMatrix, *, fn: float = 1.0, fp: float = 1.0) -> dict[str, float]:
    """Metrics of one confusion matrix; NaN where undefined. Accuracy comes beside recall, as it must be read.

    Precision and the Matthews coefficient are undefined where no row is flagged; the matrix itself has 0 for them, as
    scikit-learn does.

    Args:
        matrix: rows, or their weight, by true class and decision.
        fn, fp: cost of a false negative and of a false positive, for `cost`.
    Returns:
        Values by metric name; NaN where undefined.
    """
    values = {
        "precision": matrix.precision,
        "recall": matrix.recall,
        "accuracy": matrix.accuracy,
        "specificity": matrix.specificity,
        "f1": matrix.f1,
        "f2": matrix.f_beta(2.0),
        "f0_5": matrix.f_beta(0.5),
        "mcc": matrix.mcc,
        "kappa": matrix.kappa,
        "balanced_accuracy": matrix.balanced_accuracy,
        "g_mean": matrix.g_mean,
        "iba": matrix.index_balanced_accuracy(),
        "cost": matrix.cost(fn=fn, fp=fp),
        "savings": matrix.savings(fn=fn, fp=fp),
        "tp": matrix.tp,
        "fp": matrix.fp,
        "tn": matrix.tn,
        "fn": matrix.fn,
    }
    return values if matrix.flagged > 0.0 else values | dict.fromkeys(NEEDS_FLAGGED_ROWS, math.nan)


def majority_baseline(curve: Curve) -> ConfusionMatrix:
    """What a model gets that predicts the larger class for every row of these counts.

    Args:
        curve: of any model on these rows; only the class totals are used.
    Returns:
        Rows, or their weight, by true class and decision.
    """
    return ConfusionMatrix.majority_baseline(positives=curve.positives, negatives=curve.negatives)


def _meaningless(curve: Curve, threshold: float | None) -> dict[str, str]:
    """Reasons for metrics that have a formula's value but no meaning here."""
    if reason := curve.missing_class:
        return dict.fromkeys(NEEDS_BOTH_CLASSES, reason)
    is_flagging = threshold is None or curve.at(threshold).flagged > 0.0
    return {} if is_flagging else dict.fromkeys(NEEDS_FLAGGED_ROWS, "no row is flagged")


def _top_metrics(curve: Curve) -> dict[str, float]:
    values: dict[str, float] = {}
    for name, share in TOP_SHARES.items():
        top = top_share(curve, share)
        values |= {f"precision_at_{name}": top.precision, f"recall_at_{name}": top.recall, f"lift_at_{name}": top.lift}
    return values


def _or_nan(value: float | None) -> float:
    return math.nan if value is None else value


def evaluate_multiclass(counts: MulticlassCounts, classes: Sequence[str] | None = None) -> dict[str, float]:
    """Every metric that these rows define, by name; `undefined_multiclass` names the others and says why.

    Averages have names such as `macro_recall`, those of one class such as `recall/refund`. The precision of a class
    that is never predicted is left out, and counts as 0 in averages, as scikit-learn has it.

    Args:
        classes: a name for each class, in the order of their numbers; None names them by number.
    Returns:
        Values by metric name, never NaN: what is undefined is left out.
    Raises:
        ConfigError: not one different name for each class.
    """
    values = _all_metrics(counts, _names(counts, classes))
    return {name: value for name, value in values.items() if not math.isnan(value)}


def undefined_multiclass(counts: MulticlassCounts, classes: Sequence[str] | None = None) -> dict[str, str]:
    """Reason by name for each metric that `evaluate_multiclass` leaves out; usually empty.

    Args:
        counts: of one model on one set of rows.
        classes: as in `evaluate_multiclass`.
    Returns:
        Sentences by metric name.
    """
    names, support = _names(counts, classes), counts.confusion.support
    reasons: dict[str, str] = {}
    for name, rows in zip(names, support.tolist(), strict=True):
        if rows <= 0.0 or rows >= counts.confusion.total:
            reason = f"there is no row of class {name}" if rows <= 0.0 else f"all rows are of class {name}"
            reasons |= {f"{metric}/{name}": reason for metric in _PER_CLASS}
        else:
            reasons[f"precision/{name}"] = f"no row is predicted as class {name}"
    absent = set(_all_metrics(counts, names)) - set(evaluate_multiclass(counts, classes))
    return {name: reasons.get(name, "all rows are of one class") for name in sorted(absent)}


_PER_CLASS = ("precision", "recall", "specificity", "f1", "average_precision", "roc_auc")


def _all_metrics(counts: MulticlassCounts, names: Sequence[str]) -> dict[str, float]:
    return _decision_metrics(counts) | _ranking_metrics(counts, names) | _of_each_class(counts, names)


def _decision_metrics(counts: MulticlassCounts) -> dict[str, float]:
    confusion = counts.confusion
    values = {
        "accuracy": confusion.accuracy,
        "balanced_accuracy": confusion.balanced_accuracy,
        "g_mean": confusion.g_mean,
        "mcc": confusion.mcc,
        "kappa": confusion.kappa,
    }
    for name, averages in (("macro", confusion.macro), ("weighted", confusion.weighted), ("micro", confusion.micro)):
        values |= {f"{name}_{metric}": value for metric, value in vars(averages).items()}
    return values


def _ranking_metrics(counts: MulticlassCounts, names: Sequence[str]) -> dict[str, float]:
    values: dict[str, float] = {}
    for metric, per_class in (("average_precision", counts.average_precision()), ("roc_auc", counts.roc_auc())):
        values |= {f"{metric}/{name}": value for name, value in zip(names, per_class.tolist(), strict=True)}
        values |= {f"macro_{metric}": counts.macro(per_class), f"weighted_{metric}": counts.weighted(per_class)}
    return values


def _of_each_class(counts: MulticlassCounts, names: Sequence[str]) -> dict[str, float]:
    values: dict[str, float] = {}
    for name, matrix in zip(names, counts.confusion.per_class, strict=True):
        # Without a row of the class, precision and F1 would be 0 whatever the model does.
        has_rows = matrix.tp + matrix.fn > 0.0
        for metric in ("precision", "recall", "specificity", "f1"):
            is_defined = has_rows and (metric != "precision" or matrix.flagged > 0.0)
            values[f"{metric}/{name}"] = getattr(matrix, metric) if is_defined else math.nan
    return values


def _names(counts: MulticlassCounts, classes: Sequence[str] | None) -> Sequence[str]:
    names = [str(k) for k in range(counts.classes)] if classes is None else list(classes)
    if len(names) != counts.classes or len(set(names)) != len(names):
        raise ConfigError(f"evaluate_multiclass: {counts.classes} classes need as many different names, got {names}.")
    return names


def operating_metrics(
    curve: Curve, cut: int, *, orders_per_day: float | None = None, capacity: float | None = None
) -> dict[str, float]:
    """Metrics of flagging the first `cut` entries of a curve; what these rows leave undefined is absent.

    - `value_detection_rate`: share of the positives' amount that is flagged (with amounts).
    - `false_positives_per_hit`: false positives for each true positive; 0 is perfect (with a true positive).
    - `alerts_per_day`: flagged orders a day, whatever they weigh (with `orders_per_day`).
    - `capacity_used`: alerts a day over the `capacity`; above 1 the team cannot review them all.

    Args:
        orders_per_day: orders that the model scores a day, of which these rows are a sample.
        capacity: alerts a day that can be reviewed, above 0.
    """
    found: dict[str, float] = {}
    if curve.caught_amount is not None and curve.caught_amount[-1] > 0.0:
        found["value_detection_rate"] = float(curve.caught_amount[cut] / curve.caught_amount[-1])
    if curve.tp[cut] > 0.0:
        found["false_positives_per_hit"] = float(curve.fp[cut] / curve.tp[cut])
    if orders_per_day is not None:
        found["alerts_per_day"] = float(curve.flagged_rows[cut] / curve.flagged_rows[-1]) * orders_per_day
        if capacity is not None:
            found["capacity_used"] = found["alerts_per_day"] / capacity
    return found
