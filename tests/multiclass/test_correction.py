"""The correction of several classes against its own definition, and against the binary ones."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imbalance_spark.calibration import FocalCorrection, correct_prior
from imbalance_spark.calibration.correction import SoftmaxCorrection
from imbalance_spark.core.errors import ConfigError
from imbalance_spark.train_only.learners.losses import SoftmaxFocalLoss

SHARES = st.lists(st.floats(1e-4, 1.0), min_size=3, max_size=3).map(lambda parts: np.array(parts) / sum(parts))
FACTORS = st.lists(st.floats(1e-3, 1e3), min_size=3, max_size=3).map(tuple)


@settings(deadline=None, max_examples=100)
@given(SHARES, FACTORS)
def test_without_focus_it_is_the_prior_correction(score: np.ndarray, factors: tuple[float, ...]) -> None:
    found = np.exp(SoftmaxCorrection(factors=factors).log_probabilities(np.log([score])))
    np.testing.assert_allclose(found, correct_prior([score], factors), rtol=1e-9)
    np.testing.assert_allclose(found[0], score / np.array(factors) / (score / np.array(factors)).sum(), rtol=1e-9)


@settings(deadline=None, max_examples=12)
@given(SHARES, FACTORS, st.sampled_from([0.5, 1.0, 2.0, 5.0]))
def test_a_score_is_the_best_for_the_probabilities_that_it_corrects_to(
    eta: np.ndarray, factors: tuple[float, ...], gamma: float
) -> None:
    correction = SoftmaxCorrection(factors=factors, gamma=gamma)
    start = correction.margins(eta)
    np.testing.assert_allclose(np.exp(correction.log_probabilities([start]))[0], eta, rtol=1e-6)
    # At the best score the expected gradient of the loss is 0 in every margin.
    loss = SoftmaxFocalLoss(gamma=gamma, weights=factors)
    each = np.array([loss.derivatives([start], [k])[0][0] for k in range(3)])
    assert np.abs(eta @ each).max() < 1e-7 * np.abs(eta[:, None] * each).max()


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_two_classes_are_corrected_as_by_the_binary_correction(gamma: float) -> None:
    margin = np.linspace(-30.0, 30.0, 61)
    found = SoftmaxCorrection(factors=(1.0, 3.0), gamma=gamma).log_probabilities(
        np.column_stack([np.zeros(61), margin])
    )
    wanted = FocalCorrection(gamma=gamma, alpha=0.75).logit(margin)
    np.testing.assert_allclose(found[:, 1] - found[:, 0], wanted, rtol=1e-9, atol=1e-9)


def test_margins_without_measure_stay_finite_and_rows_sum_to_one() -> None:
    margins = np.array([[0.0, 800.0, -800.0], [0.0, 0.0, 0.0], [-40.0, 40.0, 39.0]])
    for gamma in (0.0, 0.5, 2.0):
        found = SoftmaxCorrection(factors=(1.0, 2.0, 300.0), gamma=gamma).log_probabilities(margins)
        assert np.isfinite(found[1:]).all()
        np.testing.assert_allclose(np.exp(found).sum(axis=1), 1.0)


def test_it_comes_back_from_json_and_refuses_what_cannot_be() -> None:
    correction = SoftmaxCorrection(factors=(1.0, 0.1, 20.0), gamma=2.0)
    assert SoftmaxCorrection.from_dict(json.loads(json.dumps(correction.to_dict()))) == correction
    for bad in ((1.0,), (1.0, 0.0), (1.0, float("nan"))):
        with pytest.raises(ConfigError, match="factors must be numbers above 0"):
            SoftmaxCorrection(factors=bad)
    with pytest.raises(ConfigError, match="focal gamma"):
        SoftmaxCorrection(factors=(1.0, 1.0), gamma=-1.0)
