"""Costs by amount: totals and decisions order by order, against sums and choices over single rows."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imbalance_spark.core.errors import ConfigError
from imbalance_spark.metrics import FLAG_NOBODY, ScoreCounts
from imbalance_spark.metrics.bucket_draws import BucketedCurve
from imbalance_spark.metrics.buckets import BUCKETS, BucketCounts
from imbalance_spark.threshold import BayesCost, MinCost, objective_from_config
from imbalance_spark.threshold.class_rules import rule_from_dict, rule_to_dict
from imbalance_spark.threshold.decisions import decisions_of
from imbalance_spark.threshold.order_costs import OrderRule

COSTS = MinCost(fn="amount * 0.8 + 15", fp="5 + amount / 10", tp=2, tn="-amount * 0.01")


def cost_of(objective: MinCost, label: np.ndarray, flagged: np.ndarray, amount: np.ndarray) -> np.ndarray:
    """Of each row, by the text of the setting."""
    cell = np.select([label & ~flagged, ~label & flagged, label & flagged], ["fn", "fp", "tp"], "tn")
    return np.array([eval(str(getattr(objective, of)), {"amount": one}) for of, one in zip(cell, amount, strict=True)])


def rows(seed: int, size: int = 60) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    draw = np.random.default_rng(seed)
    p = draw.beta(0.5, 4.0, size)
    return draw.random(size) < p, p, draw.gamma(1.0, 60.0, size), draw.choice([0.5, 1.0, 3.0], size)


def rule_of(objective: MinCost, threshold: float = 0.3) -> OrderRule:
    assert objective.by_order is not None
    return OrderRule(costs=objective.by_order, column="price", threshold=threshold)


@pytest.mark.parametrize("objective", [COSTS, MinCost(fn="amount", fp=5), MinCost(fn=10, fp=1, tn=-1, tp=3)])
def test_the_cost_at_each_threshold_is_that_of_the_rows(objective: MinCost) -> None:
    label, p, amount, weight = rows(1)
    curve = ScoreCounts.from_arrays(label, p, weight, amount).curve()
    for cut, threshold in enumerate(curve.threshold):
        wanted = float((weight * cost_of(objective, label, p >= threshold, amount)).sum())
        assert objective.values(curve)[cut] == pytest.approx(wanted, rel=1e-9)


@settings(max_examples=30)
@given(st.integers(0, 1000))
def test_each_order_is_decided_by_the_lower_expected_cost(seed: int) -> None:
    _, p, amount, _ = rows(seed, 20)
    found, yes = rule_of(COSTS).decide(p, amount), np.ones(len(p), dtype=bool)

    def expected_of(flagged: bool) -> np.ndarray:
        decision = yes == flagged
        return p * cost_of(COSTS, yes, decision, amount) + (1 - p) * cost_of(COSTS, ~yes, decision, amount)

    expected = {flagged: expected_of(flagged) for flagged in (False, True)}
    assert found.flagged.tolist() == (expected[True] < expected[False]).astype(int).tolist()
    np.testing.assert_allclose(found.expected_cost, np.minimum(expected[True], expected[False]), rtol=1e-12)
    # The order's own threshold says the same, but for a tie in the last digit.
    assert found.flagged.tolist() == (p > found.threshold).astype(int).tolist()


def test_deciding_by_order_costs_no_more_than_any_threshold_in_expectation() -> None:
    _, p, amount, _ = rows(3, 400)
    by_order = rule_of(COSTS).decide(p, amount).expected_cost.sum()
    rule = rule_of(COSTS)
    rules = [replace(rule, threshold=threshold) for threshold in (0.0, *p, FLAG_NOBODY)]
    by_threshold = [one.decide(p, amount, by_threshold=True).expected_cost.sum() for one in rules]
    assert by_order < min(by_threshold)


def test_an_order_without_an_amount_is_decided_by_the_threshold() -> None:
    found = rule_of(MinCost(fn="amount", fp=5), 0.3).decide(np.array([0.2, 0.4, 0.4]), np.array([np.nan, np.inf, 1.0]))
    assert (found.flagged.tolist(), found.threshold.tolist()[:2]) == ([0, 1, 0], [0.3, 0.3])
    assert np.isnan(found.expected_cost).tolist() == [True, True, False]


def test_an_order_that_costs_nothing_when_missed_is_never_flagged() -> None:
    found = rule_of(MinCost(fn="amount - 10", fp=1)).decide(np.array([1.0, 1.0]), np.array([4.0, 40.0]))
    assert (found.flagged.tolist(), found.threshold.tolist()) == ([0, 1], [FLAG_NOBODY, pytest.approx(1 / 31)])


def test_a_rule_is_written_and_read_back() -> None:
    rule = rule_of(COSTS)
    assert rule_from_dict(json.loads(json.dumps(rule_to_dict(rule)))) == rule


def test_constant_costs_of_correct_decisions_move_the_threshold_as_in_bayes_cost() -> None:
    settings = {"fn": 10.0, "fp": 1.0, "tp": 2.0, "tn": -1.0}
    assert MinCost(**settings).bayes_threshold == BayesCost(**settings).closed_form == pytest.approx(0.2)
    assert MinCost(**settings).by_order is None


def test_a_single_threshold_is_asked_for_in_the_config() -> None:
    asked = objective_from_config({"name": "min_cost", "fn": "amount", "fp": 5, "single_threshold": True})
    assert asked.by_order is None
    assert asked.name == "min_cost_fn_amount_fp_5_single_threshold"
    with pytest.raises(ConfigError, match="single_threshold must be true or false, got 1"):
        MinCost(fn="amount", fp=5, single_threshold=1)


def test_an_error_that_costs_less_than_the_correct_decision_is_refused() -> None:
    with pytest.raises(ConfigError, match="must not cost less"):
        MinCost(fn=10, fp=1, tp=11)


def test_costs_by_amount_need_a_column_of_amounts_before_anything_runs() -> None:
    name = "min_cost_fn_amount_fp_5"
    with pytest.raises(ConfigError, match=f"'{name}'.* read the order's amount. Name its column as orders.amount"):
        decisions_of([{"name": "min_cost", "fn": "amount", "fp": 5}], name, has_amount=False)


def test_names_of_costs_by_amount_tell_the_line_and_suit_mlflow() -> None:
    assert MinCost(fn="15 + amount*0.8", fp="amount - 3").name == "min_cost_fn_0.8_amount_plus_15_fp_amount_minus_3"
    assert MinCost(fn="2 * 5", fp=1).name == "min_cost_fn_10_fp_1"


def test_one_more_error_costs_what_the_class_of_larger_costs_loses() -> None:
    label, p, amount, weight = rows(5, 30_000)
    bucket = np.random.default_rng(5).integers(0, BUCKETS, len(label))
    weighted = ScoreCounts.from_arrays(label, p, weight, amount)
    sample = BucketedCurve(weighted.curve(), BucketCounts.from_arrays(bucket, label, p, weight, amount))
    # Rows are independent: of errors of sizes s the size of one is sum s^2 / sum s.
    for objective, its in (
        (MinCost(fn=10, fp=1), 10.0 * weight[label]),
        (MinCost(fn=1, fp=10, tn=-2), 12.0 * weight[~label]),
        (COSTS, (weight * (amount * 0.8 + 13.0))[label]),
    ):
        wanted = float((its**2).sum() / its.sum())
        assert objective.costs.of_one_error(sample) == pytest.approx(wanted, rel=0.5)
