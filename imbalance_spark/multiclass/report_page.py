"""The comparison of several classes as one HTML page that needs nothing else."""

from collections.abc import Iterator, Mapping

import pandas as pd
from jinja2 import Environment
from matplotlib.figure import Figure

from imbalance_spark.comparison.report.page import figure_data
from imbalance_spark.comparison.report.tables import short_text
from imbalance_spark.multiclass.compare import ClassComparison
from imbalance_spark.multiclass.report import class_conclusions, class_lines, class_table, confusion_table

_CAPTIONS = {
    "comparison": "How good is each strategy, and how sure is that? Validation decides, test confirms.",
    "gain_over_plain": "Is it better than plain boosting? Only where the interval leaves 0 out.",
    "confusion_matrix": "Who is taken for whom by the best strategy under the rule that serves, on test.",
}


def class_html_page(comparison: ClassComparison, figures: Mapping[str, Figure]) -> str:
    """The whole comparison as one self-contained page; every name in it is escaped."""
    classes = comparison.classes
    page = Environment(autoescape=True).from_string(_PAGE)
    return page.render(
        title=f"{comparison.config.name}: {comparison.prepared.run.run_id}",
        conclusions=class_conclusions(comparison),
        best=comparison.best.name,
        serving=comparison.config.serve_objective,
        tables={
            "strategies": _cells(class_table(comparison)),
            "classes": _cells(class_lines(comparison)),
            "confusion": _cells(confusion_table(comparison).reset_index()),
            "rules": _cells(_rules(comparison)),
        },
        costs=_cells(_cost_table(comparison)) if comparison.decisions.costs is not None else None,
        calibrations=[f"{result.name}: {result.calibration.sentence}" for result in comparison.results],
        pictures={name: (_CAPTIONS[name], figure_data(figures[name])) for name in _CAPTIONS if name in figures},
        by_class=[
            (name, [figure_data(figures[f"{kind}_{number}"]) for kind in ("precision_recall", "reliability")])
            for number, name in enumerate(classes)
        ],
        diagnosis=[
            *comparison.prepared.diagnosis.lines(),
            *[f"- Warning: {warning}" for warning in comparison.prepared.warnings],
        ],
    )


def _rules(comparison: ClassComparison) -> pd.DataFrame:
    return pd.DataFrame(list(_rule_rows(comparison)))


def _rule_rows(comparison: ClassComparison) -> Iterator[dict[str, object]]:
    """What each rule of decision of each strategy gives on test."""
    names = ("macro_f1", "macro_recall", "macro_precision", "mcc", "cost")
    for result in comparison.results:
        for rule in result.rules:
            values = {name.replace("_", " "): result.metrics.get(f"test/{rule}/{name}") for name in names}
            chosen = result.chosen.get(rule)
            said = (
                "; ".join(
                    f"{name}: {found.sentence}"
                    for number, (name, found) in enumerate(zip(comparison.classes, chosen.by_target, strict=True))
                    if number != chosen.rule.default_class
                )
                if chosen
                else "given, not chosen on data"
            )
            yield {"strategy": result.name, "decided by": rule, **values, "on validation": said}


def _cost_table(comparison: ClassComparison) -> pd.DataFrame:
    names = list(comparison.classes)
    table = pd.DataFrame(comparison.decisions.costs, columns=[f"as {name}" for name in names])
    table.insert(0, "true", names)
    return table


def _cells(table: pd.DataFrame) -> tuple[list[str], list[list[str]]]:
    """Header and rows as texts."""
    return [str(name) for name in table.columns], [[short_text(value) for value in row] for row in table.to_numpy()]


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{{ title }}</title>
<style>
 body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 75rem; padding: 0 1rem; color: #222; }
 .wide { overflow-x: auto; } table { border-collapse: collapse; margin: 1rem 0; font-variant-numeric: tabular-nums; }
 th, td { padding: .3rem .6rem; text-align: right; vertical-align: top; border-bottom: 1px solid #ddd; }
 th:first-child, td:first-child { text-align: left; } td:last-child { min-width: 6rem; }
 .best tbody tr:first-child { background: #eef5ee; } .best tbody tr:first-child td:first-child { font-weight: 600; }
 figure { margin: 1.5rem 0; } img { max-width: 100%; height: auto; } pre { overflow-x: auto; }
 .answer { border-left: 4px solid #009E73; padding-left: 1rem; } .answer li:first-child { font-weight: 600; }
</style></head><body>
{% macro shown(table, kind="") %}<div class="wide"><table class="{{ kind }}">
<thead><tr>{% for name in table[0] %}<th scope="col">{{ name }}</th>{% endfor %}</tr></thead>
<tbody>{% for row in table[1] %}<tr>{% for cell in row %}<td>{{ cell }}</td>{% endfor %}</tr>
{% endfor %}</tbody></table></div>{% endmacro %}
{% macro picture(name) %}{% if name in pictures %}
<figure><img src="{{ pictures[name][1] }}" alt="{{ pictures[name][0] }}">
<figcaption>{{ pictures[name][0] }}</figcaption></figure>{% endif %}{% endmacro %}
<h1>{{ title }}</h1>
<section class="answer" id="answer"><h2>The answer</h2>
<ul>{% for line in conclusions %}<li>{{ line }}</li>
{% endfor %}</ul></section>
<section id="strategies"><h2>The strategies</h2>
<p>Best first, by the macro average precision (AP) on validation; all other columns are test. AP of a class is that of
the class against all others. A ratio of mean probability and rate near 1 means that probabilities are right on average;
told is the class that is furthest off. The columns from macro F1 on are what deciding by {{ serving }} gives.</p>
{{ shown(tables["strategies"], "best") }}{{ picture("comparison") }}{{ picture("gain_over_plain") }}</section>
<section id="classes"><h2>The classes: {{ best }} on test, decided by {{ serving }}</h2>
{{ shown(tables["classes"]) }}{{ shown(tables["confusion"]) }}{{ picture("confusion_matrix") }}</section>
{% if costs %}<section id="costs"><h2>What errors cost</h2>
<p>What a row of a class (down) costs when it is taken for a class (across).</p>
{{ shown(costs) }}</section>{% endif %}
<section id="rules"><h2>Every rule of decision</h2>
<p>Thresholds are chosen on the half of validation that does not calibrate; the numbers are test. The largest class has
no threshold: it is what is left when no other class reaches its own.</p>{{ shown(tables["rules"]) }}</section>
<section id="curves"><h2>Class by class</h2>
{% for name, images in by_class %}<h3>{{ name }}</h3>
{% for data in images %}<figure><img src="{{ data }}" alt="{{ name }}"></figure>{% endfor %}{% endfor %}</section>
<section id="probabilities"><h2>The probabilities</h2>
<ul>{% for line in calibrations %}<li>{{ line }}</li>
{% endfor %}</ul></section>
<section id="imbalance"><h2>The imbalance</h2>
<pre>{% for line in diagnosis %}{{ line }}
{% endfor %}</pre></section>
</body></html>
"""
