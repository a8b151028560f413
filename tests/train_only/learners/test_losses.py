"""Each loss against its own definition: derivatives by finite differences, XGBoost's logistic, the inverse."""

import pickle

import numpy as np
import pytest
import xgboost
from hypothesis import given, settings
from hypothesis import strategies as st

from imbalance_spark.core.errors import ConfigError
from imbalance_spark.train_only.learners.losses import FocalLoss, effective_number_weights

BINARY = {
    "weighted logistic": FocalLoss(weights=(0.5, 7.0)),
    "focal": FocalLoss.focal(2.0),
    "focal with alpha": FocalLoss.focal(1.0, alpha=0.9),
    "asymmetric": FocalLoss.asymmetric(gamma_negative=4.0, gamma_positive=0.5),
    "class balanced": FocalLoss.class_balanced({0: 5000, 1: 20}, beta=0.999),
    "logit-adjusted": FocalLoss.logit_adjusted({0: 900, 1: 100}, tau=1.5),
}
MARGINS = np.linspace(-6.0, 6.0, 49)
STEP = 1e-3


@pytest.mark.parametrize("name", BINARY)
@pytest.mark.parametrize("label", [0, 1])
def test_derivatives_are_those_of_the_loss(name: str, label: int) -> None:
    loss, labels = BINARY[name], np.full(len(MARGINS), label)
    left, here, right = (loss.value(MARGINS + step, labels) for step in (-STEP, 0.0, STEP))
    gradient, hessian = loss.derivatives(MARGINS, labels)
    np.testing.assert_allclose(gradient, (right - left) / (2 * STEP), rtol=1e-4, atol=1e-6)
    curvature = (right - 2 * here + left) / STEP**2
    np.testing.assert_allclose(hessian, np.maximum(curvature, 0.0), rtol=1e-4, atol=1e-5)


def test_the_published_numbers_of_focal_loss() -> None:
    gradient, hessian = FocalLoss.focal(2.0).derivatives([-2.0, 0.0, 2.0], [1, 1, 1])
    np.testing.assert_allclose(gradient, [-1.076714, -0.298287, -0.004871], atol=1e-6)
    np.testing.assert_allclose(hessian, [0.154563, 0.399143, 0.012678], atol=1e-6)


def test_badly_wrong_rows_keep_a_positive_hessian() -> None:
    _, hessian = FocalLoss.focal(2.0).derivatives([-3.0, -30.0, -700.0, 700.0], [1, 1, 1, 1])
    assert (hessian > 0.0).all()
    assert hessian[0] == 1e-16


def test_gamma_zero_is_cross_entropy() -> None:
    for label in (0, 1):
        labels = np.full(len(MARGINS), label)
        p = 1 / (1 + np.exp(-MARGINS))
        gradient, hessian = FocalLoss.focal(0.0).derivatives(MARGINS, labels)
        np.testing.assert_allclose(gradient, p - label, rtol=1e-12)
        np.testing.assert_allclose(hessian, p * (1 - p), rtol=1e-12)


@settings(deadline=None, max_examples=50)
@given(st.floats(0.001, 0.999), st.sampled_from(sorted(BINARY)))
def test_the_correction_finds_the_rate_for_which_a_score_is_the_best(rate: float, name: str) -> None:
    loss = BINARY[name]
    best = loss.correction().inverse([rate])
    margin = np.log(best) - np.log1p(-best)
    gradient = rate * loss.derivatives(margin, [1])[0] + (1 - rate) * loss.derivatives(margin, [0])[0]
    scale = rate * abs(loss.derivatives(margin, [1])[0])
    assert gradient[0] == pytest.approx(0.0, abs=1e-8 * scale[0])
    assert loss.correction().apply(best)[0] == pytest.approx(rate, rel=1e-9)
    assert 1 / (1 + np.exp(-loss.correction().logit(margin)[0])) == pytest.approx(rate, rel=1e-9)


@pytest.mark.parametrize("gammas", [(), (0.5,) * 4, (1.0,) * 4, (2.0,) * 4, (5.0,) * 4, (0.0, 4.0, 1.0, 0.5)])
def test_softmax_derivatives_are_those_of_the_loss(gammas: tuple[float, ...]) -> None:
    draw = np.random.default_rng(1)
    margins, labels = draw.normal(scale=2.0, size=(60, 4)), draw.integers(0, 4, 60)
    loss = FocalLoss(weights=(1.0, 2.0, 0.5, 9.0), gammas=gammas)
    gradient, hessian = loss.derivatives(margins, labels)
    for k in range(4):
        moved = STEP * np.eye(4)[k]
        left, here, right = (loss.value(margins + step, labels) for step in (-moved, 0.0, moved))
        np.testing.assert_allclose(gradient[:, k], (right - left) / (2 * STEP), rtol=1e-4, atol=1e-5)
        curvature = (right - 2 * here + left) / STEP**2
        np.testing.assert_allclose(hessian[:, k], np.maximum(curvature, 0.0), rtol=1e-3, atol=1e-4)


