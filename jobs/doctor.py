"""Check before a job runs: this Python, this Spark, its executors, and the store and folder that a config names."""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict

from imbalance_spark.cli.arguments import add_shared, parser, run_unconfigured
from imbalance_spark.cli.doctor import run_checks
from imbalance_spark.cli.doctor_checks import Finding, is_healthy
from imbalance_spark.config.run import RunConfig
from imbalance_spark.config.yaml_file import load_config
from imbalance_spark.core.spark_session import delta_package


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line; usage errors end with exit code 2."""
    made = parser(
        "doctor",
        __doc__ or "",
        shared=("--set",),
        epilog="One line per check: ok, WARN or FAIL, what was checked, what was found, and how to fix it. "
        "The exit code is 0 when nothing failed, else 2.",
    )
    add_shared(
        made, "--config", required=False, help="also check the store, the output folder and the workers of this file"
    )
    made.add_argument(
        "--print-packages", action="store_true", help="print only the Delta coordinate for spark-submit --packages"
    )
    return made.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the job; the exit code is 0 when no check failed, else 2."""
    args = parse_args(argv)
    if args.print_packages:
        print(delta_package())
        return 0
    return run_unconfigured("doctor", args, lambda: _run(args))


def _run(args: argparse.Namespace) -> int:
    config = None if args.config is None else load_config(args.config, RunConfig, args.set)
    findings = run_checks(config)
    found = list(findings) if args.json else list(_printed(findings))
    healthy = is_healthy(found)
    if args.json:
        print(json.dumps({"healthy": healthy, "findings": [asdict(finding) for finding in found]}))
    return 0 if healthy else 2


def _printed(findings: Iterator[Finding]) -> Iterator[Finding]:
    """Print each finding as soon as it is made: a check may take half a minute."""
    for finding in findings:
        print(finding.line, flush=True)
        yield finding


if __name__ == "__main__":
    sys.exit(main())
