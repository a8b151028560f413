import json
import math
from dataclasses import asdict
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score, fbeta_score, matthews_corrcoef

from imbalance_spark.core.errors import ConfigError, DataContractError
from imbalance_spark.metrics import FLAG_NOBODY, ScoreCounts
from imbalance_spark.threshold import (
    OBJECTIVES,
    AlertBudget,
    MaxFBeta,
    MaxKappa,
    MaxMCC,
    MaxPrecision,
    MaxRecall,
    MinCost,
    Objective,
    Youden,
    objective_from_config,
    sweep,
)

Rows = list[tuple[bool, float]]
SCORES = st.sampled_from([0.0, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9, 1.0])
ROWS = st.lists(st.tuples(st.booleans(), SCORES), min_size=2, max_size=30)
OBJECTIVE = st.sampled_from(
    [
        *(MaxFBeta(1), MaxFBeta(2), MaxFBeta(0.5), MaxMCC(), MaxKappa(), Youden(), AlertBudget(per_day=2, days=2.5)),
        *(MaxRecall(precision=0.5), MaxRecall(precision=0.9), MaxPrecision(recall=0.5), MaxPrecision(recall=1)),
        *(MinCost(fn=10, fp=1), MinCost(fn=1, fp=10), MinCost(fn=0, fp=1), MinCost(fn=1, fp=0)),
    ]
)


def columns(rows: Rows) -> tuple[np.ndarray, np.ndarray]:
    label, score = (np.array(column) for column in zip(*rows, strict=True))
    assume(0 < label.sum() < len(label))
    return label, score


def brute(label: np.ndarray, score: np.ndarray, objective: Objective) -> tuple[float, bool]:
    """The threshold that plain fractions choose, and whether it keeps the constraint."""
    best: tuple[object, ...] | None = None
    for threshold in [FLAG_NOBODY, *sorted(set(score.tolist()), reverse=True)]:
        flagged = score >= threshold
        value, closeness = value_of(label, flagged, objective)
        entry = (closeness is None, value if closeness is None else closeness, threshold)
        fills = isinstance(objective, AlertBudget)
        if best is None or entry[:2] > best[:2] or (fills and entry[:2] == best[:2]):
            best = entry
    assert best is not None
    return float(best[2]), bool(best[0])  # type: ignore[arg-type]


def value_of(label: np.ndarray, flagged: np.ndarray, objective: Objective) -> tuple[object, object]:
    """What to maximize, and None or, where the constraint is broken, how close it comes."""
    tp, fp = int((label & flagged).sum()), int((~label & flagged).sum())
    p, n = int(label.sum()), int((~label).sum())
    precision, recall = Fraction(tp, max(tp + fp, 1)), Fraction(tp, p)
    match objective:
        case MaxFBeta(beta=beta):
            square = Fraction(beta) ** 2
            return (1 + square) * tp / (tp + fp + square * p), None
        case MaxRecall(precision=least):
            return recall, None if precision >= Fraction(str(least)) else precision
        case MaxPrecision(recall=least):
            return precision, None if recall >= Fraction(str(least)) else precision
        case AlertBudget(per_day=per_day, days=days):
            return recall, None if tp + fp <= per_day * days else recall
        case MinCost(fn=fn, fp=cost):
            return -(Fraction(fn) * (p - tp) + Fraction(cost) * fp), None
        case Youden():
            return recall - Fraction(fp, n), None
        case MaxKappa():
            observed = Fraction(tp + n - fp, p + n)
            by_chance = Fraction((tp + fp) * p + (p + n - tp - fp) * n, (p + n) ** 2)
            return (observed - by_chance) / (1 - by_chance), None
        case _:
            square = Fraction((tp * (n - fp) - fp * (p - tp)) ** 2, max((tp + fp) * (p + n - tp - fp), 1))
            return (square if tp * (n - fp) >= fp * (p - tp) else -square), None


@settings(max_examples=100, deadline=None)
@given(ROWS, OBJECTIVE)
def test_the_sweep_finds_what_trying_every_threshold_finds(rows: Rows, objective: Objective) -> None:
    label, score = columns(rows)
    chosen = sweep(ScoreCounts.from_arrays(label, score).curve(), objective)
    assert (chosen.threshold, chosen.reachable) == brute(label, score, objective)
    assert chosen.support == (score >= chosen.threshold).sum()
    assert chosen.matrix.flagged == chosen.support


