from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from imbalance_spark.core.errors import ConfigError, MissingColumnsError
from imbalance_spark.orders.datasets import PREPARATIONS
from imbalance_spark.orders.datasets.retail import prepare_retail, retail_lines

SCHEMA = (
    "InvoiceNo string, StockCode string, Description string, Quantity bigint, InvoiceDate timestamp_ntz, "
    "UnitPrice double, CustomerID bigint, Country string"
)
REAL_LOG = Path(__file__).parents[4] / "shared" / "data" / "online_retail.parquet"
START = datetime(2011, 1, 3, 8)
LABELS = ["is_cancelled_within_7_days", "is_label_known"]


def log_of(spark: SparkSession, rows: list[tuple[object, ...]]) -> DataFrame:
    return spark.createDataFrame(rows, SCHEMA)


def sale(
    invoice: str, day: float, *, item: str = "22", customer: int | None = 1, quantity: int = 2, price: float = 1.5
) -> tuple[object, ...]:
    return (invoice, item, "A THING", quantity, START + timedelta(days=day), price, customer, "France")


def cancellation(day: float, *, item: str = "22", customer: int | None = 1) -> tuple[object, ...]:
    return ("C9", item, "A THING", -1, START + timedelta(days=day), 1.5, customer, "France")


@pytest.fixture(scope="module")
def random_log() -> list[tuple[object, ...]]:
    """1,200 lines of 40 days: few customers and items, so that histories, ties and duplicates are many."""
    draw = np.random.default_rng(5)
    rows: list[tuple[object, ...]] = []
    for invoice in range(400):
        customer = int(draw.integers(12)) if draw.random() < 0.9 else None
        at = START + timedelta(minutes=int(draw.integers(40 * 24)) * 60)
        is_cancelled = draw.random() < 0.2
        for _ in range(3):
            item, quantity = str(draw.integers(8)), int(draw.integers(1, 4))
            number = f"C{invoice}" if is_cancelled else str(invoice)
            signed = -quantity if is_cancelled else quantity
            rows.append((number, item, None, signed, at, float(draw.integers(5)) / 4, customer, "France"))
    return rows


@pytest.fixture(scope="module")
def lines(spark: SparkSession, random_log: list[tuple[object, ...]]) -> pd.DataFrame:
    return by_key(retail_lines(log_of(spark, random_log)))


def by_key(frame: DataFrame) -> pd.DataFrame:
    return frame.toPandas().set_index("order_line_id").sort_index()


def test_what_happens_later_changes_no_feature_and_no_key(
    spark: SparkSession, random_log: list[tuple[object, ...]], lines: pd.DataFrame
) -> None:
    # The central promise: a log that ends at time t gives lines up to t the features they have in the full log.
    at = F.col("InvoiceDate")
    full = log_of(spark, random_log)
    for day in (10, 25):
        end = START + timedelta(days=day)
        cut = by_key(retail_lines(full.where(at <= F.lit(end).cast("timestamp_ntz")))).drop(columns=LABELS)
        assert len(cut) > 100
        pd.testing.assert_frame_equal(cut, lines[lines["ordered_at"] <= end].drop(columns=LABELS), check_exact=True)


def test_row_order_and_partitions_change_nothing(
    spark: SparkSession, random_log: list[tuple[object, ...]], lines: pd.DataFrame
) -> None:
    shuffled = log_of(spark, random_log[::-1]).repartition(7)
    pd.testing.assert_frame_equal(by_key(retail_lines(shuffled)), lines, check_exact=True)


def test_label_and_history_equal_a_slow_twin(random_log: list[tuple[object, ...]], lines: pd.DataFrame) -> None:
    columns = ["invoice", "item", "description", "quantity", "at", "price", "customer", "country"]
    log = pd.DataFrame(random_log, columns=columns)
    is_cancellation = log["invoice"].str.startswith("C")
    sales = log[~is_cancellation & (log["quantity"] > 0) & (log["price"] > 0)].copy()
    sales["amount"] = sales["price"] * sales["quantity"]
    cancelled = log[is_cancellation]
    assert len(lines) == sales["customer"].notna().sum()
    assert lines["is_cancelled_within_7_days"].sum() > 20
    for key, line in lines.iterrows():
        at, item, customer = line["ordered_at"], line["stock_code"], line["customer_id"]
        same = cancelled[(cancelled["customer"] == customer) & (cancelled["item"] == item)]
        past, past_cancelled = sales[sales["at"] < at], cancelled[cancelled["at"] < at]
        own, own_cancelled = past[past["customer"] == customer], past_cancelled[past_cancelled["customer"] == customer]
        of_item = past[past["item"] == item]
        expected = {
            "is_cancelled_within_7_days": int(same["at"].between(at, at + timedelta(days=7)).any()),
            "customer_lines_before": len(own),
            "customer_orders_before": own["invoice"].nunique(),
            "customer_cancellations_before": len(own_cancelled),
            "customer_spent_before_gbp": own["amount"].sum(),
            "customer_days_since_previous_line": (at - own["at"].max()).total_seconds() / 86_400,
            "customer_days_since_first_line": (at - own["at"].min()).total_seconds() / 86_400,
            "customer_item_lines_before": (own["item"] == item).sum(),
            "customer_item_cancellations_before": (own_cancelled["item"] == item).sum(),
            "item_lines_before": len(of_item),
            "item_cancellations_before": (past_cancelled["item"] == item).sum(),
            "item_mean_price_before_gbp": of_item["price"].mean(),
            "item_mean_quantity_before": of_item["quantity"].mean(),
            "invoice_lines": (sales["invoice"] == str(key).split("-")[0]).sum(),
        }
        assert line[list(expected)].astype(float).to_dict() == pytest.approx(expected, nan_ok=True), key


