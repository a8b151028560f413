"""The closed-form correction of focal loss, and temperature for several classes, against minimisers."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar

from imbalance_spark.calibration import MulticlassTemperature, PriorCorrection, correct_prior
from imbalance_spark.core.errors import ConfigError, DataContractError
from imbalance_spark.train_only.learners.losses import FocalLoss

SHARES = st.lists(st.floats(1e-4, 1.0), min_size=3, max_size=3).map(lambda parts: np.array(parts) / sum(parts))
FACTORS = st.lists(st.floats(1e-3, 1e3), min_size=3, max_size=3).map(tuple)


def focal(gamma: float, alpha: float = 0.5) -> PriorCorrection:
    """The correction of the usual focal loss of two classes."""
    return PriorCorrection(factors=(1.0 - alpha, alpha), gammas=(gamma, gamma))


@pytest.mark.parametrize(("gamma", "score"), [(1.0, 0.0730), (2.0, 0.1536), (5.0, 0.3047)])
def test_the_published_minimisers_map_back_to_a_rate_of_one_percent(gamma: float, score: float) -> None:
    assert focal(gamma).apply([score])[0] == pytest.approx(0.01, rel=2e-3)


@settings(deadline=None, max_examples=50)
@given(st.floats(0.001, 0.999), st.floats(0.0, 5.0), st.floats(0.05, 0.95))
def test_the_score_of_least_expected_focal_loss_maps_back_to_the_rate(rate: float, gamma: float, alpha: float) -> None:
    def loss(logit: float) -> float:
        log_p, log_q = -np.logaddexp(0.0, -logit), -np.logaddexp(0.0, logit)
        one = -alpha * np.exp(gamma * log_q) * log_p
        zero = -(1 - alpha) * np.exp(gamma * log_p) * log_q
        return rate * one + (1 - rate) * zero

    best = minimize_scalar(loss, bounds=(-15, 15), method="bounded", options={"xatol": 1e-12}).x
    score = 1.0 / (1.0 + np.exp(-best))
    assert focal(gamma, alpha).apply([score])[0] == pytest.approx(rate, rel=1e-4, abs=1e-5)


def test_gamma_zero_undoes_alpha_alone() -> None:
    score = np.linspace(0.0, 1.0, 101)
    expected = correct_prior(score, (0.2, 0.8))
    assert focal(0.0, 0.8).apply(score) == pytest.approx(expected, abs=1e-12)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.floats(0.0, 1.0), min_size=2, max_size=30), st.floats(0.0, 10.0))
def test_the_inverse_never_falls_and_keeps_its_ends(scores: list[float], gamma: float) -> None:
    found = focal(gamma).apply(np.sort([0.0, *scores, 1.0]))
    assert (np.diff(found) >= -1e-12).all()
    assert (found[0], found[-1]) == (0.0, 1.0)


@pytest.mark.parametrize("gamma", [-1.0, float("nan"), 101.0])
def test_a_gamma_out_of_range_is_refused(gamma: float) -> None:
    with pytest.raises(ConfigError, match=r"focal gamma must be in \[0, 100\]"):
        focal(gamma)


@settings(deadline=None, max_examples=12)
@given(SHARES, FACTORS, st.sampled_from([0.5, 1.0, 2.0, 5.0]))
def test_a_score_is_the_best_for_the_probabilities_that_it_corrects_to(
    eta: np.ndarray, factors: tuple[float, ...], gamma: float
) -> None:
    correction = PriorCorrection(factors=factors, gammas=(gamma,) * 3)
    start = correction.margins(eta)
    np.testing.assert_allclose(np.exp(correction.log_probabilities([start]))[0], eta, rtol=1e-6)
    # At the best score the expected gradient of the loss is 0 in every margin.
    loss = FocalLoss(weights=factors, gammas=(gamma,) * 3)
    each = np.array([loss.derivatives([start], [k])[0][0] for k in range(3)])
    assert np.abs(eta @ each).max() < 1e-7 * np.abs(eta[:, None] * each).max()


@pytest.mark.parametrize("gammas", [(0.0, 0.0), (0.5, 0.5), (2.0, 2.0), (4.0, 1.0), (0.0, 3.0)])
def test_one_score_of_two_classes_is_corrected_as_both_are(gammas: tuple[float, float]) -> None:
    margin = np.linspace(-30.0, 30.0, 61)
    correction = PriorCorrection(factors=(1.0, 3.0), gammas=gammas)
    logs = correction.log_probabilities(np.column_stack([np.zeros(61), margin]))
    np.testing.assert_allclose(logs[:, 1] - logs[:, 0], correction.logit(margin), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(correction.margins([0.8, 0.2])[1], np.log(correction.inverse(0.2)), rtol=1e-9)


def test_margins_without_measure_stay_finite_and_rows_sum_to_one() -> None:
    margins = np.array([[0.0, 800.0, -800.0], [0.0, 0.0, 0.0], [-40.0, 40.0, 39.0]])
    for gamma in (0.0, 0.5, 2.0):
        found = PriorCorrection(factors=(1.0, 2.0, 300.0), gammas=(gamma,) * 3).log_probabilities(margins)
        assert np.isfinite(found[1:]).all()
        np.testing.assert_allclose(np.exp(found).sum(axis=1), 1.0)


def test_temperature_finds_back_how_much_too_sure_the_classes_are() -> None:
    draw = np.random.default_rng(1)
    logits = draw.normal(size=(50_000, 4)) + np.array([3.0, 0.0, -1.0, -2.0])
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    label = (p.cumsum(axis=1) < draw.random((len(p), 1))).sum(axis=1)
    sure = p**2.5 / (p**2.5).sum(axis=1, keepdims=True)
    found = MulticlassTemperature.fit(label, sure)
    assert found.temperature == pytest.approx(2.5, rel=0.05)
    calibrated = found.apply(sure)
    assert calibrated.sum(axis=1) == pytest.approx(1.0)
    assert (calibrated.argmax(axis=1) == sure.argmax(axis=1)).all()
    # At the best temperature the derivative of the log loss is zero.
    beside = [MulticlassTemperature(temperature=found.temperature * factor).apply(sure) for factor in (0.99, 1.01)]
    losses = [-np.log(values[np.arange(len(label)), label]).mean() for values in (calibrated, *beside)]
    assert losses[0] <= min(losses[1:])


def test_integer_weights_are_repetition_for_temperature() -> None:
    draw = np.random.default_rng(2)
    p = draw.dirichlet([2.0, 1.0, 1.0], 300)
    label, times = draw.integers(0, 3, 300), draw.integers(1, 4, 300)
    repeated = MulticlassTemperature.fit(np.repeat(label, times), np.repeat(p, times, axis=0))
    assert MulticlassTemperature.fit(label, p, times).temperature == pytest.approx(repeated.temperature, rel=1e-6)


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(DataContractError, match="rows, classes"):
        MulticlassTemperature.fit([0, 1], [[0.5, 0.5]])
    with pytest.raises(ConfigError, match="above 0"):
        MulticlassTemperature(temperature=0.0)
