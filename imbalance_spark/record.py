"""A comparison as MLflow evidence: what its parent run and each strategy's nested run are given."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from imbalance_spark import tracking, tracking_models, tracking_registry, tracking_view
from imbalance_spark.compare import Comparison, bundle_of
from imbalance_spark.config_file import dump
from imbalance_spark.frames import TEST
from imbalance_spark.gate import GateDecision, gate_problems
from imbalance_spark.judge import StrategyResult
from imbalance_spark.metrics.counts import ScoreCounts
from imbalance_spark.metrics.curve import Curve
from imbalance_spark.metrics.evaluate import evaluate
from imbalance_spark.pictures import comparison_figures, strategy_figures
from imbalance_spark.report import comparison_table, conclusions, markdown_table
from imbalance_spark.report_page import html_page
from imbalance_spark.tracking import Evidence
from imbalance_spark.tracking_registry import Registered

_SMALLEST_CELL = 10
"""Segments of fewer rows are not reported: their numbers would be about single orders."""


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """Where a comparison stands in MLflow."""

    experiment_id: str
    parent_run_id: str
    registered: Registered | None


def log_comparison(comparison: Comparison, experiment_id: str, decision: GateDecision) -> Recorded:
    """Log the parent run and one nested run a strategy; register the best model, and do what the gate decided.

    Called again for the same run id, it goes on with the runs that are there.
    """
    run_id, config = comparison.prepared.run.run_id, comparison.config
    with tracking.tracked_run(experiment_id, run_id, tracking.parent_identity(run_id)) as parent_id:
        tracking.log_orders_input(parent_id, config.name, comparison.prepared.location, comparison.prepared.version)
        tracking.log_evidence(parent_id, _parent_evidence(comparison))
        uris = {
            result.name: _log_strategy(comparison, result, experiment_id, parent_id) for result in comparison.results
        }
        registered = None
        if config.tracking.registered_model is not None and not gate_problems(comparison):
            registered = register_best(config.tracking.registered_model, uris[comparison.best.name], decision)
        if decision.outcome != "standing":  # else the reasons of the promotion would be lost
            tracking.log_evidence(parent_id, gate_evidence(decision, registered))
        tracking_view.save_view(experiment_id, run_id, config.gate, config.serve_objective)
    return Recorded(experiment_id=experiment_id, parent_run_id=parent_id, registered=registered)


def _parent_evidence(comparison: Comparison) -> Evidence:
    prepared, config, best = comparison.prepared, comparison.config, comparison.best
    figures = comparison_figures(comparison)
    table = comparison_table(comparison)
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
        },
        metrics={
            "orders/rows": prepared.report.rows,
            "orders/quarantined_rows": prepared.report.quarantined,
            **{f"baseline/{name}": value for name, value in comparison.baseline.items()},
            **{f"best/{name}": value for name, value in best.metrics.items() if name.count("/") == 1},
        },
        texts={
            "report.html": html_page(comparison, figures),
            "comparison.csv": table.to_csv(index=False),
            "comparison.html": table.to_html(index=False, escape=True, na_rep="-"),
            "diagnosis.txt": "\n".join(prepared.diagnosis.lines()),
        },
        documents={
            "config.json": dump(config),
            "split.json": prepared.plan.to_dict(),
            "diagnosis.json": prepared.diagnosis.to_dict(),
            "audit.json": prepared.audit.to_dict(),
            "quarantine.json": dict(prepared.report.by_rule),
        },
        figures={f"plots/{name}.png": figure for name, figure in figures.items()},
        description=_description(comparison),
    )


def _description(comparison: Comparison) -> str:
    """What the page of the run begins with: the answer, the table that it is taken from, then the doubts."""
    answer, *others = conclusions(comparison)
    return "\n\n".join([answer, markdown_table(comparison), *others])


def _log_strategy(comparison: Comparison, result: StrategyResult, experiment_id: str, parent_id: str) -> str:
    identity = tracking.strategy_identity(comparison.prepared.run.run_id, result.name)
    with tracking.tracked_run(experiment_id, result.name, identity, parent_id) as run_id:
        tracking.log_evidence(run_id, _strategy_evidence(comparison, result))
        return tracking.log_bundle(run_id, bundle_of(comparison, result))


def _strategy_evidence(comparison: Comparison, result: StrategyResult) -> Evidence:
    recipe, booster = result.fitted.recipe, result.fitted.booster
    serving = result.thresholds[comparison.config.serve_objective]
    return Evidence(
        params={"strategy": result.name, **recipe.logged},
        tags={"ledger": result.ledger.sentence},
        metrics={
            **result.metrics,
            **_interval_ends(result),
            **_bracket_ends(result),
            "best_round": booster.best_iteration + 1,
            **_neighbour_metrics(result),
        },
        curves={f"learning/{name}": values for name, values in booster.learning_curve.items()},
        documents={
            "counts.json": result.held_out.to_records(),
            "calibration.json": result.calibration.to_dict(),
            "intervals.json": {name: asdict(interval) for name, interval in result.intervals.items()},
            "segments.json": _segments(result, comparison.config.serve_objective),
            "thresholds.json": _thresholds(result),
            "curves/precision_recall.json": _precision_recall(result),
            **({"neighbours.json": result.fitted.neighbours} if result.fitted.neighbours else {}),
            "ledger.json": {"correction": recipe.ledger.correction().to_dict(), "sentence": result.ledger.sentence},
        },
        figures={f"plots/{name}.png": figure for name, figure in strategy_figures(comparison, result).items()},
        description=serving.sentence,
    )


def _neighbour_metrics(result: StrategyResult) -> dict[str, float]:
    """How exact and how new the neighbours are that rows were made of; nothing where none were."""
    names = ("recall", "distance_ratio", "novelty_ratio")
    return {
        f"neighbours/{label}/{name}": report[name]
        for label, report in result.fitted.neighbours.items()
        for name in names
    }


def _interval_ends(result: StrategyResult) -> dict[str, float]:
    ends: dict[str, float] = {}
    for name, interval in result.intervals.items():
        ends |= {f"{name}/low": interval.low, f"{name}/high": interval.high}
    return {name: value for name, value in ends.items() if math.isfinite(value)}


def _bracket_ends(result: StrategyResult) -> dict[str, float]:
    """Between what values the score bins leave the average precision, by fold."""
    ends: dict[str, float] = {}
    for fold, curve in result.curves.items():
        if (bracket := curve.average_precision_bracket()) is not None:
            name = f"{fold}/average_precision/bracket"
            ends |= {f"{name}_low": bracket.low, f"{name}_high": bracket.high}
    return ends


def _segments(result: StrategyResult, serving: str) -> Mapping[str, Any]:
    """Metrics on test by segment at the serving threshold; values of fewer than `_SMALLEST_CELL` rows are left out."""
    threshold = result.thresholds[serving].threshold
    found: dict[str, Any] = {}
    for column in result.held_out.segments.get(TEST, {}):
        by_value = result.held_out.by_segment(TEST, column)
        shown = {value: counts for value, counts in by_value.items() if _rows(counts) >= _SMALLEST_CELL}
        found[column] = {
            value or "(null)": evaluate(_calibrated(result, counts), threshold) for value, counts in shown.items()
        }
    return found


def _rows(counts: ScoreCounts) -> int:
    return int(counts.positives.sum() + counts.negatives.sum())


def _calibrated(result: StrategyResult, counts: ScoreCounts) -> Curve:
    return counts.curve(result.calibration.calibrator.apply)


def _thresholds(result: StrategyResult) -> Mapping[str, Any]:
    chosen_by_name = {
        name: {
            "threshold": chosen.threshold,
            "value": chosen.value,
            "reachable": chosen.reachable,
            "warning": chosen.warning,
            "on": "the half of validation that does not calibrate",
        }
        for name, chosen in result.thresholds.items()
    }
    regret = result.uncertainty.regret
    uncertainty = {
        "threshold": asdict(result.uncertainty.threshold),
        "regret": None if regret is None else asdict(regret),
    }
    return {**chosen_by_name, "uncertainty_of_serving": uncertainty}


def _precision_recall(result: StrategyResult) -> Mapping[str, Any]:
    curve = result.curves[TEST]
    return {
        "threshold": curve.threshold.tolist(),
        "precision": curve.precision.tolist(),
        "recall": curve.recall.tolist(),
        "false_positive_rate": curve.false_positive_rate.tolist(),
        "on": TEST,
    }


def register_best(name: str, uri: str, decision: GateDecision) -> Registered:
    """A version of the registered model with the alias that the gate decided on."""
    version, reason = tracking_models.register_version(name, uri, {}), " ".join(decision.reasons)
    if decision.outcome == "standing":
        return Registered(name=name, version=version, alias=tracking_registry.CHAMPION, reason=reason)
    if decision.moves_alias:
        return tracking_registry.promote(name, version, decision.against, reason)
    return tracking_registry.challenge(name, version, reason)


def gate_evidence(decision: GateDecision, registered: Registered | None) -> Evidence:
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
