"""Score a table of orders with a registered model: once for each version of both, or only the orders that are new."""

import argparse
import json
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from pyspark.sql import DataFrame, SparkSession

from imbalance_spark.cli.arguments import set_up_logging, write_status
from imbalance_spark.cli.exit_codes import run_job
from imbalance_spark.core.errors import ConfigError, DataContractError
from imbalance_spark.core.imports import own_this_process
from imbalance_spark.core.progress import Progress
from imbalance_spark.core.section import expanded
from imbalance_spark.core.spark_session import spark_session
from imbalance_spark.scoring.batch import PlannedBatch, plan_batch, score_batch
from imbalance_spark.scoring.control_sample import ControlSample
from imbalance_spark.scoring.increments import score_increments
from imbalance_spark.scoring.scored_table import Batch, BatchOrders, ScoredBatch, next_scored_at, read_batch

if TYPE_CHECKING:
    from imbalance_spark.tracking.registry import RegisteredModel

_ARGUMENTS = {
    "orders.source.path": "--input",
    "orders.source.table": "--input-table",
    "orders.source.format": "--format",
    "orders.source.version": "--input-version",
    "orders.max_quarantined": "--max-quarantined",
    "control sample:": "--key:",
}


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line; usage errors end with exit code 2."""
    parser = argparse.ArgumentParser(
        prog="jobs/score.py",
        description=__doc__,
        epilog="The output is a Delta table to which each run appends: the orders' columns, then probability, "
        "decision and threshold, and expected_cost where costs depend on the order's amount (for K classes "
        "probability_<class>, decision and decided_by), model_version, "
        "scored_at, bundle_sha256 and batch. The same version of the orders and of the model is in it "
        "once, whatever is run again. Rows with a number that no model can read, an infinite one or one beyond "
        "float32, go to the quarantine with their reasons; too many of them end the job with exit code 3. With "
        "--control-share there are for_review and review_propensity, too; with --reasons an array reasons of "
        "feature, value and contribution.",
    )
    parser.add_argument("--model", required=True, metavar="URI", help="models:/NAME@ALIAS or models:/NAME/VERSION")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--input", type=expanded, metavar="PATH", help="the orders to score")
    source.add_argument("--input-table", metavar="NAME", help="the orders to score, as a Delta table of the catalog")
    parser.add_argument("--format", choices=("delta", "parquet", "csv"), default="delta", help="of --input (delta)")
    parser.add_argument("--input-version", type=int, metavar="N", help="of the Delta table (the latest)")
    parser.add_argument(
        "--incremental",
        action="store_true",
        help="score only what came since the last time: of a Delta table with a change data feed the rows that were "
        "added or changed, else the files that are new",
    )
    parser.add_argument("--output", type=expanded, required=True, metavar="PATH", help="Delta table of scored orders")
    parser.add_argument(
        "--quarantine", type=expanded, metavar="PATH", help="Delta table of rows set aside (OUTPUT_quarantined)"
    )
    parser.add_argument(
        "--max-quarantined",
        type=float,
        default=0.01,
        metavar="SHARE",
        help="of rows to set aside at most (%(default)s)",
    )
    parser.add_argument(
        "--control-share",
        type=float,
        metavar="SHARE",
        help="of the orders that are not flagged to mark for review, so that missed positives are seen (none)",
    )
    parser.add_argument(
        "--key", default="order_id", metavar="NAMES", help="columns that --control-share draws by (%(default)s)"
    )
    parser.add_argument(
        "--reasons", type=int, default=0, metavar="N", help="features to name as reasons of each flagged order (none)"
    )
    parser.add_argument("--tracking-uri", default="sqlite:///mlflow.db", help="MLflow store (%(default)s)")
    parser.add_argument("--master", help="Spark master when not set by spark-submit (local[*])")
    parser.add_argument("--dry-run", action="store_true", help="check all, print what would be added; write nothing")
    parser.add_argument("--json", action="store_true", help="print the result as one JSON object")
    parser.add_argument("--verbose", action="store_true", help="log in detail, with tracebacks, to stderr")
    args = parser.parse_args(argv)
    if args.quarantine is None:
        args.quarantine = f"{args.output.rstrip('/')}_quarantined"
    if args.incremental and args.dry_run:
        parser.error("--dry-run plans a whole version of the orders; leave out --incremental")
    if not 0.0 <= args.max_quarantined <= 1.0:
        parser.error(f"--max-quarantined must be a share in [0, 1], got {args.max_quarantined:g}")
    if args.control_share is not None and not 0.0 < args.control_share <= 1.0:
        parser.error(f"--control-share must be a share in (0, 1], got {args.control_share:g}")
    return args


def main(argv: Sequence[str] | None = None) -> int:
    """Run the job; the exit code is 0 done, 2 usage or no such model, 3 data contract broken, 1 anything else."""
    args = parse_args(argv)
    # Orders are not for other users of the machine.
    os.umask(0o077)
    set_up_logging(args.verbose)
    if args.dry_run:
        return run_job("score", lambda: _run(args))
    return run_job("score", lambda: _run(args), lambda status: write_status([args.output], status))


def _run(args: argparse.Namespace) -> int:
    steps = ("score",) if args.incremental else ("read", "plan" if args.dry_run else "score")
    progress = Progress(("model", *steps), quiet=args.json)
    with ThreadPoolExecutor(1) as threads:
        # MLflow takes about as long to load as Spark to start.
        loading = threads.submit(_loaded, args)
        with spark_session(f"score {args.model}", args.master, is_own=True) as spark, _said_of_arguments():
            return _score(spark, args, loading, progress)


def _loaded(args: argparse.Namespace) -> "RegisteredModel":
    from imbalance_spark.tracking.registry import load_registered_model

    return load_registered_model(args.tracking_uri, args.model)


def _score(
    spark: SparkSession, args: argparse.Namespace, loading: "Future[RegisteredModel]", progress: Progress
) -> int:
    with progress.step("model") as step:
        model = loading.result()
        step.says(f"{model.label}, strategy {model.bundle.strategy}, {model.bundle.decides}")
    if args.incremental:
        return _score_increments(spark, args, model, progress)
    with progress.step("read") as step:
        orders = _read(spark, args, model)
        step.says(orders.description)
    if args.dry_run:
        return _plan(args, model, orders, progress)
    with progress.step("score") as step:
        written = _scorer(spark, args, model)(orders.frame, orders.batch)
        step.says(_outcome(written))
    record = _record(args, orders, model, written)
    print(json.dumps(record) if args.json else f"{args.output}: {_outcome(written)}.")
    return 0


def _scorer(
    spark: SparkSession, args: argparse.Namespace, model: "RegisteredModel"
) -> Callable[[DataFrame, Batch], ScoredBatch]:
    scored_at = next_scored_at(spark, args.output)

    def score(orders: DataFrame, batch: Batch) -> ScoredBatch:
        return score_batch(
            orders,
            model.bundle,
            batch,
            output=args.output,
            quarantine=args.quarantine,
            max_quarantined=args.max_quarantined,
            model_version=model.version,
            scored_at=scored_at,
            control=_control(args),
            reasons=args.reasons,
        )

    return score


def _score_increments(
    spark: SparkSession, args: argparse.Namespace, model: "RegisteredModel", progress: Progress
) -> int:
    with progress.step("score") as step:
        _check_source(args)
        parts = score_increments(
            spark, args.output, model.label, _scorer(spark, args, model), path=args.input, table=args.input_table,
            file_format=args.format, version=args.input_version,
        )  # fmt: skip
        new = [part for part in parts if part.is_new]
        said = "; ".join(_outcome(part) for part in new) if new else "nothing added: no orders are new"
        step.says(said)
    quarantined = sum((Counter(part.quarantined or {}) for part in new), Counter[str]())
    record = {
        **_places(args, model),
        "incremental": True,
        "output_version": new[-1].version if new else None,
        "rows": sum(part.rows or 0 for part in new),
        "is_new": bool(new),
        "quarantined": dict(quarantined),
    }
    print(json.dumps(record) if args.json else f"{args.output}: {said}.")
    return 0


def _plan(args: argparse.Namespace, model: "RegisteredModel", orders: BatchOrders, progress: Progress) -> int:
    with progress.step("plan") as step:
        planned = plan_batch(
            orders.frame, model.bundle, orders.batch, output=args.output, max_quarantined=args.max_quarantined,
            model_version=model.version, control=_control(args), reasons=args.reasons,
        )  # fmt: skip
        step.says(f"{planned.counted.rows:,} -> {planned.rows:,} rows")
    print(json.dumps(_planned_record(args, orders, model, planned)) if args.json else "\n".join(_lines(args, planned)))
    return 0


def _lines(args: argparse.Namespace, planned: PlannedBatch) -> Iterator[str]:
    yield f"{planned.counted.rows:,} orders read, {planned.counted.broken:,} to set aside in {args.quarantine}."
    yield from (f"  {rule}: {rows:,} rows" for rule, rows in planned.counted.by_rule.items())
    if planned.done:
        yield f"{args.output}: {_outcome(planned.done)}."
    else:
        yield f"{args.output}: {planned.rows:,} orders would be added."
    yield f"Columns: {', '.join(planned.columns)}."
    yield "Dry run: nothing was scored or written."


def _read(spark: SparkSession, args: argparse.Namespace, model: "RegisteredModel") -> BatchOrders:
    _check_source(args)
    return read_batch(
        spark, model.label, path=args.input, table=args.input_table, file_format=args.format, version=args.input_version
    )


def _check_source(args: argparse.Namespace) -> None:
    if args.input_table is not None and args.format != "delta":
        raise ConfigError(f"--format {args.format}: a table of the catalog has to be Delta. Give its files by --input.")
    if args.input_version is not None and args.format != "delta":
        raise ConfigError(f"--input-version: only Delta has versions, --format is {args.format}. Leave it out.")
    if args.input_version is not None and args.input_version < 0:
        raise ConfigError(f"--input-version must be 0 or more, got {args.input_version}.")


def _control(args: argparse.Namespace) -> ControlSample | None:
    if args.control_share is None:
        return None
    return ControlSample(share=args.control_share, key=[name.strip() for name in args.key.split(",")])


def _outcome(written: ScoredBatch) -> str:
    aside = ", ".join(f"{name} {n:,}" for name, n in (written.quarantined or {}).items())
    aside = f", set aside: {aside}" if aside else ""
    if written.is_new:
        return f"{written.rows:,} orders scored, version {written.version}{aside}"
    where = "" if written.version is None else f", as version {written.version} with {written.rows:,} orders{aside}"
    return f"nothing added: these orders were scored by this model version before{where}"


def _record(
    args: argparse.Namespace, orders: BatchOrders, model: "RegisteredModel", written: ScoredBatch
) -> dict[str, Any]:
    return {
        **_places(args, model),
        "input": orders.location,
        "input_version": orders.version,
        "output_version": written.version,
        "rows": written.rows,
        "is_new": written.is_new,
        "quarantined": written.quarantined,
    }


def _planned_record(
    args: argparse.Namespace, orders: BatchOrders, model: "RegisteredModel", planned: PlannedBatch
) -> dict[str, Any]:
    return {
        **_places(args, model),
        "input": orders.location,
        "input_version": orders.version,
        "dry_run": True,
        "rows_read": planned.counted.rows,
        "rows": planned.rows,
        "is_new": planned.done is None,
        "quarantined": dict(planned.counted.by_rule),
        "columns": planned.columns,
    }


def _places(args: argparse.Namespace, model: "RegisteredModel") -> dict[str, Any]:
    return {
        "model": model.name,
        "model_version": model.version,
        **_decision(model),
        "output": args.output,
        "quarantine": args.quarantine,
        "control_share": args.control_share,
    }


def _decision(model: "RegisteredModel") -> dict[str, float | str]:
    bundle = model.bundle
    return {"threshold": bundle.threshold} if bundle.targets == 1 else {"decided_by": bundle.serve_objective}


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
    own_this_process()
    sys.exit(main())
