"""Which parents, which of their neighbours, how far: draws that are hashes of seed, class and number."""

from pyspark.sql import Column, DataFrame, SparkSession, Window
from pyspark.sql import functions as F

from imbalance_spark.errors import DataContractError
from imbalance_spark.frames import COPY_NUMBER
from imbalance_spark.train_only.guard import leakage_errors
from imbalance_spark.train_only.sampling.neighbours.lists import NEAR
from imbalance_spark.train_only.sampling.neighbours.space import HASH

NEIGHBOUR, CODE_OF_NEIGHBOUR = "__neighbour", "__neighbour_code"
_BUCKET_ROWS = 1 << 15
_HASH_BITS = 62


def uniform_draw(seed: str, purpose: str, *numbers: Column) -> Column:
    """A double in [0, 1) from seed, purpose and numbers."""
    return F.pmod(F.xxhash64(F.lit(f"{seed}/{purpose}"), *numbers), F.lit(1 << 53)) / F.lit(float(1 << 53))


def draw_pairs(lists: DataFrame, ids: DataFrame, rows: int, wanted: int, seed: str, stage: str) -> DataFrame:
    """`wanted` pairs of parent and neighbour, uniform with replacement: SMOTE as imbalanced-learn draws it.

    A draw names its parent by the place of the parent's hash among all; fewer draws are the first of more.
    One pass over `ids`; the rest is lazy.

    Args:
        lists: `HASH` and `NEAR` of each row that may be a parent. ids: `HASH` of the same rows, `rows` of them.

    Returns:
        `HASH` of the parent, `NEIGHBOUR`, `CODE_OF_NEIGHBOUR`, `gap` (double, in [0, 1)) and `copy_number`
        (int, from 1 for each parent).

    Raises:
        DataContractError: two rows have one key.
    """
    placed = _with_places(lists, ids, rows, stage)
    draws = _draws(lists.sparkSession, wanted, rows, seed)
    of_parent = Window.partitionBy("__place").orderBy("__number")
    chosen = F.get(NEAR, F.floor(F.col("__choice") * F.size(NEAR)).cast("int"))
    return draws.join(placed, on="__place", how="inner").select(
        HASH,
        chosen["near"].alias(NEIGHBOUR),
        chosen["code"].alias(CODE_OF_NEIGHBOUR),
        F.row_number().over(of_parent).alias(COPY_NUMBER),
        F.col("gap"),
    )


def draw_for_each(lists: DataFrame, times: Column, seed: str) -> DataFrame:
    """For each row `times` neighbours of its own, uniform with replacement; columns as `draw_pairs`. Lazy."""
    copies = F.explode(F.sequence(F.lit(1), times.cast("int"))).alias(COPY_NUMBER)
    repeated = lists.where(times > 0).select(HASH, NEAR, copies)
    numbers = (F.col(HASH), F.col(COPY_NUMBER))
    place = F.floor(uniform_draw(seed, "choice", *numbers) * F.size(NEAR)).cast("int")
    chosen = F.get(NEAR, place)
    return repeated.select(
        HASH,
        chosen["near"].alias(NEIGHBOUR),
        chosen["code"].alias(CODE_OF_NEIGHBOUR),
        F.col(COPY_NUMBER),
        uniform_draw(seed, "gap", *numbers).alias("gap"),
    )


def _draws(spark: SparkSession, wanted: int, rows: int, seed: str) -> DataFrame:
    number = F.col("id")
    return spark.range(wanted).select(
        number.alias("__number"),
        F.floor(uniform_draw(seed, "parent", number) * rows).alias("__place"),
        uniform_draw(seed, "choice", number).alias("__choice"),
        uniform_draw(seed, "gap", number).alias("gap"),
    )


def _with_places(lists: DataFrame, ids: DataFrame, rows: int, stage: str) -> DataFrame:
    """The lists with `__place`, from 0 in the order of hashes: ranks inside buckets of the hash, and their offsets."""
    bits = max(0, (rows // _BUCKET_ROWS).bit_length())
    bucket = F.shiftright(HASH, _HASH_BITS - bits)
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
    return ranked.select(HASH, NEAR, place.alias("__place"))
