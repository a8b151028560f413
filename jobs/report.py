"""Make report.html again from what a job logged in MLflow: no Spark, no data, no model."""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from imbalance_spark.cli.arguments import add_shared, parser, run_unconfigured
from imbalance_spark.comparison.report.render import render_page
from imbalance_spark.core.errors import ConfigError
from imbalance_spark.tracking.logged_report import load_logged_report


def main(argv: Sequence[str] | None = None) -> int:
    """Run the job; the exit code is 0 done, 2 usage or no such run, 3 damaged evidence, 1 anything else."""
    made = parser(
        "report",
        __doc__ or "",
        shared=(),
        epilog="Numbers and figures are those that were logged; explorer, captions and style are of this version.",
    )
    made.add_argument("--run", required=True, metavar="ID", help="MLflow run of a job, or of one of its strategies")
    made.add_argument("--output", default="report.html", metavar="FILE", help="where the page goes (%(default)s)")
    add_shared(made, "--tracking-uri")
    args = made.parse_args(argv)
    return run_unconfigured("report", args, lambda: _report(args))


def _report(args: argparse.Namespace) -> int:
    report = load_logged_report(args.tracking_uri, args.run)
    page = render_page(report.content, report.images).encode()
    target = Path(args.output)
    try:
        # Under another name first: a full disk leaves what was there.
        written = target.with_name(f"{target.name}.writing")
        written.write_bytes(page)
        os.replace(written, target)
    except OSError as error:
        raise ConfigError(
            f"--output {args.output!r}: {error.strerror}. Name a file in a folder that exists."
        ) from error
    record = {"run": report.run_id, "output": args.output, "bytes": len(page)}
    print(json.dumps(record) if args.json else f"{args.output}: {len(page):,} bytes, from run {report.run_id}.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
