"""Look before a job runs: this Python, this Spark, its executors, and the places that a config names."""

import argparse
import json
import logging
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict

from imbalance_spark.cli.doctor import run_checks
from imbalance_spark.cli.doctor_checks import Finding, is_healthy
from imbalance_spark.cli.exit_codes import run_job
from imbalance_spark.config.run import RunConfig
from imbalance_spark.config.yaml_file import load_config
from imbalance_spark.core.spark_session import delta_package


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line; usage errors end with exit code 2."""
    parser = argparse.ArgumentParser(
        prog="jobs/doctor.py",
        description=__doc__,
        epilog="One line a check: ok, WARN or FAIL, what was looked at, what was found, and how to mend it. "
        "The exit code is 0 when nothing failed, else 2.",
    )
    parser.add_argument("--config", metavar="FILE", help="also check the places and workers that this file names")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="override a setting of the config; repeatable"
    )
    parser.add_argument(
        "--print-packages", action="store_true", help="print the Delta coordinate for spark-submit --packages, only"
    )
    parser.add_argument("--json", action="store_true", help="print the findings as one JSON object")
    parser.add_argument("--verbose", action="store_true", help="log in detail, with tracebacks, to stderr")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the job; the exit code is 0 when no check failed, else 2."""
    args = parse_args(argv)
    if args.print_packages:
        print(delta_package())
        return 0
    os.umask(0o077)
    logging.basicConfig(level=logging.DEBUG if args.verbose else logging.ERROR, stream=sys.stderr)
    return run_job("doctor", lambda: _run(args))


def _run(args: argparse.Namespace) -> int:
    config = None if args.config is None else load_config(args.config, RunConfig, args.set)
    findings = run_checks(config)
    found = list(findings) if args.json else list(_printed(findings))
    healthy = is_healthy(found)
    if args.json:
        print(json.dumps({"healthy": healthy, "findings": [asdict(finding) for finding in found]}))
    return 0 if healthy else 2


def _printed(findings: Iterator[Finding]) -> Iterator[Finding]:
    """Each finding as it comes: a check may take half a minute."""
    for finding in findings:
        print(finding.line, flush=True)
        yield finding


if __name__ == "__main__":
    sys.exit(main())
