"""What a threshold is chosen for: rates, costs and budgets, each a class."""

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, fields, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from imbalance_spark.core.columns import col, require_columns
from imbalance_spark.core.errors import ConfigError, DataContractError, nearest
from imbalance_spark.metrics.curve import Curve
from imbalance_spark.metrics.grid import FloatArray
from imbalance_spark.threshold.objective import SAME, BoolArray, Objective, require_number

if TYPE_CHECKING:
    from imbalance_spark.calibration import LedgerCheck

AMOUNT = "amount"
"""As the cost of a missed positive: the row's own amount."""


@dataclass(frozen=True)
class MaxFBeta(Objective):
    """The highest F-beta: recall counts `beta` (> 0) times as much as precision."""

    key: ClassVar[str] = "max_f_beta"
    beta: float = 1.0

    def __post_init__(self) -> None:
        require_number("max_f_beta.beta", self.beta, above=0.0, hint="1 is F1, 2 favours recall, 0.5 precision.")

    @property
    def name(self) -> str:
        """`max_f1`, `max_f2`, ..."""
        return f"max_f{self.beta:g}"

    def values(self, curve: Curve) -> FloatArray:
        """F-beta at each threshold."""
        square = self.beta * self.beta
        return (1.0 + square) * curve.tp / (curve.tp + curve.fp + square * curve.positives)


@dataclass(frozen=True, kw_only=True)
class MaxRecall(Objective):
    """The highest recall among thresholds whose precision is at least `precision`, in (0, 1].

    A precision reached with fewer than `min_support` (>= 0) flagged rows may be luck: the choice carries a warning.
    """

    key: ClassVar[str] = "max_recall"
    precision: float
    min_support: int = 30

    def __post_init__(self) -> None:
        require_number("max_recall.precision", self.precision, above=0.0, most=1.0, hint="0.9: nine of ten are right.")
        require_number("max_recall.min_support", self.min_support, least=0, hint="It is a number of flagged rows.")

    @property
    def name(self) -> str:
        """`max_recall_at_precision_0.9`."""
        return f"max_recall_at_precision_{self.precision:g}"

    def values(self, curve: Curve) -> FloatArray:
        """Recall at each threshold."""
        return curve.recall

    def is_allowed(self, curve: Curve) -> BoolArray:
        """Enough precision; flagging nobody has none."""
        return curve.precision >= self.precision * (1.0 - SAME)

    def closeness(self, curve: Curve) -> FloatArray:
        """Precision: the best one is nearest to the target."""
        return curve.precision

    def warning(self, flagged_rows: int, ledger: "LedgerCheck | None") -> str | None:
        """Said when the target is reached with few rows."""
        if flagged_rows >= self.min_support:
            return None
        return (
            f"{self.name} is reached with {flagged_rows} flagged rows, fewer than min_support {self.min_support}: "
            "on other rows the precision may be far lower. Choose on more rows, or lower the target."
        )


@dataclass(frozen=True, kw_only=True)
class MaxPrecision(Objective):
    """The highest precision among thresholds whose recall is at least `recall`, in (0, 1]; always within reach."""

    key: ClassVar[str] = "max_precision"
    recall: float

    def __post_init__(self) -> None:
        require_number("max_precision.recall", self.recall, above=0.0, most=1.0, hint="0.8: four of five are found.")

    @property
    def name(self) -> str:
        """`max_precision_at_recall_0.8`."""
        return f"max_precision_at_recall_{self.recall:g}"

    def values(self, curve: Curve) -> FloatArray:
        """Precision at each threshold."""
        return curve.precision

    def is_allowed(self, curve: Curve) -> BoolArray:
        """Enough recall."""
        return curve.recall >= self.recall * (1.0 - SAME)


@dataclass(frozen=True)
class MaxMCC(Objective):
    """The highest Matthews correlation coefficient; it is 0 where all or no rows are flagged."""

    key: ClassVar[str] = "max_mcc"

    def values(self, curve: Curve) -> FloatArray:
        """Matthews coefficient at each threshold."""
        tn, fn = curve.negatives - curve.fp, curve.positives - curve.tp
        scale = np.sqrt(curve.tp + curve.fp) * np.sqrt(tn + fn) * np.sqrt(curve.positives) * np.sqrt(curve.negatives)
        covariance = curve.tp * tn - curve.fp * fn
        # Only where all or no rows are flagged is the scale 0; the covariance is 0 there too.
        return np.asarray(covariance / np.maximum(scale, 1e-300), dtype=np.float64)


