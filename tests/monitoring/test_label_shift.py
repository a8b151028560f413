"""The base rate without labels: equal to the published iterations, and refused where scores are no mixture."""

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix

from benchmarks.shifted_days import BASE_RATE, COSTS, THRESHOLD, Model, covariate_shifted, label_shifted, unshifted
from imbalance_spark.monitoring.expected import expected, realised
from imbalance_spark.monitoring.label_shift import em_rate, estimate_shift


@pytest.fixture(scope="module")
def model() -> Model:
    return Model.fitted(np.random.default_rng(1), 100_000, draws=200)


def test_the_estimate_is_where_expectation_maximization_converges(model: Model) -> None:
    p = model.score(label_shifted(np.random.default_rng(2), 5_000))
    old, rate = BASE_RATE, BASE_RATE
    for _ in range(20_000):  # Saerens and others (2002), equations 2 and 3
        positive, negative = rate / old * p, (1.0 - rate) / (1.0 - old) * (1.0 - p)
        rate = float((positive / (positive + negative)).mean())
    found = em_rate(np.ones((1, len(p))), p[None], np.array([old]))
    assert found[0] == pytest.approx(rate, rel=1e-6)


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_the_estimate_of_one_class_is_at_the_end_of_the_scale(share: float) -> None:
    p = np.full((1, 4), 0.5 + 0.4 * (share - 0.5) * 2.0)
    assert em_rate(np.ones((1, 4)), p, np.array([0.5]))[0] == pytest.approx(share, abs=1e-3)


def test_black_box_shift_estimation_solves_the_confusion_matrix(model: Model) -> None:
    random = np.random.default_rng(3)
    own, day = unshifted(random, 50_000), label_shifted(random, 20_000)
    decided, flagged = model.score(own) >= THRESHOLD, model.score(day) >= THRESHOLD
    joint = confusion_matrix(own.label, decided, normalize="true").T  # P(decision | label), Lipton and others (2018)
    truth = np.linalg.solve(joint, [1.0 - flagged.mean(), flagged.mean()])[1]
    found = estimate_shift(model.count(day).cells, model.reference).bbse
    assert found.value == pytest.approx(truth, rel=0.15)  # their validation rows are others
    assert found.holds(float(day.label.mean()))


def test_a_day_like_validation_shows_no_shift(model: Model) -> None:
    found = estimate_shift(model.count(unshifted(np.random.default_rng(4), 20_000)).cells, model.reference)
    assert found.verdict() == "none"
    assert found.em.holds(found.expected_rate)


def test_another_base_rate_is_found_and_estimates_follow_it(model: Model) -> None:
    day = model.count(label_shifted(np.random.default_rng(5), 20_000, 0.02))
    shift = estimate_shift(day.cells, model.reference)
    assert shift.verdict() == "label"
    assert shift.em.holds(day.base_rate)
    labels = realised(day.cells, day.positives, COSTS)
    unmoved = expected(day.cells, model.reference, COSTS)
    moved = expected(day.cells, model.reference, COSTS, move=shift.move)
    assert not unmoved["positives"].holds(labels["positives"])
    assert all(moved[name].holds(labels[name]) for name in moved)


def test_a_shift_of_features_is_told_from_one_of_labels(model: Model) -> None:
    day = model.count(covariate_shifted(np.random.default_rng(6), 20_000))
    assert estimate_shift(day.cells, model.reference).verdict() == "other"


def test_few_orders_give_wide_intervals_and_no_verdict(model: Model) -> None:
    found = estimate_shift(model.count(unshifted(np.random.default_rng(7), 40)).cells, model.reference)
    assert found.verdict() == "none"
    assert found.em.low is not None
    assert found.em.high is not None
    assert found.em.high - found.em.low > BASE_RATE
