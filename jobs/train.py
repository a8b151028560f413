"""From an order log to a comparison of strategies in MLflow: `spark-submit jobs/train.py --config FILE`."""

import json
import sys
from argparse import Namespace
from collections.abc import Sequence

from imbalance_spark.cli.arguments import parser, run_configured
from imbalance_spark.comparison.dry_run import STAGES as PLAN_STAGES
from imbalance_spark.comparison.dry_run import plan_run
from imbalance_spark.comparison.run import check_run, run
from imbalance_spark.config.run import RunConfig
from imbalance_spark.core.errors import IncomparableChampionError, QualityGateError
from imbalance_spark.core.progress import Progress
from imbalance_spark.core.spark_session import spark_session


def main(argv: Sequence[str] | None = None) -> int:
    """Run the job; the exit code is 0 done, 2 config, 3 data contract, 4 quality gate, 5 champion, 1 anything else."""
    made = parser("train", __doc__ or "")
    made.add_argument("--dry-run", action="store_true", help="print the plan with its counts; fit and write nothing")
    args = made.parse_args(argv)
    if args.dry_run:
        return run_configured("train", args, lambda config: _plan(config, args), with_status=False)
    return run_configured("train", args, lambda config: _train(config, args))


def _plan(config: RunConfig, args: Namespace) -> int:
    with spark_session(f"plan {config.name}", config.spark.master, config.spark.settings) as spark:
        plan = plan_run(spark, config, Progress(PLAN_STAGES, quiet=args.json))
    print(json.dumps(plan.to_dict()) if args.json else "\n".join(plan.lines()))
    return 0


def _train(config: RunConfig, args: Namespace) -> int:
    check_run(config)
    with spark_session(f"train {config.name}", config.spark.master, config.spark.settings, is_own=True) as spark:
        result = run(spark, config, quiet=args.json)
    print(json.dumps(result.to_dict()) if args.json else result.text())
    if problems := result.problems:
        raise QualityGateError.of_all([f"{problem}. Nothing was registered." for problem in problems])
    if result.decision.problem is not None:
        raise IncomparableChampionError(result.decision.problem)
    return 0


if __name__ == "__main__":
    sys.exit(main())
