"""What the scan found of one strategy: fine counts by fold, coarse ones by bucket and by segment."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Self

import numpy as np

from imbalance_spark.core.columns import TEST, VALIDATION
from imbalance_spark.metrics.bucket_draws import BucketedCurve
from imbalance_spark.metrics.buckets import SUM_COLUMNS, BucketCounts, FinePattern
from imbalance_spark.metrics.counts import ScoreCounts
from imbalance_spark.metrics.grid import FloatArray


@dataclass(frozen=True, kw_only=True, eq=False)
class SegmentCounts:
    """Coarse counts by value of one column; `values[i]` is group i, None is null."""

    values: tuple[str | None, ...]
    counts: BucketCounts


@dataclass(frozen=True, kw_only=True, eq=False)
class HeldOutCounts:
    """Counts of one strategy's scores on the rows that no fit has seen.

    Validation falls into two halves that share no group of rows: even hash buckets calibrate, odd ones choose
    thresholds. `buckets` and `segments` are by fold.
    """

    calibrate: ScoreCounts
    choose: ScoreCounts
    test: ScoreCounts
    buckets: Mapping[str, BucketCounts]
    segments: Mapping[str, Mapping[str, SegmentCounts]]

    @cached_property
    def validation(self) -> ScoreCounts:
        """Both halves of validation."""
        return _merged(self.calibrate, self.choose)

    @property
    def by_fold(self) -> dict[str, ScoreCounts]:
        """All rows of each fold."""
        return {VALIDATION: self.validation, TEST: self.test}

    def bucketed(self, part: str, through: Callable[[FloatArray], FloatArray] | None = None) -> BucketedCurve:
        """The curve of one part of the rows with its buckets: what intervals are made of.

        Args:
            part: "validation", "test", or a half of validation: "calibrate", "choose".
            through: a rising map of the scores, such as a calibration.
        """
        halves = {"calibrate": slice(0, None, 2), "choose": slice(1, None, 2)}
        if part not in halves:
            return BucketedCurve(self.by_fold[part].curve(through), self.buckets[part])
        counts: ScoreCounts = getattr(self, part)
        return BucketedCurve(counts.curve(through), self.buckets[VALIDATION].only(halves[part]))

    def by_segment(self, fold: str, column: str) -> dict[str | None, ScoreCounts]:
        """Counts by value of a segment column, on the bins of the fold's fine counts; they add up to those.

        Inside a coarse bin (a step of 0.08 in logit) rows lie as all rows of their class and fold do.
        """
        found = self.segments[fold][column]
        pattern, coarse = FinePattern(self.by_fold[fold], found.counts.grid), found.counts
        amounts = [None] * coarse.size if coarse.amount is None else coarse.amount
        return {
            value: pattern.spread(coarse.rows[number], coarse.weight[number], amounts[number])
            for number, value in enumerate(found.values)
        }

    def to_records(self) -> dict[str, Any]:
        """Everything as JSON-able values; only what occurs is written."""
        segments = {
            fold: {
                column: {"values": list(found.values), "counts": found.counts.to_records()}
                for column, found in by_column.items()
            }
            for fold, by_column in self.segments.items()
        }
        return {
            "calibrate": self.calibrate.to_records(),
            "choose": self.choose.to_records(),
            "test": self.test.to_records(),
            "buckets": {fold: counts.to_records() for fold, counts in self.buckets.items()},
            "segments": segments,
        }

    @classmethod
    def from_records(cls, records: Mapping[str, Any]) -> Self:
        """What `to_records` wrote, the same to the last bit."""
        return cls(
            calibrate=ScoreCounts.from_records(records["calibrate"]),
            choose=ScoreCounts.from_records(records["choose"]),
            test=ScoreCounts.from_records(records["test"]),
            buckets={fold: BucketCounts.from_records(found) for fold, found in records["buckets"].items()},
            segments={
                fold: {
                    column: SegmentCounts(
                        values=tuple(found["values"]), counts=BucketCounts.from_records(found["counts"])
                    )
                    for column, found in by_column.items()
                }
                for fold, by_column in records["segments"].items()
            },
        )


def _merged(one: ScoreCounts, other: ScoreCounts) -> ScoreCounts:
    score = np.union1d(one.score, other.score)
    entry = np.searchsorted(score, np.concatenate([one.score, other.score]))

    def added(name: str) -> Any:
        left, right = getattr(one, name), getattr(other, name)
        if left is None or right is None:
            return None
        return np.bincount(entry, np.concatenate([left, right])).astype(left.dtype)[::-1]

    threshold = np.union1d(one.threshold, other.threshold)
    sums = {name: added(name) for name in SUM_COLUMNS}
    return replace(one, score=score[::-1], threshold=threshold[::-1], **sums)
