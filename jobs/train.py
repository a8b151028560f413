"""From an order log to a comparison of strategies in MLflow: `spark-submit jobs/train.py --config FILE`."""

import json
import sys
from argparse import Namespace
from collections.abc import Sequence

from imbalance_spark.command_line import parser, run_configured
from imbalance_spark.compare import Comparison, compare_prepared, objectives_of, prepare_to_compare, steps
from imbalance_spark.config import RunConfig
from imbalance_spark.errors import QualityGateError
from imbalance_spark.progress import Progress
from imbalance_spark.record import Recorded, gate_problems, log_comparison
from imbalance_spark.report import comparison_table, terminal_text
from imbalance_spark.run_lock import locks_released
from imbalance_spark.session import spark_session
from imbalance_spark.tracking import connect, parent_identity, tracked_run


def main(argv: Sequence[str] | None = None) -> int:
    """Run the job; the exit code is 0 done, 2 config, 3 data contract, 4 quality gate, 1 anything else."""
    args = parser("train", __doc__ or "").parse_args(argv)
    return run_configured("train", args, lambda config: _train(config, args))


def _train(config: RunConfig, args: Namespace) -> int:
    objectives_of(config)
    experiment_id = connect(config.tracking)
    progress = Progress(steps(config) + 1, quiet=args.json)
    with spark_session(f"train {config.name}", config.spark.master, config.spark.settings) as spark, locks_released():
        prepared = prepare_to_compare(spark, config, progress)
        run_id = prepared.run.run_id
        # From here on MLflow shows that the run works, and how it ended.
        with tracked_run(experiment_id, run_id, parent_identity(run_id)):
            comparison = compare_prepared(prepared, config, progress)
            with progress.step("log to MLflow"):
                recorded = log_comparison(comparison, experiment_id)
    print(_as_json(comparison, recorded) if args.json else _as_text(comparison, recorded))
    if problems := gate_problems(comparison):
        raise QualityGateError.of_all([f"{problem}. Nothing was registered." for problem in problems])
    return 0


def _as_text(comparison: Comparison, recorded: Recorded) -> str:
    tracking, registered = comparison.config.tracking, recorded.registered
    lines = [terminal_text(comparison)]
    if registered is not None:
        lines.append(
            f"Registered {registered.name} version {registered.version} as {registered.alias}: {registered.reason}"
        )
    lines.append(f"Look at it: mlflow ui --backend-store-uri {tracking.uri}   (experiment {tracking.experiment!r})")
    return "\n".join(lines)


def _as_json(comparison: Comparison, recorded: Recorded) -> str:
    table = json.loads(comparison_table(comparison).to_json(orient="records"))
    return json.dumps(
        {
            "run_id": comparison.prepared.run.run_id,
            "best": comparison.best.name,
            "strategies": table,
            "mlflow_run_id": recorded.parent_run_id,
            "registered": None if recorded.registered is None else vars(recorded.registered),
        }
    )


if __name__ == "__main__":
    sys.exit(main())