@dataclass(frozen=True)
class MaxKappa(Objective):
    """The highest agreement beyond chance (Cohen, 1960); it is 0 where all or no rows are flagged."""

    key: ClassVar[str] = "max_kappa"

    def values(self, curve: Curve) -> FloatArray:
        """Kappa at each threshold."""
        tn, fn = curve.negatives - curve.fp, curve.positives - curve.tp
        by_chance = (curve.tp + curve.fp) * curve.negatives + curve.positives * (fn + tn)
        return np.asarray(2.0 * (curve.tp * tn - curve.fp * fn) / by_chance, dtype=np.float64)


@dataclass(frozen=True)
class Youden(Objective):
    """The highest recall minus false positive rate (Youden, 1950). On rare classes it flags very many rows."""

    key: ClassVar[str] = "youden"

    def values(self, curve: Curve) -> FloatArray:
        """Youden's J at each threshold."""
        return curve.recall - curve.false_positive_rate


@dataclass(frozen=True, kw_only=True)
class MinCost(Objective):
    """The lowest sum of `fn` for each missed positive, or its amount with `fn="amount"`, and `fp` for each false alarm.

    Costs are at least 0 and not both 0; all costs times a constant choose the same threshold.
    """

    key: ClassVar[str] = "min_cost"
    is_loss: ClassVar[bool] = True
    fn: float | str
    fp: float

    def __post_init__(self) -> None:
        if self.fn != AMOUNT:
            require_number("min_cost.fn", self.fn, least=0.0, hint='It is a cost, or "amount" for the order\'s own.')
        require_number("min_cost.fp", self.fp, least=0.0, hint="It is the cost of a false alarm.")
        if self.fn == 0 and self.fp == 0:
            raise ConfigError("min_cost.fn and min_cost.fp are both 0: every threshold is free. Give one a cost.")

    @property
    def name(self) -> str:
        """`min_cost_fn_10_fp_1`."""
        return f"min_cost_fn_{self.fn if isinstance(self.fn, str) else format(self.fn, 'g')}_fp_{self.fp:g}"

    def values(self, curve: Curve) -> FloatArray:
        """Cost at each threshold."""
        if not isinstance(self.fn, str):
            return self.fn * (curve.positives - curve.tp) + self.fp * curve.fp
        if curve.missed_amount is None:
            raise ConfigError('min_cost.fn is "amount", but the counts hold no amounts. Count with an amount column.')
        return curve.missed_amount + self.fp * curve.fp


@dataclass(frozen=True, kw_only=True)
class BayesCost(Objective):
    """The threshold that costs least on calibrated probabilities, whatever the counts say (Elkan, 2001).

    t* = (fp - tn) / (fp - tn + fn - tp), for the costs of a missed positive, a false alarm, and right decisions; a
    gain is a cost below 0. It needs no positives to choose on, so that it is steadier than a search on few of them,
    but it is only right on calibrated scores: the choice carries a warning unless the ledger check passed.
    """

    key: ClassVar[str] = "bayes_cost"
    is_loss: ClassVar[bool] = True
    fn: float
    fp: float
    tp: float = 0.0
    tn: float = 0.0

    def __post_init__(self) -> None:
        for cell in ("fn", "fp", "tp", "tn"):
            require_number(f"bayes_cost.{cell}", getattr(self, cell), hint="It is what such a row costs.")
        if self.fn <= self.tp or self.fp <= self.tn:
            raise ConfigError(
                f"bayes_cost: a wrong decision must cost more than the right one, got fn {self.fn:g} and tp {self.tp:g}"
                f", fp {self.fp:g} and tn {self.tn:g}. Else one class is always the cheaper answer."
            )

    @property
    def name(self) -> str:
        """`bayes_cost_fn_10_fp_1`; right decisions are named where they cost something."""
        cells = ("fn", "fp", *(cell for cell in ("tp", "tn") if getattr(self, cell) != 0.0))
        return "bayes_cost_" + "_".join(f"{cell}_{getattr(self, cell):g}" for cell in cells)

    @property
    def closed_form(self) -> float:
        """t*, in (0, 1)."""
        alarm, miss = self.fp - self.tn, self.fn - self.tp
        return alarm / (alarm + miss)

    def values(self, curve: Curve) -> FloatArray:
        """Cost at each threshold."""
        tn, fn = curve.negatives - curve.fp, curve.positives - curve.tp
        return self.fn * fn + self.fp * curve.fp + self.tp * curve.tp + self.tn * tn

    def warning(self, flagged_rows: int, ledger: "LedgerCheck | None") -> str | None:
        """Said unless the scores are known to be calibrated."""
        if ledger is None:
            return f"{self.name} needs calibrated scores, and nobody checked these. Run calibration.ledger_check."
        if ledger.passed:
            return None
        return f"{self.name} needs calibrated scores, and these failed the ledger check. {ledger.sentence}"


