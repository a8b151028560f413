"""How late labels come: the share of positives known after so many days, and what recent days still miss."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np
from scipy.special import chdtri

from imbalance_spark.core.arrays import FloatArray
from imbalance_spark.core.errors import ConfigError
from imbalance_spark.monitoring.expected import Estimate


@dataclass(frozen=True, kw_only=True, eq=False)
class DelayCurve:
    """Share of the positives that are known after d days, of orders old enough that all labels are there.

    Args:
        known: share in [0, 1], for d = 0 to the label delay; all NaN if there is no such positive.
        positives: that it rests on.
    """

    known: FloatArray
    positives: float

    @classmethod
    def of(cls, positives_by_delay: Mapping[int, float], label_delay_days: int) -> Self:
        """The curve of positives that became known so many days after the order.

        Args:
            positives_by_delay: of matured days alone: younger ones would know the quick labels only.
            label_delay_days: after which labels are taken as complete; later ones count as known on the last day.
        Raises:
            ConfigError: the delay is negative.
        """
        if label_delay_days < 0:
            raise ConfigError(f"label_delay_days must be at least 0, got {label_delay_days}.")
        counts = np.zeros(label_delay_days + 1)
        for delay, positives in positives_by_delay.items():
            counts[min(max(delay, 0), label_delay_days)] += positives
        total = float(counts.sum())
        known = np.cumsum(counts) / total if total > 0.0 else np.full(label_delay_days + 1, np.nan)
        return cls(known=known, positives=total)

    def grossed_up(self, positives_so_far: float, age_days: int) -> Estimate:
        """The positives that a day will have, from those known at its age: divided by the share known by then.

        The 95 % interval is the exact Poisson one (Garwood, 1936) of the positives known so far, widened by the
        binomial error of the curve (delta method, in logarithms).

        Args:
            age_days: whole days since the orders, at least 0.
        """
        share = float(self.known[min(age_days, len(self.known) - 1)])
        if not share > 0.0:
            return Estimate(value=None)
        value = positives_so_far / share
        low, high = chdtri([2.0 * positives_so_far, 2.0 * positives_so_far + 2.0], [0.975, 0.025]) / 2.0
        of_curve = 1.96 * math.sqrt((1.0 - share) / (share * self.positives))
        if positives_so_far == 0.0:
            return Estimate(value=0.0, low=0.0, high=float(high) / share * math.exp(of_curve))
        below, above = (math.hypot(math.log(limit / positives_so_far), of_curve) for limit in (low, high))
        return Estimate(value=value, low=value * math.exp(-below), high=value * math.exp(above))