def test_softmax_of_two_classes_is_the_binary_loss_of_their_difference() -> None:
    margins, labels = np.column_stack([np.zeros(49), MARGINS]), np.arange(49) % 2
    for gammas in ((), (2.0, 2.0), (4.0, 0.5)):
        loss = FocalLoss(weights=(1.0, 3.0), gammas=gammas)
        np.testing.assert_allclose(loss.value(margins, labels), loss.value(MARGINS, labels))
        of_both, of_one = loss.derivatives(margins, labels), loss.derivatives(MARGINS, labels)
        np.testing.assert_allclose(of_both[0][:, 1], of_one[0], rtol=1e-9)
        np.testing.assert_allclose(of_both[1][:, 1], of_one[1], rtol=1e-9, atol=1e-15)


def test_margins_without_measure_stay_finite() -> None:
    margins = np.array([[0.0, 900.0], [0.0, -900.0], [0.0, 40.0]])
    for gamma in (0.0, 0.5, 2.0):
        found = FocalLoss.focal(gamma).derivatives(margins, np.ones(3))
        assert np.isfinite(found).all()


@pytest.mark.parametrize("loss", [FocalLoss.focal(), FocalLoss.focal(classes=3), FocalLoss(weights=(1.0, 1.0, 1.0))])
def test_row_weights_are_applied_and_an_unpickled_loss_is_the_same(loss: FocalLoss) -> None:
    labels, weights = np.array([0.0, 1.0, 1.0]), np.array([1.0, 2.0, 3.0])
    margins = np.arange(9, dtype=np.float32).reshape(3, 3) if len(loss.weights) == 3 else labels - 0.3
    weighed = xgboost.DMatrix(np.zeros((3, 1)), labels, weight=weights)
    again = pickle.loads(pickle.dumps(loss))
    for found, plain in zip(again(margins, weighed), loss.derivatives(margins, labels), strict=True):
        np.testing.assert_allclose(found.T, plain.T * weights)
    for found, plain in zip(
        loss(margins, xgboost.DMatrix(np.zeros((3, 1)), labels)), loss.derivatives(margins, labels), strict=True
    ):
        np.testing.assert_array_equal(found, plain)


def _data() -> xgboost.DMatrix:
    draw = np.random.default_rng(3)
    x = draw.normal(size=(2000, 3))
    return xgboost.DMatrix(x, (draw.random(2000) < 1 / (1 + np.exp(2 - x[:, 0]))).astype(float))


def test_gamma_zero_grows_the_trees_of_xgboosts_logistic() -> None:
    data = _data()
    settings_ = {"objective": "binary:logistic", "base_score": 0.15, "max_depth": 3, "nthread": 1}
    peer = xgboost.train({**settings_, "scale_pos_weight": 3.0}, data, 10)
    ours = xgboost.train(settings_, data, 10, obj=FocalLoss(weights=(1.0, 3.0)))
    np.testing.assert_allclose(ours.predict(data), peer.predict(data), atol=1e-5)


def test_softmax_focal_loss_trains_several_classes() -> None:
    draw = np.random.default_rng(4)
    x = draw.normal(size=(1500, 2))
    labels = np.where(x[:, 0] > 1.5, 2, np.where(x[:, 1] > 0.5, 1, 0))
    data = xgboost.DMatrix(x, labels)
    loss = FocalLoss(weights=(1.0, 1.0, 4.0), gammas=(2.0,) * 3)
    booster = xgboost.train({"objective": "multi:softprob", "num_class": 3}, data, 20, obj=loss)
    assert (booster.predict(data).argmax(axis=1) == labels).mean() > 0.97


