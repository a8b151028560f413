"""What MLflow is given of a comparison: params, metrics, documents and plots of the run and of each strategy."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import pandas as pd

from imbalance_spark.comparison.compare import Comparison
from imbalance_spark.comparison.evaluate import StrategyResult
from imbalance_spark.comparison.gains import COST
from imbalance_spark.comparison.report.figures import comparison_figures, strategy_figures
from imbalance_spark.comparison.report.page import page_content
from imbalance_spark.comparison.report.render import render_page
from imbalance_spark.comparison.report.tables import (
    class_table,
    comparison_table,
    conclusions,
    confusion_table,
    csv_text,
    for_people,
    markdown_table,
    markdown_text,
)
from imbalance_spark.comparison.searched_strategy import SearchedStrategy
from imbalance_spark.config.yaml_file import dump
from imbalance_spark.core.columns import TEST
from imbalance_spark.core.masking import masked_settings, masked_uri
from imbalance_spark.metrics.buckets import SUM_COLUMNS
from imbalance_spark.metrics.counts import ScoreCounts
from imbalance_spark.metrics.curve import Curve
from imbalance_spark.metrics.evaluate import evaluate, threshold_metrics
from imbalance_spark.metrics.intervals import Interval
from imbalance_spark.metrics.plots import pngs
from imbalance_spark.scoring.held_out_counts import SMALLEST_CELL, HeldOutCounts, TargetCounts
from imbalance_spark.threshold.class_rules import rule_to_dict
from imbalance_spark.threshold.rule import DECIDED_AT
from imbalance_spark.tracking.registry import SPLIT_RECORD
from imbalance_spark.tracking.runs import Evidence

CURVES = "curves.parquet"
"""Counts and curves of a strategy as a table; docs/evidence.md says what its columns are."""


def parent_evidence(comparison: Comparison, commands: Mapping[str, str]) -> Evidence:
    """What the parent run is given: what was asked for, the report, and the numbers of the registered strategy.

    Args:
        commands: those of `retune_commands`.
    """
    prepared, config, best = comparison.prepared, comparison.config, comparison.best
    table, images = comparison_table(comparison), pngs(comparison_figures(comparison))
    content = page_content(comparison, commands)
    return Evidence(
        params={
            "run_id": prepared.run.run_id,
            "config_hash": prepared.run.config_hash,
            "orders": masked_uri(prepared.location),
            **({} if prepared.version is None else {"orders_version": prepared.version}),
            "label": config.orders.label,
            "split_by": config.split.by,
            "split_seed": config.split.seed,
            "evaluation": prepared.evaluation.method,
            "num_workers": config.training.num_workers,
            "repeats": config.training.repeats,
            "early_stopping_metric": config.training.early_stopping_metric,
            "severity": prepared.diagnosis.severity,
            "best_strategy": best.name,
            **({} if comparison.is_single else {"classes": ", ".join(comparison.classes)}),
        },
        metrics={
            "orders/rows": prepared.report.rows,
            "orders/quarantined_rows": prepared.report.quarantined,
            **({} if prepared.report.days is None else {"orders/days": prepared.report.days}),
            **_agreement(comparison),
            **{f"baseline/{name}": value for name, value in comparison.baseline.items() if math.isfinite(value)},
            **{f"best/{name}": value for name, value in best.metrics.items() if name.count("/") == 1},
        },
        texts={
            "report.html": render_page(content, images),
            # All of it but the figures: `jobs/report.py` makes the page again from this.
            "report.json": json.dumps(content, separators=(",", ":"), allow_nan=False),
            "comparison.csv": csv_text(table),
            "comparison.html": for_people(table).to_html(index=False, escape=True, na_rep="-"),
            "diagnosis.txt": "\n".join(prepared.diagnosis.lines()),
            **({} if comparison.is_single else _class_texts(comparison)),
            **(
                {} if comparison.backtest is None else {"backtest.csv": comparison.backtest.table().to_csv(index=False)}
            ),
        },
        documents={
            "config.json": masked_settings(dump(config)),
            SPLIT_RECORD: prepared.split_record,
            "diagnosis.json": prepared.diagnosis.to_dict(),
            "audit.json": prepared.audit.to_dict(),
            "advice.json": comparison.advice.to_dict() | {"registered": best.name},
            "quarantine.json": dict(prepared.report.by_rule),
        },
        images={f"plots/{name}.png": image for name, image in images.items()},
        description=_description(comparison),
    )


def _class_texts(comparison: Comparison) -> dict[str, str]:
    return {
        "classes.csv": csv_text(class_table(comparison)),
        "confusion.csv": csv_text(confusion_table(comparison), index=True),
    }


def strategy_evidence(comparison: Comparison, result: StrategyResult) -> Evidence:
    """What a strategy's nested run is given; its counts are what a later retuning reads.

    Values of a segment column with fewer than `SMALLEST_CELL` rows are counted as one.
    """
    logged = result.held_out.with_small_segments_merged(SMALLEST_CELL)
    recipe, booster = result.fitted.recipe, result.fitted.booster
    checks = {target: check.sentence for target, check in result.ledger.items()}
    own = _single_documents(comparison, result) if comparison.is_single else _class_documents(comparison, result)
    search = comparison.searches.get(result.name)
    return Evidence(
        params={"strategy": result.name, "learner": result.fitted.strategy.fitted_by.name, **recipe.logged},
        tags={
            "ledger": " ".join(s if comparison.is_single else f"{target}: {s}" for target, s in checks.items()),
            "verdict": comparison.advice.verdicts.get(result.name, "plain"),
        },
        metrics={
            **result.metrics,
            **_interval_ends(result.intervals),
            **_gain_metrics(comparison, result),
            **{f"training/{name}/sd": spread for name, spread in comparison.training_spreads(result).items()},
            **_bracket_ends(comparison, result),
            "best_round": booster.best_iteration + 1,
            **_neighbour_metrics(result),
        },
        curves={
            **{f"learning/{name}": values for name, values in booster.learning_curve.items()},
            **_over_time(comparison, result),
        },
        documents={
            "counts.json": logged.to_records(),
            "calibration.json": result.calibration.to_dict(),
            "intervals.json": {name: _interval_record(interval) for name, interval in result.intervals.items()},
            "segments.json": _segments(comparison, result, logged),
            **_gain_documents(comparison, result),
            **({"neighbours.json": result.fitted.neighbours} if result.fitted.neighbours else {}),
            **own,
        },
        texts={} if search is None else {"search.csv": csv_text(search.table())},
        images={f"plots/{name}.png": image for name, image in pngs(strategy_figures(comparison, result)).items()},
        tables={CURVES: _curve_table(comparison, result)},
        description=markdown_text(_serving_sentence(comparison, result)),
    )


def trial_evidence(search: SearchedStrategy) -> list[Evidence]:
    """What the nested run of each trial of a strategy's search is given: its value on each rung is one step."""
    return [
        Evidence(
            params={"trial": trial.number, **trial.params},
            tags={"search.chosen": str(trial is search.chosen).lower()},
            metrics={"search/rungs": len(trial.values), "search/rounds": search.rounds[len(trial.values) - 1]},
            curves={search.metric: [value for value in trial.values if math.isfinite(value)]},
        )
        for trial in search.trials
    ]


