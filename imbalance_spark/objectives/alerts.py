"""A budget of alerts a day, and how many days some counted rows amount to."""

from dataclasses import dataclass, replace
from typing import ClassVar, Self

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from imbalance_spark.errors import ConfigError, DataContractError
from imbalance_spark.frames import col, require_columns
from imbalance_spark.metrics.curve import Curve
from imbalance_spark.metrics.grid import FloatArray
from imbalance_spark.objectives.base import SAME, BoolArray, Objective, require_number


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
