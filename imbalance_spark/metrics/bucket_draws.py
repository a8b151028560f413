"""Resampling of a curve by hash buckets: jackknife and bootstrap draws, and sampling errors at many thresholds."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from imbalance_spark.core.arrays import FloatArray
from imbalance_spark.core.errors import DataContractError
from imbalance_spark.metrics.buckets import SUM_COLUMNS, BucketCounts, FinePattern
from imbalance_spark.metrics.counts import ScoreCounts
from imbalance_spark.metrics.curve import Curve
from imbalance_spark.metrics.grid import LogitGrid

_FLAGGED_OR_NOT = LogitGrid(bins=2)


@dataclass(frozen=True, eq=False)
class BucketedCurve:
    """A curve, and its rows counted by hash bucket of their group (the customer, or the key).

    Rows of a group share a bucket, and groups are assigned to buckets at random. So buckets are independent and
    identically distributed, whatever rows of one group have in common, and can be resampled as wholes.

    A draw has the thresholds of the curve: the rows of a coarse bin are spread over it as all rows of their class. With
    every bucket once, the draw is the curve itself.

    Raises:
        DataContractError: the curve and the buckets do not count the same number of rows.
    """

    curve: Curve
    buckets: BucketCounts

    def __post_init__(self) -> None:
        counts, in_buckets = self.curve.counts, int(self.buckets.rows.sum())
        if (rows := int(counts.positives.sum() + counts.negatives.sum())) != in_buckets:
            raise DataContractError(
                f"bucketed curve: the curve counts {rows} rows, the buckets {in_buckets}. "
                "Give the buckets of the curve's own rows: those of its fold, or of its half of validation."
            )

    def draw(self, multiplicities: npt.ArrayLike) -> Curve:
        """The curve with each bucket repeated by its multiplicity, scaled to the total weight of all rows.

        With that scale totals, such as costs, are comparable between draws.
        """
        return next(self._drawn(np.asarray(multiplicities, dtype=np.float64)[np.newaxis]))

    def part(self, buckets: npt.NDArray[np.bool_]) -> ScoreCounts:
        """The rows of some buckets alone, with their own weight, on the entries of the curve.

        Args:
            buckets: whether each of the 64 is part of it.
        """
        amount = None if self.buckets.amount is None else self.buckets.amount[buckets].sum(axis=0)
        return self.pattern.spread(
            self.buckets.rows[buckets].sum(axis=0), self.buckets.weight[buckets].sum(axis=0), amount
        )

    def coarsened(self, grid: LogitGrid) -> "BucketedCurve":
        """The same rows on the thresholds that are lowest in a bin of `grid`: what is drawn often need not be finer.

        Sums are those of the bins; scores are means over their rows. A threshold, and with it a metric at it, is as
        exact as the bins are narrow.

        Args:
            grid: whose bins lie within those of the buckets.
        """
        counts, curve = self.curve.counts, self.curve
        first = np.flatnonzero(np.diff(grid.bin_of(counts.score), prepend=-1))
        last = np.append(first[1:], len(counts.score)) - 1
        sums = {
            name: np.add.reduceat(values, first)
            for name in SUM_COLUMNS
            if (values := getattr(counts, name)) is not None
        }
        rows = counts.positives + counts.negatives

        def mean(score: FloatArray) -> FloatArray:
            return np.asarray(np.add.reduceat(score * rows, first) / np.add.reduceat(rows, first), dtype=np.float64)

        merged = replace(counts, score=mean(counts.score), threshold=counts.threshold[last], grid=grid, **sums)
        threshold = np.append(curve.threshold[:1], curve.threshold[1:][last])
        return replace(self, curve=replace(curve, counts=merged, score=mean(curve.score), threshold=threshold))

    def without_each(self) -> Iterator[Curve]:
        """For each bucket with rows, the draw without it: the jackknife."""
        occupied = self.occupied
        left_out = np.eye(len(occupied), dtype=np.bool_)[occupied]
        yield from self._drawn((occupied & ~left_out).astype(np.float64))

    def draws(self, number: int, seed: int) -> Iterator[Curve]:
        """`number` draws of the buckets with rows, with replacement: the bootstrap over buckets."""
        occupied = np.flatnonzero(self.occupied)
        share = np.full(len(occupied), 1.0 / len(occupied))
        times = np.zeros((number, len(self.occupied)))
        times[:, occupied] = np.random.default_rng(seed).multinomial(len(occupied), share, size=number)
        yield from self._drawn(times)

    def _drawn(self, times: FloatArray) -> Iterator[Curve]:
        """A curve for each row of `times`, draws x buckets; the sums of all of them are one product of matrices."""
        rows, weight = (_sums_of_draws(times, values) for values in (self.buckets.rows, self.buckets.weight))
        amount = None if self.buckets.amount is None else _sums_of_draws(times, self.buckets.amount)
        for number, weights in enumerate(weight):
            scale = self._total / weights.sum() if weights.any() else 0.0
            amounts = None if amount is None else amount[number] * scale
            counts = self.pattern.spread(rows[number] * scale, weights * scale, amounts)
            yield replace(self.curve, counts=counts)

    @property
    def occupied(self) -> npt.NDArray[np.bool_]:
        """Which buckets have a row."""
        return np.asarray(self.buckets.rows.any(axis=(1, 2)), dtype=np.bool_)

    @property
    def positives(self) -> int:
        """Positive rows, without weights."""
        return int(self.buckets.rows[:, :, 1].sum())

    @property
    def buckets_with_positives(self) -> int:
        """Number of buckets with a positive row."""
        return int(self.buckets.rows[:, :, 1].any(axis=1).sum())

    @cached_property
    def _total(self) -> float:
        return float(self.buckets.weight.sum())

    @cached_property
    def pattern(self) -> FinePattern:
        """How the rows of a coarse bin are spread over it."""
        return FinePattern(self.curve.counts, self.buckets.grid)


@dataclass(frozen=True, eq=False)
class HalvedCurve:
    """A bucketed curve, and its two halves of the buckets: what is chosen on one is judged on the other."""

    whole: BucketedCurve
    halves: tuple[BucketedCurve, BucketedCurve]


def decided(parts: Sequence[tuple[BucketedCurve, int]]) -> BucketedCurve:
    """Decisions on parts of the rows, each by a threshold of its own, as one bucketed curve of two scores.

    Flagged rows score 0.75, the others 0.25. So whatever can be said of a threshold on a curve can be said of
    cross-fitted thresholds, too: its matrix is that of 0.5, and its buckets can be resampled.

    Args:
        parts: of the same number of buckets each, and how many entries of its counts a part flags, highest first.
    """
    counts = [_two_scores(sample, flagged) for sample, flagged in parts]
    has_amount = all(one.amount is not None for one in counts)
    joined = BucketCounts(
        rows=np.concatenate([one.rows for one in counts]),
        weight=np.concatenate([one.weight for one in counts]),
        amount=np.concatenate([one.amount for one in counts]) if has_amount else None,
        grid=_FLAGGED_OR_NOT,
    )
    return BucketedCurve(joined.total().curve(), joined)


def _sums_of_draws(times: FloatArray, values: npt.NDArray[Any]) -> FloatArray:
    return np.asarray(np.tensordot(times, values.astype(np.float64), axes=1), dtype=np.float64)


def _two_scores(sample: BucketedCurve, flagged: int) -> BucketCounts:
    buckets, is_flagged = sample.buckets, np.arange(len(sample.curve.score)) < flagged
    values = np.repeat(is_flagged[:, None], 2, axis=1).astype(np.float64)

    def split(sums: npt.NDArray[Any], kind: str) -> FloatArray:
        above = sums * sample.pattern.coarse_mean(values, kind)
        return np.stack([(sums - above).sum(axis=1), above.sum(axis=1)], axis=1)

    rows, above = buckets.rows.sum(axis=1), split(buckets.rows, "rows")[:, 1]
    # Rounded as running sums, so that the total is that of the fine counts.
    flagged_rows = np.diff(np.rint(np.cumsum(above, axis=0)), axis=0, prepend=0.0).astype(np.int64)
    in_rows = np.stack([rows - flagged_rows, flagged_rows], axis=1)
    is_weighted = not np.array_equal(buckets.weight, buckets.rows)
    return BucketCounts(
        rows=in_rows,
        weight=split(buckets.weight, "weight") if is_weighted else in_rows.astype(np.float64),
        amount=None if buckets.amount is None else split(buckets.amount, "amount"),
        grid=_FLAGGED_OR_NOT,
    )


def rows_by_bucket(sample: BucketedCurve) -> FloatArray:
    """Rows of each class in each bucket: the same for two models that scored the same rows."""
    return np.asarray(sample.buckets.rows.sum(axis=1), dtype=np.float64)


@dataclass(frozen=True, kw_only=True, eq=False)
class RateErrors:
    """Variances of both rates, and their covariance, at each of some thresholds."""

    tpr_variance: FloatArray
    fpr_variance: FloatArray
    covariance: FloatArray


def rate_errors(sample: BucketedCurve, cuts: Sequence[int]) -> RateErrors:
    """Sampling errors of recall and false positive rate, linear in the buckets (infinitesimal jackknife).

    Precision, costs and alerts at any base rate and any costs are functions of the two rates, so that their errors
    follow by the delta method (Efron, 1982, chapter 6).

    Args:
        sample: both classes have rows, in two buckets or more.
        cuts: entries of the curve's thresholds: how many entries of its counts are flagged.
    """
    weight = sample.buckets.weight[sample.occupied]
    by_class = weight.sum(axis=1)
    shares = np.stack([_flagged_share(sample, cut) for cut in cuts])
    flagged = np.einsum("gbk,cbk->cgk", weight, shares)
    rates = flagged.sum(axis=1, keepdims=True) / by_class.sum(axis=0)
    influence = (flagged - rates * by_class) / by_class.sum(axis=0)
    scale = len(weight) / (len(weight) - 1.0)
    of_negatives, of_positives = influence[..., 0], influence[..., 1]
    return RateErrors(
        tpr_variance=scale * np.sum(of_positives**2, axis=1),
        fpr_variance=scale * np.sum(of_negatives**2, axis=1),
        covariance=scale * np.sum(of_positives * of_negatives, axis=1),
    )


def _flagged_share(sample: BucketedCurve, cut: int) -> FloatArray:
    """The share of each coarse bin's weight that is flagged, by class."""
    is_flagged = np.arange(len(sample.curve.score)) < cut
    return sample.pattern.coarse_mean(np.repeat(is_flagged[:, None], 2, axis=1).astype(np.float64))
