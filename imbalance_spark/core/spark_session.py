"""The Spark session of jobs, notebooks and tests, and the Databricks runtime where there is one."""

import os
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version

from pyspark import SparkConf, SparkContext
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.utils import is_remote

from imbalance_spark.core.errors import UnsupportedSparkError
from imbalance_spark.core.imports import own_workers
from imbalance_spark.core.signals import raising_on


def runtime() -> str | None:
    """The version of the Databricks runtime, such as `19.0`; None elsewhere."""
    return os.environ.get("DATABRICKS_RUNTIME_VERSION")


_NEEDED = {
    "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
    "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
    # All times are UTC: no time zone may move a row across a time split.
    "spark.sql.session.timeZone": "UTC",
}
"""Whatever spark-submit or the cluster's defaults say."""

_DEFAULTS = {
    # Spark's own (50 and 200) cost seconds an action on small tables.
    "spark.databricks.delta.snapshotPartitions": "2",
    # HotSpot does not compile methods above 8,000 bytes of bytecode: up to this limit Spark splits generated ones.
    "spark.sql.codegen.hugeMethodLimit": "8000",
}

_PARTITIONS = "spark.sql.shuffle.partitions"
_PARTITION_BYTES, _MOST_PARTITIONS = 64 << 20, 20_000

_LOCAL = "local[*]"
"""What spark-submit says of itself where nobody named a master."""


def delta_package() -> str:
    """Maven coordinate of the Delta JAR that fits the installed pyspark and delta-spark."""
    spark = ".".join(version("pyspark").split(".")[:2])
    return f"io.delta:delta-spark_{spark}_2.13:{version('delta-spark')}"


@contextmanager
def spark_session(
    app_name: str, master: str | None = None, settings: Mapping[str, str] | None = None, *, is_own: bool = False
) -> Iterator[SparkSession]:
    """A session with Delta; stopped when the block ends, unless one was running before.

    Args:
        app_name: shown in the Spark UI.
        master: such as `local[2]`; spark-submit and the cluster override it.
        settings: further Spark settings; spark-submit overrides them.
        is_own: whether a session that starts here runs this package alone, as that of a job does: its Python workers
            then load XGBoost without what somebody else might need, see `without_sklearn`.

    Raises:
        UnsupportedSparkError: Spark Connect, or a session without Delta's classes.
    """
    # The active session belongs to a JVM thread, and after a signal Python talks to another; the context is shared.
    was_running = SparkContext._active_spark_context is not None or is_remote()
    spark = SparkSession.Builder().getOrCreate() if was_running else _start(app_name, master, settings or {})
    try:
        refuse_connect(spark)
        _require_delta(spark)
        if is_own and not was_running:
            own_workers(spark.sparkContext)
        # With Spark's own handler, the next call would read the answer to the call that was interrupted.
        with raising_on(signal.SIGINT, KeyboardInterrupt):
            yield spark
    finally:
        if not was_running:
            spark.stop()


@contextmanager
def shuffles_of_a_run(spark: SparkSession) -> Iterator[None]:
    """At the end of the block, what `fit_shuffles` has set is forgotten: the session may be somebody's own."""
    was_set = _has_partitions(spark)
    try:
        yield
    finally:
        if not was_set:
            spark.conf.unset(_PARTITIONS)


def fit_shuffles(rows: DataFrame) -> None:
    """As many shuffle partitions as these rows and the slots ask for, where nobody has set their number.

    Two for each slot, or one for each 64 MiB of the rows where that is more: what is shuffled of them is a part of it.
    Spark's own 200 take a fixed second of each shuffle of a small table, and are few for one of a terabyte. Starts no
    job: the size is that of the files.
    """
    spark = rows.sparkSession
    if _has_partitions(spark):
        return
    size = int(str(rows._jdf.queryExecution().optimizedPlan().stats().sizeInBytes()))
    wanted = max(2 * spark.sparkContext.defaultParallelism, -(-size // _PARTITION_BYTES))
    spark.conf.set(_PARTITIONS, str(min(wanted, _MOST_PARTITIONS)))


def _has_partitions(spark: SparkSession) -> bool:
    return bool(spark._jsparkSession.sessionState().conf().contains(_PARTITIONS))


def refuse_connect(spark: SparkSession) -> None:
    """Raise `UnsupportedSparkError` on Spark Connect: `xgboost.spark` needs a classic session."""
    if "connect" in type(spark).__module__.split("."):
        raise UnsupportedSparkError(
            "Spark Connect session: distributed XGBoost needs a classic session with a SparkContext. "
            "Use spark-submit, or a dedicated (single user) cluster on Databricks."
        )


def _start(app_name: str, master: str | None, settings: Mapping[str, str]) -> SparkSession:
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    is_submitted = "PYSPARK_GATEWAY_PORT" in os.environ
    if is_submitted:
        # The JVM knows what spark-submit was asked for: as long as Python has not met it, any SparkConf is empty.
        SparkContext._ensure_initialized()
    submitted = dict(SparkConf().getAll()) if is_submitted else {}
    added = settings_beside(submitted, master, settings)
    if not is_submitted:
        added.setdefault("spark.jars.packages", delta_package())
    builder = SparkSession.Builder().appName(app_name)
    for name, value in added.items():
        builder = builder.config(name, value)
    return builder.getOrCreate()


def settings_beside(submitted: Mapping[str, str], master: str | None, settings: Mapping[str, str]) -> dict[str, str]:
    """What a session sets by itself beside what spark-submit was asked for.

    Args:
        submitted: settings of spark-submit and of the cluster's defaults; none of another Python.
        master: of the config; one that spark-submit was given overrides it.
        settings: of the config, as `master`.
    """
    wanted = {**_DEFAULTS, **settings}
    added = {**_NEEDED, **{name: value for name, value in wanted.items() if name not in submitted}}
    if submitted.get("spark.master", _LOCAL) == _LOCAL:
        added["spark.master"] = master or settings.get("spark.master", _LOCAL)
    return added


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
