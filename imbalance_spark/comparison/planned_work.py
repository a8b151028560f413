"""What a run that was not started would read and send: passes of its stages, and bytes that tasks write for others."""

from collections.abc import Mapping
from math import ceil

from imbalance_spark.comparison.compare import asked_decisions
from imbalance_spark.comparison.cross_fit import Evaluation
from imbalance_spark.comparison.prepare import INPUTS, InspectedOrders, compares_champion, trained_counts
from imbalance_spark.comparison.search import planned_rows, planned_scans
from imbalance_spark.config.run import RunConfig
from imbalance_spark.core.columns import FEATURES_PER_SCAN, TEST, VALIDATION
from imbalance_spark.orders.audit import SAMPLED_ROWS
from imbalance_spark.orders.validation.duplicate_keys import KEYS_PER_SAMPLED
from imbalance_spark.orders.validation.rules import DUPLICATE_KEY
from imbalance_spark.train_only.pool import TrainingPool

# Measured, with Spark's compression: what a row of each kind takes, on its way to another task.
_KEY_BYTES, _GROUP_BYTES, _FOLDED_BYTES, _AUDIT_BYTES, _SCORE_BYTES = 11, 9, 33, 13, 11
_INPUT_BYTES, _OTHER_BYTES = 4, 7
"""Of each feature of a training table's row, and of all its other columns."""
_STRATEGY_BYTES = 2_000_000
"""Of the counts of one strategy at most: scores are counted in bins before they travel."""


def shuffled_bytes(
    inspected: InspectedOrders, evaluation: Evaluation, tables: Mapping[str, int], config: RunConfig
) -> dict[str, int]:
    """About the bytes that each stage's tasks write for others; fits read what lies beside them.

    Those of samplers that look for neighbours, of searched tables and of a champion's scores come on top.

    Args:
        tables: rows by name, see `RunPlan`.
    """
    rows = inspected.report.rows
    looked_at = rows // (KEYS_PER_SAMPLED if config.orders.check_keys == "sampled" else 1)
    row_bytes = _INPUT_BYTES * len(config.orders.features) + _OTHER_BYTES
    written = sum(count for name, count in tables.items() if name.split("_")[0] == "train")
    folds = inspected.diagnosis.by_split
    scored = sum(sum(folds[name].values()) for name in (VALIDATION, TEST))
    strategies = len(config.compared)
    return {
        "validate": _KEY_BYTES * looked_at,
        "split": _GROUP_BYTES * rows if config.split.by == "group" else 0,
        "evaluation": _FOLDED_BYTES * sum(trained_counts(folds, evaluation).values())
        if evaluation.is_cross_fit and config.split.by == "group"
        else 0,
        "audit": _AUDIT_BYTES * tables[INPUTS] // (1 + tables[INPUTS] // SAMPLED_ROWS),
        # Without a fold each table has the rows of the others.
        "training rows": row_bytes * written * (1 + max(evaluation.folds - 1, 0)) * config.training.repeats,
        "score": 0 if config.orders.classes else strategies * min(_SCORE_BYTES * scored, _STRATEGY_BYTES),
    }


def passes_over_orders(inspected: InspectedOrders, config: RunConfig) -> dict[str, int]:
    """Passes of each stage over the orders, as the stages' own docstrings count them.

    One more where a search for the split's bounds has to be repeated; and for a champion with other features, or of a
    split by other columns.
    """
    orders, report, source = config.orders, inspected.report, inspected.source
    comparing = (1 + (orders.check_keys == "sampled")) * (report.by_rule.get(DUPLICATE_KEY, 0) > 0)
    return {
        "read": (source.format == "csv") + 2 * (source.version is None),
        "validate": _parts(len(orders.features)) + 1 + comparing,
        "quarantine": int(report.quarantined > 0),
        "split": 1 + (config.split.by == "time" and not inspected.knows_days),
        "categories": int(bool(orders.categorical)),
        "identifiers": _parts(len(report.large_integers)),
        INPUTS: 1,
    }


def passes_over_inputs(
    inspected: InspectedOrders, evaluation: Evaluation, pool: TrainingPool, config: RunConfig
) -> dict[str, int]:
    """The same over the stored inputs; those of train, or of validation and test, read no other rows.

    The gate's passes are for a champion of another run, which may not be there; one more where it was trained on rows
    of this validation.
    """
    orders, asked = config.orders, asked_decisions(config)
    counts_decisions = bool(asked.by_order or config.scoring.segments) and not orders.classes
    trained = trained_counts(inspected.diagnosis.by_split, evaluation)
    # The classes of all training rows were counted before; those of a pool, or without a fold, were not.
    slicing = 1 if pool.is_all else _cut_off_passes(pool.rows(trained), config)
    return {
        "evaluation": (2 if config.split.by != "key" else _cut_off_passes(trained, config)) * evaluation.is_cross_fit,
        "audit": 1 + _parts(len(orders.numeric)) * (config.split.by == "time"),
        "search": _searching_passes(config, trained, pool),
        "training rows": config.training.repeats * (slicing + 1)
        + evaluation.folds * (_cut_off_passes(trained, config) + 1),
        "score": config.training.repeats * (2 + counts_decisions) + asked.needs_days,
        "gate": 2 * compares_champion(config),
    }


def _searching_passes(config: RunConfig, trained: Mapping[int, int], pool: TrainingPool) -> int:
    """To learn the share that judges, to write the tables of the others, and to score the share."""
    rows = planned_rows(config, trained, pool)
    if not rows:
        return 0
    learning = 2 if config.split.by != "key" else _cut_off_passes(pool.rows(trained), config)
    return learning + sum(_cut_off_passes(found, config) + 1 for found in rows.values()) + planned_scans(config)


def _cut_off_passes(counts: Mapping[int, int], config: RunConfig) -> int:
    return 1 + (min(counts.values()) < config.split.exact_below)


def _parts(features: int) -> int:
    return ceil(features / FEATURES_PER_SCAN)
