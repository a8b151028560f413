"""A new threshold from counts: right for the objective, at the base rate, and on every fold."""

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest
from support.halves import Rows, counts_of_halves, together
from support.made_up_comparison import CLASSES, class_counts

from imbalance_spark.calibration import LogOddsCalibration, MulticlassTemperature, PriorCorrection
from imbalance_spark.comparison.retune import retune, retune_costs
from imbalance_spark.core.errors import ConfigError
from imbalance_spark.metrics.buckets import BucketCounts
from imbalance_spark.metrics.counts import ScoreCounts
from imbalance_spark.orders.labels import LabelEncoding
from imbalance_spark.orders.model_inputs import CategoryEncoding
from imbalance_spark.scoring.bundle import ModelBundle
from imbalance_spark.scoring.held_out_counts import HeldOutCounts, TargetCounts
from imbalance_spark.threshold.budget_objectives import AlertBudget
from imbalance_spark.threshold.class_rules import ClassThresholds, CostMatrix, choose_thresholds
from imbalance_spark.threshold.cost_objectives import BayesCost, MinCost
from imbalance_spark.threshold.order_costs import OrderRule
from imbalance_spark.threshold.rate_objectives import MaxFBeta, MaxRecall

CALIBRATOR = LogOddsCalibration(method="platt", a=1.3, b=1.3, c=0.4)


def _rows(seed: int, rows: int = 600) -> Rows:
    draw = np.random.default_rng(seed)
    score = np.round(draw.beta(1.0, 8.0, rows), 3)
    label = (draw.random(rows) < score).astype(np.int64)
    label[:2] = 0, 1
    return label, score


def _held_out(*folds: Rows) -> HeldOutCounts:
    """Of the two halves of validation, and of test."""
    return HeldOutCounts(targets=(counts_of_halves(*folds),))


def _bundle(threshold: float = 0.3) -> ModelBundle:
    return ModelBundle(
        strategy="undersample",
        model_bytes=b"booster",
        numeric=("x",),
        categorical=(),
        categories=CategoryEncoding(values={}),
        label=LabelEncoding(classes=("no", "yes")),
        correction=PriorCorrection.identity(),
        calibrator=CALIBRATOR,
        rules={"max_f1": ClassThresholds.of_threshold(threshold), "max_f2": ClassThresholds.of_threshold(0.1)},
        serve_objective="max_f1",
    )


def _cost(
    label: npt.NDArray[np.int64], probability: npt.NDArray[np.float64], threshold: float, fn: float, fp: float
) -> float:
    flagged = probability >= threshold
    return float(fn * np.sum(~flagged & (label == 1)) + fp * np.sum(flagged & (label == 0)))


@pytest.mark.parametrize("fn", [0.5, 25.0])
def test_a_cost_has_its_closed_form_and_f1_the_best_expected_one_of_all_rows(fn: float) -> None:
    held_out = _held_out(_rows(1), _rows(2), _rows(3))
    assert retune(_bundle(), held_out, MinCost(fn=fn, fp=1.0)).bundle.threshold == pytest.approx(1.0 / (1.0 + fn))
    p = np.sort(CALIBRATOR.apply(np.concatenate([_rows(1)[1], _rows(2)[1]])))[::-1]
    values = [2.0 * p[:k].sum() / (k + p.sum()) for k in range(len(p) + 1)]
    found = retune(_bundle(), held_out, MaxFBeta(beta=1.0)).bundle.threshold
    assert (p >= found).sum() == int(np.argmax(values))


def _with_amounts(*folds: Rows) -> HeldOutCounts:
    """Each order is worth 200 times its score."""
    label, score = together(*folds[:2])
    bucket = 2 * (np.arange(len(label)) % 32) + np.repeat([0, 1], [len(folds[0][0]), len(folds[1][0])])
    counts = [ScoreCounts.from_arrays(label, score, None, 200.0 * score) for label, score in folds]
    buckets = {"validation": BucketCounts.from_arrays(bucket, label, score, None, 200.0 * score)}
    target = TargetCounts(calibrate=counts[0], choose=counts[1], test=counts[2], buckets=buckets, segments={})
    return HeldOutCounts(targets=(target,))


