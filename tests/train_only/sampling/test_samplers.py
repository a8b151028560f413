"""All samplers against one list of promises, and the random samplers' own."""

from collections import Counter
from typing import Any

import numpy as np
import pytest
from imblearn import over_sampling, under_sampling
from pyspark.sql import SparkSession
from pyspark.sql import functions as F
from support.sampler_checks import CHECKS, CLASSES, Resample, make_train, rows_of

from imbalance_spark.core.errors import ConfigError, DataContractError
from imbalance_spark.train_only.sampling import RandomOverSampler, RandomUnderSampler, sample_by_class

ROLES: dict[str, Any] = {"key": "order_id", "label": "label", "seed": 7}

SAMPLERS: dict[str, Resample] = {
    "RandomUnderSampler": lambda train: RandomUnderSampler(**ROLES).fit_resample(train),
    "RandomOverSampler": lambda train: RandomOverSampler(**ROLES).fit_resample(train),
    "sample_by_class exact": lambda train: sample_by_class(train, **ROLES, fractions={0: 0.1, 1: 0.5}, method="exact"),
}


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_sampler(spark: SparkSession, sampler: str, check: Any) -> None:
    check(spark, SAMPLERS[sampler])


STRATEGIES = ["auto", "all", "not minority", "not majority"]


@pytest.mark.parametrize("strategy", [*STRATEGIES, "majority", {0: 100, 1: 30}])
def test_under_sampling_leaves_the_counts_of_imbalanced_learn(spark: SparkSession, strategy: Any) -> None:
    sampler = RandomUnderSampler(**ROLES, sampling_strategy=strategy)
    found = Counter(row["label"] for row in sampler.fit_resample(make_train(spark)).select("label").collect())
    y = np.repeat(list(CLASSES), list(CLASSES.values()))
    _, theirs = under_sampling.RandomUnderSampler(sampling_strategy=strategy).fit_resample(y.reshape(-1, 1), y)
    assert found == Counter(theirs.tolist())
    assert sampler.counts_before_ == CLASSES
    assert sampler.kept_fractions_ == {label: found[label] / n for label, n in CLASSES.items()}


@pytest.mark.parametrize("strategy", [*STRATEGIES, "minority", {1: 100, 2: 95}])
def test_over_sampling_reaches_the_counts_of_imbalanced_learn(spark: SparkSession, strategy: Any) -> None:
    sampler = RandomOverSampler(**ROLES, sampling_strategy=strategy)
    found = Counter(row["label"] for row in sampler.fit_resample(make_train(spark)).select("label").collect())
    y = np.repeat(list(CLASSES), list(CLASSES.values()))
    _, theirs = over_sampling.RandomOverSampler(sampling_strategy=strategy).fit_resample(y.reshape(-1, 1), y)
    assert found == Counter(theirs.tolist())
    assert sampler.kept_fractions_ == {label: found[label] / n for label, n in CLASSES.items()}


def test_a_smaller_sample_is_a_subset_of_a_larger_one(spark: SparkSession) -> None:
    train = make_train(spark)
    for make in (
        lambda n: RandomUnderSampler(**ROLES, sampling_strategy={0: n}).fit_resample(train),
        lambda n: sample_by_class(train, **ROLES, fractions={0: n / 900}, method="exact"),
        lambda n: sample_by_class(train, **ROLES, fractions={0: n / 900}, method="key_hash"),
    ):
        kept = [{row[0] for row in make(n).select("order_id").collect()} for n in (90, 300)]
        assert kept[0] < kept[1]


def test_fewer_copies_are_a_subset_of_more(spark: SparkSession) -> None:
    train = make_train(spark)
    few, many = (
        {tuple(row) for row in sampler.fit_resample(train).select("order_id", "copy_number").collect()}
        for sampler in (RandomOverSampler(**ROLES, sampling_strategy={2: n}) for n in (100, 250))
    )
    assert few < many


def test_every_row_is_copied_equally_often_but_for_one(spark: SparkSession) -> None:
    resampled = RandomOverSampler(**ROLES, sampling_strategy={2: 100}).fit_resample(make_train(spark))
    copies = (
        resampled.where("label = 2")
        .groupBy("order_id")
        .agg(F.max("copy_number").alias("last"), F.count("*").alias("n"))
    )
    found = [(row["last"], row["n"]) for row in copies.collect()]  # 100 = 30 rows x 3 + 10 more
    assert Counter(found) == {(2, 3): 20, (3, 4): 10}


def test_another_seed_keeps_other_rows(spark: SparkSession) -> None:
    train = make_train(spark)
    first, second = (rows_of(RandomUnderSampler(**{**ROLES, "seed": seed}).fit_resample(train)) for seed in (1, 2))
    assert first != second


def test_samplers_take_a_boolean_label_and_strategy_keys_0_and_1(spark: SparkSession) -> None:
    train = make_train(spark).withColumn("label", F.col("label") > 0)
    under = RandomUnderSampler(**ROLES, sampling_strategy={0: 50}).fit_resample(train)
    over = RandomOverSampler(**ROLES, sampling_strategy=0.5).fit_resample(train)
    assert Counter(row[0] for row in under.select("label").collect()) == {False: 50, True: 120}
    assert Counter(row[0] for row in over.select("label").collect()) == {False: 900, True: 450}


def test_under_sampling_that_leaves_one_class_is_refused(spark: SparkSession) -> None:
    sampler = RandomUnderSampler(**ROLES, sampling_strategy={1: 0, 2: 0})
    with pytest.raises(DataContractError, match=r"fewer than two classes would be left: \{0: 900 rows, 1: 0 rows"):
        sampler.fit_resample(make_train(spark))


def test_duplicate_keys_are_refused_where_counts_must_be_exact(spark: SparkSession) -> None:
    train = make_train(spark).withColumn("order_id", F.lit(1))
    with pytest.raises(DataContractError, match="RandomUnderSampler: the key is not unique"):
        RandomUnderSampler(**ROLES).fit_resample(train)


def test_a_seed_that_is_none_is_refused() -> None:
    for sampler in (RandomUnderSampler, RandomOverSampler):
        with pytest.raises(ConfigError, match=r"seed must be an integer >= 0, got -3"):
            sampler(key="order_id", label="label", seed=-3)


def test_copy_number_is_not_overwritten(spark: SparkSession) -> None:
    with pytest.raises(DataContractError, match=r"already has column \['copy_number'\]"):
        RandomOverSampler(**ROLES).fit_resample(make_train(spark).withColumn("copy_number", F.lit(0)))
