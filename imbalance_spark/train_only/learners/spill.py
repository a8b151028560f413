"""Rows of one training worker on its local disk, and XGBoost's matrices from them, one chunk in memory at a time."""

import os
import shutil
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import xgboost

from imbalance_spark.core.columns import IS_EARLY_STOPPING
from imbalance_spark.core.errors import TrainingError
from imbalance_spark.orders.model_inputs import LABEL

Values = npt.NDArray[np.float32]

_CHUNK_BYTES = 8 << 20
_SPARE_BYTES = 64 << 20  # of the disk, which Spark writes to as well
_HASHED_AT_ONCE = 1 << 16
_MIXED = np.uint64(0x9E3779B97F4A7C15)


@dataclass(kw_only=True)
class SpilledRows:
    """Rows as float32 in an unnamed file: features, label and, where `is_weighed`, weight.

    The file has no name from the start, so that nothing is left behind when a worker is killed.
    """

    file: IO[bytes]
    features: int
    is_weighed: bool
    rows: int = 0
    fingerprint: int = 0
    """Sum of the rows' 64-bit hashes: equal for equal rows in any order."""

    @property
    def bytes(self) -> int:
        """What they take on disk."""
        return self.rows * self._width * 4

    @property
    def _width(self) -> int:
        return self.features + 1 + self.is_weighed

    def append(self, rows: Values) -> None:
        """Write rows behind those that are there."""
        self.file.write(np.ascontiguousarray(rows).data)
        self.rows += len(rows)
        self.fingerprint = (self.fingerprint + int(hashes_of(rows).sum(dtype=np.uint64))) % (1 << 64)

    @property
    def rows_a_chunk(self) -> int:
        """How many are about 8 MiB."""
        return max(1, _CHUNK_BYTES // (self._width * 4))

    def chunks(self) -> range:
        """The first row of each chunk; one chunk where there are no rows."""
        return range(0, max(self.rows, 1), self.rows_a_chunk)

    def read(self, first: int, most: int) -> Values:
        """Rows from `first` on; features, label and weight are columns."""
        rows = min(most, self.rows - first)
        self.file.flush()  # NumPy reads past Python's buffer
        self.file.seek(first * self._width * 4)
        return np.fromfile(self.file, np.float32, rows * self._width).reshape(rows, self._width)


class _Chunks(xgboost.DataIter):
    """Chunks for XGBoost, which reads them several times."""

    def __init__(self, rows: SpilledRows, margin: float | None, missing: float, cache: str | None) -> None:
        super().__init__(cache_prefix=cache, release_data=True)
        self._rows, self._margin, self._missing, self._next = rows, margin, missing, 0

    def reset(self) -> None:
        self._next = 0

    def next(self, input_data: Any) -> bool:
        # A worker without rows hands over one empty chunk, from which XGBoost takes the number of features.
        if self._next >= max(self._rows.rows, 1):
            return False
        chunk, features = self._rows.read(self._next, self._rows.rows_a_chunk), self._rows.features
        self._next += max(len(chunk), 1)
        input_data(
            data=np.nan_to_num(chunk[:, :features], nan=self._missing, posinf=np.inf, neginf=-np.inf),
            label=chunk[:, features],
            weight=chunk[:, features + 1] if self._rows.is_weighed else None,
            base_margin=None if self._margin is None else np.full(len(chunk), self._margin, dtype=np.float32),
        )
        return True


def spilled(
    batches: Iterable[pa.RecordBatch], inputs: tuple[str, ...], weight: str | None, folder: Path
) -> tuple[SpilledRows, SpilledRows]:
    """The rows to fit on and those of the early-stopping set, written to files in `folder`; reads the batches once.

    Args:
        inputs: names of the feature columns (float, NaN is missing).
        weight: name of the weight column.
    Raises:
        TrainingError: the disk has no space left for them.
    """

    def empty() -> SpilledRows:
        file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115  # closed by the caller, when the matrices are built
        return SpilledRows(file=file, features=len(inputs), is_weighed=weight is not None)

    to_fit, stopping = empty(), empty()
    names = [*inputs, LABEL, *([] if weight is None else [weight])]
    for batch in batches:
        rows = np.empty((batch.num_rows, len(names)), dtype=np.float32)
        for place, name in enumerate(names):
            rows[:, place] = batch.column(name).to_numpy(zero_copy_only=False)
        _require_space(folder, rows.nbytes, to_fit.bytes + stopping.bytes)
        is_stopping = batch.column(IS_EARLY_STOPPING).to_numpy(zero_copy_only=False)
        to_fit.append(rows[~is_stopping])
        stopping.append(rows[is_stopping])
    return to_fit, stopping


def quantile_matrix(
    rows: SpilledRows,
    *,
    ref: xgboost.DMatrix,
    max_bin: int,
    threads: int,
    margin: float | None = None,
    missing: float = np.nan,
    pages: Path | None = None,
) -> xgboost.DMatrix:
    """The rows as bins between the cuts of `ref`.

    Args:
        margin: what each row's score starts from, instead of the model's base score.
        missing: what is written for a missing value.
        pages: a folder to keep the bins in, instead of memory; it must outlive the matrix.
    """
    if pages is None:
        return xgboost.QuantileDMatrix(_Chunks(rows, margin, missing, None), ref=ref, max_bin=max_bin, nthread=threads)
    chunks = _Chunks(rows, margin, missing, str(pages / "bins"))
    return xgboost.ExtMemQuantileDMatrix(chunks, ref=ref, max_bin=max_bin, nthread=threads)


def local_folder() -> Path:
    """Where Spark has this worker write, the folder with most space."""
    folders = os.environ.get("SPARK_LOCAL_DIRS", "").split(",")
    usable = [folder for folder in folders if folder and Path(folder).is_dir()]
    return Path(max(usable, key=lambda folder: shutil.disk_usage(folder).free, default=tempfile.gettempdir()))


def _require_space(folder: Path, needed: int, written: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < needed + _SPARE_BYTES:
        raise TrainingError(
            f"a training worker has {free >> 20:,} MiB of local disk left after {written >> 20:,} MiB of its rows. "
            "Use more workers, point spark.local.dir at a larger disk, or fit on fewer rows."
        )


def hashes_of(rows: Values) -> npt.NDArray[np.uint64]:
    """A hash of each row, which a change to any of its values changes."""
    odd = np.random.default_rng(0).integers(1 << 62, size=rows.shape[1], dtype=np.uint64) * np.uint64(2) + np.uint64(1)
    found = np.empty(len(rows), dtype=np.uint64)
    for start in range(0, len(rows), _HASHED_AT_ONCE):
        bits = np.ascontiguousarray(rows[start : start + _HASHED_AT_ONCE]).view(np.uint32)
        row = bits.astype(np.uint64) @ odd  # arrays of integers wrap around
        found[start : start + len(row)] = (row ^ (row >> np.uint64(29))) * _MIXED
    return found
