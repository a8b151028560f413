from typing import Any

import pandas as pd
import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from imbalance_spark.core.errors import DataContractError
from imbalance_spark.orders.audit import Audit, DuplicateRows, audit, refuse_key_like
from imbalance_spark.orders.config import OrdersConfig, SourceConfig


def config(**changed: Any) -> OrdersConfig:
    return OrdersConfig(**{"source": SourceConfig(path="unread"), "label": "y", "numeric": ("a", "b"), **changed})


def inputs(spark: SparkSession, rows: list[tuple[str, float | None, float | None, int]]) -> DataFrame:
    return spark.createDataFrame(rows, "split string, x_0 double, x_1 double, y int")


def look(frame: DataFrame, asked: OrdersConfig, *, in_time: bool = False) -> Audit:
    return audit(frame, asked, 10_000, in_time=in_time)


def test_duplicates_across_folds_and_contradictions_are_counted(spark: SparkSession) -> None:
    frame = inputs(spark, [
        ("train", 1.0, 2.0, 0), ("test", 1.0, 2.0, 0), ("validation", 1.0, 2.0, 1),  # shared by two, both classes
        ("train", 3.0, None, 0), ("test", None, 3.0, 0),  # a null is a value of its feature: no duplicates
        ("test", 7.0, 7.0, 1), ("validation", 7.0, 7.0, 1),  # duplicates, but none in train
    ])  # fmt: skip
    found = look(frame, config())
    assert found.duplicates == DuplicateRows(rows=7, held_out=5, shared=2, contradictory=3)
    said = " ".join(found.warnings())
    assert "2 of 5 held-out rows" in said
    assert "3 of 7 rows have duplicates" in said
    assert Audit.from_dict(found.to_dict()) == found


def test_rows_without_duplicates_raise_no_warning(spark: SparkSession) -> None:
    frame = inputs(spark, [("train", float(i), None, i % 2) for i in range(50)] + [("test", -5.0, None, 1)])
    assert list(look(frame, config()).warnings()) == []


def test_more_duplicates_than_allowed_stop_the_job(spark: SparkSession) -> None:
    frame = inputs(spark, [("train", 1.0, 2.0, 0), ("test", 1.0, 2.0, 0), ("test", 4.0, 2.0, 1)])
    with pytest.raises(DataContractError, match=r"1 of 2 held-out rows .*max_duplicated 0\.4"):
        look(frame, config(max_duplicated=0.4))


def test_an_integer_feature_that_identifies_rows_is_refused_by_name(spark: SparkSession) -> None:
    large = [("train", float((1 << 40) + i), float((1 << 30) + i % 7), i % 2) for i in range(2000)]
    with pytest.raises(DataContractError, match=r"integer feature 'a' has about .* distinct values in 2000") as error:
        refuse_key_like(inputs(spark, large), config(), ("a", "b"))
    assert "'b'" not in str(error.value)


@pytest.mark.parametrize("sentinel", [999.0, -2208988800.0])  # float32 rounds the second
def test_a_sentinel_that_comes_with_time_is_reported_with_its_shares(spark: SparkSession, sentinel: float) -> None:
    rows = [("train", float(i), sentinel if i % 10 == 0 else i + 0.5, 0) for i in range(1, 101)]
    rows += [("test", float(i), sentinel if i % 2 == 0 else i + 0.5, 0) for i in range(200, 300)]
    stored = inputs(spark, rows).withColumn("x_1", F.col("x_1").cast("float"))
    found = look(stored, config(), in_time=True)
    shares = found.sentinel_shares["b"]
    assert shares == pytest.approx({"test": 0.5, "train": 0.1})
    assert any("'b'" in warning and "test 50.0%" in warning for warning in found.warnings())
    assert look(inputs(spark, rows), config()).sentinel_shares == {}


def test_the_sampled_share_of_rows_draws_duplicates_together(spark: SparkSession) -> None:
    rows = [("train" if copy else "test", float(i), float(-i), 0) for i in range(3000) for copy in (0, 1)]
    found = audit(inputs(spark, rows), config(), 70_000_000, in_time=False).duplicates
    assert 2 * found.shared == found.rows  # each drawn test row with its twin
    assert 500 < found.rows < 1000  # one in eight of 6000


def test_nothing_depends_on_the_layout(spark: SparkSession) -> None:
    frame = pd.DataFrame({"split": ["train", "test"] * 100, "x_0": [i // 4 * 1.0 for i in range(200)], "x_1": 1.0})
    table = spark.createDataFrame(frame.assign(y=[i % 2 for i in range(200)]))
    assert look(table.repartition(1), config()) == look(table.repartition(7), config())
