"""Counts on the driver: the number of rows of each class by score."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from imbalance_spark.core.arrays import FloatArray, IntArray
from imbalance_spark.core.errors import DataContractError
from imbalance_spark.metrics.binning import DEFAULT_GRID, as_columns, bin_counts, describe_invalid, invalid_code
from imbalance_spark.metrics.curve import Curve
from imbalance_spark.metrics.grid import LogitGrid, ScoreEntries

if TYPE_CHECKING:
    import pandas as pd

EXACT_LIMIT = 1 << 20
"""Most distinct scores that `from_arrays` counts one by one; more are counted in bins."""

_ROWS = ("positives", "negatives")
_KEYS = {"threshold": "cut_off"}  # names of fields in records, where logged runs have another one
_SUMS = ("positive_weight", "negative_weight", "positive_amount", "negative_amount")
Columns = Mapping[str, npt.NDArray[Any] | None]


@dataclass(frozen=True, kw_only=True, eq=False)
class ScoreCounts(ScoreEntries):
    """Rows of each class by score, highest score first: sufficient for all metrics, curves and thresholds.

    Examples:
        >>> counts = ScoreCounts.from_arrays(labels=[0, 0, 1, 1], scores=[0.1, 0.4, 0.4, 0.8])
        >>> counts.score, counts.positives, counts.negatives
        (array([0.8, 0.4, 0.1]), array([1, 1, 0]), array([0, 1, 1]))
        >>> counts.curve().roc_auc()
        0.875
    """

    @classmethod
    def from_arrays(
        cls,
        labels: npt.ArrayLike,
        scores: npt.ArrayLike,
        weights: npt.ArrayLike | None = None,
        amounts: npt.ArrayLike | None = None,
        *,
        grid: LogitGrid = DEFAULT_GRID,
        exact_limit: int = EXACT_LIMIT,
    ) -> Self:
        """Count rows in memory; exact up to `exact_limit` distinct scores (0: never), else in `grid`'s bins.

        Args:
            labels: 0 or 1 per row. scores: in [0, 1]. weights, amounts: finite, not negative.
        Raises:
            DataContractError: rows break these rules (with their number), or there is no row.
        """
        label, score, weight, amount = as_columns(labels, scores, weights, amounts)
        distinct, entry = np.unique(score, return_inverse=True)
        if len(distinct) > exact_limit:
            return cls.from_table(pa.table(bin_counts(label, score, weight, amount, grid=grid)), grid)
        one_each = np.ones(len(score))
        _refuse_invalid(invalid_code(label, score, weight, amount), one_each)
        weighted = None if amount is None else weight * amount
        return cls._of_entries(entry, label, (one_each, weight, weighted), (distinct, distinct), None)

    @classmethod
    def from_table(cls, table: "pa.Table | pd.DataFrame", grid: LogitGrid = DEFAULT_GRID) -> Self:
        """Counts from rows of `bin, label, n, weight, amount`, the columns of `bin_counts` and `score_counts`.

        Rows of the same bin and label are added up, so parts of a scan need not be merged before. An `amount` column
        of only null or NaN means that there are no amounts.

        Raises:
            DataContractError: rows were counted under a negative bin, or there is no row at all.
        """
        arrow = table if isinstance(table, pa.Table) else pa.Table.from_pandas(table, preserve_index=False)
        column = {name: arrow.column(name).to_numpy() for name in ("bin", "label", "n", "weight", "amount")}
        bins = column["bin"].astype(np.int64)
        _refuse_invalid(bins, column["n"])
        amount = column["amount"].astype(np.float64)
        sums = (column["n"], column["weight"], None if np.isnan(amount).all() else amount)
        occupied, entry = np.unique(bins, return_inverse=True)
        return cls._of_entries(entry, column["label"], sums, (grid.value(occupied), grid.lower(occupied)), grid)

    @classmethod
    def from_entries(cls, entries: "pd.DataFrame", grid: LogitGrid | None) -> Self:
        """Counts from rows of `score, threshold, label, n, weight, amount`; rows of one threshold are one entry.

        Args:
            entries: valid rows only. `score` represents the entry, `threshold` is its lowest score; if they are equal,
                the entry is one score. An `amount` of only null or NaN means that there are no amounts.
            grid: the bins of entries that are bins; None if every entry is one score.
        """
        threshold, first, entry = np.unique(entries["threshold"].to_numpy(), return_index=True, return_inverse=True)
        amount = entries["amount"].to_numpy(dtype=np.float64)
        sums = (entries["n"].to_numpy(), entries["weight"].to_numpy(), None if np.isnan(amount).all() else amount)
        return cls._of_entries(
            entry, entries["label"].to_numpy(), sums, (entries["score"].to_numpy()[first], threshold), grid
        )

    @classmethod
    def _of_entries(
        cls,
        entry: IntArray,
        label: npt.NDArray[Any],
        sums: tuple[FloatArray, FloatArray, FloatArray | None],
        scores: tuple[FloatArray, FloatArray],
        grid: LogitGrid | None,
    ) -> Self:
        score, threshold = scores
        slot = entry * 2 + (label == 1)

        def by_class(values: FloatArray) -> tuple[FloatArray, FloatArray]:
            total = np.bincount(slot, values, minlength=2 * len(score)).astype(np.float64).reshape(-1, 2)[::-1]
            return total[:, 1], total[:, 0]

        rows, weight = by_class(sums[0]), by_class(sums[1])
        amount = (None, None) if sums[2] is None else by_class(sums[2])
        return cls(
            score=score[::-1],
            threshold=threshold[::-1],
            positives=rows[0].astype(np.int64),
            negatives=rows[1].astype(np.int64),
            positive_weight=weight[0],
            negative_weight=weight[1],
            positive_amount=amount[0],
            negative_amount=amount[1],
            grid=grid,
        )

    def curve(self, through: Callable[[FloatArray], FloatArray] | None = None) -> Curve:
        """The curve over all thresholds, of scores mapped by the rising `through`, such as `PriorCorrection.apply`."""
        return Curve.of(self, through)

    def to_records(self) -> dict[str, Any]:
        """The counts as JSON-able numbers and lists: occupied bins, or scores, with their columns."""
        return to_records(self.grid, {name: values for name, values in vars(self).items() if name != "grid"})

    @classmethod
    def from_records(cls, records: Mapping[str, Any]) -> Self:
        """What `to_records` wrote, the same to the last bit."""
        grid, columns = from_records(records)
        return cls(grid=grid, **columns)


def _refuse_invalid(codes: npt.NDArray[Any], rows: npt.NDArray[Any]) -> None:
    if not len(codes):
        raise DataContractError("score counts: there is no row to count. Check the split and the filters.")
    broken = codes < 0
    rows_by_code = {int(code): int(rows[codes == code].sum()) for code in np.unique(codes[broken])}
    if rows_by_code:
        problems = ", ".join(describe_invalid(rows_by_code))
        raise DataContractError(
            f"score counts: {problems}, of {int(rows.sum())} rows. "
            "Quarantine these rows, or fix the model that scored them."
        )


def to_records(grid: LogitGrid | None, columns: Columns) -> dict[str, Any]:
    """The columns of `ScoreCounts` as lists, without absent ones; bins by number if every entry is a bin."""
    lists = {_KEYS.get(name, name): values.tolist() for name, values in columns.items() if values is not None}
    if grid is None:
        lists.pop("cut_off")
        return lists
    bins = grid.bin_of(lists["score"])
    settings = {"grid": {"bins": grid.bins, "bound": grid.bound}}
    if not np.array_equal(lists["cut_off"], grid.lower(bins)) or not np.array_equal(lists["score"], grid.value(bins)):
        return settings | lists
    return settings | {"bin": bins.tolist()} | {name: lists[name] for name in (*_ROWS, *_SUMS) if name in lists}


def from_records(records: Mapping[str, Any]) -> tuple[LogitGrid | None, dict[str, Any]]:
    """Grid and columns of `ScoreCounts` from the result of `to_records`."""
    grid = LogitGrid(**records["grid"]) if "grid" in records else None
    rows = {name: np.array(records[name], dtype=np.int64) for name in _ROWS}
    sums = {name: np.array(records[name], dtype=np.float64) if name in records else None for name in _SUMS}
    return grid, _scores(grid, records) | rows | sums


def _scores(grid: LogitGrid | None, records: Mapping[str, Any]) -> dict[str, Any]:
    if grid is not None and "bin" in records:
        bins = np.array(records["bin"], dtype=np.int64)
        return {"score": grid.value(bins), "threshold": grid.lower(bins)}
    score = np.array(records["score"], dtype=np.float64)
    return {"score": score, "threshold": np.array(records.get("cut_off", score), dtype=np.float64)}
