"""`sample_by_class`: Spark's law, without the ways in which `sampleBy` loses a class."""

import math
from collections import Counter
from typing import Any

import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from support.sampler_checks import CLASSES, make_train

from imbalance_spark.core.errors import ConfigError, DataContractError, LeakageError
from imbalance_spark.train_only.guard import leakage_errors
from imbalance_spark.train_only.sampling import sample_by_class

METHODS = ["sample_by", "key_hash", "exact"]


@pytest.fixture(scope="module")
def train(spark: SparkSession) -> DataFrame:
    return make_train(spark)


def sample(train: DataFrame, fractions: Any, method: Any = "sample_by", **settings: Any) -> DataFrame:
    return sample_by_class(
        train, **{"label": "label", "seed": 7, "key": "order_id", "fractions": fractions, "method": method, **settings}
    )


def counts(rows: DataFrame) -> Counter[Any]:
    return Counter({row["label"]: row["count"] for row in rows.groupBy("label").count().collect()})


def test_the_default_is_what_spark_itself_samples(train: DataFrame) -> None:
    ours = sample(train, {0: 0.1, 1: 0.5, 2: 1.0}).select("order_id").collect()
    theirs = train.sampleBy("label", {0: 0.1, 1: 0.5, 2: 1.0}, 7).select("order_id").collect()
    assert sorted(ours) == sorted(theirs)


@pytest.mark.parametrize("method", METHODS)
def test_counts_are_within_bernoulli_bounds_and_weights_undo_the_sampling(train: DataFrame, method: str) -> None:
    kept = sample(train, {0: 0.25, 1: 0.5}, method)
    found = counts(kept)
    for label, share in ((0, 0.25), (1, 0.5)):
        assert abs(found[label] - CLASSES[label] * share) <= 5 * math.sqrt(CLASSES[label] * share * (1 - share))
    assert found[2] == 30
    weights = {
        row["label"]: row["sampling_weight"] for row in kept.select("label", "sampling_weight").distinct().collect()
    }
    assert weights == pytest.approx({0: 4.0, 1: 2.0, 2: 1.0})


def test_exact_keeps_the_rounded_count(train: DataFrame) -> None:
    assert counts(sample(train, {0: 0.1, 1: 0.333}, "exact")) == {0: 90, 1: 30, 2: 30}


@pytest.mark.parametrize("method", METHODS)
def test_fraction_one_is_the_identity(train: DataFrame, method: str) -> None:
    kept = sample(train, {0: 1.0, 1: 1, 2: 1.0}, method)
    assert kept.drop("sampling_weight").exceptAll(train).count() == 0
    assert counts(kept) == CLASSES


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("change", "fractions"),
    [
        ("label > 0", {0: 0.5, 1: 1.0}),
        ("double(label)", {0: 0.5}),
        ("bigint(label)", {0: 0.5, 1: 1.0}),
        ("string(label)", {"0": 0.5}),
    ],
)
def test_no_class_is_lost_to_the_type_of_the_label(train: DataFrame, method: str, change: str, fractions: Any) -> None:
    typed = train.withColumn("label", F.expr(change))
    found = counts(sample(typed, fractions, method))
    assert 350 < found[min(found)] < 550
    assert sum(found.values()) - found[min(found)] == 120


def test_a_class_that_is_not_named_is_kept_whole_and_said_so(
    train: DataFrame, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO", logger="imbalance_spark"):
        found = counts(sample(train, {0: 0.1}))
    assert (found[1], found[2]) == (90, 30)
    assert "fractions does not name {1: 90 rows, 2: 30 rows}: kept whole" in caplog.text


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"fractions": {0: 1.5}}, "cannot have more rows than its class. To repeat rows use RandomOverSampler"),
        ({"fractions": {0: math.inf}}, "RandomOverSampler"),
        ({"fractions": {0: -0.1}}, r"fractions\[0\] must be a number in \[0, 1\], got -0.1"),
        ({"fractions": {0: math.nan, 1: "0.5"}}, r"fractions\[0\].*got nan.*fractions\[1\].*got '0.5'"),
        ({"fractions": {0: True}}, "got True"),
        (
            {"fractions": {"0": 0.5}},
            r"no class \['0'\] in the data, whose classes \(int\) are \{0: 900 rows.*Did you mean 0",
        ),
        ({"fractions": {7: 0.5}}, r"no class \[7\] in the data"),
        ({"method": "sampleby"}, "Did you mean 'sample_by'"),
        ({"method": "exact", "key": None}, "method 'exact' needs key="),
        ({"seed": "7"}, "seed must be an integer"),
    ],
)
def test_settings_that_cannot_be_are_refused(train: DataFrame, settings: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        sample(train, **{"fractions": {0: 0.5}, **settings})


@pytest.mark.parametrize("fractions", [{0: 0, 1: 0}, {0: 0, 1: 0, 2: 0.0}])
@pytest.mark.parametrize("method", METHODS)
def test_a_sample_of_one_class_or_none_is_refused(train: DataFrame, method: str, fractions: Any) -> None:
    with pytest.raises(DataContractError, match="fewer than two classes would be left"):
        sample(train, fractions, method)


def test_exact_counts_that_round_to_nothing_are_refused(train: DataFrame) -> None:
    with pytest.raises(DataContractError, match="fewer than two classes would be left"):
        sample(train, {1: 0.001, 2: 0.001}, "exact")


@pytest.mark.parametrize("method", METHODS)
def test_a_row_of_another_fold_is_a_leak(train: DataFrame, method: str) -> None:
    leaked = train.withColumn("split", F.when(F.col("order_id") == 5, "validation").otherwise("train"))
    with pytest.raises(LeakageError, match="sample_by_class: a row that is not a training row"), leakage_errors():
        sample(leaked, {0: 0.5}, method)
