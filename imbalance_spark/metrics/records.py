"""Score counts as JSON-able records and back, the same to the last bit."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from imbalance_spark.metrics.grid import LogitGrid

_ROWS = ("positives", "negatives")
_SUMS = ("positive_weight", "negative_weight", "positive_amount", "negative_amount")

Columns = Mapping[str, npt.NDArray[Any] | None]


def to_records(grid: LogitGrid | None, columns: Columns) -> dict[str, Any]:
    """The columns of `ScoreCounts` as lists, absent ones left out; bins by number where every entry is a bin."""
    lists = {name: values.tolist() for name, values in columns.items() if values is not None}
    if grid is None:
        lists.pop("cut_off")
        return lists
    bins = grid.bin_of(lists["score"])
    settings = {"grid": {"bins": grid.bins, "bound": grid.bound}}
    if not np.array_equal(lists["cut_off"], grid.lower(bins)) or not np.array_equal(lists["score"], grid.value(bins)):
        return settings | lists
    return settings | {"bin": bins.tolist()} | {name: lists[name] for name in (*_ROWS, *_SUMS) if name in lists}


def from_records(records: Mapping[str, Any]) -> tuple[LogitGrid | None, dict[str, Any]]:
    """Grid and columns of `ScoreCounts` from what `to_records` made."""
    grid = LogitGrid(**records["grid"]) if "grid" in records else None
    rows = {name: np.array(records[name], dtype=np.int64) for name in _ROWS}
    sums = {name: np.array(records[name], dtype=np.float64) if name in records else None for name in _SUMS}
    return grid, _places(grid, records) | rows | sums


def _places(grid: LogitGrid | None, records: Mapping[str, Any]) -> dict[str, Any]:
    if grid is not None and "bin" in records:
        bins = np.array(records["bin"], dtype=np.int64)
        return {"score": grid.value(bins), "cut_off": grid.lower(bins)}
    score = np.array(records["score"], dtype=np.float64)
    return {"score": score, "cut_off": np.array(records.get("cut_off", score), dtype=np.float64)}
