"""LightGBM's data sets from rows on a worker's local disk, one chunk in memory at a time."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import numpy.typing as npt

from imbalance_spark.train_only.learners.cuts import FeatureCuts
from imbalance_spark.train_only.learners.spill import SpilledRows, Values

_BELOW_ALL = np.float32(-3e37)


class _Rows(lightgbm.Sequence):
    """The features of spilled rows, which LightGBM reads batch by batch."""

    def __init__(self, rows: SpilledRows) -> None:
        self._rows = rows
        self.batch_size = rows.rows_a_chunk

    def __getitem__(self, index: "int | slice | list[int]") -> npt.NDArray[Any]:
        if isinstance(index, slice):
            first, end, _ = index.indices(len(self))
            return self._rows.read(first, end - first)[:, : self._rows.features].astype(np.float64)
        return np.concatenate([self[one : one + 1] for one in np.atleast_1d(index)])

    def __len__(self) -> int:
        return self._rows.rows


def reference(cuts: FeatureCuts, codes: Mapping[int, int], params: Mapping[str, Any], folder: Path) -> lightgbm.Dataset:
    """A tiny data set whose bins lie between given cuts: the same on each worker, whatever its rows.

    It is binned without a network: across one, `forcedbins_filename` gives all workers but the first wrong bins.

    Args:
        codes: of each feature that is split by sets of categories, how many it has.
        folder: for a file that LightGBM reads its bins from.
    """
    columns: list[Values] = [
        np.arange(codes[feature], dtype=np.float32) if feature in codes else np.array([_BELOW_ALL, *found], np.float32)
        for feature, found in enumerate(cuts.by_feature)
    ]
    # A last row without any value: every feature has a bin for missing ones.
    values = np.full((max(map(len, columns)) + 1, len(columns)), np.nan)
    for feature, column in enumerate(columns):
        values[: len(column), feature] = column
    bounds = [
        {"feature": feature, "bin_upper_bound": _between(found)}
        for feature, found in enumerate(cuts.by_feature)
        if feature not in codes and len(found)
    ]
    file = folder / "bins.json"
    file.write_text(json.dumps(bounds), "ascii")
    settings = {**params, "forcedbins_filename": str(file)}
    return lightgbm.Dataset(values, params=settings, categorical_feature=sorted(codes), free_raw_data=True).construct()


def binned(rows: SpilledRows, bins: lightgbm.Dataset, margins: Sequence[float]) -> lightgbm.Dataset:
    """Rows in the bins of a reference.

    Args:
        margins: that scores start from, one or one for each class.
    """
    chunks = [rows.read(first, rows.rows_a_chunk)[:, rows.features :] for first in rows.chunks()]
    others = np.concatenate(chunks).T.copy()
    start = np.tile(np.array(margins), (rows.rows, 1)) if len(margins) > 1 else np.full(rows.rows, margins[0])
    return lightgbm.Dataset(
        _Rows(rows), others[0], weight=others[1] if rows.is_weighed else None, init_score=start, reference=bins,
        params=bins.get_params(),
    ).construct()  # fmt: skip


def _between(cuts: Values) -> list[float]:
    """Bounds just below the cuts: a value at a cut belongs to the bin above, as with XGBoost."""
    below = np.nextafter(cuts, np.float32(-np.inf)).astype(np.float64)
    return [float(bound) for bound in (below + cuts.astype(np.float64)) / 2.0]
