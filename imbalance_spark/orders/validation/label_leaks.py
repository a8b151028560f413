"""Feature ranges by class: features that leak the label, and features without information."""

from collections.abc import Iterator, Mapping, Sequence
from functools import reduce

from pyspark.sql import types as T

from imbalance_spark.orders.validation.label_counts import FeatureRange, LabelCounts

_FEWEST_ROWS = 30  # with fewer rows in a class, ranges are disjoint by chance too often
_LEAST_AUC = 0.999
_EXACT_INTEGERS = 1 << 24  # float32 has 24 bits for digits
_MOST_NAMES = 20
_FIX = "Remove it from the features if it is known only after the outcome, or is a copy of it."


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
