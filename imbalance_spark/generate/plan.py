"""What a generated log was asked to be, checked, and what follows from it."""

from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import cached_property

from pyspark.sql import Column
from pyspark.sql import functions as F

from imbalance_spark.errors import ConfigError
from imbalance_spark.generate import population as laws
from imbalance_spark.generate.draws import uniform
from imbalance_spark.generate.features import Categorical

_LONGEST_LOG_DAYS = 3660


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The arguments that a row depends on besides its number; ranges as `generate_orders` says."""

    seed: int
    prevalence: float
    start: date
    days: int

    def draw(self, stream: str, number: str = "order_id") -> Column:
        """A uniform draw of this log for what `number` counts: orders, or customers."""
        return uniform(self.seed, stream, F.col(number))

    @cached_property
    def day_law(self) -> Categorical:
        """How orders of each kind spread over the days."""
        return laws.day_law(self.start, self.days)

    @property
    def priors(self) -> list[float]:
        """The share of each kind among all orders."""
        rate = (1.0 - self.prevalence, self.prevalence)
        return [rate[is_fraud] * share for is_fraud, share in zip(laws.IS_FRAUD, laws.SHARE_WITHIN_CLASS, strict=True)]

    @property
    def start_seconds(self) -> int:
        """The first midnight, UTC, in seconds since 1970."""
        return int(datetime(self.start.year, self.start.month, self.start.day, tzinfo=UTC).timestamp())


def checked_start(*, rows: int, prevalence: float, start: str, days: int, partitions: int | None) -> date:
    """The first day, when every argument is in its range; else a ConfigError that names all that are not."""
    problems = []
    if rows < 1:
        problems.append(f"generate.rows must be at least 1, got {rows!r}. It is the number of orders to make.")
    if not 0.0 < prevalence <= 0.5:
        problems.append(f"generate.prevalence must be in (0, 0.5], got {prevalence!r}. It is the share of fraud.")
    if not 1 <= days <= _LONGEST_LOG_DAYS:
        problems.append(f"generate.days must be 1 to {_LONGEST_LOG_DAYS}, got {days!r}. It is the length of the log.")
    if partitions is not None and partitions < 1:
        problems.append(f"generate.partitions must be at least 1, got {partitions!r}. Leave it out for a good default.")
    try:
        first_day = date.fromisoformat(start)
    except ValueError:
        problems.append(f"generate.start must be a day as YYYY-MM-DD, got {start!r}. Write 2024-01-01.")
    if problems:
        raise ConfigError.of_all(problems)
    return first_day
