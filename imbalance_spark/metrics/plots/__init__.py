"""Figures of curves, decisions and comparisons, as matplotlib figures without global state."""

from imbalance_spark.metrics.plots.operating_point import (
    class_confusion_figure,
    confusion_figure,
    cost_figure,
    threshold_figure,
)
from imbalance_spark.metrics.plots.probabilities import (
    importance_figure,
    reliability_figure,
    score_histogram_figure,
)
from imbalance_spark.metrics.plots.ranking import det_figure, gain_figure, precision_recall_figure, roc_figure
from imbalance_spark.metrics.plots.strategies import comparison_figure, difference_figure, over_time_figure
from imbalance_spark.metrics.plots.style import pngs

__all__ = [
    "class_confusion_figure",
    "comparison_figure",
    "confusion_figure",
    "cost_figure",
    "det_figure",
    "difference_figure",
    "gain_figure",
    "importance_figure",
    "over_time_figure",
    "pngs",
    "precision_recall_figure",
    "reliability_figure",
    "roc_figure",
    "score_histogram_figure",
    "threshold_figure",
]
