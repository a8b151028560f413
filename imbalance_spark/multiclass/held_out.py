"""What is counted of one strategy's held-out rows: each class against the rest, and who was taken for whom."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from imbalance_spark.core.columns import TEST, VALIDATION
from imbalance_spark.metrics.bucket_draws import BucketedCurve
from imbalance_spark.metrics.buckets import BUCKETS
from imbalance_spark.metrics.confusion import MulticlassConfusion
from imbalance_spark.metrics.curve import Curve
from imbalance_spark.metrics.grid import FloatArray, IntArray
from imbalance_spark.metrics.multiclass_counts import MulticlassCounts
from imbalance_spark.scoring.held_out_counts import HeldOutCounts

_PLACE = {VALIDATION: slice(0, BUCKETS), TEST: slice(BUCKETS, 2 * BUCKETS)}


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
        return self.weight[_PLACE[fold]]

    def to_records(self) -> dict[str, Any]:
        """The cells that occur, as JSON values."""
        place = np.flatnonzero(self.rows)
        return {
            "classes": self.rows.shape[1], "cell": place.tolist(), "rows": self.rows.ravel()[place].tolist(),
            "weight": self.weight.ravel()[place].tolist(),
        }  # fmt: skip

    @classmethod
    def from_records(cls, records: Mapping[str, Any]) -> Self:
        """What `to_records` wrote."""
        return cls.of_cells(records["cell"], records["rows"], records["weight"], records["classes"])

    @classmethod
    def of_cells(cls, cell: Any, rows: Any, weight: Any, classes: int) -> Self:
        """Sums by `cell` = (fold * 64 + bucket) * K * K + true class * K + decided class."""
        shape = (2 * BUCKETS, classes, classes)
        number, size = np.asarray(cell, dtype=np.int64), 2 * BUCKETS * classes**2
        n, sums = (
            np.bincount(number, np.asarray(values, dtype=np.float64), minlength=size).astype(np.float64)
            for values in (rows, weight)
        )
        return cls(rows=n.astype(np.int64).reshape(shape), weight=sums.reshape(shape))


@dataclass(frozen=True, kw_only=True, eq=False)
class ClassHeldOut:
    """Counts of one strategy's calibrated probabilities.

    Args:
        by_class: of each class, its probability against all other classes.
        confusions: by the name of a rule of decision.
        losses: by name (`log_loss`, `brier`) the sum over weighted rows of each fold and bucket, 128 numbers.
    """

    by_class: tuple[HeldOutCounts, ...]
    confusions: Mapping[str, Confusions]
    losses: Mapping[str, FloatArray]

    def curves(self, fold: str) -> list[Curve]:
        """One curve a class, on all rows of a fold."""
        return [counts.by_fold[fold].curve() for counts in self.by_class]

    def choosing(self) -> list[Curve]:
        """One curve a class, on the half of validation that does not calibrate."""
        return [counts.choose.curve() for counts in self.by_class]

    def bucketed(self, fold: str) -> list[BucketedCurve]:
        """One bucketed curve a class."""
        return [counts.bucketed(fold) for counts in self.by_class]

    def counts(self, fold: str, rule: str) -> MulticlassCounts:
        """What `evaluate_multiclass` reads, under one rule of decision."""
        found = self.confusions[rule]
        return MulticlassCounts(
            rows=found.rows[_PLACE[fold]].sum(axis=0),
            confusion=found.of(fold),
            one_vs_rest=tuple(counts.by_fold[fold] for counts in self.by_class),
        )

    def mean_loss(self, fold: str, name: str) -> float:
        """A weighted mean over the rows of a fold."""
        total = next(iter(self.confusions.values())).by_bucket(fold).sum()
        return float(self.losses[name][_PLACE[fold]].sum() / total)

    def to_records(self) -> dict[str, Any]:
        """Everything as JSON-able values."""
        return {
            "classes": [counts.to_records() for counts in self.by_class],
            "confusions": {name: found.to_records() for name, found in self.confusions.items()},
            "losses": {name: sums.tolist() for name, sums in self.losses.items()},
        }

    @classmethod
    def from_records(cls, records: Mapping[str, Any]) -> Self:
        """What `to_records` wrote."""
        return cls(
            by_class=tuple(HeldOutCounts.from_records(found) for found in records["classes"]),
            confusions=confusions_from_records(records["confusions"]),
            losses={name: np.array(sums) for name, sums in records["losses"].items()},
        )


def confusions_from_records(records: Mapping[str, Any]) -> dict[str, Confusions]:
    """Confusions by rule from their `to_records`."""
    return {name: Confusions.from_records(found) for name, found in records.items()}


def classes_without_rows(curves: Sequence[Curve], classes: Sequence[str]) -> list[str]:
    """Names of the classes that these rows do not have."""
    return [name for name, curve in zip(classes, curves, strict=True) if not curve.positives > 0.0]
