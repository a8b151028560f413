"""A network's epochs by PyTorch: against its own modules and losses, finite differences, and itself."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import average_precision_score, log_loss
from support.class_rows import class_rows
from support.model_rows import matrix, model_rows
from support.networks import random_network, rows_of_network
from support.pytorch import needs_torch
from train_only.learners.test_network_rows import learned

from imbalance_spark.calibration import PriorCorrection
from imbalance_spark.scoring.network import NetworkModel
from imbalance_spark.train_only.learners.boosting import BoostingPlan, Progress, Site
from imbalance_spark.train_only.learners.losses import FocalLoss
from imbalance_spark.train_only.learners.network_rows import LearnedRows, collect_inputs, initial_network
from imbalance_spark.train_only.learners.stopping import StoppingMetric

pytestmark = needs_torch

CROSS_ENTROPY = FocalLoss(weights=(1.0, 1.0))
PARAMS = {"hidden": [16, 8], "lr": 3e-3, "weight_decay": 1e-4, "batch_rows": 256, "seed": 7}


def epochs() -> Any:
    """The module, which is imported where PyTorch is needed: that takes seconds."""
    from imbalance_spark.train_only.learners import network_epochs

    return network_epochs


@pytest.fixture(scope="module")
def torch() -> Any:
    import torch

    return torch


def part(frame: pd.DataFrame, *, is_weighed: bool = False) -> LearnedRows:
    columns = [matrix(frame), frame.y, *([frame.row_weight] if is_weighed else [])]
    return learned(np.column_stack(columns), is_weighed=is_weighed)


def plan_of(loss: FocalLoss = CROSS_ENTROPY, **changes: Any) -> BoostingPlan:
    metric = StoppingMetric(name="log_loss", correction=loss.correction(), is_margin=True)
    asked = {
        "params": PARAMS, "rounds": 12, "early_stopping_rounds": 4, "checkpoint_rounds": 50, "loss": loss,
        "metric": metric, "stopping_margin": None, "cuts": "",
    }  # fmt: skip
    return BoostingPlan(**{**asked, **changes})


def fit(rows: pd.DataFrame, plan: BoostingPlan, progress: Progress | None = None, **changes: Any) -> Progress:
    site = Site(threads=1, host="", scratch=Path(), tell=lambda _: None, keep=changes.pop("keep", lambda _: None))
    is_stopping = rows.is_early_stopping.to_numpy(bool)
    share = plan.loss.correction().margins(np.bincount(rows.y[~is_stopping]) / (~is_stopping).sum())
    start = (share[1] - share[0],) if len(share) == 2 else tuple(share)
    parts = [part(rows[chosen], **changes) for chosen in (~is_stopping, is_stopping)]
    return epochs().train(plan, *parts, 4, start, progress or Progress(rows=0), site)


def corrected(progress: Progress, rows: pd.DataFrame, correction: PriorCorrection) -> np.ndarray:
    margins = NetworkModel.from_bytes(progress.model).inplace_predict(matrix(rows))
    return 1.0 / (1.0 + np.exp(-correction.logit(margins)))


@pytest.fixture(scope="module")
def rows() -> pd.DataFrame:
    return model_rows(6000, seed=1, intercept=-2.5)


@pytest.fixture(scope="module")
def fitted(rows: pd.DataFrame) -> Progress:
    return fit(rows, plan_of())


@pytest.mark.parametrize("outputs", [1, 3])
def test_numpy_gives_the_margins_of_torch(outputs: int, torch: Any) -> None:
    model, data = random_network(outputs), rows_of_network(500)
    flat = torch.from_numpy(epochs()._flat(model))
    ours = model.inplace_predict(data)
    exact = epochs().margins_of(flat.double(), model, data).numpy()
    np.testing.assert_allclose(ours, exact, rtol=1e-12, atol=1e-12)
    theirs = epochs().margins_of(flat, model, data).numpy()
    np.testing.assert_allclose(1 / (1 + np.exp(-ours)), 1 / (1 + np.exp(-theirs.astype(float))), atol=1e-6)


@pytest.mark.parametrize("gamma", [0.0, 2.0])
@pytest.mark.parametrize("classes", [2, 4])
def test_the_gradient_of_the_loss_is_that_of_torch(classes: int, gamma: float, torch: Any) -> None:
    draw = np.random.default_rng(1)
    label, weights = draw.integers(0, classes, 60), (1.0, 7.0, 0.5, 2.0)[:classes]
    shape = (60,) if classes == 2 else (60, classes)
    margins = torch.tensor(draw.normal(scale=2.0, size=shape), dtype=torch.float64, requires_grad=True)
    both = torch.stack([torch.zeros_like(margins), margins], dim=1) if classes == 2 else margins
    log_p = torch.nn.functional.cross_entropy(
        both, torch.from_numpy(label), torch.tensor(weights).double(), reduction="none"
    )
    of_class = torch.tensor(weights, dtype=torch.float64)[torch.from_numpy(label)]
    (((1.0 - torch.exp(-log_p / of_class)) ** gamma) * log_p).sum().backward()
    loss = FocalLoss(weights=weights, gammas=(gamma,) * classes)
    found, _ = loss.derivatives(margins.detach().numpy(), label)
    np.testing.assert_allclose(found, margins.grad.numpy(), rtol=1e-7, atol=1e-12)


@pytest.mark.parametrize("loss", [FocalLoss(weights=(1.0, 5.0)), FocalLoss.focal(2.0, 0.8)])
def test_weights_of_all_layers_have_the_gradient_of_finite_differences(loss: FocalLoss, torch: Any) -> None:
    model, data = random_network(), rows_of_network(30)
    label = (np.arange(30) % 3 == 0).astype(np.int64)
    weights = torch.nn.Parameter(torch.from_numpy(epochs()._flat(model)).double())
    margins = epochs().margins_of(weights, model, data)
    margins.backward(torch.from_numpy(loss.derivatives(margins.detach().numpy(), label)[0]))
    for place in range(0, len(weights), 7):
        values = []
        for step in (-1e-5, 1e-5):
            moved = weights.detach().clone()
            moved[place] += step
            values.append(loss.value(epochs().margins_of(moved, model, data).numpy(), label).sum())
        difference = (values[1] - values[0]) / 2e-5
        assert weights.grad[place].item() == pytest.approx(difference, rel=1e-4, abs=1e-6)


def test_steps_are_those_of_torch_modules_with_its_own_loss(rows: pd.DataFrame, torch: Any) -> None:
    frame, data = part(rows, is_weighed=True), torch.from_numpy(matrix(rows))
    inputs = collect_inputs(frame, 4, 1000)
    network = initial_network(inputs, (16, 8), (-2.0,), seed=3)
    scale, loss = 0.5, FocalLoss(weights=(1.0, 3.0))
    ours = epochs().Training(network, loss, scale, lr=1e-3, weight_decay=0.1)
    sizes = [8, 16, 8, 1]
    linear = [torch.nn.Linear(given, out) for given, out in pairwise(sizes)]
    for module, (weight, bias) in zip(linear, network.layers, strict=True):
        module.load_state_dict({"weight": torch.from_numpy(weight), "bias": torch.from_numpy(bias)})
    peer = torch.nn.Sequential(linear[0], torch.nn.ReLU(), linear[1], torch.nn.ReLU(), linear[2])
    optimizer = torch.optim.AdamW(peer.parameters(), lr=1e-3, weight_decay=0.1)
    seen = torch.from_numpy(inputs.numbers(data.numpy())).float()
    label, weight = torch.from_numpy(rows.y.to_numpy()).float(), torch.from_numpy(rows.row_weight.to_numpy()).float()
    for start in range(0, 4000, 400):
        chosen = np.arange(start, start + 400)
        ours.step(frame, chosen)
        optimizer.zero_grad()
        each = torch.nn.functional.binary_cross_entropy_with_logits(
            peer(seen[chosen])[:, 0], label[chosen], weight[chosen] * scale, pos_weight=torch.tensor(3.0)
        )
        each.backward()
        optimizer.step()
    ours.keep_as_best()
    for module, (weights, biases) in zip(linear, ours.best.layers, strict=True):
        np.testing.assert_allclose(weights, module.weight.detach(), atol=2e-5)
        np.testing.assert_allclose(biases, module.bias.detach(), atol=2e-5)
    moved = np.abs(ours.best.layers[1][0] - network.layers[1][0])
    assert moved.max() > 5e-3


@pytest.mark.parametrize("outputs", [1, 3])
def test_a_batch_without_rows_is_no_step(outputs: int) -> None:
    model = random_network(outputs)
    training = epochs().Training(model, FocalLoss(weights=(1.0,) * max(outputs, 2)), 1.0, lr=0.1, weight_decay=0.1)
    training.step(learned(np.column_stack([rows_of_network(5), [0, 1, 0, 1, 0]])), np.empty(0, dtype=np.int64))
    training.keep_as_best()
    assert training.best.to_bytes() == model.to_bytes()


def test_a_fit_is_repeated_to_the_last_bit_and_another_seed_gives_another(
    rows: pd.DataFrame, fitted: Progress, torch: Any
) -> None:
    assert fit(rows, plan_of()) == fitted
    assert fit(rows, plan_of(params={**PARAMS, "seed": 8})).model != fitted.model
    assert not torch.are_deterministic_algorithms_enabled()


def test_the_order_of_rows_changes_no_more_than_the_last_digits(rows: pd.DataFrame, fitted: Progress) -> None:
    found = fit(rows.sample(frac=1.0, random_state=1), plan_of())
    np.testing.assert_allclose(found.validation, fitted.validation, rtol=1e-4)
    assert len(found.validation) == len(fitted.validation)


def test_the_model_is_that_of_the_best_epoch(rows: pd.DataFrame, fitted: Progress) -> None:
    stopping, fit_on = (rows[chosen] for chosen in (rows.is_early_stopping, ~rows.is_early_stopping))
    best = fitted.best_round(is_maximised=False)
    for frame, curve in ((stopping, fitted.validation), (fit_on, fitted.training)):
        p = corrected(fitted, frame, PriorCorrection.identity())
        assert log_loss(frame.y, p) == pytest.approx(curve[best], rel=1e-6)
    assert min(fitted.validation) == fitted.validation[best] < fitted.validation[0]


def test_it_stops_when_no_epoch_gets_better(rows: pd.DataFrame) -> None:
    found = fit(rows, plan_of(params={**PARAMS, "lr": 0.03}, rounds=40, early_stopping_rounds=3))
    assert found.rounds == found.best_round(is_maximised=False) + 4 < 40


@pytest.mark.parametrize("rounds", [2, 5])
def test_a_fit_that_was_interrupted_ends_with_the_same_network(
    rounds: int, rows: pd.DataFrame, fitted: Progress
) -> None:
    kept: list[bytes] = []
    whole = fit(rows, plan_of(checkpoint_rounds=rounds), keep=kept.append)
    assert whole == fitted
    plan = plan_of(checkpoint_rounds=rounds)
    resumed = Progress.from_checkpoint(kept[0], plan)
    assert resumed.rounds == rounds
    assert fit(rows, plan, resumed) == fitted


@pytest.mark.parametrize("loss", [FocalLoss(weights=(1.0, 9.0)), FocalLoss.focal(2.0)])
def test_corrected_probabilities_lead_back_to_the_rate(loss: FocalLoss, rows: pd.DataFrame) -> None:
    found, unseen = fit(rows, plan_of(loss)), model_rows(20_000, seed=2, intercept=-2.5)
    p = corrected(found, unseen, loss.correction())
    assert p.mean() == pytest.approx(unseen.y.mean(), rel=0.1)
    assert average_precision_score(unseen.y, p) > 3 * unseen.y.mean()


def test_the_logit_adjusted_loss_ends_where_cross_entropy_does(rows: pd.DataFrame, fitted: Progress) -> None:
    to_fit = rows[~rows.is_early_stopping]
    loss = FocalLoss.logit_adjusted(to_fit.y.value_counts().to_dict())
    found, unseen = fit(rows, plan_of(loss)), model_rows(1000, seed=2, intercept=-2.5)
    expected = corrected(fitted, unseen, PriorCorrection.identity())
    np.testing.assert_allclose(corrected(found, unseen, loss.correction()), expected, rtol=0.02)
    assert NetworkModel.from_bytes(found.model).inplace_predict(matrix(unseen)).mean() > -1.0  # as if classes were even


def test_weights_count_by_their_ratios_alone(rows: pd.DataFrame) -> None:
    # One batch: what else a row's weight decides is its batch.
    plan = plan_of(rounds=3, params={**PARAMS, "batch_rows": 10_000})
    found = fit(rows, plan, is_weighed=True)
    tenfold = fit(rows.assign(row_weight=10.0 * rows.row_weight), plan, is_weighed=True)
    np.testing.assert_allclose(tenfold.validation, found.validation, rtol=1e-6)
    assert abs(np.array(found.training) - fit(rows, plan).training).max() > 1e-4


def test_three_classes_are_told_apart() -> None:
    rows = class_rows(4000, seed=1)
    loss = FocalLoss(weights=(1.0, 2.0, 5.0))
    found = fit(rows, replace(plan_of(loss), rounds=10))
    unseen = class_rows(4000, seed=2)
    margins = NetworkModel.from_bytes(found.model).inplace_predict(matrix(unseen))
    p = np.exp(loss.correction().log_probabilities(margins))
    shares = np.bincount(unseen.y) / len(unseen)
    np.testing.assert_allclose(p.mean(axis=0), shares, atol=0.03)
    assert log_loss(unseen.y, p) < 0.9 * -np.log(shares) @ shares
