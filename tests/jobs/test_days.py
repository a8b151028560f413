"""Every day after the first, by the jobs alone: a short form of `python -m benchmarks days`."""

import contextlib

import numpy as np
import pandas as pd
import pytest
import xgboost
from mlflow.tracking import MlflowClient
from pyspark.sql import SparkSession
from support.made_up_comparison import target_counts
from support.mlflow_store import new_store

from benchmarks.simulated_days import (
    COSTS,
    MODEL,
    Day,
    Shop,
    judged_orders,
    orders_of_days,
    realised_by_day,
    score_arrived,
    simulated_days,
)
from imbalance_spark.calibration import LogOddsCalibration, PriorCorrection
from imbalance_spark.core.columns import TEST, VALIDATION
from imbalance_spark.metrics.buckets import BUCKETS
from imbalance_spark.orders.labels import LabelEncoding
from imbalance_spark.orders.model_inputs import CategoryEncoding
from imbalance_spark.scoring.bundle import ModelBundle
from imbalance_spark.scoring.held_out_counts import HeldOutCounts
from imbalance_spark.scoring.scorer import Scorer
from imbalance_spark.threshold.class_rules import ClassThresholds
from imbalance_spark.tracking import runs
from imbalance_spark.tracking.config import TrackingConfig
from imbalance_spark.tracking.models import log_bundle, register_version
from imbalance_spark.tracking.registry import load_registered_model

OBJECTIVE = "min_cost_fn_10_fp_1"
DAYS, SHIFT_DAY = 3, 1
NUMERIC = ("amount_over_customer_mean", "orders_last_24h", "device_age_days", "distance_km", "session_seconds")


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory, spark: SparkSession) -> Shop:
    home = tmp_path_factory.mktemp("shop")
    shop = Shop(home=home, uri=new_store(home), numeric=NUMERIC, days=DAYS, shift_day=SHIFT_DAY, label_delay_days=1)
    _register_champion(spark, shop)
    return shop


def _register_champion(spark: SparkSession, shop: Shop) -> None:
    """A booster of generated orders, calibrated and counted on others, as version 1 with the alias."""
    orders = orders_of_days(spark, shop, -8, 0).toPandas()
    x, y = orders[[*NUMERIC]].to_numpy(dtype=np.float32), orders["is_fraud"].to_numpy()
    is_train = np.arange(len(y)) < 6_000
    params = {"objective": "binary:logistic", "max_depth": 3, "learning_rate": 0.3, "nthread": 1}
    booster = xgboost.train(params, xgboost.DMatrix(x[is_train], y[is_train]), 20)
    score, label = booster.inplace_predict(x[~is_train]), y[~is_train]
    bucket = np.arange(len(label)) % BUCKETS
    counts = target_counts(dict.fromkeys((VALIDATION, TEST), (label, score, bucket)))
    threshold = COSTS.fp / (COSTS.fp + COSTS.fn)
    bundle = ModelBundle(
        strategy="none", model_bytes=bytes(booster.save_raw("ubj")), numeric=NUMERIC, categorical=(),
        categories=CategoryEncoding(values={}), label=LabelEncoding(classes=("0", "1")),
        correction=PriorCorrection.identity(), calibrator=LogOddsCalibration.fit_with_prior(counts.validation),
        rules={OBJECTIVE: ClassThresholds.of_threshold(threshold)}, serve_objective=OBJECTIVE,
    )  # fmt: skip
    with contextlib.chdir(shop.home):
        experiment_id = runs.connect(TrackingConfig(uri=shop.uri, experiment="model"))
        with runs.tracked_run(experiment_id, "none", runs.strategy_identity("run", "none")) as run_id:
            records = HeldOutCounts(targets=(counts,), importance=dict.fromkeys(NUMERIC, 1.0)).to_records()
            runs.log_evidence(run_id, runs.Evidence(documents={"counts.json": records}))
            register_version(MODEL, log_bundle(run_id, bundle), {})
        MlflowClient().set_registered_model_alias(MODEL, "champion", "1")


@pytest.fixture(scope="module")
def days(spark: SparkSession, shop: Shop) -> list[Day]:
    return list(simulated_days(spark, shop))


@pytest.fixture(scope="module")
def orders(spark: SparkSession, shop: Shop, days: list[Day]) -> pd.DataFrame:
    return judged_orders(spark, shop)


