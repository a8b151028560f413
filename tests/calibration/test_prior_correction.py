import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imbalance_spark.calibration import PriorCorrection, correct_prior, ledger_check
from imbalance_spark.core.errors import ConfigError
from imbalance_spark.metrics import ScoreCounts
from imbalance_spark.metrics.bucket_draws import BucketedCurve
from imbalance_spark.metrics.buckets import BUCKETS, BucketCounts

FACTORS = st.floats(1e-6, 1e6)


# Dal Pozzolo et al. (2015): p = b s / (b s - s + 1) for kept share b; with weight w, p = s / (s + w (1 - s)).
@pytest.mark.parametrize(
    ("positive", "negative", "wanted"),
    [
        (1.0, 0.1, (0.010989, 0.090909, 0.473684)),
        (1.0, 0.01, (0.0011099, 0.0099010, 0.0825688)),
        (9.0, 1.0, (0.0121951, 0.1, 0.5)),
    ],
)
def test_corrected_scores_equal_the_published_formula(
    positive: float, negative: float, wanted: tuple[float, ...]
) -> None:
    found = PriorCorrection.of_odds(positive=positive, negative=negative).apply([0.1, 0.5, 0.9])
    assert found == pytest.approx(wanted, rel=1e-4)
    assert correct_prior([0.1, 0.5, 0.9], [negative, positive]) == pytest.approx(found, rel=1e-15)


@settings(max_examples=60)
@given(st.floats(1e-9, 1 - 1e-9), FACTORS, FACTORS)
def test_a_correction_shifts_the_logit_and_can_be_undone(score: float, positive: float, negative: float) -> None:
    correction = PriorCorrection.of_odds(positive=positive, negative=negative)
    corrected = correction.apply(score)
    logit = math.log(score) - math.log1p(-score) + correction.logit_shift
    assert float(corrected) == pytest.approx(1 / (1 + math.exp(-logit)), rel=1e-9)
    if corrected < 1 - 1e-6:
        assert float(correction.inverse(corrected)) == pytest.approx(score, rel=1e-6)


@settings(max_examples=60)
@given(st.lists(st.floats(0.001, 1), min_size=3, max_size=3), st.lists(FACTORS, min_size=3, max_size=3))
def test_many_classes_are_divided_by_their_factors(shares: list[float], factors: list[float]) -> None:
    score = np.array([shares]) / sum(shares)
    found = correct_prior(score, factors)
    assert found.sum() == pytest.approx(1.0)
    assert found[0, 0] / found[0, 1] == pytest.approx(score[0, 0] / score[0, 1] * factors[1] / factors[0], rel=1e-9)
    correction = PriorCorrection(factors=tuple(factors))
    np.testing.assert_allclose(np.exp(correction.log_probabilities(np.log(score))), found, rtol=1e-9)
    np.testing.assert_allclose(np.exp(correction.log_probabilities([correction.margins(found[0])])), found, rtol=1e-6)


def test_extremes_stay_and_order_is_kept() -> None:
    correction = PriorCorrection.of_odds(positive=1e100, negative=1e-100)
    assert correction.apply([0.0, 1.0]).tolist() == [0.0, 1.0]
    assert np.isnan(correction.apply(np.nan))
    mild = PriorCorrection.of_odds(positive=20.0, negative=0.3)
    assert np.all(np.diff(mild.apply(np.linspace(0, 1, 100_001))) > 0)


def test_the_identity_changes_nothing_and_a_correction_survives_json() -> None:
    scores = np.linspace(0, 1, 1001)
    assert PriorCorrection.identity().apply(scores) == pytest.approx(scores, rel=1e-15)
    assert PriorCorrection.identity(3).is_identity
    # Factors that cancel leave a last digit.
    assert PriorCorrection(factors=(1.0, 49.0 * (1.0 / 49.0))).is_identity
    correction = PriorCorrection(factors=(3.7, 0.1, 20.0), gammas=(2.0, 0.0, 1.0))
    assert not correction.is_identity
    assert PriorCorrection.from_dict(json.loads(json.dumps(correction.to_dict()))) == correction


@pytest.mark.parametrize("bad", [0.0, -1.0, math.inf, math.nan, "1"])
def test_a_factor_that_is_no_positive_number_is_refused(bad: object) -> None:
    with pytest.raises(ConfigError, match=r"PriorCorrection.factors\[1\] must be a positive number"):
        PriorCorrection.of_odds(positive=bad, negative=1.0)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"factors\[1\]"):
        correct_prior([0.5], [1.0, bad])  # type: ignore[list-item]


def test_the_number_of_factors_must_be_that_of_the_classes() -> None:
    with pytest.raises(ConfigError, match="3 factors for 2 classes"):
        correct_prior([0.5], [1, 1, 1])


@pytest.mark.parametrize("given", [{"factors": (1.0,)}, {"factors": (1.0, 2.0), "gammas": (1.0,)}])
def test_there_is_a_factor_for_each_class_and_a_gamma_for_each_or_none(given: dict[str, tuple[float, ...]]) -> None:
    with pytest.raises(ConfigError, match="a factor for each of two or more classes, and a gamma for each or none"):
        PriorCorrection(**given)


