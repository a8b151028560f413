"""The report as one HTML page: first the answer, then what it rests on. It holds names and counts, never rows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources

from jinja2 import Environment

from imbalance_spark.core.page_style import page_style
from imbalance_spark.monitoring.drift import Drift
from imbalance_spark.monitoring.expected import METRICS, Estimate
from imbalance_spark.monitoring.report import MonitorReport, VersionReport

_MOST_DRIFTS, _MOST_BARS = 30, 8
_FULL_BAR = 0.05  # of index times importance, where none is larger: chance would fill the page on a quiet day
_HEADINGS = {"base_rate": "base rate", "average_precision": "AP"}


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A value and a note on the line below it."""

    value: str
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Table:
    """What the page shows as a table."""

    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]


@dataclass(frozen=True, kw_only=True)
class Bar:
    """A feature in the figure of drift: `percent` is the bar's length, `text` what it is made of."""

    name: str
    percent: float
    text: str


def monitor_page(report: MonitorReport) -> str:
    """The report as one self-contained page; every name in it is escaped."""
    template = resources.files(__package__).joinpath("page.html.j2").read_text("utf-8")
    return (
        Environment(autoescape=True)
        .from_string(template)
        .render(
            style=page_style(),
            title=f"{report.name}: {report.day}",
            report=report,
            conclusions=list(report.conclusions()),
            commands=[version.command for version in report.versions if version.command],
            performance=_performance(report.versions),
            base_rates=_base_rates(report.versions),
            labelled=_labelled(report.versions),
            has_control=any(one.labelled is not None and one.labelled.control for one in report.versions),
            drift=_drift(report.drift[:_MOST_DRIFTS]),
            bars=_bars(report.drift),
            alerts=_alerts(report),
            delay=_delay(report),
            recent=_recent(report),
        )
    )


def _performance(versions: Sequence[VersionReport]) -> Table:
    rows = []
    for version in versions:
        for name, found in (("mix of orders", version.unmoved), ("base rate", version.moved)):
            fits = " *" if found is version.best else ""
            counts = [Cell(value=f"{version.orders:,.0f}"), Cell(value=f"{version.alerts:,.0f}")]
            rows.append([Cell(value=version.label), Cell(value=name + fits), *counts, *_cells(found)])
    return Table(columns=["version", "if only this changed", "orders", "alerts", *_names()], rows=rows)


def _labelled(versions: Sequence[VersionReport]) -> Table | None:
    rows = []
    for version in versions:
        if (labelled := version.labelled) is None:
            continue
        place = [Cell(value=version.label, note=f"{labelled.first} to {labelled.last}")]
        note = f"{labelled.orders:,.0f} orders"
        if labelled.control:
            note = f"{labelled.orders:,.0f} reviewed, {labelled.control_orders:,.0f} not flagged"
        values = [
            _cell(labelled.control[name]) if name in labelled.control else Cell(value=_text(labelled.found[name]))
            for name in METRICS
        ]
        rows.append([*place, Cell(value="labels", note=note), *values])
        for name, found, p in (
            ("estimated", labelled.unmoved, labelled.p_unmoved),
            ("at the new base rate", labelled.moved, labelled.p_moved),
        ):
            note = "" if p is None else f"agrees with labels: p = {p:.2g}"
            rows.append([*place, Cell(value=name, note=note), *_cells(found)])
    return Table(columns=["version", "by", *_names()], rows=rows) if rows else None


def _base_rates(versions: Sequence[VersionReport]) -> Table:
    columns = ["version", "in validation", "EM", "BBSE", "same scores, p", "label shift, p", "threshold", "retuned"]
    rows = [
        [
            Cell(value=version.label), Cell(value=_text(version.shift.expected_rate)), _cell(version.shift.em),
            _cell(version.shift.bbse), Cell(value=f"{version.shift.p_unchanged:.2g}"),
            Cell(value=f"{version.shift.p_label_shift:.2g}"), Cell(value=_text(version.threshold)),
            Cell(value=_text(version.new_threshold)),
        ]
        for version in versions
    ]  # fmt: skip
    return Table(columns=columns, rows=rows)


def _drift(found: Sequence[Drift]) -> Table:
    rows = []
    for drift in found:
        moved = "-" if drift.largest is None else drift.largest[0]
        note = "" if drift.largest is None else f"{drift.largest[1]:.2%} to {drift.largest[2]:.2%}"
        texts = [_text(drift.psi), _text(drift.q_value), _text(drift.importance)]
        rows.append(
            [
                Cell(value=f"{drift.kind} {drift.name}"),
                *[Cell(value=text) for text in texts],
                Cell(value=moved, note=note),
            ]
        )
    return Table(columns=["column", "PSI", "q-value", "importance", "moved most"], rows=rows)


def _bars(found: Sequence[Drift]) -> list[Bar]:
    """The features whose drift may move the scores most, by index times importance; those whose importance is known."""
    features = [drift for drift in found if drift.kind == "feature" and drift.importance is not None]
    shown = sorted(features, key=lambda drift: -drift.weight)[:_MOST_BARS]
    full = max([_FULL_BAR, *[drift.weight for drift in shown]])
    return [
        Bar(
            name=drift.name,
            percent=round(100.0 * drift.weight / full, 2),
            text=f"{_text(drift.psi)} x {drift.importance:.1%}",
        )
        for drift in shown
    ]


def _alerts(report: MonitorReport) -> Table:
    def used(alerts: float | None) -> Cell:
        return Cell(value="-" if report.budget is None or alerts is None else f"{alerts / report.budget:.0%}")

    past = [
        [Cell(value=f"{day:%a %Y-%m-%d}"), Cell(value=f"{alerts:,.0f}"), used(alerts)]
        for day, alerts in report.alerts[-7:]
    ]
    ahead = [
        [Cell(value=f"{one.day:%a %Y-%m-%d}", note="forecast"), _cell(one.alerts), used(one.alerts.value)]
        for one in report.forecast
    ]
    return Table(columns=["day", "alerts", "of the budget"], rows=[*past, *ahead])


def _delay(report: MonitorReport) -> Table | None:
    if report.delay is None or not report.delay.positives:
        return None
    last = len(report.delay.known) - 1
    days = sorted({0, 1, 2, 3, 7, 14, 21, 30, 45, 60, 90, last} & set(range(last + 1)))
    return Table(
        columns=["days after the order", *map(str, days)],
        rows=[[Cell(value="positives known"), *[Cell(value=f"{report.delay.known[day]:.0%}") for day in days]]],
    )


def _recent(report: MonitorReport) -> Table | None:
    rows = [[Cell(value=f"{day:%a %Y-%m-%d}"), _cell(found)] for day, found in report.recent]
    return Table(columns=["day", "positives to expect"], rows=rows) if rows else None


def _names() -> list[str]:
    return [_HEADINGS.get(name, name) for name in METRICS]


def _cells(found: Mapping[str, Estimate]) -> list[Cell]:
    return [_cell(found[name]) for name in METRICS]


def _cell(found: Estimate) -> Cell:
    if found.low is None or found.high is None:
        return Cell(value=_text(found.value))
    return Cell(value=_text(found.value), note=f"{_text(found.low)} to {_text(found.high)}")


def _text(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if abs(value) >= 1000.0 else f"{value:.4g}"
