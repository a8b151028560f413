"""Alerts against what a team can review: the days so far, and the week ahead."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
from scipy.stats import t as student

from imbalance_spark.monitoring.expected import Estimate

_WEEKS = 8  # days further back say little about the next week
_FEWEST_DAYS = 14


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
    reach = float(student.ppf(0.975, freedom))
    found = []
    for day in (known[-1][0] + timedelta(days=ahead) for ahead in range(1, 8)):
        centre, size = means[day.weekday()], max(len(of_weekday[day.weekday()]), 1)
        error = reach * spread * np.sqrt(1.0 + 1.0 / size)
        value, low, high = (max(float(np.exp(at)) - 0.5, 0.0) for at in (centre, centre - error, centre + error))
        capacity = None if budget is None else value / budget
        found.append(Forecast(day=day, alerts=Estimate(value=value, low=low, high=high), capacity=capacity))
    return found
