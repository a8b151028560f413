"""Bad tables: damaged ones, ones that change, and rows that are hard to count."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from support.sampler_checks import make_train

from imbalance_spark.core.errors import DataContractError, RunConflictError
from imbalance_spark.core.run import Run
from imbalance_spark.core.spark_errors import describe
from imbalance_spark.orders.config import OrdersConfig, SourceConfig
from imbalance_spark.orders.read import read_orders
from imbalance_spark.orders.validation.validate import validate_orders
from imbalance_spark.split import stratified_split
from imbalance_spark.train_only.sampling.smote import SMOTE

ROWS = "id order_id", "int(id % 4 = 0) y", "double(id % 7) x"


def commit(log: Path, version: int, kind: str = "json") -> Path:
    """A file of the log; without the sum that Hadoop keeps beside it, as in an object store."""
    (log / f".{version:020d}.{kind}.crc").unlink(missing_ok=True)
    return log / f"{version:020d}.{kind}"


def without_checkpoint_of(log: Path, version: int) -> Path:
    commit(log, version, "crc").unlink(missing_ok=True)
    return commit(log, version)


def cut_a_file(log: Path) -> None:
    file = min(log.parent.glob("*.parquet"))
    (file.parent / f".{file.name}.crc").unlink()
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def ask_for_more(log: Path) -> None:
    protocol = {
        "minReaderVersion": 3,
        "minWriterVersion": 7,
        "readerFeatures": ["quantum"],
        "writerFeatures": ["quantum"],
    }
    file = without_checkpoint_of(log, 1)
    file.write_text(json.dumps({"protocol": protocol}) + "\n" + file.read_text("utf-8"), "utf-8")


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "a file is gone": (lambda log: min(log.parent.glob("*.parquet")).unlink(), "lost, cut short or changed"),
    "a file is cut": (cut_a_file, "lost, cut short or changed"),
    "the latest commit is empty": (lambda log: commit(log, 1).write_bytes(b""), "00000000000000000001.json is empty"),
    "the latest commit is gone": (lambda log: commit(log, 1).unlink(), "belongs to a commit that is not there"),
    "the first commit is gone": (lambda log: commit(log, 0).unlink(), "lacks a commit or has a damaged one"),
    "a commit is no JSON": (lambda log: without_checkpoint_of(log, 1).write_text("{no", "utf-8"), "damaged"),
    "a feature is unknown": (ask_for_more, "needs what this Delta does not know: quantum"),
}


def rows(spark: SparkSession, start: int = 0) -> DataFrame:
    return spark.range(start, start + 40, numPartitions=1).selectExpr(*ROWS)


def count(spark: SparkSession, path: Path) -> int:
    frame = read_orders(spark, SourceConfig(path=str(path))).frame
    return int(frame.agg(F.sum("x"), F.count("*")).collect()[0][1])


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_tables_are_code_3_with_what_is_wrong(spark: SparkSession, tmp_path: Path, damage: str) -> None:
    place, (do, said) = tmp_path / "orders", DAMAGES[damage]
    for start in (0, 40):
        rows(spark, start).write.format("delta").mode("append").save(str(place))
    do(place / "_delta_log")
    with pytest.raises(Exception) as caught:  # noqa: PT011  # Spark's own, whatever it is, as the job describes it
        count(spark, place)
    code, line = describe(caught.value)
    assert code == 3, line
    assert said in line


def test_deletion_vectors_are_read(spark: SparkSession, tmp_path: Path) -> None:
    place = tmp_path / "orders"
    rows(spark).write.format("delta").option("delta.enableDeletionVectors", "true").save(str(place))
    spark.sql(f"delete from delta.`{place}` where order_id = 3")
    assert count(spark, place) == 39


def test_a_pinned_version_keeps_its_columns_when_the_table_changes(spark: SparkSession, tmp_path: Path) -> None:
    place = str(tmp_path / "orders")
    rows(spark).write.format("delta").save(place)
    pinned = read_orders(spark, SourceConfig(path=place)).frame
    other = spark.range(5).selectExpr("id order_id", "'a' y")
    other.write.format("delta").mode("overwrite").option("overwriteSchema", "true").save(place)
    config = OrdersConfig(source=SourceConfig(path=place), label="y", numeric=("x",))
    assert validate_orders(pinned, config).report.rows == 40


def test_other_orders_under_a_used_run_id_are_refused(spark: SparkSession, tmp_path: Path) -> None:
    Run.open(spark, str(tmp_path), "r", "c", {"location": "orders", "state": "v1"})
    with pytest.raises(RunConflictError, match=r"'v1'.*'v2'.*Use another run_id"):
        Run.open(spark, str(tmp_path), "r", "c", {"location": "orders", "state": "v2"})


def test_bigint_weights_whose_sum_no_bigint_holds_are_refused(spark: SparkSession) -> None:
    orders = rows(spark).selectExpr("*", "bigint(4611686018427387904) w")
    config = OrdersConfig(source=SourceConfig(path="unread"), label="y", numeric=("x",), weight="w")
    with pytest.raises(DataContractError, match=r"orders\.weight: column 'w'"):
        validate_orders(orders, config)


def test_smote_of_equal_rows_gives_that_row(spark: SparkSession) -> None:
    train = make_train(spark).withColumn(
        "amount.eur", F.when(F.col("label") == 2, 7.5).otherwise(F.col("`amount.eur`"))
    )
    sampler = SMOTE(key="order_id", label="label", seed=7, features=["amount.eur"], sampling_strategy={2: 100})
    made = sampler.fit_resample(train).where("is_synthetic").select("`amount.eur`").collect()
    assert [row[0] for row in made] == [7.5] * 70


def test_three_rows_among_three_million_are_counted_and_split(spark: SparkSession) -> None:
    orders = spark.range(3_000_000, numPartitions=60).selectExpr("id", "int(id % 1000000 = 7) y")
    shares = {"train": 0.34, "validation": 0.33, "test": 0.33}
    split = stratified_split(orders, key="id", label="y", seed=7, fractions=shares)
    found = split.where("y = 1").groupBy("split").count().collect()
    assert {row["split"]: row["count"] for row in found} == {"train": 1, "validation": 1, "test": 1}
