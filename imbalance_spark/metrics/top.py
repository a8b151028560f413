"""What flagging a fixed number of rows gives: precision, recall and lift of the highest scores."""

import math
from dataclasses import dataclass

import numpy as np

from imbalance_spark.core.errors import ConfigError
from imbalance_spark.metrics.curve import Curve


@dataclass(frozen=True, kw_only=True)
class TopRows:
    """The `k` rows of highest score; NaN where no positive row leaves a value undefined."""

    k: float
    """Rows flagged, or their weight."""
    precision: float
    """Share of them that is positive."""
    recall: float
    """Share of the positives that is among them."""
    lift: float
    """Precision over prevalence: 1 is a random choice."""


def top_rows(curve: Curve, k: float) -> TopRows:
    """Flag the `k` rows of highest score. Rows that tie at the end come in by random order: the value is the mean.

    Args:
        k: rows, or weight where rows have weights, so that design weights count rows of the population; above 0.
    Raises:
        ConfigError: `k` is not above 0, or is more than all rows.
    """
    total = curve.positives + curve.negatives
    if not 0.0 < k <= total:
        raise ConfigError(f"top_rows: k must be above 0 and at most all {total:g} rows, got {k!r}.")
    hits = float(np.interp(k, curve.tp + curve.fp, curve.tp))
    if curve.positives <= 0.0:
        return TopRows(k=k, precision=0.0, recall=math.nan, lift=math.nan)
    return TopRows(k=k, precision=hits / k, recall=hits / curve.positives, lift=hits / k / curve.prevalence())


def top_share(curve: Curve, share: float) -> TopRows:
    """`top_rows` for a share of all rows, in (0, 1].

    Raises:
        ConfigError: `share` is not in (0, 1].
    """
    if not 0.0 < share <= 1.0:
        raise ConfigError(f"top_share: share must be in (0, 1], got {share!r}. 0.01 flags one row in a hundred.")
    return top_rows(curve, share * (curve.positives + curve.negatives))