def test_costs_by_amount_decide_by_order_where_the_model_knows_the_amount() -> None:
    held_out, asked = _with_amounts(_rows(1), _rows(2), _rows(3)), MinCost(fn="amount * 0.5", fp=4.0)
    by_threshold = retune(_bundle(), held_out, asked)
    assert by_threshold.bundle.order_rule is None
    assert any("does not know the column of amounts" in line for line in by_threshold.lines())
    before = MinCost(fn="amount", fp=4.0)
    rule = OrderRule(costs=before.costs, column="price", threshold=0.3)
    old = replace(_bundle(), rules={before.name: rule}, serve_objective=before.name)
    by_order = retune(old, held_out, asked)
    assert by_order.bundle.order_rule == OrderRule(
        costs=asked.costs, column="price", threshold=by_threshold.bundle.threshold
    )
    said = "Decided order by order before, order by order from now on; counted are the single thresholds alone."
    assert said in list(by_order.lines())


def test_each_fold_is_told_before_and_after_as_counted_by_hand() -> None:
    rows = [_rows(seed) for seed in (1, 2, 3)]
    found = retune(_bundle(0.3), _held_out(*rows), MinCost(fn=25.0, fp=1.0), orders_per_day=60.0)
    label, probability = rows[2][0], CALIBRATOR.apply(rows[2][1])
    for outcome, threshold in ((found.folds["test"].before, 0.3), (found.folds["test"].after, found.bundle.threshold)):
        flagged = probability >= threshold
        assert outcome.alerts == flagged.sum()
        assert outcome.alerts_per_day == pytest.approx(flagged.sum() / 10.0)  # 600 rows are 10 days of 60 orders
        assert outcome.precision == pytest.approx(label[flagged].mean())
        assert outcome.recall == pytest.approx(label[flagged].sum() / label.sum())
        assert outcome.cost == pytest.approx(_cost(label, probability, threshold, 25.0, 1.0))
    validation = np.concatenate([rows[0][1], rows[1][1]])
    assert found.folds["validation"].before.alerts == (CALIBRATOR.apply(validation) >= 0.3).sum()


def test_only_the_threshold_of_the_bundle_changes() -> None:
    old = _bundle()
    new = retune(old, _held_out(_rows(1), _rows(2), _rows(3)), MaxFBeta(beta=2.0)).bundle
    assert new.serve_objective == "max_f2"
    assert list(new.thresholds) == ["max_f2"]
    assert new.model_bytes == old.model_bytes
    assert (new.correction, new.calibrator, new.categories) == (old.correction, old.calibrator, old.categories)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 1000))
def test_at_the_rate_of_all_of_validation_served_probabilities_do_not_move(seed: int) -> None:
    # The halves have rates of their own, up to a third apart.
    held_out, objective = _held_out(_rows(seed), _rows(seed + 1), _rows(seed + 2)), BayesCost(fn=25.0, fp=1.0)
    rate = held_out.target.validation.curve().prevalence()
    plain, moved = (retune(_bundle(), held_out, objective, base_rate=given).bundle for given in (None, rate))
    score = held_out.target.validation.score
    assert moved.base_rate_shift.logit_shift == pytest.approx(0.0, abs=1e-12)
    np.testing.assert_allclose(moved.probabilities(score), plain.probabilities(score))
    assert moved.threshold == plain.threshold


def test_at_a_rate_that_both_halves_have_the_same_rows_are_flagged() -> None:
    rows, objective = _rows(1), MinCost(fn=25.0, fp=1.0)
    held_out = _held_out(rows, rows, _rows(3))
    plain, moved = (retune(_bundle(), held_out, objective, base_rate=given) for given in (None, rows[0].mean()))
    flagged = [CALIBRATOR.apply(rows[1]) >= found.change.after.threshold for found in (plain, moved)]
    np.testing.assert_array_equal(*flagged)


