"""A distributed fit under watch: one that lost a worker or hangs is cancelled and retried from its last checkpoint."""

import logging
import re
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from py4j.protocol import Py4JNetworkError
from pyspark.sql import SparkSession

from imbalance_spark.core.errors import TrainingError
from imbalance_spark.train_only.config import TrainingConfig
from imbalance_spark.train_only.learners.executors import require_training_slots
from imbalance_spark.train_only.learners.round_reports import RoundListener, RoundReporter, listening

logger = logging.getLogger(__name__)


Fitted = TypeVar("Fitted")


_LOOK_EVERY_S = 1.0


_LOST = (
    # First what says most: the other workers fail by their peer's end, in words of the network.
    (
        re.compile(r"Python worker exited unexpectedly|EOFException"),
        "a worker's Python process was killed, as the system does when memory runs out",
    ),
    (re.compile(r"ExecutorLostFailure|executor \S+ (?:lost|exited)|ExecutorDeadException"), "an executor was lost"),
    (re.compile(r"worker \d+ of a fit lost the driver"), "a worker lost its connection to the driver"),
    (re.compile(r"FetchFailed"), "shuffle files of a lost executor are gone"),
    (
        re.compile(r"XGBoostError[\s\S]*(?:[Ss]ocket|[Cc]onnection|[Cc]ollective|tracker)"),
        "a worker's peer is gone, as it is when the system killed it for memory",
    ),
    (
        re.compile(r"LightGBMError[\s\S]*(?:[Ss]ocket|[Cc]onnect|[Pp]ort)"),
        "a worker's peer is gone or its port was taken, as it is when the system killed it for memory",
    ),
)


def fit_watched(
    spark: SparkSession,
    fit: Callable[[RoundReporter], Fitted],
    training: TrainingConfig,
    strategy: str,
    keep: Callable[[bytes], object],
) -> Fitted:
    """Run a fit; one that a lost or hanging worker ended is run again, up to `training.max_fit_attempts` times.

    XGBoost on Spark waits for a worker that hangs for half an hour, and Spark does not try a barrier stage again
    from Python. A fit hangs when for `training.stall_limit_s` no round ended, no task ended and no row was read.
    The same rows on the same workers give the same trees in whichever attempt.

    Args:
        fit: the fit, from its start or what it has kept, given what its first worker reports with. Spark jobs of the
            calling thread.
        strategy: name for messages.
        keep: called on another thread with each checkpoint that the fit hands over.
    Raises:
        SlotsUnavailableError: executors are gone, and for `training.slot_wait_s` no others took their place.
        TrainingError: every attempt lost a worker or hung.
        Exception: what `fit` raised, where that is not for want of a worker: it would fail again.
    """
    ends: list[_Ended] = []
    while len(ends) < training.max_fit_attempts:
        require_training_slots(spark, training.num_workers, slot_wait_s=training.slot_wait_s)
        try:
            return _attempt(spark, fit, training, keep)
        except _Ended as end:
            ends.append(end)
        tried = f"attempt {len(ends)} of {training.max_fit_attempts}"
        logger.warning("training of strategy %r: %s: %s", strategy, tried, ends[-1])
    reasons = "; ".join(dict.fromkeys(map(str, ends)))
    raise TrainingError(
        f"training of strategy {strategy!r}: {len(ends)} attempts (training.max_fit_attempts) failed: {reasons}. "
        "Give executors more memory (spark.executor.memoryOverhead for Python), or look for a node that fails."
    ) from ends[-1].__cause__


class _Ended(Exception):  # noqa: N818  # caught here, not an error that anyone sees
    """An attempt that is worth another one."""


def _attempt(
    spark: SparkSession,
    fit: Callable[[RoundReporter], Fitted],
    training: TrainingConfig,
    keep: Callable[[bytes], object],
) -> Fitted:
    with tagged_jobs(spark) as tag, listening(spark, keep) as listener:
        watch = _Watch(spark, tag, listener, training.stall_limit_s)
        watch.start()
        try:
            return fit(listener.reporter)
        except Exception as error:
            watch.end()
            if (reason := watch.verdict or _lost_worker(error)) is None:
                raise
            raise _Ended(reason) from error
        finally:
            watch.end()


@contextmanager
def tagged_jobs(spark: SparkSession) -> Iterator[str]:
    """The Spark jobs of the block, and of threads that inherit its properties, have the tag that it is given.

    The caller's own job group and description stay.
    """
    tag = f"fit-{uuid.uuid4().hex}"
    spark.sparkContext.addJobTag(tag)
    try:
        yield tag
    finally:
        spark.sparkContext.removeJobTag(tag)


def _lost_worker(error: Exception) -> str | None:
    """What happened to a worker, where that is why a fit failed; its text may hold rows and is not passed on."""
    text = str(error)
    return next((reason for pattern, reason in _LOST if pattern.search(text)), None)


class _Watch(threading.Thread):
    """Cancels the tagged jobs when they get nowhere; `verdict` then says so."""

    def __init__(self, spark: SparkSession, tag: str, listener: RoundListener, limit_s: float) -> None:
        super().__init__(name=tag, daemon=True)
        self.verdict: str | None = None
        self._spark, self._tag, self._listener, self._limit_s = spark, tag, listener, limit_s
        self._is_over = threading.Event()

    def end(self) -> None:
        """Stop watching; returns when the last look is over."""
        self._is_over.set()
        self.join()

    def run(self) -> None:
        """Look at the fit until it ends or must be ended."""
        progress: Any = None
        moved_at = time.monotonic()
        try:
            while not self._is_over.wait(min(_LOOK_EVERY_S, self._limit_s / 4)):
                found = (self._listener.last_round, work_done(self._spark, self._tag))
                if found != progress:
                    progress, moved_at = found, time.monotonic()
                elif time.monotonic() - moved_at >= self._limit_s:
                    # At each look again: Spark cancels the jobs that are there, not those that are still to come.
                    self._cancel()
        except (Py4JNetworkError, OSError):
            # The JVM went away: the fit cannot go on either, and says so.
            logger.debug("the watch of a fit lost the JVM", exc_info=True)

    def _cancel(self) -> None:
        last = self._listener.last_round
        place = "before the first round ended" if last is None else f"after round {last + 1}"
        self.verdict = f"no progress for {self._limit_s:g} s (training.stall_limit_s) {place}"
        self._spark.sparkContext.cancelJobsWithTag(self._tag)


def work_done(spark: SparkSession, tag: str) -> tuple[int, int, int]:
    """Tasks that ended, and rows read from files and from shuffles, by the stages of the tagged jobs.

    Executors send these with their heartbeats, each 10 s: they show that rows are still being loaded, which comes
    before the first round.
    """
    context = spark.sparkContext._jsc.sc()
    tracker, store = context.statusTracker(), context.statusStore()
    jobs = [tracker.getJobInfo(job) for job in tracker.getJobIdsForTag(tag)]
    stages = {number for job in jobs if job.isDefined() for number in job.get().stageIds()}
    begun = [store.lastStageAttempt(number) for number in stages if tracker.getStageInfo(number).isDefined()]
    return (
        sum(stage.numCompleteTasks() for stage in begun),
        sum(stage.inputRecords() for stage in begun),
        sum(stage.shuffleReadRecords() for stage in begun),
    )
