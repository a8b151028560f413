"""What a team reviews: its alerts against its capacity, and recall from flagged orders and a control sample."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
from scipy.special import chdtri, stdtrit

from imbalance_spark.core.arrays import FloatArray
from imbalance_spark.monitoring.cells import BoolArray
from imbalance_spark.monitoring.expected import Estimate

_WEEKS = 8  # days further back say little about the next week
_FEWEST_DAYS = 14

_TAIL = 0.025


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """Alerts of a day to come.

    Args:
        alerts: orders flagged, with a 95 % prediction interval.
        capacity: share of the budget that they use, 1 for all; None without a budget.
    """

    day: date
    alerts: Estimate
    capacity: float | None


def forecast_week(alerts_by_day: Sequence[tuple[date, float]], budget: float | None = None) -> list[Forecast]:
    """Alerts of the seven days after the last, by the mean of the weekday over eight weeks; [] below two weeks.

    A day is level x factor of its weekday; factors average 1, and are those of orders' logs: estimated from all days,
    not from one week alone. The interval takes what days depart from that, in logarithms, by Student's t.

    Args:
        alerts_by_day: complete days with their alerts, in any order; days that are not there are skipped.
        budget: alerts a day that can be reviewed, above 0.
    """
    known = sorted(alerts_by_day)[-7 * _WEEKS :]
    if len(known) < _FEWEST_DAYS:
        return []
    weekday = np.array([day.weekday() for day, _ in known])
    logs = np.log(np.array([alerts for _, alerts in known]) + 0.5)
    of_weekday = [logs[weekday == day] for day in range(7)]
    means = np.array([rows.mean() if len(rows) else logs.mean() for rows in of_weekday])
    apart, freedom = logs - means[weekday], max(len(logs) - sum(len(rows) > 0 for rows in of_weekday), 1)
    spread = float(np.sqrt(apart @ apart / freedom))
    reach = float(stdtrit(freedom, 0.975))
    found = []
    for day in (known[-1][0] + timedelta(days=ahead) for ahead in range(1, 8)):
        centre, size = means[day.weekday()], max(len(of_weekday[day.weekday()]), 1)
        error = reach * spread * np.sqrt(1.0 + 1.0 / size)
        value, low, high = (max(float(np.exp(at)) - 0.5, 0.0) for at in (centre, centre - error, centre + error))
        capacity = None if budget is None else value / budget
        found.append(Forecast(day=day, alerts=Estimate(value=value, low=low, high=high), capacity=capacity))
    return found


@dataclass(frozen=True, kw_only=True, eq=False)
class ReviewedOrders:
    """Orders whose review told their class, in cells.

    Args:
        rows: of each cell.
        positives: among them.
        weight: orders that one of them stands for, the inverse of its propensity to be reviewed, at least 1.
        flagged: whether the cell's orders are flagged.
    """

    rows: FloatArray
    positives: FloatArray
    weight: FloatArray
    flagged: BoolArray

    @property
    def control_rows(self) -> float:
        """Orders of the control sample."""
        return float(self.rows @ ~self.flagged)

    @property
    def missed(self) -> Estimate:
        """Positives among the orders that were not flagged, in the sample or not.

        The sum of inverse propensities over the sample's positives (Horvitz and Thompson, 1952). Its 95 % interval
        takes the ones that nobody saw as a gamma variable of their estimated mean and variance, which for small and
        equal shares is the exact Poisson interval, and at its upper end as if one more positive of the largest weight
        had been found (Fay and Feuer, 1997).

        Returns:
            No number where no order of the sample was reviewed.
        """
        is_control = ~self.flagged & (self.rows > 0.0)
        if not is_control.any():
            return Estimate(value=None)
        weight, found = self.weight[is_control], self.positives[is_control]
        seen, unseen = float(found.sum()), float(found @ (weight - 1.0))
        variance, largest = float(found @ (weight * (weight - 1.0))), float(weight.max())
        low = _gamma_quantile(_TAIL, unseen, variance)
        high = _gamma_quantile(1.0 - _TAIL, unseen + largest - 1.0, variance + largest * (largest - 1.0))
        return Estimate(value=seen + unseen, low=seen + low, high=seen + high)

    def estimates(self, orders: float) -> dict[str, Estimate]:
        """`base_rate`, `positives` and `recall` of all orders, reviewed or not.

        Args:
            orders: number of them, above 0.
        """
        caught, missed = float(self.positives @ self.flagged), self.missed
        if missed.value is None or missed.low is None or missed.high is None:
            return dict.fromkeys(("base_rate", "positives", "recall"), Estimate(value=None))
        total = [caught + one for one in (missed.value, missed.low, missed.high)]
        recall = [None if one == 0.0 else caught / one for one in total]
        return {
            "base_rate": Estimate(value=total[0] / orders, low=total[1] / orders, high=total[2] / orders),
            "positives": Estimate(value=total[0], low=total[1], high=total[2]),
            "recall": Estimate(value=recall[0], low=recall[2], high=recall[1]),
        }


def _gamma_quantile(share: float, mean: float, variance: float) -> float:
    if mean <= 0.0:
        return 0.0
    return float(variance / (2.0 * mean) * chdtri(2.0 * mean**2 / variance, 1.0 - share))
