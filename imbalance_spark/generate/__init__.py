"""Synthetic order logs of any size whose true probability is known, row by row."""

from imbalance_spark.generate.order_log import OUTCOME_SHARES, generate_orders, generate_outcomes
from imbalance_spark.generate.population import CATEGORICAL_FEATURES, NUMERIC_FEATURES, OUTCOMES

__all__ = [
    "CATEGORICAL_FEATURES",
    "NUMERIC_FEATURES",
    "OUTCOMES",
    "OUTCOME_SHARES",
    "generate_orders",
    "generate_outcomes",
]
