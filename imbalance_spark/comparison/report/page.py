"""The comparison as one HTML page: first the answer, then what it rests on. It holds names and counts, never rows."""

import base64
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from jinja2 import Environment
from matplotlib.figure import Figure

from imbalance_spark.comparison.compare import Comparison
from imbalance_spark.comparison.evaluate import StrategyResult
from imbalance_spark.comparison.report.tables import conclusions, short_text
from imbalance_spark.core.columns import TEST, VALIDATION
from imbalance_spark.metrics.bounds import Bracket
from imbalance_spark.metrics.intervals import Interval

_CAPTIONS = {
    "comparison": "How good is each strategy, and how sure is that? Validation decides, test confirms.",
    "gain_over_plain": "Is it better than plain boosting? Only where the interval leaves 0 out.",
    "thresholds": "What moving the best strategy's threshold does, and where each objective puts it.",
    "confusion_matrix": "What the best strategy does at its threshold, counted on test.",
    "cost": "Which strategy is cheapest if a miss costs more, or less, than configured? Lower is better.",
    "precision_recall": "How many alarms are right, for each share of the positives that is found.",
    "roc": "The share found, for each share of false alarms among the negatives.",
    "detection_error_tradeoff": "Misses against false alarms, with room for the rarest of both. Lower left is better.",
    "gain_and_lift": "What is found, and how many times more often than by chance, if the highest scores are flagged.",
    "reliability": "Do predicted probabilities come true? On the dotted line they do.",
    "scores": "How the best strategy's scores separate the classes.",
}


_AFTER_TABLES = {
    "strategies": ("comparison", "gain_over_plain"),
    "operating-point": ("thresholds", "confusion_matrix", "cost"),
    "curves": ("precision_recall", "roc", "detection_error_tradeoff", "gain_and_lift"),
    "probabilities": ("reliability", "scores"),
}
"""Pictures by the section that shows them."""


_RANKING = ("average_precision", "roc_auc")


_AT_THRESHOLD = ("precision", "recall", "f1", "f2", "mcc", "cost")


_PROBABILITY = (f"{TEST}/brier", f"{TEST}/log_loss", "ledger/mean_over_base_rate")


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A value, and what is known about its exactness, each note on a line below it."""

    value: str
    notes: tuple[str, ...] = ()


def html_page(comparison: Comparison, figures: Mapping[str, Figure]) -> str:
    """The whole comparison as one self-contained page; every name in it is escaped."""
    pictures = {name: (_CAPTIONS.get(name, name), figure_data(figure)) for name, figure in figures.items()}
    placed = {name for names in _AFTER_TABLES.values() for name in names}
    by_section = {section: [pictures[n] for n in names if n in pictures] for section, names in _AFTER_TABLES.items()}
    page = Environment(autoescape=True).from_string(_PAGE)
    return page.render(
        title=f"{comparison.config.name}: {comparison.prepared.run.run_id}",
        conclusions=conclusions(comparison),
        serving=comparison.config.serve_objective,
        plain=comparison.plain.name,
        ranking=list(_ranking_rows(comparison)),
        operating_points=list(_operating_rows(comparison)),
        neighbours=list(_neighbour_lines(comparison)),
        pictures=by_section,
        others=[picture for name, picture in pictures.items() if name not in placed],
        thresholds=list(_threshold_rows(comparison)),
        diagnosis=[*comparison.prepared.diagnosis.lines(), *_warnings(comparison)],
    )


def _ranking_rows(comparison: Comparison) -> Iterator[list[Cell]]:
    """A strategy's average precision, ROC-AUC, gain over plain boosting, and its probabilities."""
    for result in comparison.results:
        ranked = [_ranked_cell(result, fold, metric) for metric in _RANKING for fold in (VALIDATION, TEST)]
        probability = [Cell(value=short_text(result.metrics.get(name))) for name in _PROBABILITY]
        yield [Cell(value=result.name), *ranked, _gain_cell(comparison.gains.get(result.name)), *probability]


def _operating_rows(comparison: Comparison) -> Iterator[list[Cell]]:
    """A strategy's threshold and what it gives on test; last, what the majority class for everybody gives."""
    serving = comparison.config.serve_objective
    for result in comparison.results:
        threshold = Cell(
            value=short_text(result.thresholds[serving].threshold), notes=_range(result.uncertainty.threshold)
        )
        cells = [_cell(result, f"{TEST}/{serving}/{name}", f"{TEST}/{name}") for name in _AT_THRESHOLD]
        yield [Cell(value=result.name), threshold, *cells]
    baseline = [Cell(value=short_text(comparison.baseline[name])) for name in _AT_THRESHOLD]
    yield [Cell(value="majority class"), Cell(value="-"), *baseline]


def _threshold_rows(comparison: Comparison) -> Iterator[list[str]]:
    for result in comparison.results:
        for name, chosen in result.thresholds.items():
            reached = "yes" if chosen.reachable else "no"
            yield [result.name, name, short_text(chosen.threshold), reached, chosen.sentence, chosen.warning or ""]


def _neighbour_lines(comparison: Comparison) -> Iterator[str]:
    """What is known of the neighbours that synthetic rows lie between."""
    for result in comparison.results:
        for label, report in result.fitted.neighbours.items():
            yield f"{result.name}, class {label}: {report['sentence']}"


