"""The rule that jobs serve: against closed forms, expectations written out, and what a search would lose."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.stats import binomtest

from imbalance_spark.calibration import fit_calibrator, fit_of
from imbalance_spark.calibration.log_odds import LogOddsCalibration
from imbalance_spark.core.errors import DataContractError
from imbalance_spark.metrics import FLAG_NOBODY, ScoreCounts
from imbalance_spark.metrics.bucket_draws import BucketedCurve, HalvedCurve
from imbalance_spark.metrics.buckets import BUCKETS, BucketCounts
from imbalance_spark.metrics.curve import Curve
from imbalance_spark.threshold import AlertBudget, BayesCost, MaxFBeta, MaxMCC, MaxRecall, MinCost, Objective, sweep
from imbalance_spark.threshold.rule import DECIDED_AT, choose_on, choose_threshold, expected

Rows = tuple[np.ndarray, np.ndarray, np.ndarray]


def rows_of(size: int, seed: int, slope: float = 1.0, shift: float = 0.0, rate: float = -3.0) -> Rows:
    """Labels, scores whose calibration is off by a slope and a shift in logit, and hash buckets."""
    draw = np.random.default_rng(seed)
    logit = draw.normal(rate, 1.5, size)
    label = (draw.random(size) < 1 / (1 + np.exp(-logit))).astype(int)
    label[:2] = 0, 1
    return label, 1 / (1 + np.exp(-(logit - shift) / slope)), draw.integers(0, BUCKETS, size)


def halved(rows: Rows, weight: np.ndarray | None = None) -> HalvedCurve:
    label, score, bucket = rows

    def part(kept: np.ndarray, buckets: slice) -> BucketedCurve:
        own = None if weight is None else weight[kept]
        counts = ScoreCounts.from_arrays(label[kept], score[kept], own)
        grouped = BucketCounts.from_arrays(bucket[kept], label[kept], score[kept], own)
        return BucketedCurve(counts.curve(), grouped.only(buckets))

    everyone, even = np.ones(len(label), dtype=bool), bucket % 2 == 0
    return HalvedCurve(
        part(everyone, slice(None)), (part(even, slice(0, None, 2)), part(~even, slice(1, None, 2)))
    )  # fmt: skip


def calibrated(rows: Rows) -> Curve:
    counts = ScoreCounts.from_arrays(*rows[:2])
    return counts.curve(fit_of("platt_prior")(counts).apply)


@pytest.mark.parametrize("size", [60, 400, 4_000])
def test_platt_with_a_prior_is_the_mode_of_its_posterior(size: int) -> None:
    label, score, _ = rows_of(size, size, slope=1.6, shift=0.7)
    logit, sign = np.log(score / (1 - score)), 2 * label - 1
    centre = math.log(label.sum() / (size - label.sum()))

    def posterior(values: np.ndarray) -> float:
        margin = logit + values[0] + values[1] * (logit - centre)
        return float(np.logaddexp(0, -sign * margin).sum()) + values[0] ** 2 / 8 + values[1] ** 2 / 0.5

    shift, more = minimize(posterior, [0.0, 0.0], tol=1e-14).x
    found = LogOddsCalibration.fit_with_prior(ScoreCounts.from_arrays(label, score))
    assert (found.a, found.b, found.c) == pytest.approx((1 + more, 1 + more, shift - more * centre), abs=1e-5)
    heavy = LogOddsCalibration.fit_with_prior(ScoreCounts.from_arrays(label, score, np.full(size, 7.0)))
    assert (heavy.a, heavy.c) == pytest.approx((found.a, found.c))


def test_without_positives_nothing_is_calibrated_and_scores_upside_down_still_rise() -> None:
    none = LogOddsCalibration.fit_with_prior(ScoreCounts.from_arrays([0, 0], [0.2, 0.3]))
    assert (none.a, none.b, none.c) == (1.0, 1.0, 0.0)
    score = np.linspace(0.01, 0.99, 5_000)
    upside_down = LogOddsCalibration.fit_with_prior(ScoreCounts.from_arrays(score < 0.3, score))
    assert upside_down.a == 1.0


@pytest.mark.parametrize(("bend", "method"), [(0.0, "platt_prior"), (1.0, "beta or isotonic")])
def test_a_freer_calibration_is_taken_where_cross_fitting_shows_its_gain(bend: float, method: str) -> None:
    label, score, bucket = rows_of(40_000, 3)
    logit = np.log(score / (1 - score))
    bent = 1 / (1 + np.exp(-np.where(logit > -2, logit + bend * 3 * (logit + 2), logit)))
    found = fit_calibrator(halved((label, bent, bucket)).whole)
    assert found.calibrator.method in method.split(" or ")
    assert found.judged["platt_prior"].worse_by == 0.0
    assert found.judged[found.calibrator.method].mean_over_base_rate == pytest.approx(1.0, abs=0.03)


def test_few_positives_are_calibrated_without_a_switch_of_methods() -> None:
    found = fit_calibrator(halved(rows_of(300, 5)).whole)
    assert found.calibrator.method == "platt_prior"
    assert set(found.skipped) == {"beta", "isotonic"}


@pytest.mark.parametrize(
    ("objective", "threshold"),
    [(MinCost(fn=10, fp=1), 1 / 11), (BayesCost(fn=10, fp=2, tp=-3, tn=0.5), 1.5 / 14.5), (MinCost(fn=1, fp=0), 0.0)],
)
def test_a_cost_has_the_threshold_of_elkan_and_cross_fitted_results(objective: Objective, threshold: float) -> None:
    rows = rows_of(2_000, 7, slope=1.5)
    sample = halved(rows)
    found = choose_threshold(sample, objective)
    assert found.threshold == pytest.approx(threshold)
    assert found.reachable
    # Each half as the other half's calibration decides it, row by row.
    label, score, bucket = rows
    flagged = np.zeros(len(label), dtype=bool)
    for half in (0, 1):
        own, other = bucket % 2 == half, bucket % 2 != half
        p = fit_of("platt_prior")(ScoreCounts.from_arrays(label[other], score[other])).apply(score[own])
        flagged[own] = p >= threshold
    matrix = found.matrix
    assert (matrix.tp, matrix.fp) == pytest.approx((label[flagged].sum(), (1 - label[flagged]).sum()))
    assert found.support == flagged.sum()
    assert found.decided is not None
    assert found.decided.curve.at(DECIDED_AT) == matrix
    values = objective.values(found.decided.curve)
    assert found.value == pytest.approx(values[1] if flagged.any() and not flagged.all() else values[-1])


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([0.5, 1.0, 2.0]))
def test_f_beta_is_the_best_of_the_expected_value(seed: int, beta: float) -> None:
    rows = rows_of(300, seed)
    curve, square = calibrated(rows), beta * beta
    p = np.sort(fit_of("platt_prior")(ScoreCounts.from_arrays(*rows[:2])).apply(rows[1]))[::-1]
    values = [(1 + square) * p[:k].sum() / (k + square * p.sum()) for k in range(len(p) + 1)]
    best = int(np.argmax(values))
    found = choose_on(curve, MaxFBeta(beta))
    assert (p >= found.threshold).sum() == best
    assert p[best] < found.threshold <= p[best - 1]


def test_expected_counts_are_those_of_the_probabilities() -> None:
    curve = calibrated(rows_of(500, 11))
    found = expected(curve)
    assert found.positives == pytest.approx(curve.mean_score() * 500)
    assert found.positives + found.negatives == pytest.approx(500.0)
    assert found.average_precision() is not None


def test_a_threshold_lies_half_way_in_logit_to_the_next_score() -> None:
    curve = ScoreCounts.from_arrays([0, 0, 1, 1], [0.1, 0.2, 0.6, 0.9]).curve()
    found = choose_on(curve, AlertBudget(per_day=2, days=1))
    assert math.log(found.threshold / (1 - found.threshold)) == pytest.approx(
        (math.log(0.6 / 0.4) + math.log(0.2 / 0.8)) / 2
    )


def test_a_budget_is_filled_with_orders_whatever_they_weigh() -> None:
    label, score = [1, 0, 0, 0, 1, 0], [0.9, 0.8, 0.7, 0.6, 0.5, 0.4]
    for weight in (None, [5.0] * 6):
        curve = ScoreCounts.from_arrays(label, score, weight).curve()
        assert choose_on(curve, AlertBudget(per_day=4, days=1)).support == 4
    tied = ScoreCounts.from_arrays([1] * 3 + [0] * 3, [0.9] * 4 + [0.1] * 2).curve()
    nobody = choose_on(tied, AlertBudget(per_day=3, days=1))
    assert nobody.threshold == FLAG_NOBODY
    assert "flags nobody: more orders share the highest score" in str(nobody.warning)


def test_a_promise_of_precision_holds_beyond_chance() -> None:
    curve = calibrated(rows_of(3_000, 13))
    asked = MaxRecall(precision=0.5)
    found, counted = choose_on(curve, asked), sweep(curve, asked)
    tp, flagged = int(found.matrix.tp), int(found.matrix.flagged)
    low = binomtest(tp, flagged).proportion_ci(confidence_level=0.8, method="wilson").low
    assert asked.lower_bound(curve)[flagged] == pytest.approx(low)
    assert low >= 0.5
    assert found.matrix.recall < counted.matrix.recall
    assert choose_on(curve, MaxRecall(precision=0.5, confidence=0.5)).matrix == counted.matrix


@pytest.mark.parametrize(("precision", "said"), [(0.9, "positive rows would show it; there are"), (1.0, "Lower the")])
def test_a_promise_that_few_rows_cannot_keep_flags_nobody_and_says_what_would(precision: float, said: str) -> None:
    curve = ScoreCounts.from_arrays([1, 1, 1, 0, 0, 0, 0], [0.9, 0.8, 0.7, 0.3, 0.2, 0.1, 0.05]).curve()
    found = choose_on(curve, MaxRecall(precision=precision))
    assert (found.threshold, found.reachable) == (FLAG_NOBODY, False)
    assert said in found.sentence
    assert "the nearest threshold" in found.sentence


def test_dependent_rows_make_a_promise_dearer() -> None:
    draw = np.random.default_rng(17)
    customer = draw.integers(0, 150, 6_000)
    logit = draw.normal(-2.5, 2.0, 150)[customer]
    label, bucket = (draw.random(6_000) < 1 / (1 + np.exp(-logit))).astype(int), customer % BUCKETS
    score = 1 / (1 + np.exp(-logit - draw.normal(0, 0.3, 6_000)))
    alone, together = (
        choose_threshold(halved((label, score, one)), MaxRecall(precision=0.6)).threshold
        for one in (draw.integers(0, BUCKETS, 6_000), bucket)
    )
    assert together > alone


def test_a_search_takes_over_only_where_it_proves_cheaper() -> None:
    # Calibration by a line in logit cannot mend a plateau that pays for nothing.
    label, score, bucket = rows_of(30_000, 19)
    wrong = np.where((score > 0.05) & (score < 0.4), score / 200, score)
    objective = MinCost(fn=10, fp=1)
    fit = fit_of("platt_prior")
    searched = choose_threshold(halved((label, wrong, bucket)), objective, fit)
    assert searched.threshold != pytest.approx(1 / 11)
    assert choose_threshold(halved((label, score, bucket)), objective, fit).threshold == pytest.approx(1 / 11)
    few = halved((label[:2_000], wrong[:2_000], bucket[:2_000]))
    assert choose_threshold(few, objective, fit).threshold == pytest.approx(1 / 11)


def test_on_few_positives_the_rule_loses_less_than_the_search() -> None:
    label, score, _ = rows_of(200_000, 23, slope=1.4, shift=0.5, rate=-5.0)
    objective, counts = MinCost(fn=50, fp=1), ScoreCounts.from_arrays(label, score)
    best = objective.values(counts.curve()).min()
    lost: dict[str, list[float]] = {"rule": [], "search": []}
    for seed in range(30):
        sample = rows_of(1_500, 100 + seed, slope=1.4, shift=0.5, rate=-5.0)
        small = ScoreCounts.from_arrays(*sample[:2])
        calibrator = fit_of("platt_prior")(small)
        chosen = choose_on(small.curve(calibrator.apply), objective).threshold
        raw = counts.curve(calibrator.apply)
        lost["rule"].append(objective.values(raw)[np.count_nonzero(raw.threshold >= chosen) - 1] / best - 1)
        searched = sweep(small.curve(), objective).threshold
        own = counts.curve()
        lost["search"].append(objective.values(own)[np.count_nonzero(own.threshold >= searched) - 1] / best - 1)
    assert np.mean(lost["rule"]) < np.mean(lost["search"]) / 2


def test_few_positives_are_said_and_one_class_is_refused() -> None:
    assert "rests on the model's probabilities" in str(choose_on(calibrated(rows_of(60, 29)), MaxMCC()).warning)
    with pytest.raises(DataContractError, match="there is no positive row"):
        choose_on(ScoreCounts.from_arrays([0, 0], [0.1, 0.2]).curve(), MaxMCC())
