"""Real orders made ready: from a public log to one row per order, with key, label and leak-free features."""

from collections.abc import Callable

from pyspark.sql import DataFrame, SparkSession

from imbalance_spark.preparation.flights import prepare_flights
from imbalance_spark.preparation.retail import prepare_retail

__all__ = ["PREPARATIONS", "prepare_flights", "prepare_retail"]

PREPARATIONS: dict[str, Callable[[SparkSession, str | None], DataFrame]] = {
    "retail": prepare_retail,
    "flights": prepare_flights,
}
"""Each preparation by the name that a config gives it; all take the session and the path of the raw data."""
