"""What trials are compared by, and what is said of them; from counts and numbers alone."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, f1_score

from imbalance_spark.comparison.searched_strategy import SearchedStrategy, TrialMetric
from imbalance_spark.metrics.bucket_draws import BucketedCurve
from imbalance_spark.metrics.buckets import BUCKETS, BucketCounts
from imbalance_spark.metrics.counts import ScoreCounts
from imbalance_spark.metrics.evaluate import TargetNames
from imbalance_spark.threshold.decisions import decisions_of
from imbalance_spark.train_only.search.trials import Trial

OBJECTIVES = (
    {"name": "min_cost", "fn": 10, "fp": 1}, {"name": "max_f_beta", "beta": 1.0}, {"name": "max_recall",
    "precision": 0.9}, {"name": "alert_budget", "per_day": 10, "days": 3}, "max_mcc",
)  # fmt: skip
COSTS = {"name": "cost_matrix", "costs": {"a": {"b": 1, "c": 2}, "b": {"a": 5, "c": 2}, "c": {"a": 9, "b": 9}}}


def _metric(serving: str, objectives: Sequence[Any] = OBJECTIVES, classes: tuple[str, ...] = ()) -> TrialMetric:
    decisions = decisions_of(objectives, serving, classes)
    return TrialMetric.of(decisions, TargetNames.of_classes(classes or ("0", "1")), "average_precision")


def _rows(seed: int, rate: float = 0.1, size: int = 20_000) -> tuple[np.ndarray, np.ndarray]:
    """Labels, and the probabilities that they were drawn with."""
    draw = np.random.default_rng(seed)
    p = draw.beta(0.5, 0.5 / rate, size)
    return (draw.random(size) < p).astype(int), p


def _sample(label: np.ndarray, score: np.ndarray) -> BucketedCurve:
    bucket = np.random.default_rng(8).integers(0, BUCKETS, len(label))
    return BucketedCurve(ScoreCounts.from_arrays(label, score).curve(), BucketCounts.from_arrays(bucket, label, score))


@pytest.mark.parametrize(
    ("serving", "name", "is_loss"),
    [
        ("min_cost_fn_10_fp_1", "min_cost_fn_10_fp_1", True),
        ("max_f1", "max_f1", False),
        ("max_mcc", "max_mcc", False),
        ("max_recall_at_precision_0.9", "average_precision", False),
        ("alert_budget_10_per_day", "average_precision", False),
    ],
)
def test_trials_are_compared_by_what_serves_unless_that_is_a_promise(serving: str, name: str, is_loss: bool) -> None:
    metric = _metric(serving)
    assert (metric.name, metric.is_loss) == (name, is_loss)
    assert metric.words == (f"{name} of 1,000 orders" if is_loss else name)


def test_trials_of_three_classes_are_compared_by_the_macro_average() -> None:
    metric = _metric("cost_matrix", [COSTS], ("a", "b", "c"))
    assert (metric.name, metric.is_loss) == ("macro_average_precision", False)
    rows = [_rows(seed) for seed in range(3)]
    expected = np.mean([average_precision_score(label, score) for label, score in rows])
    assert metric.value([_sample(*one) for one in rows]) == pytest.approx(expected)


def test_a_cost_is_that_of_the_threshold_which_probabilities_ask_for() -> None:
    label, p = _rows(1)
    is_flagged = p >= 1.0 / 11.0
    cost = 10.0 * (label * ~is_flagged).sum() + ((1 - label) * is_flagged).sum()
    value = _metric("min_cost_fn_10_fp_1").value([_sample(label, p)])
    assert value == pytest.approx(1000.0 * cost / len(p), rel=0.02)
    # Twice the log-odds is the same ranking, which calibration undoes.
    distorted = 1.0 / (1.0 + ((1.0 - p) / p) ** 2)
    assert _metric("min_cost_fn_10_fp_1").value([_sample(label, distorted)]) == pytest.approx(value, rel=0.02)


def test_an_f_score_is_nearly_the_best_that_labels_would_choose_and_never_above() -> None:
    label, p = _rows(2)
    best = max(f1_score(label, p >= threshold) for threshold in np.linspace(0.01, 0.9, 90))
    value = _metric("max_f1").value([_sample(label, p)])
    assert 0.97 * best < value < best + 0.005
    worse = _metric("max_f1").value([_sample(label, np.random.default_rng(3).permutation(p))])
    assert worse < 0.6 * value


def _searched(values: list[tuple[float, ...]]) -> SearchedStrategy:
    trials = [
        Trial(number=n, params={"max_depth": 3 + n, "reg_lambda": 1.25}, values=found) for n, found in enumerate(values)
    ]
    return SearchedStrategy(
        strategy="none", words="max_f1", metric="search/max_f1", is_loss=False, rounds=(10, 30), rows=(0.6, 1.0),
        trials=tuple(trials),
    )  # fmt: skip


def test_the_best_trial_is_told_beside_the_configs_own_parameters() -> None:
    searched = _searched([(0.4, 0.5), (0.3,), (0.45, 0.6)])
    assert searched.sentence == (
        "5 fits of 3 trials, trial 2 is best (0.6 max_f1, with the config's own parameters 0.5): max_depth 5, "
        "reg_lambda 1.25"
    )
    table = searched.table()
    assert list(table.columns) == ["trial", "max_depth", "reg_lambda", "rung 0: max_f1", "rung 1: max_f1"]
    assert table["rung 1: max_f1"].isna().tolist() == [False, True, False]
    own = _searched([(0.4, 0.7), (0.45, 0.6)])
    assert own.sentence == "4 fits of 2 trials, none better than the config's own parameters (0.7 max_f1)"
