"""Further passes over the rows of bins with several scores, for exact counts."""

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from imbalance_spark.core.arrays import FloatArray, IntArray
from imbalance_spark.core.errors import ConfigError, DataContractError
from imbalance_spark.metrics.grid import INVALID_AMOUNT, LogitGrid

if TYPE_CHECKING:
    import pandas as pd

_PART = "key bigint, n bigint, weight double, amount double, lowest double, highest double"


def sums_of(rows: DataFrame) -> list[Column]:
    """The aggregates `n`, `weight` and `amount`; rows may lack the last two."""
    count = F.count(F.lit(1))
    has_weight, has_amount = "weight" in rows.columns, "amount" in rows.columns
    weighted = F.col("weight") * F.col("amount") if has_weight else F.col("amount")
    return [
        count.alias("n"),
        (F.sum("weight") if has_weight else count.cast("double")).alias("weight"),
        (F.sum(weighted) if has_amount else F.lit(None).cast("double")).alias("amount"),
    ]


def bin_and_label() -> tuple[Column, Column]:
    """`bin` and `label` (both int) from `slot`."""
    bin_number = F.shiftright("slot", 1) + F.lit(INVALID_AMOUNT)
    return bin_number.alias("bin"), F.col("slot").bitwiseAND(1).alias("label")


def bins_of_several_scores(per_bin: "pd.DataFrame") -> IntArray:
    """Bins whose rows, of both classes, do not all have the same score."""
    scores = per_bin.groupby("bin").agg({"lowest": "min", "highest": "max"})
    return scores.index[scores["lowest"] < scores["highest"]].to_numpy(dtype=np.int64)


def recount_scores(rows: DataFrame, per_bin: "pd.DataFrame", bins: IntArray) -> "pd.DataFrame":
    """Entries of `ScoreCounts` that are one score each: counts the rows of these bins again, by score, in one pass.

    Args:
        rows: from `slotted_rows`. per_bin: their counts by bin, with `lowest` and `highest` score.
        bins: all bins with several scores; one row per distinct score and class in them is collected.
    Raises:
        DataContractError: the rows have changed since they were counted.
    """
    is_recounted = per_bin["bin"].isin(bins)
    if not is_recounted.any():
        return _entries(per_bin)
    per_score = _rows_in(rows, bins).groupBy("score", "slot").agg(*sums_of(rows))
    score = F.col("score")
    columns = (bin_and_label()[1], "n", "weight", "amount", score.alias("lowest"), score.alias("highest"))
    found = per_score.select(*columns).toArrow().to_pandas()
    _check_same(per_bin[is_recounted], found)
    return _concat([_entries(per_bin[~is_recounted]), _entries(found)])


def recount_between_positives(
    rows: DataFrame, per_bin: "pd.DataFrame", bins: IntArray, *, grid: LogitGrid, limit: int
) -> "pd.DataFrame":
    """Entries with positives are one score each; between two of them, the negatives of a bin are one entry.

    This makes average precision and ROC-AUC exact. One pass finds the scores of the positives in `bins`, one counts
    the rows of these bins between them. At most 2 x `limit` rows for scores of positives, 2 x `limit` for negatives
    and one per bin are collected.

    Raises:
        ConfigError: these bins have more than `limit` positives.
        DataContractError: the rows have changed since they were counted.
    """
    hits = per_bin[(per_bin["label"] == 1) & per_bin["bin"].isin(bins)]
    if (positives := int(hits["n"].sum())) > limit:
        raise ConfigError(
            f"collect_score_counts: exact=True would collect the scores of {positives} positives, more than "
            f"exact_limit={limit}. Raise exact_limit, or leave exact out and use the bounds."
        )
    is_recounted = per_bin["bin"].isin(hits["bin"])
    deciding = _rows_in(rows, hits["bin"].to_numpy(dtype=np.int64))
    scores = deciding.where(F.col("slot").bitwiseAND(1) == 1).select("score").distinct().toArrow()
    parts = deciding.mapInArrow(_count_between(np.sort(scores["score"].to_numpy())), _PART)
    sums = [F.sum(name).alias(name) for name in ("n", "weight", "amount")]
    per_key = parts.groupBy("key").agg(*sums, F.min("lowest").alias("lowest"), F.max("highest").alias("highest"))
    found = per_key.toArrow().to_pandas()
    _check_same(per_bin[is_recounted], found)
    kept = _entries(per_bin[~is_recounted])
    is_bin = per_bin.loc[~is_recounted, "bin"].isin(bins).to_numpy()
    number = per_bin.loc[~is_recounted, "bin"].to_numpy(dtype=np.int64)
    kept["score"] = np.where(is_bin, grid.value(number), kept["score"])
    kept["threshold"] = np.where(is_bin, grid.lower(number), kept["threshold"])
    return _concat([kept, _entries(found.assign(label=found["key"] % 2))])


