"""Incremental scoring: what is new is scored once, whatever is compacted, cut off, corrected or run at once."""

import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from imbalance_spark.core.errors import DataContractError, PinDamagedError
from imbalance_spark.scoring.increments import score_increments
from imbalance_spark.scoring.scored_table import INCREMENTS, Batch, ScoredBatch, current_scores, read_batch, write_batch

Score = Callable[[DataFrame, Batch], ScoredBatch]
FEED = "delta.enableChangeDataFeed"


class Place:
    """Orders and the table of scored ones; a score is the hour of scoring."""

    def __init__(self, spark: SparkSession, home: Path, kind: str = "delta") -> None:
        self.spark, self.home, self.kind, self.hour = spark, home, kind, 0

    def add(self, start: int, end: int, folder: str = "orders") -> None:
        rows = self.spark.range(start, end, numPartitions=1).selectExpr("id", "id % 7 x", "'n' note")
        rows.write.format(self.kind).options(header=True, **{FEED: True}).mode("append").save(f"{self.home}/{folder}")

    def sql(self, statement: str) -> None:
        self.spark.sql(statement.format(orders=f"delta.`{self.home}/orders`")).collect()

    def score(self, orders: DataFrame, batch: Batch) -> ScoredBatch:
        self.hour += 1
        return write_batch(
            orders.select("*", F.lit(self.hour).alias("scored_at")), f"{self.home}/scored", batch
        )  # fmt: skip

    def run(self, score: Score | None = None) -> int:
        """Rows that were added."""
        parts = score_increments(
            self.spark, f"{self.home}/scored", "orders/1", score or self.score, path=f"{self.home}/orders",
            file_format=self.kind,
        )  # fmt: skip
        return sum(part.rows or 0 for part in parts if part.is_new)

    def ids(self) -> list[int]:
        return sorted(row["id"] for row in self.scored.collect())

    @property
    def scored(self) -> DataFrame:
        return self.spark.read.format("delta").load(f"{self.home}/scored")


def vacuum(spark: SparkSession, path: str) -> None:
    """Of all that no version of now needs; the files are listed in two tasks, not in ten thousand."""
    settings = {
        "spark.databricks.delta.retentionDurationCheck.enabled": "false",
        "spark.sql.sources.parallelPartitionDiscovery.parallelism": "2",
    }
    for name, value in settings.items():
        spark.conf.set(name, value)
    try:
        spark.sql(f"VACUUM delta.`{path}` RETAIN 0 HOURS").collect()
    finally:
        for name in settings:
            spark.conf.unset(name)


def test_changes_are_scored_once_and_maintenance_adds_nothing(spark: SparkSession, tmp_path: Path) -> None:
    place = Place(spark, tmp_path)
    place.add(0, 20)
    assert place.run() == 20
    place.add(20, 30)
    place.sql("OPTIMIZE {orders}")
    assert (place.run(), place.run()) == (10, 0)
    for each in ("orders", "scored"):
        vacuum(spark, f"{tmp_path}/{each}")
    assert (place.run(), place.ids()) == (0, list(range(30)))

    # A correction and a late order are new; an overwrite with equal rows is not.
    place.sql("UPDATE {orders} SET note = 'corrected' WHERE id = 3")
    place.add(100, 101)
    orders = spark.read.format("delta").load(f"{tmp_path}/orders")
    orders.write.format("delta").mode("overwrite").save(f"{tmp_path}/orders")
    assert (place.run(), place.ids()) == (2, sorted([*range(30), 3, 100]))
    current = current_scores(place.scored, "id")
    assert (current.count(), current.columns) == (31, place.scored.columns)
    assert [row["note"] for row in current.where("id = 3").collect()] == ["corrected"]


