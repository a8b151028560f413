from datetime import datetime, timedelta

import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from imbalance_spark.core.errors import ConfigError, DataContractError, MissingColumnsError
from imbalance_spark.metrics import FLAG_NOBODY, ScoreCounts
from imbalance_spark.threshold import AlertBudget, MaxFBeta, TopEntities, count_days, objective_from_config, sweep
from imbalance_spark.threshold.decisions import decisions_of

CURVE = ScoreCounts.from_arrays([1, 0, 1, 0, 1], [0.9, 0.8, 0.7, 0.6, 0.5]).curve()


@pytest.fixture(scope="module")
def orders(spark: SparkSession) -> DataFrame:
    """Ten days of 20 orders each."""
    start = datetime(2024, 1, 1, 12)
    rows = [(i, start + timedelta(days=i // 20)) for i in range(200)]
    return spark.createDataFrame(rows, "order_id int, ordered_at timestamp")


def test_a_budget_without_days_is_completed_by_with_days() -> None:
    objective = objective_from_config({"name": "alert_budget", "per_day": 2}).with_days(1.5)
    assert objective == AlertBudget(per_day=2, days=1.5)
    assert sweep(CURVE, objective).matrix.flagged == 3


def test_days_that_the_config_gave_stay() -> None:
    assert AlertBudget(per_day=2, days=1).with_days(10) == AlertBudget(per_day=2, days=1)


def test_other_objectives_have_no_use_for_days() -> None:
    assert MaxFBeta(2).with_days(10) == MaxFBeta(2)


def test_a_budget_whose_days_nobody_knows_is_refused() -> None:
    with pytest.raises(ConfigError, match="days is unknown"):
        sweep(CURVE, AlertBudget(per_day=2))


@pytest.mark.parametrize("days", [0.0, -1.0, float("nan")])
def test_days_that_cannot_be_are_refused(days: float) -> None:
    with pytest.raises(ConfigError, match=r"alert_budget.days must be"):
        AlertBudget(per_day=2).with_days(days)


def test_a_budget_below_one_row_flags_nobody() -> None:
    assert sweep(CURVE, AlertBudget(per_day=0.1, days=1)).threshold == FLAG_NOBODY


def test_a_fold_of_the_last_days_amounts_to_these_days(orders: DataFrame) -> None:
    # The last fold begins in the middle of the seventh day: half of it counts.
    assert count_days(orders, time="ordered_at", is_counted=F.col("order_id") >= 130) == pytest.approx(3.5)


def test_a_fold_of_a_tenth_of_all_rows_amounts_to_a_tenth_of_the_days(orders: DataFrame) -> None:
    assert count_days(orders, time="ordered_at", is_counted=F.col("order_id") % 10 == 0) == pytest.approx(1.0)


def test_rows_without_a_time_and_null_folds_do_not_count(orders: DataFrame) -> None:
    time = F.when(F.col("order_id") >= 20, F.col("ordered_at")).alias("ordered_at")
    is_counted = F.when(F.col("order_id") < 100, True)
    assert count_days(orders.select("order_id", time), time="ordered_at", is_counted=is_counted) == pytest.approx(4.0)


def test_what_cannot_be_counted_is_said(orders: DataFrame) -> None:
    with pytest.raises(MissingColumnsError):
        count_days(orders, time="when", is_counted=F.lit(True))
    with pytest.raises(DataContractError, match="no counted row has a time"):
        count_days(orders, time="ordered_at", is_counted=F.lit(False))


def test_a_budget_of_entities_is_one_of_the_orders_that_they_have() -> None:
    curve = ScoreCounts.from_arrays([1, 0, 1, 0, 1, 0], [0.9, 0.8, 0.7, 0.6, 0.5, 0.4]).curve()
    budget = TopEntities(per_day=1, days=2, orders_per_entity=1.5)
    assert sweep(curve, budget).threshold == sweep(curve, AlertBudget(per_day=1.5, days=2)).threshold == 0.7
    with pytest.raises(ConfigError, match=r"top_entities.orders_per_entity is unknown.*orders_per_entity of the run"):
        sweep(curve, TopEntities(per_day=1, days=2))


def test_entities_need_their_column_and_are_given_their_orders() -> None:
    entries = [{"name": "top_entities", "per_day": 2}, "max_mcc"]
    with pytest.raises(ConfigError, match=r"top_entities counts entities.*scoring.entity"):
        decisions_of(entries, "max_mcc", has_entity=False)
    found = decisions_of(entries, "top_entities_2_per_day")
    assert (found.needs_days, found.alerts_per_day) == (True, None)
    assert list(found.entities_per_day) == ["top_entities_2_per_day"]
    known = found.with_days(3.0).with_orders_per_entity({"top_entities_2_per_day": 1.5})
    assert not known.entities_per_day
    assert known.swept["top_entities_2_per_day"] == TopEntities(per_day=2, days=3.0, orders_per_entity=1.5)