def test_many_classes_have_no_single_score_to_correct() -> None:
    for read in (lambda c: c.logit_shift, lambda c: c.logit([0.0]), lambda c: c.apply([0.5]), lambda c: c.inverse(0.5)):
        with pytest.raises(ConfigError, match="is for two classes, there are 3"):
            read(PriorCorrection.identity(3))


@pytest.mark.parametrize(
    ("record", "wanted"),
    [
        ({"positive_factor": 2.0, "negative_factor": 0.1}, PriorCorrection(factors=(0.1, 2.0))),
        (
            {"gamma": 2.0, "alpha": 0.75, "gamma_negative": None},
            PriorCorrection(factors=(0.25, 0.75), gammas=(2.0, 2.0)),
        ),
        ({"gamma": 1.0, "alpha": 0.5, "gamma_negative": 4.0}, PriorCorrection(factors=(0.5, 0.5), gammas=(4.0, 1.0))),
        ({"factors": [1.0, 2.0, 5.0], "gamma": 0.0}, PriorCorrection(factors=(1.0, 2.0, 5.0))),
        ({"factors": [1.0, 2.0, 5.0], "gamma": 2.0}, PriorCorrection(factors=(1.0, 2.0, 5.0), gammas=(2.0, 2.0, 2.0))),
    ],
)
def test_corrections_of_logged_models_stay_readable(record: dict[str, object], wanted: PriorCorrection) -> None:
    assert PriorCorrection.from_dict(record) == wanted


def counts_with_rate(positives: int, rows: int, score: float) -> ScoreCounts:
    label = np.arange(rows) < positives
    return ScoreCounts.from_arrays(label, np.full(rows, score))


def test_the_ledger_passes_scores_that_are_right_on_average() -> None:
    found = ledger_check(counts_with_rate(1000, 100_000, 0.01).curve())
    assert found.passed
    assert found.ratio == pytest.approx(1.0)
    assert found.intercept == pytest.approx(0.0, abs=1e-9)
    assert "calibrated as a whole" in found.sentence


def test_the_ledger_fails_uncorrected_scores_and_says_by_how_much() -> None:
    found = ledger_check(counts_with_rate(1000, 100_000, 0.5).curve())
    assert not found.passed
    assert found.intercept == pytest.approx(math.log(0.01 / 0.99))
    assert "50 times the base rate 0.01" in found.sentence
    assert "too high" in found.sentence


def test_few_positives_widen_the_tolerance() -> None:
    # 3 sqrt(.99 / 25) = .597 for 25 positives, .0299 for 10,000: 20 % too high passes only with few.
    few, many = (ledger_check(counts_with_rate(n, 100 * n, 0.012).curve()) for n in (25, 10_000))
    assert few.passed
    assert not many.passed
    assert (few.allowed_deviation, many.allowed_deviation) == pytest.approx((0.647, 0.0798), abs=1e-3)


def test_positives_that_cannot_tell_half_the_rate_from_the_rate_check_nothing() -> None:
    found = ledger_check(counts_with_rate(3, 1000, 0.003 * 0.24).curve())
    assert "not enough positives to check" in found.sentence
    assert "calibrated as a whole" not in found.sentence


@pytest.mark.parametrize("design", ["groups", "weights"])
def test_true_probabilities_pass_the_ledger_of_dependent_or_weighted_rows(design: str) -> None:
    failed = {"by bucket": 0, "by row": 0}
    for seed in range(60):
        draw = np.random.default_rng(seed)
        group = np.arange(4000) // 40
        p = 1 / (1 + np.exp(4 - 1.5 * draw.normal(size=100)[group] * (design == "groups")))
        # Rows of a group have one label with the group's probability: 40 rows are one piece of evidence.
        label = (draw.random(100)[group] < p) if design == "groups" else draw.random(4000) < p
        weight = None if design == "groups" else draw.choice([1.0, 20.0], 4000, p=[0.9, 0.1])
        bucket = draw.integers(0, BUCKETS, 100)[group] if design == "groups" else draw.integers(0, BUCKETS, 4000)
        if not label.any():
            continue
        curve = ScoreCounts.from_arrays(label, p, weight).curve()
        sample = BucketedCurve(curve, BucketCounts.from_arrays(bucket, label, p, weight))
        failed["by bucket"] += not ledger_check(sample).passed
        failed["by row"] += not ledger_check(curve).passed
    assert failed["by bucket"] <= 3 < 8 < failed["by row"], failed


def test_without_positives_the_ledger_says_that_nothing_was_checked() -> None:
    found = ledger_check(counts_with_rate(0, 10, 0.1).curve())
    assert not found.passed
    assert "without positive rows" in found.sentence


def test_a_negative_tolerance_is_refused() -> None:
    with pytest.raises(ConfigError, match="tolerance"):
        ledger_check(counts_with_rate(1, 2, 0.5).curve(), tolerance=-0.1)
