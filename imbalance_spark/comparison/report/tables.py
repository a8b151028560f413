"""The comparison as people read it: a table for the terminal and a CSV, and what follows from it in sentences."""

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd

from imbalance_spark.comparison.compare import Comparison
from imbalance_spark.comparison.evaluate import StrategyResult
from imbalance_spark.core.columns import TEST, VALIDATION
from imbalance_spark.metrics.intervals import Interval

_COLUMNS = (
    ("AP val", f"{VALIDATION}/average_precision"),
    ("AP test", f"{TEST}/average_precision"),
    ("ROC-AUC", f"{TEST}/roc_auc"),
    ("Brier", f"{TEST}/brier"),
    ("log loss", f"{TEST}/log_loss"),
    ("mean p / rate", "ledger/mean_over_base_rate"),
)


_DECIDING = ("strategy", "AP val", "threshold", "cost", "precision", "recall", "AP test", "95 % of it")


_AT_THRESHOLD = ("precision", "recall", "f1", "f2", "mcc", "cost")


def comparison_table(comparison: Comparison) -> pd.DataFrame:
    """One row a strategy, best first, then the majority baseline; all on test but for `AP val`.

    The columns after `threshold` hold at the serving objective's threshold, chosen on validation.
    """
    rows = [_row(comparison, result) for result in comparison.results]
    baseline: dict[str, Any] = {"strategy": "majority class", "threshold": None}
    baseline |= {name: comparison.baseline[name] for name in _AT_THRESHOLD}
    return pd.DataFrame([*rows, baseline])


def markdown_table(comparison: Comparison) -> str:
    """What decides, one row a strategy, best first, then the majority baseline: for the page of an MLflow run."""
    table = comparison_table(comparison)[list(_DECIDING)]
    rows = [[short_text(value) for value in row] for row in table.itertuples(index=False)]
    # MLflow shows cells without a margin: spaces that do not break keep them apart.
    head, *body = [[f"\u00a0{text}\u00a0" for text in line] for line in (_DECIDING, *rows)]
    lines = [head, ["---", *["---:"] * (len(_DECIDING) - 1)], *body]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def terminal_text(comparison: Comparison) -> str:
    """The table, the chosen thresholds of the best strategy, and what follows from them."""
    table = comparison_table(comparison)
    shown = table.to_string(index=False, na_rep="-", formatters=dict.fromkeys(table.columns[1:], short_text))
    return "\n".join(["", shown, "", *conclusions(comparison), ""])


def conclusions(comparison: Comparison) -> list[str]:
    """Sentences: the best strategy, its threshold and cost; which one to use, and whether resampling is needed."""
    best, serving = comparison.best, comparison.config.serve_objective
    chosen = best.thresholds[serving]
    test = {name: best.metrics.get(f"{TEST}/{serving}/{name}") for name in ("precision", "recall", "cost")}
    lines = [
        f"Best on validation: {best.name}. At threshold {chosen.threshold:.6g} ({serving}), test precision is "
        f"{_number(test['precision'], '.3f')}, recall {_number(test['recall'], '.3f')}, "
        f"cost {_number(test['cost'], ',.0f')} "
        f"against {comparison.baseline['cost']:,.0f} when nothing is flagged.",
        *comparison.advice.lines(comparison.config.gate.metric),
        *_costs_at_thresholds(comparison),
        f"Majority baseline: accuracy {comparison.baseline['accuracy']:.5f}, "
        f"recall {_number(comparison.baseline['recall'], '.0f')}.",
    ]
    lines += [f"{best.name}: {chosen.sentence}" for chosen in best.thresholds.values() if not chosen.reachable]
    lines += [f"{result.name}: {result.ledger.sentence}" for result in comparison.results if not result.ledger.passed]
    lines += [
        f"{result.name}: its scores are ranks. Read its average precision and ROC-AUC; its probabilities are the "
        "calibration's alone."
        for result in comparison.results
        if result.fitted.strategy.is_ranking
    ]
    lines += _doubts(best)
    return lines


def _number(value: float | None, form: str) -> str:
    """A number in a sentence; a recall without positives is no number."""
    return "undefined" if value is None or not math.isfinite(value) else format(value, form)


def short_text(value: Any) -> str:
    """A cell of a table: four digits of a number, whole ones from 100 up, "-" for nothing."""
    if isinstance(value, str):
        return value
    if value is None or pd.isna(value):
        return "-"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.4g}"


def _doubts(best: StrategyResult) -> list[str]:
    """Why the best strategy's numbers are rough, each reason once."""
    chosen = [f"{best.name}: {chosen.warning}" for chosen in best.thresholds.values() if chosen.warning]
    return list(dict.fromkeys([*interval_doubts(best.name, best.intervals), *chosen]))


def interval_doubts(name: str, intervals: Mapping[str, Interval]) -> list[str]:
    """Why a strategy's intervals are rough, once for each fold."""
    found = ((metric.partition("/")[0], interval.warning) for metric, interval in intervals.items())
    return [f"{name} on {fold}: {warning}" for fold, warning in dict.fromkeys(found) if warning is not None]


def _row(comparison: Comparison, result: StrategyResult) -> dict[str, Any]:
    serving = comparison.config.serve_objective
    row: dict[str, Any] = {"strategy": result.name}
    for title, name in _COLUMNS:
        row[title] = result.metrics.get(name)
        if name == f"{TEST}/average_precision":
            row["95 % of it"] = _range(result.intervals.get(name))
    row["threshold"] = result.thresholds[serving].threshold
    return row | {name: result.metrics.get(f"{TEST}/{serving}/{name}") for name in _AT_THRESHOLD}


def _costs_at_thresholds(comparison: Comparison) -> list[str]:
    """What the advised strategy and plain boosting cost on test, each at its own threshold; it decides nothing."""
    advice, name = comparison.advice, f"{TEST}/{comparison.config.serve_objective}/cost"
    if advice.use == advice.plain:
        return []
    [used] = [result.metrics.get(name) for result in comparison.results if result.name == advice.use]
    plain = comparison.plain.metrics.get(name)
    return [
        f"On test, each at its own threshold, {advice.use} costs {_number(used, ',.0f')} and {advice.plain} "
        f"{_number(plain, ',.0f')}."
    ]


def _range(interval: Interval | None) -> str:
    return "-" if interval is None else f"{interval.low:.3f} to {interval.high:.3f}"