def _curve_table(comparison: Comparison, result: StrategyResult) -> pd.DataFrame:
    """One row for each fold, target and distinct score or occupied bin, highest score first; see docs/evidence.md."""
    tables = [
        _curve_columns(curve).assign(fold=fold, target=target)
        for fold, curves in result.curves.items()
        for target, curve in zip(comparison.names.targets, curves, strict=True)
    ]
    table = pd.concat(tables, ignore_index=True)
    return table[["fold", "target", *[name for name in table.columns if name not in ("fold", "target")]]]


def _curve_columns(curve: Curve) -> pd.DataFrame:
    counts = curve.counts
    columns = {"score": curve.score, "threshold": curve.threshold[1:]}
    columns |= {name: getattr(counts, name) for name in SUM_COLUMNS if getattr(counts, name) is not None}
    given = {"flagged": curve.flagged_rows, "precision": curve.precision, "recall": curve.recall}
    given["false_positive_rate"] = curve.false_positive_rate
    return pd.DataFrame(columns | {name: values[1:] for name, values in given.items()})


def _agreement(comparison: Comparison) -> dict[str, float]:
    tau = None if comparison.backtest is None else comparison.backtest.agreement
    return {} if tau is None else {"backtest/rank_agreement": tau}


def _over_time(comparison: Comparison, result: StrategyResult) -> dict[str, list[float]]:
    """What a strategy reached in each window of the backtest, one step per window; only what all windows define."""
    if comparison.backtest is None:
        return {}
    names = ("average_precision", "cost", "ratio")
    found = {f"backtest/{name}": comparison.backtest.values(result.name, name) for name in names}
    return {name: values for name, values in found.items() if all(map(math.isfinite, values))}


