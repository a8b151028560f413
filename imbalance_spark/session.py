"""The Spark session of jobs, notebooks and tests, and the Delta JAR that belongs to it."""

from imbalance_spark.core.spark_session import delta_package, spark_session

__all__ = ["delta_package", "spark_session"]
