"""Diagnose an order log before anything is trained: classes, splits, severity, broken rows, advice."""

import json
import sys
from argparse import Namespace
from collections.abc import Iterator, Sequence
from typing import Any

from pyspark.sql import SparkSession

from imbalance_spark.command_line import parser, run_configured
from imbalance_spark.config import RunConfig
from imbalance_spark.diagnose import Diagnosis, diagnose
from imbalance_spark.orders import read_orders
from imbalance_spark.prepare import CLASS_NUMBER, split_counts, with_class_number
from imbalance_spark.progress import Progress
from imbalance_spark.session import spark_session
from imbalance_spark.split.by_config import fit_split_by_config
from imbalance_spark.validate import ValidationReport, validate_orders


def main(argv: Sequence[str] | None = None) -> int:
    """Run the job; the exit code is 0 done, 2 usage or config, 3 data contract broken, 1 anything else."""
    args = parser("diagnose", __doc__ or "").parse_args(argv)
    return run_configured("diagnose", args, lambda config: _diagnose(config, args))


def _diagnose(config: RunConfig, args: Namespace) -> int:
    with spark_session(f"diagnose {config.name}", config.spark.master, config.spark.settings) as spark:
        source, report, diagnosis = _examine(spark, config, Progress(2, quiet=args.json))
    if args.json:
        print(json.dumps(_record(source, report, diagnosis)))
    else:
        print("\n".join(_lines(source, report, diagnosis)))
    return 0


def _examine(spark: SparkSession, config: RunConfig, progress: Progress) -> tuple[str, ValidationReport, Diagnosis]:
    with progress.step("validate") as step:
        source = read_orders(spark, config.orders.source)
        validated = validate_orders(source.frame, config.orders)
        step.says(f"{validated.report.rows:,} rows, {validated.report.quarantined:,} to quarantine")
    with progress.step("split"):
        classified = with_class_number(validated, config.orders.label)
        plan = fit_split_by_config(classified, config.split, config.orders, label=CLASS_NUMBER)
    names = validated.report.label.classes
    totals = {number: validated.report.class_counts[name] for number, name in enumerate(names)}
    return source.description, validated.report, diagnose(totals, split_counts(plan))


def _record(source: str, report: ValidationReport, diagnosis: Diagnosis) -> dict[str, Any]:
    return {"source": source, "validation": report.to_dict(), "diagnosis": diagnosis.to_dict()}


def _lines(source: str, report: ValidationReport, diagnosis: Diagnosis) -> Iterator[str]:
    yield f"Orders: {source}; {report.rows:,} rows, {report.quarantined:,} break a rule."
    for rule, rows in report.by_rule.items():
        yield f"  {rule}: {rows:,} rows"
    yield f"Class 1 is {report.label.positive!r}, class 0 is {report.label.classes[0]!r}."
    yield ""
    yield from diagnosis.lines()
    missing = {name: n for name, n in report.missing.items() if n > 0}
    for name, n in sorted(missing.items(), key=lambda item: -item[1])[:20]:
        yield f"- {name}: {n / report.rows:.2%} of the values are missing."
    yield from (f"- Warning: {warning}" for warning in report.warnings)


if __name__ == "__main__":
    sys.exit(main())
