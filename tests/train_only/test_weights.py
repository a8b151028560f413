"""Class weights against scikit-learn, and what is refused."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyspark.sql import SparkSession
from pyspark.sql import functions as F
from sklearn.utils.class_weight import compute_class_weight

from imbalance_spark.core.errors import ConfigError, DataContractError, LeakageError
from imbalance_spark.core.spark_errors import as_own_error
from imbalance_spark.train_only.guard import leakage_errors
from imbalance_spark.train_only.weights import class_weights, scale_pos_weight, with_class_weight


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 300), min_size=2, max_size=5))
def test_balanced_weights_are_those_of_scikit_learn_and_make_classes_weigh_the_same(sizes: list[int]) -> None:
    counts = dict(enumerate(sizes))
    found = class_weights(counts)
    labels = np.repeat(list(counts), sizes)
    oracle = compute_class_weight("balanced", classes=np.array(list(counts)), y=labels)
    assert list(found.values()) == pytest.approx(list(oracle), rel=1e-12)
    assert [found[label] * n for label, n in counts.items()] == pytest.approx([sum(sizes) / len(sizes)] * len(sizes))


def test_given_weights_are_passed_on_as_doubles() -> None:
    assert class_weights({0: 990, 1: 10}, {0: 1, 1: 10}) == {0: 1.0, 1: 10.0}
    assert class_weights({False: 990, True: 10}, {0: 1, 1: 10}) == {False: 1.0, True: 10.0}


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ("balansed", 'weights must be "balanced"'),
        ({0: 1.0}, r"no weight for class \[1\]"),
        ({0: 1.0, 1: 2.0, 2: 3.0}, r"no class \[2\] in the data"),
        ({0: 0.0, 1: -1}, r"class_weights\[0\] must be a number > 0, got 0.0.*class_weights\[1\]"),
        ({0: math.nan, 1: 1}, "got nan"),
        ({0: "1", 1: 1}, "got '1'"),
        ({0: True, 1: 1}, "got True"),
    ],
)
def test_weights_that_cannot_be_are_refused(weights: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        class_weights({0: 990, 1: 10}, weights)


def test_one_class_has_no_weights() -> None:
    with pytest.raises(DataContractError, match="only one class"):
        class_weights({0: 990})


def test_scale_pos_weight_is_negatives_over_positives() -> None:
    assert scale_pos_weight({0: 990, 1: 10}) == 99.0
    assert scale_pos_weight({False: 6, True: 3}) == 2.0


@pytest.mark.parametrize("counts", [{0: 5}, {0: 5, 1: 0}, {0: 1, 1: 1, 2: 1}, {1: 5, 2: 5}, {"0": 5, "1": 5}])
def test_scale_pos_weight_needs_the_classes_0_and_1(counts: Any) -> None:
    with pytest.raises(DataContractError, match="classes 0 and 1"):
        scale_pos_weight(counts)


@pytest.mark.parametrize("kind", ["int", "bigint", "boolean", "double"])
def test_each_row_gets_the_weight_of_its_class_whatever_the_label_type(spark: SparkSession, kind: str) -> None:
    train = spark.range(10).select("id", (F.col("id") < 3).cast(kind).alias("label"), F.lit("train").alias("split"))
    weighted = with_class_weight(train, {0: 0.5, 1: 10.0}, label="label")
    assert weighted.columns == [*train.columns, "class_weight"]
    assert [row["class_weight"] for row in weighted.orderBy("id").collect()] == [10.0] * 3 + [0.5] * 7


def test_a_row_of_a_class_without_weight_fails_the_job(spark: SparkSession) -> None:
    train = spark.range(3).select("id", F.lit("train").alias("split"))
    with pytest.raises(Exception, match="is not among the weights") as caught:
        with_class_weight(train, {0: 1.0, 1: 2.0}, label="id").collect()
    assert isinstance(as_own_error(caught.value), DataContractError)


def test_weights_of_another_type_than_the_label_are_refused(spark: SparkSession) -> None:
    train = spark.range(3).select("id", F.lit("train").alias("split"))
    with pytest.raises(ConfigError, match="label column 'id' is bigint, so it cannot hold all of"):
        with_class_weight(train, {"0": 1.0, "1": 2.0}, label="id")
    with pytest.raises(ConfigError, match="no weights are given"):
        with_class_weight(train, {}, label="id")


def test_weights_are_for_training_rows(spark: SparkSession) -> None:
    test = spark.range(3).select("id", F.lit("test").alias("split"))
    with pytest.raises(LeakageError, match="with_class_weight"), leakage_errors():
        with_class_weight(test, {0: 1.0, 1: 2.0, 2: 1.0}, label="id").count()
