"""Generated logs of several outcomes: their shares, their known probabilities, and the job that writes them."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pyspark.sql import SparkSession
from sklearn.metrics import average_precision_score

from imbalance_spark.core.errors import ConfigError
from imbalance_spark.orders.datasets.population import CATEGORICAL_FEATURES, NUMERIC_FEATURES, OUTCOMES
from imbalance_spark.orders.datasets.synthetic import generate_outcomes
from jobs import generate_orders as job

SHARES = {"late_return": 0.1, "chargeback": 0.05, "fraud": 0.03}
TRUTH = [f"true_probability_{outcome}" for outcome in OUTCOMES]


@pytest.fixture(scope="module")
def orders(spark: SparkSession) -> pd.DataFrame:
    return generate_outcomes(spark, rows=40_000, shares=SHARES, seed=7).toPandas()


def test_probabilities_sum_to_one_and_stand_beside_the_usual_columns(orders: pd.DataFrame) -> None:
    assert {"order_id", "customer_id", "ordered_at", "outcome", *NUMERIC_FEATURES, *CATEGORICAL_FEATURES, *TRUTH} <= {
        *orders.columns
    }
    assert "is_fraud" not in orders.columns
    np.testing.assert_allclose(orders[TRUTH].sum(axis=1), 1.0, atol=1e-12)
    assert set(orders["outcome"]) == set(OUTCOMES)


def test_outcomes_are_drawn_with_their_true_probabilities_at_the_shares_asked(orders: pd.DataFrame) -> None:
    for outcome, name in zip(OUTCOMES, TRUTH, strict=True):
        is_outcome, p = orders["outcome"] == outcome, orders[name]
        share = SHARES.get(outcome, 1.0 - sum(SHARES.values()))
        assert abs(p.mean() - share) < 5 * np.sqrt(np.mean(p**2) / len(p))
        # Wherever one looks: by probability, by feature, over time.
        for part in (
            pd.qcut(p, 20, labels=False, duplicates="drop"), orders["items"].clip(upper=8), orders["channel"],
            orders["merchant_category"], orders["payment_method"].fillna("-"), orders["ordered_at"].dt.quarter,
        ):  # fmt: skip
            z = (is_outcome - p).groupby(part).sum() / np.sqrt((p * (1 - p)).groupby(part).sum())
            assert z.abs().max() < 5


def test_every_rare_outcome_can_be_told_and_none_for_certain(orders: pd.DataFrame) -> None:
    for outcome, name in zip(OUTCOMES[1:], TRUTH[1:], strict=True):
        found = average_precision_score(orders["outcome"] == outcome, orders[name])
        assert 3 * SHARES[outcome] < found < 0.95


def test_a_longer_log_begins_with_the_shorter_one(spark: SparkSession) -> None:
    def made(rows: int, partitions: int) -> pd.DataFrame:
        log = generate_outcomes(spark, rows=rows, shares=SHARES, seed=7, days=30, partitions=partitions)
        return log.toPandas().sort_values("order_id", ignore_index=True)

    pd.testing.assert_frame_equal(made(200, 1), made(300, 3).head(200), check_exact=True)


def test_shares_that_cannot_be_are_refused_together(spark: SparkSession) -> None:
    with pytest.raises(ConfigError) as caught:
        generate_outcomes(spark, rows=0, shares={"late_return": 0.6, "frode": 0.1}, seed=1)
    for said in ("generate.rows", "'late_return'] must be in (0, 0.5], got 0.6", "Did you mean 'fraud' for 'frode'"):
        assert said in str(caught.value)
    with pytest.raises(ConfigError, match=r"sum to 0\.6, at most 0\.5"):
        generate_outcomes(spark, rows=1, shares=dict.fromkeys(SHARES, 0.2), seed=1)


def test_the_job_takes_the_shares_and_says_what_it_wrote(
    spark: SparkSession, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["--rows", "2e3", "--days", "30", "--output", str(tmp_path / "orders")]
    outcomes = ["--outcomes", "late_return=0.1,chargeback=0.05,fraud=0.03"]
    assert job.main([*asked, *outcomes]) == 0
    rows = spark.read.format("delta").load(str(tmp_path / "orders")).toPandas()["outcome"].value_counts()
    assert f"2,000 orders, {rows['ok']:,} ok" in (said := capsys.readouterr().out)
    assert f"{rows['fraud']} fraud" in said
    assert job.main([*asked, *outcomes]) == 0
    assert "already there" in capsys.readouterr().err
    assert job.main([*asked, "--outcomes"]) == 2
    assert "already holds another table" in capsys.readouterr().err
    for bad in (["--outcomes", "fraud"], ["--outcomes", "--prevalence", "0.1"]):
        with pytest.raises(SystemExit) as caught:
            job.parse_args([*asked, *bad])
        assert caught.value.code == 2
