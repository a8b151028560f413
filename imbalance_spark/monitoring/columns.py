"""The values that drift is counted by: deciles of numbers, categories and segments, each as text."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from imbalance_spark.core.columns import col, in_scans
from imbalance_spark.scoring.bundle import ModelBundle

MISSING, NEW, OTHER = "(missing)", "(new)", "(other)"
_MOST_VALUES = 50
_QUANTILES = [number / 10 for number in range(1, 10)]


@dataclass(frozen=True, kw_only=True)
class ColumnValues:
    """How each column's values are grouped, the same on all days.

    Args:
        edges: of numeric features, rising; a value belongs to the first edge that it does not exceed.
        categories: of categorical features, those known in training, most frequent first.
        segments: values of segment columns that are counted on their own.
    """

    edges: Mapping[str, tuple[float, ...]]
    categories: Mapping[str, tuple[str, ...]]
    segments: Mapping[str, tuple[str, ...]]

    @classmethod
    def learn(cls, orders: DataFrame, bundle: ModelBundle, segments: Mapping[str, Sequence[str]]) -> Self:
        """Deciles of the numeric features of `orders`, to 0.1 % of the rank, in one pass for each 200 features.

        Args:
            orders: one row per order, with the bundle's features.
            segments: by column its values, at most 50.
        """
        edges: dict[str, tuple[float, ...]] = {}
        for names in in_scans(bundle.numeric):
            quantiles = [F.percentile_approx(_number(name), _QUANTILES, 1000) for name in names]
            [row] = orders.agg(*[column.alias(str(i)) for i, column in enumerate(quantiles)]).collect()
            edges |= {name: tuple(sorted(set(found or ()))) for name, found in zip(names, row, strict=True)}
        return cls(
            edges=edges,
            categories={name: bundle.categories.values[name] for name in bundle.categorical},
            segments={name: tuple(values) for name, values in segments.items()},
        )

    def grouped(self, kind: str, name: str) -> Column:
        """The group of each row, as text; never null."""
        if kind == "segment":
            return _one_of(name, self.segments[name], F.lit(OTHER))
        if name in self.edges:
            value, group = _number(name), F.lit(self._range(name, len(self.edges[name])))
            for number, edge in reversed(list(enumerate(self.edges[name]))):
                group = F.when(value <= F.lit(edge), self._range(name, number)).otherwise(group)
            return F.when(value.isNull(), MISSING).otherwise(group)
        values = self.categories[name]
        rare = F.when(col(name).cast("string").isin(*values[_MOST_VALUES:]), OTHER).otherwise(NEW)
        return _one_of(name, values[:_MOST_VALUES], rare)

    @property
    def names(self) -> list[tuple[str, str]]:
        """Kind and name of every column that is counted."""
        return [("feature", name) for name in (*self.edges, *self.categories)] + [("segment", n) for n in self.segments]

    def _range(self, name: str, number: int) -> str:
        edges = self.edges[name]
        if not edges:
            return "any number"
        if number == 0:
            return f"up to {edges[0]:.4g}"
        return f"above {edges[-1]:.4g}" if number == len(edges) else f"{edges[number - 1]:.4g} to {edges[number]:.4g}"

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        parts = {"edges": self.edges, "categories": self.categories, "segments": self.segments}
        return {part: {name: list(values) for name, values in found.items()} for part, found in parts.items()}

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Self:
        """What `to_dict` wrote."""
        return cls(**{part: {name: tuple(values) for name, values in found.items()} for part, found in record.items()})


def _number(name: str) -> Column:
    value = col(name).cast("double")
    return F.when(~F.isnan(value), value)


def _one_of(name: str, values: Sequence[str], otherwise: Column) -> Column:
    text = col(name).cast("string")
    return F.when(text.isNull(), MISSING).when(text.isin(*values), text).otherwise(otherwise)
