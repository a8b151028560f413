"""Scikit-learn is not loaded where nobody needs it, and is there where somebody may."""

import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pytest
from pyspark.sql import SparkSession

from imbalance_spark.core.imports import shared_workers
from imbalance_spark.core.spark_session import spark_session

LOADED = "import sys; print(sys.modules.get('sklearn') is not None, xgboost.compat.SKLEARN_INSTALLED)"
BLOCK = "from imbalance_spark.core.imports import own_this_process, without_sklearn\n"
IMPORT = "with without_sklearn():\n    import xgboost\n"


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (f"{BLOCK}own_this_process()\n{IMPORT}{LOADED}", "False False"),
        (f"{BLOCK}{IMPORT}{LOADED}", "True True"),
        (f"{BLOCK}own_this_process()\nimport sklearn\n{IMPORT}{LOADED}", "True True"),
        (f"{BLOCK}own_this_process()\n{IMPORT}import sklearn\n{LOADED}", "True False"),
    ],
    ids=["own process", "shared process", "loaded before", "loaded after"],
)
def test_xgboost_loads_sklearn_only_where_others_may_want_it(code: str, said: str) -> None:
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == said


def test_a_worker_of_a_fit_loads_neither_sklearn_nor_pandas() -> None:
    code = (
        f"{BLOCK}own_this_process()\nimport sys\n{IMPORT}"
        "import imbalance_spark.train_only.learners.worker, imbalance_spark.train_only.learners.spill\n"
        "print({'sklearn', 'pandas', 'scipy.stats', 'scipy.optimize', 'mlflow', 'matplotlib'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_python_workers_are_our_own_but_where_they_are_asked_to_be_shared(spark: SparkSession) -> None:
    assert _in_a_worker(spark) == "1"
    with shared_workers(spark.sparkContext):
        assert _in_a_worker(spark) == "0"
    assert _in_a_worker(spark) == "1"


def test_a_session_that_was_running_before_keeps_its_workers(spark: SparkSession) -> None:
    with shared_workers(spark.sparkContext), spark_session("another", is_own=True) as running:
        assert running is spark
        assert _in_a_worker(spark) == "0"


def _in_a_worker(spark: SparkSession) -> str:
    def told(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for _ in batches:
            yield pa.RecordBatch.from_pydict({"own": [os.environ.get("IMBALANCE_SPARK_OWN_PROCESS", "")]})

    rows: Any = spark.range(1).mapInArrow(told, "own string").collect()
    return str(rows[0]["own"])
