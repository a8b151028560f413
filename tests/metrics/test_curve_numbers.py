import math
import warnings
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import integrate, stats
from sklearn import metrics as sk

from imbalance_spark.core.errors import ConfigError
from imbalance_spark.metrics import (
    Curve,
    LogitGrid,
    ScoreCounts,
    brier_skill,
    evaluate,
    expected_calibration_error,
    expected_calibration_error_equal_mass,
    expected_cost,
    h_measure,
    matrix_metrics,
    partial_roc_auc,
    pr_auc_trapezoid,
    pr_gain_auc,
    top_rows,
    top_share,
    undefined,
)

SCORES = st.one_of(st.sampled_from([0.0, 1e-7, 0.1, 0.5, 0.9, 1.0]), st.floats(0, 1))
Rows = list[tuple[bool, float, int]]
ROWS = st.lists(st.tuples(st.booleans(), SCORES, st.integers(0, 4)), min_size=2, max_size=40)


def columns(rows: Rows) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    label, score, weight = (np.array(column) for column in zip(*rows, strict=True))
    assume(weight[label].sum() > 0 and weight[~label].sum() > 0)
    return label.astype(int), score.astype(float), weight


def curve_of(*rows: np.ndarray) -> Curve:
    return ScoreCounts.from_arrays(*rows).curve()


@settings(max_examples=60, deadline=None)
@given(ROWS, st.floats(1e-3, 1.0))
def test_areas_and_skill_equal_scikit_learn(rows: Rows, max_fpr: float) -> None:
    label, score, weight = columns(rows)
    curve = curve_of(label, score, weight)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        precision, recall, _ = sk.precision_recall_curve(label, score, sample_weight=weight)
        partial = sk.roc_auc_score(label, score, sample_weight=weight, max_fpr=max_fpr)
        skill = sk.d2_brier_score(label, score, sample_weight=weight)
    assert pr_auc_trapezoid(curve) == pytest.approx(sk.auc(recall, precision), abs=1e-12)
    assert partial_roc_auc(curve, max_fpr=max_fpr) == pytest.approx(partial, abs=1e-12)
    assert brier_skill(curve) == pytest.approx(skill, rel=1e-12, abs=1e-12)


@settings(max_examples=60, deadline=None)
@given(ROWS, st.integers(1, 12))
def test_calibration_errors_equal_a_sum_over_rows(rows: Rows, bins: int) -> None:
    label, score, weight = columns(rows)
    curve = curve_of(label, score, weight)

    def error(group: np.ndarray) -> float:
        gaps = [abs(weight[group == one] @ (label - score)[group == one]) for one in np.unique(group)]
        return sum(gaps) / weight.sum()

    by_width = np.array([max(1, next(b for b in range(1, bins + 1) if b == bins or p <= b / bins)) for p in score])
    assert expected_calibration_error(curve, bins=bins) == pytest.approx(error(by_width), abs=1e-12)
    above = np.array([weight[score > p].sum() + weight[score == p].sum() / 2 for p in score])
    by_mass = np.minimum(np.floor(above / weight.sum() * bins), bins - 1)
    # A middle that falls on the edge of a bin may go to either side in the last digit.
    assume(not np.any(np.abs(above / weight.sum() * bins - np.rint(above / weight.sum() * bins)) < 1e-9))
    assert expected_calibration_error_equal_mass(curve, bins=bins) == pytest.approx(error(by_mass), abs=1e-12)


def test_calibration_error_of_equal_width_is_that_of_the_calibration_curve() -> None:
    draw = np.random.default_rng(3)
    score = draw.random(5000)
    label = (draw.random(5000) < score**2).astype(int)
    observed, predicted = sk_calibration_curve(label, score)
    rows = np.bincount(np.searchsorted(np.linspace(0, 1, 11)[1:-1], score))
    wanted = rows[rows > 0] @ np.abs(observed - predicted) / len(score)
    assert expected_calibration_error(curve_of(label, score)) == pytest.approx(wanted, abs=1e-12)