def _ranked_cell(result: StrategyResult, fold: str, metric: str) -> Cell:
    curve, name = result.curves[fold], f"{fold}/{metric}"
    bracket = curve.average_precision_bracket() if metric == "average_precision" else curve.roc_auc_bracket()
    interval = result.intervals.get(name)
    return Cell(value=short_text(result.metrics.get(name)), notes=(*_range(interval), *_open(bracket)))


def _cell(result: StrategyResult, metric: str, interval: str) -> Cell:
    return Cell(value=short_text(result.metrics.get(metric)), notes=_range(result.intervals.get(interval)))


def _gain_cell(gain: Interval | None) -> Cell:
    if gain is None:
        return Cell(value="-")
    return Cell(value=f"{gain.value:+.4f}", notes=(f"{100.0 * gain.level:g} %: {gain.low:+.4f} to {gain.high:+.4f}",))


def _range(interval: Interval | None) -> tuple[str, ...]:
    if interval is None:
        return ()
    return (f"{100.0 * interval.level:g} %: {short_text(interval.low)} to {short_text(interval.high)}",)


def _open(bracket: Bracket | None) -> tuple[str, ...]:
    return () if bracket is None else (f"certified: {bracket.low:.6f} to {bracket.high:.6f}",)


def _warnings(comparison: Comparison) -> list[str]:
    return [f"- Warning: {warning}" for warning in comparison.prepared.warnings]


def figure_data(figure: Figure) -> str:
    """A picture as an address that holds it."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{{ title }}</title>
<style>
 body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 75rem; padding: 0 1rem; color: #222; }
 .wide { overflow-x: auto; } table { border-collapse: collapse; margin: 1rem 0; font-variant-numeric: tabular-nums; }
 th, td { padding: .3rem .6rem; text-align: right; vertical-align: top; border-bottom: 1px solid #ddd; }
 th:first-child, td:first-child { text-align: left; } .results tbody tr:first-child { background: #eef5ee; }
 .results tbody tr:first-child td:first-child { font-weight: 600; } small { display: block; color: #555; }
 .words td, .words th { text-align: left; } figure { margin: 1.5rem 0; } img { max-width: 100%; height: auto; }
 .answer { border-left: 4px solid #009E73; padding-left: 1rem; } .answer li:first-child { font-weight: 600; }
 pre { overflow-x: auto; } small { white-space: nowrap; }
</style></head><body>
{% macro results(header, rows) %}<div class="wide"><table class="results">
<thead><tr>{% for name in header %}<th scope="col">{{ name }}</th>{% endfor %}</tr></thead>
<tbody>{% for row in rows %}<tr>{% for cell in row %}<td>{{ cell.value }}{% for note in cell.notes %}<small>{{ note }}
</small>{% endfor %}</td>{% endfor %}</tr>
{% endfor %}</tbody></table></div>{% endmacro %}
{% macro shown(pictures) %}{% for caption, data in pictures %}<figure><img src="{{ data }}" alt="{{ caption }}">
<figcaption>{{ caption }}</figcaption></figure>
{% endfor %}{% endmacro %}
<h1>{{ title }}</h1>
<section class="answer" id="answer"><h2>The answer</h2>
<ul>{% for line in conclusions %}<li>{{ line }}</li>
{% endfor %}</ul></section>
<section id="strategies"><h2>The strategies</h2>
<p>Best first, by validation. A range in percent is what the choice of rows leaves open; a certified range is what
counting scores in bins leaves open. The gain is over {{ plain }}, on the same rows of validation. A ratio of mean
probability and rate near 1 means that probabilities are right on average.</p>
{{ results(["strategy", "average precision, validation", "average precision, test", "ROC-AUC, validation",
"ROC-AUC, test", "gain", "Brier", "log loss", "mean p / rate"], ranking) }}
{% if neighbours %}<p>Rows made between neighbours:</p><ul>{% for line in neighbours %}<li>{{ line }}</li>
{% endfor %}</ul>{% endif %}
{{ shown(pictures["strategies"]) }}</section>
<section id="operating-point"><h2>The operating point</h2>
<p>Thresholds are those of {{ serving }}, chosen on validation; the other columns are what they give on test.</p>
{{ results(["strategy", "threshold", "precision", "recall", "F1", "F2", "MCC", "cost"], operating_points) }}
{{ shown(pictures["operating-point"]) }}</section>
<section id="curves"><h2>Over all thresholds</h2>
{{ shown(pictures["curves"]) }}</section>
<section id="probabilities"><h2>The probabilities</h2>
{{ shown(pictures["probabilities"]) }}{{ shown(others) }}</section>
<section id="imbalance"><h2>The imbalance</h2>
<pre>{% for line in diagnosis %}{{ line }}
{% endfor %}</pre></section>
<section id="thresholds"><h2>Every threshold</h2>
<p>Chosen on the half of validation that does not calibrate.</p>
<div class="wide"><table class="words"><thead><tr>{% for name in ["strategy", "objective", "threshold", "reached",
"on validation", "doubt"] %}<th scope="col">{{ name }}</th>{% endfor %}</tr></thead>
<tbody>{% for row in thresholds %}<tr>{% for cell in row %}<td>{{ cell }}</td>{% endfor %}</tr>
{% endfor %}</tbody></table></div></section>
</body></html>
"""
