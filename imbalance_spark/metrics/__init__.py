"""Counts of scores, and the metrics, curves and figures computed from them."""

from imbalance_spark.metrics.areas import (
    TopRows,
    h_measure,
    partial_roc_auc,
    pr_auc_trapezoid,
    pr_gain_auc,
    top_rows,
    top_share,
)
from imbalance_spark.metrics.binning import DEFAULT_GRID, bin_counts
from imbalance_spark.metrics.confusion import ClassAverages, ConfusionMatrix, MulticlassConfusion
from imbalance_spark.metrics.counts import EXACT_LIMIT, ScoreCounts
from imbalance_spark.metrics.curve import FLAG_NOBODY, LOG_LOSS_EPS, Bracket, Curve
from imbalance_spark.metrics.evaluate import (
    evaluate,
    evaluate_multiclass,
    majority_baseline,
    matrix_metrics,
    undefined,
    undefined_multiclass,
)
from imbalance_spark.metrics.grid import LogitGrid
from imbalance_spark.metrics.logistic import Reliability
from imbalance_spark.metrics.multiclass_counts import MulticlassCounts
from imbalance_spark.metrics.probability import (
    BrierParts,
    ReliabilityBand,
    brier_parts,
    brier_skill,
    expected_calibration_error,
    expected_calibration_error_equal_mass,
    expected_cost,
    reliability_band,
)
from imbalance_spark.metrics.spark_counts import (
    COUNT_COLUMNS,
    collect_multiclass_counts,
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
    "Bracket",
    "BrierParts",
    "ClassAverages",
    "ConfusionMatrix",
    "Curve",
    "LogitGrid",
    "MulticlassConfusion",
    "MulticlassCounts",
    "Reliability",
    "ReliabilityBand",
    "ScoreCounts",
    "TopRows",
    "bin_counts",
    "brier_parts",
    "brier_skill",
    "collect_multiclass_counts",
    "collect_score_counts",
    "collect_score_counts_by",
    "counts_by_group",
    "evaluate",
    "evaluate_multiclass",
    "expected_calibration_error",
    "expected_calibration_error_equal_mass",
    "expected_cost",
    "h_measure",
    "majority_baseline",
    "matrix_metrics",
    "partial_roc_auc",
    "pr_auc_trapezoid",
    "pr_gain_auc",
    "reliability_band",
    "score_counts",
    "top_rows",
    "top_share",
    "undefined",
    "undefined_multiclass",
]
