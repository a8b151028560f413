"""A retuned threshold as MLflow evidence: what its run and its model version are given."""

import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from imbalance_spark.comparison.retune import Retuned
from imbalance_spark.metrics.evaluate import evaluate
from imbalance_spark.scoring.held_out_counts import TargetCounts
from imbalance_spark.tracking.models import LoggedModel
from imbalance_spark.tracking.runs import Evidence

_RETUNED_FROM = "imbalance_spark.retuned_from"


_OBJECTIVE, _BASE_RATE = "imbalance_spark.objective", "imbalance_spark.base_rate"


def retuned_identity(source: LoggedModel, objective: str, base_rate: float | None) -> dict[str, str]:
    """Tags that find the run of this retuning of this run again."""
    rate = "-" if base_rate is None else repr(base_rate)
    return {_RETUNED_FROM: source.run_id, _OBJECTIVE: objective, _BASE_RATE: rate}


def version_tags(source: LoggedModel, retuned: Retuned, base_rate: float | None) -> dict[str, str]:
    """The lineage that the new model version carries."""
    number = source.registered_version
    return {
        "source_version": "-" if number is None else f"{source.registered_name}/{number}",
        "source_run_id": source.run_id,
        "objective": retuned.change.chosen.objective,
        "base_rate": "-" if base_rate is None else repr(base_rate),
        "threshold": repr(retuned.bundle.threshold),
        "reason": retuned.change.sentence,
    }


def retuned_evidence(
    source: LoggedModel,
    held_out: TargetCounts,
    retuned: Retuned,
    *,
    base_rate: float | None,
    costs: Mapping[str, float],
) -> Evidence:
    """What the retuned run is given: metrics that compare with its neighbours', the counts, and what changed.

    Metrics are at the base rate of the counts, as those of every other run of the experiment; `retune.json` has them
    at the new one. With the counts the run can be retuned itself.

    Args:
        costs: `fn` and `fp` of the metric `cost`.
    """
    chosen, through = retuned.change.chosen, retuned.bundle.calibrator.apply
    metrics = {
        f"{fold}/{name}": value
        for fold, counts in held_out.by_fold.items()
        for name, value in evaluate(counts.curve(through), retuned.change.after.threshold, **costs).items()
    }
    return Evidence(
        params={
            "strategy": retuned.bundle.strategy,
            "objective": chosen.objective,
            "base_rate": "that of the counts" if base_rate is None else base_rate,
            "retuned_from": source.run_id,
        },
        metrics={name: value for name, value in metrics.items() if math.isfinite(value)}
        | {f"threshold/{chosen.objective}": retuned.bundle.threshold},
        documents={**source.documents, "retune.json": change_record(retuned)},
        description=retuned.change.sentence,
    )


def change_record(retuned: Retuned) -> dict[str, Any]:
    """The change as JSON-able values."""
    chosen = retuned.change.chosen
    return {
        "strategy": retuned.bundle.strategy,
        "objective": chosen.objective,
        "threshold": {"before": retuned.change.before.threshold, "after": retuned.change.after.threshold},
        "reachable": chosen.reachable,
        "warning": chosen.warning,
        "folds": {fold: asdict(found) for fold, found in retuned.folds.items()},
    }
