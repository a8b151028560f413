"""Coarse counts by bucket or segment, and how they are spread over fine counts."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imbalance_spark.core.errors import ConfigError, DataContractError
from imbalance_spark.metrics.buckets import BUCKETS, COARSE_GRID, BucketCounts, FinePattern
from imbalance_spark.metrics.counts import ScoreCounts

SUMS = ("positive_weight", "negative_weight", "positive_amount", "negative_amount")
ROWS = st.lists(
    st.tuples(st.integers(0, BUCKETS - 1), st.booleans(), st.floats(0, 1), st.integers(0, 4), st.integers(0, 9)),
    min_size=1,
    max_size=60,
)


def columns(rows: list[tuple]) -> list[np.ndarray]:
    return [np.array(column, dtype=float) for column in zip(*rows, strict=True)]


def sample(rows: int, seed: int = 3) -> list[np.ndarray]:
    """bucket, label, score, weight, amount."""
    draw = np.random.default_rng(seed)
    label = draw.random(rows) < 0.1
    score = 1 / (1 + np.exp(-draw.normal(-3 + 2 * label, 1.5)))
    return [draw.integers(0, BUCKETS, rows), label, score, draw.uniform(0.5, 2, rows), draw.uniform(1, 9, rows)]


@given(ROWS)
@settings(deadline=None, max_examples=50)
def test_all_buckets_together_are_the_coarse_counts_of_all_rows(rows: list[tuple]) -> None:
    bucket, *others = columns(rows)
    expected = ScoreCounts.from_arrays(*others, grid=COARSE_GRID, exact_limit=0).to_records()
    assert BucketCounts.from_arrays(bucket, *others).total().to_records() == expected


@given(ROWS, st.randoms(use_true_random=False))
@settings(deadline=None, max_examples=50)
def test_counts_do_not_depend_on_the_order_of_rows(rows: list[tuple], random) -> None:
    shuffled = list(rows)
    random.shuffle(shuffled)
    one, other = (BucketCounts.from_arrays(*columns(which)) for which in (rows, shuffled))
    assert one.to_records() == other.to_records()


def test_each_bucket_holds_its_own_rows() -> None:
    counts = BucketCounts.from_arrays([5, 5, 9], [1, 0, 1], [0.5, 0.5, 0.9], [2.0, 1.0, 1.0], [10.0, 3.0, 7.0])
    middle, high = COARSE_GRID.bin_of([0.5, 0.9])
    assert counts.rows[5, middle].tolist() == [1, 1]
    assert counts.weight[5, middle].tolist() == [1.0, 2.0]
    assert counts.amount is not None
    assert counts.amount[5, middle].tolist() == [3.0, 20.0]
    assert counts.rows[9, high].tolist() == [0, 1]
    assert counts.rows.sum() == 3


@pytest.mark.parametrize("measures", [0, 1, 2])
def test_counts_survive_json_to_the_last_bit(measures: int) -> None:
    counts = BucketCounts.from_arrays(*sample(500)[: 3 + measures])
    again = BucketCounts.from_records(json.loads(json.dumps(counts.to_records())))
    for name in ("rows", "weight", "amount"):
        np.testing.assert_array_equal(getattr(again, name), getattr(counts, name))
    assert again.grid == counts.grid
    assert ("weight" in counts.to_records()) == (measures > 0)


def test_halves_add_up_to_the_whole() -> None:
    counts = BucketCounts.from_arrays(*sample(500))
    even, odd = counts.only(slice(0, None, 2)), counts.only(slice(1, None, 2))
    assert even.size == odd.size == BUCKETS // 2
    np.testing.assert_array_equal(even.rows.sum(axis=0) + odd.rows.sum(axis=0), counts.rows.sum(axis=0))


def test_the_whole_spreads_to_the_fine_counts_themselves() -> None:
    bucket, *others = sample(2000)
    fine, coarse = ScoreCounts.from_arrays(*others), BucketCounts.from_arrays(bucket, *others)
    assert coarse.amount is not None
    spread = FinePattern(fine, coarse.grid).spread(
        *(part.sum(axis=0) for part in (coarse.rows, coarse.weight, coarse.amount))
    )
    np.testing.assert_array_equal(spread.positives, fine.positives)
    np.testing.assert_array_equal(spread.negatives, fine.negatives)
    for name in SUMS:
        np.testing.assert_allclose(getattr(spread, name), getattr(fine, name), rtol=1e-12)


def test_parts_spread_to_parts_of_the_fine_counts_near_their_own() -> None:
    bucket, *others = sample(200_000)
    fine, coarse = ScoreCounts.from_arrays(*others, exact_limit=0), BucketCounts.from_arrays(bucket, *others)
    assert coarse.amount is not None
    pattern = FinePattern(fine, coarse.grid)
    parts = [pattern.spread(coarse.rows[b], coarse.weight[b], coarse.amount[b]) for b in range(BUCKETS)]
    for name in SUMS:
        total = np.sum([getattr(part, name) for part in parts], axis=0)
        np.testing.assert_allclose(total, getattr(fine, name), rtol=1e-9)
    is_first = bucket == 0
    own = ScoreCounts.from_arrays(*(column[is_first] for column in others))
    assert parts[0].positives.sum() == own.positives.sum()
    assert parts[0].curve().roc_auc() == pytest.approx(own.curve().roc_auc(), abs=1e-3)  # chance alone moves it by 1e-2
    assert parts[0].curve().average_precision() == pytest.approx(own.curve().average_precision(), abs=5e-3)


def test_a_group_out_of_range_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"groups are in \[0, 64\], not in \[0, 64\)"):
        BucketCounts.from_arrays([0, 64], [0, 1], [0.1, 0.2])


def test_rows_that_break_a_rule_are_refused_with_their_number() -> None:
    with pytest.raises(DataContractError, match="2 rows have a score that is null, NaN or outside"):
        BucketCounts.from_arrays([0, 1, 2], [0, 1, 1], [0.1, np.nan, 2.0])
