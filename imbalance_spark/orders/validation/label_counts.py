"""What validation counts for each class: rows, broken rules, feature ranges and weights; and which features leak."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

from pyspark.sql import Column, DataFrame, Row
from pyspark.sql import functions as F
from pyspark.sql import types as T

from imbalance_spark.core.columns import col, in_scans
from imbalance_spark.core.errors import DataContractError
from imbalance_spark.core.instants import time_us, utc_day
from imbalance_spark.orders.config import OrdersConfig
from imbalance_spark.orders.labels import label_text
from imbalance_spark.orders.validation.rules import any_broken, within_float32

_MOST_LABELS = 100
_MOST_DAYS = 16_384  # 45 years

_FEWEST_ROWS = 30  # with fewer rows in a class, ranges are disjoint by chance too often
_LEAST_AUC = 0.999
_EXACT_INTEGERS = 1 << 24  # float32 has 24 bits for digits
_MOST_NAMES = 20
_FIX = "Remove it from the features if it is known only after the outcome, or is a copy of it."


@dataclass(frozen=True, kw_only=True)
class FeatureRange:
    """Number of values of a feature in some rows, and their range (None without values).

    For a categorical feature the range is that of its values' hashes: equal ends mean a single value,
    disjoint ranges mean no value in common.
    """

    values: int
    low: float | None
    high: float | None

    def joined(self, other: "FeatureRange") -> "FeatureRange":
        """The range over both sets of rows."""
        ends = [end for end in (self.low, self.high, other.low, other.high) if end is not None]
        low, high = (min(ends), max(ends)) if ends else (None, None)
        return FeatureRange(values=self.values + other.values, low=low, high=high)


@dataclass(frozen=True, kw_only=True)
class LabelCounts:
    """Counts of one label's rows; weights and days (since 1970) of the rows that break no rule (None without rows)."""

    rows: int
    broken: int
    by_rule: Mapping[str, int]
    features: Mapping[str, FeatureRange]
    weight_sum: float | None = None
    weight_low: float | None = None
    weight_high: float | None = None
    first_day: int | None = None
    last_day: int | None = None
    by_day: Mapping[int, int] | None = None
    """Of the rows that break no rule, those of each day since 1970 (UTC); None where they were not counted exactly."""


def collect_label_counts(
    orders: DataFrame, config: OrdersConfig, rules: Mapping[str, Column], *, by_day: bool = False
) -> dict[str | None, LabelCounts]:
    """`LabelCounts` for each label text, a null label included.

    One pass without a shuffle of rows per 200 features; at most 101 rows are collected.

    Args:
        by_day: whether to count the rows of each day, too; the orders have a time.

    Raises:
        DataContractError: more than 100 distinct labels.
    """
    found: dict[str | None, dict[str, Any]] = {}
    for number, part in enumerate(in_scans(config.features)):
        aggregates = [*_range_aggregates(orders, config, part)]
        if number == 0:
            aggregates += _row_aggregates(config, rules)
            aggregates += _day_counts(orders, config, rules) if by_day else []
        for row in _collect_per_label(orders, config.label, aggregates):
            found.setdefault(row["label"], {}).update(row.asDict())
    return {label: _label_counts(values, config, rules) for label, values in found.items()}


def _collect_per_label(orders: DataFrame, label: str, aggregates: list[Column]) -> list[Row]:
    per_label = orders.groupBy(label_text(col(label)).alias("label")).agg(*aggregates)
    # The limit picks no rows for use: one label too many ends in an error.
    rows = per_label.limit(_MOST_LABELS + 1).collect()
    if len(rows) > _MOST_LABELS:
        raise DataContractError(
            f"orders.label: column {label!r} has more than {_MOST_LABELS} distinct values; two are expected. "
            "Name the label column, or map its values to two classes upstream."
        )
    return rows


def _row_aggregates(config: OrdersConfig, rules: Mapping[str, Column]) -> Iterator[Column]:
    is_broken = any_broken(rules)
    yield F.count(F.lit(1)).alias("rows")
    yield F.count_if(is_broken).alias("broken")
    for name, breaks in rules.items():
        yield F.count_if(breaks).alias(f"rule {name}")
    if config.weight is not None:
        weight = F.when(~is_broken, col(config.weight).cast("double"))
        yield F.sum(weight).alias("weight_sum")
        yield F.min(F.when(weight > 0, weight)).alias("weight_low")
        yield F.max(weight).alias("weight_high")
    if config.time is not None:
        day = F.when(~is_broken, F.unix_date(F.to_date(col(config.time))))
        yield F.min(day).alias("first_day")
        yield F.max(day).alias("last_day")


def _day_counts(orders: DataFrame, config: OrdersConfig, rules: Mapping[str, Column]) -> Iterator[Column]:
    assert config.time is not None, "as of every split by time"  # noqa: S101  # for the type checker
    day = F.when(~any_broken(rules), utc_day(time_us(orders, config.time, "orders")))
    # Its sketch counts exactly up to three quarters of the items that it has room for.
    yield F.call_function("approx_top_k", day, F.lit(_MOST_DAYS), F.lit(2 * _MOST_DAYS)).alias("by_day")


def _exact_days(found: Sequence[Row], valid: int) -> dict[int, int] | None:
    """Rows by day, if the sketch had room for all days."""
    by_day = {int(row["item"]): int(row["count"]) for row in found if row["item"] is not None}
    return by_day if len(by_day) < _MOST_DAYS and sum(by_day.values()) == valid else None