def test_a_cancellation_counts_from_its_own_minute_to_seven_days_later(spark: SparkSession) -> None:
    rows = [
        sale("1", 0.0),
        sale("2", 1.0, item="33"),
        sale("3", 2.0, item="44"),
        sale("4", 3.0, item="55"),
        cancellation(0.0),  # same minute: yes
        cancellation(8.0, item="33"),  # exactly seven days: yes
        cancellation(9.001, item="44"),  # later: no
        cancellation(3.5, item="55", customer=2),  # somebody else: no
        sale("5", 30.0, customer=3),
    ]
    found = by_key(retail_lines(log_of(spark, rows)))["is_cancelled_within_7_days"]
    assert found.to_dict() == {"1-22-1": 1, "2-33-1": 1, "3-44-1": 0, "4-55-1": 0, "5-22-1": 0}


def test_lines_without_a_final_label_are_dropped_and_others_kept(spark: SparkSession, tmp_path: Path) -> None:
    rows = [sale("1", 0), sale("2", 3), sale("3", 3.001), sale("4", 10, customer=None)]
    path = str(tmp_path / "log.parquet")
    log_of(spark, rows).write.parquet(path)
    # The log ends at day 10, with a line of an unknown customer: day 3 is the last with all seven days seen.
    made = PREPARATIONS["retail"](spark, path)
    assert {row["order_line_id"] for row in made.collect()} == {"1-22-1", "2-22-1"}
    assert "is_label_known" not in made.columns


def test_exact_duplicates_get_distinct_keys_and_only_sales_are_lines(spark: SparkSession) -> None:
    rows = [
        sale("1", 0),
        sale("1", 0),
        sale("1", 0, quantity=3),
        sale("2", 0, quantity=-3),
        sale("3", 0, price=0.0),
        sale("4", 0, customer=None),
        cancellation(0),
    ]
    found = by_key(retail_lines(log_of(spark, rows)))
    assert found["quantity"].to_dict() == {"1-22-1": 2, "1-22-2": 2, "1-22-3": 3}
    assert (found["invoice_lines"] == 3).all()
    assert (found["invoice_amount_gbp"] == 10.5).all()  # (2 + 2 + 3) * 1.5


def test_a_first_line_has_no_rates_and_no_times(spark: SparkSession) -> None:
    first = by_key(retail_lines(log_of(spark, [sale("1", 0)]))).iloc[0]
    unknown = first.index[first.isna()]
    assert set(unknown) == {
        "customer_cancel_rate_before",
        "customer_days_since_previous_line",
        "customer_days_since_first_line",
        "item_cancel_rate_before",
        "item_mean_price_before_gbp",
        "price_over_item_mean",
        "item_mean_quantity_before",
        "quantity_over_item_mean",
    }


def test_no_path_and_a_missing_column_are_named(spark: SparkSession) -> None:
    with pytest.raises(ConfigError, match="no path is given"):
        prepare_retail(spark, None)
    with pytest.raises(MissingColumnsError, match="UnitPrice"):
        retail_lines(log_of(spark, [sale("1", 0)]).drop("UnitPrice"))


@pytest.mark.skipif(not REAL_LOG.exists(), reason="the UCI log is not beside this checkout (shared/data)")
def test_the_real_log_has_the_documented_counts(spark: SparkSession) -> None:
    found = (
        retail_lines(spark.read.parquet(str(REAL_LOG)))
        .agg(
            F.count("*").alias("lines"),
            F.sum("is_cancelled_within_7_days").alias("positives"),
            F.countDistinct("order_line_id").alias("keys"),
            F.sum(F.col("is_label_known").cast("int")).alias("known"),
            F.sum(F.when(F.col("is_label_known"), F.col("is_cancelled_within_7_days"))).alias("known_positives"),
        )
        .first()
    )
    assert found is not None
    assert found.asDict() == {
        "lines": 397_884,
        "positives": 3_195,
        "keys": 397_884,
        "known": 383_410,
        "known_positives": 3_169,
    }
