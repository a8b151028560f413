"""What ends up in MLflow: a comparison as a parent run with one nested run per strategy, and its registered model."""

import json
import math
import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from imbalance_spark.comparison.compare import Comparison, bundle_of
from imbalance_spark.comparison.evaluate import StrategyResult
from imbalance_spark.comparison.evidence import parent_evidence, strategy_evidence, trial_evidence
from imbalance_spark.comparison.gate import GateDecision, gate_problems
from imbalance_spark.core.columns import TEST, VALIDATION
from imbalance_spark.core.masking import masked_uri
from imbalance_spark.core.run import Run
from imbalance_spark.tracking.models import log_bundle, register_version
from imbalance_spark.tracking.registry import CHALLENGER, CHAMPION, Registered, challenge, promote
from imbalance_spark.tracking.runs import (
    Evidence,
    log_evidence,
    log_orders_input,
    log_trials,
    parent_identity,
    strategy_identity,
    tracked_run,
)
from imbalance_spark.tracking.view import save_trials_view, save_view

_GATE = "gate"
"""The step whose log keeps what the gate found."""


@dataclass(frozen=True, kw_only=True)
class LoggedRun:
    """Where a comparison stands in MLflow."""

    experiment_id: str
    parent_run_id: str
    strategy_run_ids: Mapping[str, str]
    """By strategy, its nested run."""
    registered: Registered | None


def log_comparison(comparison: Comparison, experiment_id: str, decision: GateDecision) -> LoggedRun:
    """Log the parent run and one nested run per strategy; register one model, and do what the gate decided.

    Called again for the same run id, it goes on with the runs that are there.
    """
    prepared, config = comparison.prepared, comparison.config
    run_id = prepared.run.run_id
    with tracked_run(experiment_id, run_id, parent_identity(run_id)) as parent_id:
        log_orders_input(parent_id, config.name, prepared.location, prepared.version)
        logged = {
            result.name: _log_strategy(comparison, result, experiment_id, parent_id) for result in comparison.results
        }
        runs = {name: run for name, (run, _) in logged.items()}
        log_evidence(parent_id, parent_evidence(comparison, retune_commands(runs, config.tracking.uri)))
        asked = None
        if config.tracking.registered_model is not None and not gate_problems(comparison):
            prepared.run.require_lock()
            asked = _asked_alias(config.tracking.registered_model, logged[comparison.best.name][1], decision)
        # Before the alias moves: a run that is killed right after says the same when it is started again.
        log_evidence(parent_id, _kept_gate_evidence(prepared.run, decision, asked))
        registered = None if asked is None else _give_alias(asked, decision)
        if registered != asked:
            log_evidence(parent_id, _gate_evidence(decision, registered))
        save_view(experiment_id, run_id, _shown_metrics(comparison))
        _save_trials_view(comparison, experiment_id)
    return LoggedRun(experiment_id=experiment_id, parent_run_id=parent_id, strategy_run_ids=runs, registered=registered)


def retune_commands(run_ids: Mapping[str, str], uri: str) -> dict[str, str]:
    """By strategy, the start of the command line that moves its threshold; secrets of the address are masked."""
    store = shlex.quote(masked_uri(uri))
    return {name: f"python jobs/retune.py --run {run} --tracking-uri {store}" for name, run in run_ids.items()}


def _shown_metrics(comparison: Comparison) -> list[str]:
    """First by what the strategies are ranked, then how the serving rule decides and what that gives on test."""
    metric, serving = comparison.names.macro(comparison.config.gate.metric), comparison.serving
    if comparison.is_single:
        decided = [f"threshold/{serving}", *[f"{TEST}/{name}" for name in ("cost", "precision", "recall")]]
    else:
        names = ("macro_f1", "macro_recall") if comparison.decisions.costs is None else ("cost", "macro_recall")
        decided = [f"{TEST}/{serving}/{name}" for name in names]
    return [f"{VALIDATION}/{metric}", *decided, f"{TEST}/{metric}"]


def _save_trials_view(comparison: Comparison, experiment_id: str) -> None:
    if searches := list(comparison.searches.values()):
        first, *others = [search.trials[0].params for search in searches]
        common = [name for name in first if all(name in params for params in others)]
        run_id, metric = comparison.prepared.run.run_id, searches[0].metric
        save_trials_view(experiment_id, run_id, metric, common, is_loss=searches[0].is_loss)


def _log_strategy(
    comparison: Comparison, result: StrategyResult, experiment_id: str, parent_id: str
) -> tuple[str, str]:
    """Id of the strategy's nested run, and the URI of its model."""
    identity = strategy_identity(comparison.prepared.run.run_id, result.name)
    with tracked_run(experiment_id, result.name, identity, parent_id) as nested_id:
        log_evidence(nested_id, strategy_evidence(comparison, result))
        if (search := comparison.searches.get(result.name)) is not None:
            trials = trial_evidence(search)
            log_trials(experiment_id, nested_id, comparison.prepared.run.run_id, result.name, trials)
        return nested_id, log_bundle(nested_id, bundle_of(comparison, result))


def _asked_alias(name: str, uri: str, decision: GateDecision) -> Registered:
    """A version of the registered model, and the alias that the gate wants for it; none has moved yet."""
    alias = CHAMPION if decision.outcome == "standing" or decision.moves_alias else CHALLENGER
    version = register_version(name, uri, {})
    return Registered(name=name, version=version, alias=alias, reason=" ".join(decision.reasons))


def _give_alias(asked: Registered, decision: GateDecision) -> Registered:
    """The alias that the version got: another than was asked for where the champion moved meanwhile."""
    if decision.outcome == "standing":
        return asked
    if asked.alias == CHAMPION:
        return promote(asked.name, asked.version, decision.against, asked.reason)
    return challenge(asked.name, asked.version, asked.reason)


def _kept_gate_evidence(run: Run, decision: GateDecision, asked: Registered | None) -> Evidence:
    """What the gate found; of a run whose model is the champion already, what it found when the alias moved."""
    if decision.outcome == "standing":
        return Evidence(**json.loads(run.read_document(_GATE))) if run.is_done(_GATE) else Evidence()
    evidence = _gate_evidence(decision, asked)
    text = json.dumps(asdict(evidence))  # as text, since the end of an interval may be infinite
    if not run.is_done(_GATE) or run.read_document(_GATE) != text:
        run.record(_GATE, text)
    return evidence


def _gate_evidence(decision: GateDecision, registered: Registered | None) -> Evidence:
    """What the gate found, and the alias that came of it."""
    gain = decision.gain
    found = {} if gain is None else {"gate/gain": gain.value, "gate/gain/low": gain.low, "gate/gain/high": gain.high}
    alias = "-" if registered is None else registered.alias
    lines = decision.lines() if registered is None else [*decision.lines(), f"Alias: {alias}. {registered.reason}"]
    return Evidence(
        tags={
            "gate.mode": decision.mode,
            "gate.outcome": decision.outcome,
            "gate.verdict": decision.verdict or "-",
            "gate.alias": alias,
        },
        metrics={name: value for name, value in found.items() if math.isfinite(value)},
        texts={"gate.txt": "\n".join(lines)},
        documents={"gate.json": {**decision.to_dict(), "alias": alias}},
    )
