"""SMOTEN and its value difference metric against imbalanced-learn."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from imblearn.metrics.pairwise import ValueDifferenceMetric
from pyspark.sql import DataFrame, SparkSession
from sklearn.preprocessing import OrdinalEncoder
from support.sampler_checks import CHECKS

from imbalance_spark.core.errors import ConfigError, DataContractError
from imbalance_spark.train_only.sampling import SMOTEN
from imbalance_spark.train_only.sampling import smote_categorical as smoten
from imbalance_spark.train_only.sampling.feature_scale import FeatureScale
from imbalance_spark.train_only.sampling.neighbours import space as value_difference
from imbalance_spark.train_only.sampling.neighbours.space import ValueDifferenceSpace

NAMES = ["colour", "size", "shop"]
ROLES: dict[str, Any] = {"key": "order_id", "label": "label", "seed": 7}


def made_table(classes: int) -> pd.DataFrame:
    draws = np.random.default_rng(classes)
    y = np.repeat(np.arange(classes), [240, 80, 60][:classes])
    table = pd.DataFrame({"order_id": np.arange(len(y)), "label": y, "split": "train"})
    for number, name in enumerate(NAMES):
        values = draws.integers(0, 5 + 3 * number, len(y)) + (draws.random(len(y)) < 0.4) * y
        table[name] = np.array([f"{name[0]}{value:02d}" for value in values])
    return table


def distances_of_imbalanced_learn(table: pd.DataFrame, label: int) -> np.ndarray:
    encoder = OrdinalEncoder(dtype=np.int32)
    x = encoder.fit_transform(table[NAMES])
    metric = ValueDifferenceMetric(n_categories=[len(c) for c in encoder.categories_], k=1, r=2)
    return np.asarray(metric.fit(x, table.label).pairwise(x[table.label == label]))


@pytest.mark.parametrize("exact_rows", [0, 1000])
@pytest.mark.parametrize("classes", [2, 3])
def test_rows_are_what_the_nearest_by_value_difference_elect(
    spark: SparkSession, classes: int, exact_rows: int
) -> None:
    table = made_table(classes)
    sampler = SMOTEN(**ROLES, features=NAMES, k_neighbors=3, sampling_strategy={1: 300}, exact_rows=exact_rows)
    made = sampler.fit_resample(spark.createDataFrame(table)).where("is_synthetic").toPandas()
    assert len(made) == 220
    assert made.neighbour_id.isna().all()
    assert made.gap.isna().all()
    squares = distances_of_imbalanced_learn(table, 1)
    np.fill_diagonal(squares, -1.0)
    mine = table[table.label == 1].reset_index(drop=True)
    row_of = {order_id: row for row, order_id in enumerate(mine.order_id)}
    certain = 0
    for parent, found in zip(made.parent_id, made[NAMES].itertuples(index=False), strict=True):
        near = np.argsort(squares[row_of[parent]], kind="stable")
        if squares[row_of[parent], near[4]] - squares[row_of[parent], near[3]] < 1e-9:
            continue  # which of equally near rows votes is not said
        certain += 1
        voters = mine.loc[near[:4], NAMES]
        assert list(found) == [voters[name].mode().min() for name in NAMES]
    assert certain > 40


@pytest.mark.parametrize("classes", [2, 3])
def test_the_distance_is_that_of_imbalanced_learn(classes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(value_difference, "_BLOCK_NUMBERS", 1000)
    table = made_table(classes)
    shares = [pd.crosstab(table[name], table.label, normalize="index").loc[table[name]].to_numpy() for name in NAMES]
    values = np.hstack(shares)[table.label == 1]
    width = values.shape[1]
    scale = FeatureScale(divisors=(1.0,) * width, means=(0.0,) * width)
    space = ValueDifferenceSpace(numeric=("p",) * width, scale=scale, classes=classes)
    expected = distances_of_imbalanced_learn(table, 1)
    np.testing.assert_allclose(space.squares(values, values), expected, atol=1e-12)
    found = space.nearest(values, values, 4, np.arange(len(values)))
    np.fill_diagonal(expected, np.inf)
    np.testing.assert_allclose(found.distances, np.sqrt(np.sort(expected, axis=1)[:, :4]), atol=1e-7)
    assert not (found.positions == np.arange(len(values))[:, None]).any()


def test_null_is_a_category_and_wins_only_alone(spark: SparkSession) -> None:
    # Only rows of class 1 lack `u`, so those who lack it are nearest to each other.
    rows = [(i, int(i >= 40), "train", None if i >= 40 and i % 2 else "a", None) for i in range(50)]
    train = spark.createDataFrame(rows, "order_id long, label int, split string, u string, v string")
    sampler = SMOTEN(**ROLES, features=["u", "v"], k_neighbors=1, sampling_strategy={1: 30})
    made = sampler.fit_resample(train).where("is_synthetic").collect()
    assert {row["v"] for row in made} == {None}
    assert all(row["u"] == (None if row["parent_id"] % 2 else "a") for row in made)


def test_what_smoten_cannot_do_is_refused(spark: SparkSession, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="names no column"):
        SMOTEN(**ROLES, features=[]).fit_resample(spark.createDataFrame(made_table(2)))
    monkeypatch.setattr(smoten, "MOST_VALUES", 20)
    with pytest.raises(DataContractError, match=r"more than 20 distinct values together.*'"):
        SMOTEN(**ROLES, features=NAMES).fit_resample(spark.createDataFrame(made_table(2)))


LIGHT = ("layout", "leak", "schema", "class_totals")


@pytest.mark.parametrize("check", [c for c in CHECKS if any(w in c.__name__ for w in LIGHT)], ids=lambda c: c.__name__)
def test_smoten_keeps_the_promises(spark: SparkSession, check: Any) -> None:
    def resample(train: DataFrame) -> DataFrame:
        made = SMOTEN(**ROLES, features=["amount.eur"], sampling_strategy={2: 100}).fit_resample(train)
        return made.drop("parent_id", "neighbour_id", "gap")

    check(spark, resample)
