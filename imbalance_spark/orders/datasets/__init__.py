"""Example data: generated logs whose true probabilities are known, and two real logs."""

from collections.abc import Callable

from pyspark.sql import DataFrame, SparkSession

from imbalance_spark.orders.datasets.flights import prepare_flights
from imbalance_spark.orders.datasets.population import CATEGORICAL_FEATURES, NUMERIC_FEATURES, OUTCOMES
from imbalance_spark.orders.datasets.retail import prepare_retail
from imbalance_spark.orders.datasets.synthetic import OUTCOME_SHARES, generate_orders, generate_outcomes
from imbalance_spark.orders.datasets.synthetic_plan import OrderShift

__all__ = [
    "CATEGORICAL_FEATURES",
    "NUMERIC_FEATURES",
    "OUTCOMES",
    "OUTCOME_SHARES",
    "PREPARATIONS",
    "OrderShift",
    "generate_orders",
    "generate_outcomes",
    "prepare_flights",
    "prepare_retail",
]

PREPARATIONS: dict[str, Callable[[SparkSession, str | None], DataFrame]] = {
    "retail": prepare_retail,
    "flights": prepare_flights,
}
"""Preparations by their name in a config; each takes the session and the path of the raw data."""
