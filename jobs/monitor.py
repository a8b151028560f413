"""Monitor scored orders day by day: expected performance, base rate, drift, labels, alerts; exit code 4 on an alarm."""

import json
import sys
from argparse import Namespace
from collections.abc import Sequence
from datetime import date

from imbalance_spark.cli.arguments import add_shared, parser, run_configured
from imbalance_spark.config.run import RunConfig
from imbalance_spark.core.errors import ConfigError, QualityGateError
from imbalance_spark.core.imports import own_this_process
from imbalance_spark.core.spark_session import spark_session
from imbalance_spark.monitoring.run import MonitorTask, monitor, plan_monitor
from imbalance_spark.threshold.decisions import COST_MATRIX
from imbalance_spark.threshold.objectives import objective_from_config


def main(argv: Sequence[str] | None = None) -> int:
    """Run the job; the exit code is 0 done, 2 config, 3 data contract, 4 an alarm, 1 anything else."""
    made = parser(
        "monitor",
        __doc__ or "",
        epilog="Reads the section `monitoring` of the config. Each batch of scored orders is counted once, whatever is "
        "run again, and a day is one MLflow run with the page monitor.html.",
    )
    made.add_argument("--day", metavar="YYYY-MM-DD", help="day of the report (the last one with scored orders)")
    add_shared(made, "--dry-run", help="list the batches that would be counted; write nothing")
    args = made.parse_args(argv)
    return run_configured("monitor", args, lambda config: _monitor(config, args), with_status=False)


def _monitor(config: RunConfig, args: Namespace) -> int:
    task, day = _task(config), _day(args.day)
    with spark_session(f"monitor {config.name}", config.spark.master, config.spark.settings, is_own=True) as spark:
        if args.dry_run:
            batches = plan_monitor(spark, task)
            lines = [f"version {one['model_version']}, {one['scored_at']}: {one['rows']:,} rows" for one in batches]
            print(json.dumps({"dry_run": True, "batches": batches}) if args.json else "\n".join(lines or ["No batch."]))
            return 0
        report = monitor(spark, task, day=day, quiet=args.json)
    commands = [version.command for version in report.versions if version.command]
    print(json.dumps(report.to_dict()) if args.json else "\n".join([*report.conclusions(), *commands]))
    if report.alarms:
        raise QualityGateError.of_all([alarm.sentence for alarm in report.alarms])
    return 0


def _task(config: RunConfig) -> MonitorTask:
    if config.monitoring is None:
        raise ConfigError("monitoring: the config has no such section. Add one with `scored` and `output`.")
    names = [one if isinstance(one, str) else one.get("name") for one in config.objectives]
    asked = [one for one, name in zip(config.objectives, names, strict=True) if name != COST_MATRIX]
    return MonitorTask(
        name=config.name,
        orders=config.orders,
        monitoring=config.monitoring,
        objectives=[objective_from_config(one) for one in asked],
        tracking=config.tracking,
    )


def _day(text: str | None) -> date | None:
    try:
        return None if text is None else date.fromisoformat(text)
    except ValueError:
        raise ConfigError(f"--day {text!r}: must be a day such as 2024-01-31.") from None


if __name__ == "__main__":
    own_this_process()
    sys.exit(main())
