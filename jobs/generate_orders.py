"""Write a synthetic order log, whose true fraud probability is known row by row, as a Delta table."""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import fields
from decimal import Decimal, InvalidOperation

from pyspark.sql import SparkSession

from imbalance_spark.cli.arguments import parser, set_up_logging
from imbalance_spark.cli.exit_codes import run_job
from imbalance_spark.core.class_counts import Label
from imbalance_spark.core.errors import ConfigError
from imbalance_spark.core.progress import Progress
from imbalance_spark.core.section import expanded
from imbalance_spark.core.spark_session import spark_session
from imbalance_spark.orders.datasets.order_log import OrderLog
from imbalance_spark.orders.datasets.population import OUTCOMES
from imbalance_spark.orders.datasets.synthetic import OUTCOME_SHARES
from imbalance_spark.orders.datasets.synthetic_plan import OrderShift

_PREVALENCE = 0.005


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line; usage errors end with exit code 2."""
    made = parser(
        "generate_orders",
        __doc__ or "",
        shared=("--master", "--dry-run"),
        epilog="The rows depend only on seed, prevalence or outcomes, start, days and shift: any cluster generates the "
        "same. Run again with the same arguments, the job finds its table and leaves it as it is; it continues one "
        "that was cut off, or has fewer rows.",
    )
    made.add_argument("--rows", required=True, type=_whole_number, help="orders to generate, such as 300000 or 1e8")
    outcome = made.add_mutually_exclusive_group()
    outcome.add_argument("--prevalence", type=float, default=_PREVALENCE, help="share of fraud, (0, 0.5] (%(default)s)")
    outcome.add_argument(
        "--outcomes",
        nargs="?",
        type=_shares,
        const=dict(OUTCOME_SHARES),
        metavar="NAME=SHARE,...",
        help="K outcomes instead of fraud or not, with their shares; default: "
        f"{','.join(f'{name}={share:g}' for name, share in OUTCOME_SHARES.items())}",
    )
    made.add_argument("--seed", type=int, default=7, help="another seed gives an independent log (%(default)s)")
    made.add_argument("--start", default="2024-01-01", help="first day, UTC (%(default)s)")
    made.add_argument("--days", type=_whole_number, default=365, help="length of the log (%(default)s)")
    made.add_argument(
        "--shift",
        type=_shift,
        metavar="KIND=SIZE",
        help="how the log departs from the one without it, for tests of monitoring: covariate=2, twice as many unusual "
        "orders; label=2, twice as much fraud; concept=0.6, the features tell less of it",
    )
    made.add_argument(
        "--columns", type=_names, metavar="NAME,...", help="to keep, order_id and the label among them (all)"
    )
    made.add_argument("--output", type=expanded, required=True, help="path of the Delta table")
    made.add_argument("--overwrite", action="store_true", help="replace a table with other contents")
    made.add_argument("--quiet", action="store_true", help="do not print progress")
    return made.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the job; returns its exit code."""
    args = parse_args(argv)
    set_up_logging(args.verbose)
    return run_job("generate_orders", lambda: _run(args))


def _run(args: argparse.Namespace) -> int:
    log = OrderLog(**{field.name: getattr(args, field.name) for field in fields(OrderLog)})
    with spark_session("generate_orders", args.master) as spark:
        if args.dry_run:
            return _plan(spark, log, args)
        progress = Progress(("generate", "count"), quiet=args.quiet or args.json)
        with progress.step("generate") as step:
            is_new = not log.is_written(spark, args.output, overwrite=args.overwrite)
            if is_new:
                log.write(spark, args.output, overwrite=args.overwrite)
            step.says(f"{args.rows:,} rows" if is_new else f"{args.rows:,} rows already there")
        with progress.step("count") as step:
            counts = log.count(spark, args.output)
            step.says(f"{sum(counts.values()):,} rows -> {len(counts)} classes")
    record = {"output": args.output, "is_new": is_new, "rows": sum(counts.values()), "classes": counts}
    print(json.dumps(record) if args.json else _summary(counts, args.output))
    return 0


def _plan(spark: SparkSession, log: OrderLog, args: argparse.Namespace) -> int:
    is_new = not log.is_written(spark, args.output, overwrite=args.overwrite)
    expected, columns = log.expected_counts(), log.orders(spark).columns
    record = {"output": args.output, "dry_run": True, "is_new": is_new, "rows": args.rows, "expected": expected}
    if args.json:
        print(json.dumps({**record, "columns": columns}))
        return 0
    print(f"{args.output}: " + ("would be written in one scan." if is_new else "is there already, nothing to write."))
    counts = ", ".join(f"{n:,} {name}" for name, n in expected.items())
    print(f"{args.rows:,} orders, about {counts}." if counts else f"{args.rows:,} orders, shifted by {log.shift}.")
    print(f"Columns: {', '.join(columns)}.")
    print("Dry run: nothing was written.")
    return 0


def _summary(counts: dict[Label, int], output: str) -> str:
    total = sum(counts.values())
    names = OUTCOMES if counts.keys() & set(OUTCOMES) else ()
    if names:
        shown = ", ".join(f"{counts.get(name, 0):,} {name} ({counts.get(name, 0) / total:.4%})" for name in names)
        return f"{output}: {total:,} orders, {shown}"
    honest, fraud = counts.get(0, 0), counts.get(1, 0)
    return f"{output}: {total:,} orders, {fraud:,} fraud ({fraud / total:.4%}), {honest:,} honest"


def _shares(text: str) -> dict[str, float]:
    """Shares by name from `late_return=0.03,fraud=0.0005`."""
    try:
        pairs = [part.split("=") for part in text.split(",")]
        return {name.strip(): float(share) for name, share in pairs}
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} does not read NAME=SHARE,NAME=SHARE") from None


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(","))


def _shift(text: str) -> OrderShift:
    try:
        return OrderShift.parse(text)
    except ConfigError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _whole_number(text: str) -> int:
    """An int from `300000` or `1e8`, exactly."""
    try:
        number = Decimal(text)
    except InvalidOperation:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None
    if not number.is_finite() or number != int(number):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number")
    return int(number)


if __name__ == "__main__":
    sys.exit(main())
