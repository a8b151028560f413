"""Labels joined with scored orders: which count, what they stand for, and when a day is counted for the last time."""

from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from imbalance_spark.core.errors import DataContractError
from imbalance_spark.core.spark_errors import as_own_error
from imbalance_spark.monitoring.config import MonitoringConfig
from imbalance_spark.monitoring.counts import (
    collect_labelled_cells,
    collect_labels,
    read_scored,
    write_label_counts,
)
from imbalance_spark.orders.labels import LabelEncoding

MONDAY, TUESDAY, WEDNESDAY = (date(2024, 5, day) for day in (6, 7, 8))
ROWS = (
    # order, probability, decision, marked for review, propensity; then the label, if it is known
    (1, 0.9, 1, True, 1.0, 1),
    (2, 0.8, 1, True, 1.0, 0),
    (3, 0.1, 0, True, 0.5, 1),
    (4, 0.1, 0, True, 0.5, 0),
    (5, 0.1, 0, False, 0.5, None),
    (6, 0.1, 0, False, 0.5, 1),  # a customer called, though nobody reviewed it
    (7, 0.2, 0, True, 0.5, None),
)
SCHEMA = "order_id int, probability double, decision int, for_review boolean, review_propensity double"


def _write(spark: SparkSession, home: Path, columns: str = "*") -> MonitoringConfig:
    rows = spark.createDataFrame([row[:5] for row in ROWS], SCHEMA)
    stamp = datetime(2024, 5, 6, 12, tzinfo=UTC)
    stamped = rows.selectExpr(
        *columns.split(", "), "'1' AS model_version", f"timestamp '{stamp.isoformat()}' AS scored_at"
    )
    stamped.write.format("delta").save(f"{home}/scored")
    labels = [(row[0], row[5]) for row in ROWS if row[5] is not None]
    spark.createDataFrame(labels, "order_id int, is_fraud int").write.format("delta").save(f"{home}/labels")
    return MonitoringConfig(
        scored=f"{home}/scored", output=f"{home}/counts", labels=f"{home}/labels", label_delay_days=1
    )


def _count(spark: SparkSession, config: MonitoringConfig, today: date) -> None:
    scored = read_scored(spark, config, None)
    write_label_counts(
        spark, config, scored, key=["order_id"], label="is_fraud", encoding=LabelEncoding(classes=("0", "1")),
        today=today,
    )  # fmt: skip


def test_labels_of_reviewed_orders_count_with_the_inverse_of_their_propensity(
    spark: SparkSession, tmp_path: Path
) -> None:
    config = _write(spark, tmp_path)
    _count(spark, config, TUESDAY)
    cells = collect_labelled_cells(spark, config, [MONDAY], "1")
    counting = cells[cells["is_labelled"] & (cells["weight"] > 0)]
    assert (counting["n"] * counting["weight"]).sum() == 2 * 1.0 + 2 * 2.0
    assert (counting["positives"] * counting["weight"]).sum() == 1.0 + 2.0
    assert cells["n"].sum() == len(ROWS)
    assert cells["p"].sum() == pytest.approx(sum(row[1] for row in ROWS))


def test_without_a_control_sample_each_label_counts_once(spark: SparkSession, tmp_path: Path) -> None:
    config = _write(spark, tmp_path, columns="order_id, probability, decision")
    _count(spark, config, TUESDAY)
    cells = collect_labelled_cells(spark, config, [MONDAY], "1")
    assert set(cells["weight"]) == {1.0}
    assert cells.loc[cells["is_labelled"], "positives"].sum() == 3


def test_a_day_is_counted_again_until_its_labels_are_complete(spark: SparkSession, tmp_path: Path) -> None:
    config = _write(spark, tmp_path)
    late = spark.createDataFrame([(7, 1)], "order_id int, is_fraud int")
    _count(spark, config, MONDAY)
    assert not collect_labels(spark, config, TUESDAY)["final"].any()
    late.write.format("delta").mode("append").save(f"{tmp_path}/labels")
    _count(spark, config, TUESDAY)
    labels = collect_labels(spark, config, TUESDAY)
    assert labels["final"].all()
    assert labels.loc[labels["label"] == 1, "n"].sum() == 4
    late.selectExpr("5 AS order_id", "is_fraud").write.format("delta").mode("append").save(f"{tmp_path}/labels")
    _count(spark, config, TUESDAY)
    assert collect_labels(spark, config, TUESDAY)["n"].tolist() == labels["n"].tolist()


def test_the_report_of_an_earlier_day_takes_nothing_from_later_ones(spark: SparkSession, tmp_path: Path) -> None:
    config = _write(spark, tmp_path)
    scored = spark.read.format("delta").load(config.scored)
    later = scored.selectExpr(
        "* EXCEPT (order_id, scored_at)", "order_id + 100 AS order_id", f"timestamp '{WEDNESDAY} 12:00' AS scored_at"
    )
    later.select(scored.columns).write.format("delta").mode("append").save(config.scored)
    _count(spark, config, WEDNESDAY)
    before = collect_labels(spark, config, WEDNESDAY)
    assert before.groupby("day")["n"].sum().to_dict() == {MONDAY: len(ROWS), WEDNESDAY: len(ROWS)}
    _count(spark, config, TUESDAY)
    _count(spark, config, MONDAY)
    assert collect_labels(spark, config, WEDNESDAY).equals(before)
    assert set(collect_labels(spark, config, TUESDAY)["day"]) == {MONDAY}


def test_two_labels_of_one_order_are_refused(spark: SparkSession, tmp_path: Path) -> None:
    config = _write(spark, tmp_path)
    twice = spark.createDataFrame([(1, 0)], "order_id int, is_fraud int")
    twice.write.format("delta").mode("append").save(f"{tmp_path}/labels")
    with pytest.raises(Exception, match="two rows have one key") as refused:
        _count(spark, config, TUESDAY)
    assert isinstance(as_own_error(refused.value), DataContractError)
