"""Batches in a table of scored orders: known by content, in it once whoever writes them, and never half of one."""

import os
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pyspark.sql import SparkSession
from support.orders_to_score import as_table, bundle, orders

from imbalance_spark.core.errors import DataContractError
from imbalance_spark.core.files import Folder
from imbalance_spark.scoring.batch import score_batch
from imbalance_spark.scoring.scored_table import (
    STAMPS,
    Batch,
    ScoredBatch,
    find_batch,
    next_scored_at,
    read_batch,
    write_once,
)

MODEL = bundle()
BATCH = Batch(location="orders", state="v1", model="orders/1")


def scored(spark: SparkSession, output: Path, batch: Batch = BATCH) -> ScoredBatch:
    return score_batch(
        as_table(spark, orders(30)), MODEL, batch, output=str(output), quarantine=f"{output}_quarantined",
        max_quarantined=0.0, model_version="1", scored_at=datetime(2026, 1, 1, tzinfo=UTC),
    )  # fmt: skip


def test_ten_jobs_on_one_batch_end_with_each_row_once(spark: SparkSession, tmp_path: Path) -> None:
    start, ends = threading.Barrier(10), list[ScoredBatch]()

    def job() -> None:
        start.wait()
        ends.append(scored(spark, tmp_path / "scored"))

    jobs = [threading.Thread(target=job) for _ in range(10)]
    for each in jobs:
        each.start()
    for each in jobs:
        each.join()
    assert sorted(end.is_new for end in ends) == [False] * 9 + [True]
    table = spark.read.format("delta").load(f"{tmp_path}/scored")
    assert (table.count(), table.select("order_id").distinct().count()) == (30, 30)


def test_a_clock_that_steps_back_makes_no_job_earlier_than_one_before_it(spark: SparkSession, tmp_path: Path) -> None:
    output, now = tmp_path / "scored", datetime.now(UTC)
    assert timedelta(0) <= next_scored_at(spark, str(output)) - now < timedelta(minutes=5)
    scored(spark, output)
    ahead = now + timedelta(hours=1)
    os.utime(output / "_delta_log/00000000000000000000.json", (0.0, ahead.timestamp()))
    assert ahead < next_scored_at(spark, str(output)) < ahead + timedelta(seconds=1)


def test_a_rebuilt_registry_scores_with_its_own_model(spark: SparkSession, tmp_path: Path) -> None:
    output = tmp_path / "scored"
    assert scored(spark, output).is_new
    table = spark.read.format("delta").load(str(output))
    assert {tuple(row) for row in table.select(*STAMPS).distinct().collect()} == {
        (MODEL.sha256, replace(BATCH, bundle_sha256=MODEL.sha256).identity)
    }
    assert find_batch(spark, str(output), replace(BATCH, bundle_sha256=MODEL.sha256)) is not None
    assert find_batch(spark, str(output), replace(BATCH, bundle_sha256="another")) is None
    # The same bundle under another name is the same model.
    assert not scored(spark, output, replace(BATCH, model="renamed/7")).is_new


def test_a_table_of_an_earlier_version_goes_on(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "scored"
    scored(spark, tmp_path / "now")
    earlier = spark.read.format("delta").load(f"{tmp_path}/now").drop(*STAMPS)
    with monkeypatch.context() as patch:
        patch.setattr(
            "imbalance_spark.scoring.scored_table.asdict", lambda batch: {"state": batch.state, "model": batch.model}
        )
        write_once(earlier, str(output), BATCH)
    assert not scored(spark, output).is_new
    assert scored(spark, output, replace(BATCH, state="v2")).is_new
    table = spark.read.format("delta").load(str(output))
    assert (table.count(), table.where("batch IS NULL").count()) == (60, 30)


def test_files_that_arrive_while_listed_are_in_the_batch_or_it_is_refused(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    as_table(spark, orders(30)).write.parquet(f"{tmp_path}/orders")
    settled = read_batch(spark, "orders/1", path=f"{tmp_path}/orders", file_format="parquet")
    listing_hash, listings = Folder.listing_hash, iter(["one", "two"])
    monkeypatch.setattr(Folder, "listing_hash", lambda folder: next(listings, None) or listing_hash(folder))
    again = read_batch(spark, "orders/1", path=f"{tmp_path}/orders", file_format="parquet")
    assert (again.batch, again.frame.count()) == (settled.batch, 30)
    changing = iter(range(100))
    monkeypatch.setattr(Folder, "listing_hash", lambda folder: str(next(changing)))
    with pytest.raises(DataContractError, match="change while they are listed"):
        read_batch(spark, "orders/1", path=f"{tmp_path}/orders", file_format="parquet")
