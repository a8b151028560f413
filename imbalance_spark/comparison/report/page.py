"""The comparison as one HTML page: first the answer, then what it rests on. It holds names and counts, never rows."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd

from imbalance_spark.comparison.compare import Comparison
from imbalance_spark.comparison.evaluate import (
    AT_SINGLE_THRESHOLD,
    AT_THRESHOLD,
    OPERATING,
    StrategyResult,
    chosen_thresholds,
)
from imbalance_spark.comparison.gains import signed
from imbalance_spark.comparison.report.explorer import explorer_data
from imbalance_spark.comparison.report.render import LAYOUT, render_page
from imbalance_spark.comparison.report.tables import (
    class_table,
    conclusions,
    confusion_table,
    entity_table,
    entity_words,
    for_people,
    furthest_ratio,
    short_text,
    threshold_cell,
)
from imbalance_spark.core.columns import TEST, VALIDATION
from imbalance_spark.metrics.curve import Bracket
from imbalance_spark.metrics.evaluate import RANKING
from imbalance_spark.metrics.intervals import Interval

_DECISION_HEADINGS = {
    "macro_f1": "macro F1", "macro_recall": "macro recall", "macro_precision": "macro precision", "f1": "F1",
    "f2": "F2", "mcc": "MCC", "value_detection_rate": "value found", "cost_saved": "saved",
    "alerts_per_day": "alerts a day", "false_positives_per_hit": "false positives a hit",
    "capacity_used": "capacity used",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A value, and what is known about its exactness, each note on a line below it."""

    value: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Table:
    """What the page shows as a table."""

    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    marked: int | None = None
    """The row of the strategy that is registered."""


def html_page(comparison: Comparison, images: Mapping[str, bytes], commands: Mapping[str, str] | None = None) -> str:
    """The whole comparison as one self-contained page; every name in it is escaped.

    Args:
        images: PNGs of `comparison_figures`, by name.
        commands: see `explorer_data`; without them the reader puts in the run.
    """
    return render_page(page_content(comparison, commands or {}), images)


def page_content(comparison: Comparison, commands: Mapping[str, str]) -> dict[str, Any]:
    """All that the page shows but its figures, as JSON values.

    Args:
        commands: see `explorer_data`.
    """
    is_single, costs = comparison.is_single, comparison.decisions.costs
    return {
        "layout": LAYOUT,
        "title": f"{comparison.config.name}: {comparison.prepared.run.run_id}",
        "class_names": [] if is_single else list(comparison.classes),
        "metric": comparison.metric,
        "plain": comparison.plain.name,
        "best": comparison.best.name,
        "serving": comparison.serving,
        "deciding_words": comparison.deciding_words,
        "equivalent_percent": f"{100.0 * comparison.advice.share:g}",
        "conclusions": list(conclusions(comparison)),
        "neighbours": list(_neighbour_lines(comparison)),
        "entity_words": entity_words(comparison),
        "calibrations": [f"{result.name}: {result.calibration.sentence}" for result in comparison.results],
        "diagnosis": [
            *comparison.prepared.diagnosis.lines(),
            *[f"- Warning: {warning}" for warning in comparison.prepared.warnings],
        ],
        "explorer": explorer_data(comparison, commands),
        "ranking": asdict(_ranking(comparison)),
        "operating_points": asdict(_operating_points(comparison)),
        "thresholds": asdict(_thresholds(comparison)),
        "over_time": _plain_table(None if comparison.backtest is None else comparison.backtest.table()),
        "entities": _plain_table(None if comparison.config.scoring.entity is None else entity_table(comparison)),
        "classes": _plain_table(None if is_single else class_table(comparison)),
        "confusion": _plain_table(None if is_single else confusion_table(comparison).reset_index()),
        "costs": None if is_single or not costs else asdict(_cost_table(comparison)),
        "rules": None if is_single else asdict(_rules(comparison)),
    }