def _serving_sentence(comparison: Comparison, result: StrategyResult) -> str:
    """What the serving threshold gives; of K classes how they are calibrated."""
    return (
        result.chosen[comparison.serving].by_target[0].sentence if comparison.is_single else result.calibration.sentence
    )


def _single_documents(comparison: Comparison, result: StrategyResult) -> dict[str, Any]:
    [check], correction = result.ledger.values(), result.fitted.recipe.prior_shift.correction()
    return {
        "thresholds.json": _thresholds(comparison, result),
        "curves/precision_recall.json": _precision_recall(result),
        "ledger.json": {"correction": correction.to_dict(), "sentence": check.sentence},
    }


def _class_documents(comparison: Comparison, result: StrategyResult) -> dict[str, Any]:
    correction = result.fitted.recipe.prior_shift.correction()
    checks = {name: asdict(check) for name, check in result.ledger.items()}
    by_rule = {rule: result.held_out.counts(TEST, rule).rows.tolist() for rule in result.rules}
    return {
        "decisions.json": _rules(comparison, result),
        "confusion.json": {"classes": list(comparison.classes), "on": TEST, "rows_by_true_and_decided": by_rule},
        "ledger.json": {"correction": correction.to_dict(), "classes": checks},
    }


def _thresholds(comparison: Comparison, result: StrategyResult) -> Mapping[str, Any]:
    chosen_by_name = {
        name: {
            "threshold": chosen.threshold,
            "value": chosen.value,
            "reachable": chosen.reachable,
            "warning": chosen.warning,
            "on": "all of validation; the value is cross-fitted over its halves",
        }
        for name, found in result.chosen.items()
        for chosen in found.by_target
    }
    [target] = comparison.names.targets
    return {**chosen_by_name, "uncertainty_of_serving": _uncertainty(result, target)}


def _rules(comparison: Comparison, result: StrategyResult) -> Mapping[str, Any]:
    """Each rule of K classes, and of chosen thresholds what each gives on the rows that it was chosen on."""
    found: dict[str, Any] = {name: rule_to_dict(rule) for name, rule in result.rules.items()}
    for name, chosen in result.chosen.items():
        found[name]["classes"] = [
            {"value": one.value, "reachable": one.reachable, "warning": one.warning, "sentence": one.sentence}
            for one in chosen.by_target
        ]
    if result.uncertainty:
        found[comparison.serving]["uncertainty"] = {t: _uncertainty(result, t) for t in result.uncertainty}
    return found


def _uncertainty(result: StrategyResult, target: str) -> dict[str, Any]:
    found = result.uncertainty[target]
    return {
        "threshold": asdict(found.threshold),
        "regret": None if found.regret is None else asdict(found.regret),
    }


def _precision_recall(result: StrategyResult) -> Mapping[str, Any]:
    [curve] = result.curves[TEST]
    return {
        "threshold": curve.threshold.tolist(),
        "precision": curve.precision.tolist(),
        "recall": curve.recall.tolist(),
        "false_positive_rate": curve.false_positive_rate.tolist(),
        "on": TEST,
    }