@settings(max_examples=60, deadline=None)
@given(ROWS, OBJECTIVE, st.data())
def test_a_weight_is_as_many_rows_and_a_weight_of_0_is_none(
    rows: Rows, objective: Objective, data: st.DataObject
) -> None:
    times = np.array(data.draw(st.lists(st.integers(0, 3), min_size=len(rows), max_size=len(rows))))
    label, score = (np.array(column) for column in zip(*rows, strict=True))
    repeated = label.repeat(times), score.repeat(times)
    assume(0 < repeated[0].sum() < len(repeated[0]))
    weighted = sweep(ScoreCounts.from_arrays(label, score, times).curve(), objective)
    plain = sweep(ScoreCounts.from_arrays(*repeated).curve(), objective)
    assert (weighted.value, weighted.reachable) == (pytest.approx(plain.value), plain.reachable)
    assert weighted.matrix == plain.matrix


@settings(max_examples=60, deadline=None)
@given(ROWS, st.lists(st.integers(0, 1000), min_size=30, max_size=30), st.sampled_from([0, 1, 50, 700]))
def test_amounts_are_summed_over_the_missed_rows(rows: Rows, amounts: list[int], fp: int) -> None:
    label, score = columns(rows)
    amount = np.array(amounts[: len(rows)])
    cuts = [FLAG_NOBODY, *sorted(set(score.tolist()), reverse=True)]
    costs = [amount[label & (score < cut)].sum() + fp * (~label & (score >= cut)).sum() for cut in cuts]
    chosen = sweep(ScoreCounts.from_arrays(label, score, None, amount).curve(), MinCost(fn="amount", fp=fp))
    assert (chosen.value, chosen.threshold) == (min(costs), cuts[int(np.argmin(costs))])


@settings(max_examples=60, deadline=None)
@given(ROWS, OBJECTIVE)
def test_a_rising_map_of_the_scores_flags_the_same_rows(rows: Rows, objective: Objective) -> None:
    label, score = columns(rows)
    counts = ScoreCounts.from_arrays(label, score)
    plain, mapped = sweep(counts.curve(), objective), sweep(counts.curve(through=np.sqrt), objective)
    assert (plain.value, plain.matrix) == (mapped.value, mapped.matrix)


def test_scores_that_a_map_makes_equal_are_flagged_together() -> None:
    # Of 0.9 and 0.8 alone, a threshold would flag only the positive; a map to 0.5 leaves no such threshold.
    curve = ScoreCounts.from_arrays([1, 0, 0], [0.9, 0.8, 0.1]).curve(through=lambda score: np.minimum(score, 0.5))
    chosen = sweep(curve, MaxFBeta(1))
    assert (chosen.threshold, chosen.matrix.tp, chosen.matrix.fp) == (0.5, 1, 1)


@settings(max_examples=60, deadline=None)
@given(ROWS, st.floats(0.01, 1), st.floats(0.01, 1))
def test_a_stricter_precision_finds_no_more(rows: Rows, one: float, other: float) -> None:
    curve = ScoreCounts.from_arrays(*columns(rows)).curve()
    loose, strict = (sweep(curve, MaxRecall(precision=precision)) for precision in sorted((one, other)))
    assume(strict.reachable)
    assert loose.reachable
    assert loose.value >= strict.value


def test_sums_of_weights_that_miss_a_target_by_rounding_reach_it() -> None:
    # In doubles (0.7 + 0.7 + 0.7) / (0.7 + 0.7 + 0.7 + 0.7) is below 0.75.
    curve = ScoreCounts.from_arrays([1, 1, 0], [0.9, 0.8, 0.7]).curve()
    assert sweep(curve, AlertBudget(per_day=0.1 + 0.2 - 1e-16, days=20 / 3)).threshold == 0.8
    quarters = ScoreCounts.from_arrays([1, 1, 0, 1], [0.9, 0.8, 0.7, 0.7], [0.7] * 4).curve()
    assert sweep(quarters, MaxRecall(precision=0.75)).value == 1.0


def test_a_precision_reached_with_few_rows_is_said() -> None:
    curve = ScoreCounts.from_arrays([1] * 29 + [0] * 71, np.linspace(1, 0, 100)).curve()
    chosen = sweep(curve, MaxRecall(precision=0.99))
    assert chosen.reachable
    assert "29 flagged rows, fewer than min_support 30" in str(chosen.warning)
    assert sweep(curve, MaxRecall(precision=0.99, min_support=29)).warning is None


