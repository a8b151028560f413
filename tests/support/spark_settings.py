"""What a Spark of the tests is told: small and quiet, and a JVM that starts fast rather than runs long."""

import os
import sys
from pathlib import Path

SETTINGS = {
    "spark.ui.enabled": "false",
    "spark.sql.shuffle.partitions": "2",
    "spark.default.parallelism": "2",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.driver.host": "127.0.0.1",
    "spark.driver.memory": "3g",
    "spark.ui.showConsoleProgress": "false",
    "spark.log.level": "ERROR",
    # What Spark compiles for one test, hundreds after it run again; by default it keeps 100 classes.
    "spark.sql.codegen.cache.maxEntries": "2000",
    # Delta reads the log of a table in 50 tasks unless told otherwise; those of the tests have a few lines.
    "spark.databricks.delta.snapshotPartitions": "1",
    # The line of Python behind a column, told to the JVM with each call: a sixth of a small job's time in Python.
    "spark.python.sql.dataFrameDebugging.enabled": "false",
    # Nobody looks at the UI: no plan is written out for it.
    "spark.sql.ui.explainMode": "simple",
}

CLASS_ARCHIVE = Path(sys.prefix) / "spark_classes.jsa"
"""Spark's classes as `class_archive` keeps them; without it everything works, and starts slower."""

SHORT_LIVED = "-XX:TieredStopAtLevel=1 -XX:ReservedCodeCacheSize=256m -XX:+UseSerialGC -XX:-UsePerfData"
"""A JVM of the tests lives for minutes and runs most code a few times: the optimizing compiler and parallel
collection cost it a third of all processor time and give nothing back. Without that compiler the JVM would keep
compiled code in 48 MB, and throw out and compile again what the tests run: another tenth."""

JAVA_OPTIONS = SHORT_LIVED + (f" -XX:SharedArchiveFile={CLASS_ARCHIVE} -Xlog:cds=off" if CLASS_ARCHIVE.exists() else "")


_TESTS = Path(__file__).resolve().parents[1]

_ENVIRONMENT = {
    "SPARK_SUBMIT_OPTS": JAVA_OPTIONS,
    # Two processes share two cores with their JVMs: a second thread for small arrays would wait, and spin, for a core.
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}


def set_environment() -> None:
    """Of this process and its children, the processes of pytest-xdist and drivers; what is set already stays."""
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    # Where the daemon of Python workers finds `support`, and they the package of this checkout.
    paths = [str(_TESTS.parent), str(_TESTS), *filter(None, [os.environ.get("PYTHONPATH")])]
    os.environ["PYTHONPATH"] = os.pathsep.join(dict.fromkeys(os.pathsep.join(paths).split(os.pathsep)))
