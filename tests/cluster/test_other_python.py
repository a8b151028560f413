"""Executors of a real cluster whose Python lacks what the driver has."""

import os
import subprocess
import sys
from pathlib import Path

_DRIVER = """
from imbalance_spark.errors import UnsupportedSparkError
from imbalance_spark.learners.slots import check_executors
from imbalance_spark.session import spark_session

settings = {"spark.ui.enabled": "false", "spark.driver.host": "127.0.0.1", "spark.log.level": "ERROR"}
with spark_session("other python", "local-cluster[1,1,1024]", settings) as spark:
    try:
        check_executors(spark)
    except UnsupportedSparkError as error:
        print("REFUSED", error)
"""


def test_executors_without_xgboost_are_refused_before_any_fit(tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(bare)], check=True, timeout=120)
    environment = {
        **os.environ,
        "PYSPARK_PYTHON": str(bare / "bin" / "python"),
        "PYSPARK_DRIVER_PYTHON": sys.executable,
        "SPARK_LOCAL_IP": "127.0.0.1",
    }
    ended = subprocess.run(
        [sys.executable, "-c", _DRIVER], env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    [refused] = [line for line in ended.stdout.splitlines() if line.startswith("REFUSED")] or [ended.stderr[-2000:]]
    assert "xgboost" in refused, refused
    assert "not installed" in refused or "missing" in refused, refused
