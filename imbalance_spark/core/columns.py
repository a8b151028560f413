"""Names of the columns that stages pass to each other, and the checks that stages share."""

import math
from collections.abc import Collection, Sequence
from numbers import Integral, Real

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from imbalance_spark.core.errors import ConfigError, DataContractError, MissingColumnsError
from imbalance_spark.core.hashing import quoted

SPLIT = "split"
TRAIN, VALIDATION, TEST = "train", "validation", "test"
FOLDS = (TRAIN, VALIDATION, TEST)


HELD_OUT_FOLDS = (VALIDATION, TEST)
"""Folds that no fit reads, in the order of their numbers in counts: 0 and 1."""


GAP = "gap"
"""Value of `split` for rows in the gap between two time folds, which no stage reads."""
FIT_NUMBER = "fit_number"
"""Of a row that is scored: which of a strategy's fits left it out, so that its model scores the row."""
IS_EARLY_STOPPING = "is_early_stopping"
SAMPLING_WEIGHT = "sampling_weight"
COPY_NUMBER = "copy_number"
"""0 for the row itself, 1, 2 ... for its copies and for the synthetic samples interpolated from it."""
CLASS_WEIGHT = "class_weight"
TRUE_PROBABILITY = "true_probability"


FEATURES_PER_SCAN = 200
"""Features that one aggregate covers; the time to plan an aggregate grows faster than its width."""


def in_scans(names: Sequence[str]) -> list[Sequence[str]]:
    """The names in parts of at most `FEATURES_PER_SCAN`, one for each scan."""
    return [names[start : start + FEATURES_PER_SCAN] for start in range(0, len(names), FEATURES_PER_SCAN)]


def col(name: str) -> Column:
    """The column of exactly this name, dots and backticks included."""
    return F.col(quoted(name))


_ONLY_BY_MAPPING = frozenset(" ,;{}()\n\t=")
"""Characters that Delta takes in a column's name only where it maps names to its own."""


def delta_options(names: Collection[str]) -> dict[str, str]:
    """Options for a new Delta table of these columns: a mapping of their names, if Delta refuses one otherwise.

    Readers of such a table need column mapping (reader version 2), so that other tables do without.
    """
    is_needed = any(_ONLY_BY_MAPPING & set(name) for name in names)
    return {"delta.columnMapping.mode": "name"} if is_needed else {}


def map_columns(frame: DataFrame) -> list[str]:
    """The columns that are maps or hold some, which Spark neither hashes nor compares."""
    return [field.name for field in frame.schema.fields if "map<" in field.dataType.simpleString()]


def require_columns(frame: DataFrame, needed: Collection[str], stage: str) -> None:
    """Raise `MissingColumnsError`, naming every needed column that the frame lacks."""
    if missing := set(needed) - set(frame.columns):
        raise MissingColumnsError.of(stage, missing, frame.columns)


def check_seed(seed: object, stage: str) -> None:
    """Raise for a seed that is not an integer >= 0: without one a run could not be repeated."""
    if isinstance(seed, bool) or not isinstance(seed, Integral) or seed < 0:
        raise ConfigError(
            f"{stage}.seed must be an integer >= 0, got {seed!r}. Any value will do, as long as it is fixed."
        )


def is_number(value: object) -> bool:
    """Whether a setting is a finite number, not a boolean or a string."""
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)


def taken_columns(frame: DataFrame, added: tuple[str, ...]) -> list[str]:
    """The columns to add that the input already has, ignoring case."""
    present = {name.lower() for name in frame.columns}
    return [name for name in added if name.lower() in present]


def refuse_columns(frame: DataFrame, added: tuple[str, ...], stage: str) -> None:
    """Raise for an input that already has a column that the stage adds, ignoring case."""
    if taken := taken_columns(frame, added):
        raise DataContractError(
            f"{stage}: the input already has column {taken}, which this stage adds. Drop or rename it."
        )