def sk_calibration_curve(label: np.ndarray, score: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    from sklearn.calibration import calibration_curve

    return calibration_curve(label, score, n_bins=10)


@settings(max_examples=60, deadline=None)
@given(ROWS, st.sampled_from([None, 0.05, 1.0, 3.0]))
def test_the_h_measure_is_the_integral_over_costs_that_defines_it(rows: Rows, ratio: float | None) -> None:
    label, score, weight = columns(rows)
    curve = curve_of(label, score, weight)
    share = curve.prevalence()
    costs = stats.beta(2, 1 + 1 / (ratio or share / (1 - share)))
    fnr, fpr = 1 - curve.recall, curve.false_positive_rate
    # Where the loss has corners, the quadrature is told, or it would see none of them.
    lines = np.stack([share * fnr, (1 - share) * fpr], axis=1)
    change = [one - other for one in lines for other in lines]
    crossings = {float(miss / (miss - alarm)) for miss, alarm in change if miss != alarm}
    places = sorted({share, *(c for c in crossings if 0.0 < c < 1.0)})

    def mean(loss: "object", low: float = 0.0, high: float = 1.0) -> float:
        inside = [low, *(c for c in places if low < c < high), high]
        return sum(integrate.fixed_quad(loss, a, b, n=40)[0] for a, b in pairwise(inside))

    def best(c: np.ndarray) -> np.ndarray:
        return np.min(np.outer(lines[:, 0], 1 - c) + np.outer(lines[:, 1], c), axis=0) * costs.pdf(c)

    def constant(c: np.ndarray) -> np.ndarray:
        return np.minimum(share * (1 - c), (1 - share) * c) * costs.pdf(c)

    wanted = 1 - mean(best) / mean(constant)
    assert h_measure(curve, severity_ratio=ratio) == pytest.approx(wanted, abs=1e-8)


@settings(max_examples=60, deadline=None)
@given(ROWS)
def test_the_gain_area_is_a_sum_over_its_straight_pieces(rows: Rows) -> None:
    label, score, weight = columns(rows)
    curve = curve_of(label, score, weight)
    share, odds, area = curve.prevalence(), curve.positives / curve.negatives, 0.0
    for (tp, fp), (next_tp, next_fp) in pairwise(zip(curve.tp, curve.fp, strict=True)):
        if next_tp <= (least := share * curve.positives) or next_tp == tp:
            continue
        start = max(tp, least)
        start_fp = fp + (start - tp) / (next_tp - tp) * (next_fp - fp)
        height = 1 - odds * (start_fp / start + next_fp / next_tp) / 2
        area += odds * curve.positives * (1 / start - 1 / next_tp) * height
    assert pr_gain_auc(curve) == pytest.approx(area, rel=1e-9, abs=1e-9)


def test_perfect_scores_have_areas_of_1_and_constant_ones_those_of_chance() -> None:
    label = np.array([1, 0, 1, 0, 0])
    perfect, constant = curve_of(label, label * 0.9), curve_of(label, label * 0.0 + 0.4)
    for area in (pr_gain_auc, h_measure, pr_auc_trapezoid):
        assert area(perfect) == pytest.approx(1.0, abs=1e-12)
    assert partial_roc_auc(perfect, max_fpr=0.1) == pytest.approx(1.0, abs=1e-12)
    assert partial_roc_auc(constant, max_fpr=0.1) == pytest.approx(0.5, abs=1e-12)
    assert h_measure(constant) == pytest.approx(0.0, abs=1e-12)
    assert pr_gain_auc(constant) == pytest.approx(0.0, abs=1e-12)
    assert brier_skill(constant) == pytest.approx(0.0, abs=1e-12)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.sampled_from([0.1, 0.5, 0.9])), min_size=2, max_size=30), st.data())
def test_the_top_rows_are_the_mean_over_all_orders_of_ties(rows: list[tuple[bool, float]], data: st.DataObject) -> None:
    label, score = (np.array(column) for column in zip(*rows, strict=True))
    assume(0 < label.sum() < len(label))
    k = data.draw(st.integers(1, len(label)))
    cut = np.sort(score)[::-1][k - 1]
    above, tied = score > cut, score == cut
    hits = label[above].sum() + (k - above.sum()) * label[tied].mean()
    top = top_rows(curve_of(label, score), k)
    wanted = (hits / k, hits / label.sum(), hits / k / label.mean())
    assert (top.precision, top.recall, top.lift) == pytest.approx(wanted, abs=1e-12)
    assert top == top_share(curve_of(label, score), k / len(label)) or top.k == pytest.approx(k)


def test_expected_cost_and_savings_are_sums_over_rows() -> None:
    label, score, weight = np.array([1, 1, 0, 0]), np.array([0.8, 0.3, 0.6, 0.1]), np.array([1.0, 2.0, 3.0, 4.0])
    curve = curve_of(label, score, weight)
    # Misses: 10 x (1 x 0.2 + 2 x 0.7) = 16; alarms: 2 x (3 x 0.6 + 4 x 0.1) = 4.4.
    assert expected_cost(curve, fn=10.0, fp=2.0) == pytest.approx(20.4)
    # At 0.5: misses 2 (cost 20), false alarms 3 (cost 6); flagging everybody costs 14, nobody 30.
    assert curve.at(0.5).savings(fn=10.0, fp=2.0) == pytest.approx(1 - 26 / 14)
    assert math.isnan(curve_of(label * 0, score).at(0.5).savings(fn=10.0, fp=0.0))


