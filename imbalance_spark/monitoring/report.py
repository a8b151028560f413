"""What the monitor says of a day: estimates of each model version, drift, labels, alerts, and which alarms fire."""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import numpy as np
import pandas as pd

from imbalance_spark.core.arrays import FloatArray
from imbalance_spark.monitoring.cells import GRID, LabelledCells, ScoreCells
from imbalance_spark.monitoring.config import MonitoringConfig
from imbalance_spark.monitoring.drift import Drift, column_drift, controlled, psi, tail_p
from imbalance_spark.monitoring.expected import Costs, Estimate, as_numbers, contradiction, expected, realised
from imbalance_spark.monitoring.label_delay import DelayCurve
from imbalance_spark.monitoring.label_shift import Shift, Verdict, estimate_shift
from imbalance_spark.monitoring.models import MonitoredModel
from imbalance_spark.monitoring.reviews import Forecast, ReviewedOrders

_CHANCE = 0.05  # share of reported drifts that may be chance
_TOP = 0.01


@dataclass(frozen=True, kw_only=True)
class Labelled:
    """Days whose labels are complete: what they say, beside what was estimated.

    Args:
        first, last: days, both included.
        orders: with a known label; with a control sample those that were for review.
        found: None where undefined. With a control sample, of all orders: reviewed ones stand for the others.
        unmoved, moved: estimates of the orders that `found` is of, at the base rate of validation and at the one
            estimated.
        p_unmoved, p_moved: p-values of the labels being what these probabilities expect.
        control: `base_rate`, `positives` and `recall` with the uncertainty of the control sample; empty without one.
        control_orders: reviewed orders that were not flagged.
    """

    first: date
    last: date
    orders: float
    found: Mapping[str, float | None]
    unmoved: Mapping[str, Estimate]
    moved: Mapping[str, Estimate]
    p_unmoved: float | None
    p_moved: float | None
    control: Mapping[str, Estimate] = field(default_factory=dict)
    control_orders: float = 0.0

    def contradicts(self, level: float) -> bool:
        """Whether neither covariate nor label shift explains the labels: concept shift."""
        return all(p is not None and p < level for p in (self.p_unmoved, self.p_moved))


@dataclass(frozen=True, kw_only=True)
class VersionReport:
    """One model version on the days of the window.

    Args:
        unmoved, moved: estimates if only the mix of orders changed, and if only the base rate did.
        new_threshold: what `jobs/retune.py` would serve at the estimated base rate, on probabilities at it.
        command: for that; both None without a shift of labels.
    """

    label: str
    version: str
    is_served: bool
    threshold: float
    orders: float
    alerts: float
    shift: Shift
    verdict: Verdict
    unmoved: Mapping[str, Estimate]
    moved: Mapping[str, Estimate]
    new_threshold: float | None = None
    command: str | None = None
    labelled: Labelled | None = None

    @property
    def best(self) -> Mapping[str, Estimate]:
        """The estimates that the verdict is for."""
        return self.moved if self.verdict == "label" else self.unmoved

    @property
    def sentence(self) -> str:
        """The verdict in words."""
        rate, old = self.shift.em, self.shift.expected_rate
        if self.verdict == "none":
            return f"Version {self.label}: scores are distributed as in validation."
        if self.verdict == "label":
            return (
                f"Version {self.label}: scores look as if the base rate went from {old:.3g} to {rate.value:.3g} "
                f"({rate.low:.3g} to {rate.high:.3g})."
            )
        return (
            f"Version {self.label}: scores moved in a way that no base rate explains. Estimates hold if only the mix "
            "of orders changed, and not if orders of the same kind became riskier: labels are needed to tell."
        )


@dataclass(frozen=True, kw_only=True)
class Alarm:
    """A limit of the config that was crossed."""

    name: str
    sentence: str