def test_the_rate_of_validation_is_reported_with_its_interval() -> None:
    rows = [_rows(seed) for seed in (1, 2, 3)]
    found = retune(_bundle(), _held_out(*rows), MinCost(fn=25.0, fp=1.0), base_rate=0.01)
    positives = int(rows[0][0].sum() + rows[1][0].sum())
    wilson = binomtest(positives, 1200).proportion_ci(0.95, method="wilson")
    assert found.to_dict()["base_rate"] == {
        "new": 0.01,
        "validation": {
            "rate": positives / 1200,
            "low": pytest.approx(wilson.low, rel=1e-4),
            "high": pytest.approx(wilson.high, rel=1e-4),
            "positives": positives,
        },
    }
    said = (
        f"The base rate of validation is {positives / 1200:.3g} ({wilson.low:.3g} to {wilson.high:.3g}, 95 %, "
        f"{positives} positives)."
    )
    assert said in list(found.lines())
    plain = retune(_bundle(), _held_out(*rows), MinCost(fn=25.0, fp=1.0))
    assert plain.to_dict()["base_rate"] is None
    assert not any("base rate" in line for line in plain.lines())


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 1000), base_rate=st.floats(0.001, 0.5))
def test_the_served_decisions_at_a_moved_base_rate_are_the_chosen_ones(seed: int, base_rate: float) -> None:
    held_out = _held_out(_rows(seed + 1), _rows(seed), _rows(seed + 2))
    found = retune(_bundle(), held_out, MinCost(fn=25.0, fp=1.0), base_rate=base_rate)
    score = held_out.target.choose.score
    probability = found.bundle.base_rate_shift.apply(CALIBRATOR.apply(score))
    served = probability >= found.bundle.threshold
    np.testing.assert_array_equal(served, CALIBRATOR.apply(score) >= found.change.after.threshold)


def test_a_bundle_that_was_moved_is_retuned_from_the_rate_of_the_counts() -> None:
    held_out, objective = _held_out(_rows(1), _rows(2), _rows(3)), MinCost(fn=25.0, fp=1.0)
    moved = retune(_bundle(), held_out, objective, base_rate=0.01)
    again = retune(moved.bundle, held_out, objective)
    assert again.change.before.threshold == pytest.approx(moved.change.after.threshold)
    assert again.bundle == retune(_bundle(), held_out, objective).bundle


def test_at_another_base_rate_rows_are_flagged_and_counted_as_if_reweighted_to_it() -> None:
    halves, new_rate, fn = (_rows(1), _rows(2)), 0.01, 25.0
    found = retune(_bundle(), _held_out(*halves, _rows(3)), MinCost(fn=fn, fp=1.0), base_rate=new_rate).change.after
    # Oracle: each class weighed so that positives make up the new rate of the same total.
    label, score = together(*halves)
    rate, probability = label.mean(), CALIBRATOR.apply(score)
    weight = np.where(label == 1, new_rate / rate, (1 - new_rate) / (1 - rate))
    odds = probability / (1 - probability) * (new_rate / (1 - new_rate)) / (rate / (1 - rate))
    flagged = odds >= 1.0 / fn
    np.testing.assert_array_equal(probability >= found.threshold, flagged)
    assert found.cost == pytest.approx(np.sum(weight * np.where(label == 1, fn * ~flagged, flagged)))
    assert found.alerts == pytest.approx(np.sum(weight * flagged))


def test_a_threshold_that_costs_more_on_the_rows_shown_is_explained() -> None:
    label, score = _rows(1)
    lucky = (score > np.quantile(score, 0.9)).astype(np.int64)  # what probabilities do not promise
    held_out = _held_out((lucky, score), (lucky, score), (label, score))
    best = float(CALIBRATOR.apply(score[lucky == 1].min()))
    found = retune(_bundle(best), held_out, MinCost(fn=25.0, fp=1.0))
    assert any("costs more on validation than the old one" in line for line in found.lines())
    assert not any("costs more" in line for line in retune(_bundle(0.9), held_out, MinCost(fn=25.0, fp=1.0)).lines())


def test_an_alert_budget_is_kept_in_orders_per_day() -> None:
    label, score = _rows(2)
    found = retune(
        _bundle(), _held_out(_rows(1), (label, score), _rows(3)), AlertBudget(per_day=5.0), orders_per_day=100.0
    )
    alerts = int((CALIBRATOR.apply(score) >= found.bundle.threshold).sum())
    assert 0 < alerts <= 5 * 6  # 600 rows are 6 days


def test_an_alert_budget_without_orders_per_day_is_refused() -> None:
    with pytest.raises(ConfigError, match="days is unknown"):
        retune(_bundle(), _held_out(_rows(1), _rows(2), _rows(3)), AlertBudget(per_day=5.0))


