"""Objectives of what a team can review: so many orders a day, or so many entities."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Self

from imbalance_spark.core.errors import ConfigError
from imbalance_spark.metrics.curve import Curve
from imbalance_spark.metrics.grid import FloatArray
from imbalance_spark.threshold.objective import SAME, BoolArray, Objective, number_text, require_number

if TYPE_CHECKING:
    from imbalance_spark.calibration import LedgerCheck


@dataclass(frozen=True, kw_only=True)
class AlertBudget(Objective):
    """Maximize recall among thresholds that flag at most `per_day` orders per day; flagging none always satisfies it.

    Of equal recall the lowest threshold is taken: the budget is filled. Orders are counted, whatever they weigh.

    Args:
        per_day: alerts per day, > 0.
        days: days of orders that the counted rows amount to, > 0, see `count_days`; None leaves it to `with_days`.
    Raises:
        ConfigError: a setting is out of range.

    Examples:
        >>> AlertBudget(per_day=100, days=30).name
        'alert_budget_100_per_day'
    """

    key: ClassVar[str] = "alert_budget"
    fills: ClassVar[bool] = True
    is_promise: ClassVar[bool] = True
    per_day: float
    days: float | None = None

    def __post_init__(self) -> None:
        require_number(f"{self.key}.per_day", self.per_day, above=0.0, hint="It is how many a team can review a day.")
        if self.days is not None:
            require_number(f"{self.key}.days", self.days, above=0.0, hint="It is the days the counted rows amount to.")

    @property
    def name(self) -> str:
        """`alert_budget_100_per_day`."""
        return f"alert_budget_{number_text(self.per_day)}_per_day"

    def with_days(self, days: float) -> Self:
        """The budget for counts that cover `days` (> 0) days, unless the config sets them."""
        return replace(self, days=days) if self.days is None else self

    def values(self, curve: Curve) -> FloatArray:
        """Recall at each threshold."""
        return curve.recall

    def is_allowed(self, curve: Curve) -> BoolArray:
        """Whether the alerts are within the budget.

        Raises:
            ConfigError: `days` is None.
        """
        if self.days is None:
            raise ConfigError(
                f"{self.key}.days is unknown: the number of days that the counted rows amount to. "
                "Name a time column in the orders, or set days in the objective."
            )
        return curve.alerts <= self.per_day * self.days * (1.0 + SAME)

    def warning(self, flagged_rows: int, ledger: "LedgerCheck | None") -> str | None:
        """A warning if the budget is left unused."""
        if flagged_rows > 0:
            return None
        return f"{self.name} flags nobody: more orders share the highest score than the budget allows."

    def on_share(self, share: float) -> Self:
        """The budget of so many fewer days."""
        return self if self.days is None else replace(self, days=self.days * share)


@dataclass(frozen=True, kw_only=True)
class TopEntities(AlertBudget):
    """Maximize recall among thresholds that flag orders of at most `per_day` entities per day, such as cards.

    An entity counts once a day, by its highest score. The jobs count how many orders the top entities of validation
    have, with `scoring.entity`; one that was found on an earlier day is taken out after `scoring.label_delay_days`.

    Args:
        per_day: entities per day, > 0.
        days: as of `AlertBudget`.
        orders_per_entity: flagged orders for each flagged entity and day, > 0; None leaves it to the jobs, which log it
            as `validation/entities/orders_per_entity`.
    Raises:
        ConfigError: a setting is out of range.

    Examples:
        >>> TopEntities(per_day=100).name
        'top_entities_100_per_day'
    """

    key: ClassVar[str] = "top_entities"
    orders_per_entity: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.orders_per_entity is not None:
            hint = "It is the number of flagged orders for each flagged entity and day."
            require_number("top_entities.orders_per_entity", self.orders_per_entity, above=0.0, hint=hint)

    @property
    def name(self) -> str:
        """`top_entities_100_per_day`."""
        return f"top_entities_{number_text(self.per_day)}_per_day"

    def is_allowed(self, curve: Curve) -> BoolArray:
        """Whether the orders are not more than the top entities have.

        Raises:
            ConfigError: `days` or `orders_per_entity` is None.
        """
        if self.orders_per_entity is None:
            raise ConfigError(
                "top_entities.orders_per_entity is unknown: how many flagged orders a flagged entity has a day. "
                "Take validation/entities/orders_per_entity of the run."
            )
        return AlertBudget(per_day=self.per_day * self.orders_per_entity, days=self.days).is_allowed(curve)
