"""Coarse counts by group of rows: by hash bucket for confidence intervals, by value of a column for segments."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from imbalance_spark.core.arrays import FloatArray, IntArray
from imbalance_spark.core.errors import ConfigError, DataContractError
from imbalance_spark.metrics.binning import as_columns, describe_invalid, invalid_code
from imbalance_spark.metrics.counts import ScoreCounts
from imbalance_spark.metrics.grid import LogitGrid, ScoreEntries

BUCKETS = 64
"""Hash buckets of the rows: enough for a t quantile close to the normal one, few enough to count each."""

COARSE_GRID = LogitGrid(bins=512)
"""Steps of 0.08 in logit: within one, rows of a group are assumed to be distributed as all rows of their class."""

SUM_COLUMNS = ("positives", "negatives", "positive_weight", "negative_weight", "positive_amount", "negative_amount")
"""The columns of `ScoreCounts` that add up."""


@dataclass(frozen=True, kw_only=True, eq=False)
class BucketCounts:
    """Rows of each class by group and coarse score bin; arrays are groups x bins x 2, negatives first.

    A group is a hash bucket, or a segment. Rows are int64; weights are sums over rows; amounts are sums of weight times
    amount, None if rows have none.
    """

    rows: IntArray
    weight: FloatArray
    amount: FloatArray | None
    grid: LogitGrid

    @classmethod
    def from_arrays(
        cls,
        groups: npt.ArrayLike,
        labels: npt.ArrayLike,
        scores: npt.ArrayLike,
        weights: npt.ArrayLike | None = None,
        amounts: npt.ArrayLike | None = None,
        *,
        size: int = BUCKETS,
        grid: LogitGrid = COARSE_GRID,
    ) -> Self:
        """Count rows in memory.

        Args:
            groups: number of each row's group, in [0, size). The others are those of `ScoreCounts.from_arrays`.
        Raises:
            ConfigError: a group is outside [0, size).
            DataContractError: labels, scores, weights or amounts break the rules (with the number of rows).
        """
        label, score, weight, amount = as_columns(labels, scores, weights, amounts)
        group = np.asarray(groups, dtype=np.int64)
        if len(group) and not 0 <= group.min() <= group.max() < size:
            raise ConfigError(f"BucketCounts: groups are in [{group.min()}, {group.max()}], not in [0, {size}).")
        codes, broken = np.unique(invalid_code(label, score, weight, amount), return_counts=True)
        if problems := describe_invalid(dict(zip(codes.tolist(), broken.tolist(), strict=True))):
            raise DataContractError(f"bucket counts: {', '.join(problems)}, of {len(score)} rows. Quarantine them.")
        slot = (group * grid.bins + grid.bin_of(score)) * 2 + (label == 1.0)
        weighted = None if amount is None else weight * amount
        return cls.of_slots(slot, np.ones(len(slot)), weight, weighted, size=size, grid=grid)

    @classmethod
    def of_slots(
        cls,
        slot: IntArray,
        rows: npt.NDArray[Any],
        weight: FloatArray,
        amount: FloatArray | None,
        *,
        size: int,
        grid: LogitGrid,
    ) -> Self:
        """Sums by `slot` = (group * bins + bin) * 2 + label; repeated slots are added up."""

        def by_slot(values: npt.NDArray[Any]) -> FloatArray:
            total = np.bincount(slot, values, minlength=size * grid.bins * 2)
            return total.astype(np.float64).reshape(size, grid.bins, 2)

        return cls(
            rows=by_slot(rows).astype(np.int64),
            weight=by_slot(weight),
            amount=None if amount is None else by_slot(amount),
            grid=grid,
        )

    @property
    def size(self) -> int:
        """Number of groups, empty ones included."""
        return len(self.rows)

    def only(self, groups: slice) -> Self:
        """These groups alone, such as the odd buckets: `slice(1, None, 2)`."""
        amount = None if self.amount is None else self.amount[groups]
        return replace(self, rows=self.rows[groups], weight=self.weight[groups], amount=amount)

    def joined(self, parts: Sequence[Sequence[int]]) -> Self:
        """The groups of each part added up, as one group."""

        def added(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
            return np.stack([values[list(part)].sum(axis=0) for part in parts])

        amount = None if self.amount is None else added(self.amount)
        return replace(self, rows=added(self.rows), weight=added(self.weight), amount=amount)

    def total(self) -> ScoreCounts:
        """All groups together, as counts on the coarse grid.

        Raises:
            DataContractError: no group has a row.
        """
        return ScoreCounts.from_table(self._table(), self.grid)

    def _table(self) -> pa.Table:
        rows = self.rows.sum(axis=0).ravel()
        slot = np.flatnonzero(rows)
        amount = np.full(len(slot), np.nan) if self.amount is None else self.amount.sum(axis=0).ravel()[slot]
        columns = {
            "bin": slot // 2,
            "label": slot % 2,
            "n": rows[slot],
            "weight": self.weight.sum(axis=0).ravel()[slot],
            "amount": amount,
        }
        return pa.table(columns)

    def to_records(self) -> dict[str, Any]:
        """The counts as JSON-able lists, of occupied slots only; weights only if they differ from the rows."""
        slot = np.flatnonzero(self.rows)
        columns: dict[str, npt.NDArray[Any]] = {"slot": slot, "rows": self.rows.ravel()[slot]}
        if not np.array_equal(self.weight, self.rows):
            columns["weight"] = self.weight.ravel()[slot]
        if self.amount is not None:
            columns["amount"] = self.amount.ravel()[slot]
        grid = {"bins": self.grid.bins, "bound": self.grid.bound}
        return {"size": self.size, "grid": grid, **{name: values.tolist() for name, values in columns.items()}}

    @classmethod
    def from_records(cls, records: Mapping[str, Any]) -> Self:
        """What `to_records` wrote, the same to the last bit."""
        rows = np.array(records["rows"], dtype=np.float64)
        weight = np.array(records.get("weight", rows), dtype=np.float64)
        amount = np.array(records["amount"], dtype=np.float64) if "amount" in records else None
        slot = np.array(records["slot"], dtype=np.int64)
        return cls.of_slots(slot, rows, weight, amount, size=records["size"], grid=LogitGrid(**records["grid"]))


@dataclass(frozen=True, eq=False)
class FinePattern:
    """Fine counts of all rows, by whose distribution coarse counts of some of the rows are spread.

    Within a coarse bin the rows of a class are assumed to be distributed as all rows of that class. So parts add up to
    the fine counts at every threshold, and a threshold inside a coarse bin splits it in proportion.
    """

    counts: ScoreEntries
    grid: LogitGrid

    def spread(self, rows: npt.NDArray[Any], weight: FloatArray, amount: FloatArray | None) -> ScoreCounts:
        """Coarse sums, each bins x 2, spread over the fine entries. Row counts are rounded; their sums stay."""
        sums: dict[str, Any] = {}
        for label, name in enumerate(("negative", "positive")):
            running = np.rint(np.cumsum(self._spread(f"{name}s", rows[:, label])))
            running[1:] -= running[:-1]
            sums[f"{name}s"] = running.astype(np.int64)
            sums[f"{name}_weight"] = self._spread(f"{name}_weight", weight[:, label])
            if amount is not None:
                sums[f"{name}_amount"] = self._spread(f"{name}_amount", amount[:, label])
        return ScoreCounts(**vars(self.counts) | sums)

    def coarse_mean(self, values: FloatArray, kind: str = "weight") -> FloatArray:
        """Means of the entries' values in each coarse bin, by class: bins x 2, negatives first; 0 in an empty bin.

        Args:
            values: entries x 2, what a negative and a positive row of each entry counts for.
            kind: which sums the means are weighted by: "rows", "weight" or "amount".
        """
        names = [f"{label}s" if kind == "rows" else f"{label}_{kind}" for label in ("negative", "positive")]
        means = [
            np.bincount(self._bin, self._share[name] * values[:, label], minlength=self.grid.bins)
            for label, name in enumerate(names)
        ]
        return np.stack(means, axis=1).astype(np.float64)

    def _spread(self, column: str, coarse: FloatArray) -> FloatArray:
        return self._share[column] * coarse[self._bin]

    @cached_property
    def _bin(self) -> IntArray:
        return self.grid.bin_of(self.counts.score)

    @cached_property
    def _share(self) -> dict[str, FloatArray]:
        """Each entry's share of its coarse bin, by column; the entries of a bin add up to 1."""
        found: dict[str, FloatArray] = {}
        for name in SUM_COLUMNS:
            if (values := getattr(self.counts, name)) is not None:
                whole = np.bincount(self._bin, values, minlength=self.grid.bins)[self._bin]
                found[name] = np.divide(values, whole, out=np.zeros(len(whole)), where=whole > 0.0)
        return found
