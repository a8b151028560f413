"""Train, validation and test: a pure function of key and seed, or of time."""

from collections.abc import Mapping, Sequence
from math import ceil

from pyspark.sql import DataFrame

from imbalance_spark.core.class_counts import refuse_one_class
from imbalance_spark.core.columns import (
    IS_EARLY_STOPPING,
    TEST,
    TRAIN,
    VALIDATION,
    is_number,
    refuse_columns,
    require_columns,
)
from imbalance_spark.core.errors import ConfigError, DataContractError
from imbalance_spark.core.hashing import check_key
from imbalance_spark.orders.config import OrdersConfig
from imbalance_spark.split.by_groups import fit_groups
from imbalance_spark.split.by_rows import fit_rows
from imbalance_spark.split.by_time import fit_time
from imbalance_spark.split.config import SplitConfig
from imbalance_spark.split.plan import SplitPlan
from imbalance_spark.split.rules import SplitRules, fold_fractions

DEFAULT_FRACTIONS: Mapping[str, float] = {TRAIN: 0.7, VALIDATION: 0.15, TEST: 0.15}
_FIT, _STOP = "fit", "early stopping"
_MOST_PROBLEMS = 10


def stratified_split(
    orders: DataFrame,
    *,
    key: str | Sequence[str],
    label: str,
    fractions: Mapping[str, float] = DEFAULT_FRACTIONS,
    seed: int,
    group: str | Sequence[str] | None = None,
    time: str | None = None,
    exact_below: int = 10_000,
    gap_days: float = 0.0,
) -> DataFrame:
    """The orders with `split` ("train", "validation", "test"; with a gap also "gap").

    `fit_split` followed by `SplitPlan.assign`; see there. Keep the plan instead, where later rows
    are to be split by the same rules.
    """
    plan = fit_split(
        orders,
        key=key,
        label=label,
        fractions=fractions,
        seed=seed,
        group=group,
        time=time,
        exact_below=exact_below,
        gap_days=gap_days,
    )
    return plan.assign(orders)


def fit_split(
    orders: DataFrame,
    *,
    key: str | Sequence[str],
    label: str,
    fractions: Mapping[str, float] = DEFAULT_FRACTIONS,
    seed: int,
    group: str | Sequence[str] | None = None,
    time: str | None = None,
    exact_below: int = 10_000,
    gap_days: float = 0.0,
) -> SplitPlan:
    """Learn the split of `orders`: a plan that assigns them, and any later rows, lazily.

    A row's fold is its key's hash against the cumulative fractions, in the order train, validation,
    test: not a matter of row order, partitions, layout, retries, cluster or appended rows. Raising
    the fraction of train moves rows towards train only (in a class with exact counts, but for the
    one row that rounding gives). By default two passes: counts, and cut-offs if a class is small.

    Args:
        orders: one row an order.
        key: columns that identify a row; integer, string, date or decimal(p,0).
        label: the class; never null.
        fractions: share of each fold in (0, 1], with sum 1; validation may be left out.
        seed: integer >= 0; another seed gives an independent split.
        group: columns whose rows stay together. Groups are stratified by their rarest class; a row
            with a null here is a group of its own, told apart by its key. Three passes.
        time: timestamp or date; the folds then follow each other in time, test is the latest part,
            rows of the same second stay together. Excludes `group`; needs no key. Three passes.
        exact_below: classes with fewer rows (with `group`: strata with fewer groups) get exact
            largest-remainder counts. Their cut-offs are in the plan and hold for later rows. A row
            whose label is corrected later moves only if its hash lies between the nominal and the
            exact cut-off; 0 makes membership free of the label.
        gap_days: with `time`, rows this close before a boundary get the split "gap".

    Raises:
        ConfigError: fractions, seed, exact_below or gap_days out of range; time together with group.
        MissingColumnsError: a column is absent.
        DataContractError: no rows, null labels, keys or times, one class only, a class that is absent
            from a fold, a class in fewer groups than there are folds.
    """
    rules = SplitRules(
        key=_names(key), label=label, seed=seed, fractions=fold_fractions(fractions), group=_names(group), time=time,
        exact_below=exact_below, gap_days=gap_days,
    )  # fmt: skip
    return _fit(orders, rules)


