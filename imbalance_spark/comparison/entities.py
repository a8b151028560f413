"""What flagging the top entities of each day gives, by strategy; an entity is a card, a customer, a device."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from pyspark.sql import DataFrame

from imbalance_spark.comparison.prepare import PreparedOrders
from imbalance_spark.comparison.score_strategies import candidate_of
from imbalance_spark.config.run import RunConfig
from imbalance_spark.metrics.entities import top_entities
from imbalance_spark.scoring.entity_days import collect_top, entity_days
from imbalance_spark.train_only.strategies.fit import FittedStrategy

ENTITIES = "entities"
"""Group of these metrics, such as `validation/entities/precision`."""


def entity_metrics(
    prepared: PreparedOrders, fitted: Sequence[FittedStrategy], config: RunConfig
) -> dict[str, Mapping[str, float]]:
    """By strategy the metrics of `TopEntities` on validation and test; nothing where the config names no entity.

    Passes: one over validation and test, which writes a row for each entity and day; two over that table.
    """
    entity, time = config.scoring.entity, config.orders.time
    if entity is None or time is None:
        return {}
    candidates, run = [candidate_of(one) for one in fitted], prepared.run

    def scored() -> DataFrame:
        inputs = prepared.scored(prepared.inputs)
        return entity_days(inputs, candidates, key=config.orders.key, entity=entity, time=time)

    days = run.table("entity_days", scored)

    def found() -> Any:
        scoring, names = config.scoring, [one.name for one in fitted]
        by_fold = collect_top(days, names, per_day=scoring.top_entities)
        metrics: dict[str, dict[str, float]] = {name: {} for name in names}
        for fold, by_name in by_fold.items():
            for name, top in by_name.items():
                values = asdict(
                    top_entities(top, per_day=scoring.top_entities, label_delay_days=scoring.label_delay_days)
                )
                metrics[name] |= {f"{fold}/{ENTITIES}/{metric}": v for metric, v in values.items() if math.isfinite(v)}
        return metrics

    return dict(run.document("entities", found))
