"""A comparison of several classes as MLflow evidence: its parent run, and a nested run a strategy with its model."""

import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from imbalance_spark import tracking, tracking_view
from imbalance_spark.config_file import dump
from imbalance_spark.frames import TEST, VALIDATION
from imbalance_spark.gate import GateDecision
from imbalance_spark.multiclass.compare import ClassComparison
from imbalance_spark.multiclass.decisions import rule_to_dict
from imbalance_spark.multiclass.gate import class_gate_problems
from imbalance_spark.multiclass.judge import ClassResult
from imbalance_spark.multiclass.model import ClassBundle
from imbalance_spark.multiclass.pictures import class_comparison_figures, class_strategy_figures
from imbalance_spark.multiclass.probabilities import ClassProbabilities
from imbalance_spark.multiclass.report import class_conclusions, class_lines, class_table, confusion_table
from imbalance_spark.multiclass.report_page import class_html_page
from imbalance_spark.record import Recorded, gate_evidence, register_best
from imbalance_spark.tracking import Evidence


def log_class_comparison(comparison: ClassComparison, experiment_id: str, decision: GateDecision) -> Recorded:
    """Log the parent run and one nested run a strategy; register the best model, and do what the gate decided.

    Called again for the same run id, it goes on with the runs that are there.
    """
    prepared, config = comparison.prepared, comparison.config
    run_id = prepared.run.run_id
    with tracking.tracked_run(experiment_id, run_id, tracking.parent_identity(run_id)) as parent_id:
        tracking.log_orders_input(parent_id, config.name, prepared.location, prepared.version)
        tracking.log_evidence(parent_id, _parent_evidence(comparison))
        uris = {
            result.name: _log_strategy(comparison, result, experiment_id, parent_id) for result in comparison.results
        }
        registered = None
        if config.tracking.registered_model is not None and not class_gate_problems(comparison):
            registered = register_best(config.tracking.registered_model, uris[comparison.best.name], decision)
        if decision.outcome != "standing":  # else the reasons of the promotion would be lost
            tracking.log_evidence(parent_id, gate_evidence(decision, registered))
        tracking_view.save_view(experiment_id, run_id, config.gate, config.serve_objective, _shown_metrics(comparison))
    return Recorded(experiment_id=experiment_id, parent_run_id=parent_id, registered=registered)


def class_bundle_of(comparison: ClassComparison, result: ClassResult) -> ClassBundle:
    """The strategy's model with all that scoring needs."""
    orders, prepared = comparison.config.orders, comparison.prepared
    return ClassBundle(
        strategy=result.name,
        booster_ubj=result.fitted.booster.ubj,
        numeric=orders.numeric,
        categorical=orders.categorical,
        categories=prepared.categories,
        label=prepared.report.label,
        label_column=orders.label,
        probabilities=ClassProbabilities(
            correction=result.fitted.recipe.ledger.correction(), temperature=result.calibration.temperature
        ),
        rules=result.rules,
        serve_objective=comparison.config.serve_objective,
    )


def _parent_evidence(comparison: ClassComparison) -> Evidence:
    prepared, config, best = comparison.prepared, comparison.config, comparison.best
    figures = class_comparison_figures(comparison)
    table = class_table(comparison)
    return Evidence(
        params={
            "run_id": prepared.run.run_id,
            "config_hash": prepared.run.config_hash,
            "orders": prepared.location,
            "orders_version": prepared.version,
            "label": config.orders.label,
            "classes": ", ".join(comparison.classes),
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
            "report.html": class_html_page(comparison, figures),
            "comparison.csv": table.to_csv(index=False),
            "comparison.html": table.to_html(index=False, escape=True, na_rep="-"),
            "classes.csv": class_lines(comparison).to_csv(index=False),
            "confusion.csv": confusion_table(comparison).to_csv(),
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
        description="\n\n".join(class_conclusions(comparison)),
    )


def _log_strategy(comparison: ClassComparison, result: ClassResult, experiment_id: str, parent_id: str) -> str:
    identity = tracking.strategy_identity(comparison.prepared.run.run_id, result.name)
    with tracking.tracked_run(experiment_id, result.name, identity, parent_id) as run_id:
        tracking.log_evidence(run_id, _strategy_evidence(comparison, result))
        return tracking.log_bundle(run_id, class_bundle_of(comparison, result))


def _strategy_evidence(comparison: ClassComparison, result: ClassResult) -> Evidence:
    recipe, booster = result.fitted.recipe, result.fitted.booster
    figures = class_strategy_figures(comparison, result)
    ledger = {name: asdict(check) for name, check in result.ledger.items()}
    return Evidence(
        params={"strategy": result.name, **recipe.logged},
        tags={"ledger": " ".join(f"{name}: {check.sentence}" for name, check in result.ledger.items())},
        metrics={**result.metrics, **_interval_ends(result), "best_round": booster.best_iteration + 1},
        curves={f"learning/{name}": values for name, values in booster.learning_curve.items()},
        documents={
            "counts.json": result.held_out.to_records(),
            "calibration.json": result.calibration.to_dict(),
            "intervals.json": {name: asdict(interval) for name, interval in result.intervals.items()},
            "decisions.json": _decisions(result),
            "confusion.json": _confusion(comparison, result),
            "ledger.json": {"correction": recipe.ledger.correction().to_dict(), "classes": ledger},
        },
        figures={f"plots/{name}.png": figure for name, figure in figures.items()},
        description=result.calibration.sentence,
    )


def _interval_ends(result: ClassResult) -> dict[str, float]:
    ends: dict[str, float] = {}
    for name, interval in result.intervals.items():
        ends |= {f"{name}/low": interval.low, f"{name}/high": interval.high}
    return {name: value for name, value in ends.items() if math.isfinite(value)}


def _decisions(result: ClassResult) -> Mapping[str, Any]:
    """Each rule, and of chosen thresholds what each gives on the rows that it was chosen on."""
    found: dict[str, Any] = {name: rule_to_dict(rule) for name, rule in result.rules.items()}
    for name, chosen in result.chosen.items():
        found[name]["classes"] = [
            {"value": one.value, "reachable": one.reachable, "warning": one.warning, "sentence": one.sentence}
            for one in chosen.by_class
        ]
    return found


def _shown_metrics(comparison: ClassComparison) -> list[str]:
    """First by what the strategies are ranked, then what the serving rule gives on test."""
    metric, serving = f"macro_{comparison.config.gate.metric}", comparison.config.serve_objective
    decided = ("macro_f1", "macro_recall") if comparison.decisions.costs is None else ("cost", "macro_recall")
    return [f"{VALIDATION}/{metric}", *[f"{TEST}/{serving}/{name}" for name in decided], f"{TEST}/{metric}"]


def _confusion(comparison: ClassComparison, result: ClassResult) -> Mapping[str, Any]:
    by_rule = {rule: result.held_out.counts(TEST, rule).rows.tolist() for rule in result.rules}
    return {"classes": list(comparison.classes), "on": TEST, "rows_by_true_and_decided": by_rule}
