"""Recall from a control sample: row by row in plain Python, and coverage over samples of known orders."""

import numpy as np
import pytest

from imbalance_spark.monitoring.expected import Estimate
from imbalance_spark.monitoring.reviews import ReviewedOrders


def _orders(random: np.random.Generator, missed: int, rows: int = 5_000) -> tuple[np.ndarray, np.ndarray]:
    """Classes and decisions: 150 positives that are flagged, and some that are missed."""
    label, flagged = np.zeros(rows, dtype=bool), np.zeros(rows, dtype=bool)
    label[: 150 + missed] = True
    flagged[:150] = flagged[-100:] = True
    order = random.permutation(rows)
    return label[order], flagged[order]


def _reviewed(label: np.ndarray, flagged: np.ndarray, weight: np.ndarray, is_seen: np.ndarray) -> ReviewedOrders:
    """In cells: one of flagged rows, and one by weight of the others."""
    key, cell = np.unique(np.where(flagged, 0.0, weight)[is_seen], return_inverse=True)
    rows = np.bincount(cell).astype(float)
    positives = np.bincount(cell, label[is_seen])
    return ReviewedOrders(rows=rows, positives=positives, weight=np.maximum(key, 1.0), flagged=key == 0.0)


def test_the_estimate_is_the_sum_over_reviewed_rows() -> None:
    random = np.random.default_rng(1)
    label, flagged = _orders(random, 400)
    share = np.where(random.random(len(label)) < 0.5, 0.1, 0.25)  # two batches with other shares
    is_seen = flagged | (random.random(len(label)) < share)
    weight = np.where(flagged, 1.0, 1.0 / share)
    found = _reviewed(label, flagged, weight, is_seen)

    caught = missed = 0.0
    for is_positive, is_flagged, of_row, seen in zip(label, flagged, weight, is_seen, strict=True):
        if seen and is_positive:
            caught, missed = (caught + 1.0, missed) if is_flagged else (caught, missed + of_row)
    estimates = found.estimates(float(len(label)))
    assert estimates["recall"].value == pytest.approx(caught / (caught + missed))
    assert estimates["positives"].value == pytest.approx(caught + missed)
    assert estimates["base_rate"].value == pytest.approx((caught + missed) / len(label))
    assert found.control_rows == np.sum(is_seen & ~flagged)


@pytest.mark.parametrize(("share", "missed"), [(0.01, 400), (0.05, 60), (0.05, 400), (0.5, 60), (0.5, 400)])
def test_intervals_hold_the_recall_that_all_labels_would_give(share: float, missed: int) -> None:
    random, held, values = np.random.default_rng(2), [], []
    label, flagged = _orders(random, missed)
    true = 150.0 / (150.0 + missed)
    weight = np.where(flagged, 1.0, 1.0 / share)
    for _ in range(400):
        found = _reviewed(label, flagged, weight, flagged | (random.random(len(label)) < share))
        estimates = found.estimates(float(len(label)))
        held.append(estimates["recall"].holds(true))
        values.append(estimates["positives"].value)
    assert np.mean(held) >= 0.93
    assert np.mean(values) == pytest.approx(150.0 + missed, abs=4.0 * np.std(values) / 20.0)


def test_a_sample_of_everything_leaves_no_doubt() -> None:
    label, flagged = _orders(np.random.default_rng(3), 50)
    found = _reviewed(label, flagged, np.ones(len(label)), np.ones(len(label), dtype=bool))
    assert found.estimates(float(len(label)))["recall"] == Estimate(value=0.75, low=0.75, high=0.75)


def test_a_sample_without_a_positive_bounds_the_recall_from_below() -> None:
    reviewed = ReviewedOrders(
        rows=np.array([200.0, 1000.0]), positives=np.array([150.0, 0.0]), weight=np.array([1.0, 100.0]),
        flagged=np.array([True, False]),
    )  # fmt: skip
    recall = reviewed.estimates(100_000.0)["recall"]
    assert (recall.value, recall.high) == (1.0, 1.0)
    # None in a hundredth: at most 3.69 hundred with 97.5 % confidence (Poisson).
    assert recall.low == pytest.approx(150.0 / (150.0 + 369.0), rel=0.01)


def test_without_a_reviewed_control_order_nothing_is_estimated() -> None:
    only_flagged = ReviewedOrders(
        rows=np.array([200.0]), positives=np.array([150.0]), weight=np.array([1.0]), flagged=np.array([True])
    )
    assert only_flagged.estimates(100_000.0)["recall"] == Estimate(value=None)
