"""Drift of features, segments and the top of the scores: how far counts moved, and whether beyond chance."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.stats import chi2, norm

from imbalance_spark.core.arrays import FloatArray

_LEAST_EXPECTED, _LEAST_TOGETHER = 5.0, 1.0  # rows that a group is to expect, for the chi-squared law to hold
_HALF = 0.5  # a row that is added to each value, so that the index is finite where a value is absent from a sample


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
    return float(chi2.sf(((counts - fit) ** 2 / fit).sum(), len(groups) - 1))


def tail_p(before: tuple[float, float], after: tuple[float, float]) -> float:
    """P-value, two-sided, of equal shares in two samples (pooled normal test); each sample is rows above, all rows."""
    (x, n), (y, m) = before, after
    pooled = (x + y) / (n + m)
    error = math.sqrt(pooled * (1.0 - pooled) * (1.0 / n + 1.0 / m))
    return 1.0 if error == 0.0 else float(2.0 * norm.sf(abs(x / n - y / m) / error))


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
