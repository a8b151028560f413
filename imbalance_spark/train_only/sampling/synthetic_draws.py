"""Which parents, which of their neighbours, how far: draws that are hashes of seed, class and number."""

from pyspark.sql import Column, DataFrame, SparkSession, Window
from pyspark.sql import functions as F

from imbalance_spark.frames import COPY_NUMBER
from imbalance_spark.train_only.sampling.neighbours.lists import NEAR
from imbalance_spark.train_only.sampling.neighbours.places import PLACE
from imbalance_spark.train_only.sampling.neighbours.space import HASH

NEIGHBOUR, CODE_OF_NEIGHBOUR = "__neighbour", "__neighbour_code"
CHOICE = "__choice"
"""Column of the draw in [0, 1) that chooses among a parent's neighbours."""
_BROADCAST_BYTES = 1 << 25
_NUMBERS_OF_LIST = 24


def uniform_draw(seed: str, purpose: str, *numbers: Column) -> Column:
    """A double in [0, 1) from seed, purpose and numbers."""
    return F.pmod(F.xxhash64(F.lit(f"{seed}/{purpose}"), *numbers), F.lit(1 << 53)) / F.lit(float(1 << 53))


def draw_pairs(placed: DataFrame, rows: int, wanted: int, seed: str) -> DataFrame:
    """`wanted` pairs of parent and neighbour, uniform with replacement: SMOTE as imbalanced-learn draws it. Lazy.

    A draw names its parent by the place of the parent's hash among all; fewer draws are the first of more.

    Args:
        placed: `HASH`, `NEAR` and `PLACE`, from 0, of the `rows` rows that may be a parent.

    Returns:
        `HASH` of the parent, `NEIGHBOUR`, `CODE_OF_NEIGHBOUR`, `gap` (double, in [0, 1)) and `copy_number`
        (int, from 1 for each parent).
    """
    draws = numbered_draws(placed.sparkSession, wanted, rows, seed)
    of_parent = Window.partitionBy(PLACE).orderBy("__number")
    chosen = F.get(NEAR, F.floor(F.col(CHOICE) * F.size(NEAR)).cast("int"))
    return draws.join(placed.hint(join_hint(rows, _NUMBERS_OF_LIST)), on=PLACE, how="inner").select(
        HASH,
        chosen["near"].alias(NEIGHBOUR),
        chosen["code"].alias(CODE_OF_NEIGHBOUR),
        F.row_number().over(of_parent).alias(COPY_NUMBER),
        F.col("gap"),
    )


def join_hint(rows: int, numbers: int) -> str:
    """How to join drawn rows, which are many, with a side of so many rows that is unique by what it is joined on."""
    # Never sorted; a small side goes to all executors, and the drawn rows are not shuffled then.
    return "broadcast" if rows * numbers * 8 <= _BROADCAST_BYTES else "shuffle_hash"


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


def numbered_draws(spark: SparkSession, wanted: int, rows: int, seed: str) -> DataFrame:
    """`wanted` draws: `__number`, the parent's `PLACE` among so many rows, `CHOICE` and `gap`, both in [0, 1). Lazy."""
    number = F.col("id")
    return spark.range(wanted).select(
        number.alias("__number"),
        F.floor(uniform_draw(seed, "parent", number) * rows).alias(PLACE),
        uniform_draw(seed, "choice", number).alias(CHOICE),
        uniform_draw(seed, "gap", number).alias("gap"),
    )