def _segments(comparison: Comparison, result: StrategyResult, held_out: HeldOutCounts) -> Mapping[str, Any]:
    """Metrics on test by segment, of the counts that are logged; none of fewer than `SMALLEST_CELL` rows.

    Of a single target those of the serving rule, too, whose decisions were counted row by row: coarse bins would
    not tell which rows of a segment reach a threshold. Decisions between K classes are not counted by segment.
    """
    through = result.calibration.calibrator.apply if comparison.is_single else None
    found: dict[str, dict[str, dict[str, float]]] = {}
    for number, target in enumerate(held_out.targets):
        for column in target.segments.get(TEST, {}):
            for value, counts in _shown_segments(target, column).items():
                cell = found.setdefault(column, {}).setdefault(value or "(null)", {})
                metrics = evaluate(counts.curve(through))
                cell |= {comparison.names.of(name, number): one for name, one in metrics.items()}
    if comparison.is_single and comparison.serving in result.counted_decisions:
        counted = result.counted_decisions[comparison.serving].with_small_segments_merged(SMALLEST_CELL)
        for column, cells in found.items():
            for value, counts in _shown_segments(counted.target, column).items():
                cells[value or "(null)"] |= threshold_metrics(counts.curve(), DECIDED_AT)
    return found


def _shown_segments(target: TargetCounts, column: str) -> dict[str | None, ScoreCounts]:
    return {v: c for v, c in target.by_segment(TEST, column).items() if _rows(c) >= SMALLEST_CELL}


def _rows(counts: ScoreCounts) -> int:
    return int(counts.positives.sum() + counts.negatives.sum())


def _interval_record(interval: Interval) -> dict[str, Any]:
    """As JSON values; null for an end that is infinite, for which JSON has no number."""
    ends = {name: end if math.isfinite(end) else None for name, end in (("low", interval.low), ("high", interval.high))}
    return asdict(interval) | ends


def _gains(comparison: Comparison, result: StrategyResult) -> dict[str, Interval]:
    """By metric, how much better a strategy is than plain boosting, with joint intervals; of plain boosting nothing."""
    by_metric = {comparison.names.macro(comparison.config.gate.metric): comparison.gains, COST: comparison.savings}
    return {f"gain/{name}": gains[result.name] for name, gains in by_metric.items() if result.name in gains}


def _gain_metrics(comparison: Comparison, result: StrategyResult) -> dict[str, float]:
    gains = _gains(comparison, result)
    return {name: gain.value for name, gain in gains.items()} | _interval_ends(gains)


def _gain_documents(comparison: Comparison, result: StrategyResult) -> dict[str, Any]:
    gains = _gains(comparison, result)
    return {"gains.json": {name: _interval_record(gain) for name, gain in gains.items()}} if gains else {}


def _interval_ends(intervals: Mapping[str, Interval]) -> dict[str, float]:
    """The finite ends of intervals as metrics of their own."""
    ends: dict[str, float] = {}
    for name, interval in intervals.items():
        ends |= {f"{name}/low": interval.low, f"{name}/high": interval.high}
    return {name: value for name, value in ends.items() if math.isfinite(value)}


def _bracket_ends(comparison: Comparison, result: StrategyResult) -> dict[str, float]:
    """Between what values the score bins leave the average precision of each target, by fold."""
    ends: dict[str, float] = {}
    for fold, curves in result.curves.items():
        for number, curve in enumerate(curves):
            if (bracket := curve.average_precision_bracket()) is not None:
                name = f"{comparison.names.of(f'{fold}/average_precision', number)}/bracket"
                ends |= {f"{name}_low": bracket.low, f"{name}_high": bracket.high}
    return ends


def _neighbour_metrics(result: StrategyResult) -> dict[str, float]:
    """How exact and how new the neighbours are that synthetic rows lie between; nothing where there are none."""
    names = ("recall", "distance_ratio", "novelty_ratio")
    return {
        f"neighbours/{label}/{name}": report[name]
        for label, report in result.fitted.neighbours.items()
        for name in names
    }


def _description(comparison: Comparison) -> str:
    """What the page of the run begins with: the answer, the table that it is taken from, then the doubts."""
    answer, *others = conclusions(comparison)
    return "\n\n".join([markdown_text(answer), markdown_table(comparison), *map(markdown_text, others)])
