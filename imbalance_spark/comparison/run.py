"""One call from orders to the answer: prepare, compare, gate, log to MLflow."""

import json
from dataclasses import dataclass
from functools import cached_property
from html import escape
from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from pyspark.sql import DataFrame, SparkSession

from imbalance_spark.comparison.advice import Advice
from imbalance_spark.comparison.compare import (
    Comparison,
    asked_decisions,
    compare_prepared,
    prepare_to_compare,
    stages,
)
from imbalance_spark.comparison.evaluate import StrategyResult
from imbalance_spark.comparison.gate import GateDecision, decide_promotion, gate_problems
from imbalance_spark.comparison.record import LoggedRun, log_comparison, retune_commands
from imbalance_spark.comparison.report.figures import comparison_figures
from imbalance_spark.comparison.report.page import html_page
from imbalance_spark.comparison.report.tables import comparison_table, conclusions, for_people, terminal_text
from imbalance_spark.comparison.search import check_packages
from imbalance_spark.comparison.source import require_source
from imbalance_spark.config.run import RunConfig
from imbalance_spark.core.progress import Progress
from imbalance_spark.core.run_lock import locks_released
from imbalance_spark.core.spark_session import shuffles_of_a_run
from imbalance_spark.metrics.plots import pngs
from imbalance_spark.tracking.runs import close_lost_runs, connect, parent_identity, tracked_run
from imbalance_spark.tracking.view import where_to_look


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """What a run found, decided and logged; a notebook shows it as the comparison table and the answer."""

    comparison: Comparison
    decision: GateDecision
    logged: LoggedRun

    @property
    def best(self) -> StrategyResult:
        """The strategy that is registered: the advised one, or the highest on validation; see `gate.register`."""
        return self.comparison.best

    @property
    def advice(self) -> Advice:
        """Which strategy to use, and whether any beats plain boosting beyond chance."""
        return self.comparison.advice

    @property
    def problems(self) -> list[str]:
        """Why the registered strategy does not meet the config's gate; empty when it does."""
        return gate_problems(self.comparison)

    @cached_property
    def table(self) -> pd.DataFrame:
        """One row per strategy, best first, then the majority baseline; on test, but for the first column."""
        return comparison_table(self.comparison)

    @cached_property
    def figures(self) -> dict[str, Figure]:
        """The figures of the comparison by name, such as `cost`."""
        return comparison_figures(self.comparison)

    @cached_property
    def report_html(self) -> str:
        """The whole report as one self-contained page, as it stands in MLflow."""
        commands = retune_commands(self.logged.strategy_run_ids, self.comparison.config.tracking.uri)
        return html_page(self.comparison, pngs(self.figures), commands)

    def text(self) -> str:
        """The comparison, the gate's decision and where to look, for a terminal."""
        registered, tracking = self.logged.registered, self.comparison.config.tracking
        lines = [terminal_text(self.comparison), *self.decision.lines()]
        if registered is not None:
            lines.append(f"Registered {registered.name} version {registered.version} as {registered.alias}.")
        return "\n".join([*lines, f"Look at it: {where_to_look(tracking, self.logged.experiment_id)}"])

    def to_dict(self) -> dict[str, Any]:
        """The outcome as JSON values."""
        registered = self.logged.registered
        return {
            "run_id": self.comparison.prepared.run.run_id,
            "best": self.best.name,
            "strategies": json.loads(self.table.to_json(orient="records")),
            "mlflow_run_id": self.logged.parent_run_id,
            "gate": self.decision.to_dict(),
            "registered": None if registered is None else vars(registered),
        }

    def _repr_html_(self) -> str:
        lines = [*conclusions(self.comparison), *self.decision.lines()]
        table = for_people(self.table).to_html(index=False, escape=True, na_rep="-")
        return f"<ul>{''.join(f'<li>{escape(line)}</li>' for line in lines)}</ul>{table}"


def run(spark: SparkSession, config: RunConfig, orders: DataFrame | None = None, *, quiet: bool = False) -> RunResult:
    """Compare strategies, decide on the champion, and log everything to MLflow.

    The same config and orders give the same run id: called again, it continues after the last finished step.

    Args:
        orders: one row per order, instead of `config.orders.source`. They are counted, then written once to the run's
            folder and read from there; their row count and fingerprint are part of the run id.
        quiet: print no stages to stderr.
    Returns:
        The comparison, the gate's decision and where they are logged. A strategy below the config's gate is no
        error: it is not registered, and `problems` says why.
    Raises:
        ImbalanceSparkError: config, data, cluster or MLflow do not allow it.
    """
    experiment_id = check_run(config, has_orders=orders is not None)
    close_lost_runs(spark, experiment_id)
    progress = Progress([*stages(config), "gate", "log to MLflow"], quiet=quiet)
    with locks_released(), shuffles_of_a_run(spark):
        prepared = prepare_to_compare(spark, config, progress, orders)
        working, run_id = prepared.run, prepared.run.run_id
        # From here on MLflow shows that the run works, and how it ended.
        with tracked_run(experiment_id, run_id, parent_identity(run_id), folder=working.folder), working.ending():
            comparison = compare_prepared(prepared, config, progress)
            with progress.step("gate") as step:
                decision = decide_promotion(comparison)
                step.says(decision.outcome)
            with progress.step("log to MLflow"):
                logged = log_comparison(comparison, experiment_id, decision)
    return RunResult(comparison=comparison, decision=decision, logged=logged)


def check_run(config: RunConfig, *, has_orders: bool = False) -> str:
    """What can be refused before Spark starts; gives the id of the MLflow experiment.

    Raises:
        ConfigError: an objective is wrong, the config names no orders, a learner or a search needs a package that is
            not installed, or the MLflow store does not answer.
    """
    asked_decisions(config)
    check_packages(config)
    if not has_orders:
        require_source(config)
    return connect(config.tracking)
