"""Split orders into valid ones and quarantined ones with the rules they broke, and report on both."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T

from imbalance_spark.core.errors import DataContractError
from imbalance_spark.orders.config import OrdersConfig
from imbalance_spark.orders.labels import LabelEncoding, learn_label
from imbalance_spark.orders.schema import check_orders
from imbalance_spark.orders.validation.duplicate_keys import (
    KEY_HASH,
    NO_KEYS,
    RepeatedKeys,
    collect_repeated_keys,
    row_key_hash,
)
from imbalance_spark.orders.validation.label_counts import (
    FeatureRange,
    LabelCounts,
    collect_label_counts,
    feature_warnings,
    large_integers,
    leaked_features,
)
from imbalance_spark.orders.validation.rules import (
    DUPLICATE_KEY,
    BrokenRows,
    any_broken,
    reasons,
    refuse_too_many,
    row_rules,
)

REASONS = "reasons"
_WIDEST_WEIGHTS = 1e6  # largest / smallest weight; beyond it the smallest vanish in float32 sums


@dataclass(frozen=True, kw_only=True)
class ValidationReport:
    """What validation found.

    Args:
        rows: rows read.
        quarantined: rows that broke a rule.
        by_rule: rows per broken rule; a row can break several.
        class_counts: valid rows per label text.
        missing: rows without a usable value, by feature.
        large_integers: integer features beyond 2^24, which float32 rounds.
        warnings: sentences on features that are constant, empty or lose digits.
        label: the number of each class.
        days: calendar days from the first valid order to the last; None without a time column.
    """

    rows: int
    quarantined: int
    by_rule: Mapping[str, int]
    class_counts: Mapping[str, int]
    missing: Mapping[str, int]
    large_integers: tuple[str, ...]
    warnings: tuple[str, ...]
    label: LabelEncoding
    days: int | None

    @property
    def orders_per_day(self) -> float | None:
        """Valid orders a day, over the days of the log."""
        return None if self.days is None else (self.rows - self.quarantined) / self.days

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON values."""
        return asdict(self) | {"label": self.label.to_dict()}

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Self:
        """The report that `to_dict` wrote down."""
        lists = {name: tuple(record[name]) for name in ("large_integers", "warnings")}
        return cls(**{**record, **lists, "label": LabelEncoding.from_dict(record["label"])})


@dataclass(frozen=True, kw_only=True)
class ValidatedOrders:
    """The two parts of an order log; every row is in exactly one.

    Args:
        valid: the rows that keep every rule, with all their columns.
        quarantined: for every other row `key_hash` (bigint, see `row_key_hash`) and
            `reasons` (array of string, at least one); none of the row's own values.
        report: counts and warnings.
        days: by day since 1970 (UTC), valid rows by label text; None unless asked for, or where keys are repeated.
    """

    valid: DataFrame
    quarantined: DataFrame
    report: ValidationReport
    days: Mapping[int, Mapping[str, int]] | None = None


def validate_orders(
    orders: DataFrame, config: OrdersConfig, report: ValidationReport | None = None, *, by_day: bool = False
) -> ValidatedOrders:
    """Split orders into valid and quarantined ones, and refuse logs that no model can be fitted on.

    A row is quarantined if it breaks one of `row_rules`, or for `duplicate_key`: all rows of a key that
    occurs more than once, since none is known to be the right one. A null or NaN feature is valid. A label with
    more classes than expected stops the job instead: quarantine could hide a rare class.

    Two passes: an aggregate per label over the columns in use (one more for each 200 features after
    the first 200), and one over the key with a shuffle of hashes; a third where hashes repeat. The
    result is lazy and reads `orders` again.

    Args:
        orders: one row per order.
        config: the columns' roles.
        report: what an earlier validation of the same rows found, which then are not counted again; keys are only
            where some are repeated.
        by_day: whether to count the rows of each day in the first pass, too.

    Returns:
        The valid orders and the quarantined ones, both lazy, and the report; see `ValidatedOrders`.
    Raises:
        DataContractError: what `check_orders` and `learn_label` refuse; no rows; every row
            quarantined, or more than `max_quarantined`; a feature that leaks the label;
            weights that are all 0 or too far apart.
    """
    check_orders(orders, config)
    rules = row_rules(orders, config)
    is_broken = any_broken(rules)
    per_label = collect_label_counts(orders, config, rules, by_day=by_day) if report is None else {}
    if report is None and not per_label:
        raise DataContractError("orders: the source is empty, 0 rows. Check orders.source and the filters before it.")
    has_repeated = report is None or report.by_rule.get(DUPLICATE_KEY, 0) > 0
    repeated = collect_repeated_keys(orders, config, is_broken) if has_repeated else NO_KEYS
    report = report or _report(orders, config, per_label, repeated)
    with_repeated, is_repeated = repeated.marked(orders, config.key)
    why = reasons({**rules, DUPLICATE_KEY: is_repeated})
    quarantined = with_repeated.select(row_key_hash(config.key).alias(KEY_HASH), why.alias(REASONS))
    return ValidatedOrders(
        valid=repeated.without(orders.where(~is_broken), config.key),
        # Without a broken row, nothing is read to find none.
        quarantined=quarantined.where(F.size(REASONS) > 0) if report.quarantined else quarantined.limit(0),
        report=report,
        days=None if repeated.keys else _by_day(per_label),
    )