@settings(max_examples=50, deadline=None)
@given(ROWS)
def test_zero_weight_is_deletion_and_weight_is_repetition_for_every_metric(rows: Rows) -> None:
    label, score, weight = columns(rows)
    kept = weight > 0
    weighted = evaluate(curve_of(label, score, weight), 0.5, fn=10.0)
    deleted = evaluate(curve_of(label[kept], score[kept], weight[kept]), 0.5, fn=10.0)
    repeated = evaluate(curve_of(np.repeat(label, weight), np.repeat(score, weight)), 0.5, fn=10.0)
    assert deleted == pytest.approx(weighted, rel=1e-9, abs=1e-9)
    assert repeated == pytest.approx(weighted, rel=1e-9, abs=1e-9)


RANKING = ("average_precision", "roc_auc", "partial_roc_auc", "pr_auc_trapezoid", "pr_gain_auc", "h_measure")


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 20), st.integers(1, 4)), min_size=2, max_size=40))
def test_a_rising_map_of_the_scores_leaves_every_ranking_metric(rows: list[tuple[bool, int, int]]) -> None:
    label, place, weight = columns([(one, float(number), times) for one, number, times in rows])
    plain = evaluate(curve_of(label, place / 20.0, weight))
    mapped = evaluate(curve_of(label, (place / 20.0) ** 3 / 7.0, weight))
    names = [*RANKING, *(f"{name}_at_1_percent" for name in ("precision", "recall", "lift"))]
    assert {name: plain[name] for name in names} == {name: mapped[name] for name in names}


def test_evaluate_never_gives_accuracy_without_recall_nor_0_for_what_is_undefined() -> None:
    for label in ([0, 0, 0], [1, 1, 1], [0, 1, 0]):
        curve = curve_of(np.array(label), np.array([0.2, 0.4, 0.3]))
        for threshold in (0.3, 0.9):
            found, reasons = evaluate(curve, threshold), undefined(curve, threshold)
            assert ("accuracy" in found) <= ("recall" in found)
            assert not set(found) & set(reasons)
    assert reasons["precision"] == reasons["mcc"] == "no row is flagged"
    of_matrix = matrix_metrics(curve.at(threshold))
    assert math.isnan(of_matrix["precision"])
    assert math.isnan(of_matrix["mcc"])
    assert of_matrix["f1"] == of_matrix["recall"] == 0.0
    assert "separate" in reasons["calibration_slope"]


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda curve: partial_roc_auc(curve, max_fpr=0.0), "max_fpr must be in (0, 1], got 0.0"),
        (lambda curve: h_measure(curve, severity_ratio=0.0), "severity_ratio must be above 0"),
        (lambda curve: top_rows(curve, 3), "at most all 2 rows, got 3"),
        (lambda curve: top_share(curve, 1.5), "share must be in (0, 1], got 1.5"),
        (lambda curve: expected_calibration_error(curve, bins=0), "bins must be at least 1, got 0"),
    ],
)
def test_settings_that_cannot_be_are_refused(call: "object", text: str) -> None:
    with pytest.raises(ConfigError) as error:
        call(curve_of(np.array([0, 1]), np.array([0.1, 0.9])))
    assert text in str(error.value)


@settings(max_examples=80, deadline=None)
@given(
    st.lists(st.tuples(st.booleans(), SCORES, st.sampled_from([0.0, 0.25, 1.0, 1.7, 30.0])), min_size=2, max_size=40),
    st.booleans(),
)
def test_brackets_hold_the_exact_value_and_are_closed_when_exact(rows: list, is_weighted: bool) -> None:
    label, score, given = columns(rows)
    weight = given if is_weighted else np.ones(len(given))
    exact = curve_of(label, score, weight)
    grid = LogitGrid(bins=16, bound=4.0)
    binned = ScoreCounts.from_arrays(label, score, weight, grid=grid, exact_limit=0).curve()
    for name in ("average_precision", "roc_auc"):
        value, found, closed = (getattr(curve, f"{name}_bracket")() for curve in (exact, binned, exact))
        assert closed.width == 0.0
        assert found.low - 1e-12 <= value.value <= found.high + 1e-12
        assert found.low <= found.value <= found.high
