"""Checks of a running Spark: allocation, slots, what executors run, and the output folder."""

import sys
from collections.abc import Iterator
from importlib.metadata import version

from pyspark.sql import SparkSession

from imbalance_spark.doctor.finding import Finding, guarded
from imbalance_spark.errors import UnsupportedSparkError
from imbalance_spark.learners.slots import check_executors, count_slots, require_training_slots
from imbalance_spark.storage import Folder

_PROBE = "doctor.probe"


def check_dynamic_allocation(spark: SparkSession) -> Finding:
    """Barrier training needs executors that stay."""
    is_on = spark.sparkContext.getConf().get("spark.dynamicAllocation.enabled", "false").lower() == "true"
    what = "dynamic allocation"
    if not is_on:
        return Finding(status="ok", what=what, found="off")
    fix = "set spark.dynamicAllocation.enabled=false and fix the number of executors (Databricks: no autoscaling)"
    return Finding(status="FAIL", what=what, found="on: Spark runs no barrier stage under it", fix=fix)


def check_slots(spark: SparkSession, num_workers: int | None, *, slot_wait_s: float) -> Finding:
    """Places for tasks that run at the same time, against the workers that a config asks for."""

    def count() -> Finding:
        if num_workers is None:
            found = f"{count_slots(spark)} now: the most that training.num_workers may be"
            return Finding(status="ok", what="barrier slots", found=found)
        slots = require_training_slots(spark, num_workers, slot_wait_s=slot_wait_s)
        return Finding(status="ok", what="barrier slots", found=f"{slots} for {num_workers} workers")

    return guarded("barrier slots", count)


def check_places(spark: SparkSession) -> Iterator[Finding]:
    """What each executor runs, against the driver: Python, packages, and this package importable there."""
    what = "executors"
    try:
        check_executors(spark)
    except UnsupportedSparkError as error:
        for problem in str(error).split(" | "):
            yield Finding.of_error(what, UnsupportedSparkError(problem.removeprefix("executors: ")))
    except Exception as error:
        yield Finding.of_error(what, error)
    else:
        # That the check passed says that each slot has the driver's versions.
        same = ", ".join(f"{name} {version(name)}" for name in ("xgboost", "pandas", "pyarrow", "numpy"))
        python = ".".join(map(str, sys.version_info[:2]))
        found = f"imbalance_spark importable, Python {python}, {same} in all {count_slots(spark)} slots"
        yield Finding(status="ok", what=what, found=found)


def check_output(spark: SparkSession, output: str) -> Finding:
    """Whether the output folder, which is made if it is new, takes a file; the file is removed again."""
    what, folder = "output folder", Folder(spark, output)
    try:
        folder.write_bytes(_PROBE, b"")
        folder.delete(_PROBE)
        return Finding(status="ok", what=what, found=f"writable: {folder.full_path()}")
    except Exception as error:
        found = f"{output}: {Finding.of_error(what, error).found}"
        fix = "give the user of the job write access, or set output to a folder that has it"
        return Finding(status="FAIL", what=what, found=found, fix=fix)
