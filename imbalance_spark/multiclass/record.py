"""A comparison of several classes as MLflow evidence: its parent run, and a nested run a strategy with its model."""

from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from typing import Any

from imbalance_spark.calibration.temperature import ClassProbabilities
from imbalance_spark.comparison.gate_decision import GateDecision
from imbalance_spark.comparison.record_run import Recorded, Recording, interval_ends, log_run, parent_evidence
from imbalance_spark.core.columns import TEST, VALIDATION
from imbalance_spark.multiclass.compare import ClassComparison
from imbalance_spark.multiclass.decisions import rule_to_dict
from imbalance_spark.multiclass.gate import class_gate_problems
from imbalance_spark.multiclass.judge import ClassResult
from imbalance_spark.multiclass.model import ClassBundle
from imbalance_spark.multiclass.pictures import class_comparison_figures, class_strategy_figures
from imbalance_spark.multiclass.report import class_conclusions, class_lines, class_table, confusion_table
from imbalance_spark.multiclass.report_page import class_html_page
from imbalance_spark.tracking.runs import Evidence


def log_class_comparison(comparison: ClassComparison, experiment_id: str, decision: GateDecision) -> Recorded:
    """As `log_run`, of several classes."""
    recording = Recording(
        parent=_parent_evidence(comparison),
        strategy=partial(_strategy_evidence, comparison),
        bundle=partial(class_bundle_of, comparison),
        problems=class_gate_problems(comparison),
        shown=_shown_metrics(comparison),
    )
    return log_run(comparison, recording, experiment_id, decision)


def class_bundle_of(comparison: ClassComparison, result: ClassResult) -> ClassBundle:
    """The strategy's model with all that scoring needs."""
    orders, prepared = comparison.config.orders, comparison.prepared
    return ClassBundle(
        strategy=result.name,
        booster_ubj=result.fitted.booster.model_bytes,
        numeric=orders.numeric,
        categorical=orders.categorical,
        categories=prepared.categories,
        label=prepared.report.label,
        label_column=orders.label,
        probabilities=ClassProbabilities(
            correction=result.fitted.recipe.prior_shift.correction(), temperature=result.calibration.temperature
        ),
        rules=result.rules,
        serve_objective=comparison.config.serve_objective,
    )


def _parent_evidence(comparison: ClassComparison) -> Evidence:
    figures = class_comparison_figures(comparison)
    return parent_evidence(
        comparison,
        page=class_html_page(comparison, figures),
        table=class_table(comparison),
        figures=figures,
        description="\n\n".join(class_conclusions(comparison)),
        params={"classes": ", ".join(comparison.classes)},
        texts={
            "classes.csv": class_lines(comparison).to_csv(index=False),
            "confusion.csv": confusion_table(comparison).to_csv(),
        },
    )


def _strategy_evidence(comparison: ClassComparison, result: ClassResult) -> Evidence:
    recipe, booster = result.fitted.recipe, result.fitted.booster
    figures = class_strategy_figures(comparison, result)
    ledger = {name: asdict(check) for name, check in result.ledger.items()}
    return Evidence(
        params={"strategy": result.name, **recipe.logged},
        tags={"ledger": " ".join(f"{name}: {check.sentence}" for name, check in result.ledger.items())},
        metrics={**result.metrics, **interval_ends(result.intervals), "best_round": booster.best_iteration + 1},
        curves={f"learning/{name}": values for name, values in booster.learning_curve.items()},
        documents={
            "counts.json": result.held_out.to_records(),
            "calibration.json": result.calibration.to_dict(),
            "intervals.json": {name: asdict(interval) for name, interval in result.intervals.items()},
            "decisions.json": _decisions(result),
            "confusion.json": _confusion(comparison, result),
            "ledger.json": {"correction": recipe.prior_shift.correction().to_dict(), "classes": ledger},
        },
        figures={f"plots/{name}.png": figure for name, figure in figures.items()},
        description=result.calibration.sentence,
    )


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
