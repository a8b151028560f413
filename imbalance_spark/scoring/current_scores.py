"""The latest score of each order, of a table to which every scoring appends."""

from collections.abc import Sequence

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from imbalance_spark.core.columns import col, map_columns, require_columns


def current_scores(scored: DataFrame, key: str | Sequence[str]) -> DataFrame:
    """The rows of a table of scored orders that hold now: of each key the one that was scored last. Lazy; one shuffle.

    An order that was corrected, or scored again by another model, is in the table once for each time. Whoever counts
    alerts counts each order once.

    Args:
        scored: what `score_batch` wrote, with any number of batches.
        key: columns that identify an order; null is a key as any other.

    Returns:
        One row per key with all columns of `scored`. Of rows that were scored at the same time, which a key that comes
        twice in one batch has, it is the same one each time.

    Raises:
        MissingColumnsError: a column of the key is absent, or `scored_at` is.
    """
    keys = (key,) if isinstance(key, str) else tuple(key)
    require_columns(scored, {*keys, "scored_at"}, "current_scores")
    columns = [col(name) for name in scored.columns]
    maps = map_columns(scored)
    hashed = [col(name) for name in scored.columns if name not in maps]
    latest = F.max_by(F.struct(*columns), F.struct(col("scored_at"), F.xxhash64(*hashed)))
    per_key = scored.groupBy(*[col(name).alias(f"_key_{i}") for i, name in enumerate(keys)]).agg(latest.alias("_row"))
    return per_key.select("_row.*")
