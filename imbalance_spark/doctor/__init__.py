"""Whether this machine, this Spark and the places of a config can run the jobs."""

from imbalance_spark.doctor.all_checks import examine
from imbalance_spark.doctor.finding import Finding, is_healthy

__all__ = ["Finding", "examine", "is_healthy"]
