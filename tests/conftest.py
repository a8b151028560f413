"""One local Spark session for all tests of a process, small and quiet."""

import fcntl
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from pyspark.sql import SparkSession
from support.spark_settings import SETTINGS

from imbalance_spark.core.spark_session import spark_session


@pytest.fixture(scope="session")
def spark() -> Iterator[SparkSession]:
    # Processes that start together would fill Ivy's cache over each other's heads.
    with ExitStack() as stack:
        with _one_at_a_time():
            session = stack.enter_context(spark_session("tests", "local[2]", SETTINGS))
        yield session


@contextmanager
def _one_at_a_time() -> Iterator[None]:
    with Path(tempfile.gettempdir(), "imbalance_spark_tests.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
