"""The rows of a class in memory: their keys and numbers, in the order of their hashes."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from pyspark.sql import Column, DataFrame

from imbalance_spark.errors import DataContractError
from imbalance_spark.frames import col
from imbalance_spark.train_only.guard import leakage_errors
from imbalance_spark.train_only.sampling.neighbours.held import held_bytes
from imbalance_spark.train_only.sampling.neighbours.space import HASH, Floats, PointArrays, Space, Words

_KEY_BYTES = 32


@dataclass(frozen=True, kw_only=True)
class HeldClass:
    """Rows of one class, ascending by hash.

    Args:
        hashes: of the keys. keys: the key columns.
        values: (rows, features), unscaled; NaN where there is none.
    """

    hashes: Words
    keys: pa.Table
    values: Floats

    def points(self, space: Space) -> PointArrays:
        """The rows as points of this space, whose features these are."""
        return PointArrays(
            hashes=self.hashes,
            codes=np.zeros(len(self.hashes), np.int32),
            values=space.scale.scaled_values(self.values),
        )


def collect_class(
    rows: DataFrame, hashed: Column, key: Sequence[str], features: Sequence[str], stage: str
) -> HeldClass:
    """The rows on the driver, one pass; the caller has bounded their number.

    Raises:
        DataContractError: two rows have one key.
        LeakageError: a row whose split is not "train".
    """
    numbers = [col(name).cast("double").alias(f"__x_{i}") for i, name in enumerate(features)]
    keys = [col(name) for name in key]
    with leakage_errors():
        table = rows.select(hashed.alias(HASH), *keys, *numbers).toArrow().combine_chunks()
    hashes = np.asarray(table[HASH], np.int64)
    order = np.argsort(hashes, kind="stable")
    hashes = hashes[order]
    if (hashes[1:] == hashes[:-1]).any():
        raise DataContractError(f"{stage}: a class has rows of the same key. Remove them upstream.")
    values = np.empty((len(order), len(features)))
    for i in range(len(features)):
        values[:, i] = np.asarray(table[f"__x_{i}"], np.float64)[order]
    named = table.select(list(key)).take(pa.array(order)).combine_chunks()
    return HeldClass(hashes=hashes, keys=named, values=values)


def class_bytes(rows: int, space: Space) -> int:
    """What a class of so many rows takes in memory, its points and their cells included."""
    return rows * (8 * space.width + _KEY_BYTES) + held_bytes(rows, space, "cells")
