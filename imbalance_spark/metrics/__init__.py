"""Counts of scores, and every metric, curve and picture that follows from them."""

from imbalance_spark.metrics.confusion import ClassAverages, ConfusionMatrix
from imbalance_spark.metrics.counts import EXACT_LIMIT, ScoreCounts
from imbalance_spark.metrics.curve import FLAG_NOBODY, LOG_LOSS_EPS, Curve
from imbalance_spark.metrics.evaluate import evaluate, majority_baseline, undefined
from imbalance_spark.metrics.grid import LogitGrid
from imbalance_spark.metrics.kernel import DEFAULT_GRID, bin_counts
from imbalance_spark.metrics.recalibration import Reliability
from imbalance_spark.metrics.scan import (
    COUNT_COLUMNS,
    collect_score_counts,
    collect_score_counts_by,
    counts_by_group,
    score_counts,
)

__all__ = [
    "COUNT_COLUMNS",
    "DEFAULT_GRID",
    "EXACT_LIMIT",
    "FLAG_NOBODY",
    "LOG_LOSS_EPS",
    "ClassAverages",
    "ConfusionMatrix",
    "Curve",
    "LogitGrid",
    "Reliability",
    "ScoreCounts",
    "bin_counts",
    "collect_score_counts",
    "collect_score_counts_by",
    "counts_by_group",
    "evaluate",
    "majority_baseline",
    "score_counts",
    "undefined",
]
