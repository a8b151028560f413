import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk
from sklearn.linear_model import LogisticRegression

from imbalance_spark.calibration import PriorCorrection
from imbalance_spark.core.errors import ConfigError, DataContractError
from imbalance_spark.metrics import FLAG_NOBODY, ScoreCounts, evaluate, majority_baseline, undefined

SCORES = st.one_of(st.sampled_from([0.0, 1e-7, 0.1, 0.5, 0.9, 1.0]), st.floats(0, 1))
Rows = list[tuple[bool, float, int]]
ROWS = st.lists(st.tuples(st.booleans(), SCORES, st.integers(0, 4)), min_size=2, max_size=40)


def columns(rows: Rows) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    label, score, weight = (np.array(column) for column in zip(*rows, strict=True))
    assume(weight[label].sum() > 0 and weight[~label].sum() > 0)
    return label.astype(int), score.astype(float), weight


def scored(rows: int, rate: float, seed: int = 7) -> tuple[np.ndarray, np.ndarray]:
    """Labels drawn from their own scores, so that the scores are calibrated; about `rate` are positive."""
    draw = np.random.default_rng(seed)
    score = 1 / (1 + np.exp(-(draw.normal(0, 2.0, rows) + math.log(rate) - 1.8)))
    return (draw.random(rows) < score).astype(int), score


@settings(max_examples=60, deadline=None)
@given(ROWS)
def test_numbers_of_the_whole_curve_equal_scikit_learn(rows: Rows) -> None:
    label, score, weight = columns(rows)
    curve = ScoreCounts.from_arrays(label, score, weight).curve()
    assert curve.average_precision() == pytest.approx(
        sk.average_precision_score(label, score, sample_weight=weight), abs=1e-12
    )
    assert curve.roc_auc() == pytest.approx(sk.roc_auc_score(label, score, sample_weight=weight), abs=1e-12)
    assert curve.brier() == pytest.approx(sk.brier_score_loss(label, score, sample_weight=weight), abs=1e-12)
    assert curve.log_loss() == pytest.approx(sk.log_loss(label, score, sample_weight=weight), rel=1e-12, abs=1e-12)
    assert curve.mean_score() == pytest.approx(np.average(score, weights=weight), abs=1e-12)


@settings(max_examples=60, deadline=None)
@given(ROWS)
def test_arrays_equal_those_of_scikit_learn(rows: Rows) -> None:
    label, score, weight = columns([(one, number, max(weight, 1)) for one, number, weight in rows])
    curve = ScoreCounts.from_arrays(label, score, weight).curve()
    precision, recall, threshold = sk.precision_recall_curve(label, score, sample_weight=weight)
    np.testing.assert_allclose(curve.precision[1:], precision[-2::-1], atol=1e-12)
    np.testing.assert_allclose(curve.recall[1:], recall[-2::-1], atol=1e-12)
    np.testing.assert_array_equal(curve.threshold[1:], threshold[::-1])
    fpr, tpr, _ = sk.roc_curve(label, score, sample_weight=weight, drop_intermediate=False)
    np.testing.assert_allclose((curve.false_positive_rate, curve.recall), (fpr, tpr), atol=1e-12)


@settings(max_examples=60, deadline=None)
@given(ROWS, st.floats(0, 1))
def test_the_matrix_at_a_threshold_flags_the_scores_at_or_above_it(rows: Rows, cut: float) -> None:
    label, score, weight = columns(rows)
    matrix = ScoreCounts.from_arrays(label, score, weight).curve().at(cut)
    tn, fp, fn, tp = sk.confusion_matrix(label, score >= cut, sample_weight=weight, labels=[0, 1]).ravel()
    assert (matrix.tn, matrix.fp, matrix.fn, matrix.tp) == (tn, fp, fn, tp)


@pytest.mark.parametrize("rate", [1e-2, 1e-3, 1e-4])
def test_binned_average_precision_is_within_1e4_of_the_exact_one(rate: float) -> None:
    label, score = scored(2_000_000, rate)
    assert rate / 2 < label.mean() < rate * 2
    curve = ScoreCounts.from_arrays(label, score, exact_limit=0).curve()
    exact = sk.average_precision_score(label, score)
    assert curve.average_precision() == pytest.approx(exact, abs=1e-4)
    bracket = curve.average_precision_bracket()
    assert bracket is not None
    assert bracket.low <= exact <= bracket.high
    assert curve.roc_auc() == pytest.approx(sk.roc_auc_score(label, score), abs=1e-6)
    assert curve.log_loss() == pytest.approx(sk.log_loss(label, score), rel=1e-5)


@settings(max_examples=60, deadline=None)
@given(ROWS)
def test_recall_falls_with_the_threshold_and_class_totals_stay(rows: Rows) -> None:
    label, score, weight = columns(rows)
    curve = ScoreCounts.from_arrays(label, score, weight).curve()
    assert np.all(np.diff(curve.recall) >= 0.0)
    for cut in range(len(curve.threshold)):
        matrix = curve.matrix(cut)
        assert (matrix.tp + matrix.fn, matrix.fp + matrix.tn) == (weight[label == 1].sum(), weight[label == 0].sum())


