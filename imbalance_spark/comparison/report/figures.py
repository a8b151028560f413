"""The figures of a comparison and of each of its strategies, by name."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from imbalance_spark.comparison.backtest import Backtest
from imbalance_spark.comparison.compare import Comparison
from imbalance_spark.comparison.evaluate import StrategyResult, error_costs
from imbalance_spark.core.columns import HELD_OUT_FOLDS, TEST, VALIDATION
from imbalance_spark.metrics import plots
from imbalance_spark.metrics.confusion import ConfusionMatrix
from imbalance_spark.metrics.evaluate import mean_of_defined
from imbalance_spark.metrics.intervals import Interval

_RATIO = "mean p / rate"

_MOST_MARKS = 6
"""Thresholds that one figure marks; with more, nobody finds one."""


def comparison_figures(comparison: Comparison) -> dict[str, Figure]:
    """The figures of the whole comparison, on test unless their title says validation, by name.

    Those of one of K classes end on its number.
    """
    metric = comparison.names.macro(comparison.config.gate.metric)
    validation, test = (_intervals(comparison.results, f"{fold}/{metric}") for fold in HELD_OUT_FOLDS)
    spoken, chance = _in_words(comparison), _by_chance(comparison)
    figures = {"comparison": plots.comparison_figure(validation, test, spoken, chance=chance)}
    if comparison.gains:
        figures["gain_over_plain"] = plots.difference_figure(comparison.gains, comparison.plain.name, spoken)
    if comparison.savings:
        saved = "cost saved"
        figures["savings_over_plain"] = plots.difference_figure(comparison.savings, comparison.plain.name, saved)
    if comparison.backtest is not None:
        figures["over_time"] = _over_time_figure(comparison.backtest)
    shown = _single_figures if comparison.is_single else _class_figures
    return figures | shown(comparison)


def strategy_figures(comparison: Comparison, result: StrategyResult) -> dict[str, Figure]:
    """The figures of one strategy alone, by name; of K classes with the classes side by side."""
    if not comparison.is_single:
        curves = dict(zip(comparison.classes, result.curves[TEST], strict=True))
        return {
            **_importance_figure(result),
            "confusion_matrix": _confusion_figure(comparison, result),
            "precision_recall": plots.precision_recall_figure(curves, _title(result, "each class on test")),
            "roc": plots.roc_figure(curves, _title(result, "ROC of each class on test")),
            "reliability": plots.reliability_figure(curves, _title(result, "reliability of each class on test")),
        }
    [test] = result.curves[TEST]
    curves = {result.name: test}
    return {
        **_importance_figure(result),
        "threshold": threshold_figure(comparison, result),
        "confusion_matrix": _confusion_figure(comparison, result),
        "cost": plots.cost_figure(curves, **error_costs(comparison.decisions), title=_title(result, "cost on test")),
        "precision_recall": plots.precision_recall_figure(curves, _title(result, "precision and recall on test")),
        "roc": plots.roc_figure(curves, _title(result, "ROC on test")),
        "detection_error_tradeoff": plots.det_figure(curves, _title(result, "detection error trade-off on test")),
        "gain_and_lift": plots.gain_figure(curves, _title(result, "gain and lift on test")),
        "reliability": plots.reliability_figure(curves, _title(result, "reliability on test"), band_of=result.name),
        "scores": plots.score_histogram_figure(test, _title(result, "scores on test by class")),
    }


def threshold_figure(comparison: Comparison, result: StrategyResult) -> Figure:
    """What moving the threshold does to a strategy on validation; the serving threshold is always marked."""
    marked = list(dict.fromkeys([comparison.serving, *result.chosen]))[:_MOST_MARKS]
    chosen = {name: result.chosen[name].by_target[0].threshold for name in marked}
    title, costs = _title(result, "thresholds on validation"), error_costs(comparison.decisions)
    return plots.threshold_figure(result.curves[VALIDATION][0], **costs, chosen=chosen, title=title)


def _single_figures(comparison: Comparison) -> dict[str, Figure]:
    curves = {result.name: result.curves[TEST][0] for result in comparison.results}
    best, costs = comparison.best, error_costs(comparison.decisions)
    return {
        **_importance_figure(best),
        "thresholds": threshold_figure(comparison, best),
        "confusion_matrix": _confusion_figure(comparison, best),
        "cost": plots.cost_figure(curves, **costs, title="Cost on test"),
        "precision_recall": plots.precision_recall_figure(curves, "Precision and recall on test"),
        "roc": plots.roc_figure(curves, "ROC on test"),
        "detection_error_tradeoff": plots.det_figure(curves, "Detection error trade-off on test"),
        "gain_and_lift": plots.gain_figure(curves, "Gain and lift on test"),
        "reliability": plots.reliability_figure(curves, "Reliability on test", band_of=best.name),
        "scores": plots.score_histogram_figure(best.curves[TEST][0], _title(best, "scores on test")),
    }


def _importance_figure(result: StrategyResult) -> dict[str, Figure]:
    """By its name; nothing of a run that was counted before contributions were."""
    importance, title = result.held_out.importance, _title(result, "what moves the scores")
    return {"importance": plots.importance_figure(importance, title)} if importance else {}


def _class_figures(comparison: Comparison) -> dict[str, Figure]:
    figures = {
        **_importance_figure(comparison.best),
        "confusion_matrix": _confusion_figure(comparison, comparison.best),
    }
    for number, name in enumerate(comparison.classes):
        curves = {result.name: result.curves[TEST][number] for result in comparison.results}
        title = f"{name}: precision and recall on test"
        figures[f"precision_recall_{number}"] = plots.precision_recall_figure(curves, title)
        figures[f"reliability_{number}"] = plots.reliability_figure(curves, f"{name}: reliability on test")
    return figures


def _over_time_figure(backtest: Backtest) -> Figure:
    words = {"average_precision": "average precision", "cost": "cost of 1,000 orders", "ratio": _RATIO}
    panels = {
        spoken: {strategy: backtest.values(strategy, name) for strategy in backtest.scores}
        for name, spoken in words.items()
    }
    shown = {spoken: values for spoken, values in panels.items() if np.isfinite(list(values.values())).any()}
    return plots.over_time_figure(backtest.windows, shown, "Each window by fits on the days before it", target=_RATIO)


def _confusion_figure(comparison: Comparison, result: StrategyResult) -> Figure:
    if comparison.is_single:
        cells = {cell: result.metrics[f"{TEST}/{cell}"] for cell in ("tp", "fp", "tn", "fn")}
        return plots.confusion_figure(ConfusionMatrix(**cells), f"{result.name} on test")
    confusion = result.held_out.confusions[comparison.serving].of(TEST)
    title = f"{result.name} on test, by {comparison.serving}"
    return plots.class_confusion_figure(confusion, comparison.classes, title)


def _intervals(results: Sequence[StrategyResult], name: str) -> dict[str, Interval]:
    """By strategy; without those whose metric these rows leave undefined."""
    return {result.name: result.intervals[name] for result in results if name in result.intervals}


def _by_chance(comparison: Comparison) -> float:
    """The metric of random scores: their average precision is the share of positives."""
    if comparison.config.gate.metric != "average_precision":
        return 0.5
    return mean_of_defined([curve.prevalence() for curve in comparison.plain.curves[VALIDATION]])


def _in_words(comparison: Comparison) -> str:
    return comparison.metric.replace("roc_auc", "ROC-AUC").replace("_", " ")


def _title(result: StrategyResult, what: str) -> str:
    return f"{result.name}: {what}"
