"""Logs shifted by a known size: what moves, what does not, and that true probabilities stay exact."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pyspark.sql import SparkSession

from imbalance_spark.core.arrays import logit
from imbalance_spark.core.columns import TRUE_PROBABILITY
from imbalance_spark.core.errors import ConfigError
from imbalance_spark.orders.datasets.synthetic import generate_orders
from imbalance_spark.orders.datasets.synthetic_plan import OrderShift, Plan, checked_start
from jobs import generate_orders as job

ROWS, PREVALENCE = 40_000, 0.02
FEATURES = ["customer_id", "ordered_at", "amount", "items", "hour_of_day", "channel"]
"""Without missing values: two of these are not equal in pandas."""


def _log(spark: SparkSession, shift: str | None, prevalence: float = PREVALENCE) -> pd.DataFrame:
    asked = None if shift is None else OrderShift.parse(shift)
    log = generate_orders(spark, rows=ROWS, prevalence=prevalence, seed=11, days=1, shift=asked)
    return log.toPandas().sort_values("order_id", ignore_index=True)


@pytest.fixture(scope="module")
def unshifted(spark: SparkSession) -> pd.DataFrame:
    return _log(spark, None)


def test_a_label_shift_is_another_prevalence(spark: SparkSession) -> None:
    pd.testing.assert_frame_equal(_log(spark, "label=2.5"), _log(spark, None, 2.5 * PREVALENCE), check_exact=True)


def test_under_a_concept_shift_orders_stay_and_their_log_odds_are_scaled(
    spark: SparkSession, unshifted: pd.DataFrame
) -> None:
    shifted = _log(spark, "concept=0.6")
    pd.testing.assert_frame_equal(shifted[FEATURES], unshifted[FEATURES], check_exact=True)
    centre = np.log(PREVALENCE / (1.0 - PREVALENCE))
    before, after = (logit(log[TRUE_PROBABILITY].to_numpy().clip(1e-12, 1 - 1e-9)) for log in (unshifted, shifted))
    inner = np.abs(before - centre) < 15.0
    assert after[inner] - centre == pytest.approx(0.6 * (before[inner] - centre), abs=1e-6)


def test_a_covariate_shift_moves_orders_and_not_what_they_mean(spark: SparkSession, unshifted: pd.DataFrame) -> None:
    shifted = _log(spark, "covariate=3")
    same = (shifted[FEATURES] == unshifted[FEATURES]).all(axis=1)
    # Of the honest orders, 2 x 6 % are of another kind now.
    assert 1.0 - same.mean() == pytest.approx(0.12 * (1.0 - PREVALENCE), abs=0.02)
    assert shifted.loc[same, TRUE_PROBABILITY].tolist() == unshifted.loc[same, TRUE_PROBABILITY].tolist()


@pytest.mark.parametrize("shift", ["covariate=3", "label=2.5", "concept=0.6", "concept=1.5"])
def test_true_probabilities_are_exact_under_every_shift(spark: SparkSession, shift: str) -> None:
    log = _log(spark, shift)
    p = log[TRUE_PROBABILITY]
    assert p.between(0.0, 1.0).all()
    for part in (p < 0.01, (p >= 0.01) & (p < 0.2), p >= 0.2):
        expected, variance = p[part].sum(), (p[part] * (1.0 - p[part])).sum()
        assert abs(log.loc[part, "is_fraud"].sum() - expected) < 4.0 * np.sqrt(variance)


def test_a_size_of_one_is_no_shift(spark: SparkSession, unshifted: pd.DataFrame) -> None:
    for kind in ("covariate", "label"):
        pd.testing.assert_frame_equal(_log(spark, f"{kind}=1"), unshifted, check_exact=True)
    assert _log(spark, "concept=1")[TRUE_PROBABILITY].to_numpy() == pytest.approx(unshifted[TRUE_PROBABILITY])


@pytest.mark.parametrize("size", [0.5, 3.0, 16.0])
def test_drawn_shares_sum_to_one_and_tell_the_size(size: float) -> None:
    first = checked_start(rows=1, prevalence=0.1, start="2024-01-01", days=3, partitions=None)
    plan = Plan(seed=1, prevalence=0.1, start=first, days=3, shift=OrderShift(kind="covariate", size=size))
    assert sum(plan.drawn_shares.values()) == pytest.approx(1.0)
    assert min(plan.drawn_shares.values()) >= 0.0
    assert plan.drawn_shares[1] == pytest.approx(size * plan.priors[1])


@pytest.mark.parametrize(
    "text", ["covariate", "drift=2", "label=0", "label=-1", "covariate=17", "concept=nan", "concept=x"]
)
def test_what_is_no_shift_is_refused_with_the_limits(text: str) -> None:
    with pytest.raises(ConfigError, match="KIND=SIZE with a size above 0: covariate up to 16"):
        OrderShift.parse(text)


def test_more_fraud_than_half_of_the_orders_is_refused(spark: SparkSession) -> None:
    with pytest.raises(ConfigError, match=r"label=30: the share of fraud would be 0\.6"):
        generate_orders(spark, rows=10, prevalence=0.02, seed=1, shift=OrderShift.parse("label=30"))


def test_the_job_writes_shifted_logs_and_tells_them_apart(
    spark: SparkSession, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["--rows", "500", "--days", "2", "--output", f"{tmp_path}/orders", "--quiet"]
    assert job.main([*argv, "--shift", "concept=0.5", "--dry-run"]) == 0
    assert "500 orders, shifted by concept=0.5." in capsys.readouterr().out
    assert job.main([*argv, "--shift", "concept=0.5"]) == 0
    assert job.main([*argv, "--shift", "concept=0.5", "--dry-run"]) == 0
    assert "is there already" in capsys.readouterr().out
    assert job.main([*argv, "--shift", "label=2"]) == 2
    assert "already holds another table" in capsys.readouterr().err
    assert job.main([*argv, "--shift", "label=2", "--outcomes"]) == 2
    assert "is of logs of fraud or not" in capsys.readouterr().err
