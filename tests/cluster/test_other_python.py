"""Executors whose Python lacks what the driver has."""

import subprocess
import sys
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from imbalance_spark.core.errors import UnsupportedSparkError
from imbalance_spark.train_only.learners.executors import check_executors


def test_executors_without_xgboost_are_refused_before_any_fit(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bare = tmp_path / "bare"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(bare)], check=True, timeout=120)
    # What PYSPARK_PYTHON sets when a context starts: with it Spark sends each task to a process of this Python.
    monkeypatch.setattr(spark.sparkContext, "pythonExec", f"{bare}/bin/python")
    with pytest.raises(UnsupportedSparkError, match="xgboost is missing in 2 of 2 slots, the driver has"):
        check_executors(spark)