def test_a_part_that_was_cut_off_is_scored_as_planned_then_the_rest(spark: SparkSession, tmp_path: Path) -> None:
    place = Place(spark, tmp_path)
    place.add(0, 5)

    def cut_off(_orders: DataFrame, _batch: Batch) -> ScoredBatch:
        raise KeyboardInterrupt

    def cut_off_after(orders: DataFrame, batch: Batch) -> ScoredBatch:
        place.score(orders, batch)
        raise KeyboardInterrupt

    for scoring in (cut_off, cut_off_after):
        with pytest.raises(KeyboardInterrupt):
            place.run(scoring)
    place.add(5, 9)
    assert (place.run(), place.ids()) == (4, list(range(9)))


def test_jobs_at_once_score_each_order_once(spark: SparkSession, tmp_path: Path) -> None:
    place = Place(spark, tmp_path)
    place.add(0, 6)
    place.run()
    start, added = threading.Barrier(5), list[int]()

    def job(number: int) -> None:
        start.wait()
        place.add(10 * number, 10 * number + 3)
        added.append(place.run())

    jobs = [threading.Thread(target=job, args=(number,)) for number in range(1, 6)]
    for each in jobs:
        each.start()
    for each in jobs:
        each.join()
    assert sum(added) == 15
    assert place.ids() == sorted([*range(6), *[10 * number + i for number in range(1, 6) for i in range(3)]])


def test_it_goes_on_after_the_last_whole_version(spark: SparkSession, tmp_path: Path) -> None:
    place = Place(spark, tmp_path)
    place.add(0, 4)
    orders = read_batch(spark, "orders/1", path=f"{tmp_path}/orders")
    place.score(orders.frame, orders.batch)
    assert place.run() == 0
    place.add(4, 6)
    assert (place.run(), place.ids()) == (2, list(range(6)))


def test_a_table_without_the_feed_is_refused_until_it_was_scored_as_a_whole(
    spark: SparkSession, tmp_path: Path
) -> None:
    place = Place(spark, tmp_path)
    place.add(0, 4)
    place.run()
    place.sql(f"ALTER TABLE {{orders}} SET TBLPROPERTIES ({FEED} = false)")
    with pytest.raises(DataContractError, match=f"has no change data feed.*Set its property {FEED} to true"):
        place.run()
    place.add(4, 6)
    place.sql(f"ALTER TABLE {{orders}} SET TBLPROPERTIES ({FEED} = true)")
    with pytest.raises(DataContractError, match="had no change data feed all the time"):
        place.run()
    orders = read_batch(spark, "orders/1", path=f"{tmp_path}/orders")
    place.score(orders.frame, orders.batch)
    place.add(6, 7)
    assert place.run() == 1


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_new_files_are_scored_once_with_the_types_of_the_first(spark: SparkSession, tmp_path: Path, kind: str) -> None:
    place = Place(spark, tmp_path, kind)
    place.add(0, 5, "orders/day=2026-01-01/[a] {b}*")
    assert place.run() == 5
    place.add(5, 8, "orders/day=2026-01-02")
    (tmp_path / f"orders/_unfinished.{kind}").write_bytes(b"\0")
    assert (place.run(), place.run(), place.ids()) == (3, 0, list(range(8)))
    assert {str(row["day"]) for row in place.scored.select("day").distinct().collect()} == {"2026-01-01", "2026-01-02"}
    [file] = (tmp_path / "orders/day=2026-01-02").glob(f"part-*.{kind}")
    file.write_bytes(file.read_bytes() + b"\n")
    with pytest.raises(DataContractError, match="1 files have another size than when they were scored"):
        place.run()


def test_a_plan_that_was_cut_short_is_named(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("imbalance_spark.scoring.increments._BETWEEN_READS_S", 0.0)
    place = Place(spark, tmp_path)
    place.add(0, 2)
    place.run()
    [plan] = (tmp_path / "scored" / INCREMENTS).glob("*/000000.json")
    plan.with_name("000001.json").write_bytes(plan.read_bytes()[:9])
    with pytest.raises(PinDamagedError, match=r"000001\.json: .* cut short"):
        place.run()
