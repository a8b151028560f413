"""How features are scaled before distances, and the refusal of those that have none."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Literal

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T

from imbalance_spark.errors import ConfigError, DataContractError
from imbalance_spark.frames import col, require_columns
from imbalance_spark.hashing import HASH_RANGE
from imbalance_spark.train_only.guard import leakage_errors

Scaling = Literal["standard", "robust", "none"]

_SAMPLE_ROWS = 1 << 20
_NUMBERS = (T.ByteType, T.ShortType, T.IntegerType, T.LongType, T.FloatType, T.DoubleType)


@dataclass(frozen=True, kw_only=True)
class FeatureScale:
    """What each feature is divided by before distances, > 0 (a constant feature has 1), and its mean."""

    divisors: tuple[float, ...]
    means: tuple[float, ...]

    def scaled(self, features: Sequence[str]) -> list[Column]:
        """The features in these units (double); null and NaN stand at the mean of the training rows."""
        missing = F.lit(None).cast("double")
        present = [F.nanvl(col(name).cast("double"), missing) for name in features]
        parts = zip(present, self.means, self.divisors, strict=True)
        return [F.coalesce(value, F.lit(mean)) / F.lit(divisor) for value, mean, divisor in parts]


def check_numeric(train: DataFrame, features: Sequence[str], stage: str) -> None:
    """Refuse features that are absent, or that no straight line leads between.

    Raises:
        ConfigError: no feature is named. MissingColumnsError: one is absent.
        DataContractError: one is neither integer nor floating.
    """
    if not features:
        raise ConfigError(f"{stage}.features names no column. Name the numeric columns to interpolate.")
    require_columns(train, features, stage)
    types = {name: train.schema[name].dataType for name in features}
    if bad := {name: found.simpleString() for name, found in types.items() if not isinstance(found, _NUMBERS)}:
        raise DataContractError(
            f"{stage}: features {bad} are neither integer nor floating: there is nothing between two categories. "
            "Leave them out, or use RandomOverSampler: mixed features need SMOTENC."
        )


def fit_feature_scale(
    rows: DataFrame, features: Sequence[str], scaling: Scaling, stage: str, *, count: int, hashed: Column
) -> FeatureScale:
    """Learn the divisors: population standard deviation, interquartile range, or 1; two passes.

    Null and NaN are left out. Of more than a million rows those with the lowest hashes are enough for a scale.
    All numbers are kept to six digits, so that the order in which Spark adds never shows.

    Args:
        count: number of the rows. hashed: the hash of a row's key, in [0, HASH_RANGE).

    Raises:
        ConfigError: unknown `scaling`.
        DataContractError: infinite values, with their count per column.
        LeakageError: a row whose split is not "train".
    """
    if scaling not in ("standard", "robust", "none"):
        raise ConfigError(f"{stage}.scaling must be 'standard', 'robust' or 'none', got {scaling!r}.")
    present = [F.nanvl(col(name).cast("double"), F.lit(None).cast("double")) for name in features]
    is_sampled = F.lit(True) if count <= _SAMPLE_ROWS else hashed < F.lit(int(_SAMPLE_ROWS / count * HASH_RANGE))
    averages = [F.avg(F.when(is_sampled, value)).alias(f"mean_{i}") for i, value in enumerate(present)]
    with leakage_errors():
        found = rows.agg(_is_any_infinite(present).alias("is_any_infinite"), *averages).collect()[0]
        if found["is_any_infinite"]:
            raise _infinite_values(rows, present, features, stage)
        means = [found[f"mean_{i}"] or 0.0 for i in range(len(features))]
        # After the means, since the deviations from a known mean are summed many times faster than `stddev_pop`.
        spreads = [_spread(value, mean, scaling) for value, mean in zip(present, means, strict=True)]
        widths = rows.where(is_sampled).agg(*spreads).collect()[0]
    return FeatureScale(
        divisors=tuple(float(f"{spread:.6g}") or 1.0 for spread in (width or 0.0 for width in widths)),
        means=tuple(float(f"{mean:.6g}") for mean in means),
    )


def _spread(value: Column, mean: float, scaling: Scaling) -> Column:
    match scaling:
        case "standard":
            return F.sqrt(F.avg((value - F.lit(mean)) * (value - F.lit(mean))))
        case "robust":
            return F.percentile(value, 0.75) - F.percentile(value, 0.25)
        case "none":
            return F.max(F.lit(1.0))


def _is_any_infinite(present: Sequence[Column]) -> Column:
    # One aggregate for all columns; which ones they are is asked only when there is something to say.
    return F.coalesce(F.bool_or(reduce(Column.__or__, map(_is_infinite, present))), F.lit(False))


def _is_infinite(value: Column) -> Column:
    return F.coalesce(F.abs(value) == float("inf"), F.lit(False))


def _infinite_values(
    rows: DataFrame, present: Sequence[Column], features: Sequence[str], stage: str
) -> DataContractError:
    counted = rows.agg(*[F.count_if(_is_infinite(value)).alias(f"infinite_{i}") for i, value in enumerate(present)])
    found = counted.collect()[0]
    counts = {name: found[f"infinite_{i}"] for i, name in enumerate(features) if found[f"infinite_{i}"]}
    return DataContractError(
        f"{stage}: features with infinite values, rows per column: {counts}. Replace them upstream: an infinite "
        "value has no distance; null counts as the mean."
    )