def test_each_order_is_scored_once_by_the_version_that_was_champion(
    shop: Shop, days: list[Day], orders: pd.DataFrame
) -> None:
    assert orders["order_id"].is_unique
    by_day = orders.groupby("day")["model_version"].agg(["size", "unique"])
    assert by_day["size"].tolist() == [shop.orders_a_day] * DAYS
    assert [list(versions) for versions in by_day["unique"]] == [[day.champion] for day in days]
    assert score_arrived(shop)[1]["is_new"] is False


def test_a_day_that_is_monitored_again_is_the_same_and_one_run(shop: Shop, days: list[Day]) -> None:
    assert [day.again is None for day in days] == [False, False, True]
    assert all(day.again in (None, day.report) for day in days)
    client = MlflowClient(shop.uri)
    experiment = client.get_experiment_by_name("days")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id], "params.window_days = '1'")
    assert sorted(run.data.params["day"] for run in runs) == [shop.day(number).isoformat() for number in range(DAYS)]


def test_the_alarm_fires_after_the_shift_and_its_command_ends_it(days: list[Day]) -> None:
    assert [day.code for day in days] == [0, 4, 0]
    assert "base_rate" in days[SHIFT_DAY].alarms
    assert [day.champion for day in days] == ["1", "1", "2"]
    assert [day.retuned is not None for day in days] == [False, True, False]
    importance = {
        drift["name"]: drift["importance"] for drift in days[-1].report["drift"] if drift["kind"] == "feature"
    }
    assert importance == dict.fromkeys(NUMERIC, pytest.approx(0.2))  # as the first version's


def test_labels_that_mature_say_what_they_say_of_the_scored_table(
    shop: Shop, days: list[Day], orders: pd.DataFrame
) -> None:
    found = realised_by_day(orders)
    for day in days[shop.label_delay_days : SHIFT_DAY + 1]:
        [version] = day.report["versions"]
        assert version["labelled"]["orders"] == shop.orders_a_day
        assert version["labelled"]["found"] == pytest.approx(found[day.number - shop.label_delay_days])


def test_estimates_without_labels_hold_what_labels_say_later(days: list[Day], orders: pd.DataFrame) -> None:
    found = realised_by_day(orders)
    held = [estimate.holds(found[day.number][name]) for day in days for name, estimate in day.estimates.items()]
    assert np.mean(held) >= 0.8  # of 18 intervals at 95 %; the six of a day go together
    [version] = days[SHIFT_DAY].report["versions"]
    moved = days[SHIFT_DAY].estimates["base_rate"]
    assert version["expected"]["base_rate"]["high"] < found[SHIFT_DAY]["base_rate"]
    assert moved.low <= found[SHIFT_DAY]["base_rate"] <= moved.high


def test_the_promoted_version_serves_the_threshold_of_the_new_base_rate(
    shop: Shop, days: list[Day], orders: pd.DataFrame
) -> None:
    retuned = days[SHIFT_DAY].retuned
    assert retuned is not None
    arrived = pd.concat(
        [pd.read_parquet(file) for file in sorted((shop.home / "orders").glob(f"{SHIFT_DAY + 1:04}_*"))]
    )
    first = (
        Scorer(load_registered_model(shop.uri, f"models:/{MODEL}/1").bundle).score(arrived)["probability"].to_numpy()
    )
    # Saerens: the odds of fraud move by those of the base rates; Elkan: the threshold stays fp / (fp + fn).
    new, old = retuned["base_rate"]["new"], retuned["base_rate"]["validation"]["rate"]
    odds = first / (1.0 - first) * (new / (1.0 - new)) / (old / (1.0 - old))
    wanted = pd.Series(odds / (1.0 + odds), index=arrived["order_id"].to_numpy()).sort_index()
    served = orders[orders["day"] == SHIFT_DAY + 1].set_index("order_id")
    np.testing.assert_allclose(served["probability"], wanted, rtol=1e-9)
    assert served["decision"].tolist() == (wanted >= COSTS.fp / (COSTS.fp + COSTS.fn)).astype(int).tolist()

    def expected_cost(flagged: pd.Series) -> float:
        """By the true probabilities, which the generator knows."""
        p = served["true_probability"]
        return float((p * COSTS.fn * ~flagged).sum() + ((1.0 - p) * COSTS.fp * flagged).sum())

    stale = pd.Series(first, index=arrived["order_id"].to_numpy()).sort_index() >= COSTS.fp / (COSTS.fp + COSTS.fn)
    assert expected_cost(served["decision"] == 1) < expected_cost(stale)
