"""The flat, named metrics of a model of several classes."""

import math
from collections.abc import Sequence

from imbalance_spark.errors import ConfigError
from imbalance_spark.metrics.multiclass import MulticlassCounts


def evaluate_multiclass(counts: MulticlassCounts, classes: Sequence[str] | None = None) -> dict[str, float]:
    """Every metric that these rows define, by name; `undefined_multiclass` names the others and says why.

    Averages have names such as `macro_recall`, those of one class such as `recall/refund`.

    Args:
        classes: a name for each class, in the order of their numbers; None names them by number.
    Raises:
        ConfigError: not one different name for each class.
    """
    values = _averages(counts) | _of_each(counts, _names(counts, classes))
    return {name: value for name, value in values.items() if not math.isnan(value)}


def undefined_multiclass(counts: MulticlassCounts, classes: Sequence[str] | None = None) -> dict[str, str]:
    """Reason by name for each metric that `evaluate_multiclass` leaves out; usually empty."""
    names, support = _names(counts, classes), counts.confusion.support
    reasons: dict[str, str] = {}
    for name, rows in zip(names, support.tolist(), strict=True):
        if rows <= 0.0 or rows >= counts.confusion.total:
            reason = f"there is no row of class {name}" if rows <= 0.0 else f"all rows are of class {name}"
            reasons |= {f"{metric}/{name}": reason for metric in _PER_CLASS}
    absent = set(_averages(counts) | _of_each(counts, names)) - set(evaluate_multiclass(counts, classes))
    return {name: reasons.get(name, "all rows are of one class") for name in sorted(absent)}


_PER_CLASS = ("precision", "recall", "specificity", "f1", "average_precision", "roc_auc")


def _averages(counts: MulticlassCounts) -> dict[str, float]:
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
    for metric, per_class in (("average_precision", counts.average_precision()), ("roc_auc", counts.roc_auc())):
        values |= {f"macro_{metric}": counts.macro(per_class), f"weighted_{metric}": counts.weighted(per_class)}
    return values


def _of_each(counts: MulticlassCounts, names: Sequence[str]) -> dict[str, float]:
    values: dict[str, float] = {}
    areas = zip(counts.average_precision().tolist(), counts.roc_auc().tolist(), strict=True)
    for name, matrix, (precision, area) in zip(names, counts.confusion.per_class, areas, strict=True):
        # Without a row of the class, precision and F1 would be 0 whatever the model does.
        has_rows = matrix.tp + matrix.fn > 0.0
        found = (matrix.precision, matrix.recall, matrix.specificity, matrix.f1) if has_rows else (math.nan,) * 4
        values |= {
            f"{metric}/{name}": value for metric, value in zip(_PER_CLASS, (*found, precision, area), strict=True)
        }
    return values


def _names(counts: MulticlassCounts, classes: Sequence[str] | None) -> Sequence[str]:
    names = [str(k) for k in range(counts.classes)] if classes is None else list(classes)
    if len(names) != counts.classes or len(set(names)) != len(names):
        raise ConfigError(f"evaluate_multiclass: {counts.classes} classes need as many different names, got {names}.")
    return names
