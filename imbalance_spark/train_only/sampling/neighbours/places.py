"""The place of a row's hash among all: what a draw of a row by number needs."""

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from imbalance_spark.errors import DataContractError
from imbalance_spark.hashing import hash_bucket
from imbalance_spark.train_only.guard import leakage_errors
from imbalance_spark.train_only.sampling.neighbours.lists import NEAR
from imbalance_spark.train_only.sampling.neighbours.space import HASH

PLACE = "__place"
"""Column of a row's place, from 0, in the order of hashes."""
_BUCKET_ROWS = 1 << 15


def with_places(lists: DataFrame, ids: DataFrame, rows: int, stage: str) -> DataFrame:
    """The lists with `PLACE`; one pass over `ids`, the rest is lazy.

    Places are ranks inside buckets of the hash, and the buckets' offsets.

    Args:
        lists: `HASH` and `NEAR`. ids: `HASH` of the same rows, `rows` of them.

    Raises:
        DataContractError: two rows have one key.
    """
    bucket = hash_bucket(HASH, rows, _BUCKET_ROWS)
    per_bucket = ids.groupBy(bucket.alias("__bucket")).agg(
        F.count(HASH).alias("rows"), F.size(F.array_distinct(F.collect_list(HASH))).alias("distinct")
    )
    with leakage_errors():
        # Bounded: one row for some 32,768 rows.
        found = sorted((row["__bucket"], row["rows"], row["distinct"]) for row in per_bucket.collect())
    if any(n != distinct for _, n, distinct in found):
        raise DataContractError(f"{stage}: a class has rows of the same key. Remove them upstream.")
    offsets, before = [], 0
    for number, n, _ in found:
        offsets.append((number, before))
        before += n
    table = F.broadcast(lists.sparkSession.createDataFrame(offsets, "__bucket bigint, __before bigint"))
    in_bucket = Window.partitionBy("__bucket").orderBy(HASH)
    ranked = lists.select("*", bucket.alias("__bucket")).join(table, on="__bucket", how="inner")
    place = F.col("__before") + F.row_number().over(in_bucket) - 1
    return ranked.select(HASH, NEAR, place.alias(PLACE))
