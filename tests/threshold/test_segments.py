import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from imbalance_spark.core.errors import ConfigError, DataContractError
from imbalance_spark.metrics import Curve, ScoreCounts
from imbalance_spark.threshold import BayesCost, MaxFBeta, MinCost, sweep, sweep_segments

SCORES = st.sampled_from([0.1, 0.3, 0.5, 0.7, 0.9])
ROWS = st.lists(st.tuples(st.sampled_from("abc"), st.booleans(), SCORES, st.integers(0, 50)), min_size=2, max_size=40)
COSTS = st.sampled_from([MinCost(fn=3, fp=1), MinCost(fn=1, fp=2), MinCost(fn="amount", fp=9), BayesCost(fn=3, fp=1)])

Rows = list[tuple[str, bool, float, int]]


def curve_of(rows: Rows, *, bins: bool = False) -> Curve:
    _, label, score, amount = zip(*rows, strict=True)
    return ScoreCounts.from_arrays(label, score, None, amount, **({"exact_limit": 0} if bins else {})).curve()


def by_segment(rows: Rows, *, bins: bool = False) -> dict[str, Curve]:
    segments = sorted({row[0] for row in rows})
    return {name: curve_of([row for row in rows if row[0] == name], bins=bins) for name in segments}


def has_both(rows: Rows) -> bool:
    return len({row[1] for row in rows}) == 2


@settings(max_examples=50, deadline=None)
@given(ROWS, COSTS, st.booleans())
def test_one_threshold_for_all_is_that_of_the_rows_together(rows: Rows, cost: MinCost, bins: bool) -> None:
    assume(has_both(rows))
    assert sweep_segments(by_segment(rows, bins=bins), cost).pooled == sweep(curve_of(rows, bins=bins), cost)


@settings(max_examples=50, deadline=None)
@given(ROWS, COSTS)
def test_segments_never_cost_more_than_one_threshold_for_all(rows: Rows, cost: MinCost) -> None:
    assume(has_both(rows))
    for least in (1, 3, 100):
        found = sweep_segments(by_segment(rows), cost, min_positives=least)
        assert found.total_cost <= found.pooled.value + 1e-9
        assert found.total_cost == pytest.approx(sum(choice.value for choice in found.by_segment.values()))


@settings(max_examples=50, deadline=None)
@given(ROWS)
def test_each_segment_gets_the_cheapest_of_its_own_thresholds(rows: Rows) -> None:
    assume(has_both(rows))
    found = sweep_segments(by_segment(rows), MinCost(fn=3, fp=1), min_positives=1)
    for name, chosen in found.by_segment.items():
        label, score = (np.array([row[i] for row in rows if row[0] == name]) for i in (1, 2))
        costs = [3 * (label & (score < cut)).sum() + (~label & (score >= cut)).sum() for cut in [*score, 2.0]]
        if name not in found.too_small:
            assert chosen.value == min(costs)


def test_a_segment_with_few_positives_takes_the_threshold_of_all() -> None:
    many = ScoreCounts.from_arrays([1] * 40 + [0] * 60, [0.8] * 40 + [0.2] * 60).curve()
    few = ScoreCounts.from_arrays([1] * 3 + [0] * 60, [0.1] * 3 + [0.9] * 60).curve()
    none = ScoreCounts.from_arrays([0] * 5, [0.9] * 5).curve()
    found = sweep_segments({"DE": many, "AT": few, "NL": none}, MinCost(fn=10, fp=1))
    assert found.too_small == ("AT", "NL")
    assert found.by_segment["AT"].threshold == found.pooled.threshold
    assert "3 positive and 60 negative rows" in str(found.by_segment["AT"].warning)
    assert found.by_segment["DE"].warning is None
    assert found.by_segment["NL"].value == 5.0  # all five are flagged at the pooled threshold


def test_what_does_not_add_up_is_refused() -> None:
    exact, binned = (ScoreCounts.from_arrays([1, 0], [0.9, 0.1], exact_limit=limit).curve() for limit in (10, 0))
    paid = ScoreCounts.from_arrays([1, 0], [0.9, 0.1], None, [1.0, 1.0]).curve()
    with pytest.raises(ConfigError, match="only costs add up"):
        sweep_segments({"a": exact}, MaxFBeta(1))
    with pytest.raises(ConfigError, match="different bins"):
        sweep_segments({"a": exact, "b": binned}, MinCost(fn=1, fp=1))
    with pytest.raises(ConfigError, match="only some segments have amounts"):
        sweep_segments({"a": exact, "b": paid}, MinCost(fn=1, fp=1))
    with pytest.raises(ConfigError, match="no segment"):
        sweep_segments({}, MinCost(fn=1, fp=1))
    with pytest.raises(ConfigError, match="min_positives must be 1"):
        sweep_segments({"a": exact}, MinCost(fn=1, fp=1), min_positives=0)
    with pytest.raises(DataContractError, match="no positive row"):
        sweep_segments({"a": ScoreCounts.from_arrays([0], [0.5]).curve()}, MinCost(fn=1, fp=1))
