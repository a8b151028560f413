"""Late labels and the week ahead: closed forms, and coverage over made-up days."""

from datetime import date, timedelta

import numpy as np
import pytest

from imbalance_spark.core.errors import ConfigError
from imbalance_spark.monitoring.label_delay import DelayCurve
from imbalance_spark.monitoring.reviews import forecast_week


def test_the_curve_is_the_share_known_by_day() -> None:
    curve = DelayCurve.of({0: 10.0, 2: 30.0, 5: 40.0, 99: 20.0}, 6)
    assert curve.known.tolist() == pytest.approx([0.1, 0.1, 0.4, 0.4, 0.4, 0.8, 1.0])
    assert curve.positives == 100.0


def test_recent_positives_are_divided_by_the_share_known() -> None:
    curve = DelayCurve.of({0: 10.0, 2: 30.0, 5: 60.0}, 6)
    assert curve.grossed_up(8.0, 3).value == pytest.approx(20.0)
    assert curve.grossed_up(20.0, 60).value == pytest.approx(20.0)
    assert curve.grossed_up(0.0, 3).low == 0.0


def test_without_matured_positives_nothing_is_grossed_up() -> None:
    assert DelayCurve.of({}, 6).grossed_up(3.0, 2).value is None


def test_a_negative_delay_is_refused() -> None:
    with pytest.raises(ConfigError, match="label_delay_days must be at least 0"):
        DelayCurve.of({}, -1)


def test_the_interval_holds_the_expected_positives_of_a_day() -> None:
    random, shares, held = np.random.default_rng(1), np.array([0.2, 0.2, 0.2, 0.2, 0.2]), []
    for _ in range(300):
        curve = DelayCurve.of(dict(enumerate(random.multinomial(400, shares).astype(float))), 4)
        found = curve.grossed_up(float(random.poisson(50 * 0.4)), 1)
        held.append(found.holds(50.0))
    assert 0.92 <= np.mean(held) <= 0.99


def _days(random: np.random.Generator, count: int = 56) -> list[tuple[date, float]]:
    of_weekday = (1.0, 0.9, 1.0, 1.1, 1.4, 1.8, 0.6)
    days = [date(2024, 1, 1) + timedelta(days=i) for i in range(count)]
    return [(day, float(random.poisson(200 * of_weekday[day.weekday()]))) for day in days]


def test_the_week_ahead_follows_the_weekdays() -> None:
    held, random = [], np.random.default_rng(2)
    for _ in range(40):
        days = _days(random, 63)
        found = forecast_week(days[:56], budget=250.0)
        held += [one.alerts.holds(alerts) for one, (_, alerts) in zip(found, days[56:], strict=True)]
    assert [one.day for one in found] == [day for day, _ in days[56:]]
    assert 0.92 <= np.mean(held) <= 0.985
    saturday = found[5]
    assert saturday.capacity == pytest.approx((saturday.alerts.value or 0.0) / 250.0)
    assert saturday.capacity > 1.2


def test_less_than_two_weeks_are_no_forecast() -> None:
    assert forecast_week(_days(np.random.default_rng(3), 13)) == []


def test_a_forecast_does_not_depend_on_the_order_of_days() -> None:
    days = _days(np.random.default_rng(4))
    assert forecast_week(days) == forecast_week(days[::-1])
