"""Boosters put together from trees, against the models that the trees are of."""

import numpy as np
import pytest
import xgboost
from hypothesis import given, settings
from hypothesis import strategies as st
from pyspark.sql import SparkSession
from pyspark.sql import functions as F
from sklearn.ensemble import IsolationForest
from support.class_rows import class_rows
from support.model_rows import FEATURES, as_spark, matrix, model_rows

from imbalance_spark.core.hashing import uniform
from imbalance_spark.scoring.boosters import load_booster, sum_of_models
from imbalance_spark.train_only.learners.isolation_forest import ROWS_A_TREE, fit_isolation_forest
from imbalance_spark.train_only.learners.xgboost import FittedBooster


def _booster(seed: int, base_score: float, rounds: int) -> xgboost.Booster:
    rows = model_rows(600, seed=seed, intercept=-1.0)
    params = {"objective": "binary:logistic", "base_score": base_score, "max_depth": 4, "seed": seed}
    return xgboost.train(params, xgboost.DMatrix(matrix(rows), rows.y, feature_names=list(FEATURES)), rounds)


def _margin(ubj: bytes, x: np.ndarray) -> np.ndarray:
    return load_booster(ubj).inplace_predict(x, predict_type="margin").astype(float)


@settings(deadline=None, max_examples=10)
@given(
    st.lists(st.tuples(st.integers(1, 50), st.floats(0.001, 0.9), st.integers(1, 12)), min_size=1, max_size=4),
    st.sampled_from([0.25, 1.0]),
)
def test_a_sum_has_a_multiple_of_the_members_margins(members: list[tuple[int, float, int]], factor: float) -> None:
    boosters = [bytes(_booster(*member).save_raw("ubj")) for member in members]
    x = matrix(model_rows(300, seed=99))
    merged = sum_of_models(boosters, factor)
    expected = factor * np.sum([_margin(ubj, x) for ubj in boosters], axis=0)
    np.testing.assert_allclose(_margin(merged, x), expected, atol=2e-5)
    assert load_booster(merged).num_boosted_rounds() == sum(rounds for _, _, rounds in members)
    assert load_booster(merged).feature_names == list(FEATURES)


@pytest.mark.parametrize(("rounds", "a_round"), [((3,), 1), ((2, 5), 1), ((4, 1, 6), 1), ((1, 2), 5)])
def test_the_mean_of_many_classes_has_the_mean_margins_of_each_class(rounds: tuple[int, ...], a_round: int) -> None:
    boosters = []
    for seed, number in enumerate(rounds):
        rows = class_rows(600, seed=seed + 1)
        params = {"objective": "multi:softprob", "num_class": 3, "base_score": [0.0, -2.0, -4.0 + seed], "max_depth": 3}
        params |= {"num_parallel_tree": a_round, "subsample": 0.5}
        data = xgboost.DMatrix(matrix(rows), rows.y, feature_names=list(FEATURES))
        boosters.append(bytes(xgboost.train(params, data, number).save_raw("ubj")))
    x, merged = matrix(class_rows(300, seed=99)), sum_of_models(boosters, 1.0 / len(boosters))
    np.testing.assert_allclose(_margin(merged, x), np.mean([_margin(one, x) for one in boosters], axis=0), atol=2e-5)
    assert load_booster(merged).num_boosted_rounds() == sum(rounds)


def _forest(spark: SparkSession, rows, **changes: object) -> FittedBooster:
    honest = int((~rows.is_early_stopping & (rows.y == 0)).sum())
    given_ = {"features": FEATURES, "key": ["order_id"], "trees": 30, "honest_rows": honest, "prior": 0.05, "seed": 3}
    return fit_isolation_forest(as_spark(spark, rows), **{**given_, **changes})


def test_the_forest_is_scikit_learns_on_honest_rows_with_missing_at_the_median(spark: SparkSession) -> None:
    rows = model_rows(3000, seed=1)
    honest = rows[~rows.is_early_stopping & (rows.y == 0)]
    # More is asked for than there is, so that the sample is all of them; the peer needs them in the same order.
    found = _forest(spark, rows)
    assert found.params["sampled_rows"] == len(honest)
    unseen = matrix(model_rows(2000, seed=2))
    margin = _margin(found.model_bytes, unseen)
    length = -(margin - np.log(0.05 / 0.95) - 8.0) / 8.0
    median = np.nanmedian(matrix(honest), axis=0)
    peer = IsolationForest(n_estimators=30, max_samples=ROWS_A_TREE, random_state=3)
    place = as_spark(spark, honest).select("order_id", uniform(["order_id"], 3, "isolation forest").alias("place"))
    ordered = honest.merge(place.orderBy(F.col("place")).toPandas(), on="order_id").sort_values("place")
    x = matrix(ordered)
    peer.fit(np.where(np.isnan(x), median, x))
    expected = -np.log2(-peer.score_samples(np.where(np.isnan(unseen), median, unseen)))
    np.testing.assert_allclose(length, expected, atol=1e-5)


def test_the_sample_is_bounded_and_only_of_honest_rows_to_fit_on(spark: SparkSession) -> None:
    rows = model_rows(4000, seed=1)
    is_read = ~rows.is_early_stopping & (rows.y == 0)
    found = _forest(spark, rows, trees=3)
    assert 600 < found.params["sampled_rows"] <= 3 * ROWS_A_TREE
    rows.loc[~is_read, [f"x_{i}" for i in range(4)]] = 1e6
    assert _forest(spark, rows, trees=3).model_bytes == found.model_bytes


@pytest.mark.parametrize("wrong", ["x_1"])
def test_a_feature_without_any_value_does_no_harm(spark: SparkSession, wrong: str) -> None:
    rows = model_rows(1000, seed=1)
    rows[wrong] = np.nan
    found = _forest(spark, rows, trees=5)
    assert np.isfinite(_margin(found.model_bytes, matrix(rows))).all()