@dataclass(frozen=True, kw_only=True)
class MonitorReport:
    """A day's report; `alarms` is empty on a quiet day.

    Args:
        days: of the window, rising; the last one is the day of the report.
        alerts: of the served version by day.
        recent: positives to expect of days whose labels are still coming.
    """

    name: str
    days: Sequence[date]
    versions: Sequence[VersionReport]
    drift: Sequence[Drift]
    alerts: Sequence[tuple[date, float]]
    forecast: Sequence[Forecast]
    budget: float | None
    delay: DelayCurve | None = None
    recent: Sequence[tuple[date, Estimate]] = ()
    alarms: Sequence[Alarm] = field(default=())

    @property
    def day(self) -> date:
        """The day of the report."""
        return self.days[-1]

    @property
    def served(self) -> VersionReport:
        """The version whose alarms count."""
        return next(version for version in self.versions if version.is_served)

    def conclusions(self) -> Iterator[str]:
        """The report in a few lines."""
        alarms = [alarm.sentence for alarm in self.alarms]
        yield from alarms or ["No alarm fires."]
        yield from (one.sentence for one in self.versions if not any(one.sentence in said for said in alarms))
        for version in self.versions:
            if version.new_threshold is not None:
                yield (
                    f"Version {version.label}: at that base rate the threshold would be {version.new_threshold:.4g}; "
                    f"it is {version.threshold:.4g}."
                )

    def metrics(self) -> dict[str, float]:
        """Numbers for the MLflow run."""
        found: dict[str, float] = {"alarms": float(len(self.alarms))}
        for version in self.versions:
            prefix = f"version_{version.version}"
            found |= as_numbers(version.best, prefix)
            found |= as_numbers({"base_rate_em": version.shift.em, "base_rate_bbse": version.shift.bbse}, prefix)
            found |= {f"{prefix}/orders": version.orders, f"{prefix}/alerts": version.alerts}
            labels = version.labelled.found if version.labelled is not None else {}
            found |= {f"{prefix}/labelled_{name}": value for name, value in labels.items() if value is not None}
            found |= as_numbers({} if version.labelled is None else version.labelled.control, f"{prefix}/reviewed")
        # MLflow takes letters, digits and some signs.
        psis = {re.sub(r"[^\w./ -]", "_", f"psi/{drift.kind}_{drift.name}"): drift.psi for drift in self.drift}
        return found | psis

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON values."""
        return {
            "day": self.day.isoformat(),
            "window": [day.isoformat() for day in self.days],
            "alarms": [vars(alarm) for alarm in self.alarms],
            "conclusions": list(self.conclusions()),
            "versions": [_version_record(version) for version in self.versions],
            "drift": [vars(drift) for drift in self.drift],
            "alerts": {day.isoformat(): alerts for day, alerts in self.alerts},
            "forecast": {one.day.isoformat(): vars(one.alerts) for one in self.forecast},
            "known_after_days": [] if self.delay is None else np.nan_to_num(self.delay.known).tolist(),
            "recent_positives": {day.isoformat(): vars(found) for day, found in self.recent},
        }


def _version_record(version: VersionReport) -> dict[str, Any]:
    labelled = version.labelled
    return {
        "version": version.version, "label": version.label, "orders": version.orders, "alerts": version.alerts,
        "threshold": version.threshold, "verdict": version.verdict,
        "base_rate": {"validation": version.shift.expected_rate, "em": vars(version.shift.em),
                      "bbse": vars(version.shift.bbse), "p_unchanged": version.shift.p_unchanged,
                      "p_label_shift": version.shift.p_label_shift},
        "expected": {name: vars(found) for name, found in version.unmoved.items()},
        "expected_at_new_base_rate": {name: vars(found) for name, found in version.moved.items()},
        "new_threshold": version.new_threshold, "command": version.command,
        "labelled": None if labelled is None else {
            "first": labelled.first.isoformat(), "last": labelled.last.isoformat(), "orders": labelled.orders,
            "found": dict(labelled.found), "p_unmoved": labelled.p_unmoved, "p_moved": labelled.p_moved,
            "control": {name: vars(found) for name, found in labelled.control.items()},
            "control_orders": labelled.control_orders,
        },
    }  # fmt: skip


def score_cells(cells: pd.DataFrame) -> ScoreCells:
    """Cells from rows of `n`, `p`, `variance`, `flagged`."""
    return ScoreCells.of_sums(*_sums(cells), cells["flagged"].to_numpy(dtype=bool))


def labelled_cells(cells: pd.DataFrame) -> LabelledCells:
    """The same with `positives`."""
    rows, p, variance = _sums(cells)
    order = np.argsort(-p / rows, kind="stable")
    of_day = ScoreCells.of_sums(rows, p, variance, cells["flagged"].to_numpy(dtype=bool))
    return LabelledCells(cells=of_day, positives=cells["positives"].to_numpy(dtype=np.float64)[order])


def _sums(cells: pd.DataFrame) -> tuple[FloatArray, FloatArray, FloatArray]:
    n, p, variance = (cells[name].to_numpy(dtype=np.float64) for name in ("n", "p", "variance"))
    return n, p, variance


def labelled_report(cells: pd.DataFrame, model: MonitoredModel, costs: Costs, days: Sequence[date]) -> Labelled | None:
    """What the labels of some days say; None where no order has one that counts.

    Args:
        cells: of `counts.collect_labelled_cells`.
    """
    counting = cells[cells["is_labelled"] & (cells["weight"] > 0.0)]
    if counting.empty:
        return None
    known = labelled_cells(counting)
    has_control = bool((cells["weight"] != 1.0).any())
    shown, positives = (known.cells, known.positives) if not has_control else _standing_for_all(counting)
    compared = score_cells(cells) if has_control else known.cells
    move = estimate_shift(compared, model.reference).move
    reviewed = _reviewed(counting)
    return Labelled(
        first=days[0],
        last=days[-1],
        orders=known.cells.total,
        found=realised(shown, positives, costs),
        unmoved=expected(compared, model.reference, costs),
        moved=expected(compared, model.reference, costs, move=move),
        p_unmoved=contradiction(known, model.reference),
        p_moved=contradiction(known, model.reference, move=move),
        control=reviewed.estimates(compared.total) if has_control else {},
        control_orders=reviewed.control_rows if has_control else 0.0,
    )


def _reviewed(cells: pd.DataFrame) -> ReviewedOrders:
    rows, positives, weight = (cells[name].to_numpy(dtype=np.float64) for name in ("n", "positives", "weight"))
    return ReviewedOrders(rows=rows, positives=positives, weight=weight, flagged=cells["flagged"].to_numpy(dtype=bool))


def _standing_for_all(cells: pd.DataFrame) -> tuple[ScoreCells, FloatArray]:
    """Reviewed orders, each as often as it stands for one; the decisions of a control sample are known for all."""
    names = ["n", "p", "variance", "positives"]
    weighted = cells.assign(**{name: cells[name] * cells["weight"] for name in names})
    known = labelled_cells(weighted)
    return known.cells, known.positives


def drift_report(before: pd.DataFrame, after: pd.DataFrame, model: MonitoredModel) -> list[Drift]:
    """Drift of each feature and segment from the reference days, and of the share of orders in validation's top 1 %.

    Args:
        before, after: counts of `counts.collect_cells`.
    """
    one, other = _rows_by_value(before), _rows_by_value(after)
    found = [
        column_drift(kind, name, one.get((kind, name), {}), other.get((kind, name), {}), model.importance.get(name))
        for kind, name in sorted(one.keys() | other.keys())
    ]
    return controlled([*found, _top_drift(after[after["kind"] == "score"], model)])


def _rows_by_value(counts: pd.DataFrame) -> dict[tuple[str, str], dict[str, float]]:
    """Rows of each value, by kind and name of the column."""
    found: dict[tuple[str, str], dict[str, float]] = defaultdict(lambda: defaultdict(float))
    of_columns = counts[counts["kind"] != "score"]
    for kind, name, value, n in of_columns[["kind", "name", "value", "n"]].itertuples(index=False):
        found[kind, name][value] += float(n)
    return found


def _top_drift(scores: pd.DataFrame, model: MonitoredModel) -> Drift:
    own = model.reference.labelled.cells
    bins = GRID.bin_of(own.probability)
    first = int(bins[min(int(np.searchsorted(np.cumsum(own.rows), _TOP * own.total)), len(bins) - 1)])
    before = np.array([own.rows[bins >= first].sum(), own.rows[bins < first].sum()])
    is_top = scores["bin"].to_numpy() >= first
    rows = scores["n"].to_numpy(dtype=np.float64)
    after = np.array([rows[is_top].sum(), rows[~is_top].sum()])
    shares = float(before[0] / before.sum()), float(after[0] / after.sum())
    return Drift(
        kind="score",
        name="top 1 %",
        psi=psi(before, after),
        p_value=tail_p((before[0], before.sum()), (after[0], after.sum())),
        largest=(f"above {GRID.lower(first):.3g}", *shares),
    )


def alarms_of(report: MonitorReport, config: MonitoringConfig) -> list[Alarm]:
    """The limits of the config that the served version crosses."""
    limits, served = config.alarms, report.served
    found = [
        Alarm(name=f"min_{name}", sentence=(
            f"The {name} of version {served.label} is at most {served.best[name].high:.3g}, below {least:.3g}."))
        for name, least in (("precision", limits.min_precision), ("recall", limits.min_recall))
        if least is not None and (high := served.best[name].high) is not None and high < least
    ]  # fmt: skip
    recall = None if served.labelled is None else served.labelled.control.get("recall")
    most = None if recall is None else recall.high
    if limits.min_recall is not None and most is not None and most < limits.min_recall:
        found.append(
            Alarm(
                name="reviewed_recall",
                sentence=(
                    f"By the control sample, the recall of version {served.label} is at most {most:.3g}, "
                    f"below {limits.min_recall:.3g}."
                ),
            )
        )
    if limits.base_rate and served.verdict == "label":
        found.append(Alarm(name="base_rate", sentence=f"The base rate moved. {served.sentence}"))
    if limits.unexplained and served.verdict == "other":
        found.append(Alarm(name="unexplained", sentence=served.sentence))
    if limits.unexplained and served.labelled is not None and served.labelled.contradicts(config.level):
        found.append(
            Alarm(
                name="labels",
                sentence=(
                    f"Labels of {served.labelled.first} to {served.labelled.last} contradict the probabilities of "
                    f"version {served.label}, at any base rate: what makes an order risky has changed. Train again."
                ),
            )
        )
    moved = [
        drift for drift in report.drift
        if limits.max_psi is not None and drift.psi > limits.max_psi and (drift.q_value or 0.0) <= _CHANCE
    ]  # fmt: skip
    found += [
        Alarm(name="max_psi", sentence=f"{drift.kind} {drift.name} has a PSI of {drift.psi:.3g}.") for drift in moved
    ]
    alerts = dict(report.alerts).get(report.day, 0.0)
    if limits.over_budget is not None and config.budget is not None and alerts > limits.over_budget * config.budget:
        found.append(
            Alarm(
                name="over_budget", sentence=f"{alerts:,.0f} alerts on {report.day}, the budget is {config.budget:g}."
            )
        )
    return found