def _rows_in(rows: DataFrame, bins: IntArray) -> DataFrame:
    """The rows of these bins, by a join that takes far more of them than a list of literals."""
    both = np.sort(np.concatenate([2 * (bins - INVALID_AMOUNT), 2 * (bins - INVALID_AMOUNT) + 1]))
    slots = rows.sparkSession.createDataFrame(pa.table({"slot": both.astype(np.int32)}))
    return rows.join(F.broadcast(slots), on="slot", how="leftsemi")


def _count_between(positives: FloatArray) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """Sums of each batch by (bin, place among the positives' scores, whether it is one of them, label)."""

    def count(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            slot, score = _column(batch, "slot").astype(np.int64), _column(batch, "score")
            below = np.searchsorted(positives, score, side="right")
            is_one = (below > 0) & (positives[below - 1] == score)
            key = (((slot >> 1) * (len(positives) + 1) + below) * 2 + is_one) * 2 + (slot & 1)
            yield _sums_by(key, batch)

    return count


def _sums_by(key: IntArray, batch: pa.RecordBatch) -> pa.RecordBatch:
    occupied, group = np.unique(key, return_inverse=True)
    score, has = _column(batch, "score"), batch.schema.names
    weight = _column(batch, "weight") if "weight" in has else np.ones(len(key))
    amount = weight * _column(batch, "amount") if "amount" in has else np.full(len(key), np.nan)
    lowest, highest = np.full(len(occupied), np.inf), np.full(len(occupied), -np.inf)
    np.minimum.at(lowest, group, score)
    np.maximum.at(highest, group, score)
    columns = {
        "key": occupied,
        "n": np.bincount(group, minlength=len(occupied)).astype(np.int64),
        "weight": np.bincount(group, weight, minlength=len(occupied)),
        "amount": np.bincount(group, amount, minlength=len(occupied)),
        "lowest": lowest,
        "highest": highest,
    }
    return pa.RecordBatch.from_pydict({name: pa.array(values) for name, values in columns.items()})


def _concat(parts: "Sequence[pd.DataFrame]") -> "pd.DataFrame":
    import pandas as pd  # here: workers of a fit import this room, and need no pandas

    return pd.concat(parts, ignore_index=True)


def _entries(counted: "pd.DataFrame") -> "pd.DataFrame":
    """Rows of `ScoreCounts.from_entries`: an entry starts at its lowest score and is represented by its middle."""
    middle = (counted["lowest"] + counted["highest"]) / 2.0
    return counted[["label", "n", "weight", "amount"]].assign(score=middle, threshold=counted["lowest"])


def _check_same(counted: "pd.DataFrame", recounted: "pd.DataFrame") -> None:
    first, second = int(counted["n"].sum()), int(recounted["n"].sum())
    if first != second:
        raise DataContractError(
            f"collect_score_counts: a second pass found {second} rows, the first one {first}. "
            "The scores change between passes: persist or write them first, or set exact_limit=0."
        )


def _column(batch: pa.RecordBatch, name: str) -> npt.NDArray[np.float64]:
    return np.asarray(batch.column(batch.schema.get_field_index(name)).to_numpy(zero_copy_only=False))
