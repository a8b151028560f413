"""Calibrations from counts, against scikit-learn and against what must hold of every rising map."""

import json
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.calibration import _SigmoidCalibration
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

from imbalance_spark.calibration import (
    Calibrator,
    IsotonicCalibration,
    LogOddsCalibration,
    calibrator_from_dict,
    choose_calibrator,
)
from imbalance_spark.calibration.isotonic import TIE_BREAK
from imbalance_spark.core.errors import ConfigError, DataContractError
from imbalance_spark.metrics import ScoreCounts
from imbalance_spark.metrics.bucket_draws import BucketedCurve
from imbalance_spark.metrics.buckets import BUCKETS, BucketCounts

METHODS = ["identity", "intercept", "temperature", "platt", "beta", "isotonic"]


def sigmoid(logit: np.ndarray) -> np.ndarray:
    return 1.0 / (1.0 + np.exp(-logit))


def rows(n: int, seed: int, slope: float = 1.0, shift: float = 0.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels drawn from logits; scores whose logit is `slope` times the true one plus `shift`; weights."""
    draw = np.random.default_rng(seed)
    logit = draw.normal(-3.0, 1.5, n)
    label = (draw.random(n) < sigmoid(logit)).astype(int)
    return label, sigmoid(slope * logit + shift), draw.integers(1, 4, n).astype(float)


def fit(method: str, counts: ScoreCounts) -> Calibrator:
    return IsotonicCalibration.fit(counts) if method == "isotonic" else LogOddsCalibration.fit(counts, method)  # type: ignore[arg-type]


def logit_of(score: np.ndarray) -> np.ndarray:
    return np.log(score) - np.log1p(-score)


def test_platt_equals_scikit_learns_sigmoid_on_logits_with_weights() -> None:
    label, score, weight = rows(3000, 1, slope=0.7, shift=1.0)
    ours = LogOddsCalibration.fit(ScoreCounts.from_arrays(label, score, weight), "platt")
    theirs = _SigmoidCalibration().fit(logit_of(score), label, weight)
    # Theirs is 1 / (1 + exp(a x + b)).
    assert (ours.a, ours.c) == pytest.approx((-theirs.a_, -theirs.b_), abs=1e-5)
    assert ours.b == ours.a


def test_beta_equals_an_unpenalised_logistic_regression_on_both_logarithms() -> None:
    label, score, weight = rows(4000, 2, slope=0.6)
    ours = LogOddsCalibration.fit(ScoreCounts.from_arrays(label, score, weight), "beta")
    design = np.column_stack([np.log(score), -np.log1p(-score)])
    theirs = LogisticRegression(C=np.inf, tol=1e-12, max_iter=10_000, solver="newton-cholesky")
    theirs.fit(design, label, sample_weight=weight)
    assert (ours.a, ours.b, ours.c) == pytest.approx((*theirs.coef_[0], theirs.intercept_[0]), rel=1e-4, abs=1e-5)


def test_a_negative_coefficient_of_beta_is_left_out() -> None:
    draw = np.random.default_rng(3)
    score = draw.uniform(0.01, 0.99, 3000)
    truth = np.clip(score**0.5 * (1 - score) ** 0.2, 0.0, 1.0)  # falls near 1, where b would be negative
    counts = ScoreCounts.from_arrays((draw.random(3000) < truth).astype(int), score)
    found = LogOddsCalibration.fit(counts, "beta")
    assert found.b == 0.0
    assert found.a > 0.0


@pytest.mark.parametrize("method", ["intercept", "platt", "beta", "isotonic"])
def test_the_mean_probability_becomes_the_rate_of_the_rows_it_was_fitted_on(method: str) -> None:
    label, score, weight = rows(5000, 4, slope=0.7, shift=2.0)
    found = fit(method, ScoreCounts.from_arrays(label, score, weight)).apply(score)
    tolerance = 2e-2 if method == "platt" else 1e-5  # Platt's targets are smoothed
    assert np.average(found, weights=weight) == pytest.approx(np.average(label, weights=weight), rel=tolerance)


def test_isotonic_equals_scikit_learn_but_for_the_tie_break() -> None:
    label, score, weight = rows(2000, 5)
    score, weight[::7] = np.round(score, 3), 0.0  # ties, and rows that do not count
    found = IsotonicCalibration.fit(ScoreCounts.from_arrays(label, score, weight))
    theirs = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip").fit(score, label, sample_weight=weight)
    points = np.linspace(0.0, 1.0, 500)
    steps = (found.apply(points) - TIE_BREAK * points) / (1.0 - TIE_BREAK)
    assert steps == pytest.approx(theirs.predict(points), abs=1e-12)


@pytest.mark.parametrize("method", METHODS)
def test_every_map_keeps_ranks_average_precision_and_roc_auc(method: str) -> None:
    label, score, weight = rows(3000, 6, slope=0.8)
    counts = ScoreCounts.from_arrays(label, score, weight)
    calibrator = fit(method, counts)
    plain, mapped = counts.curve(), counts.curve(calibrator.apply)
    assert mapped.average_precision() == plain.average_precision()
    assert mapped.roc_auc() == plain.roc_auc()
    threshold = float(plain.threshold[len(plain.threshold) // 2])
    moved = float(calibrator.apply([threshold])[0])
    assert ((calibrator.apply(score) >= moved) == (score >= threshold)).all()


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.floats(0.0, 1.0), min_size=2, max_size=30),
    st.floats(0.0, 5.0),
    st.floats(0.01, 5.0),
    st.floats(-8.0, 8.0),
)
def test_a_map_in_log_odds_stays_in_range_and_never_falls(scores: list[float], a: float, b: float, c: float) -> None:
    found = LogOddsCalibration(method="beta", a=a, b=b, c=c).apply(np.sort(scores))
    assert ((found >= 0.0) & (found <= 1.0)).all()
    assert (np.diff(found) >= 0.0).all()


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.floats(0.0, 1.0), st.integers(0, 1), st.integers(0, 3)), min_size=3, max_size=40))
def test_isotonic_stays_in_range_and_never_falls(found: list[tuple[float, int, int]]) -> None:
    score, label, weight = (np.array(values) for values in zip(*found, strict=True))
    counts = ScoreCounts.from_arrays(label, score, weight)
    if not (counts.positive_weight.sum() > 0 and counts.negative_weight.sum() > 0):
        with pytest.raises(DataContractError, match="one class only"):
            IsotonicCalibration.fit(counts)
        return
    points = np.sort(np.concatenate([score, np.linspace(0, 1, 50)]))
    mapped = IsotonicCalibration.fit(counts).apply(points)
    assert ((mapped >= 0.0) & (mapped <= 1.0)).all()
    assert (np.diff(mapped) >= -1e-16).all()


@pytest.mark.parametrize("method", METHODS)
def test_nan_stays_ends_stay_in_range_and_json_brings_the_map_back(method: str) -> None:
    label, score, weight = rows(2000, 7)
    calibrator = fit(method, ScoreCounts.from_arrays(label, score, weight))
    ends = calibrator.apply([0.0, np.nan, 1.0])
    assert np.isnan(ends[1])
    assert 0.0 <= ends[0] < ends[2] <= 1.0
    again = calibrator_from_dict(json.loads(json.dumps(calibrator.to_dict())))
    assert again == calibrator
    assert (again.apply(score) == calibrator.apply(score)).all()


@pytest.mark.parametrize("method", ["intercept", "platt", "isotonic"])
def test_rows_of_one_class_are_refused(method: str) -> None:
    counts = ScoreCounts.from_arrays([1, 1, 1], [0.2, 0.3, 0.4])
    with pytest.raises(DataContractError, match="one class only"):
        fit(method, counts)


def test_scores_that_fall_with_the_rate_are_refused_not_turned_around() -> None:
    label, score, _ = rows(3000, 8)
    with pytest.raises(DataContractError, match="higher scores are not more likely"):
        LogOddsCalibration.fit(ScoreCounts.from_arrays(label, 1.0 - score), "platt")


@pytest.mark.parametrize("wrong", [{"a": -1.0}, {"a": 0.0, "b": 0.0}, {"c": np.nan}, {"method": "magic"}])
def test_parameters_of_no_rising_map_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="at least 0"):
        LogOddsCalibration(**{"method": "beta", **wrong})  # type: ignore[arg-type]


def test_weights_are_repetition() -> None:
    label, score, weight = rows(500, 9)
    times = weight.astype(int)
    repeated = ScoreCounts.from_arrays(np.repeat(label, times), np.repeat(score, times))
    for method in ("intercept", "temperature", "platt", "beta", "isotonic"):
        found = fit(method, ScoreCounts.from_arrays(label, score, weight))
        assert found.apply(score) == pytest.approx(fit(method, repeated).apply(score), abs=1e-9)


@pytest.mark.parametrize(("slope", "shift"), [(0.7, 1.5), (1.0, -0.6), (1.6, 0.0)])
def test_a_model_off_by_slope_and_shift_is_right_on_fresh_rows_after_the_choice(slope: float, shift: float) -> None:
    make = partial(rows, slope=slope, shift=shift)
    halves = [ScoreCounts.from_arrays(*make(60_000, seed)[:2]) for seed in (10, 11)]
    assert all(half.positives.sum() >= 1000 for half in halves)
    chosen = choose_calibrator(*halves)
    label, score, _ = make(400_000, 12)
    assert chosen.calibrator.apply(score).mean() == pytest.approx(label.mean(), rel=0.05)
    assert chosen.calibrator.method != "identity"
    assert chosen.calibrator.method in chosen.sentence


def test_right_probabilities_are_left_alone() -> None:
    chosen = choose_calibrator(*[ScoreCounts.from_arrays(*rows(20_000, seed)[:2]) for seed in (13, 14)])
    assert chosen.calibrator.method in ("identity", "intercept")


@pytest.mark.parametrize("repeated", [1, 9])
def test_the_error_of_a_judgement_is_over_buckets_where_rows_depend_on_each_other(repeated: int) -> None:
    label, score, _ = rows(20_000, 14)
    bucket = np.random.default_rng(1).integers(0, BUCKETS, len(label))
    again = [np.repeat(column, repeated) for column in (label, score, bucket)]
    counts = ScoreCounts.from_arrays(*again[:2])
    sample = BucketedCurve(counts.curve(), BucketCounts.from_arrays(again[2], *again[:2]))
    fit_on = ScoreCounts.from_arrays(*rows(20_000, 13)[:2])
    by_row, by_bucket = choose_calibrator(fit_on, counts).judged, choose_calibrator(fit_on, sample).judged
    for name, found in by_bucket.items():
        assert found.worse_by == by_row[name].worse_by
        if found.worse_by > 0.0:
            # A row that comes nine times says no more than once: its error is three times that of nine rows.
            assert found.standard_error == pytest.approx(by_row[name].standard_error * repeated**0.5, rel=0.4)


def test_thirty_positives_do_not_choose_a_free_form() -> None:
    few = rows(300, 15, shift=0.3)
    assert few[0].sum() < 50
    chosen = choose_calibrator(ScoreCounts.from_arrays(*few[:2]), ScoreCounts.from_arrays(*rows(300, 16)[:2]))
    assert set(chosen.judged) == {"identity", "intercept"}
    assert "1000 are needed" in chosen.skipped["isotonic"]
    assert chosen.to_dict()["calibrator"]["method"] == chosen.calibrator.method
