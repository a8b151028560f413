"""What a model's held-out rows are counted into: its scores for each target, its decisions and its losses."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Self

import numpy as np

from imbalance_spark.core.arrays import FloatArray, IntArray
from imbalance_spark.core.columns import HELD_OUT_FOLDS, TEST, VALIDATION
from imbalance_spark.core.errors import ConfigError
from imbalance_spark.core.records import reading
from imbalance_spark.metrics.bucket_draws import BucketedCurve, HalvedCurve
from imbalance_spark.metrics.buckets import BUCKETS, SUM_COLUMNS, BucketCounts, FinePattern
from imbalance_spark.metrics.confusion import MulticlassConfusion
from imbalance_spark.metrics.counts import ScoreCounts
from imbalance_spark.metrics.curve import Curve
from imbalance_spark.metrics.multiclass_counts import MulticlassCounts

_OF_FOLD = {fold: slice(number * BUCKETS, (number + 1) * BUCKETS) for number, fold in enumerate(HELD_OUT_FOLDS)}
"""Which entries of an array by fold and bucket are a fold's."""


SMALLEST_CELL = 10
"""Segments of fewer rows are neither logged nor shown: their numbers would be about single orders."""


OTHER = "(other)"
"""The value of a segment column that stands for all that few rows have."""


@dataclass(frozen=True, kw_only=True, eq=False)
class SegmentCounts:
    """Coarse counts by value of one column; `values[i]` is group i, None is null."""

    values: tuple[str | None, ...]
    counts: BucketCounts

    @property
    def rows(self) -> dict[str | None, int]:
        """Rows by value, without weights."""
        return dict(zip(self.values, self.counts.rows.sum(axis=(1, 2)).tolist(), strict=True))

    def merged(self, values: Collection[str | None]) -> Self:
        """The same with these values as one, `OTHER`."""
        kept = [number for number, value in enumerate(self.values) if value not in values]
        others = [number for number, value in enumerate(self.values) if value in values]
        if not others:
            return self
        counts = self.counts.joined([*[[number] for number in kept], others])
        return replace(self, values=(*[self.values[number] for number in kept], OTHER), counts=counts)


