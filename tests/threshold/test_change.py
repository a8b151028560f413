import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from imbalance_spark.core.errors import ConfigError
from imbalance_spark.metrics import ScoreCounts
from imbalance_spark.threshold import AlertBudget, BayesCost, MaxFBeta, MinCost, change_threshold

SCORES = st.sampled_from([0.0, 0.1, 0.2, 0.5, 0.9, 1.0])
ROWS = st.lists(st.tuples(st.booleans(), SCORES), min_size=2, max_size=30)
LABEL, SCORE = np.array([1, 0, 1, 0, 0, 0, 1, 0, 0, 0]), np.linspace(0.95, 0.05, 10)
CURVE = ScoreCounts.from_arrays(LABEL, SCORE).curve()


@settings(max_examples=50, deadline=None)
@given(ROWS, SCORES, st.one_of(st.none(), st.floats(0.01, 0.99)), st.sampled_from([MinCost(fn=3, fp=1), MaxFBeta(1)]))
def test_both_outcomes_are_those_of_the_thresholds_on_rows_weighed_to_the_rate(
    rows: list[tuple[bool, float]], old: float, rate: float | None, objective: MinCost
) -> None:
    label, score = (np.array(column) for column in zip(*rows, strict=True))
    assume(0 < label.sum() < len(label))
    found = change_threshold(
        ScoreCounts.from_arrays(label, score).curve(),
        objective, old_threshold=old, base_rate=rate, cost=MinCost(fn=3, fp=1), days=4,
    )  # fmt: skip
    share = label.mean()
    weight = np.ones(len(label)) if rate is None else np.where(label, rate / share, (1 - rate) / (1 - share))
    assert found.before.threshold == old
    for outcome in (found.before, found.after):
        flagged = score >= outcome.threshold
        hits, alerts = weight[flagged & label].sum(), weight[flagged].sum()
        assert outcome.alerts == pytest.approx(alerts)
        assert outcome.alerts_per_day == pytest.approx(alerts / 4)
        assert outcome.precision == (pytest.approx(hits / alerts) if flagged.any() else None)
        assert outcome.recall == pytest.approx((flagged & label).sum() / label.sum())
        cost = 3 * weight[~flagged & label].sum() + weight[flagged & ~label].sum()
        assert outcome.cost == pytest.approx(cost, abs=1e-9)


def test_a_higher_rate_lowers_the_bayes_threshold_on_the_models_own_scores() -> None:
    # New odds are 4 times the old ones at 0.3 -> 12 / 19; t* is 1/11, so on the model's scores its odds are 1/40.
    found = change_threshold(CURVE, BayesCost(fn=10, fp=1), old_threshold=1 / 11, base_rate=12 / 19)
    assert found.chosen.threshold == pytest.approx(1 / 11)
    assert found.after.threshold == pytest.approx(1 / 41)
    assert float(found.correction.apply(found.after.threshold)) == pytest.approx(1 / 11)


def test_an_unmoved_rate_leaves_the_scale_alone() -> None:
    found = change_threshold(CURVE, MaxFBeta(1), old_threshold=0.5)
    assert found.after.threshold == found.chosen.threshold
    assert found.correction.logit_shift == 0.0
    assert (found.after.cost, found.after.alerts_per_day) == (None, None)


def test_days_complete_an_alert_budget_and_the_change_reads_as_one_line() -> None:
    found = change_threshold(CURVE, AlertBudget(per_day=1.5), old_threshold=0.3, cost=MinCost(fn=10, fp=1), days=2)
    assert found.sentence == (
        "alert_budget_1.5_per_day: threshold 0.3 -> 0.702415, alerts 7 -> 3, alerts a day 3.5 -> 1.5, "
        "precision 0.428571 -> 0.666667, recall 1 -> 0.666667, cost 4 -> 11."
    )


def test_flagging_nobody_stays_flagging_nobody_at_another_rate() -> None:
    useless = ScoreCounts.from_arrays([0, 1], [0.9, 0.8]).curve()
    found = change_threshold(useless, MinCost(fn=1, fp=50), old_threshold=0.5, base_rate=0.1)
    # At the new rate 50 / 51 decides, where the odds are nine times lower than on the model's scores.
    assert found.after.threshold == pytest.approx(450 / 451)
    assert found.after.alerts == 0.0
    assert found.after.precision is None
    assert "precision" not in found.sentence


def test_settings_that_cannot_be_are_refused() -> None:
    with pytest.raises(ConfigError, match="max_f1 is not a cost"):
        change_threshold(CURVE, MaxFBeta(1), old_threshold=0.5, cost=MaxFBeta(1))
    with pytest.raises(ConfigError, match=r"change_threshold.days must be"):
        change_threshold(CURVE, MaxFBeta(1), old_threshold=0.5, days=0)
    with pytest.raises(ConfigError, match="NaN"):
        change_threshold(CURVE, MaxFBeta(1), old_threshold=float("nan"))
