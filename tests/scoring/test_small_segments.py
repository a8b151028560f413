"""What is logged of values of a segment column that few rows have: one value for all of them, the same totals."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imbalance_spark.metrics import ScoreCounts
from imbalance_spark.metrics.buckets import BucketCounts
from imbalance_spark.scoring.held_out_counts import OTHER, HeldOutCounts, SegmentCounts, TargetCounts

FOLDS = ("validation", "test")
Rows = dict[str | None, int]


def target_of(validation: Rows, test: Rows, *, amounts: bool = False) -> TargetCounts:
    """Rows of random label and score by value of the column `country`."""
    draw, fine, segments = np.random.default_rng(1), {}, {}
    for fold, rows in zip(FOLDS, (validation, test), strict=True):
        values = tuple(value for value, n in rows.items() if n)
        group = np.repeat(np.arange(len(values)), [rows[value] for value in values])
        label, score = draw.integers(0, 2, len(group)), draw.random(len(group))
        amount = draw.random(len(group)) if amounts else None
        fine[fold] = ScoreCounts.from_arrays(label, score, None, amount)
        counts = BucketCounts.from_arrays(group, label, score, None, amount, size=len(values))
        segments[fold] = {"country": SegmentCounts(values=values, counts=counts)}
    return TargetCounts(
        calibrate=fine["validation"], choose=fine["validation"], test=fine["test"], buckets={}, segments=segments
    )


def rows_of(target: TargetCounts, fold: str) -> Rows:
    found = target.segments[fold]["country"]
    return dict(zip(found.values, found.counts.rows.sum(axis=(1, 2)).tolist(), strict=True))


def merged(validation: Rows, test: Rows) -> list[Rows]:
    target = target_of(validation, test).with_small_segments_merged(10)
    return [rows_of(target, fold) for fold in FOLDS]


def test_values_of_few_rows_in_any_fold_are_one_value_in_every_fold() -> None:
    # IT is small in test alone, MT in both folds, null in validation alone; AT does not occur in validation.
    found = merged({"DE": 90, "IT": 40, "MT": 3, None: 9}, {"DE": 80, "IT": 4, "MT": 2, None: 30, "AT": 12})
    assert found == [{"DE": 90, OTHER: 52}, {"DE": 80, "AT": 12, OTHER: 36}]


def test_where_the_small_ones_together_are_few_the_next_smallest_hides_them() -> None:
    assert merged({"DE": 90, "FR": 20, "MT": 3}, {"DE": 90, "FR": 30, "MT": 4}) == [
        {"DE": 90, OTHER: 23},
        {"DE": 90, OTHER: 34},
    ]


def test_nothing_is_merged_where_every_value_has_enough_rows() -> None:
    target = target_of({"DE": 90, "FR": 10}, {"DE": 90, "FR": 11})
    assert target.with_small_segments_merged(10).to_records() == target.to_records()


def test_a_value_that_is_called_other_is_counted_with_the_others() -> None:
    assert merged({"DE": 90, OTHER: 20, "MT": 30}, {"DE": 90, OTHER: 20, "MT": 5}) == [
        {"DE": 90, OTHER: 50},
        {"DE": 90, OTHER: 25},
    ]


SIZES = st.dictionaries(st.sampled_from(["DE", "FR", "MT", OTHER, None]), st.integers(0, 25), min_size=1)
SIZES = SIZES.filter(lambda rows: any(rows.values()))


@settings(max_examples=50, deadline=None)
@given(SIZES, SIZES, st.booleans())
def test_totals_stay_and_no_value_is_left_with_few_rows(validation: Rows, test: Rows, amounts: bool) -> None:
    target = target_of(validation, test, amounts=amounts)
    after = target.with_small_segments_merged(10)
    for fold, rows in zip(FOLDS, (validation, test), strict=True):
        before, now = (one.segments[fold]["country"].counts for one in (target, after))
        np.testing.assert_array_equal(now.rows.sum(axis=0), before.rows.sum(axis=0))
        np.testing.assert_allclose(now.weight.sum(axis=0), before.weight.sum(axis=0))
        if amounts:
            np.testing.assert_allclose(now.amount.sum(axis=0), before.amount.sum(axis=0))
        few = {value: n for value, n in rows_of(after, fold).items() if n < 10}
        # All rows of a fold may be fewer than 10; then nothing is told apart.
        assert not few or (set(few) == {OTHER} and set(rows_of(after, fold)) == {OTHER} and sum(rows.values()) < 10)


@pytest.mark.parametrize("classes", [1, 3])
def test_what_was_merged_is_read_back(classes: int) -> None:
    target = target_of({"DE": 90, "MT": 3, None: 9}, {"DE": 90, "MT": 2, None: 12})
    logged = HeldOutCounts(targets=(target,) * classes).with_small_segments_merged(10)
    records = json.loads(json.dumps(logged.to_records()))
    again = HeldOutCounts.from_records(records)
    assert again.to_records() == logged.to_records()
    assert "MT" not in json.dumps(records)
    for read in again.targets:
        assert set(read.by_segment("test", "country")) == {"DE", OTHER}
        assert read.choose.to_records() == target.choose.to_records()  # what retune chooses on
