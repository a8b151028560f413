"""Cuts of features against XGBoost's own sketch, NumPy's quantiles and other layouts of the same rows."""

import numpy as np
import pandas as pd
import pytest
import xgboost
from pyspark.sql import SparkSession
from support.model_rows import as_spark, matrix, model_rows

from imbalance_spark.core.errors import ConfigError
from imbalance_spark.train_only.learners import cuts as cuts_module
from imbalance_spark.train_only.learners.cuts import FeatureCuts, collect_cuts, quantile_cuts


def floats(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float32)


def test_few_distinct_values_are_told_apart_by_a_cut_each() -> None:
    found = quantile_cuts([floats(3, 1, np.nan, 1), floats(2)], [1.0, 1.0], most=5)
    np.testing.assert_array_equal(found, [2, 3])


def test_a_feature_without_values_has_no_cut() -> None:
    assert len(quantile_cuts([floats(np.nan), floats()], [1.0, 1.0], most=5)) == 0


def test_plain_cuts_leave_equal_shares_of_the_rows_between_them() -> None:
    values = np.random.default_rng(1).permutation(1000).astype(np.float32)
    found = quantile_cuts([values[:990], values[990:]], [1.0, 1.0], most=9)
    np.testing.assert_array_equal(found, np.arange(100, 1000, 100))


def test_balanced_cuts_leave_equal_shares_of_the_half_half_mixture_between_them() -> None:
    draw = np.random.default_rng(2)
    frequent, rare = draw.random(10_000).astype(np.float32), (draw.random(20) * 0.01).astype(np.float32)
    found = quantile_cuts([frequent, rare], [1 / 10_000, 1 / 20], most=19)
    below = np.array([((frequent < cut).mean() + (rare < cut).mean()) / 2 for cut in found])
    # A level between two rare rows is met by the next frequent one.
    np.testing.assert_allclose(below, np.arange(1, 20) / 20, atol=0.026)
    assert (found < 0.01).sum() >= 9


@pytest.mark.parametrize("max_bin", [2, 3, 16, 256])
def test_xgboost_keeps_the_cuts_that_it_is_given(max_bin: int) -> None:
    x = matrix(model_rows(3000, seed=3))
    given = FeatureCuts(tuple(quantile_cuts([column], [1.0], max(max_bin - 2, 1)) for column in x.T))
    data = xgboost.QuantileDMatrix(x, ref=given.as_matrix(), max_bin=given.max_bin)
    start, values = data.get_quantile_cut()
    for feature, cuts in enumerate(given.by_feature):
        np.testing.assert_array_equal(values[start[feature] + 1 : start[feature + 1] - 2], cuts)


def collected(spark: SparkSession, rows: pd.DataFrame, partitions: int = 1, **changed: object) -> FeatureCuts:
    to_fit = rows[~rows.is_early_stopping]
    asked = {"features": 4, "key": ("order_id",), "seed": 7, "max_bin": 16, "kind": "plain"}
    asked |= {"fit_rows": to_fit.y.value_counts().to_dict(), **changed}
    return collect_cuts(as_spark(spark, rows).repartition(partitions), **asked)  # type: ignore[arg-type]


def test_a_small_table_is_cut_at_the_quantiles_of_all_rows_to_fit_on(spark: SparkSession) -> None:
    rows = model_rows(500, seed=4)
    x = matrix(rows[~rows.is_early_stopping])
    for cuts, column in zip(collected(spark, rows).by_feature, x.T, strict=True):
        np.testing.assert_array_equal(cuts, quantile_cuts([column], [1.0], 14))


@pytest.mark.parametrize("kind", ["plain", "balanced"])
def test_a_sample_of_each_class_gives_the_same_cuts_in_any_layout(
    spark: SparkSession, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(cuts_module, "MOST_SAMPLED_ROWS", 1000)
    rows = model_rows(4000, seed=5)
    one = collected(spark, rows, kind=kind)
    shuffled = collected(spark, rows.sample(frac=1.0, random_state=1), partitions=3, kind=kind)
    assert one.digest == shuffled.digest
    monkeypatch.undo()
    exact = collected(spark, rows, kind=kind)
    assert one.digest != exact.digest
    # The median of 500 rows is known to about 4 % of the mass.
    x = matrix(rows[~rows.is_early_stopping & (rows.y == 0)])[:, 0]
    shares = [np.nanmean(x < cuts.by_feature[0][6]) for cuts in (one, exact)]
    assert shares[0] == pytest.approx(shares[1], abs=0.1)


def test_rows_that_cannot_be_told_apart_are_not_sampled(spark: SparkSession, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuts_module, "MOST_SAMPLED_ROWS", 100)
    with pytest.raises(ConfigError, match=r"classes \[0\] have too many rows .* pass key"):
        collected(spark, model_rows(400, seed=5, intercept=-5.0), key=())
