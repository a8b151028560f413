"""The pictures of a comparison of several classes and of each of its strategies, by name."""

from collections.abc import Sequence

from matplotlib.figure import Figure

from imbalance_spark.core.columns import TEST, VALIDATION
from imbalance_spark.metrics import plots
from imbalance_spark.metrics.curve import Curve
from imbalance_spark.metrics.intervals import Interval
from imbalance_spark.multiclass.compare import ClassComparison
from imbalance_spark.multiclass.judge import HELD_OUT, ClassResult

_SPOKEN = {"average_precision": "macro average precision", "roc_auc": "macro ROC-AUC"}


def class_comparison_figures(comparison: ClassComparison) -> dict[str, Figure]:
    """The pictures of the whole comparison by name; those of one class, on test, end on its number."""
    metric = comparison.config.gate.metric
    validation, test = (_intervals(comparison.results, fold, f"macro_{metric}") for fold in HELD_OUT)
    chance = _by_chance(comparison, metric)
    figures = {"comparison": plots.comparison_figure(validation, test, _SPOKEN[metric], chance=chance)}
    if comparison.gains:
        figures["gain_over_plain"] = plots.difference_figure(comparison.gains, comparison.plain.name, _SPOKEN[metric])
    figures["confusion_matrix"] = _confusion(comparison, comparison.best)
    for number, name in enumerate(comparison.classes):
        curves = {result.name: result.held_out.curves(TEST)[number] for result in comparison.results}
        figures[f"precision_recall_{number}"] = plots.precision_recall_figure(
            curves, f"{name}: precision, recall on test"
        )
        figures[f"reliability_{number}"] = plots.reliability_figure(curves, f"{name}: reliability")
    return figures


def class_strategy_figures(comparison: ClassComparison, result: ClassResult) -> dict[str, Figure]:
    """The pictures of one strategy alone: its classes side by side."""
    curves: dict[str, Curve] = dict(zip(comparison.classes, result.held_out.curves(TEST), strict=True))
    return {
        "confusion_matrix": _confusion(comparison, result),
        "precision_recall": plots.precision_recall_figure(curves, f"{result.name}: each class on test"),
        "roc": plots.roc_figure(curves, f"{result.name}: ROC of each class on test"),
        "reliability": plots.reliability_figure(curves, f"{result.name}: reliability of each class on test"),
    }


def _confusion(comparison: ClassComparison, result: ClassResult) -> Figure:
    serving = comparison.config.serve_objective
    found = result.held_out.confusions[serving].of(TEST)
    return plots.class_confusion_figure(found, comparison.classes, f"{result.name} on test, by {serving}")


def _intervals(results: Sequence[ClassResult], fold: str, name: str) -> dict[str, Interval]:
    return {
        result.name: result.intervals[f"{fold}/{name}"] for result in results if f"{fold}/{name}" in result.intervals
    }


def _by_chance(comparison: ClassComparison, metric: str) -> float:
    # The average precision of random scores is a class's share, and shares sum to 1.
    return 1.0 / len(comparison.plain.held_out.curves(VALIDATION)) if metric == "average_precision" else 0.5
