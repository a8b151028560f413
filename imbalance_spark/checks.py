"""Checks of settings that several stages share."""

import math
from numbers import Integral, Real

from pyspark.sql import DataFrame

from imbalance_spark.errors import ConfigError, DataContractError


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
