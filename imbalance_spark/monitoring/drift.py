"""Drift of features, segments and the top of the scores: how far counts moved, and whether beyond chance.

It is counted by deciles of numbers, categories and segments, each as text.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from scipy.special import chdtrc, ndtr

from imbalance_spark.core.arrays import FloatArray
from imbalance_spark.core.columns import col, in_scans
from imbalance_spark.scoring.bundle import ModelBundle

MISSING, NEW, OTHER = "(missing)", "(new)", "(other)"
_MOST_VALUES = 50
_QUANTILES = [number / 10 for number in range(1, 10)]

_LEAST_EXPECTED, _LEAST_TOGETHER = 5.0, 1.0  # rows that a group is to expect, for the chi-squared law to hold
_HALF = 0.5  # a row that is added to each value, so that the index is finite where a value is absent from a sample


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


@dataclass(frozen=True, kw_only=True)
class Drift:
    """How a column moved from its reference.

    Args:
        kind: `feature`, `segment` or `score`.
        psi: population stability index, at least 0; above 0.1 it is called moderate, above 0.25 large.
        p_value: of Pearson's two-sample test; None where a sample has no row.
        q_value: the same after Benjamini and Hochberg's control of the false discovery rate; see `controlled`.
        largest: the value whose share moved most, with its share before and after; None without rows.
        importance: share of the feature in what moves the model's scores, see `MonitoredModel.importance`; None where
            that is not known.
    """

    kind: str
    name: str
    psi: float
    p_value: float | None
    q_value: float | None = None
    largest: tuple[str, float, float] | None = None
    importance: float | None = None

    @property
    def weight(self) -> float:
        """By how much it may move the scores: the index times the importance, where that is known."""
        return self.psi * (1.0 if self.importance is None else self.importance)


def column_drift(
    kind: str, name: str, before: Mapping[str, float], after: Mapping[str, float], importance: float | None = None
) -> Drift:
    """Compare the counts of a column's values or bins; missing and new values count as values.

    Args:
        before, after: rows by value.
    """
    values = sorted(before.keys() | after.keys())
    one, other = (np.array([counts.get(value, 0.0) for value in values]) for counts in (before, after))
    if not (one.sum() > 0.0 and other.sum() > 0.0):
        return Drift(kind=kind, name=name, psi=0.0, p_value=None, importance=importance)
    shares = one / one.sum(), other / other.sum()
    moved = int(np.argmax(np.abs(shares[1] - shares[0])))
    return Drift(
        kind=kind,
        name=name,
        psi=psi(one, other),
        p_value=two_sample_p(one, other),
        largest=(values[moved], float(shares[0][moved]), float(shares[1][moved])),
        importance=importance,
    )


def psi(before: FloatArray, after: FloatArray) -> float:
    """Population stability index, sum (a - b) ln(a / b) over the shares b and a: the symmetric Kullback-Leibler
    divergence (Kullback and Leibler, 1951). Half a row is added to each value.

    Args:
        before, after: rows of each value, at least 0.
    """
    b, a = ((rows + _HALF) / (rows + _HALF).sum() for rows in (before, after))
    return float(np.sum((a - b) * np.log(a / b)))


def two_sample_p(before: FloatArray, after: FloatArray) -> float:
    """P-value of Pearson's chi-squared test that two samples have the same shares.

    Values that expect fewer than five rows in the smaller sample are taken together. What they expect together is a
    group of its own from one row on (Cochran, 1954), so that a new value does not hide in a frequent one.

    Args:
        before, after: rows of each value, at least 0; both with rows.
    """
    table = np.stack([before, after])[:, np.argsort(before + after, kind="stable")]
    smaller = float(table.sum(axis=1).min() / table.sum())
    groups, rare = [], np.zeros(2)
    for column in table.T:
        if column.sum() * smaller >= _LEAST_EXPECTED:
            groups.append(column)
        else:
            rare = rare + column
    if rare.sum() * smaller >= _LEAST_TOGETHER:
        groups.append(rare)
    elif groups:
        groups[0] = groups[0] + rare
    if len(groups) < 2:
        return 1.0
    counts = np.array(groups).T
    fit = counts.sum(axis=1, keepdims=True) * counts.sum(axis=0) / counts.sum()
    return float(chdtrc(len(groups) - 1, ((counts - fit) ** 2 / fit).sum()))


def tail_p(before: tuple[float, float], after: tuple[float, float]) -> float:
    """P-value, two-sided, of equal shares in two samples (pooled normal test); each sample is rows above, all rows."""
    (x, n), (y, m) = before, after
    pooled = (x + y) / (n + m)
    error = math.sqrt(pooled * (1.0 - pooled) * (1.0 / n + 1.0 / m))
    return 1.0 if error == 0.0 else float(2.0 * ndtr(-abs(x / n - y / m) / error))


def controlled(found: Sequence[Drift]) -> list[Drift]:
    """The same with q-values, most moved first: of what is reported at q <= 0.05, one in twenty is chance.

    Step-up procedure of Benjamini and Hochberg (1995) over all columns with a p-value.
    """
    tested = sorted((drift for drift in found if drift.p_value is not None), key=lambda drift: drift.p_value or 0.0)
    least, adjusted = 1.0, []
    for rank in range(len(tested), 0, -1):
        drift = tested[rank - 1]
        least = min(least, (drift.p_value or 0.0) * len(tested) / rank)
        adjusted.append(replace(drift, q_value=least))
    untested = [drift for drift in found if drift.p_value is None]
    return sorted([*adjusted, *untested], key=lambda drift: (-drift.weight, drift.name))
