"""The pictures of a comparison and of each of its strategies, by name."""

from collections.abc import Sequence

from matplotlib.figure import Figure

from imbalance_spark.comparison.compare import Comparison, objectives_of
from imbalance_spark.comparison.evaluate import HELD_OUT, StrategyResult, constant_costs
from imbalance_spark.core.columns import TEST, VALIDATION
from imbalance_spark.metrics import plots
from imbalance_spark.metrics.intervals import Interval

_MOST_MARKS = 6
"""Thresholds that one picture marks; with more, nobody finds one."""


def comparison_figures(comparison: Comparison) -> dict[str, Figure]:
    """The pictures of the whole comparison, on test unless their title says validation, by name."""
    curves = {result.name: result.curves[TEST] for result in comparison.results}
    metric = comparison.config.gate.metric
    validation, test = (_intervals(comparison.results, fold, metric) for fold in HELD_OUT)
    spoken, chance = _in_words(metric), _by_chance(comparison.plain, metric)
    figures = {"comparison": plots.comparison_figure(validation, test, spoken, chance=chance)}
    if comparison.gains:
        figures["gain_over_plain"] = plots.difference_figure(comparison.gains, comparison.plain.name, spoken)
    return figures | {
        "thresholds": threshold_figure(comparison, comparison.best),
        "confusion_matrix": _confusion_figure(comparison, comparison.best),
        "cost": plots.cost_figure(curves, **_costs(comparison), title="Cost on test"),
        "precision_recall": plots.precision_recall_figure(curves, "Precision and recall on test"),
        "roc": plots.roc_figure(curves, "ROC on test"),
        "detection_error_tradeoff": plots.det_figure(curves, "Detection error trade-off on test"),
        "gain_and_lift": plots.gain_figure(curves, "Gain and lift on test"),
        "reliability": plots.reliability_figure(curves, "Reliability on test"),
        "scores": plots.score_histogram_figure(comparison.best.curves[TEST], _title(comparison.best, "scores on test")),
    }


def strategy_figures(comparison: Comparison, result: StrategyResult) -> dict[str, Figure]:
    """The pictures of one strategy alone, by name."""
    test = result.curves[TEST]
    curves = {result.name: test}
    return {
        "threshold": threshold_figure(comparison, result),
        "confusion_matrix": _confusion_figure(comparison, result),
        "cost": plots.cost_figure(curves, **_costs(comparison), title=_title(result, "cost on test")),
        "precision_recall": plots.precision_recall_figure(curves, _title(result, "precision and recall on test")),
        "roc": plots.roc_figure(curves, _title(result, "ROC on test")),
        "detection_error_tradeoff": plots.det_figure(curves, _title(result, "detection error trade-off on test")),
        "gain_and_lift": plots.gain_figure(curves, _title(result, "gain and lift on test")),
        "reliability": plots.reliability_figure(curves, _title(result, "reliability on test")),
        "scores": plots.score_histogram_figure(test, _title(result, "scores on test by class")),
    }


def threshold_figure(comparison: Comparison, result: StrategyResult) -> Figure:
    """What moving the threshold does to a strategy on validation; the serving threshold is always marked."""
    names = [comparison.config.serve_objective, *result.thresholds]
    marked = list(dict.fromkeys(names))[:_MOST_MARKS]
    chosen = {name: result.thresholds[name].threshold for name in marked}
    title = _title(result, "thresholds on validation")
    return plots.threshold_figure(result.curves[VALIDATION], **_costs(comparison), chosen=chosen, title=title)


def _confusion_figure(comparison: Comparison, result: StrategyResult) -> Figure:
    serving = result.thresholds[comparison.config.serve_objective]
    return plots.confusion_figure(result.curves[TEST].at(serving.threshold), f"{result.name} on test")


def _intervals(results: Sequence[StrategyResult], fold: str, metric: str) -> dict[str, Interval]:
    """By strategy; without those whose metric these rows leave undefined."""
    name = f"{fold}/{metric}"
    return {result.name: result.intervals[name] for result in results if name in result.intervals}


def _costs(comparison: Comparison) -> dict[str, float]:
    return constant_costs(objectives_of(comparison.config))


def _by_chance(plain: StrategyResult, metric: str) -> float:
    return plain.curves[VALIDATION].prevalence() if metric == "average_precision" else 0.5


def _in_words(metric: str) -> str:
    return {"roc_auc": "ROC-AUC"}.get(metric, metric.replace("_", " "))


def _title(result: StrategyResult, what: str) -> str:
    return f"{result.name}: {what}"
