"""Spark's classes as a JVM holds them once loaded: a file that later JVMs map instead of loading class by class.

python tests/support/class_archive.py    (`make test` does it once per installation)

A JVM that starts a context, writes a small table and reads it spends most of that time on loading and verifying
classes, and the tests start some twenty JVMs.
"""

import os
import tempfile

from pyspark.sql import SparkSession

from imbalance_spark.core.spark_session import spark_session
from support.spark_settings import CLASS_ARCHIVE, SETTINGS, SHORT_LIVED, set_environment

_PATIENCE_S = 600


def main() -> None:
    """Write the archive as one JVM ends; it takes its name when it is complete."""
    made = CLASS_ARCHIVE.with_suffix(".new")
    set_environment()
    quietly = "-Xlog:cds=off -Xlog:cds+dynamic=off"
    os.environ["SPARK_SUBMIT_OPTS"] = f"{SHORT_LIVED} -XX:ArchiveClassesAtExit={made} {quietly}"
    with spark_session("classes", "local[2]", SETTINGS) as spark:
        _use(spark)
        gateway = spark.sparkContext._gateway
    gateway.shutdown()
    gateway.proc.stdin.close()
    gateway.proc.wait(timeout=_PATIENCE_S)
    made.rename(CLASS_ARCHIVE)


def _use(spark: SparkSession) -> None:
    """What every test of a job does with Spark, so that its classes are loaded."""
    rows = spark.range(0, 1000, 1, 2).selectExpr("id", "id % 7 part", "cast(id as string) name", "xxhash64(id) / 7 x")
    with tempfile.TemporaryDirectory() as folder:
        rows.write.format("delta").save(f"{folder}/table")
        table = spark.read.format("delta").option("versionAsOf", 0).load(f"{folder}/table")
        table.groupBy("part").agg({"x": "sum", "name": "max"}).orderBy("part").collect()
        others = table.join(table.where("x > 0").select("id"), "id", "left_anti")
        others.mapInArrow(lambda batches: batches, others.schema).count()


if __name__ == "__main__":
    main()