def test_with_equal_weights_and_a_doubled_hessian_the_trees_are_xgboosts_softmax() -> None:
    draw = np.random.default_rng(5)
    x = draw.normal(size=(2000, 3))
    data = xgboost.DMatrix(x, np.where(x[:, 0] > 1.0, 2, np.where(x[:, 1] + draw.normal(size=2000) > 0.5, 1, 0)))
    params = {"objective": "multi:softprob", "num_class": 3, "base_score": [0.0, -2.0, -4.0], "max_depth": 3}
    peer = xgboost.train(params, data, 8)
    ours = xgboost.train(params, data, 8, obj=FocalLoss(weights=(1.0, 1.0, 1.0), hessian_scale=2.0))
    np.testing.assert_allclose(ours.predict(data), peer.predict(data), atol=1e-5)


def test_effective_numbers_of_cui() -> None:
    # beta 0.9: E = (1 - 0.9^n) / 0.1, so E_1 = 1 and E_2 = 1.9; 1 / E scaled to sum to 2.
    found = effective_number_weights({0: 2, 1: 1}, beta=0.9)
    assert found == {0: pytest.approx(2 / 2.9), 1: pytest.approx(2 * 1.9 / 2.9)}
    assert effective_number_weights({0: 2, 1: 1}, beta=0.0) == {0: 1.0, 1: 1.0}
    nearly = effective_number_weights({0: 900, 1: 100}, beta=1 - 1e-9)
    assert nearly[1] / nearly[0] == pytest.approx(9.0, rel=1e-5)


def test_what_cannot_be_is_said_at_once() -> None:
    with pytest.raises(ConfigError) as failed:
        FocalLoss(gammas=(-1.0, 101.0), weights=(0.0, 1.0))
    assert "got -1.0" in str(failed.value)
    assert "got 101.0" in str(failed.value)
    assert "class weights must be numbers above 0" in str(failed.value)
    for wrong in ({"weights": (1.0,)}, {"weights": (1.0, 1.0, 1.0), "gammas": (1.0, 1.0)}):
        with pytest.raises(ConfigError, match="a loss needs a weight, and a gamma or none, for each class"):
            FocalLoss(**wrong)
    for alpha in (0.0, 1.0, float("nan")):
        with pytest.raises(ConfigError, match="alpha must be in"):
            FocalLoss.focal(2.0, alpha=alpha)
    with pytest.raises(ConfigError, match=r"beta must be in \[0, 1\), got 1.0"):
        effective_number_weights({0: 5, 1: 0}, beta=1.0)
    with pytest.raises(ConfigError, match=r"classes \[1\] have no rows"):
        effective_number_weights({0: 5, 1: 0}, beta=0.9)


def test_the_logit_adjusted_loss_is_cross_entropy_of_moved_margins() -> None:
    """Menon and others (2021): -ln softmax(f_y + tau ln pi_y)."""
    counts, draw = {0: 60, 1: 30, 2: 10}, np.random.default_rng(3)
    loss = FocalLoss.logit_adjusted(counts, tau=2.0)
    margins, labels = draw.normal(scale=2.0, size=(50, 3)), draw.integers(0, 3, 50)
    moved = margins + 2.0 * np.log([0.6, 0.3, 0.1])
    log_p = moved - np.logaddexp.reduce(moved, axis=1, keepdims=True)
    np.testing.assert_allclose(loss.value(margins, labels), -log_p[np.arange(50), labels], rtol=1e-12)
    gradient, _ = loss.derivatives(margins, labels)
    np.testing.assert_allclose(gradient, np.exp(log_p) - np.eye(3)[labels], rtol=1e-10, atol=1e-12)
    # What minimises it leads back to the probabilities.
    np.testing.assert_allclose(loss.correction().log_probabilities(margins), log_p, rtol=1e-12)
    balanced = FocalLoss.logit_adjusted(counts).correction().margins([0.6, 0.3, 0.1])
    np.testing.assert_allclose(np.exp(balanced), [1 / 3] * 3, rtol=1e-12)


def test_offsets_are_one_for_each_class_and_never_beside_gammas() -> None:
    with pytest.raises(ConfigError, match="an offset for each class"):
        FocalLoss(weights=(1.0, 1.0), offsets=(0.5,))
    with pytest.raises(ConfigError, match="then no gammas"):
        FocalLoss(weights=(1.0, 1.0), gammas=(1.0, 1.0), offsets=(0.5, 0.1))


def test_only_weights_of_classes_can_be_given_to_rows_instead() -> None:
    found = {name: loss.is_class_weight for name, loss in BINARY.items()}
    assert [name for name, is_class_weight in found.items() if is_class_weight] == ["weighted logistic"]
    assert FocalLoss.focal(0.0).is_class_weight
