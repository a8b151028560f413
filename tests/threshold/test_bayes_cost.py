import json
from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imbalance_spark.calibration import ledger_check
from imbalance_spark.metrics import Curve, ScoreCounts
from imbalance_spark.threshold import BayesCost, MinCost, sweep
from imbalance_spark.threshold.class_rules import CostMatrix

COST = st.floats(0.01, 1000)


def calibrated(levels: int = 400) -> Curve:
    """Scores whose share of positives is the score itself, to the last row."""
    score = (np.arange(levels) + 0.5) / levels
    rows = np.repeat(score, 2), np.column_stack([score, 1.0 - score]).ravel()
    return ScoreCounts.from_arrays([1, 0] * levels, rows[0], rows[1]).curve()


@given(COST, COST)
def test_the_threshold_is_fp_over_fp_plus_fn(fn: float, fp: float) -> None:
    assert BayesCost(fn=fn, fp=fp).closed_form == pytest.approx(fp / (fp + fn))


@given(fn=COST, fp=COST, tp=st.floats(-100, 0), tn=st.floats(-100, 0), p=st.floats(0, 1))
def test_it_flags_what_is_cheaper_to_flag(fn: float, fp: float, tp: float, tn: float, p: float) -> None:
    objective = BayesCost(fn=fn, fp=fp, tp=tp, tn=tn)
    flag, leave = p * tp + (1 - p) * fp, p * fn + (1 - p) * tn
    if flag != pytest.approx(leave, rel=1e-9, abs=1e-9):
        assert (p >= objective.closed_form) == (flag < leave)
        assert CostMatrix(costs=((tn, fn), (fp, tp))).decide([[1 - p, p]]) == [flag < leave]


@given(fn=st.sampled_from([1, 3, 10, 100]), fp=st.sampled_from([1, 2]))
def test_on_calibrated_scores_it_costs_what_the_search_costs(fn: float, fp: float) -> None:
    curve = calibrated()
    assert sweep(curve, BayesCost(fn=fn, fp=fp)).value == pytest.approx(sweep(curve, MinCost(fn=fn, fp=fp)).value)


def test_its_value_is_the_cost_of_all_four_cells() -> None:
    curve = ScoreCounts.from_arrays([1, 0, 1, 0], [0.9, 0.8, 0.1, 0.05]).curve()
    chosen = sweep(curve, BayesCost(fn=10, fp=2, tp=-3, tn=0.5))
    # t* = (2 - 0.5) / (2 - 0.5 + 10 + 3): one hit, one false alarm, one miss, one row rightly left alone.
    assert chosen.threshold == pytest.approx(1.5 / 14.5)
    assert chosen.value == -3 + 2 + 10 + 0.5
    assert chosen.support == 2


def test_the_choice_says_whether_the_scores_are_calibrated() -> None:
    objective, curve = BayesCost(fn=10, fp=1), calibrated()
    too_high = ScoreCounts.from_arrays([0] * 99 + [1] * 10, np.linspace(0.5, 0.99, 109)).curve()
    assert "were not checked" in str(sweep(curve, objective).warning)
    assert sweep(curve, objective, ledger=ledger_check(curve)).warning is None
    failed = sweep(too_high, objective, ledger=ledger_check(too_high))
    assert "are not calibrated in the large. The mean probability is" in str(failed.warning)
    assert json.loads(json.dumps(asdict(failed), allow_nan=False))["threshold"] == pytest.approx(1 / 11)


def test_a_search_needs_no_calibrated_scores() -> None:
    curve = ScoreCounts.from_arrays([0, 1, 0], [0.99, 0.98, 0.97]).curve()
    assert sweep(curve, MinCost(fn=10, fp=1), ledger=ledger_check(curve)).warning is None
