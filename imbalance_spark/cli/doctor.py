"""The doctor: all checks in turn, first on the driver, then on a Spark session of their own."""

import sys
from collections.abc import Iterator

from pyspark.sql import SparkSession

from imbalance_spark.cli.doctor_checks import (
    Finding,
    check_delta,
    check_dynamic_allocation,
    check_executor_versions,
    check_jars,
    check_java,
    check_learners,
    check_output,
    check_packages,
    check_python,
    check_slots,
    check_tracking,
    installed_java,
    installed_versions,
    proven_versions,
)
from imbalance_spark.config.run import RunConfig
from imbalance_spark.core.spark_session import runtime, spark_session


def run_checks(config: RunConfig | None, *, slot_wait_s: float = 30.0) -> Iterator[Finding]:
    """Every check in turn; a check that raises is a finding and stops no other.

    Starts a Spark session and runs one barrier job with a tiny task per slot. Without a config, the checks of the
    tracking store, the output folder and the number of workers are left out.

    Args:
        slot_wait_s: seconds that executors may take to register.
    """
    yield check_python(sys.version_info[:2])
    yield from check_packages(installed_versions(), proven_versions())
    yield check_delta()
    if config is not None:
        yield from check_learners(config.compared)
        yield check_tracking(config.tracking)
    yield from _check_spark(config, slot_wait_s)


def _check_spark(config: RunConfig | None, slot_wait_s: float) -> Iterator[Finding]:
    master, settings = (None, None) if config is None else (config.spark.master, config.spark.settings)
    started = False
    try:
        with spark_session("doctor", master, settings) as spark:
            started = True
            yield from _checks_of(spark, config, slot_wait_s)
    except Exception as error:
        if not started:
            yield check_java(installed_java())
        yield Finding.of_error("Spark session", error)


def _checks_of(spark: SparkSession, config: RunConfig | None, slot_wait_s: float) -> Iterator[Finding]:
    found = f"{spark.version} classic (no Connect, no serverless), with Delta, on {spark.sparkContext.master}"
    yield Finding(status="ok", what="Spark session", found=found)
    yield check_java(str(spark._jvm.System.getProperty("java.version")))  # type: ignore[union-attr]
    if runtime() is None:
        yield check_jars(spark.sparkContext.getConf().get("spark.jars", ""))
    dynamic = check_dynamic_allocation(spark)
    yield dynamic
    if dynamic.status == "ok":
        workers = None if config is None else config.training.num_workers
        yield check_slots(spark, workers, slot_wait_s=slot_wait_s)
        yield from check_executor_versions(spark)
    if config is not None:
        yield check_output(spark, config.output)
