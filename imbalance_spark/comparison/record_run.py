"""A run of the main job in MLflow, alike for two classes and for several: parent run, nested runs, registered model."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic

import pandas as pd
from matplotlib.figure import Figure

from imbalance_spark.comparison.compared import Compared, Judged, Result
from imbalance_spark.comparison.gate_decision import GateDecision
from imbalance_spark.config.yaml_file import dump
from imbalance_spark.metrics.intervals import Interval
from imbalance_spark.scoring.bundles import Bundle
from imbalance_spark.tracking.models import log_bundle, register_version
from imbalance_spark.tracking.registry import CHAMPION, Registered, challenge, promote
from imbalance_spark.tracking.runs import (
    Evidence,
    log_evidence,
    log_orders_input,
    parent_identity,
    strategy_identity,
    tracked_run,
)
from imbalance_spark.tracking.view import save_view


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """Where a comparison stands in MLflow."""

    experiment_id: str
    parent_run_id: str
    registered: Registered | None


@dataclass(frozen=True, kw_only=True)
class Recording(Generic[Result]):
    """What differs between comparisons of two classes and of several.

    Args:
        parent: of the run of the job. strategy, bundle: of each nested run. problems: why nothing may be registered.
        shown: metrics of the saved view; by default those of two classes.
    """

    parent: Evidence
    strategy: Callable[[Result], Evidence]
    bundle: Callable[[Result], Bundle]
    problems: Sequence[str]
    shown: Sequence[str] = ()


def log_run(
    comparison: Compared[Result], recording: Recording[Result], experiment_id: str, decision: GateDecision
) -> Recorded:
    """Log the parent run and one nested run a strategy; register the best model, and do what the gate decided.

    Called again for the same run id, it goes on with the runs that are there.
    """
    prepared, config = comparison.prepared, comparison.config
    run_id, registered = prepared.run.run_id, None
    with tracked_run(experiment_id, run_id, parent_identity(run_id)) as parent_id:
        log_orders_input(parent_id, config.name, prepared.location, prepared.version)
        log_evidence(parent_id, recording.parent)
        uris = [_log_strategy(run_id, result, recording, experiment_id, parent_id) for result in comparison.results]
        if config.tracking.registered_model is not None and not recording.problems:
            registered = _register(config.tracking.registered_model, uris[0], decision)
        if decision.outcome != "standing":  # else the reasons of the promotion would be lost
            log_evidence(parent_id, _gate_evidence(decision, registered))
        save_view(experiment_id, run_id, config.gate.metric, config.serve_objective, recording.shown)
    return Recorded(experiment_id=experiment_id, parent_run_id=parent_id, registered=registered)


def parent_evidence(
    comparison: Compared[Judged],
    *,
    page: str,
    table: pd.DataFrame,
    figures: Mapping[str, Figure],
    description: str,
    params: Mapping[str, Any] | None = None,
    texts: Mapping[str, str] | None = None,
) -> Evidence:
    """What the parent run of any comparison is given.

    Args:
        page: the report as HTML. table: the comparison, a row a strategy. params, texts: more of them.
    """
    prepared, config, best = comparison.prepared, comparison.config, comparison.best
    return Evidence(
        params={
            "run_id": prepared.run.run_id,
            "config_hash": prepared.run.config_hash,
            "orders": prepared.location,
            "orders_version": prepared.version,
            "label": config.orders.label,
            "split_by": config.split.by,
            "split_seed": config.split.seed,
            "num_workers": config.training.num_workers,
            "early_stopping_metric": config.training.early_stopping_metric,
            "severity": prepared.diagnosis.severity,
            "best_strategy": best.name,
            **(params or {}),
        },
        metrics={
            "orders/rows": prepared.report.rows,
            "orders/quarantined_rows": prepared.report.quarantined,
            **({} if prepared.report.days is None else {"orders/days": prepared.report.days}),
            **{f"baseline/{name}": value for name, value in comparison.baseline.items()},
            **{f"best/{name}": value for name, value in best.metrics.items() if name.count("/") == 1},
        },
        texts={
            "report.html": page,
            "comparison.csv": table.to_csv(index=False),
            "comparison.html": table.to_html(index=False, escape=True, na_rep="-"),
            "diagnosis.txt": "\n".join(prepared.diagnosis.lines()),
            **(texts or {}),
        },
        documents={
            "config.json": dump(config),
            "split.json": prepared.plan.to_dict(),
            "diagnosis.json": prepared.diagnosis.to_dict(),
            "audit.json": prepared.audit.to_dict(),
            "quarantine.json": dict(prepared.report.by_rule),
        },
        figures={f"plots/{name}.png": figure for name, figure in figures.items()},
        description=description,
    )


def interval_ends(intervals: Mapping[str, Interval]) -> dict[str, float]:
    """The finite ends of intervals as metrics of their own."""
    ends: dict[str, float] = {}
    for name, interval in intervals.items():
        ends |= {f"{name}/low": interval.low, f"{name}/high": interval.high}
    return {name: value for name, value in ends.items() if math.isfinite(value)}


def _log_strategy(run_id: str, result: Result, recording: Recording[Result], experiment_id: str, parent_id: str) -> str:
    identity = strategy_identity(run_id, result.name)
    with tracked_run(experiment_id, result.name, identity, parent_id) as nested_id:
        log_evidence(nested_id, recording.strategy(result))
        return log_bundle(nested_id, recording.bundle(result))


def _register(name: str, uri: str, decision: GateDecision) -> Registered:
    """A version of the registered model with the alias that the gate decided on."""
    version, reason = register_version(name, uri, {}), " ".join(decision.reasons)
    if decision.outcome == "standing":
        return Registered(name=name, version=version, alias=CHAMPION, reason=reason)
    if decision.moves_alias:
        return promote(name, version, decision.against, reason)
    return challenge(name, version, reason)


def _gate_evidence(decision: GateDecision, registered: Registered | None) -> Evidence:
    """What the gate found, and the alias that came of it."""
    gain = decision.gain
    found = {} if gain is None else {"gate/gain": gain.value, "gate/gain/low": gain.low, "gate/gain/high": gain.high}
    alias = "-" if registered is None else registered.alias
    lines = decision.lines() if registered is None else [*decision.lines(), f"Alias: {alias}. {registered.reason}"]
    return Evidence(
        tags={"gate.mode": decision.mode, "gate.outcome": decision.outcome, "gate.alias": alias},
        metrics={name: value for name, value in found.items() if math.isfinite(value)},
        texts={"gate.txt": "\n".join(lines)},
        documents={"gate.json": {**decision.to_dict(), "alias": alias}},
    )