@dataclass(frozen=True, kw_only=True, eq=False)
class TargetCounts:
    """Counts of one model's scores for one target, a class against the rest, on held-out data.

    Validation falls into two halves that share no group of rows: `calibrate` is that of the even hash buckets, `choose`
    that of the odd ones. What is fitted on one is judged on the other. `buckets` and `segments` are by fold.
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

    @property
    def halved(self) -> HalvedCurve:
        """Validation with its halves, of scores before calibration."""
        return HalvedCurve(self.bucketed(VALIDATION), (self.bucketed("calibrate"), self.bucketed("choose")))

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

    def with_small_segments_merged(self, least: int) -> Self:
        """The same with `OTHER` for the values of a segment column that fewer than `least` rows have; totals stay.

        Numbers of a few rows are about single orders, so they do not leave the run's own folder. A value of few rows in
        one fold is merged in every fold. Where those of few rows are few together, the next smallest joins them, else
        `OTHER` would tell what they hide; so it has fewer than `least` rows only in a fold of fewer rows. Counts by
        score stay as they are: thresholds are chosen on them, and they hold no attribute of a person but the score.
        """
        columns = next(iter(self.segments.values()), {})
        small = {name: _small_values([found[name] for found in self.segments.values()], least) for name in columns}
        segments = {
            fold: {name: found.merged(small[name]) for name, found in by_column.items()}
            for fold, by_column in self.segments.items()
        }
        return replace(self, segments=segments)

    def to_records(self) -> dict[str, Any]:
        """Everything as JSON-able values; only what occurs is written.

        Also segments of few rows, see `with_small_segments_merged`.
        """
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


@dataclass(frozen=True, kw_only=True, eq=False)
class Confusions:
    """Rows by fold and hash bucket, true class and decided class: 128 x K x K, validation first."""

    rows: IntArray
    weight: FloatArray

    def of(self, fold: str) -> MulticlassConfusion:
        """By weight, of one fold."""
        return MulticlassConfusion(weight=self.by_bucket(fold).sum(axis=0))

    def by_bucket(self, fold: str) -> FloatArray:
        """By weight, 64 x K x K."""
        return self.weight[_OF_FOLD[fold]]

    def to_records(self) -> dict[str, Any]:
        """The cells that occur, as JSON values."""
        cell = np.flatnonzero(self.rows)
        rows, weight = self.rows.ravel()[cell].tolist(), self.weight.ravel()[cell].tolist()
        return {"classes": self.rows.shape[1], "cell": cell.tolist(), "rows": rows, "weight": weight}

    @classmethod
    def from_records(cls, records: Mapping[str, Any]) -> Self:
        """What `to_records` wrote."""
        return cls.of_cells(records["cell"], records["rows"], records["weight"], records["classes"])

    @classmethod
    def of_cells(cls, cell: Any, rows: Any, weight: Any, classes: int) -> Self:
        """Sums by `cell` = (fold * 64 + bucket) * K * K + true class * K + decided class."""
        shape = (len(HELD_OUT_FOLDS) * BUCKETS, classes, classes)
        number = np.asarray(cell, dtype=np.int64)
        n, sums = (
            np.bincount(number, np.asarray(values, dtype=np.float64), minlength=int(np.prod(shape))).astype(np.float64)
            for values in (rows, weight)
        )
        return cls(rows=n.astype(np.int64).reshape(shape), weight=sums.reshape(shape))


@dataclass(frozen=True, kw_only=True, eq=False)
class HeldOutCounts:
    """All that is counted of one model's held-out rows.

    Args:
        targets: class 1 of two classes; of K classes each of them against the rest, in the order of their numbers.
        confusions: rows by true and decided class, by the name of a rule; of K classes only.
        losses: by name (`log_loss`, `brier`) the sum over weighted rows of each fold and bucket, 128 numbers; of K
            classes only.
        importance: by feature the mean absolute contribution to the log-odds, see `importance`; empty where none were
            computed.
    """

    targets: tuple[TargetCounts, ...]
    confusions: Mapping[str, Confusions] = field(default_factory=dict)
    losses: Mapping[str, FloatArray] = field(default_factory=dict)
    importance: Mapping[str, float] = field(default_factory=dict)

    @property
    def target(self) -> TargetCounts:
        """The only target, of two classes.

        Raises:
            ConfigError: there are more classes.
        """
        if len(self.targets) != 1:
            raise ConfigError(f"held-out counts: they are of {len(self.targets)} classes, each with its own counts.")
        return self.targets[0]

    def curves(self, fold: str, through: Callable[[FloatArray], FloatArray] | None = None) -> list[Curve]:
        """One curve for each target, on all rows of a fold; `through` is a rising map of the scores."""
        return [target.by_fold[fold].curve(through) for target in self.targets]

    def bucketed(self, part: str, through: Callable[[FloatArray], FloatArray] | None = None) -> list[BucketedCurve]:
        """One bucketed curve for each target; see `TargetCounts.bucketed`."""
        return [target.bucketed(part, through) for target in self.targets]

    def counts(self, fold: str, rule: str) -> MulticlassCounts:
        """What `evaluate_multiclass` reads, under one rule."""
        decided = self.confusions[rule]
        return MulticlassCounts(
            rows=decided.rows[_OF_FOLD[fold]].sum(axis=0),
            confusion=decided.of(fold),
            one_vs_rest=tuple(target.by_fold[fold] for target in self.targets),
        )

    def mean_loss(self, fold: str, name: str) -> float:
        """A weighted mean over the rows of a fold."""
        return float(self.losses[name][_OF_FOLD[fold]].sum() / self.targets[0].buckets[fold].weight.sum())

    def with_small_segments_merged(self, least: int) -> Self:
        """The same of each target; see `TargetCounts.with_small_segments_merged`."""
        return replace(self, targets=tuple(target.with_small_segments_merged(least) for target in self.targets))

    def with_confusions(self, more: Mapping[str, Confusions]) -> Self:
        """The same with the confusions of further rules."""
        return replace(self, confusions={**self.confusions, **more})

    def to_records(self) -> dict[str, Any]:
        """Everything as JSON-able values: of one target its own records."""
        importance = {"importance": dict(self.importance)} if self.importance else {}
        if len(self.targets) == 1:
            return self.target.to_records() | importance
        return importance | {
            "classes": [target.to_records() for target in self.targets],
            "confusions": {name: found.to_records() for name, found in self.confusions.items()},
            "losses": {name: sums.tolist() for name, sums in self.losses.items()},
        }

    @classmethod
    def from_records(cls, records: Mapping[str, Any]) -> Self:
        """What `to_records` wrote, the same to the last bit.

        Raises:
            DataContractError: it is not what was written there.
        """
        with reading("a model's counts (counts.json)", "Restore the file, or train again."):
            return cls._of_records(records)

    @classmethod
    def _of_records(cls, records: Mapping[str, Any]) -> Self:
        importance = records.get("importance", {})
        if "classes" not in records:
            return cls(targets=(TargetCounts.from_records(records),), importance=importance)
        return cls(
            importance=importance,
            targets=tuple(TargetCounts.from_records(target) for target in records["classes"]),
            confusions=confusions_from_records(records["confusions"]),
            losses={name: np.array(sums) for name, sums in records["losses"].items()},
        )


def confusions_from_records(records: Mapping[str, Any]) -> dict[str, Confusions]:
    """Confusions by rule from their `to_records`."""
    return {name: Confusions.from_records(found) for name, found in records.items()}


def _small_values(folds: Sequence[SegmentCounts], least: int) -> set[str | None]:
    """The values to merge: those of fewer than `least` rows in a fold, and the next smallest while they are too few."""
    by_fold = [found.rows for found in folds]
    rows = {value: [found.get(value, 0) for found in by_fold] for values in by_fold for value in values}
    fewest = {value: min(n for n in counted if n > 0) for value, counted in rows.items()}
    small: set[str | None] = set()
    together = [0] * len(folds)
    # A value that is called OTHER comes first: once others are merged, it could not be told from them.
    for value in sorted(rows, key=lambda value: (value != OTHER, fewest[value])):
        if value != OTHER and fewest[value] >= least and not any(0 < n < least for n in together):
            break
        small.add(value)
        together = [n + more for n, more in zip(together, rows[value], strict=True)]
    return small


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
