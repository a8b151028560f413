"""What flagging the top entities of each day gives, by strategy; an entity is a card, a customer, a device."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from pyspark.sql import DataFrame

from imbalance_spark.comparison.prepare import PreparedOrders
from imbalance_spark.config.run import RunConfig
from imbalance_spark.core.arrays import FloatArray
from imbalance_spark.metrics.counts import ScoreCounts
from imbalance_spark.metrics.curve import Curve
from imbalance_spark.metrics.entities import top_entities
from imbalance_spark.metrics.grid import LogitGrid
from imbalance_spark.metrics.spark_counts import collect_score_counts_by
from imbalance_spark.scoring.boosters import Candidate
from imbalance_spark.scoring.entity_days import (
    IS_COMPROMISED,
    IS_TAKEN_OUT,
    collect_top,
    entity_day_scores,
    entity_days,
)
from imbalance_spark.scoring.held_out_counts import HeldOutCounts
from imbalance_spark.threshold import TopEntities
from imbalance_spark.threshold.choice import cut_at

ENTITIES = "entities"
"""Group of these metrics, such as `validation/entities/precision`."""


def entity_metrics(
    prepared: PreparedOrders, candidates: Sequence[Candidate], config: RunConfig
) -> dict[str, Mapping[str, float]]:
    """By strategy the metrics of `TopEntities` on validation and test; nothing where the config names no entity.

    Passes: one over validation and test, which writes a row for each entity and day; two over that table.
    """
    if config.scoring.entity is None:
        return {}
    days = _entity_days(prepared, candidates, config)

    def found() -> Any:
        scoring, names = config.scoring, [one.name for one in candidates]
        by_fold = collect_top(days, names, per_day=scoring.top_entities)
        metrics: dict[str, dict[str, float]] = {name: {} for name in names}
        for fold, by_name in by_fold.items():
            for name, top in by_name.items():
                values = asdict(
                    top_entities(top, per_day=scoring.top_entities, label_delay_days=scoring.label_delay_days)
                )
                metrics[name] |= {f"{fold}/{ENTITIES}/{metric}": v for metric, v in values.items() if math.isfinite(v)}
        return metrics

    return dict(prepared.run.document("entities", found))


def orders_per_entity(
    prepared: PreparedOrders,
    candidates: Sequence[Candidate],
    counts: Mapping[str, HeldOutCounts],
    budgets: Mapping[str, TopEntities],
    config: RunConfig,
) -> dict[str, dict[str, float]]:
    """By strategy, then budget: how many orders the top entities of validation have, for each of them and day.

    The budget is the lowest score that at most `per_day` entities reach a day, on average over the days; the orders
    are those that reach it. An entity that was found compromised is not counted once its label is known, as in
    `top_entities` of `metrics.entities`.

    Passes: one over validation and test, unless `entity_metrics` has written the entity-days; one over these.

    Args:
        counts: of the strategies, with the days that validation amounts to in `budgets`.
    """

    def found() -> Any:
        days, names = _entity_days(prepared, candidates, config), [candidate.name for candidate in candidates]
        scores = entity_day_scores(days, names, label_delay_days=config.scoring.label_delay_days)
        grid, by = LogitGrid(bins=config.scoring.bins), ["model", IS_TAKEN_OUT]
        entities = collect_score_counts_by(scores, by, score="score", label=IS_COMPROMISED, grid=grid)
        return {
            name: {
                asked: _per_entity(
                    entities[name, False], entities.get((name, True)), counts[name].target.validation.curve(), budget
                )
                for asked, budget in budgets.items()
            }
            for name in names
        }

    return dict(prepared.run.document("orders_per_entity", found))


def _per_entity(flagged: ScoreCounts, taken_out: ScoreCounts | None, orders: Curve, budget: TopEntities) -> float:
    """Orders for each entity and day, at the lowest threshold that the budget of entities allows."""
    assert budget.days is not None, "with_days has seen to it"  # noqa: S101  # for the type checker
    curve = flagged.curve()
    entities = curve.alerts if taken_out is None else curve.alerts - _alerts_at(taken_out.curve(), curve.threshold)
    lowest = int(np.flatnonzero(entities <= budget.per_day * budget.days)[-1])
    of_these = orders.alerts[cut_at(orders, float(curve.threshold[lowest]))]
    return float(max(of_these, 1.0) / max(entities[lowest], 1.0))


def _alerts_at(curve: Curve, thresholds: FloatArray) -> FloatArray:
    cuts = np.searchsorted(-curve.threshold, -thresholds, side="right") - 1
    return np.asarray(curve.alerts[cuts], dtype=np.float64)


def _entity_days(prepared: PreparedOrders, candidates: Sequence[Candidate], config: RunConfig) -> DataFrame:
    entity, time = config.scoring.entity, config.orders.time
    assert entity is not None, "decisions_of and RunConfig have seen to it"  # noqa: S101  # for the type checker
    assert time is not None, "RunConfig has seen to it"  # noqa: S101  # for the type checker

    def scored() -> DataFrame:
        inputs = prepared.scored(prepared.inputs)
        return entity_days(inputs, candidates, key=config.orders.key, entity=entity, time=time)

    return prepared.run.table("entity_days", scored)