def _report(
    orders: DataFrame, config: OrdersConfig, per_label: Mapping[str | None, LabelCounts], repeated: RepeatedKeys
) -> ValidationReport:
    rows = sum(counts.rows for counts in per_label.values())
    by_rule = _by_rule(per_label, repeated)
    quarantined = sum(counts.broken for counts in per_label.values()) + sum(repeated.else_valid.values())
    refuse_too_many(BrokenRows(rows=rows, broken=quarantined, by_rule=by_rule), config.max_quarantined)
    class_counts = _valid_rows(per_label, repeated)
    label = learn_label(class_counts, config, is_text=isinstance(orders.schema[config.label].dataType, T.StringType))
    classes = [per_label[name] for name in label.classes]
    if problems := [*_weight_problems(config.weight, *classes), *leaked_features(*classes)]:
        raise DataContractError.of_all(problems)
    ranges = _joined(per_label)
    return ValidationReport(
        rows=rows,
        quarantined=quarantined,
        by_rule=by_rule,
        class_counts=class_counts,
        missing={name: rows - found.values for name, found in ranges.items()},
        large_integers=tuple(large_integers(ranges, orders.schema)),
        warnings=tuple(feature_warnings(ranges, orders.schema)),
        label=label,
        days=_days(per_label),
    )


def _days(per_label: Mapping[str | None, LabelCounts]) -> int | None:
    days = [day for counts in per_label.values() for day in (counts.first_day, counts.last_day) if day is not None]
    return max(days) - min(days) + 1 if days else None


def _by_day(per_label: Mapping[str | None, LabelCounts]) -> dict[int, dict[str, int]] | None:
    by_day: dict[int, dict[str, int]] = {}
    for label, counts in per_label.items():
        if counts.by_day is None:
            return None
        for day, rows in counts.by_day.items():
            by_day.setdefault(day, {})[str(label)] = rows
    return by_day or None


def _by_rule(per_label: Mapping[str | None, LabelCounts], repeated: RepeatedKeys) -> dict[str, int]:
    names = next(iter(per_label.values())).by_rule
    totals = {name: sum(counts.by_rule[name] for counts in per_label.values()) for name in names}
    return {name: n for name, n in (totals | {DUPLICATE_KEY: repeated.rows}).items() if n > 0}


def _valid_rows(per_label: Mapping[str | None, LabelCounts], repeated: RepeatedKeys) -> dict[str, int]:
    valid = {
        name: counts.rows - counts.broken - repeated.else_valid.get(name, 0)
        for name, counts in per_label.items()
        if name is not None
    }
    return {name: n for name, n in sorted(valid.items()) if n > 0}


def _joined(per_label: Mapping[str | None, LabelCounts]) -> dict[str, FeatureRange]:
    first, *others = per_label.values()
    ranges = dict(first.features)
    for counts in others:
        ranges = {name: found.joined(counts.features[name]) for name, found in ranges.items()}
    return ranges


def _weight_problems(weight: str | None, *per_class: LabelCounts) -> list[str]:
    if weight is None:
        return []
    total = sum(counts.weight_sum or 0.0 for counts in per_class)
    low = min((counts.weight_low for counts in per_class if counts.weight_low is not None), default=0.0)
    high = max(counts.weight_high or 0.0 for counts in per_class)
    mean = total / sum(counts.rows - counts.broken for counts in per_class)
    where = f"orders.weight: column {weight!r}"
    if high == 0.0:
        return [f"{where} is 0 in every row: nothing can be fitted. Check the column, or drop the role."]
    if math.isinf(total):
        return [f"{where} has a sum that overflows a double. Divide it by its mean upstream."]
    problems = []
    if high / low > _WIDEST_WEIGHTS:
        problems.append(
            f"{where} has a largest weight {high / low:.3g} times its smallest above 0, over {_WIDEST_WEIGHTS:g}: few "
            "rows would decide the fit. Cap the weights upstream."
        )
    if not 1 / _WIDEST_WEIGHTS <= mean <= _WIDEST_WEIGHTS:
        problems.append(
            f"{where} has mean {mean:.3g}, outside {1 / _WIDEST_WEIGHTS:g} to {_WIDEST_WEIGHTS:g}, where float32 "
            "gradients lose rows. Divide it by its mean upstream."
        )
    return problems
