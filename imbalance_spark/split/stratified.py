"""The public split functions: fit a plan, or split at once."""

from collections.abc import Mapping, Sequence

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
from imbalance_spark.split.by_groups import fit_groups
from imbalance_spark.split.by_rows import fit_rows
from imbalance_spark.split.by_time import fit_time
from imbalance_spark.split.config import SplitConfig
from imbalance_spark.split.plan import SplitPlan
from imbalance_spark.split.rules import KnownCounts, SplitRules, fold_fractions

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
    """Split orders into train, validation and test, stratified by class: `fit_split` followed by `SplitPlan.assign`.

    Keep the plan of `fit_split` instead, if later rows are to be split in the same way. Two passes; the result is lazy.

    Args:
        orders: one row per order.
        key: columns that identify a row; integer, string, date or decimal(p,0).
        label: column of the class; boolean, integer, double or string, never null.
        fractions: share of each fold in (0, 1], with sum 1; validation is optional.
        seed: integer >= 0; a different seed gives an independent split.
        group: columns whose rows stay together, such as the customer.
        time: timestamp or date column; test is then the latest part. Excludes `group`.
        exact_below: classes with fewer rows get exact counts in each fold.
        gap_days: with `time`, rows this close before a boundary get the split "gap".

    Returns:
        The orders with every column and `split` (string): "train", "validation", "test" or "gap"; null only where
        the time is null.

    Raises:
        ConfigError, MissingColumnsError, DataContractError: as `fit_split`.

    Examples:
        >>> orders = spark.range(1000).selectExpr("id AS order_id", "id % 20 = 0 AS is_fraud")
        >>> split = stratified_split(orders, key="order_id", label="is_fraud", seed=7)
        >>> split.where("is_fraud").groupBy("split").count().orderBy("split").show()
        +----------+-----+
        |     split|count|
        +----------+-----+
        |      test|    7|
        |     train|   35|
        |validation|    8|
        +----------+-----+
        <BLANKLINE>
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

    A row's fold follows from its key's hash and the cumulative fractions, in the order train, validation,
    test; it does not depend on row order, partitions, layout, retries, cluster or appended rows. Raising
    the fraction of train only moves rows into train (in a class with exact counts, except for one row due to
    rounding). Two passes: counts, and hash bounds if a class is small; or counts, and the groups; or days, and the
    seconds of those in which a fold begins.

    Args:
        orders: one row per order.
        key: columns that identify a row; integer, string, date or decimal(p,0).
        label: column of the class; boolean, integer, double or string, never null.
        fractions: share of each fold in (0, 1], with sum 1; validation is optional.
        seed: integer >= 0; a different seed gives an independent split.
        group: columns whose rows stay together. Groups are stratified by their rarest class; a row
            with a null here is a group of its own, identified by its key.
        time: timestamp or date; the folds then follow each other in time, test is the latest part,
            rows of the same second stay together. Excludes `group`; needs no key.
        exact_below: classes with fewer rows (with `group`: strata with fewer groups) get exact
            largest-remainder counts. Their hash bounds are in the plan and hold for later rows. A row
            whose label is corrected later moves only if its hash lies between the nominal and the
            exact bound; with 0 the fold does not depend on the label.
        gap_days: with `time`, rows this close before a boundary get the split "gap".

    Returns:
        The fitted plan; `SplitPlan.assign` adds the column `split`.

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
    return fit_rules(orders, rules)


def early_stopping_slice(
    train: DataFrame,
    *,
    key: str | Sequence[str],
    label: str,
    fraction: float,
    seed: int,
    group: str | Sequence[str] | None = None,
    known: KnownCounts | None = None,
) -> DataFrame:
    """Choose an early-stopping set inside train, by the same stratified split with an independent draw.

    Boosting can then stop on rows that it is not fitted on, while validation stays untouched.

    Args:
        train: training rows, before any resampling: copies of a row must not be on both sides.
        key, label, seed, group: as in `fit_split`.
        fraction: share of the rows in the early-stopping set, in (0, 1).
        known: the rows of each class, where they were counted before: it saves a pass.

    Returns:
        The training rows with every column and `is_early_stopping` (boolean, never null).

    Raises:
        ConfigError, MissingColumnsError, DataContractError: as `fit_split`.

    Examples:
        >>> train = spark.range(1000).selectExpr("id AS order_id", "id % 20 = 0 AS is_fraud", "'train' AS split")
        >>> sliced = early_stopping_slice(train, key="order_id", label="is_fraud", fraction=0.2, seed=7)
        >>> sliced.where("is_early_stopping AND is_fraud").count()
        10
    """
    if not is_number(fraction) or not 0 < fraction < 1:
        raise ConfigError(
            f"early_stopping.fraction must be in (0, 1), got {fraction!r}. "
            "It is the share of rows in the early-stopping set."
        )
    fractions = ((_FIT, 1 - fraction), (_STOP, fraction))
    rules = SplitRules(
        key=_names(key), label=label, seed=seed, fractions=fractions, group=_names(group), purpose="early_stopping"
    )  # fmt: skip
    refuse_columns(train, (IS_EARLY_STOPPING,), rules.purpose)
    is_stopping = fit_rules(train, rules, known).fold(train) == _STOP
    return train.select("*", is_stopping.alias(IS_EARLY_STOPPING))


def fit_rules(rows: DataFrame, rules: SplitRules, known: KnownCounts | None = None) -> SplitPlan:
    """Learn the split that the rules describe; passes and errors as `fit_split`.

    With known counts one pass does, along time where they are by day.
    """
    require_columns(rows, rules.columns, rules.purpose)
    if rules.time is not None:
        plan = fit_time(rows, rules, rules.time, known)
    else:
        check_key(rows, (*rules.key, *rules.group), rules.purpose)
        plan = fit_groups(rows, rules, known) if rules.group else fit_rows(rows, rules, known)
    _refuse_absent_classes(plan)
    return plan


def _refuse_absent_classes(plan: SplitPlan) -> None:
    totals = {
        label: sum(counts[label] for counts in plan.counts.values()) for label in plan.counts[plan.rules.folds[0]]
    }
    refuse_one_class(totals, plan.rules.purpose)
    problems = [
        f"{plan.rules.purpose}: class {label!r} has no row in {fold!r}: a share of {share:g} of its {n} rows is "
        f"{n * share:.4g}. {_remedy(plan.rules, n)}"
        for fold, share in plan.rules.fractions
        for label, n in totals.items()
        if plan.counts[fold][label] == 0
    ]
    if problems:
        raise DataContractError.of_all(problems[:_MOST_PROBLEMS])


def _remedy(rules: SplitRules, rows: int) -> str:
    if rules.time is not None:
        return "Its rows lie elsewhere in time: use a larger fraction for this fold, or split without time."
    if rules.group:
        return "Too few groups have it: use a larger fraction for this fold, or more groups with the class."
    if rows >= rules.exact_below:
        return f"Set exact_below above {rows}: exact counts give each fold its share."
    return f"{len(rules.folds)} rows of the class would be enough."


def _names(columns: str | Sequence[str] | None) -> tuple[str, ...]:
    if columns is None:
        return ()
    return (columns,) if isinstance(columns, str) else tuple(columns)


def fit_split_by_config(
    orders: DataFrame,
    split: SplitConfig,
    *,
    key: str | Sequence[str],
    label: str,
    group: str | None = None,
    time: str | None = None,
    known: KnownCounts | None = None,
) -> SplitPlan:
    """Fit the split by key, group or time, as set by `split.by`; passes and errors as `fit_rules` and `fit_split`.

    Args:
        orders: valid orders, or the model's inputs with key, group and time.
        split: the settings of the split.
        key, label: columns that identify a row, and the column of its class.
        group, time: columns that `split.by` may ask for.
        known: what was counted of the same rows before.
    """
    rules = SplitRules(
        key=_names(key),
        label=label,
        seed=split.seed,
        fractions=fold_fractions(split.fractions),
        group=_names(group if split.by == "group" else None),
        time=time if split.by == "time" else None,
        exact_below=split.exact_below,
        gap_days=split.gap_days,
    )
    return fit_rules(orders, rules, known)
