"""Choose thresholds for an objective: for all rows, for each segment, or again later on logged counts."""

from imbalance_spark.metrics.spark_counts import count_days
from imbalance_spark.threshold.budget_objectives import AlertBudget, TopEntities
from imbalance_spark.threshold.change import (
    ThresholdChange,
    ThresholdOutcome,
    at_base_rate,
    base_rate_correction,
    change_threshold,
)
from imbalance_spark.threshold.choice import ChosenThreshold, sweep
from imbalance_spark.threshold.cost_objectives import BayesCost, MinCost
from imbalance_spark.threshold.objective import Objective
from imbalance_spark.threshold.objectives import OBJECTIVES, objective_from_config
from imbalance_spark.threshold.rate_objectives import MaxFBeta, MaxKappa, MaxMCC, MaxPrecision, MaxRecall, Youden
from imbalance_spark.threshold.rule import choose_again, choose_on, choose_threshold
from imbalance_spark.threshold.segments import SegmentThresholds, sweep_segments

__all__ = [
    "OBJECTIVES",
    "AlertBudget",
    "BayesCost",
    "ChosenThreshold",
    "MaxFBeta",
    "MaxKappa",
    "MaxMCC",
    "MaxPrecision",
    "MaxRecall",
    "MinCost",
    "Objective",
    "SegmentThresholds",
    "ThresholdChange",
    "ThresholdOutcome",
    "TopEntities",
    "Youden",
    "at_base_rate",
    "base_rate_correction",
    "change_threshold",
    "choose_again",
    "choose_on",
    "choose_threshold",
    "count_days",
    "objective_from_config",
    "sweep",
    "sweep_segments",
]