def _range_aggregates(orders: DataFrame, config: OrdersConfig, features: Sequence[str]) -> Iterator[Column]:
    for name in features:
        number = config.features.index(name)
        value = _hashed(name) if name in config.categorical else _finite(orders, name)
        yield F.count(value).alias(f"values {number}")
        yield F.min(value).alias(f"low {number}")
        yield F.max(value).alias(f"high {number}")


def _finite(orders: DataFrame, name: str) -> Column:
    value = col(name).cast("double")
    is_floating = isinstance(orders.schema[name].dataType, T.FloatType | T.DoubleType)
    return within_float32(value) if is_floating else value


def _hashed(name: str) -> Column:
    # Hashed: for the minimum of strings Spark sorts all rows, for that of numbers it keeps one per task.
    return F.when(col(name).isNotNull(), F.xxhash64(col(name).cast("string")))


def _label_counts(values: Mapping[str, Any], config: OrdersConfig, rules: Mapping[str, Column]) -> LabelCounts:
    ranges = {
        name: FeatureRange(values=values[f"values {i}"], low=values[f"low {i}"], high=values[f"high {i}"])
        for i, name in enumerate(config.features)
    }
    return LabelCounts(
        rows=values["rows"],
        broken=values["broken"],
        by_rule={name: values[f"rule {name}"] for name in rules},
        features=ranges,
        weight_sum=values.get("weight_sum"),
        weight_low=values.get("weight_low"),
        weight_high=values.get("weight_high"),
        first_day=values.get("first_day"),
        last_day=values.get("last_day"),
        by_day=_exact_days(values["by_day"], values["rows"] - values["broken"]) if "by_day" in values else None,
    )


def leaked_features(*classes: LabelCounts) -> Iterator[str]:
    """A sentence for each feature that alone separates a class from all others.

    Two kinds of leaks are detected: features whose values in the class are all below or all above those in the other
    classes (categorical: no value in common), and features whose missingness separates the class with a ROC-AUC of
    0.999 or more. These are copies of the label, rescaled, inverted, or null for one class. At least 30 rows
    with a value are needed on each side, to exclude chance. A leak with exceptions, such
    as a status that is changed by hand, is not detected.
    """
    # For two classes, the first against the second is enough.
    sides = [_sides(classes, number) for number in range(1 if len(classes) == 2 else len(classes))]
    for name in classes[0].features:
        if any(_are_disjoint(one[name], other[name]) for _, one, _, other in sides):
            yield f"orders: column {name!r} leaks the label: its values alone separate the classes. {_FIX}"
        elif any(_missing_separates(n, one[name].values, m, other[name].values) for n, one, m, other in sides):
            yield f"orders: column {name!r} leaks the label: whether it is null separates the classes. {_FIX}"


def _sides(
    classes: Sequence[LabelCounts], number: int
) -> tuple[int, Mapping[str, FeatureRange], int, Mapping[str, FeatureRange]]:
    """Rows and ranges of one class, and of all other classes together."""
    one, others = classes[number], [*classes[:number], *classes[number + 1 :]]
    ranges = {name: reduce(FeatureRange.joined, [counts.features[name] for counts in others]) for name in one.features}
    return one.rows, one.features, sum(counts.rows for counts in others), ranges


def feature_warnings(ranges: Mapping[str, FeatureRange], schema: T.StructType) -> Iterator[str]:
    """Sentences on features that have no value, only one value, or more digits than float32."""
    empty = [name for name, found in ranges.items() if found.values == 0]
    constant = [name for name, found in ranges.items() if found.values > 0 and found.low == found.high]
    large = large_integers(ranges, schema)
    if empty:
        yield f"features without any value: {_listed(empty)}. A model cannot use them."
    if constant:
        yield f"features with one value only: {_listed(constant)}. Only their nulls can tell rows apart."
    if large:
        yield f"integer features beyond 2^24, where float32 rounds: {_listed(large)}. Remove identifiers."


def large_integers(ranges: Mapping[str, FeatureRange], schema: T.StructType) -> list[str]:
    """Names of the integer features with values that float32, which XGBoost reads, cannot distinguish."""
    return [name for name, found in ranges.items() if _loses_digits(found, schema[name].dataType)]


def _are_disjoint(one: FeatureRange, other: FeatureRange) -> bool:
    if min(one.values, other.values) < _FEWEST_ROWS:
        return False
    if one.low is None or one.high is None or other.low is None or other.high is None:
        return False
    return one.high < other.low or other.high < one.low


def _missing_separates(rows: int, values: int, other_rows: int, other_values: int) -> bool:
    if min(rows, other_rows) < _FEWEST_ROWS:
        return False
    # The ROC-AUC of a boolean feature is half of 1 plus the difference of its two shares.
    return (1 + abs(values / rows - other_values / other_rows)) / 2 >= _LEAST_AUC


def _loses_digits(found: FeatureRange, data_type: T.DataType) -> bool:
    if not isinstance(data_type, T.IntegerType | T.LongType | T.DecimalType) or found.low is None or found.high is None:
        return False
    return max(abs(found.low), abs(found.high)) > _EXACT_INTEGERS


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    return f"{names[:_MOST_NAMES]}{more}"