def early_stopping_slice(
    train: DataFrame,
    *,
    key: str | Sequence[str],
    label: str,
    fraction: float,
    seed: int,
    group: str | Sequence[str] | None = None,
) -> DataFrame:
    """The training rows with `is_early_stopping` (boolean): the same function, inside train.

    So that boosting can stop on rows which it is not fitted on, while validation stays clean. Its
    draw is independent of the split's. Passes and errors as `fit_split`.

    Args:
        train: training rows, before any resampling (a copy of a row must not stop its own fit).
        fraction: share of the rows to stop on, in (0, 1).
    """
    if not is_number(fraction) or not 0 < fraction < 1:
        raise ConfigError(
            f"early_stopping.fraction must be in (0, 1), got {fraction!r}. It is the share of rows to stop on."
        )
    fractions = ((_FIT, 1 - fraction), (_STOP, fraction))
    rules = SplitRules(
        key=_names(key), label=label, seed=seed, fractions=fractions, group=_names(group), purpose="early_stopping"
    )  # fmt: skip
    refuse_columns(train, (IS_EARLY_STOPPING,), rules.purpose)
    is_stopping = _fit(train, rules).fold(train) == _STOP
    return train.select("*", is_stopping.alias(IS_EARLY_STOPPING))


def _fit(rows: DataFrame, rules: SplitRules) -> SplitPlan:
    require_columns(rows, rules.columns, rules.purpose)
    if rules.time is not None:
        plan = fit_time(rows, rules, rules.time)
    else:
        check_key(rows, (*rules.key, *rules.group), rules.purpose)
        plan = fit_groups(rows, rules) if rules.group else fit_rows(rows, rules)
    _refuse_absent_classes(plan)
    return plan


def _refuse_absent_classes(plan: SplitPlan) -> None:
    totals = {
        label: sum(counts[label] for counts in plan.counts.values()) for label in plan.counts[plan.rules.folds[0]]
    }
    refuse_one_class(totals, plan.rules.purpose)
    problems = [
        f"{plan.rules.purpose}: class {label!r} has no row in {fold!r}: of its {n} rows {share:g} are asked, "
        f"{n * share:.4g} expected. " + _remedy(plan.rules, n, share)
        for fold, share in plan.rules.fractions
        for label, n in totals.items()
        if plan.counts[fold][label] == 0
    ]
    if problems:
        raise DataContractError.of_all(problems[:_MOST_PROBLEMS])


def _remedy(rules: SplitRules, rows: int, share: float) -> str:
    if rules.time is not None:
        return "Its rows lie elsewhere in time: ask a larger fraction of this fold, or split without time."
    if rules.group:
        return "Its groups are too few: ask a larger fraction of this fold, or use more groups that hold the class."
    if rows >= rules.exact_below:
        return f"Set exact_below above {rows}: exact counts give each fold its share."
    return f"A fraction of {1 / rows:.4g} or {ceil(1 / share)} rows of the class would do."


def _names(columns: str | Sequence[str] | None) -> tuple[str, ...]:
    if columns is None:
        return ()
    return (columns,) if isinstance(columns, str) else tuple(columns)


def fit_split_by_config(
    orders: DataFrame, split: SplitConfig, config: OrdersConfig, *, label: str | None = None
) -> SplitPlan:
    """Learn the split by key, by group or by time, as `split.by` says; passes and errors as `fit_split`.

    Args:
        orders: valid orders, or the model's inputs with key, group and time kept.
        split: how rows fall into the folds.
        config: the columns' roles.
        label: the class column, where it is not `config.label`, such as the encoded one.
    """
    return fit_split(
        orders,
        key=config.key,
        label=label or config.label,
        fractions=split.fractions,
        seed=split.seed,
        group=config.group if split.by == "group" else None,
        time=config.time if split.by == "time" else None,
        exact_below=split.exact_below,
        gap_days=split.gap_days,
    )
