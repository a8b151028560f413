"""The leakage guard: a job that reads a row which is not a training row fails."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from pyspark.errors import PySparkException
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from imbalance_spark.core.columns import SPLIT, TRAIN, col, require_columns
from imbalance_spark.core.errors import LeakageError

_MARK = "LeakageError: "
_LEAK = re.compile(rf"{_MARK}([^\n]*?)(?: SQLSTATE|\n|$)")


def only_train(frame: DataFrame, stage: str) -> DataFrame:
    """The same rows; a Spark job that reads a row whose `split` is null or not "train" fails.

    Lazy and without a pass of its own: a filter that keeps every training row and raises an error on any
    other. Every later operation (a count, one column, a filter) goes through it.

    Args:
        frame: any grain, with `split` (string).
        stage: name of the caller, for the message.

    Raises:
        MissingColumnsError: the frame has no column `split`.
    """
    require_columns(frame, (SPLIT,), stage)
    message = (
        f"{_MARK}{stage}: a row that is not a training row (split is not {TRAIN!r}) reached it. "
        f"Give it training rows only: where split = {TRAIN!r}."
    )
    # A partition's number is never negative, but the optimizer does not know that: it takes the condition
    # for non-deterministic, and neither moves later filters past it nor pushes them into the file scan.
    is_train = (col(SPLIT) == TRAIN) & (F.spark_partition_id() >= 0)
    return frame.where(F.when(is_train, F.lit(True)).otherwise(F.raise_error(F.lit(message)).cast("boolean")))


@contextmanager
def leakage_errors() -> Iterator[None]:
    """Turn the Spark error of a guard into the `LeakageError` that it stands for."""
    try:
        yield
    except PySparkException as error:
        leak = _LEAK.search(str(error))
        if leak is None:
            raise
        raise LeakageError(leak.group(1)) from None
