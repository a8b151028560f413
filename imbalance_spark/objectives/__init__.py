"""What a threshold may be chosen for."""

from imbalance_spark.objectives.alerts import AlertBudget, count_days
from imbalance_spark.objectives.base import Objective
from imbalance_spark.objectives.by_config import OBJECTIVES, objective_from_config
from imbalance_spark.objectives.costs import AMOUNT, BayesCost, MinCost, first_constant_costs
from imbalance_spark.objectives.rates import MaxFBeta, MaxKappa, MaxMCC, MaxPrecision, MaxRecall, Youden

__all__ = [
    "AMOUNT",
    "OBJECTIVES",
    "AlertBudget",
    "BayesCost",
    "MaxFBeta",
    "MaxKappa",
    "MaxMCC",
    "MaxPrecision",
    "MaxRecall",
    "MinCost",
    "Objective",
    "Youden",
    "count_days",
    "first_constant_costs",
    "objective_from_config",
]
