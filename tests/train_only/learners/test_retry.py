"""When a fit is tried again, and when it is not; what workers lost on a real cluster do is in tests/cluster."""

import copy
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pandas as pd
import pytest
from pyspark.sql import SparkSession

from imbalance_spark.config.run import RunConfig
from imbalance_spark.config.yaml_file import config_hash
from imbalance_spark.core.errors import TrainingError
from imbalance_spark.train_only.config import TrainingConfig
from imbalance_spark.train_only.learners.retry import fit_watched, work_done
from imbalance_spark.train_only.learners.round_reports import RoundListener, RoundReporter, listening

TRAINING = TrainingConfig(num_workers=1, max_fit_attempts=2, stall_limit_s=0.5)


def watched(spark: SparkSession, fit: Callable[[RoundReporter], Any], training: TrainingConfig) -> Any:
    return fit_watched(spark, fit, training, "none", keep=bool)


def test_a_fit_that_gets_nowhere_is_cancelled_and_begun_again(spark: SparkSession) -> None:
    attempts: list[int] = []

    def fit(_: RoundReporter) -> int:
        attempts.append(1)
        return 3 if len(attempts) == 2 else hang(spark)

    assert watched(spark, fit, TRAINING) == 3
    assert len(attempts) == 2


def test_a_job_that_starts_after_the_verdict_is_cancelled_too(spark: SparkSession) -> None:
    def fit(_: RoundReporter) -> int:
        time.sleep(1.5)
        return hang(spark)

    with pytest.raises(TrainingError, match=r"no progress for 0\.5 s"):
        watched(spark, fit, TRAINING.model_copy(update={"max_fit_attempts": 1}))


def hang(spark: SparkSession) -> int:
    def sleep(batches: Iterator[pd.DataFrame]) -> Iterator[pd.DataFrame]:
        for batch in batches:
            time.sleep(60)
            yield batch

    return spark.range(1).mapInPandas(sleep, "id long").count()


def test_attempts_that_all_hang_end_with_one_error(spark: SparkSession) -> None:
    def fit(_: RoundReporter) -> int:
        return hang(spark)

    with pytest.raises(TrainingError, match=r"'none': 1 attempts .*no progress for 0.5 s .* before the first round"):
        watched(spark, fit, TRAINING.model_copy(update={"max_fit_attempts": 1}))


def test_rounds_that_are_told_keep_a_slow_fit_alive(spark: SparkSession) -> None:
    def fit(reporter: RoundReporter) -> str:
        for number in range(12):
            time.sleep(0.25)
            reporter.tell(number)
        return "done"

    assert watched(spark, fit, TRAINING.model_copy(update={"stall_limit_s": 2.0})) == "done"


def test_an_error_of_the_fit_itself_is_not_tried_again(spark: SparkSession) -> None:
    attempts: list[int] = []

    def fit(_: RoundReporter) -> None:
        attempts.append(1)
        raise ValueError("labels must be 0 or 1")

    with pytest.raises(ValueError, match="labels must be"):
        watched(spark, fit, TRAINING)
    assert attempts == [1]


def test_the_callers_jobs_carry_no_tag_afterwards(spark: SparkSession) -> None:
    def fit(_: RoundReporter) -> set[str]:
        return set(spark.sparkContext.getJobTags())

    [tag] = watched(spark, fit, TRAINING)
    assert tag.startswith("fit-")
    assert not len(spark.sparkContext.getJobTags())


def test_the_work_of_tagged_jobs_is_seen_and_no_other(spark: SparkSession) -> None:
    spark.range(10).repartition(2).count()
    spark.sparkContext.addJobTag("seen")
    try:
        assert work_done(spark, "seen") == (0, 0, 0)
        spark.range(10).repartition(2).count()
    finally:
        spark.sparkContext.removeJobTag("seen")
    tasks, _, shuffled = work_done(spark, "seen")
    assert tasks >= 3
    assert shuffled >= 10


def test_a_report_counts_with_the_token_of_its_fit_alone() -> None:
    earlier, listener = (RoundListener("127.0.0.1", 1, keep=bool) for _ in range(2))
    for message in (
        b"",
        b"3",
        b"\xff\xfe round 3",
        b"token round 3",
        f"{earlier._token} round 3".encode(),
        f"{earlier._token} checkpoint 3".encode(),
        f"{listener._token} round x".encode(),
        f"{listener._token} checkpoint -3".encode(),
    ):
        assert listener.hear(message) == 0
    assert listener.last_round is None
    assert listener.hear(f"{listener._token} round 3\n".encode()) == 0
    assert listener.last_round == 3
    assert listener.hear(f"{listener._token} checkpoint 12\n".encode()) == 12


