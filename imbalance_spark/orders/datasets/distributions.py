"""Random draws as functions of a key, and the distributions of the features, each with its density."""

from collections.abc import Sequence
from dataclasses import dataclass

from pyspark.sql import Column
from pyspark.sql import functions as F

RECIPE = 1
"""Version of the generated rows; a change of any draw must change it."""


def uniform(seed: int, stream: str, number: Column) -> Column:
    """A double in the open interval (0, 1): a function of seed, stream and a bigint alone.

    Streams are independent of each other. The generator makes the numbers itself, so that their
    type is always bigint and the short hash is safe; keys of users go through `hashing`.
    """
    bits = F.shiftrightunsigned(F.xxhash64(F.lit(f"{RECIPE}/{seed}/{stream}"), number), 12)
    # 52 bits and a half: never 0 or 1, so that log(u) and log(1 - u) are finite.
    return (bits + F.lit(0.5)) / F.lit(float(1 << 52))


def logit(share: Column) -> Column:
    """log(u / (1 - u)): a standard logistic draw when `share` is uniform."""
    return F.log(share / (F.lit(1.0) - share))


def lookup(values: Sequence[float], index: Column) -> Column:
    """The double at `index`, counted from 0."""
    return F.get(_literal(values).cast("array<double>"), index.cast("int"))


def lookup_text(values: Sequence[str], index: Column) -> Column:
    """The string at `index`, counted from 0; no value may hold a comma."""
    return F.get(_literal(values), index.cast("int"))


def _literal(values: Sequence[object]) -> Column:
    # One text that the optimizer folds into a constant: thousands of F.lit would each cross to the JVM.
    return F.split(F.lit(",".join(str(value) for value in values)), ",")


def alias_table(weights: Sequence[float]) -> tuple[list[float], list[int]]:
    """Walker's alias table of a discrete distribution (Vose, 1991): shares and aliases.

    A uniform slot i of n is kept with probability `kept[i]`, else replaced by `stand_in[i]`;
    then each i comes out with probability weights[i] / sum(weights).
    """
    n, total = len(weights), sum(weights)
    kept, stand_in = [weight * n / total for weight in weights], list(range(n))
    poor = [i for i in range(n) if kept[i] < 1.0]
    rich = [i for i in range(n) if kept[i] >= 1.0]
    while poor and rich:
        small, large = poor.pop(), rich[-1]
        stand_in[small] = large
        kept[large] -= 1.0 - kept[small]
        if kept[large] < 1.0:
            poor.append(rich.pop())
    for leftover in (*poor, *rich):  # 1 up to rounding
        kept[leftover] = 1.0
    return kept, stand_in


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
    """A count from 0 upwards with this mean times the row's exposure."""

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
    """The number of a category; `weights` has one row of weights per component."""

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
        """Density of the observation: of the value being missing, or of the present value by the given densities."""
        return [
            F.when(is_missing, F.lit(share)).otherwise(F.lit(1.0 - share) * density)
            for share, density in zip(self.share, present, strict=True)
        ]
