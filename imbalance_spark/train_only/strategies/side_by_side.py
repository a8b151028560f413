"""Fits that do not wait for each other, at the same time on slots that one alone would leave free."""

from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from typing import TypeVar

from py4j.protocol import Py4JError
from pyspark.sql import SparkSession
from pyspark.util import inheritable_thread_target

from imbalance_spark.train_only.learners.executors import count_slots
from imbalance_spark.train_only.learners.retry import tagged_jobs

Fitted = TypeVar("Fitted")

_CANCEL_EVERY_S = 0.5


def fits_at_once(spark: SparkSession, num_workers: int, *, most: int) -> int:
    """How many fits of `num_workers` barrier tasks find slots at the same time; at least 1.

    Args:
        most: how many there are, or the executors' memory holds.
    """
    return max(1, min(most, count_slots(spark) // num_workers))


def side_by_side(spark: SparkSession, fits: Sequence[Callable[[SparkSession], Fitted]], at_once: int) -> list[Fitted]:
    """What the fits return, in their order; where one fails, the others are ended before its error is raised.

    Args:
        fits: each is called with a session of its own, whose settings it may change; one after another with `spark`
            where `at_once` is 1.
        at_once: threads.
    """
    if at_once == 1:
        return [fit(spark) for fit in fits]
    started: list[Future[Fitted]] = []
    with tagged_jobs(spark) as tag, ThreadPoolExecutor(at_once, thread_name_prefix="member") as pool:
        try:
            started = [pool.submit(inheritable_thread_target(spark)(fit), _session_like(spark)) for fit in fits]
            wait(started, return_when=FIRST_EXCEPTION)
            failed = [future for future in started if future.done() and future.exception() is not None]
            return [future.result() for future in failed or started]
        finally:
            _end(spark, tag, started)


def _end(spark: SparkSession, tag: str, started: Sequence[Future[Fitted]]) -> None:
    """Cancel the jobs of fits that still run, again and again until these have ended; after a success none runs."""
    running = {future for future in started if not future.cancel()}
    while running := wait(running, timeout=0.0).not_done:
        with suppress(Py4JError, OSError):  # without a JVM the fits end by themselves
            spark.sparkContext.cancelJobsWithTag(tag)
        wait(running, timeout=_CANCEL_EVERY_S)


def _session_like(spark: SparkSession) -> SparkSession:
    """Another session on the same executors with the settings of this one."""
    other = spark.newSession()
    for name, value in spark.conf.getAll.items():
        if spark.conf.isModifiable(name):
            other.conf.set(name, value)
    return other
