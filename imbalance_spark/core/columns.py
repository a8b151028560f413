"""Names of the columns that stages hand each other, and the guards that stages share."""

import math
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from numbers import Integral, Real

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from imbalance_spark.core.errors import ConfigError, DataContractError, MissingColumnsError
from imbalance_spark.core.hashing import quoted

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


FEATURES_PER_SCAN = 200
"""Features that one aggregate covers; the time to plan an aggregate grows faster than its width."""


def in_scans(names: Sequence[str]) -> list[Sequence[str]]:
    """The names in parts of at most `FEATURES_PER_SCAN`, one for each scan."""
    return [names[start : start + FEATURES_PER_SCAN] for start in range(0, len(names), FEATURES_PER_SCAN)]


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


def check_seed(seed: object, stage: str) -> None:
    """Refuse a seed that is not an integer >= 0: a missing one would make a run unrepeatable."""
    if isinstance(seed, bool) or not isinstance(seed, Integral) or seed < 0:
        raise ConfigError(
            f"{stage}.seed must be an integer >= 0, got {seed!r}. Any will do, as long as it is written down."
        )


def is_number(value: object) -> bool:
    """Whether a setting is a finite number, and neither a truth value nor a text."""
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)


def taken_columns(frame: DataFrame, added: tuple[str, ...]) -> list[str]:
    """Those of the columns to add that the input already has, in any letter case."""
    present = {name.lower() for name in frame.columns}
    return [name for name in added if name.lower() in present]


def refuse_columns(frame: DataFrame, added: tuple[str, ...], stage: str) -> None:
    """Refuse an input that already has a column which the stage is to add, in any letter case."""
    if taken := taken_columns(frame, added):
        raise DataContractError(
            f"{stage}: the input already has column {taken}, which this stage adds. Drop or rename it."
        )
