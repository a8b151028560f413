"""One local Spark session for all tests of a process, small and quiet, and the order in which files run."""

import fcntl
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from hypothesis import settings
from matplotlib.figure import Figure
from pyspark.sql import SparkSession
from support.running_order import pytest_collection_modifyitems, pytest_xdist_make_scheduler
from support.spark_settings import SETTINGS, set_environment

from imbalance_spark.core.spark_session import spark_session
from imbalance_spark.metrics import plots

__all__ = ["pytest_collection_modifyitems", "pytest_xdist_make_scheduler", "spark"]

settings.register_profile("tests", deadline=None, derandomize=True)
settings.load_profile("tests")
set_environment()


@pytest.fixture(scope="session")
def spark() -> Iterator[SparkSession]:
    # Processes that start together would fill Ivy's cache over each other's heads.
    with ExitStack() as stack:
        with _one_at_a_time():
            # Where a session ends after one job, the daemon would load more than it saves.
            settings = {**SETTINGS, "spark.python.daemon.module": "support.worker_daemon"}
            session = stack.enter_context(spark_session("tests", "local[2]", settings, is_own=True))
        yield session


@pytest.fixture(scope="module", autouse=True)
def blank_pictures(request: pytest.FixtureRequest) -> Iterator[None]:
    """Jobs log empty pictures, as drawing takes a quarter of a small job's time, but in files marked `pictures`."""
    with pytest.MonkeyPatch.context() as patch:
        if request.node.get_closest_marker("pictures") is None:
            patch.setattr("imbalance_spark.comparison.evidence.pngs", lambda figures: dict.fromkeys(figures, b""))
            for name in filter(lambda name: name.endswith("_figure"), plots.__all__):
                patch.setattr(plots, name, lambda *_, **__: Figure())
        yield


@contextmanager
def _one_at_a_time() -> Iterator[None]:
    with Path(tempfile.gettempdir(), "imbalance_spark_tests.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
