"""The Spark session of jobs, notebooks and tests, and the Databricks runtime where there is one."""

import os
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version

from pyspark import SparkConf, SparkContext
from pyspark.sql import SparkSession
from pyspark.sql.utils import is_remote

from imbalance_spark.core.errors import UnsupportedSparkError
from imbalance_spark.core.signals import raising_on


def runtime() -> str | None:
    """The version of the Databricks runtime, such as `19.0`; None elsewhere."""
    return os.environ.get("DATABRICKS_RUNTIME_VERSION")


_SETTINGS = {
    "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
    "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
    # All times are UTC: no time zone may move a row across a time split.
    "spark.sql.session.timeZone": "UTC",
    # The defaults (50 and 200) cost seconds an action on small tables.
    "spark.databricks.delta.snapshotPartitions": "2",
    # HotSpot does not compile methods above 8,000 bytes of bytecode: up to this limit Spark splits generated ones.
    "spark.sql.codegen.hugeMethodLimit": "8000",
}


def delta_package() -> str:
    """Maven coordinate of the Delta JAR that fits the installed pyspark and delta-spark."""
    spark = ".".join(version("pyspark").split(".")[:2])
    return f"io.delta:delta-spark_{spark}_2.13:{version('delta-spark')}"


@contextmanager
def spark_session(
    app_name: str, master: str | None = None, settings: Mapping[str, str] | None = None
) -> Iterator[SparkSession]:
    """A session with Delta; stopped when the block ends, unless one was running before.

    Args:
        app_name: shown in the Spark UI.
        master: such as `local[2]`; spark-submit and the cluster override it.
        settings: further Spark settings; spark-submit overrides them.

    Raises:
        UnsupportedSparkError: Spark Connect, or a session without Delta's classes.
    """
    # The active session belongs to a JVM thread, and after a signal Python talks to another; the context is shared.
    was_running = SparkContext._active_spark_context is not None or is_remote()
    spark = SparkSession.Builder().getOrCreate() if was_running else _start(app_name, master, settings or {})
    try:
        refuse_connect(spark)
        _require_delta(spark)
        # With Spark's own handler, the next call would read the answer to the call that was interrupted.
        with raising_on(signal.SIGINT, KeyboardInterrupt):
            yield spark
    finally:
        if not was_running:
            spark.stop()


def refuse_connect(spark: SparkSession) -> None:
    """Raise `UnsupportedSparkError` on Spark Connect: `xgboost.spark` needs a classic session."""
    if "connect" in type(spark).__module__.split("."):
        raise UnsupportedSparkError(
            "Spark Connect session: distributed XGBoost needs a classic session with a SparkContext. "
            "Use spark-submit, or a dedicated (single user) cluster on Databricks."
        )


def _start(app_name: str, master: str | None, settings: Mapping[str, str]) -> SparkSession:
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    given = SparkConf()
    builder = SparkSession.Builder().appName(app_name)
    defaults = {**_SETTINGS, **settings}
    if not given.contains("spark.master"):
        defaults["spark.master"] = master or "local[*]"
    is_submitted = "PYSPARK_GATEWAY_PORT" in os.environ
    if not is_submitted:
        defaults.setdefault("spark.jars.packages", delta_package())
    for name, value in defaults.items():
        if not given.contains(name):
            builder = builder.config(name, value)
    return builder.getOrCreate()


def _require_delta(spark: SparkSession) -> None:
    loader = spark._jvm.Thread.currentThread().getContextClassLoader()  # type: ignore[union-attr]
    try:
        # Databricks has the rest of Delta under names of its own.
        loader.loadClass("io.delta.tables.DeltaTable")
    except Exception as error:
        if "ClassNotFoundException" not in str(error):
            raise
        raise UnsupportedSparkError(
            f"this Spark has no Delta Lake classes. Add --packages {delta_package()} to spark-submit."
        ) from None
