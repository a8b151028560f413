"""From an order log to a comparison of strategies in MLflow: `spark-submit jobs/train.py --config FILE`."""

import json
import sys
from argparse import Namespace
from collections.abc import Sequence
from typing import Any

from imbalance_spark.cli.arguments import parser, run_configured
from imbalance_spark.comparison.dry_run import STEPS as PLAN_STEPS
from imbalance_spark.comparison.dry_run import plan_run
from imbalance_spark.comparison.flow import Flow, flow_of
from imbalance_spark.comparison.gate_decision import GateDecision
from imbalance_spark.comparison.record_run import Recorded
from imbalance_spark.config.run import RunConfig
from imbalance_spark.core.errors import QualityGateError
from imbalance_spark.core.progress import Progress
from imbalance_spark.core.run_lock import locks_released
from imbalance_spark.core.spark_session import spark_session
from imbalance_spark.tracking.runs import connect, parent_identity, tracked_run
from imbalance_spark.tracking.view import where_to_look


def main(argv: Sequence[str] | None = None) -> int:
    """Run the job; the exit code is 0 done, 2 config, 3 data contract, 4 quality gate, 1 anything else."""
    made = parser("train", __doc__ or "")
    made.add_argument("--dry-run", action="store_true", help="print the plan with its counts; fit and write nothing")
    args = made.parse_args(argv)
    if args.dry_run:
        return run_configured("train", args, lambda config: _plan(config, args), with_status=False)
    return run_configured("train", args, lambda config: _train(config, args))


def _plan(config: RunConfig, args: Namespace) -> int:
    with spark_session(f"plan {config.name}", config.spark.master, config.spark.settings) as spark:
        plan = plan_run(spark, config, Progress(PLAN_STEPS, quiet=args.json))
    print(json.dumps(plan.to_dict()) if args.json else "\n".join(plan.lines()))
    return 0


def _train(config: RunConfig, args: Namespace) -> int:
    flow = flow_of(config)
    flow.check(config)
    experiment_id = connect(config.tracking)
    progress = Progress(flow.steps(config) + 2, quiet=args.json)
    with spark_session(f"train {config.name}", config.spark.master, config.spark.settings) as spark, locks_released():
        prepared = flow.prepare(spark, config, progress)
        run_id = prepared.run.run_id
        # From here on MLflow shows that the run works, and how it ended.
        with tracked_run(experiment_id, run_id, parent_identity(run_id)):
            comparison = flow.compare(prepared, config, progress)
            with progress.step("gate") as step:
                decision = flow.decide(comparison)
                step.says(decision.outcome)
            with progress.step("log to MLflow"):
                recorded = flow.log(comparison, experiment_id, decision)
    show = _as_json if args.json else _as_text
    print(show(flow, comparison, decision, recorded))
    if problems := flow.problems(comparison):
        raise QualityGateError.of_all([f"{problem}. Nothing was registered." for problem in problems])
    return 0


def _as_text(flow: Flow, comparison: Any, decision: GateDecision, recorded: Recorded) -> str:
    registered = recorded.registered
    lines = [flow.text(comparison), *decision.lines()]
    if registered is not None:
        lines.append(f"Registered {registered.name} version {registered.version} as {registered.alias}.")
    lines.append(f"Look at it: {where_to_look(comparison.config.tracking, recorded.experiment_id)}")
    return "\n".join(lines)


def _as_json(flow: Flow, comparison: Any, decision: GateDecision, recorded: Recorded) -> str:
    table = json.loads(flow.table(comparison).to_json(orient="records"))
    return json.dumps(
        {
            "run_id": comparison.prepared.run.run_id,
            "best": comparison.best.name,
            "strategies": table,
            "mlflow_run_id": recorded.parent_run_id,
            "gate": decision.to_dict(),
            "registered": None if recorded.registered is None else vars(recorded.registered),
        }
    )


if __name__ == "__main__":
    sys.exit(main())
