"""Write a synthetic order log, whose true fraud probability is known row by row, as a Delta table."""

import argparse
import json
import sys
from collections.abc import Sequence
from decimal import Decimal, InvalidOperation

from delta.tables import DeltaTable
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from imbalance_spark.cli.arguments import parser, set_up_logging
from imbalance_spark.cli.exit_codes import run_job
from imbalance_spark.core.errors import ConfigError
from imbalance_spark.core.progress import Progress
from imbalance_spark.core.spark_session import spark_session
from imbalance_spark.orders.datasets.distributions import RECIPE
from imbalance_spark.orders.datasets.population import OUTCOMES
from imbalance_spark.orders.datasets.synthetic import OUTCOME_SHARES, generate_orders, generate_outcomes

_GENERATOR = "imbalance_spark.generate"
_PREVALENCE = 0.005


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line; usage errors end with exit code 2."""
    made = parser(
        "generate_orders",
        __doc__ or "",
        shared=("--master", "--dry-run"),
        epilog="The rows depend on seed, prevalence or outcomes, start and days alone: any cluster makes the same. "
        "Run again with the same arguments, it finds its table and leaves it.",
    )
    made.add_argument("--rows", required=True, type=_whole_number, help="orders to make, such as 300000 or 1e8")
    outcome = made.add_mutually_exclusive_group()
    outcome.add_argument("--prevalence", type=float, default=_PREVALENCE, help="share of fraud, (0, 0.5] (%(default)s)")
    outcome.add_argument(
        "--outcomes",
        nargs="?",
        type=_shares,
        const=dict(OUTCOME_SHARES),
        metavar="NAME=SHARE,...",
        help="several outcomes instead of fraud or not; their shares, unless they are "
        f"{','.join(f'{name}={share:g}' for name, share in OUTCOME_SHARES.items())}",
    )
    made.add_argument("--seed", type=int, default=7, help="another seed gives an independent log (%(default)s)")
    made.add_argument("--start", default="2024-01-01", help="first day, UTC (%(default)s)")
    made.add_argument("--days", type=_whole_number, default=365, help="length of the log (%(default)s)")
    made.add_argument("--output", required=True, help="path of the Delta table")
    made.add_argument("--overwrite", action="store_true", help="replace a table that was made otherwise")
    made.add_argument("--quiet", action="store_true", help="do not print the stages")
    return made.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the job; gives its exit code."""
    args = parse_args(argv)
    set_up_logging(args.verbose)
    return run_job("generate_orders", lambda: _run(args))


def _run(args: argparse.Namespace) -> int:
    with spark_session("generate_orders", args.master) as spark:
        asked = _description(args)
        if args.dry_run:
            return _plan(spark, args, asked)
        progress = Progress(("generate", "count"), quiet=args.quiet or args.json)
        with progress.step("generate") as step:
            is_new = not _is_there(spark, args.output, asked, overwrite=args.overwrite)
            if is_new:
                _write(_orders(spark, args), args.output, asked, overwrite=args.overwrite)
            step.says(f"{args.rows:,} rows" if is_new else f"{args.rows:,} rows already there")
        with progress.step("count") as step:
            counts = _class_counts(spark, args.output, "is_fraud" if args.outcomes is None else "outcome")
            step.says(f"{sum(counts.values()):,} rows -> {len(counts)} classes")
    record = {"output": args.output, "is_new": is_new, "rows": sum(counts.values()), "classes": counts}
    print(json.dumps(record) if args.json else _summary(counts, args.output))
    return 0


def _plan(spark: SparkSession, args: argparse.Namespace, asked: dict[str, object]) -> int:
    is_new = not _is_there(spark, args.output, asked, overwrite=args.overwrite)
    expected = _expected_counts(args)
    columns = _orders(spark, args).columns
    record = {"output": args.output, "dry_run": True, "is_new": is_new, "rows": args.rows, "expected": expected}
    if args.json:
        print(json.dumps({**record, "columns": columns}))
        return 0
    print(f"{args.output}: " + ("would be written in one pass." if is_new else "is there already, nothing to write."))
    print(f"{args.rows:,} orders, about " + ", ".join(f"{n:,} {name}" for name, n in expected.items()) + ".")
    print(f"Columns: {', '.join(columns)}.")
    print("Dry run: nothing was written.")
    return 0


def _expected_counts(args: argparse.Namespace) -> dict[str, int]:
    """Rows per class on average; the draws decide which they are."""
    shares = {"fraud": args.prevalence} if args.outcomes is None else args.outcomes
    rare = {name: round(args.rows * share) for name, share in shares.items()}
    return {"honest" if args.outcomes is None else OUTCOMES[0]: args.rows - sum(rare.values()), **rare}


def _orders(spark: SparkSession, args: argparse.Namespace) -> DataFrame:
    if args.outcomes is not None:
        return generate_outcomes(
            spark, rows=args.rows, shares=args.outcomes, seed=args.seed, start=args.start, days=args.days
        )
    return generate_orders(
        spark, rows=args.rows, prevalence=args.prevalence, seed=args.seed, start=args.start, days=args.days
    )


def _description(args: argparse.Namespace) -> dict[str, object]:
    """What the table's rows depend on; stored with the commit that writes them."""
    shares = "prevalence" if args.outcomes is None else "outcomes"
    names = ("rows", shares, "seed", "start", "days")
    return {"generator": _GENERATOR, "recipe": RECIPE, **{name: getattr(args, name) for name in names}}


def _is_there(spark: SparkSession, output: str, asked: dict[str, object], *, overwrite: bool) -> bool:
    """Whether the table's latest version is what is asked for; ConfigError if it is another, unless overwritten."""
    if not DeltaTable.isDeltaTable(spark, output):
        return False
    found = _found(spark, output)
    if found == asked:
        return True
    if overwrite:
        return False
    differing = sorted(name for name in asked if found.get(name) != asked[name])
    was = {name: found.get(name) for name in differing} if found else "written by something else"
    raise ConfigError(
        f"generate_orders: --output {output!r} already holds another table (there: {was}; "
        f"asked: { {name: asked[name] for name in differing} }). Choose another path, or add --overwrite."
    )


def _found(spark: SparkSession, output: str) -> dict[str, object]:
    """The description in the latest commit, or {} when that commit is not this job's."""
    latest = DeltaTable.forPath(spark, output).history(1).select("userMetadata").first()
    try:
        found = json.loads(latest["userMetadata"] or "{}") if latest else {}
    except json.JSONDecodeError:
        return {}
    return found if isinstance(found, dict) and found.get("generator") == _GENERATOR else {}


def _write(orders: DataFrame, output: str, asked: dict[str, object], *, overwrite: bool) -> None:
    # The description travels in the same commit as the rows: there is never one without the other.
    writer = orders.write.format("delta").option("userMetadata", json.dumps(asked, sort_keys=True))
    if overwrite:
        writer.mode("overwrite").option("overwriteSchema", "true").save(output)
    else:
        writer.mode("error").save(output)


def _class_counts(spark: SparkSession, output: str, label: str) -> dict[int | str, int]:
    """Rows of each class: at most four rows are collected."""
    counted = spark.read.format("delta").load(output).groupBy(label).agg(F.count("*").alias("rows")).collect()
    return {row[label]: row["rows"] for row in counted}


def _summary(counts: dict[int | str, int], output: str) -> str:
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