@settings(max_examples=60, deadline=None)
@given(ROWS, st.sampled_from([1, 3, 10, 0.1]), st.sampled_from([1, 7, 0.3]), st.floats(1e-3, 1e6))
def test_costs_times_a_constant_choose_the_same_threshold(rows: Rows, fn: float, fp: float, constant: float) -> None:
    curve = ScoreCounts.from_arrays(*columns(rows)).curve()
    scaled = MinCost(fn=fn * constant, fp=fp * constant)
    assert sweep(curve, MinCost(fn=fn, fp=fp)).threshold == sweep(curve, scaled).threshold


@settings(max_examples=60, deadline=None)
@given(ROWS)
def test_unit_costs_choose_the_highest_accuracy(rows: Rows) -> None:
    label, score = columns(rows)
    chosen = sweep(ScoreCounts.from_arrays(label, score).curve(), MinCost(fn=1, fp=1))
    accuracies = [np.mean((score >= cut) == label) for cut in [*score, FLAG_NOBODY]]
    assert chosen.matrix.accuracy == pytest.approx(max(accuracies))


@settings(max_examples=50, deadline=None)
@given(ROWS)
def test_the_value_is_that_of_scikit_learn_at_the_threshold(rows: Rows) -> None:
    label, score = columns(rows)
    curve = ScoreCounts.from_arrays(label, score).curve()
    f2, mcc, kappa = (sweep(curve, objective) for objective in (MaxFBeta(2), MaxMCC(), MaxKappa()))
    assert f2.value == pytest.approx(fbeta_score(label, score >= f2.threshold, beta=2))
    assert mcc.value == pytest.approx(matthews_corrcoef(label, score >= mcc.threshold), abs=1e-12)
    assert kappa.value == pytest.approx(cohen_kappa_score(label, score >= kappa.threshold), abs=1e-12)


def test_a_cut_off_of_bins_flags_the_same_rows_when_it_is_applied_to_scores() -> None:
    draw = np.random.default_rng(7)
    score = draw.beta(1, 30, 20_000)
    label = draw.random(20_000) < score
    chosen = sweep(ScoreCounts.from_arrays(label, score, exact_limit=0).curve(), MinCost(fn=10, fp=1))
    assert chosen.support == (score >= chosen.threshold).sum()
    assert chosen.matrix.tp == (label & (score >= chosen.threshold)).sum()
    # Scores are calibrated: the best threshold is near fp / (fp + fn) (Elkan, 2001).
    assert chosen.threshold == pytest.approx(1 / 11, rel=0.3)


def test_amounts_decide_which_positives_are_worth_an_alarm() -> None:
    label, score, amount = [1, 0, 0, 1], [0.9, 0.8, 0.7, 0.6], [5.0, 1.0, 1.0, 100.0]
    curve = ScoreCounts.from_arrays(label, score, None, amount).curve()
    assert sweep(curve, MinCost(fn="amount", fp=40)).threshold == 0.6
    assert sweep(curve, MinCost(fn="amount", fp=60)).threshold == 0.9
    assert sweep(curve, MinCost(fn="amount", fp=60)).value == 100.0


def test_amounts_that_were_not_counted_are_asked_for() -> None:
    with pytest.raises(ConfigError, match="have no amounts"):
        sweep(ScoreCounts.from_arrays([1, 0], [0.9, 0.1]).curve(), MinCost(fn="amount", fp=1))


def test_an_unreachable_target_is_a_result_that_names_the_nearest_point() -> None:
    chosen = sweep(ScoreCounts.from_arrays([0, 1, 1, 0], [0.9, 0.8, 0.7, 0.6]).curve(), MaxRecall(precision=0.9))
    assert not chosen.reachable
    assert chosen.threshold == 0.7
    assert chosen.sentence == (
        "max_recall_at_precision_0.9 is out of reach: the nearest threshold 0.7 flags 3 of 4 rows "
        "with precision 0.6667 and recall 1."
    )


def test_a_useless_score_flags_nobody_and_the_choice_is_plain_json() -> None:
    chosen = sweep(ScoreCounts.from_arrays([0, 1], [0.9, 0.8]).curve(), MinCost(fn=1, fp=5))
    assert chosen.threshold == FLAG_NOBODY > 1.0
    assert (chosen.support, chosen.value) == (0, 1.0)
    assert json.loads(json.dumps(asdict(chosen), allow_nan=False))["threshold"] == FLAG_NOBODY


def test_equal_values_go_to_the_highest_threshold() -> None:
    curve = ScoreCounts.from_arrays([1, 0, 0, 1], [0.9, 0.8, 0.7, 0.6]).curve()
    assert sweep(curve, MinCost(fn=2, fp=1)).threshold == 0.9


