"""Names of the columns that stages hand each other, and small helpers on DataFrames."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from imbalance_spark.errors import MissingColumnsError
from imbalance_spark.hashing import quoted

SPLIT = "split"
TRAIN, VALIDATION, TEST = "train", "validation", "test"
FOLDS = (TRAIN, VALIDATION, TEST)
GAP = "gap"
"""Value of `split` for rows between two time folds: nobody reads them."""
IS_EARLY_STOPPING = "is_early_stopping"
SAMPLING_WEIGHT = "sampling_weight"
COPY_NUMBER = "copy_number"
"""0 for the row itself, 1, 2 ... for its copies and for the synthetic rows that it is the parent of."""
CLASS_WEIGHT = "class_weight"
TRUE_PROBABILITY = "true_probability"


def col(name: str) -> Column:
    """The column of exactly this name, whatever characters it holds."""
    return F.col(quoted(name))


def require_columns(frame: DataFrame, needed: Collection[str], stage: str) -> None:
    """Raise `MissingColumnsError` that names every needed column the frame lacks."""
    if missing := set(needed) - set(frame.columns):
        raise MissingColumnsError.of(stage, missing, frame.columns)


@contextmanager
def persisted(frame: DataFrame) -> Iterator[DataFrame]:
    """The frame cached for the length of the block, for results that are read more than once."""
    cached = frame.persist()
    try:
        yield cached
    finally:
        cached.unpersist()
