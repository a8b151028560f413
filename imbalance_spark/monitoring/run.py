"""A day's monitoring from scored tables to a report in MLflow; rows stay on the cluster, counts travel."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Any

import pandas as pd
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from imbalance_spark.core.errors import ConfigError, DataContractError
from imbalance_spark.core.files import Folder
from imbalance_spark.core.progress import Progress
from imbalance_spark.monitoring import counts
from imbalance_spark.monitoring.config import MonitoringConfig
from imbalance_spark.monitoring.drift import ColumnValues, Drift
from imbalance_spark.monitoring.expected import Costs, Estimate, expected
from imbalance_spark.monitoring.label_delay import DelayCurve
from imbalance_spark.monitoring.label_shift import estimate_shift
from imbalance_spark.monitoring.models import MonitoredModel, load_models, retune_command
from imbalance_spark.monitoring.page import monitor_page
from imbalance_spark.monitoring.report import (
    MonitorReport,
    VersionReport,
    alarms_of,
    drift_report,
    labelled_report,
    score_cells,
)
from imbalance_spark.monitoring.reviews import forecast_week
from imbalance_spark.orders.config import OrdersConfig
from imbalance_spark.threshold.cost_objectives import first_constant_costs
from imbalance_spark.threshold.objective import Objective
from imbalance_spark.tracking.config import TrackingConfig
from imbalance_spark.tracking.registry import CHAMPION
from imbalance_spark.tracking.runs import Evidence, connect, log_evidence, strategy_identity, tracked_run

_STAGES = ("count", "labels", "estimate", "log to MLflow")
_COLUMNS = "columns.json"


@dataclass(frozen=True, kw_only=True)
class MonitorTask:
    """What is monitored: the sections of a config that the monitor reads.

    Args:
        name: of the config.
        objectives: of the config; the served one is what the threshold is chosen again for, the first with constant
            costs is what errors cost.
    """

    name: str
    orders: OrdersConfig
    monitoring: MonitoringConfig
    objectives: Sequence[Objective]
    tracking: TrackingConfig

    @property
    def costs(self) -> Costs:
        """Of a miss and of a false positive; 1 each where no objective has constant ones."""
        fn, fp = first_constant_costs(self.objectives) or (1.0, 1.0)
        return Costs(fn=fn, fp=fp)


def monitor(spark: SparkSession, task: MonitorTask, *, day: date | None = None, quiet: bool = False) -> MonitorReport:
    """Count what was scored since the last run, estimate, compare, and log one MLflow run of the day.

    Passes: one over the new batches of scored orders; with labels, one over the days whose labels may still come. The
    first run takes two more over what is there: the first day, and deciles of the reference days.

    Args:
        day: of the report; by default the last day that has scored orders. Run twice, a day is one MLflow run, and the
            counts stay as they are.
        quiet: print no progress.

    Raises:
        ConfigError: there is no table of scored orders, no such model version, or no order of that day.
        DataContractError: the tables lack columns, or a key has two labels.
    """
    config, experiment_id, progress = task.monitoring, connect(task.tracking), Progress(_STAGES, quiet=quiet)
    with progress.step("count") as step:
        scored = counts.read_scored(spark, config, task.orders.time)
        columns = _columns(spark, task, scored)
        counts.append_counts(
            counts.count_scored(counts.new_batches(spark, config, scored), columns), config, scored.version
        )
        by_day = counts.collect_days(spark, config)
        step.says(f"{by_day['n'].sum():,} scored orders of {by_day['day'].nunique():,} days")
    window = _window(by_day, config, day)
    models = load_models(task.tracking, sorted(set(by_day[by_day["day"] == window[-1]]["model_version"])))
    with progress.step("labels") as step:
        labels = _count_labels(spark, task, scored, models[0], window[-1])
        step.says("no table of labels" if labels is None else f"{labels['n'].sum():,} orders looked up")
    with progress.step("estimate") as step:
        report = _report(spark, task, models, by_day, window, labels)
        step.says(f"{len(report.alarms)} alarms")
    with progress.step("log to MLflow"):
        _log(report, task, experiment_id)
    return report


def plan_monitor(spark: SparkSession, task: MonitorTask) -> list[dict[str, Any]]:
    """The batches that a run would count: `model_version`, `scored_at`, `rows`; one pass over them, nothing written.

    Raises: as `monitor` does of the tables.
    """
    scored = counts.read_scored(spark, task.monitoring, task.orders.time)
    new = counts.new_batches(spark, task.monitoring, scored).groupBy("model_version", "scored_at")
    rows = new.agg(F.count(F.lit(1)).alias("rows")).orderBy("scored_at", "model_version").collect()
    return [{**row.asDict(), "scored_at": row["scored_at"].isoformat()} for row in rows]


def _columns(spark: SparkSession, task: MonitorTask, scored: counts.ScoredOrders) -> ColumnValues:
    """Groups of values, learnt on the reference days at the first run and the same ever after."""
    folder = Folder(spark, task.monitoring.output)
    if folder.exists(_COLUMNS):
        return ColumnValues.from_dict(folder.read_json(_COLUMNS))
    first = scored.frame.agg(
        F.min("day").alias("day"), F.max_by("model_version", "scored_at").alias("version")
    ).collect()[0]
    if first["day"] is None:
        raise DataContractError(f"monitoring.scored: no order with a day in {task.monitoring.scored!r}. Score a batch.")
    [model] = load_models(task.tracking, [first["version"]])
    until = first["day"] + timedelta(days=task.monitoring.reference_days)
    present = {name: values for name, values in model.segments().items() if name in scored.frame.columns}
    found = ColumnValues.learn(scored.frame.where(F.col("day") < F.lit(until)), model.bundle, present)
    folder.write_json(_COLUMNS, found.to_dict())
    return found


def _window(by_day: pd.DataFrame, config: MonitoringConfig, day: date | None) -> list[date]:
    known = sorted(set(by_day["day"]))
    last = known[-1] if day is None else day
    if last not in known:
        raise ConfigError(f"--day {last}: no order of that day was scored. The days are {known[0]} to {known[-1]}.")
    return [one for one in known if last - timedelta(days=config.window_days) < one <= last]


def _count_labels(
    spark: SparkSession, task: MonitorTask, scored: counts.ScoredOrders, model: MonitoredModel, day: date
) -> pd.DataFrame | None:
    if task.monitoring.labels is None:
        return None
    counts.write_label_counts(
        spark, task.monitoring, scored, key=task.orders.key, label=task.orders.label, encoding=model.bundle.label,
        today=day,
    )  # fmt: skip
    return counts.collect_labels(spark, task.monitoring, day)


def _report(
    spark: SparkSession, task: MonitorTask, models: Sequence[MonitoredModel], by_day: pd.DataFrame,
    window: Sequence[date], labels: pd.DataFrame | None,
) -> MonitorReport:  # fmt: skip
    config, served = task.monitoring, _served(models)
    cells = {one.version: counts.collect_cells(spark, config, window, one.version) for one in models}
    own = by_day[(by_day["model_version"] == served.version) & (by_day["day"] <= window[-1])]
    alerts = list(zip(own["day"], own["alerts"].astype(float), strict=True))
    delay, recent = _delay(task, labels, served, window[-1])
    report = MonitorReport(
        name=task.name,
        days=window,
        versions=[
            _version(
                spark, task, one, cells[one.version], window, is_served=one is served, has_labels=labels is not None
            )
            for one in models
        ],
        drift=_drift(spark, task, served, by_day, window, cells[served.version]),
        alerts=alerts,
        forecast=forecast_week(alerts, config.budget),
        budget=config.budget,
        delay=delay,
        recent=recent,
    )
    return replace(report, alarms=alarms_of(report, config))


def _served(models: Sequence[MonitoredModel]) -> MonitoredModel:
    """The champion, where it scored the day; else the last version."""
    champion = next((model for model in models if CHAMPION in model.aliases), None)
    return champion or max(models, key=lambda model: int(model.version))


def _version(
    spark: SparkSession, task: MonitorTask, model: MonitoredModel, cells: pd.DataFrame, window: Sequence[date], *,
    is_served: bool, has_labels: bool,
) -> VersionReport:  # fmt: skip
    day = score_cells(cells[cells["kind"] == "score"])
    shift = estimate_shift(day, model.reference)
    verdict, labelled = shift.verdict(task.monitoring.level), None
    if has_labels:
        last = window[-1] - timedelta(days=task.monitoring.label_delay_days)
        days = [last - timedelta(days=ago) for ago in range(task.monitoring.window_days - 1, -1, -1)]
        known = counts.collect_labelled_cells(spark, task.monitoring, days, model.version)
        labelled = labelled_report(known, model, task.costs, days)
    new_threshold, command = None, None
    objective = next((one for one in task.objectives if one.name == model.bundle.serve_objective), None)
    if verdict == "label" and objective is not None and shift.em.value is not None:
        per_day = day.total / len(window)
        new_threshold = model.retuned(objective, shift.em.value, per_day).chosen.threshold
        command = retune_command(model, objective, shift.em, per_day, task.tracking)
    return VersionReport(
        label=model.label,
        version=model.version,
        is_served=is_served,
        threshold=model.bundle.threshold,
        orders=day.total,
        alerts=day.alerts,
        shift=shift,
        verdict=verdict,
        unmoved=expected(day, model.reference, task.costs),
        moved=expected(day, model.reference, task.costs, move=shift.move),
        new_threshold=new_threshold,
        command=command,
        labelled=labelled,
    )


def _drift(
    spark: SparkSession, task: MonitorTask, served: MonitoredModel, by_day: pd.DataFrame, window: Sequence[date],
    after: pd.DataFrame,
) -> list[Drift]:  # fmt: skip
    first = min(by_day["day"])
    days = [first + timedelta(days=ahead) for ahead in range(task.monitoring.reference_days)]
    days = [one for one in days if one < window[0]]
    early = by_day[by_day["day"].isin(days)]
    if early.empty:
        return []
    # One version of each order is enough: features do not depend on it.
    version = str(early.groupby("model_version")["n"].sum().idxmax())
    return drift_report(counts.collect_cells(spark, task.monitoring, days, version), after, served)


def _delay(
    task: MonitorTask, labels: pd.DataFrame | None, served: MonitoredModel, day: date
) -> tuple[DelayCurve | None, list[tuple[date, Estimate]]]:
    if labels is None or task.monitoring.known_at is None:
        return None, []
    positive = labels[
        (labels["label"] == 1) & (labels["model_version"] == served.version) & labels["known_days"].notna()
    ]
    complete: dict[int, float] = defaultdict(float)
    so_far: dict[date, float] = defaultdict(float)
    for one, days, is_final, n in positive[["day", "known_days", "final", "n"]].itertuples(index=False):
        if is_final:
            complete[int(days)] += float(n)
        else:
            so_far[one] += float(n)
    curve = DelayCurve.of(complete, task.monitoring.label_delay_days)
    return curve, [(one, curve.grossed_up(n, (day - one).days)) for one, n in sorted(so_far.items())]


def _log(report: MonitorReport, task: MonitorTask, experiment_id: str) -> None:
    run_name = f"{task.name}, {report.day}"
    identity = strategy_identity(f"monitor/{task.name}/{report.day}", "monitor")
    with tracked_run(experiment_id, run_name, identity) as run_id:
        log_evidence(
            run_id,
            Evidence(
                params={"day": report.day, "window_days": len(report.days)},
                tags={"alarms": ", ".join(alarm.name for alarm in report.alarms) or "none"},
                metrics=report.metrics(),
                texts={"monitor.html": monitor_page(report)},
                documents={"monitor.json": report.to_dict()},
            ),
        )