def _ranking(comparison: Comparison) -> Table:
    """A strategy's average precision, ROC-AUC, gains over plain boosting with the verdict, and its probabilities."""
    spoken = {"average_precision": "average precision", "roc_auc": "ROC-AUC"}
    macro, worst = ("", "") if comparison.is_single else ("macro ", "worst ")
    classes = () if comparison.is_single else comparison.classes
    return Table(
        columns=[
            "strategy",
            *[f"{macro}{spoken[metric]}, {fold}" for metric in RANKING for fold in (VALIDATION, TEST)],
            *[f"AP {name}, test" for name in classes],
            *["gain", "cost saved", "verdict"],
            *[f"sd of training, {name.replace('_', ' ')}" for name in comparison.training_spreads(comparison.plain)],
            *["Brier", "log loss", f"{worst}mean p / rate"],
        ],
        rows=[
            [
                Cell(value=result.name),
                *[_macro_cell(comparison, result, fold, metric) for metric in RANKING for fold in (VALIDATION, TEST)],
                *[_target_cell(comparison, result, TEST, "average_precision", k) for k in range(len(classes))],
                _gain_cell(comparison.gains.get(result.name)),
                _gain_cell(comparison.savings.get(result.name)),
                Cell(value=comparison.advice.verdicts.get(result.name, "-")),
                *[Cell(value=short_text(spread)) for spread in comparison.training_spreads(result).values()],
                *[Cell(value=short_text(result.metrics.get(f"{TEST}/{name}"))) for name in ("brier", "log_loss")],
                Cell(
                    value=short_text(furthest_ratio(result)),
                    notes=_range(result.intervals.get("ledger/mean_over_base_rate")),
                ),
            ]
            for result in comparison.results
        ],
        marked=comparison.results.index(comparison.best),
    )


def _operating_points(comparison: Comparison) -> Table:
    """What a strategy's serving rule gives on test; last, what the largest class for every row gives."""
    serving, names = comparison.serving, _shown_metrics(comparison)
    rows = []
    for result in comparison.results:
        cells = [_cell(result, f"{TEST}/{serving}/{n}", f"{TEST}/{n}", f"{TEST}/{serving}/{n}") for n in names]
        rows.append([Cell(value=result.name), *_threshold_cells(comparison, result), *cells])
    of_baseline = [Cell(value=short_text(comparison.baseline.get(name))) for name in names]
    last = "majority class" if comparison.is_single else "largest class"
    rows.append([Cell(value=last), *([Cell(value="-")] if comparison.is_single else []), *of_baseline])
    threshold = ["threshold"] if comparison.is_single else []
    return Table(
        columns=["strategy", *threshold, *[_DECISION_HEADINGS.get(name, name) for name in names]],
        rows=rows,
        marked=comparison.results.index(comparison.best),
    )


def _thresholds(comparison: Comparison) -> Table:
    """Every threshold that was chosen on data; the largest of K classes has none."""
    single = comparison.is_single
    rows = []
    for result in comparison.results:
        for rule, found in result.chosen.items():
            for target, chosen in chosen_thresholds(found, comparison.names).items():
                reached = "yes" if chosen.reachable else "no"
                values = [short_text(chosen.threshold), reached, chosen.sentence, chosen.warning or ""]
                rows.append(_texts([result.name, rule, *([] if single else [target]), *values]))
    of_class = [] if single else ["class"]
    return Table(
        columns=["strategy", "objective", *of_class, "threshold", "reached", "on validation", "doubt"], rows=rows
    )


def _rules(comparison: Comparison) -> Table:
    """What every rule of decision of every strategy gives on test."""
    names = _shown_metrics(comparison)
    rows = [
        _texts([result.name, rule, *[short_text(result.metrics.get(f"{TEST}/{rule}/{name}")) for name in names]])
        for result in comparison.results
        for rule in result.rules
    ]
    return Table(columns=["strategy", "decided by", *[_DECISION_HEADINGS.get(n, n) for n in names]], rows=rows)


