"""Score a table of orders with a registered model, once for each version of the table and of the model."""

import argparse
import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime

from pyspark.sql import SparkSession

from imbalance_spark.command_line import set_up_logging, write_status
from imbalance_spark.config import SourceConfig
from imbalance_spark.errors import ConfigError, DataContractError
from imbalance_spark.failures import run_job
from imbalance_spark.orders import SourceOrders, read_orders
from imbalance_spark.progress import Progress
from imbalance_spark.score import score_orders
from imbalance_spark.scored_table import Batch, Written, batch_of, find_batch, write_batch
from imbalance_spark.session import spark_session
from imbalance_spark.tracking_registry import RegisteredModel, load_registered_model

_ARGUMENTS = {
    "orders.source.path": "--input",
    "orders.source.table": "--input-table",
    "orders.source.format": "--format",
    "orders.source.version": "--input-version",
}


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line; usage errors end with exit code 2."""
    parser = argparse.ArgumentParser(
        prog="jobs/score.py",
        description=__doc__,
        epilog="The output is a Delta table to which each run appends: the orders' columns, then probability, "
        "decision, threshold, model_version and scored_at. The same version of the orders and of the model is in it "
        "once, whatever is run again.",
    )
    parser.add_argument("--model", required=True, metavar="URI", help="models:/NAME@ALIAS or models:/NAME/VERSION")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--input", metavar="PATH", help="the orders to score")
    source.add_argument("--input-table", metavar="NAME", help="the orders to score, as a Delta table of the catalog")
    parser.add_argument("--format", choices=("delta", "parquet", "csv"), default="delta", help="of --input (delta)")
    parser.add_argument("--input-version", type=int, metavar="N", help="of the Delta table (the latest)")
    parser.add_argument("--output", required=True, metavar="PATH", help="Delta table of scored orders")
    parser.add_argument("--tracking-uri", default="sqlite:///mlflow.db", help="MLflow store (%(default)s)")
    parser.add_argument("--master", help="Spark master when not set by spark-submit (local[*])")
    parser.add_argument("--json", action="store_true", help="print the result as one JSON object")
    parser.add_argument("--verbose", action="store_true", help="log in detail, with tracebacks, to stderr")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the job; the exit code is 0 done, 2 usage or no such model, 3 data contract broken, 1 anything else."""
    args = parse_args(argv)
    # Orders are not for other users of the machine.
    os.umask(0o077)
    set_up_logging(args.verbose)
    return run_job("score", lambda: _run(args), lambda status: write_status([args.output], status))


def _run(args: argparse.Namespace) -> int:
    progress = Progress(3, quiet=args.json)
    with progress.step("model") as step:
        model = load_registered_model(args.tracking_uri, args.model)
        step.says(f"{model.label}, strategy {model.bundle.strategy}, threshold {model.bundle.threshold:.6g}")
    with spark_session(f"score {model.label}", args.master) as spark, _said_of_arguments():
        with progress.step("read") as step:
            source = _source(args)
            orders = read_orders(spark, source)
            batch = batch_of(spark, source, orders, model.label)
            step.says(orders.description)
        with progress.step("score") as step:
            written = _write_once(spark, args.output, orders, model, batch)
            step.says(_outcome(written))
    print(_as_json(args, orders, model, written) if args.json else f"{args.output}: {_outcome(written)}.")
    return 0


def _source(args: argparse.Namespace) -> SourceConfig:
    if args.input_table is not None and args.format != "delta":
        raise ConfigError(f"--format {args.format}: a table of the catalog has to be Delta. Give its files by --input.")
    if args.input_version is not None and args.format != "delta":
        raise ConfigError(f"--input-version: only Delta has versions, --format is {args.format}. Leave it out.")
    if args.input_version is not None and args.input_version < 0:
        raise ConfigError(f"--input-version must be 0 or more, got {args.input_version}.")
    return SourceConfig(path=args.input, table=args.input_table, format=args.format, version=args.input_version)


def _write_once(
    spark: SparkSession, output: str, orders: SourceOrders, model: RegisteredModel, batch: Batch
) -> Written:
    if (found := find_batch(spark, output, batch)) is not None:
        return found
    now = datetime.now(UTC)
    return write_batch(
        score_orders(orders.frame, model.bundle, model_version=model.version, scored_at=now), output, batch
    )


def _outcome(written: Written) -> str:
    if written.is_new:
        return f"{written.rows:,} orders scored, version {written.version}"
    where = "" if written.version is None else f", as version {written.version} with {written.rows:,} orders"
    return f"nothing added: these orders were scored by this model version before{where}"


def _as_json(args: argparse.Namespace, orders: SourceOrders, model: RegisteredModel, written: Written) -> str:
    return json.dumps(
        {
            "model": model.name,
            "model_version": model.version,
            "threshold": model.bundle.threshold,
            "input": orders.location,
            "input_version": orders.version,
            "output": args.output,
            "output_version": written.version,
            "rows": written.rows,
            "is_new": written.is_new,
        }
    )


@contextmanager
def _said_of_arguments() -> Iterator[None]:
    """Errors on the source name the arguments of this job, not the settings of a config."""
    try:
        yield
    except DataContractError as error:
        text = str(error)
        for setting, argument in _ARGUMENTS.items():
            text = text.replace(setting, argument)
        raise type(error)(text) from error


if __name__ == "__main__":
    sys.exit(main())