def test_workers_meet_when_the_last_one_is_there_and_hear_what_each_came_with(spark: SparkSession) -> None:
    workers = 20

    def work(reporter: RoundReporter, worker: int) -> list[list[str]]:
        """As on an executor: with a reporter of its own."""
        own = copy.copy(reporter)
        return [own.meet(worker, workers, f"10.0.0.{worker}:7"), own.meet(worker, workers)]

    with listening(spark, bool) as listener, ThreadPoolExecutor(workers) as pool:
        met = [pool.submit(work, listener.reporter, worker) for worker in reversed(range(1, workers))]
        time.sleep(0.2)
        assert not any(one.done() for one in met)
        met.append(pool.submit(work, listener.reporter, 0))
        wanted = [[f"10.0.0.{worker}:7" for worker in range(workers)], [""] * workers]
        assert [one.result(timeout=20.0) for one in met] == [wanted] * workers


def test_whoever_waits_for_others_is_told_when_the_fit_has_ended(spark: SparkSession) -> None:
    with ThreadPoolExecutor(1) as pool:
        with listening(spark, bool) as listener:
            waiting = pool.submit(listener.reporter.meet, 0, 2)
            wait_until(lambda: listener._came)
        with pytest.raises(ConnectionError, match="worker 0 of a fit lost the driver at 127"):
            waiting.result(timeout=20.0)
    with pytest.raises(ConnectionError, match="worker 1 of a fit lost the driver"):
        listener.reporter.meet(1, 2)


def test_a_stranger_meets_nobody() -> None:
    earlier, listener = (RoundListener("127.0.0.1", 1, keep=bool) for _ in range(2))
    for message in (f"{earlier._token} meet 1 0 1 ", f"{listener._token} meet 1 0 one ", f"{listener._token} meet 1 "):
        assert listener.meet(message.encode()) is None
    assert listener.meet(f"{listener._token} meet 1 0 1 \n".encode()) == [""]
    assert listener.hear(f"{listener._token} meet 1 0 1 \n".encode()) == 0


def test_a_checkpoint_reaches_the_driver_whole(spark: SparkSession) -> None:
    kept: list[bytes] = []
    content = bytes(range(256)) * 5000
    with listening(spark, kept.append) as listener:
        listener.reporter.tell(0)
        listener.reporter.hand_over(content)
        listener.reporter.hand_over(b"\nsecond\n")
        wait_until(lambda: len(kept) == 2)
    assert kept == [content, b"\nsecond\n"]
    assert listener.last_round == 0


def test_a_checkpoint_that_cannot_be_kept_ends_no_fit(spark: SparkSession, caplog: pytest.LogCaptureFixture) -> None:
    def refuse(_: bytes) -> None:
        raise OSError(28, "No space left on device")

    with listening(spark, refuse) as listener:
        listener.reporter.hand_over(b"model")
        wait_until(lambda: caplog.messages)
        listener.reporter.tell(1)
        wait_until(lambda: listener.last_round == 1)
    assert caplog.messages == ["a checkpoint of 5 bytes was not kept: OSError"]


def wait_until(is_so: Callable[[], object]) -> None:
    deadline = time.monotonic() + 20.0
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_driver_that_does_not_listen_ends_no_round(spark: SparkSession) -> None:
    with listening(spark, bool) as listener:
        reporter = listener.reporter
    reporter.tell(0)
    reporter.hand_over(b"model")
    assert listener.last_round is None


def test_patience_has_no_say_in_what_a_run_is() -> None:
    orders = {"source": {"path": "p"}, "label": "y", "numeric": ("x",)}
    patient = {"stall_limit_s": 5.0, "max_fit_attempts": 9, "slot_wait_s": 1.0}
    one, same, other = (
        RunConfig.model_validate(
            {
                "name": "n",
                "output": "o",
                "orders": orders,
                "strategies": ({"kind": "none", "name": "none"},),
                "training": t,
            }
        )
        for t in ({}, patient, {"rounds": 3})
    )
    assert config_hash(one) == config_hash(same) != config_hash(other)
