"""The checked arguments of a generated log, and what follows from them."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import cached_property
from typing import Literal, get_args

from pyspark.sql import Column
from pyspark.sql import functions as F

from imbalance_spark.core.errors import ConfigError, nearest
from imbalance_spark.orders.datasets.distributions import Categorical, uniform
from imbalance_spark.orders.datasets.population import (
    COMPONENTS,
    IS_FRAUD,
    OUTCOMES,
    SHARE_WITHIN_CLASS,
    SHARE_WITHIN_OUTCOME,
    day_law,
)

_LONGEST_LOG_DAYS = 3660
_REGULAR, _UNUSUAL = COMPONENTS.index("regular"), COMPONENTS.index("unusual")

ShiftKind = Literal["covariate", "label", "concept"]
_LARGEST: Mapping[ShiftKind, float] = {"covariate": 16.0, "label": 500.0, "concept": 10.0}
"""Sizes: with 6 % of unusual orders, 16 times as many are nearly all."""


@dataclass(frozen=True, kw_only=True)
class OrderShift:
    """How a log departs from the one without it, by a known size; 1 is no shift.

    Args:
        kind: `covariate`: among honest orders, `size` times as many are unusual, and an order of given features is as
            often fraud as before. `label`: `size` times as much fraud, and fraud and honest orders look as before.
            `concept`: orders look as before, and the log-odds of fraud lie `size` times as far from those of the
            prevalence: below 1 the features tell less of it.
        size: above 0; up to 16 for `covariate`, 10 for `concept`; the prevalence times that of `label` is at most 0.5.
    """

    kind: ShiftKind
    size: float

    @classmethod
    def parse(cls, text: str) -> "OrderShift":
        """From `KIND=SIZE`, such as `label=2.5`.

        Raises:
            ConfigError: it is no such text, or the size is out of its range.
        """
        kind, _, size = text.partition("=")
        try:
            number = float(size)
        except ValueError:
            number = math.nan
        found = next((one for one in get_args(ShiftKind) if one == kind), None)
        if found is None or not 0.0 < number <= _LARGEST[found]:
            limits = ", ".join(f"{name} up to {size:g}" for name, size in _LARGEST.items())
            raise ConfigError(f"generate.shift {text!r} must be KIND=SIZE with a size above 0: {limits}.")
        return cls(kind=found, size=number)

    def __str__(self) -> str:
        return f"{self.kind}={self.size:g}"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The arguments that a row depends on besides its number; ranges as in `generate_orders`."""

    seed: int
    prevalence: float
    start: date
    days: int
    shift: OrderShift | None = None
    shares: tuple[float, ...] | None = None
    """Shares of `population.OUTCOMES` among all orders, instead of `prevalence`; None for a log of fraud or not."""

    def draw(self, stream: str, number: str = "order_id") -> Column:
        """A uniform draw of this log for an order or a customer, by its number."""
        return uniform(self.seed, stream, F.col(number))

    @cached_property
    def day_law(self) -> Categorical:
        """How orders of each kind spread over the days."""
        return day_law(self.start, self.days)

    @cached_property
    def priors(self) -> dict[int, float]:
        """The share of each kind among all orders, of the kinds that occur; rare ones last."""
        if self.shares is None:
            rate = (1.0 - self.prevalence, self.prevalence)
            found = zip(IS_FRAUD, SHARE_WITHIN_CLASS, strict=True)
            priors = {kind: rate[is_fraud] * share for kind, (is_fraud, share) in enumerate(found)}
        else:
            joint = self.outcomes_of_kinds
            totals = {kind: sum(of_outcome[kind] for of_outcome in joint) for kind in range(len(COMPONENTS))}
            priors = dict(sorted(totals.items(), key=lambda entry: -entry[1]))
        return {kind: prior for kind, prior in priors.items() if prior > 0.0}

    @cached_property
    def drawn_shares(self) -> dict[int, float]:
        """The share of each kind that orders are drawn from; under a covariate shift others than `priors`, which the
        true probabilities rest on."""
        if self.shift is None or self.shift.kind != "covariate":
            return self.priors
        more = (self.shift.size - 1.0) * self.priors[_UNUSUAL]
        return self.priors | {kind: self.priors[kind] + by for kind, by in ((_REGULAR, -more), (_UNUSUAL, more))}

    @property
    def outcomes_of_kinds(self) -> list[list[float]]:
        """For each outcome, the share of all orders that have it and are of each kind."""
        outcomes = zip(self.shares or (), SHARE_WITHIN_OUTCOME, strict=True)
        return [[rate * share for share in kinds] for rate, kinds in outcomes]

    @property
    def start_seconds(self) -> int:
        """The first midnight, UTC, in seconds since 1970."""
        return int(datetime(self.start.year, self.start.month, self.start.day, tzinfo=UTC).timestamp())


def checked_start(
    *, rows: int, prevalence: float, start: str, days: int, partitions: int | None,
    shares: Mapping[str, float] | None = None, shift: OrderShift | None = None, first: int = 0,
) -> date:  # fmt: skip
    """The first day, if every argument is in its range; else a ConfigError that names all that are not."""
    problems = [] if shares is None else _share_problems(shares)
    if rows < 1:
        problems.append(f"generate.rows must be at least 1, got {rows!r}. It is the number of orders to generate.")
    elif not 0 <= first < rows:
        problems.append(f"generate.first must be 0 to {rows - 1}, got {first!r}. It is the first order's number.")
    if not 0.0 < prevalence <= 0.5:
        problems.append(f"generate.prevalence must be in (0, 0.5], got {prevalence!r}. It is the share of fraud.")
    if shift is not None and shift.kind == "label" and not prevalence * shift.size <= 0.5:
        problems.append(
            f"generate.shift {shift}: the share of fraud would be {prevalence * shift.size:g}, it can be 0.5 at most."
        )
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


def _share_problems(shares: Mapping[str, float]) -> list[str]:
    rare = OUTCOMES[1:]
    problems = [
        f"generate.outcomes[{name!r}] must be in (0, 0.5], got {share!r}. It is the outcome's share of all orders."
        for name, share in shares.items()
        if not 0.0 < share <= 0.5
    ]
    if set(shares) != set(rare):
        hint = nearest(set(shares) - set(rare), rare)
        problems.append(f"generate.outcomes must name {list(rare)} and no other, got {sorted(shares)}.{hint}")
    elif not problems and sum(shares.values()) > 0.5:
        problems.append(
            f"generate.outcomes sum to {sum(shares.values()):g}, at most 0.5: the remainder is {OUTCOMES[0]!r}."
        )
    return problems
