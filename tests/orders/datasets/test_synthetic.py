import json
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xgboost
from hypothesis import given, settings
from hypothesis import strategies as st
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from sklearn.metrics import average_precision_score

from imbalance_spark.core.columns import TRUE_PROBABILITY
from imbalance_spark.core.errors import ConfigError
from imbalance_spark.orders.datasets.distributions import alias_table
from imbalance_spark.orders.datasets.population import CATEGORICAL_FEATURES, IS_FRAUD, NUMERIC_FEATURES
from imbalance_spark.orders.datasets.synthetic import _kind, generate_orders
from imbalance_spark.orders.datasets.synthetic_plan import Plan
from jobs import generate_orders as job

NULLABLE = {"device_age_days", "distance_km", "session_seconds", "country", "payment_method"}


@pytest.fixture(scope="module")
def orders(spark: SparkSession) -> pd.DataFrame:
    return generate_orders(spark, rows=50_000, prevalence=0.02, seed=7).toPandas()


def test_rows_depend_on_seed_and_number_alone(spark: SparkSession) -> None:
    def made(rows: int, partitions: int) -> pd.DataFrame:
        log = generate_orders(spark, rows=rows, prevalence=0.1, seed=7, days=30, partitions=partitions)
        return log.toPandas().sort_values("order_id", ignore_index=True)

    one = made(300, 1)
    pd.testing.assert_frame_equal(one, made(300, 7), check_exact=True)
    pd.testing.assert_frame_equal(one, made(500, 3).head(300), check_exact=True)


def test_another_seed_gives_other_rows(spark: SparkSession) -> None:
    first, second = (generate_orders(spark, rows=300, prevalence=0.1, seed=seed, days=3) for seed in (7, 8))
    pairs = first.join(second, on=["order_id", "customer_id"], how="inner")
    assert pairs.count() < 30


def test_the_first_rows_are_those_of_recipe_1(orders: pd.DataFrame) -> None:
    # Recorded once: a change of any draw must come with another RECIPE.
    first = orders.sort_values("order_id").head(4)
    assert first["customer_id"].tolist() == GOLDEN["customer_id"]
    assert first["merchant_id"].tolist() == GOLDEN["merchant_id"]
    assert first["ordered_at"].astype(str).tolist() == GOLDEN["ordered_at"]
    assert first["amount"].tolist() == GOLDEN["amount"]


def test_columns_ranges_and_nulls_are_as_documented(orders: pd.DataFrame) -> None:
    assert {*NUMERIC_FEATURES, *CATEGORICAL_FEATURES} < set(orders.columns)
    assert TRUE_PROBABILITY not in {*NUMERIC_FEATURES, *CATEGORICAL_FEATURES}
    assert set(orders.columns[orders.isna().any()]) == NULLABLE
    assert orders["order_id"].tolist() == list(range(len(orders)))
    assert np.isfinite(orders[list(NUMERIC_FEATURES)].fillna(0)).all(axis=None)
    assert orders[TRUE_PROBABILITY].between(0, 1).all()
    assert (orders[TRUE_PROBABILITY] > 0).all()
    assert (orders["amount"] > 0).all()
    assert (orders["distance_km"].dropna() < 20_000).all()
    assert (orders["customer_age_days"] >= 0).all()
    at = orders["ordered_at"]
    assert (at.dt.hour == orders["hour_of_day"]).all()
    assert ((at.dt.dayofweek + 1) % 7 + 1 == orders["day_of_week"]).all()  # pandas counts from Monday = 0
    assert at.min() >= pd.Timestamp("2024-01-01")
    assert at.max() < pd.Timestamp("2024-12-31")  # 365 days of a leap year


def test_customers_keep_their_traits_and_some_order_much(orders: pd.DataFrame) -> None:
    by_customer = orders.groupby("customer_id")
    assert (by_customer["customer_activity"].nunique() == 1).all()
    mean_amount = orders["amount"] / orders["amount_over_customer_mean"]
    large = orders["amount"] > 50  # where rounding to cents moves the quotient by 1e-4 at most
    assert mean_amount[large].groupby(orders["customer_id"]).agg(lambda m: m.max() / m.min()).max() < 1.001
    per_customer = by_customer.size().sort_values(ascending=False)
    # Orders of customers below k follow sqrt(k / 100,000): the first 1,000 have a tenth of them.
    assert per_customer[per_customer.index < 1000].sum() / len(orders) == pytest.approx(0.1, rel=0.1)


def test_merchants_have_one_category(orders: pd.DataFrame) -> None:
    assert (orders.groupby("merchant_id")["merchant_category"].nunique() == 1).all()


def test_amounts_are_heavy_tailed(orders: pd.DataFrame) -> None:
    amounts = orders["amount"]
    assert amounts.quantile(0.999) > 20 * amounts.median()


@pytest.fixture(scope="module")
def by_rate(spark: SparkSession) -> pd.DataFrame:
    """Of 100,000 orders at each rate: labels, sum of probabilities and of their squares."""
    parts = [_sums(generate_orders(spark, rows=100_000, prevalence=rate, seed=11), rate) for rate in RATES]
    whole = parts[0]
    for part in parts[1:]:
        whole = whole.unionAll(part)
    return whole.toPandas().set_index("rate")


