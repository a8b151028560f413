"""The rules for a row, as Spark expressions, and the number of rows that break each."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import reduce
from operator import or_

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T

from imbalance_spark.core.columns import col
from imbalance_spark.core.errors import DataContractError
from imbalance_spark.orders.config import OrdersConfig

FLOAT32_MAX = 3.4028234663852886e38
"""XGBoost stores features as float32: training refuses larger numbers, scoring would treat them as inf."""

DUPLICATE_KEY = "duplicate_key"
_FLOATS = (T.FloatType, T.DoubleType)
_INF = float("inf")


def row_rules(orders: DataFrame, config: OrdersConfig) -> dict[str, Column]:
    """A boolean column, never null, for each rule that a single row can break.

    `null_key` (any part), `null_label`, `nan_label` (NaN or infinite), `infinite_feature`,
    `feature_beyond_float32`, `null_time`; for weight and amount `null_`, `nan_`, `infinite_` and
    `negative_`. A null or NaN feature breaks none: it is a missing value. Rules that cannot be
    broken, given the column types, are left out.
    """
    rules = {"null_key": _any(col(name).isNull() for name in config.key), "null_label": col(config.label).isNull()}
    if isinstance(orders.schema[config.label].dataType, _FLOATS):
        rules["nan_label"] = _any([F.isnan(col(config.label)), F.abs(col(config.label)) == _INF])
    rules |= feature_rules(orders, config.numeric)
    if config.time is not None:
        rules["null_time"] = col(config.time).isNull()
    for role, name in (("weight", config.weight), ("amount", config.amount)):
        if name is not None:
            rules |= _number_rules(role, col(name).cast("double"))
    return {name: F.coalesce(is_broken, F.lit(False)) for name, is_broken in rules.items()}


def feature_rules(orders: DataFrame, numeric: Iterable[str]) -> dict[str, Column]:
    """`infinite_feature` and `feature_beyond_float32`, never null: values that no model can use.

    Training and scoring both quarantine rows by these rules. Empty if no numeric feature has a floating type: others
    cannot have such values, since a decimal ends at 1e38.
    """
    floating = [name for name in numeric if isinstance(orders.schema[name].dataType, _FLOATS)]
    if not floating:
        return {}
    # Spark orders NaN above all doubles, so it is replaced before any comparison.
    sizes = [F.coalesce(F.nanvl(F.abs(col(name).cast("double")), F.lit(0.0)), F.lit(0.0)) for name in floating]
    largest = F.greatest(F.lit(0.0), *sizes)
    return {
        "infinite_feature": largest == _INF,
        "feature_beyond_float32": (largest > FLOAT32_MAX) & (largest < _INF),
    }


def any_broken(rules: Mapping[str, Column]) -> Column:
    """Whether a row breaks any rule."""
    return _any(rules.values())


def reasons(rules: Mapping[str, Column]) -> Column:
    """The names of the rules that a row breaks (array of string, empty for a valid row)."""
    return F.array_compact(F.array(*[F.when(is_broken, name) for name, is_broken in rules.items()]))


def within_float32(value: Column) -> Column:
    """The double, or null where it is NaN, infinite or beyond float32."""
    return F.when(~F.isnan(value) & (F.abs(value) <= FLOAT32_MAX), value)


def _number_rules(role: str, value: Column) -> dict[str, Column]:
    return {
        f"null_{role}": value.isNull(),
        f"nan_{role}": F.isnan(value),
        f"infinite_{role}": value == _INF,
        f"negative_{role}": value < 0,
    }


def _any(conditions: Iterable[Column]) -> Column:
    return reduce(or_, conditions)


@dataclass(frozen=True, kw_only=True)
class BrokenRows:
    """Rows read, those that break a rule, and rows per broken rule; a row can break several."""

    rows: int
    broken: int = 0
    by_rule: Mapping[str, int] = field(default_factory=dict)

    @property
    def named(self) -> str:
        """Such as `infinite_feature 3, null_key 1`."""
        return ", ".join(f"{name} {n:,}" for name, n in self.by_rule.items())


def count_broken(orders: DataFrame, rules: Mapping[str, Column]) -> BrokenRows:
    """Count rows and broken rules: one pass over the columns of the rules, one row collected."""
    counts = [F.count_if(is_broken).alias(f"rule {name}") for name, is_broken in rules.items()]
    broken = F.count_if(any_broken(rules)) if rules else F.lit(0)
    [found] = orders.agg(F.count(F.lit(1)).alias("rows"), broken.alias("broken"), *counts).collect()
    by_rule = {name: int(found[f"rule {name}"]) for name in rules}
    return BrokenRows(
        rows=found["rows"], broken=found["broken"], by_rule={name: n for name, n in by_rule.items() if n > 0}
    )


def refuse_too_many(found: BrokenRows, limit: float) -> None:
    """Stop if every row breaks a rule, or a larger share than `limit`.

    Raises:
        DataContractError: with the number of rows by rule.
    """
    if found.broken < found.rows and found.broken <= limit * found.rows:
        return
    how_many = "every row breaks" if found.broken == found.rows else f"{found.broken} of {found.rows} rows break"
    raise DataContractError(
        f"orders: {how_many} a rule ({found.named}; {found.rows} rows), above orders.max_quarantined {limit:g}. "
        "Repair the rows upstream; raise the limit only if they can be left out."
    )