def test_a_constraint_out_of_reach_is_told() -> None:
    label, score = _rows(2)
    label[np.argmax(score)] = 0  # the highest score is a negative: no cut-off has precision 1
    highest = score == score.max()
    label[highest] = 0
    found = retune(_bundle(), _held_out(_rows(1), (label, score), _rows(3)), MaxRecall(precision=1.0))
    assert not found.change.chosen.reachable
    assert any("out of reach" in line for line in found.lines())


CHOSEN = choose_thresholds(MaxFBeta(beta=1.0), [target.halved for target in class_counts(0.5)[1].targets]).rule


def class_bundle(serve: str = "max_f1") -> ModelBundle:
    rules = {"argmax": CostMatrix.argmax(3), "max_f1": CHOSEN}
    return ModelBundle(
        strategy="none",
        model_bytes=b"booster",
        numeric=("x",),
        categorical=(),
        categories=CategoryEncoding(values={}),
        label=LabelEncoding(classes=CLASSES),
        label_column="outcome",
        correction=PriorCorrection.identity(3),
        calibrator=MulticlassTemperature(temperature=1.0),
        rules=rules if serve in rules else {"argmax": rules["argmax"]},
        serve_objective=serve if serve in rules else "argmax",
    )


def test_the_threshold_of_one_class_moves_to_its_closed_form_and_no_other_does() -> None:
    folds, counts = class_counts(0.5)
    label, p, _ = folds["validation"]
    found = retune(class_bundle(), counts, MinCost(fn=40.0, fp=1.0), target="fraud")
    rule = found.bundle.rules["min_cost_fn_40_fp_1 of fraud"]
    assert found.rule == "min_cost_fn_40_fp_1 of fraud"
    assert rule.thresholds[:2] == CHOSEN.thresholds[:2]
    assert rule.thresholds[2] == pytest.approx(1 / 41)
    is_fraud, flagged = label == 2, p[:, 2] >= 1 / 41
    cost = 40.0 * np.sum(is_fraud & ~flagged) + np.sum(~is_fraud & flagged)
    # Counts of bins: within one bin of the threshold.
    assert found.change.after.cost == pytest.approx(cost, rel=0.02)
    assert set(found.bundle.rules) == {"argmax", "max_f1", found.rule}
    said = " ".join(found.lines())
    assert "Strategy none: threshold of fraud" in said
    assert "reaches several thresholds gets one label" in said


def test_a_rule_of_costs_keeps_its_thresholds_for_the_class_that_moves() -> None:
    found = retune(class_bundle("argmax"), class_counts(0.5)[1], MaxFBeta(beta=2.0), target="late")
    assert found.bundle.rules[found.rule].thresholds[2] == CHOSEN.thresholds[2]


@pytest.mark.parametrize(("bundle", "settings", "said"), [
    (class_bundle(), {"target": "frod"}, "Did you mean 'fraud'"),
    (class_bundle(), {}, "Name the class whose threshold is to move"),
    (class_bundle(), {"target": "ok"}, "decided where no other class reaches its threshold"),
    (class_bundle(), {"target": "fraud", "base_rate": 0.1}, "cannot move alone"),
    (class_bundle("costs"), {"target": "fraud"}, "has no thresholds"),
    (_bundle(), {"target": "yes"}, "the model knows two classes"),
])  # fmt: skip
def test_what_cannot_be_retuned_is_refused(bundle: ModelBundle, settings: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        retune(bundle, class_counts(0.5)[1], MaxFBeta(beta=1.0), **settings)


def test_new_costs_decide_and_what_they_change_is_said_not_to_be_known() -> None:
    costs = CostMatrix(costs=((0, 5, 90), (1, 0, 90), (8, 8, 0)))
    found = retune_costs(class_bundle(), costs)
    assert (found.rule, found.bundle.rules["cost_matrix"]) == ("cost_matrix", costs)
    assert "cannot be computed from them" in " ".join(found.lines())
    assert found.to_dict()["costs"]["fraud"] == {"ok": 90, "late": 90, "fraud": 0}
    with pytest.raises(ConfigError, match="two classes"):
        retune_costs(_bundle(), costs)