@pytest.mark.parametrize("label", [0, 1])
def test_one_class_gives_nothing_to_choose_on(label: int) -> None:
    with pytest.raises(DataContractError, match=r"no (positive|negative) row to choose on"):
        sweep(ScoreCounts.from_arrays([label] * 3, [0.1, 0.2, 0.3]).curve(), MaxFBeta(1))


NAMED = {
    "max_f1": {"name": "max_f_beta", "beta": 1},
    "max_f0.5": {"name": "max_f_beta", "beta": 0.5},
    "max_recall_at_precision_0.9": {"name": "max_recall", "precision": 0.9},
    "max_precision_at_recall_0.8": {"name": "max_precision", "recall": 0.8},
    "min_cost_fn_10_fp_1": {"name": "min_cost", "fn": 10, "fp": 1},
    "min_cost_fn_amount_fp_2.5": {"name": "min_cost", "fn": "amount", "fp": 2.5},
    "bayes_cost_fn_10_fp_1": {"name": "bayes_cost", "fn": 10, "fp": 1},
    "bayes_cost_fn_10_fp_1_tp_-2.5": {"name": "bayes_cost", "fn": 10, "fp": 1, "tp": -2.5},
    "alert_budget_100_per_day": {"name": "alert_budget", "per_day": 100, "days": 30},
    "alert_budget_50_per_day": {"name": "alert_budget", "per_day": 50},
    "top_entities_20_per_day": {"name": "top_entities", "per_day": 20, "days": 30, "orders_per_entity": 1.5},
    "max_mcc": "max_mcc",
    "max_kappa": "max_kappa",
    "youden": {"name": "youden"},
}


@pytest.mark.parametrize("name", NAMED)
def test_objectives_come_from_config_and_carry_their_settings_in_the_name(name: str) -> None:
    assert objective_from_config(NAMED[name]).name == name


def test_every_objective_is_known_to_the_config() -> None:
    assert set(OBJECTIVES) == {entry if isinstance(entry, str) else entry["name"] for entry in NAMED.values()}


BAD = {
    "above 0": [{"name": "max_f_beta", "beta": beta} for beta in (0, -1, math.nan)],
    "got 'x'": [{"name": "max_f_beta", "beta": "x"}],
    "reads ['x']": [{"name": "min_cost", "fn": "x", "fp": 1}],
    "at most 1": [{"name": "max_recall", "precision": 1.1}, {"name": "max_precision", "recall": 0}],
    "both 0": [{"name": "min_cost", "fn": 0, "fp": 0}],
    "0 or more": [{"name": "min_cost", "fn": -1, "fp": 1}, {"name": "min_cost", "fn": 1, "fp": math.inf}],
    "per_day must": [{"name": "alert_budget", "per_day": 0, "days": 1}],
    "orders_per_entity must": [{"name": "top_entities", "per_day": 1, "orders_per_entity": 0}],
    "days must": [{"name": "alert_budget", "per_day": 1, "days": True}],
    "Did you mean 'max_mcc'": ["max_mc"],
    "Did you mean 'precision'": [{"name": "max_recall", "precisoin": 0.9}],
    "min_support must": [{"name": "max_recall", "precision": 0.9, "min_support": -1}],
    "must cost more": [{"name": "bayes_cost", "fn": 0, "fp": 1}, {"name": "bayes_cost", "fn": 1, "fp": 1, "tn": 1}],
    "bayes_cost.tp must be a number, got 'x'": [{"name": "bayes_cost", "fn": 1, "fp": 1, "tp": "x"}],
    "needs": [{"name": "min_cost", "fn": 1}],
    "None is unknown": [{"beta": 1}],
}


@pytest.mark.parametrize(("text", "config"), [(text, config) for text, configs in BAD.items() for config in configs])
def test_an_objective_that_cannot_be_is_refused_in_words(text: str, config: object) -> None:
    with pytest.raises(ConfigError) as error:
        objective_from_config(config)  # type: ignore[arg-type]
    assert text in str(error.value)


def test_a_threshold_that_flags_nobody_has_no_precision_in_words_either() -> None:
    curve = ScoreCounts.from_arrays([1, 0, 0], [0.4, 0.9, 0.8]).curve()
    chosen = sweep(curve, MinCost(fn=1, fp=10))
    assert chosen.sentence.endswith("flags 0 of 3 rows with no precision and recall 0.")
    assert "flags nobody" in str(chosen.warning)
