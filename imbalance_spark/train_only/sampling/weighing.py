"""The provenance column `sampling_weight`: what undoes a sampling, also after several of them."""

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from imbalance_spark.frames import SAMPLING_WEIGHT, col


def with_sampling_weight(rows: DataFrame, weight: Column) -> DataFrame:
    """The rows with `sampling_weight` (double, > 0); one that is there already is multiplied.

    Weighted class totals then estimate those before all sampling (Horvitz and Thompson, 1952).
    """
    before = col(SAMPLING_WEIGHT) if SAMPLING_WEIGHT in rows.columns else F.lit(1.0)
    return rows.withColumn(SAMPLING_WEIGHT, before * weight)
