import unicodedata
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from imbalance_spark.core.errors import ConfigError, DataContractError
from imbalance_spark.orders.config import OrdersConfig, SourceConfig
from imbalance_spark.orders.read import read_orders
from imbalance_spark.orders.schema import check_orders

SOURCE = SourceConfig(path="unread")


@pytest.fixture(scope="module")
def places(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same two orders as Delta (versions 0 and 1), Parquet and CSV, and an empty folder."""
    root = tmp_path_factory.mktemp("sources")
    orders = spark.createDataFrame([(1, 0.5), (2, 1.5)], "order_id bigint, amount double").coalesce(1)
    orders.write.format("delta").save(f"{root}/delta")
    orders.write.format("delta").mode("append").save(f"{root}/delta")
    orders.write.parquet(f"{root}/parquet")
    orders.write.csv(f"{root}/csv", header=True)
    (root / "empty").mkdir()
    return root


def test_the_latest_delta_version_is_pinned(spark: SparkSession, places: Path) -> None:
    read = read_orders(spark, SourceConfig(path=f"{places}/delta"))
    spark.createDataFrame([(3, 2.5)], "order_id bigint, amount double").write.format("delta").mode("append").save(
        f"{places}/delta"
    )
    assert (read.version, read.frame.count()) == (1, 4)
    assert read.description == f"Delta {places}/delta, version 1"


def test_an_older_delta_version_is_read_when_asked(spark: SparkSession, places: Path) -> None:
    read = read_orders(spark, SourceConfig(path=f"{places}/delta", version=0))
    assert (read.version, read.frame.count()) == (0, 2)


@pytest.mark.parametrize("format", ["parquet", "csv"])
def test_parquet_and_csv_are_read_with_their_types(spark: SparkSession, places: Path, format: str) -> None:
    read = read_orders(spark, SourceConfig(path=f"{places}/{format}", format=format))
    assert dict(read.frame.dtypes)["amount"] == "double"
    assert (read.version, read.frame.count()) == (None, 2)


def test_a_table_is_read_by_name_at_its_pinned_version(spark: SparkSession, places: Path) -> None:
    spark.sql(f"create table if not exists test_orders_table using delta location '{places}/delta'")
    read = read_orders(spark, SourceConfig(table="test_orders_table", version=0))
    spark.sql("drop table test_orders_table")
    assert (read.frame.count(), read.location) == (2, "test_orders_table")


@pytest.mark.parametrize(
    ("folder", "settings", "expected"),
    [
        ("absent", {}, ["nothing is at"]),
        ("empty", {}, ["contains no data"]),
        ("parquet", {}, ["plain Parquet", "format: parquet"]),
        ("csv", {}, ["plain CSV", "format: csv"]),
        ("delta", {"format": "parquet"}, ["a Delta table", "format: delta"]),
        ("csv", {"format": "parquet"}, ["plain CSV", "format: csv"]),
        ("parquet", {"format": "csv"}, ["plain Parquet", "format: parquet"]),
        ("delta", {"version": 99}, ["version 99", "versions 0 to"]),
    ],
)
def test_a_path_that_cannot_be_read_is_one_line_with_a_fix(
    spark: SparkSession, places: Path, folder: str, settings: dict[str, object], expected: list[str]
) -> None:
    with pytest.raises(DataContractError) as caught:
        read_orders(spark, SourceConfig(path=f"{places}/{folder}", **settings))
    assert all(part in str(caught.value) for part in expected)
    assert folder in str(caught.value)


@pytest.mark.parametrize("table", ["no_such_table", "no_such_schema.orders", "a b; drop"])
def test_an_absent_table_is_named(spark: SparkSession, table: str) -> None:
    with pytest.raises(DataContractError, match="no table"):
        read_orders(spark, SourceConfig(table=table))


def test_a_table_that_is_not_delta_says_so(spark: SparkSession, places: Path) -> None:
    spark.sql(f"create table if not exists test_plain_table using parquet location '{places}/parquet'")
    try:
        with pytest.raises(DataContractError, match="not a Delta table"):
            read_orders(spark, SourceConfig(table="test_plain_table"))
    finally:
        spark.sql("drop table test_plain_table")


def test_a_spark_that_skips_lost_files_is_refused(spark: SparkSession, places: Path) -> None:
    spark.conf.set("spark.sql.files.ignoreMissingFiles", "true")
    try:
        with pytest.raises(ConfigError, match="ignoreMissingFiles"):
            read_orders(spark, SourceConfig(path=f"{places}/delta"))
    finally:
        spark.conf.unset("spark.sql.files.ignoreMissingFiles")


def test_all_column_problems_are_said_at_once(spark: SparkSession) -> None:
    frame = spark.createDataFrame([], "order_id double, fraud array<int>, a timestamp, amont double")
    config = OrdersConfig(source=SOURCE, label="fraud", amount="amount", numeric=("a",))
    with pytest.raises(DataContractError) as caught:
        check_orders(frame, config)
    for part in ("Did you mean 'amont'", "order_id", "orders.label", "orders.numeric"):
        assert part in str(caught.value)


@pytest.mark.parametrize("kind", ["tinyint", "smallint", "int", "bigint", "float", "double", "decimal(9,2)", "boolean"])
def test_numbers_and_booleans_are_numeric_features(spark: SparkSession, kind: str) -> None:
    frame = spark.createDataFrame([], f"order_id bigint, y int, x {kind}")
    check_orders(frame, OrdersConfig(source=SOURCE, label="y", numeric=("x",)))


@pytest.mark.parametrize(
    ("kind", "fix"),
    [
        ("timestamp", "hour"), ("date", "hour"), ("string", "categorical"), ("map<string,int>", "each field"),
        ("struct<a:int>", "each field"), ("binary", "remove it"), ("array<double>", "each element"),
        ("variant", "remove it"),
    ],
)  # fmt: skip
def test_a_feature_of_another_type_is_named_with_its_type_and_a_fix(spark: SparkSession, kind: str, fix: str) -> None:
    frame = spark.createDataFrame([], f"order_id bigint, y int, bad {kind}")
    with pytest.raises(DataContractError) as caught:
        check_orders(frame, OrdersConfig(source=SOURCE, label="y", numeric=("bad",)))
    assert f"'bad' is {kind.split('<')[0]}" in str(caught.value)
    assert fix in str(caught.value)


@pytest.mark.parametrize("kind", ["double", "timestamp", "decimal(9,2)"])
def test_a_category_must_have_an_exact_text(spark: SparkSession, kind: str) -> None:
    frame = spark.createDataFrame([], f"order_id bigint, y int, x {kind}")
    with pytest.raises(DataContractError, match=r"orders\.categorical"):
        check_orders(frame, OrdersConfig(source=SOURCE, label="y", categorical=("x",)))


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("a\nb", "c\x00"), r"'a\\nb', 'c\\x00' have names"),
        (("", "  "), "that are empty"),
        (("a\u202eb",), "marks of direction"),
        (("n" * 1001,), "longer than 1,000 characters"),
        (("Amount", "amount"), "letter case"),
        ((unicodedata.normalize("NFC", "caf\u00e9"), unicodedata.normalize("NFD", "caf\u00e9")), "spelling of accents"),
        (("amount", "amount\u200f"), "invisible"),
        (("split",), "have reserved names"),
        (("sampling_weight", "CLASS_WEIGHT"), "sampling_weight', 'CLASS_WEIGHT"),
        (("_rank",), "leading _"),
    ],
)
def test_names_that_would_fail_later_are_refused_now(spark: SparkSession, names: tuple[str, ...], message: str) -> None:
    base = spark.createDataFrame([], "order_id bigint, y int, x double")
    frame = base.select("*", *[base["x"].alias(name) for name in names])
    with pytest.raises(DataContractError, match=message):
        check_orders(frame, OrdersConfig(source=SOURCE, label="y", numeric=("x",)))


@pytest.mark.parametrize("name", ["a.b", "a`b", "y OR 1=1 --", "a, b;{}=()", "n" * 300, "prediction", "values"])
def test_odd_names_that_quoting_handles_pass(spark: SparkSession, name: str) -> None:
    frame = spark.createDataFrame([], "order_id bigint, label int, x double").toDF("order_id", "label", name)
    check_orders(frame, OrdersConfig(source=SOURCE, label="label", numeric=(name,)))