@settings(max_examples=50, deadline=None)
@given(ROWS, st.randoms(use_true_random=False))
def test_order_and_repetition_of_rows_change_nothing(rows: Rows, random: "object") -> None:
    label, score, weight = columns(rows)
    order = np.random.default_rng(len(rows)).permutation(len(label))
    whole = evaluate(ScoreCounts.from_arrays(label, score, weight).curve(), 0.5)
    shuffled = evaluate(ScoreCounts.from_arrays(label[order], score[order], weight[order]).curve(), 0.5)
    repeated = evaluate(ScoreCounts.from_arrays(np.repeat(label, weight), np.repeat(score, weight)).curve(), 0.5)
    assert whole == pytest.approx(shuffled, rel=1e-9, abs=1e-9)
    assert whole == pytest.approx(repeated, rel=1e-9, abs=1e-9)


def test_average_precision_is_the_prevalence_of_constant_scores_and_1_of_perfect() -> None:
    assert ScoreCounts.from_arrays([1, 0, 0, 0], [0.3] * 4).curve().average_precision() == 0.25
    perfect = ScoreCounts.from_arrays([1, 0, 1, 0], [0.9, 0.2, 0.8, 0.1]).curve()
    assert (perfect.average_precision(), perfect.roc_auc(), perfect.calibration_slope()) == (1.0, 1.0, None)


@pytest.mark.parametrize("label", [0, 1])
def test_what_one_class_leaves_undefined_is_left_out_with_the_reason(label: int) -> None:
    curve = ScoreCounts.from_arrays([label, label], [0.2, 0.7]).curve()
    found = evaluate(curve, 0.5)
    reasons = undefined(curve)
    assert set(reasons.values()) == {f"there is no {'negative' if label else 'positive'} row"}
    assert not set(found) & set(reasons)
    assert {"brier", "log_loss", "tp", "fn"} <= set(found)
    assert curve.average_precision() is curve.roc_auc() is curve.calibration_intercept() is None


def test_a_threshold_above_one_flags_nobody_and_nan_is_refused() -> None:
    curve = ScoreCounts.from_arrays([1, 0], [1.0, 0.2]).curve()
    assert curve.at(FLAG_NOBODY).flagged == curve.at(math.inf).flagged == 0.0
    assert curve.at(1.0).flagged == 1.0
    assert curve.at(-1.0).flagged == 2.0
    with pytest.raises(ConfigError, match="NaN"):
        curve.at(math.nan)


def test_a_rising_map_moves_scores_and_thresholds_but_no_ranking() -> None:
    label, score = scored(5000, 0.05)
    raw = PriorCorrection.of_odds(positive=1.0, negative=0.1)
    counts = ScoreCounts.from_arrays(label, raw.inverse(score), exact_limit=0)
    plain, corrected = counts.curve(), counts.curve(raw.apply)
    assert corrected.average_precision() == plain.average_precision()
    assert corrected.mean_score() == pytest.approx(score.mean(), rel=1e-3)
    np.testing.assert_array_equal(corrected.threshold[1:], raw.apply(plain.threshold[1:]))
    with pytest.raises(DataContractError, match="order"):
        counts.curve(lambda values: 1.0 - values)


def test_recalibration_equals_a_logistic_regression_on_the_logit() -> None:
    label, score = scored(20_000, 0.1)
    logit = np.log(score / (1 - score))
    shown = 1 / (1 + np.exp(-(0.7 * logit + 0.4)))
    fitted = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000).fit((0.7 * logit + 0.4).reshape(-1, 1), label)
    curve = ScoreCounts.from_arrays(label, shown).curve()
    assert curve.calibration_slope() == pytest.approx(fitted.coef_[0, 0], rel=1e-4)
    shift = curve.calibration_intercept()
    assert shift is not None
    assert np.mean(1 / (1 + np.exp(-(0.7 * logit + 0.4 + shift)))) == pytest.approx(label.mean(), rel=1e-9)


def test_reliability_groups_predict_alike_many_positives_each() -> None:
    label, score = scored(50_000, 0.02)
    table = ScoreCounts.from_arrays(label, score).curve().reliability(groups=5)
    expected = table.mean_score * table.weight
    assert len(expected) == 5
    assert np.all(np.diff(table.mean_score) < 0.0)
    assert expected == pytest.approx(np.full(5, score.sum() / 5), rel=0.02)
    assert table.observed_rate @ table.weight == pytest.approx(label.sum())
    assert table.observed_rate == pytest.approx(table.mean_score, rel=0.25)


def test_the_baseline_of_a_curve_flags_nobody_when_positives_are_rare() -> None:
    curve = ScoreCounts.from_arrays([1, 0, 0], [0.9, 0.8, 0.1]).curve()
    assert majority_baseline(curve).flagged == 0.0
