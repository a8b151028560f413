"""Synthetic order logs of any size whose true probability is known, row by row."""

from imbalance_spark.generate.order_log import generate_orders
from imbalance_spark.generate.population import CATEGORICAL_FEATURES, NUMERIC_FEATURES

__all__ = ["CATEGORICAL_FEATURES", "NUMERIC_FEATURES", "generate_orders"]