def _shown_metrics(comparison: Comparison) -> list[str]:
    if comparison.is_single:
        hidden = {"f0_5", AT_SINGLE_THRESHOLD}
        hidden |= {n for n in OPERATING if f"{TEST}/{comparison.serving}/{n}" not in comparison.best.metrics}
        return [name for name in AT_THRESHOLD if name not in hidden]
    costs = [] if comparison.decisions.costs is None else ["cost"]
    return ["macro_f1", "macro_recall", "macro_precision", "mcc", *costs]


def _cost_table(comparison: Comparison) -> Table:
    costs = comparison.decisions.costs or ()
    rows = [[name, *map(short_text, row)] for name, row in zip(comparison.classes, costs, strict=True)]
    return Table(columns=["true", *[f"as {name}" for name in comparison.classes]], rows=[_texts(row) for row in rows])


def _plain_table(table: pd.DataFrame | None) -> dict[str, Any] | None:
    if table is None:
        return None
    rows = [_texts([short_text(value) for value in row]) for row in table.to_numpy()]
    return asdict(Table(columns=[str(name) for name in for_people(table).columns], rows=rows))


def _texts(values: Sequence[str]) -> list[Cell]:
    return [Cell(value=value) for value in values]


def _neighbour_lines(comparison: Comparison) -> Iterator[str]:
    """What is known of the neighbours that synthetic rows lie between."""
    for result in comparison.results:
        for label, report in result.fitted.neighbours.items():
            yield f"{result.name}, class {label}: {report['sentence']}"


def _macro_cell(comparison: Comparison, result: StrategyResult, fold: str, metric: str) -> Cell:
    """The macro average over the targets; of one target the bins leave a certified range."""
    name = f"{fold}/{comparison.names.macro(metric)}"
    if comparison.is_single:
        return _target_cell(comparison, result, fold, metric, 0)
    return _cell(result, name, name)


def _target_cell(comparison: Comparison, result: StrategyResult, fold: str, metric: str, number: int) -> Cell:
    curve, name = result.curves[fold][number], comparison.names.of(f"{fold}/{metric}", number)
    bracket = curve.average_precision_bracket() if metric == "average_precision" else curve.roc_auc_bracket()
    interval = result.intervals.get(name)
    return Cell(value=short_text(result.metrics.get(name)), notes=(*_range(interval), *_certified(bracket)))


def _threshold_cells(comparison: Comparison, result: StrategyResult) -> list[Cell]:
    """Of a single target."""
    if not comparison.is_single:
        return []
    [target] = comparison.names.targets
    chosen = result.chosen[comparison.serving].by_target[0]
    if isinstance(at := threshold_cell(result, comparison.serving), str):
        return [Cell(value=at, notes=(f"one for all: {short_text(chosen.threshold)}",))]
    return [Cell(value=short_text(at), notes=_range(result.uncertainty[target].threshold))]


def _cell(result: StrategyResult, metric: str, *intervals: str) -> Cell:
    found = [result.intervals[name] for name in intervals if name in result.intervals]
    return Cell(value=short_text(result.metrics.get(metric)), notes=_range(found[0] if found else None))


def _gain_cell(gain: Interval | None) -> Cell:
    if gain is None:
        return Cell(value="-")
    return Cell(
        value=signed(gain.value), notes=(f"{100.0 * gain.level:.4g} %: {signed(gain.low)} to {signed(gain.high)}",)
    )


def _range(interval: Interval | None) -> tuple[str, ...]:
    if interval is None:
        return ()
    return (f"{100.0 * interval.level:g} %: {short_text(interval.low)} to {short_text(interval.high)}",)


def _certified(bracket: Bracket | None) -> tuple[str, ...]:
    return () if bracket is None else (f"certified: {bracket.low:.6f} to {bracket.high:.6f}",)
