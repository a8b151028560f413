"""What a process imports: XGBoost and LightGBM without scikit-learn, where nobody needs their estimators."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyspark import SparkContext

_OWN = "IMBALANCE_SPARK_OWN_PROCESS"


def own_this_process() -> None:
    """Say that this process runs a job of this package and nothing else."""
    os.environ[_OWN] = "1"


def own_workers(context: "SparkContext") -> None:
    """Say so of the Python workers of an application, of all whose functions are made from here on."""
    context.environment[_OWN] = "1"


@contextmanager
def shared_workers(context: "SparkContext") -> Iterator[None]:
    """Python functions that are made in the block run in other workers, for code that needs scikit-learn's estimators.

    Spark gives functions of one environment workers of their own.
    """
    owned = context.environment.get(_OWN)
    context.environment[_OWN] = "0"
    try:
        yield
    finally:
        context.environment.pop(_OWN)
        if owned is not None:
            context.environment[_OWN] = owned


@contextmanager
def without_sklearn() -> Iterator[None]:
    """In the block scikit-learn is not found, as where it is not installed.

    XGBoost and LightGBM load it with them for their estimators: a second or two, and 100 MiB, of each process. In a
    process that somebody else's code shares, a notebook or one of its workers, the block changes nothing.
    """
    if os.environ.get(_OWN) != "1" or "sklearn" in sys.modules:
        yield
        return
    sys.modules["sklearn"] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules["sklearn"]
