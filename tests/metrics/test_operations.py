"""What decisions mean for a team, against sums over single rows."""

import numpy as np
import pytest

from imbalance_spark.metrics import ScoreCounts
from imbalance_spark.metrics.evaluate import deciding, evaluate, evaluate_multiclass, operating_metrics
from imbalance_spark.metrics.multiclass_counts import MulticlassCounts


def test_money_alerts_and_false_positives_are_those_of_the_rows() -> None:
    draw = np.random.default_rng(1)
    score = draw.random(500).round(2)
    label, amount, weight = draw.random(500) < score / 4, draw.gamma(1.0, 50.0, 500), draw.uniform(0.5, 2.0, 500)
    curve = ScoreCounts.from_arrays(label, score, weight, amount).curve()
    for cut in (15, 30, 60):
        flagged = score >= curve.threshold[cut]
        caught, worth = label & flagged, weight * amount
        found = operating_metrics(curve, cut, orders_per_day=2000.0, capacity=50.0)
        assert found["value_detection_rate"] == pytest.approx(worth[caught].sum() / worth[label].sum())
        assert found["false_positives_per_hit"] == pytest.approx(weight[flagged & ~label].sum() / weight[caught].sum())
        # Orders are counted, whatever they weigh.
        assert found["alerts_per_day"] == pytest.approx(2000.0 * flagged.mean())
        assert found["capacity_used"] == pytest.approx(found["alerts_per_day"] / 50.0)


def test_what_the_rows_do_not_tell_is_absent() -> None:
    curve = ScoreCounts.from_arrays([0, 1], [0.2, 0.9]).curve()
    assert operating_metrics(curve, 0) == {}
    assert operating_metrics(curve, 1, capacity=3.0) == {"false_positives_per_hit": 0.0}


def test_the_short_log_has_what_decides_and_every_average_of_the_classes() -> None:
    curve = ScoreCounts.from_arrays([0, 0, 1, 1], [0.1, 0.6, 0.4, 0.9]).curve()
    full = evaluate(curve, 0.5)
    short = deciding(full)
    assert {"average_precision", "roc_auc", "brier", "log_loss", "precision", "recall", "f1", "f2", "mcc"} <= set(short)
    assert not {"iba", "kappa", "h_measure", "pr_gain_auc", "pr_auc_trapezoid", "g_mean"} & set(short)
    assert short.items() <= full.items()
    label, predicted = np.array([0, 1, 2, 2, 0]), np.array([0, 1, 2, 1, 0])
    p = np.eye(3)[predicted] * 0.7 + 0.1
    of_classes = evaluate_multiclass(MulticlassCounts.from_arrays(label, p, predicted), ["a", "b", "kappa"])
    kept = deciding(of_classes)
    assert {name for name in of_classes if name.startswith(("macro_", "weighted_"))} <= set(kept)
    assert "recall/kappa" in kept
    assert "kappa" not in kept
