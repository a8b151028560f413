"""The entities of each day by their highest score, such as cards: what `metrics.entities` reads."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pyarrow as pa
from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F
from pyspark.sql.window import WindowSpec

from imbalance_spark.core.columns import HELD_OUT_FOLDS, col
from imbalance_spark.core.hashing import key_hash
from imbalance_spark.metrics.entities import EntityDays
from imbalance_spark.orders.model_inputs import LABEL
from imbalance_spark.scoring.boosters import Candidate, common_features
from imbalance_spark.scoring.held_out_rows import FOLD, held_out_rows, scores_of_features

DAY, ENTITY, IS_COMPROMISED = "day", "entity", "is_compromised"
"""Columns of entity-days: days since 1970, a hash of the entity, whether a row of the day is positive."""

IS_TAKEN_OUT = "is_taken_out"
"""Column of `entity_day_scores`."""

_PURPOSE, _ALONE = "entity", "row without an entity"
"""Of the hashes of entities, and of rows that stand for themselves: order 17 is not card 17."""


def entity_days(
    inputs: DataFrame, candidates: Sequence[Candidate], *, key: Sequence[str], entity: str, time: str
) -> DataFrame:
    """Each entity of each day of validation and test with its highest scores, of models of two classes. Lazy.

    One Spark scan and a shuffle of one row for each entity, day and partition.

    Args:
        inputs: see `scan_held_out`, with `entity` and `time`. A row without an entity stands for itself.
        entity: column of what is flagged as a whole; key types alone.
        time: date or timestamp; days are those of the session's time zone.
    Returns:
        `fold` (int, 0 is validation), `day` (int), `entity` (bigint, a hash), `is_compromised` (boolean), and for each
        candidate `score_<number>` (double): corrected probabilities.
    """
    features = common_features(candidates)
    of_row = {
        DAY: F.unix_date(F.to_date(col(time))),
        ENTITY: F.when(col(entity).isNotNull(), key_hash([entity], 0, _PURPOSE)).otherwise(key_hash(key, 0, _ALONE)),
    }
    rows = held_out_rows(inputs, features, key=key, group=[entity], segments=(), measures=(), more=of_row)
    models = inputs.sparkSession.sparkContext.broadcast([c.models for c in candidates])

    def scored(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        scores = scores_of_features(models.value, len(features))
        for batch in batches:
            if batch.num_rows:
                columns = {name: batch.column(name) for name in (FOLD, DAY, ENTITY, LABEL)}
                yield pa.RecordBatch.from_pydict(
                    columns | {_score(n): pa.array(np.asarray(found)) for n, found in enumerate(scores(batch))}
                )

    names = [_score(number) for number in range(len(candidates))]
    schema = f"{FOLD} int, {DAY} int, {ENTITY} bigint, {LABEL} double" + "".join(f", {n} double" for n in names)
    highest = [F.max(name).alias(name) for name in names]
    by_day = rows.mapInArrow(scored, schema).groupBy(FOLD, DAY, ENTITY)
    return by_day.agg((F.max(LABEL) > 0).alias(IS_COMPROMISED), *highest)


def collect_top(days: DataFrame, names: Sequence[str], *, per_day: int) -> dict[str, Mapping[str, EntityDays]]:
    """The top entities of each day, by fold and name of the model: as many as `top_entities` may look at.

    Two passes over the entity-days. Collected are, for each model, fold and day, at most `per_day` entities, and as
    many more as can have been taken out: `per_day` for each day before, but no more than are compromised.

    Args:
        days: see `entity_days`. names: of its scores, in their order.
    """
    totals = {row[FOLD]: row for row in _totals(days).collect()}
    most = {fold: per_day + min(per_day * row["days"], row["compromised"]) for fold, row in totals.items()}
    positive_days = F.array_sort(F.collect_set(F.when(F.col(IS_COMPROMISED), F.col(DAY))).over(_of_entity()))
    scores = by_model(range(len(names)))
    long = days.select(FOLD, DAY, ENTITY, IS_COMPROMISED, positive_days.alias("positive_days"), scores)
    rank = F.row_number().over(Window.partitionBy(FOLD, "model", DAY).orderBy(F.desc("score"), ENTITY))
    limit = F.lit(max(most.values(), default=0))
    top = long.select("*", rank.alias("rank")).where(F.col("rank") <= limit)
    table = top.orderBy(FOLD, "model", DAY, "rank").select(FOLD, "model", DAY, ENTITY, IS_COMPROMISED, "positive_days")
    found = table.toPandas()
    return {
        fold: {
            name: EntityDays(
                day=mine[DAY].to_numpy(dtype=np.int64),
                entity=mine[ENTITY].to_numpy(dtype=np.int64),
                is_compromised=mine[IS_COMPROMISED].to_numpy(dtype=bool),
                positive_days=[np.asarray(one, dtype=np.int64) for one in mine["positive_days"]],
                compromised=int(totals[number]["compromised"]),
                compromised_days=int(totals[number]["compromised_days"]),
            )
            for model, name in enumerate(names)
            for mine in [found[(found[FOLD] == number) & (found["model"] == model)]]
        }
        for number, fold in enumerate(HELD_OUT_FOLDS)
        if number in totals
    }


def entity_day_scores(days: DataFrame, models: Sequence[str], *, label_delay_days: int) -> DataFrame:
    """At which thresholds each entity-day of validation is flagged and not taken out before. Lazy; one shuffle.

    It is flagged where the threshold is at most its score. It is taken out where it is at most that of an earlier day
    on which the entity was compromised, and so was found, and more than `label_delay_days` have passed since.

    Args:
        days: see `entity_days`. models: names of its scores, in their order.
    Returns:
        `model` (string), `is_compromised`, `is_taken_out` (boolean) and `score` (double): for each entity-day the
        score up to which it is flagged, and another row with that up to which a flagged one is taken out, if any.
    """
    long = days.where(F.col(FOLD) == 0).select(DAY, ENTITY, IS_COMPROMISED, by_model(models))
    known = Window.partitionBy("model", ENTITY).orderBy(DAY).rangeBetween(
        Window.unboundedPreceding, -(label_delay_days + 1)
    )  # fmt: skip
    found_at = F.max(F.when(F.col(IS_COMPROMISED), F.col("score"))).over(known)
    taken_out_at = F.when(found_at.isNotNull(), F.least("score", found_at))
    both = F.array(
        F.struct(F.lit(False).alias(IS_TAKEN_OUT), F.col("score")),
        F.struct(F.lit(True).alias(IS_TAKEN_OUT), taken_out_at.alias("score")),
    )
    return (
        long.select("model", IS_COMPROMISED, both.alias("both"))
        .select("model", IS_COMPROMISED, F.inline("both"))
        .where(F.col("score").isNotNull())
    )


def _totals(days: DataFrame) -> DataFrame:
    """By fold: days, entities that are compromised on any, and on how many days in all."""
    by_entity = days.groupBy(FOLD, ENTITY).agg(F.count_if(IS_COMPROMISED).alias("n"))
    compromised = by_entity.groupBy(FOLD).agg(
        F.count_if(F.col("n") > 0).alias("compromised"), F.sum("n").alias("compromised_days")
    )
    return compromised.join(days.groupBy(FOLD).agg(F.countDistinct(DAY).alias("days")), FOLD, "inner")


def _of_entity() -> WindowSpec:
    return Window.partitionBy(FOLD, ENTITY).rowsBetween(Window.unboundedPreceding, Window.unboundedFollowing)


def by_model(models: Sequence[int | str]) -> Column:
    """A row for each model with its name, `model`, and `score`, in the order of the columns of scores."""
    scores = [
        F.struct(F.lit(model).alias("model"), F.col(_score(number)).alias("score"))
        for number, model in enumerate(models)
    ]
    return F.inline(F.array(*scores))


def _score(number: int) -> str:
    return f"score_{number}"
