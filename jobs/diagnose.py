"""Diagnose an order log before anything is trained: classes, splits, severity, broken rows, advice."""

import json
import sys
from argparse import Namespace
from collections.abc import Iterator, Sequence
from typing import Any

from imbalance_spark.cli.arguments import parser, run_configured
from imbalance_spark.comparison.prepare import INSPECT_STAGES, InspectedOrders, inspect_orders
from imbalance_spark.comparison.source import require_source
from imbalance_spark.config.run import RunConfig
from imbalance_spark.core.progress import Progress
from imbalance_spark.core.spark_session import spark_session


def main(argv: Sequence[str] | None = None) -> int:
    """Run the job; the exit code is 0 done, 2 usage or config, 3 data contract broken, 1 anything else."""
    args = parser("diagnose", __doc__ or "").parse_args(argv)
    return run_configured("diagnose", args, lambda config: _diagnose(config, args))


def _diagnose(config: RunConfig, args: Namespace) -> int:
    require_source(config)
    with spark_session(f"diagnose {config.name}", config.spark.master, config.spark.settings) as spark:
        found = inspect_orders(spark, config, progress=Progress(INSPECT_STAGES, quiet=args.json))
    print(json.dumps(_record(found)) if args.json else "\n".join(_lines(found)))
    return 0


def _record(found: InspectedOrders) -> dict[str, Any]:
    return {
        "source": found.source.description,
        "validation": found.report.to_dict(),
        "diagnosis": found.diagnosis.to_dict(),
    }


def _lines(found: InspectedOrders) -> Iterator[str]:
    report = found.report
    yield f"Orders: {found.source.description}; {report.rows:,} rows, {report.quarantined:,} break a rule."
    for rule, rows in report.by_rule.items():
        yield f"  {rule}: {rows:,} rows"
    yield report.label.sentence
    yield ""
    yield from found.diagnosis.lines()
    missing = {name: n for name, n in report.missing.items() if n > 0}
    for name, n in sorted(missing.items(), key=lambda item: -item[1])[:20]:
        yield f"- {name}: {n / report.rows:.2%} of the values are missing."
    yield from (f"- Warning: {warning}" for warning in report.warnings)


if __name__ == "__main__":
    sys.exit(main())
