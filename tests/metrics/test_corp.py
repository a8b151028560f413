"""The CORP decomposition of the Brier score and its band, against scikit-learn and samples of a known truth."""

import numpy as np
import pytest
from sklearn.isotonic import IsotonicRegression
from sklearn.metrics import brier_score_loss

from imbalance_spark.core.arrays import logit, sigmoid
from imbalance_spark.metrics import ScoreCounts
from imbalance_spark.metrics.probability import brier_parts, reliability_band


def sample(seed: int, size: int = 4000, shift: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(seed)
    p = draw.beta(0.4, 6.0, size)
    return draw.random(size) < p, sigmoid(logit(p) + shift)


def test_the_parts_are_those_of_an_isotonic_fit_of_the_rows() -> None:
    label, score = sample(1, shift=0.8)
    weight = np.random.default_rng(2).uniform(0.5, 2.0, len(label))
    parts = brier_parts(ScoreCounts.from_arrays(label, score, weight).curve())
    fitted = IsotonicRegression(y_min=0, y_max=1).fit(score, label.astype(float), weight).predict(score)
    of_score, of_fit = (brier_score_loss(label, p, sample_weight=weight) for p in (score, fitted))
    of_share = brier_score_loss(label, np.full(len(label), np.average(label, weights=weight)), sample_weight=weight)
    assert parts.miscalibration == pytest.approx(of_score - of_fit, rel=1e-9)
    assert parts.discrimination == pytest.approx(of_share - of_fit, rel=1e-9)
    assert parts.uncertainty == pytest.approx(of_share, rel=1e-9)
    assert parts.miscalibration - parts.discrimination + parts.uncertainty == pytest.approx(of_score, rel=1e-9)


def test_a_rising_map_moves_miscalibration_alone() -> None:
    label, score = sample(3)
    scores = (score, sigmoid(logit(score) + 1.5))
    right, moved = (brier_parts(ScoreCounts.from_arrays(label, p).curve()) for p in scores)
    assert moved.miscalibration > 5.0 * right.miscalibration
    assert moved.discrimination == pytest.approx(right.discrimination, rel=1e-9)


def test_rows_of_one_class_have_no_parts() -> None:
    curve = ScoreCounts.from_arrays([0, 0], [0.1, 0.2]).curve()
    assert brier_parts(curve) is None
    assert reliability_band(curve) is None


def test_the_band_holds_the_curve_of_a_right_model_and_not_that_of_a_wrong_one() -> None:
    inside = []
    for seed in range(8):
        band = reliability_band(ScoreCounts.from_arrays(*sample(seed, 1500), exact_limit=0).curve(), draws=100)
        inside.append(np.mean((band.low <= band.rate) & (band.rate <= band.high)))
    # 90 % at each score; neighbouring scores go together, so that single samples differ.
    assert 0.8 < np.mean(inside) <= 1.0
    wrong = reliability_band(ScoreCounts.from_arrays(*sample(1, 1500, shift=1.2), exact_limit=0).curve(), draws=100)
    assert np.mean((wrong.low <= wrong.rate) & (wrong.rate <= wrong.high)) < 0.5
