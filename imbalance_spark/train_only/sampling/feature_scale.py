"""How features are scaled before distances, and the refusal of features without distances."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from pyspark.sql import Column, DataFrame, Row
from pyspark.sql import functions as F
from pyspark.sql import types as T

from imbalance_spark.core.columns import col, require_columns
from imbalance_spark.core.errors import ConfigError, DataContractError
from imbalance_spark.core.hashing import HASH_RANGE
from imbalance_spark.train_only.guard import leakage_errors

Scaling = Literal["standard", "robust", "none"]
_SAMPLE_ROWS = 1 << 20

_SWALLOWED = 1e-7
"""A variance below this share of the squared mean has fewer than about nine correct digits."""

_NUMBERS = (T.ByteType, T.ShortType, T.IntegerType, T.LongType, T.FloatType, T.DoubleType)


@dataclass(frozen=True, kw_only=True)
class FeatureScale:
    """The divisor of each feature before distances, > 0 (1 for a constant feature), and its mean."""

    divisors: tuple[float, ...]
    means: tuple[float, ...]

    def scaled(self, features: Sequence[str]) -> list[Column]:
        """The features in these units (double); null and NaN count as the mean of the training rows."""
        parts = zip(_present(features), self.means, self.divisors, strict=True)
        return [F.coalesce(value, F.lit(mean)) / F.lit(divisor) for value, mean, divisor in parts]

    def scaled_values(self, values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """As `scaled`, of (rows, features) in memory, NaN where a value is missing."""
        return np.asarray(np.where(np.isnan(values), self.means, values) / self.divisors, np.float64)


def check_numeric(train: DataFrame, features: Sequence[str], stage: str) -> None:
    """Refuse features that are absent or not numeric: they cannot be interpolated.

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
            f"{stage}: features {bad} are neither integer nor floating, and categories cannot be interpolated. "
            "Use SMOTENC for mixed features or RandomOverSampler, or leave them out."
        )


def feature_sums(features: Sequence[str]) -> dict[str, Column]:
    """What `fit_feature_scale` needs of each class: three sums a feature, null and NaN left out."""
    sums: dict[str, Column] = {}
    for i, value in enumerate(_present(features)):
        sums |= {f"present_{i}": F.count(value), f"sum_{i}": F.sum(value), f"squares_{i}": F.sum(value * value)}
    return sums


def fit_feature_scale(
    rows: DataFrame, features: Sequence[str], scaling: Scaling, stage: str, *, sums: Sequence[Row], hashed: Column
) -> FeatureScale:
    """The divisors: population standard deviation, interquartile range, or 1.

    No pass over the rows, except one for quartiles, or for deviations that are small beside the mean and lose their
    digits in the sums. Null and NaN are left out. Of more than a million rows those with the lowest hashes are used.
    All numbers are rounded to six digits, so that the order of Spark's summation has no effect.

    Args:
        sums: `n` and the columns of `feature_sums`, one row per part of the rows. hashed: the hash of a row's key,
            in [0, HASH_RANGE).

    Raises:
        ConfigError: unknown `scaling`.
        DataContractError: infinite values, with their count per column.
        LeakageError: a row whose split is not "train".
    """
    if scaling not in ("standard", "robust", "none"):
        raise ConfigError(f"{stage}.scaling must be 'standard', 'robust' or 'none', got {scaling!r}.")
    totals = [_total(sums, i) for i in range(len(features))]
    if not all(math.isfinite(total.squares) for total in totals):
        _refuse_infinite(rows, features, stage)
    widths = [1.0] * len(features) if scaling == "none" else [total.deviation for total in totals]
    if scaling == "robust" or any(math.isnan(width) for width in widths):
        is_sampled = hashed < F.lit(min(HASH_RANGE, int(_SAMPLE_ROWS / sum(row["n"] for row in sums) * HASH_RANGE)))
        spreads = [_spread(v, t.mean, scaling) for v, t in zip(_present(features), totals, strict=True)]
        with leakage_errors():
            widths = list(rows.where(is_sampled).agg(*spreads).collect()[0])
    return FeatureScale(
        divisors=tuple(float(f"{width or 0.0:.6g}") or 1.0 for width in widths),
        means=tuple(float(f"{total.mean:.6g}") for total in totals),
    )


@dataclass(frozen=True, kw_only=True)
class _Total:
    """Sums over one feature's present values."""

    present: int
    mean: float
    squares: float

    @property
    def deviation(self) -> float:
        """The population standard deviation; NaN where too few digits of it are left beside the mean."""
        if not self.present:
            return 0.0
        variance = self.squares / self.present - self.mean**2
        return math.sqrt(variance) if variance > _SWALLOWED * self.mean**2 or not self.squares else math.nan


def _total(sums: Sequence[Row], number: int) -> _Total:
    present = sum(row[f"present_{number}"] for row in sums)
    total = math.fsum(row[f"sum_{number}"] or 0.0 for row in sums) if present else 0.0
    squares = sum(row[f"squares_{number}"] or 0.0 for row in sums)
    return _Total(present=present, mean=total / present if present else 0.0, squares=squares)


def _present(features: Sequence[str]) -> list[Column]:
    return [F.nanvl(col(name).cast("double"), F.lit(None).cast("double")) for name in features]


def _spread(value: Column, mean: float, scaling: Scaling) -> Column:
    match scaling:
        case "standard":
            return F.sqrt(F.avg((value - F.lit(mean)) * (value - F.lit(mean))))
        case "robust":
            return F.percentile(value, 0.75) - F.percentile(value, 0.25)
        case "none":
            return F.max(F.lit(1.0))


def _is_infinite(value: Column) -> Column:
    return F.coalesce(F.abs(value) == float("inf"), F.lit(False))


def _refuse_infinite(rows: DataFrame, features: Sequence[str], stage: str) -> None:
    """Raise if values are infinite, not if only their squares overflow. One pass."""
    named = [F.count_if(_is_infinite(value)).alias(f"infinite_{i}") for i, value in enumerate(_present(features))]
    with leakage_errors():
        found = rows.agg(*named).collect()[0]
    counts = {name: found[f"infinite_{i}"] for i, name in enumerate(features) if found[f"infinite_{i}"]}
    if counts:
        raise DataContractError(
            f"{stage}: features with infinite values, rows per column: {counts}. Replace them upstream: an infinite "
            "value has no distances; null counts as the mean."
        )
