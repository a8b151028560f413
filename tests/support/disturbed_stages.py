"""A driver that splits, samples and scores the same orders again and again while its tasks and executors are disturbed.

python disturbed_stages.py MASTER WORKER_PIDS DISTURBANCE...    (pids by comma; the last line is JSON)
"""

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial

import pyarrow as pa
from pyspark import TaskContext
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from imbalance_spark.core.run import Run, count_fingerprint
from imbalance_spark.core.run_lock import locks_released
from imbalance_spark.core.spark_session import spark_session
from imbalance_spark.scoring.score_orders import score_orders
from imbalance_spark.split import stratified_split
from imbalance_spark.train_only.sampling.smote import SMOTE
from support.orders_to_score import as_table, bundle, orders
from support.sampler_checks import make_train
from support.standalone_cluster import FIT
from support.watched_fits import executors

Read = Callable[[DataFrame], DataFrame]
FRACTIONS = {"train": 0.6, "validation": 0.2, "test": 0.2}


def split(spark: SparkSession, read: Read) -> DataFrame:
    rows = spark.range(6000, numPartitions=4).select("id", (F.col("id") % 9 == 0).cast("int").alias("y"))
    return stratified_split(read(rows), key="id", label="y", seed=7, fractions=FRACTIONS).repartition(3, "id")


def sample(spark: SparkSession, read: Read) -> DataFrame:
    sampler = SMOTE(key="order_id", label="label", seed=7, features=["amount.eur"], sampling_strategy={2: 100})
    train = make_train(spark).withColumnRenamed("amount.eur", "amount")
    named = read(train.repartition(4, "order_id")).withColumnRenamed("amount", "amount.eur")
    return sampler.fit_resample(named).repartition(3, "order_id")


def scored(spark: SparkSession, read: Read) -> DataFrame:
    found = score_orders(read(as_table(spark, orders(3000))), bundle(), model_version="1", scored_at=datetime.now(UTC))
    return found.drop("scored_at").repartition(3, "order_id")


def as_they_are(frame: DataFrame) -> DataFrame:
    return frame


def failing_once(frame: DataFrame) -> DataFrame:
    return frame.mapInArrow(_failing, frame.schema)


def _failing(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    yield from batches
    context = TaskContext.get()
    if context is not None and context.attemptNumber() == 0:
        raise RuntimeError("the first attempt of each task fails, once it has given all its rows")


def slow_at_first(frame: DataFrame) -> DataFrame:
    return frame.mapInArrow(_slow, frame.schema)


def _slow(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    yield from batches
    context = TaskContext.get()
    if context is not None and context.partitionId() == 0 and context.attemptNumber() == 0:
        time.sleep(8.0)


@contextmanager
def signalled(spark: SparkSession, worker: int, number: int | None) -> Iterator[None]:
    """Within the block an executor gets a signal, once, as soon as tasks run."""
    ended, sent = threading.Event(), threading.Event()

    def send() -> None:
        tracker = spark.sparkContext.statusTracker()
        while number is not None and not ended.wait(0.05):
            found = [tracker.getStageInfo(stage) for stage in tracker.getActiveStageIds()]
            running = executors(worker)
            if running and any(stage is not None and stage.numActiveTasks > 0 for stage in found):
                os.kill(running[0], number)
                sent.set()
                return

    thread = threading.Thread(target=send)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
    assert sent.is_set() == (number is not None), "no executor got the signal"


DISTURBANCES: dict[str, tuple[Read, int | None]] = {
    "none": (as_they_are, None),
    "fail_once": (failing_once, None),
    "run_twice": (slow_at_first, None),
    "kill_executor": (as_they_are, signal.SIGKILL),
    "decommission": (as_they_are, signal.SIGPWR),
}


def outcome(spark: SparkSession, name: str, worker: int) -> dict[str, tuple[int, int]]:
    """Rows and fingerprint of each stage's result, as a run counts them while it writes them and as they are read."""
    read, number = DISTURBANCES[name]
    found = {}
    run = Run.open(spark, "runs", name, "config", {})
    for stage in (split, sample, scored):
        started = time.monotonic()
        with signalled(spark, worker, number):
            rows = stage(spark, read)
            numbered = read(rows.toDF(*map(str, range(len(rows.columns)))))
            written = run.table(stage.__name__, partial(as_they_are, numbered))
        pin = run.pin(stage.__name__)
        found[stage.__name__] = (pin.rows, pin.fingerprint)
        assert count_fingerprint(written) == found[stage.__name__], (name, stage.__name__)
        sys.stderr.write(f"{name}, {stage.__name__}: {found[stage.__name__]}, {time.monotonic() - started:.1f} s\n")
    return found


def main(master: str, workers: str, *names: str) -> None:
    settings = {
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.log.level": "OFF",
        "spark.executorEnv.PYTHONPATH": os.environ["PYTHONPATH"],
        "spark.speculation": "true",
        "spark.speculation.interval": "100ms",
        "spark.speculation.quantile": "0.3",
        "spark.speculation.minTaskRuntime": "1s",
        "spark.decommission.enabled": "true",
        "spark.storage.decommission.enabled": "true",
        "spark.storage.decommission.shuffleBlocks.enabled": "true",
        **FIT,
    }
    first = int(workers.split(",")[0])
    with spark_session("disturbed stages", master, settings) as spark, locks_released():
        sys.stdout.write(json.dumps({name: outcome(spark, name, first) for name in names}) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
