"""What every sampler promises. A new sampler joins by one line in `test_samplers.SAMPLERS`."""

from collections.abc import Callable

import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from imbalance_spark.core.errors import DataContractError, LeakageError, MissingColumnsError

Resample = Callable[[DataFrame], DataFrame]
CLASSES = {0: 900, 1: 90, 2: 30}
"""Rows of each class in the table that the checks run on."""


def make_train(spark: SparkSession) -> DataFrame:
    row = F.col("id")
    label = F.when(row < CLASSES[0], 0).when(row < CLASSES[0] + CLASSES[1], 1).otherwise(2)
    columns = [
        row.alias("order_id"),
        label.alias("label"),
        (row * 1.5).alias("amount.eur"),
        F.lit("train").alias("split"),
    ]
    return spark.range(sum(CLASSES.values())).select(*columns)


def rows_of(resampled: DataFrame) -> list[tuple[object, ...]]:
    return sorted(tuple(row) for row in resampled.collect())


def check_rows_are_training_rows_unchanged(spark: SparkSession, resample: Resample) -> None:
    train = make_train(spark)
    resampled = resample(train).select(*[F.col(f"`{name}`") for name in train.columns])
    assert set(rows_of(resampled)) <= set(rows_of(train))


def check_schema_is_kept_and_a_weight_added(spark: SparkSession, resample: Resample) -> None:
    train = make_train(spark)
    fields = resample(train).schema
    assert [(f.name, f.dataType) for f in fields][: len(train.columns)] == [(f.name, f.dataType) for f in train.schema]
    assert fields["sampling_weight"].dataType.simpleString() == "double"


def check_result_does_not_depend_on_the_layout(spark: SparkSession, resample: Resample) -> None:
    train = make_train(spark)
    in_seven_parts, sorted_otherwise = train.repartition(7), train.orderBy(F.xxhash64("order_id")).coalesce(1)
    assert rows_of(resample(in_seven_parts)) == rows_of(resample(sorted_otherwise))


def check_weights_restore_the_class_totals(spark: SparkSession, resample: Resample) -> None:
    totals = resample(make_train(spark)).groupBy("label").agg(F.sum("sampling_weight").alias("total")).collect()
    assert {row["label"]: row["total"] for row in totals} == pytest.approx(CLASSES, rel=1e-9)


def check_weights_of_an_earlier_sampling_are_kept(spark: SparkSession, resample: Resample) -> None:
    resampled = resample(make_train(spark).withColumn("sampling_weight", F.lit(4.0)))
    totals = resampled.groupBy("label").agg(F.sum("sampling_weight").alias("total")).collect()
    assert {row["label"]: row["total"] / 4 for row in totals} == pytest.approx(CLASSES, rel=1e-9)


def check_one_class_is_refused(spark: SparkSession, resample: Resample) -> None:
    with pytest.raises(DataContractError, match=r"only one class is present, \{1: 90 rows\}"):
        resample(make_train(spark).where("label = 1"))


def check_no_rows_are_refused(spark: SparkSession, resample: Resample) -> None:
    with pytest.raises(DataContractError, match="the input has no rows"):
        resample(make_train(spark).where("false"))


def check_null_labels_are_refused(spark: SparkSession, resample: Resample) -> None:
    train = make_train(spark).withColumn("label", F.when(F.col("order_id") >= 2, F.col("label")))
    with pytest.raises(DataContractError, match="2 of 1020 rows have no label"):
        resample(train)


def check_a_row_of_another_fold_is_a_leak(spark: SparkSession, resample: Resample) -> None:
    train = make_train(spark).withColumn("split", F.when(F.col("order_id") == 5, "test").otherwise("train"))
    with pytest.raises(LeakageError, match="is not a training row"):
        resample(train)


def check_a_frame_without_split_is_refused(spark: SparkSession, resample: Resample) -> None:
    with pytest.raises(MissingColumnsError, match=r"\['split'\]"):
        resample(make_train(spark).drop("split"))


CHECKS = [check for name, check in sorted(globals().items()) if name.startswith("check_")]
