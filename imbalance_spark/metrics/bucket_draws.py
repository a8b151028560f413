"""Resampling of a curve by hash buckets: jackknife and bootstrap draws."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from imbalance_spark.core.arrays import FloatArray
from imbalance_spark.core.errors import DataContractError
from imbalance_spark.metrics.buckets import BucketCounts, FinePattern
from imbalance_spark.metrics.curve import Curve


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
        times = np.asarray(multiplicities, dtype=np.float64)
        weight = np.tensordot(times, self.buckets.weight, axes=1)
        scale = self._total / weight.sum() if weight.any() else 0.0
        rows = np.tensordot(times, self.buckets.rows, axes=1)
        amount = None if self.buckets.amount is None else np.tensordot(times, self.buckets.amount, axes=1) * scale
        return replace(self.curve, counts=self._pattern.spread(rows * scale, weight * scale, amount))

    def without_each(self) -> Iterator[Curve]:
        """For each bucket with rows, the draw without it: the jackknife."""
        occupied = self.occupied
        for bucket in np.flatnonzero(occupied):
            yield self.draw(occupied & (np.arange(len(occupied)) != bucket))

    def draws(self, number: int, seed: int) -> Iterator[Curve]:
        """`number` draws of the buckets with rows, with replacement: the bootstrap over buckets."""
        occupied = np.flatnonzero(self.occupied)
        share = np.full(len(occupied), 1.0 / len(occupied))
        times = np.zeros((number, len(self.occupied)))
        times[:, occupied] = np.random.default_rng(seed).multinomial(len(occupied), share, size=number)
        yield from map(self.draw, times)

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
    def _pattern(self) -> FinePattern:
        return FinePattern(self.curve.counts, self.buckets.grid)


def rows_by_bucket(sample: BucketedCurve) -> FloatArray:
    """Rows of each class in each bucket: the same for two models that scored the same rows."""
    return np.asarray(sample.buckets.rows.sum(axis=1), dtype=np.float64)
