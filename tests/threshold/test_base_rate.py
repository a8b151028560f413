import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from imbalance_spark.calibration import ledger_check
from imbalance_spark.core.errors import ConfigError, DataContractError
from imbalance_spark.metrics import Curve, ScoreCounts
from imbalance_spark.threshold import BayesCost, MaxFBeta, MinCost, at_base_rate, base_rate_correction, sweep
from imbalance_spark.threshold.change import EstimatedBaseRate

SCORES = st.sampled_from([0.0, 0.1, 0.2, 0.5, 0.9, 1.0])
ROWS = st.lists(st.tuples(st.booleans(), SCORES), min_size=2, max_size=30)
RATE = st.floats(0.001, 0.9)


def logit(p: float) -> float:
    return math.log(p / (1 - p))


def calibrated(levels: int = 400) -> Curve:
    """Scores whose share of positives is the score itself, to the last row; half the rows are positive."""
    score = (np.arange(levels) + 0.5) / levels
    weight = np.column_stack([score, 1.0 - score]).ravel()
    return ScoreCounts.from_arrays([1, 0] * levels, np.repeat(score, 2), weight).curve()


@given(RATE, RATE, st.floats(0.001, 0.999))
def test_logits_move_by_the_ratio_of_the_odds(old: float, new: float, p: float) -> None:
    correction = base_rate_correction(old, new)
    assert logit(float(correction.apply(p))) == pytest.approx(logit(p) + logit(new) - logit(old), abs=1e-9)
    assert correction.logit_shift == pytest.approx(logit(new) - logit(old), abs=1e-9)


@given(st.floats(0.001, 0.999), st.floats(0.001, 0.999), RATE)
def test_it_is_bayes_formula_with_another_prior(if_positive: float, if_negative: float, new: float) -> None:
    old = 0.3
    before, after = (prior * if_positive / (prior * if_positive + (1 - prior) * if_negative) for prior in (old, new))
    assert float(base_rate_correction(old, new).apply(before)) == pytest.approx(after)


@settings(max_examples=50, deadline=None)
@given(ROWS, st.integers(1, 5), st.integers(1, 5))
def test_precision_and_cost_are_those_of_rows_repeated_to_the_new_rate(
    rows: list[tuple[bool, float]], more_positives: int, more_negatives: int
) -> None:
    label, score = (np.array(column) for column in zip(*rows, strict=True))
    assume(0 < label.sum() < len(label))
    times = np.where(label, more_positives, more_negatives)
    repeated = ScoreCounts.from_arrays(label.repeat(times), score.repeat(times)).curve()
    moved = at_base_rate(ScoreCounts.from_arrays(label, score).curve(), repeated.prevalence())
    assert moved.prevalence() == pytest.approx(repeated.prevalence())
    assert moved.positives + moved.negatives == pytest.approx(len(rows))
    np.testing.assert_allclose(moved.precision, repeated.precision, rtol=1e-12)
    np.testing.assert_allclose(moved.recall, repeated.recall, rtol=1e-12)
    for objective in (MinCost(fn=3, fp=1), MaxFBeta(2)):
        one, other = sweep(moved, objective), sweep(repeated, objective)
        assert one.matrix.recall == pytest.approx(other.matrix.recall)
        assert one.matrix.precision == pytest.approx(other.matrix.precision)
        assert one.support <= len(rows)


@pytest.mark.parametrize("rate", [0.001, 0.1, 0.5, 0.8])
def test_calibrated_scores_stay_calibrated(rate: float) -> None:
    moved = at_base_rate(calibrated(), rate)
    assert ledger_check(moved).ratio == pytest.approx(1.0, abs=1e-9)
    assert moved.calibration_intercept() == pytest.approx(0.0, abs=1e-6)
    assert sweep(moved, BayesCost(fn=9, fp=1)).value == pytest.approx(sweep(moved, MinCost(fn=9, fp=1)).value)


def test_the_same_rate_changes_nothing() -> None:
    curve = ScoreCounts.from_arrays([1, 0, 0, 1], [0.9, 0.8, 0.7, 0.6], None, [1.0, 2.0, 3.0, 4.0]).curve()
    same = at_base_rate(curve, 0.5)
    np.testing.assert_array_equal(same.threshold, curve.threshold)
    np.testing.assert_array_equal(same.tp, curve.tp)
    assert sweep(same, MinCost(fn="amount", fp=2)) == sweep(curve, MinCost(fn="amount", fp=2))


def test_an_estimated_rate_is_of_weights_and_its_interval_of_rows() -> None:
    # 2 of 4 rows; the positives' weights are 3 of 5. Wilson's interval of a rate p in n rows, z = 1.96, is
    # (p + z^2 / 2n -+ z sqrt(p (1 - p) / n + z^2 / 4n^2)) / (1 + z^2 / n).
    estimate = EstimatedBaseRate.of(ScoreCounts.from_arrays([1, 0, 1, 0], [0.9, 0.8, 0.7, 0.6], [1.0, 1.0, 2.0, 1.0]))
    assert (estimate.rate, estimate.positives) == (0.6, 2)
    assert (estimate.low, estimate.high) == (pytest.approx(0.2046, abs=1e-4), pytest.approx(0.8974, abs=1e-4))


def test_amounts_of_a_class_grow_with_its_weight() -> None:
    curve = ScoreCounts.from_arrays([1, 0, 0, 0], [0.9, 0.8, 0.7, 0.6], None, [10.0, 2.0, 3.0, 4.0]).curve()
    missed = at_base_rate(curve, 0.5).missed_amount
    assert missed is not None
    assert missed[0] == pytest.approx(20.0)  # from a quarter of the rows to a half


def test_bins_move_with_their_scores() -> None:
    draw = np.random.default_rng(5)
    score = draw.beta(1, 30, 20_000)
    label = draw.random(20_000) < score
    moved = at_base_rate(ScoreCounts.from_arrays(label, score, exact_limit=0).curve(), 0.3)
    exact = at_base_rate(ScoreCounts.from_arrays(label, score).curve(), 0.3)
    cost = MinCost(fn=10, fp=1)
    assert sweep(moved, cost).threshold == pytest.approx(sweep(exact, cost).threshold, rel=2e-3)
    assert sweep(moved, cost).value == pytest.approx(sweep(exact, cost).value, rel=2e-3)


@pytest.mark.parametrize("rate", [0.0, 1.0, -0.1, math.nan, "x"])
def test_a_rate_that_cannot_be_is_refused(rate: float) -> None:
    with pytest.raises(ConfigError, match=r"base rate \(new\) must be a number above 0"):
        at_base_rate(calibrated(), rate)


def test_a_missing_class_cannot_be_weighed_up() -> None:
    with pytest.raises(DataContractError, match="no positive row to weight"):
        at_base_rate(ScoreCounts.from_arrays([0, 0], [0.1, 0.2]).curve(), 0.1)
