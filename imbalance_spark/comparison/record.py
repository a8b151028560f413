"""A comparison as MLflow evidence: what its parent run and each strategy's nested run are given."""

from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from typing import Any

from imbalance_spark.comparison.compare import Comparison, bundle_of
from imbalance_spark.comparison.evaluate import StrategyResult
from imbalance_spark.comparison.gate import gate_problems
from imbalance_spark.comparison.gate_decision import GateDecision
from imbalance_spark.comparison.record_run import Recorded, Recording, interval_ends, log_run, parent_evidence
from imbalance_spark.comparison.report.figures import comparison_figures, strategy_figures
from imbalance_spark.comparison.report.page import html_page
from imbalance_spark.comparison.report.tables import comparison_table, conclusions, markdown_table
from imbalance_spark.core.columns import TEST
from imbalance_spark.metrics.counts import ScoreCounts
from imbalance_spark.metrics.curve import Curve
from imbalance_spark.metrics.evaluate import evaluate
from imbalance_spark.tracking.runs import Evidence

_SMALLEST_CELL = 10
"""Segments of fewer rows are not reported: their numbers would be about single orders."""


def log_comparison(comparison: Comparison, experiment_id: str, decision: GateDecision) -> Recorded:
    """As `log_run`, of two classes."""
    recording = Recording(
        parent=_parent_evidence(comparison),
        strategy=partial(_strategy_evidence, comparison),
        bundle=partial(bundle_of, comparison),
        problems=gate_problems(comparison),
    )
    return log_run(comparison, recording, experiment_id, decision)


def _parent_evidence(comparison: Comparison) -> Evidence:
    figures = comparison_figures(comparison)
    return parent_evidence(
        comparison,
        page=html_page(comparison, figures),
        table=comparison_table(comparison),
        figures=figures,
        description=_description(comparison),
    )


def _description(comparison: Comparison) -> str:
    """What the page of the run begins with: the answer, the table that it is taken from, then the doubts."""
    answer, *others = conclusions(comparison)
    return "\n\n".join([answer, markdown_table(comparison), *others])


def _strategy_evidence(comparison: Comparison, result: StrategyResult) -> Evidence:
    recipe, booster = result.fitted.recipe, result.fitted.booster
    serving = result.thresholds[comparison.config.serve_objective]
    return Evidence(
        params={"strategy": result.name, **recipe.logged},
        tags={"ledger": result.ledger.sentence},
        metrics={
            **result.metrics,
            **interval_ends(result.intervals),
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
            "ledger.json": {
                "correction": recipe.prior_shift.correction().to_dict(),
                "sentence": result.ledger.sentence,
            },
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