def first_constant_costs(objectives: Sequence[Objective]) -> tuple[float, float] | None:
    """What a miss and a false alarm cost in the first objective that says so in numbers; None without one."""
    for objective in objectives:
        if isinstance(objective, MinCost | BayesCost) and not isinstance(objective.fn, str):
            return float(objective.fn), float(objective.fp)
    return None


@dataclass(frozen=True, kw_only=True)
class AlertBudget(Objective):
    """The highest recall among thresholds that flag at most `per_day` rows a day. Flagging nobody always fits.

    `days` is how many days of orders the counted rows amount to; a config may leave it to `with_days`.
    """

    key: ClassVar[str] = "alert_budget"
    per_day: float
    days: float | None = None

    def __post_init__(self) -> None:
        require_number("alert_budget.per_day", self.per_day, above=0.0, hint="It is how many alerts a team works off.")
        if self.days is not None:
            require_number("alert_budget.days", self.days, above=0.0, hint="It is the days the counted rows amount to.")

    @property
    def name(self) -> str:
        """`alert_budget_100_per_day`."""
        return f"alert_budget_{self.per_day:g}_per_day"

    def with_days(self, days: float) -> Self:
        """The budget for counts that cover `days` (> 0) days; days that the config gave stay."""
        return replace(self, days=days) if self.days is None else self

    def values(self, curve: Curve) -> FloatArray:
        """Recall at each threshold."""
        return curve.recall

    def is_allowed(self, curve: Curve) -> BoolArray:
        """Alerts within the budget."""
        if self.days is None:
            raise ConfigError(
                "alert_budget.days is not known: how many days do the counted rows amount to? "
                "Name a time column in the orders, or give days in the objective."
            )
        return curve.tp + curve.fp <= self.per_day * self.days * (1.0 + SAME)


def count_days(orders: DataFrame, *, time: str, is_counted: Column) -> float:
    """How many days of orders the counted rows amount to: each day counts by the share of its rows that are counted.

    A validation fold of the last 30 days amounts to 30 days; one of 15 % of the rows of 200 days, drawn by key, also
    to 30. Alerts in the fold over these days are the alerts a day that the whole log would give. One Spark job; one
    row comes to the driver.

    Args:
        orders: all orders of the log, counted or not; rows without a time are left out.
        time: date or timestamp column; days are those of the session's time zone.
        is_counted: boolean; null is false.
    Raises:
        MissingColumnsError: there is no `time` column.
        DataContractError: no counted row has a time.
    """
    require_columns(orders, [time], "count_days")
    counted = F.coalesce(is_counted.cast("boolean"), F.lit(False)).cast("int")
    per_day = orders.where(col(time).isNotNull()).groupBy(F.to_date(col(time)).alias("day"))
    found = per_day.agg(F.avg(counted).alias("share")).agg(F.sum("share")).first()
    days = None if found is None else found[0]
    if not days:
        raise DataContractError(f"count_days: no counted row has a time in {time!r}. Check the column and the fold.")
    return float(days)


_KINDS = (MaxFBeta, MaxRecall, MaxPrecision, MinCost, BayesCost, AlertBudget, MaxMCC, MaxKappa, Youden)


OBJECTIVES: dict[str, type[Objective]] = {kind.key: kind for kind in _KINDS}
"""Every objective by its name in a config file."""


def objective_from_config(config: str | Mapping[str, Any]) -> Objective:
    """The objective of a config entry: `max_mcc`, or `{name: min_cost, fn: 10, fp: 1}`.

    Raises:
        ConfigError: an unknown name or setting (with the nearest known one), a missing one, or a bad value.
    """
    settings = {"name": config} if isinstance(config, str) else dict(config)
    name = settings.pop("name", None)
    kind = OBJECTIVES.get(str(name))
    if kind is None:
        raise ConfigError(f"objective {name!r} is unknown.{nearest([name], OBJECTIVES)} Known: {sorted(OBJECTIVES)}.")
    known = {field.name: field.default is MISSING for field in fields(kind)}
    problems = []
    if unknown := sorted(map(str, set(settings) - set(known))):
        problems.append(f"{name} has no setting {unknown}.{nearest(unknown, known)} It has {sorted(known)}.")
    if missing := sorted(key for key, is_needed in known.items() if is_needed and key not in settings):
        problems.append(f"{name} needs {missing}. Add what is missing to the objective.")
    if problems:
        raise ConfigError.of_all(problems)
    return kind(**settings)