RATES = (1e-2, 1e-3, 1e-4)


def _sums(log: DataFrame, rate: float) -> DataFrame:
    p = F.col(TRUE_PROBABILITY)
    return log.agg(
        F.lit(rate).alias("rate"),
        F.count("*").alias("n"),
        F.sum("is_fraud").alias("labels"),
        F.sum(p).alias("expected"),
        F.sum(p * p).alias("squares"),
    )


@pytest.mark.parametrize("rate", RATES)
def test_prevalence_is_as_asked(by_rate: pd.DataFrame, rate: float) -> None:
    found = by_rate.loc[rate]
    mean = found["n"] * rate
    assert abs(found["labels"] - mean) < 5 * np.sqrt(mean * (1 - rate))  # binomial
    assert abs(found["expected"] - mean) < 5 * np.sqrt(found["squares"])  # bounds n times the variance of p
    if rate >= 1e-2:
        assert found["expected"] == pytest.approx(mean, rel=0.05)


def test_labels_are_drawn_with_the_true_probability(orders: pd.DataFrame) -> None:
    _assert_unbiased(orders, orders["is_fraud"])


def test_bayes_formula_agrees_with_the_kinds_that_were_drawn(spark: SparkSession) -> None:
    # The kind is latent; that it is as frequent as the formula says, wherever one looks, proves the densities.
    plan = Plan(seed=3, prevalence=0.5, start=date(2024, 1, 1), days=365)
    log = generate_orders(spark, rows=50_000, prevalence=0.5, seed=3).select("*", _kind(plan).alias("kind")).toPandas()
    assert log[TRUE_PROBABILITY].mean() == pytest.approx(0.5, rel=0.02)
    _assert_unbiased(log, log["kind"].map(dict(enumerate(IS_FRAUD))).astype(int))


def _assert_unbiased(log: pd.DataFrame, outcome: pd.Series) -> None:
    p = log[TRUE_PROBABILITY]
    residual, variance = outcome - p, p * (1 - p)
    slices = [
        pd.qcut(p, 20, labels=False),
        *(pd.qcut(log[name], 8, labels=False, duplicates="drop") for name in NUMERIC_FEATURES),
        *(log[name].fillna("missing") for name in CATEGORICAL_FEATURES),
        *(log[name].isna() for name in sorted(NULLABLE)),
        log["ordered_at"].dt.quarter,
    ]
    z = pd.concat([residual.groupby(part).sum() / np.sqrt(variance.groupby(part).sum()) for part in slices])
    assert z.abs().max() < 5


def test_the_rate_drifts_upwards(orders: pd.DataFrame) -> None:
    # A line from 0.7 to 1.3: the quarters at both ends have about 0.775 and 1.225 of the mean.
    by_quarter = orders.groupby(orders["ordered_at"].dt.quarter)[TRUE_PROBABILITY].mean()
    assert by_quarter[4] / by_quarter[1] == pytest.approx(1.225 / 0.775, rel=0.25)


def test_the_signal_is_learnable_and_the_true_probability_ranks_better(orders: pd.DataFrame) -> None:
    features = orders[list(NUMERIC_FEATURES)].astype(float)
    is_train = orders["order_id"] % 10 < 6
    train, rest = (xgboost.DMatrix(features[keep], orders["is_fraud"][keep]) for keep in (is_train, ~is_train))
    model = xgboost.train({"objective": "binary:logistic", "max_depth": 4, "nthread": 2}, train, 60)
    labels = orders["is_fraud"][~is_train]
    learnt = average_precision_score(labels, model.predict(rest))
    oracle = average_precision_score(labels, orders[TRUE_PROBABILITY][~is_train])
    assert 10 * labels.mean() < learnt < oracle < 0.9


def test_making_the_frame_starts_no_job_and_needs_no_python_worker(spark: SparkSession) -> None:
    context = spark.sparkContext
    context.setJobGroup("generate", "lazy")
    log = generate_orders(spark, rows=10, prevalence=0.1, seed=1, days=3)
    assert list(context.statusTracker().getJobIdsForGroup("generate")) == []
    assert "Python" not in log._jdf.queryExecution().toString()


def test_all_bad_arguments_are_named_at_once(spark: SparkSession) -> None:
    with pytest.raises(ConfigError) as caught:
        generate_orders(spark, rows=0, prevalence=0.7, seed=1, start="2024-13-01", days=0, partitions=0)
    for name in ("rows", "prevalence", "start", "days", "partitions"):
        assert f"generate.{name}" in str(caught.value)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(1e-6, 1e3), min_size=1, max_size=60))
def test_an_alias_table_gives_back_its_weights(weights: list[float]) -> None:
    kept, stand_in = alias_table(weights)
    found = np.zeros(len(weights))
    for slot, (share, other) in enumerate(zip(kept, stand_in, strict=True)):
        found[slot] += share / len(weights)
        found[other] += (1 - share) / len(weights)
    assert found == pytest.approx(np.array(weights) / sum(weights), abs=1e-12)


