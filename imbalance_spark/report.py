"""The comparison as people read it: a table in the terminal, a CSV, and one HTML page."""

import base64
import io
from collections.abc import Mapping
from typing import Any

import pandas as pd
from jinja2 import Environment
from matplotlib.figure import Figure

from imbalance_spark.compare import Comparison
from imbalance_spark.frames import TEST, VALIDATION
from imbalance_spark.judge import StrategyResult
from imbalance_spark.metrics.intervals import Interval

_COLUMNS = (
    ("AP val", f"{VALIDATION}/average_precision"),
    ("AP test", f"{TEST}/average_precision"),
    ("ROC-AUC", f"{TEST}/roc_auc"),
    ("Brier", f"{TEST}/brier"),
    ("log loss", f"{TEST}/log_loss"),
    ("mean p / rate", "ledger/mean_over_base_rate"),
)
_AT_THRESHOLD = ("precision", "recall", "f1", "f2", "mcc", "cost")


def comparison_table(comparison: Comparison) -> pd.DataFrame:
    """One row a strategy, best first, then the majority baseline; all on test but for `AP val`.

    The columns after `threshold` hold at the serving objective's threshold, chosen on validation.
    """
    rows = [_row(comparison, result) for result in comparison.results]
    baseline: dict[str, Any] = {"strategy": "majority class", "threshold": None}
    baseline |= {name: comparison.baseline[name] for name in _AT_THRESHOLD}
    return pd.DataFrame([*rows, baseline])


def terminal_text(comparison: Comparison) -> str:
    """The table, the chosen thresholds of the best strategy, and what follows from them."""
    table = comparison_table(comparison)
    shown = table.to_string(index=False, na_rep="-", formatters=dict.fromkeys(table.columns[1:], _short))
    return "\n".join(["", shown, "", *conclusions(comparison), ""])


def conclusions(comparison: Comparison) -> list[str]:
    """Sentences: which strategy, at what threshold, at what cost, and whether resampling was needed."""
    best, serving = comparison.best, comparison.config.serve_objective
    chosen = best.thresholds[serving]
    test = {name: best.metrics.get(f"{TEST}/{serving}/{name}", 0.0) for name in ("precision", "recall", "cost")}
    lines = [
        f"Best on validation: {best.name}. At threshold {chosen.threshold:.6g} ({serving}), test precision is "
        f"{test['precision']:.3f}, recall {test['recall']:.3f}, cost {test['cost']:,.0f} "
        f"against {comparison.baseline['cost']:,.0f} when nothing is flagged.",
        _against_none(comparison),
        f"Majority baseline: accuracy {comparison.baseline['accuracy']:.5f}, "
        f"recall {comparison.baseline['recall']:.0f}.",
    ]
    lines += [f"{best.name}: {chosen.sentence}" for chosen in best.thresholds.values() if not chosen.reachable]
    lines += [f"{result.name}: {result.ledger.sentence}" for result in comparison.results if not result.ledger.passed]
    lines += _doubts(best)
    return lines


def _doubts(best: StrategyResult) -> list[str]:
    """Why the best strategy's numbers are rough, each reason once."""
    said = [interval.warning for interval in best.intervals.values()]
    said += [chosen.warning for chosen in best.thresholds.values()]
    return [f"{best.name}: {warning}" for warning in dict.fromkeys(said) if warning is not None]


def html_page(comparison: Comparison, figures: Mapping[str, Figure]) -> str:
    """The whole comparison as one self-contained page; every name in it is escaped."""
    table = comparison_table(comparison)
    page = Environment(autoescape=True).from_string(_PAGE)
    return page.render(
        title=f"{comparison.config.name}: {comparison.prepared.run.run_id}",
        conclusions=conclusions(comparison),
        diagnosis=[*comparison.prepared.diagnosis.lines(), *_warnings(comparison)],
        header=list(table.columns),
        rows=[[_short(value) for value in row] for row in table.itertuples(index=False)],
        thresholds=_threshold_rows(comparison),
        pictures=[(name, _as_data(figure)) for name, figure in figures.items()],
    )


def _warnings(comparison: Comparison) -> list[str]:
    return [f"- Warning: {warning}" for warning in comparison.prepared.warnings]


def _row(comparison: Comparison, result: StrategyResult) -> dict[str, Any]:
    serving = comparison.config.serve_objective
    row: dict[str, Any] = {"strategy": result.name}
    for title, name in _COLUMNS:
        row[title] = result.metrics.get(name)
        if name == f"{TEST}/average_precision":
            row["95 % of it"] = _range(result.intervals.get(name))
    row["threshold"] = result.thresholds[serving].threshold
    return row | {name: result.metrics.get(f"{TEST}/{serving}/{name}") for name in _AT_THRESHOLD}


def _against_none(comparison: Comparison) -> str:
    best, plain, metric = comparison.best, comparison.plain, comparison.config.gate.metric
    if best is plain:
        return "No resampling needed: none scores higher on validation than plain boosting with a tuned threshold."
    gain = comparison.gains[best.name]
    found = f"{gain.value:+.4f} in {metric} on validation, 95 % interval {gain.low:+.4f} to {gain.high:+.4f}"
    if gain.low > 0.0:
        return f"Against plain boosting with a tuned threshold ({plain.name}), {best.name} gains {found}."
    return (
        f"No resampling needed: {best.name} gains {found} over plain boosting with a tuned threshold ({plain.name}), "
        "no more than chance gives."
    )


def _range(interval: Interval | None) -> str:
    return "-" if interval is None else f"{interval.low:.3f} to {interval.high:.3f}"


def _threshold_rows(comparison: Comparison) -> list[list[str]]:
    return [
        [result.name, name, _short(chosen.threshold), "yes" if chosen.reachable else "no", chosen.sentence]
        for result in comparison.results
        for name, chosen in result.thresholds.items()
    ]


def _short(value: Any) -> str:
    if isinstance(value, str):
        return value
    if value is None or pd.isna(value):
        return "-"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.4g}"


def _as_data(figure: Figure) -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{{ title }}</title>
<style>
 body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 75rem; padding: 0 1rem; color: #222; }
 table { border-collapse: collapse; margin: 1rem 0; font-variant-numeric: tabular-nums; }
 th, td { padding: .3rem .7rem; text-align: right; border-bottom: 1px solid #ddd; }
 th:first-child, td:first-child { text-align: left; } tbody tr:first-child { background: #eef5ee; font-weight: 600; }
 .words td { text-align: left; } figure { margin: 1.5rem 0; } img { max-width: 100%; } pre { overflow-x: auto; }
</style></head><body>
<h1>{{ title }}</h1>
<ul>{% for line in conclusions %}<li>{{ line }}</li>{% endfor %}</ul>
<table><thead><tr>{% for name in header %}<th>{{ name }}</th>{% endfor %}</tr></thead>
<tbody>{% for row in rows %}<tr>{% for cell in row %}<td>{{ cell }}</td>{% endfor %}</tr>{% endfor %}</tbody></table>
<h2>The imbalance</h2><pre>{% for line in diagnosis %}{{ line }}
{% endfor %}</pre>
<h2>Pictures</h2>
{% for name, data in pictures %}<figure><img src="{{ data }}" alt="{{ name }}"></figure>{% endfor %}
<h2>Thresholds, chosen on validation</h2>
<table class="words"><thead><tr><th>strategy</th><th>objective</th><th>threshold</th><th>reached</th>
<th>on validation</th></tr></thead>
<tbody>{% for row in thresholds %}<tr>{% for cell in row %}<td>{{ cell }}</td>{% endfor %}</tr>{% endfor %}
</tbody></table></body></html>
"""
