"""Feature laws: how a value is drawn given the order's component, and how dense it is under each.

A component is a kind of order, honest or fraudulent, numbered from 0. Given the component, the
features of an order are independent, so its true probability is Bayes' formula in closed form.
Every tuple of parameters has one entry a component.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from pyspark.sql import Column
from pyspark.sql import functions as F

from imbalance_spark.generate.draws import alias_table, logit, lookup


@dataclass(frozen=True, kw_only=True)
class LogLogistic:
    """A positive, heavy-tailed number: its logarithm is logistic with this location and scale.

    With a `ceiling` c, the value is bent from v to c v / (c + v): near v when small, below c always.
    """

    location: tuple[float, ...]
    scale: tuple[float, ...]
    ceiling: float | None = None

    def draw(self, component: Column, share: Column) -> Column:
        """The value whose quantile is `share`."""
        unbent = F.exp(lookup(self.location, component) + lookup(self.scale, component) * logit(share))
        return unbent if self.ceiling is None else unbent * self.ceiling / (unbent + self.ceiling)

    def densities(self, value: Column) -> list[Column]:
        """Density of the value under each component, on the logarithmic scale before bending."""
        unbent = value if self.ceiling is None else value * self.ceiling / (F.lit(self.ceiling) - value)
        return [_logistic_density(F.log(unbent), *law) for law in zip(self.location, self.scale, strict=True)]


def _logistic_density(x: Column, location: float, scale: float) -> Column:
    tail = F.exp(-F.abs((x - F.lit(location)) / F.lit(scale)))
    return tail / (F.lit(scale) * (F.lit(1.0) + tail) * (F.lit(1.0) + tail))


@dataclass(frozen=True, kw_only=True)
class Geometric:
    """A count from 0 upwards with this mean, times an exposure that the row brings."""

    mean: tuple[float, ...]

    def draw(self, component: Column, share: Column, exposure: Column) -> Column:
        """The count whose quantile is `share`."""
        mean = lookup(self.mean, component) * exposure
        return F.floor(F.log(share) / F.log(mean / (F.lit(1.0) + mean)))

    def densities(self, value: Column, exposure: Column) -> list[Column]:
        """Probability of the count under each component."""
        return [_geometric_probability(value, F.lit(mean) * exposure) for mean in self.mean]


def _geometric_probability(count: Column, mean: Column) -> Column:
    return F.pow(mean / (F.lit(1.0) + mean), count) / (F.lit(1.0) + mean)


@dataclass(frozen=True, kw_only=True)
class Categorical:
    """The number of a category; `weights` holds one row of weights a component."""

    weights: tuple[tuple[float, ...], ...]

    def draw(self, component: Column, share: Column) -> Column:
        """The category, as an int from 0, by the alias method."""
        tables = [alias_table(weights) for weights in self._distinct]
        size = len(self.weights[0])
        slot = F.floor(share * size)
        at = self._row(component) * size + slot
        stand_in = lookup([float(i) for _, row in tables for i in row], at)
        is_kept = share * size - slot < lookup([kept for row, _ in tables for kept in row], at)
        return F.when(is_kept, slot).otherwise(stand_in).cast("int")

    def densities(self, value: Column) -> list[Column]:
        """Probability of the category under each component."""
        by_row = [lookup([weight / sum(row) for weight in row], value) for row in self._distinct]
        return [by_row[self._distinct.index(row)] for row in self.weights]

    @property
    def _distinct(self) -> Sequence[tuple[float, ...]]:
        return list(dict.fromkeys(self.weights))

    def _row(self, component: Column) -> Column:
        return lookup([float(self._distinct.index(row)) for row in self.weights], component).cast("int")


@dataclass(frozen=True, kw_only=True)
class Missing:
    """Whether a value is missing, with this probability."""

    share: tuple[float, ...]

    def draw(self, component: Column, share: Column) -> Column:
        """True where the value is missing."""
        return share < lookup(self.share, component)

    def densities(self, is_missing: Column, present: Sequence[Column]) -> list[Column]:
        """Density of what is seen: the miss itself, or a present value of the densities given."""
        return [
            F.when(is_missing, F.lit(share)).otherwise(F.lit(1.0 - share) * density)
            for share, density in zip(self.share, present, strict=True)
        ]