def test_job_writes_once_and_says_what_it_wrote(
    spark: SparkSession, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = str(tmp_path / "orders")
    arguments = ["--rows", "2e3", "--prevalence", "0.1", "--seed", "5", "--days", "30", "--output", output]
    assert job.main(arguments) == 0
    assert "2,000 orders" in capsys.readouterr().out
    assert job.main(arguments) == 0
    assert "[1/2] generate  2,000 rows already there  " in capsys.readouterr().err
    assert _versions(spark, output) == 1

    assert job.main([*arguments, "--seed", "6"]) == 2
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert last.startswith("ERROR 2: ")
    assert "--overwrite" in last
    assert "'seed': 5" in last
    assert _versions(spark, output) == 1

    assert job.main([*arguments, "--seed", "6", "--overwrite", "--json"]) == 0
    assert _versions(spark, output) == 2
    printed, stages = capsys.readouterr()
    record = json.loads(printed)
    assert (record["is_new"], record["rows"], sum(record["classes"].values())) == (True, 2000, 2000)
    assert not stages
    made = generate_orders(spark, rows=2000, prevalence=0.1, seed=6, days=30).select("order_id", "customer_id")
    written = spark.read.format("delta").load(output).select("order_id", "customer_id")
    assert set(written.collect()) == set(made.collect())


@pytest.mark.parametrize(
    ("shares", "expected"),
    [
        (["--prevalence", "0.01"], {"honest": 1980, "fraud": 20}),
        (
            ["--outcomes", "late_return=0.1,chargeback=0.05,fraud=0.01"],
            {"ok": 1680, "late_return": 200, "chargeback": 100, "fraud": 20},
        ),
    ],
)
def test_a_dry_run_says_what_would_be_written_and_writes_nothing(
    spark: SparkSession,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    shares: list[str],
    expected: dict[str, int],
) -> None:
    output = tmp_path / "orders"
    argv = ["--rows", "2e3", "--days", "30", "--output", str(output), *shares]
    assert job.main([*argv, "--dry-run", "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert not output.exists()
    assert (plan["is_new"], plan["rows"], plan["expected"]) == (True, 2000, expected)
    assert job.main(argv) == 0
    assert spark.read.format("delta").load(str(output)).columns == plan["columns"]
    capsys.readouterr()
    assert job.main([*argv, "--dry-run"]) == 0
    assert "is there already, nothing to write." in capsys.readouterr().out
    assert job.main([*argv, "--seed", "6", "--dry-run"]) == 2
    assert "already holds another table" in capsys.readouterr().err
    assert _versions(spark, str(output)) == 1


def test_job_refuses_a_table_that_it_did_not_write(
    spark: SparkSession, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = str(tmp_path / "other")
    spark.range(3).write.format("delta").save(output)
    assert job.main(["--rows", "10", "--output", output]) == 2
    assert "written by something else" in capsys.readouterr().err


def test_job_keeps_the_columns_that_it_is_asked_for(
    spark: SparkSession, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = str(tmp_path / "compact")
    argv = ["--rows", "500", "--days", "30", "--output", output]
    compact = [*argv, "--columns", "order_id, country,is_fraud"]
    assert job.main(compact) == 0
    written = spark.read.format("delta").load(output)
    made = generate_orders(spark, rows=500, prevalence=0.005, seed=7, days=30).select(written.columns)
    assert written.columns == ["order_id", "country", "is_fraud"]
    assert set(written.collect()) == set(made.collect())
    capsys.readouterr()
    assert job.main([*compact, "--dry-run"]) == 0
    assert "is there already" in capsys.readouterr().out
    assert job.main(argv) == 2
    assert "there: {'columns': ['order_id', 'country', 'is_fraud']}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("columns", "message"),
    [("country,is_fraud", "lacks ['order_id']"), ("order_id,is_fraud,contry", "Did you mean 'country' for 'contry'?")],
)
def test_job_refuses_columns_that_make_no_log(
    spark: SparkSession, tmp_path: Path, capsys: pytest.CaptureFixture[str], columns: str, message: str
) -> None:
    assert job.main(["--rows", "500", "--output", str(tmp_path / "none"), "--columns", columns]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "none").exists()


def test_job_reads_whole_numbers_in_any_notation() -> None:
    assert job.parse_args(["--rows", "1e8", "--output", "x"]).rows == 100_000_000
    with pytest.raises(SystemExit) as caught:
        job.parse_args(["--rows", "1.5", "--output", "x"])
    assert caught.value.code == 2


def _versions(spark: SparkSession, path: str) -> int:
    return spark.sql(f"DESCRIBE HISTORY delta.`{path}`").count()


GOLDEN: dict[str, list[object]] = {
    "customer_id": [7665, 73, 98910, 521],
    "merchant_id": [5150, 435, 14, 345],
    "ordered_at": ["2024-01-18 20:46:16", "2024-10-19 20:22:10", "2024-08-15 21:40:24", "2024-02-29 10:59:00"],
    "amount": [42.59, 46.86, 15.05, 64.72],
}
