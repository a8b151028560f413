"""Choose another threshold for a logged model, from its counts alone: no Spark, no data, no refit."""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import MISSING, fields
from typing import Any

from imbalance_spark.cli.arguments import set_up_logging
from imbalance_spark.cli.exit_codes import run_job
from imbalance_spark.comparison.retune import register_retuned, retune, retune_costs
from imbalance_spark.comparison.retune_result import RetuneResult
from imbalance_spark.config.yaml_file import read_yaml
from imbalance_spark.core.errors import ConfigError, QualityGateError
from imbalance_spark.core.imports import own_this_process
from imbalance_spark.core.progress import Progress
from imbalance_spark.scoring.bundle import SERVED
from imbalance_spark.threshold.class_rules import rule_to_dict
from imbalance_spark.threshold.cost_objectives import MinCost, first_constant_costs
from imbalance_spark.threshold.decisions import COST_MATRIX, cost_matrix_from_config
from imbalance_spark.threshold.objective import Objective
from imbalance_spark.threshold.objectives import NOT_RETUNED, OBJECTIVES, objective_from_config
from imbalance_spark.tracking.models import LoggedModel, load_logged_model
from imbalance_spark.tracking.registry import RegisteredModel

_SETTINGS = sorted({field.name for kind in OBJECTIVES.values() for field in fields(kind)} - NOT_RETUNED)
"""Every setting that some objective has."""


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line; usage errors end with exit code 2."""
    parser = argparse.ArgumentParser(
        prog="jobs/retune.py",
        description=__doc__,
        epilog="Give --fn and --fp with any other objective to see the cost, too. Of a model of three or more classes, "
        "give --class with an objective, or --costs alone. "
        "Exit code 4: no threshold keeps the objective's constraint; nothing is registered.",
    )
    parser.add_argument(
        "--run", required=True, metavar="ID", help="MLflow run of a strategy, or a job's parent run: its best strategy"
    )
    asked = parser.add_mutually_exclusive_group(required=True)
    asked.add_argument("--objective", choices=sorted(OBJECTIVES), help="what the threshold is for")
    asked.add_argument(
        "--costs", metavar="FILE", help="YAML file with new costs of errors, as in an objective cost_matrix"
    )
    parser.add_argument(
        "--class", dest="target", default="", metavar="NAME", help="of several, whose threshold to move"
    )
    settings = parser.add_argument_group("settings of the objective")
    for name in _SETTINGS:
        settings.add_argument(f"--{name.replace('_', '-')}", type=_number_or_text, metavar="X", help=_users_of(name))
    parser.add_argument("--base-rate", type=float, metavar="P", help="share of positives from now on, such as 0.004")
    parser.add_argument(
        "--base-rate-interval", type=float, nargs=2, metavar=("LOW", "HIGH"),
        help="its 95 %% interval, where it is an estimate",
    )  # fmt: skip
    parser.add_argument("--orders-per-day", type=float, metavar="N", help="orders scored a day (as in the log)")
    parser.add_argument("--tracking-uri", default="sqlite:///mlflow.db", help="MLflow store (%(default)s)")
    parser.add_argument("--register", metavar="NAME", help="registered model (the one that has the run's model)")
    parser.add_argument("--alias", metavar="NAME", help="alias to move to the new version, such as champion (none)")
    parser.add_argument("--dry-run", action="store_true", help="show what would change; log and register nothing")
    parser.add_argument("--json", action="store_true", help="print the result as one JSON object")
    parser.add_argument("--verbose", action="store_true", help="log in detail, with tracebacks, to stderr")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the job; the exit code is 0 done, 2 usage or no such run, 3 broken model files, 4 out of reach, 1 other."""
    args = parse_args(argv)
    # Models are not for other users of the machine.
    os.umask(0o077)
    set_up_logging(args.verbose)
    return run_job("retune", lambda: _run(args))


def _run(args: argparse.Namespace) -> int:
    objective, cost = _objectives(args) if args.objective else (None, None)
    stages = ("load", "choose") if args.dry_run else ("load", "choose", "register")
    progress = Progress(stages, quiet=args.json)
    with progress.step("load") as step:
        source = load_logged_model(args.tracking_uri, args.run)
        step.says(f"strategy {source.bundle.strategy}, {source.bundle.decides}")
    name = args.register or source.registered_name
    if name is None and not args.dry_run:
        raise ConfigError(f"--run {args.run}: its model is not registered. Name a registered model with --register.")
    per_day = source.orders_per_day if args.orders_per_day is None else args.orders_per_day
    with progress.step("choose") as step:
        result = _retuned(args, source, objective, cost, per_day)
        step.says(result.sentence if result.change is None else f"{result.rule}, {_threshold(result)}")
    registered = None
    if result.reachable and not args.dry_run and name is not None:
        with progress.step("register") as step:
            costs = first_constant_costs([one for one in (cost, objective) if one is not None]) or (1.0, 1.0)
            registered = register_retuned(source, result, name, costs=costs, alias=args.alias)
            step.says(f"{name} version {registered.version}")
    _print(args, source, result, per_day, registered)
    if result.change is not None and not result.reachable:
        raise QualityGateError(f"{result.change.chosen.sentence} Nothing was registered.")
    return 0


def _retuned(
    args: argparse.Namespace,
    source: LoggedModel,
    objective: Objective | None,
    cost: Objective | None,
    per_day: float | None,
) -> RetuneResult:
    bundle = source.bundle
    if objective is None:
        given = read_yaml(args.costs)
        costs = {"name": COST_MATRIX, "costs": given.get("costs", given)}
        return retune_costs(bundle, cost_matrix_from_config(costs, bundle.classes))
    return retune(
        bundle,
        source.held_out,
        objective,
        target=args.target,
        base_rate=args.base_rate,
        base_rate_interval=None if args.base_rate_interval is None else tuple(args.base_rate_interval),
        cost=cost,
        orders_per_day=per_day,
    )


def _threshold(result: RetuneResult) -> str:
    return f"threshold {result.change.chosen.threshold:.6g}" if result.change is not None else ""


def _objectives(args: argparse.Namespace) -> tuple[Objective, Objective | None]:
    """The objective with its settings, and the costs to report where it is none itself."""
    given = {name: getattr(args, name) for name in _SETTINGS if getattr(args, name) is not None}
    kind, cost = OBJECTIVES[args.objective], None
    if not kind.is_loss and {"fn", "fp"} <= set(given):
        cost = MinCost(fn=given.pop("fn"), fp=given.pop("fp"))
    return objective_from_config({"name": args.objective, **given}), cost


def _print(
    args: argparse.Namespace,
    source: LoggedModel,
    result: RetuneResult,
    per_day: float | None,
    registered: RegisteredModel | None,
) -> None:
    if args.json:
        version = None if registered is None else _version(registered, args.alias)
        found = {"run": source.run_id, "orders_per_day": per_day, **result.to_dict(), "registered": version}
        print(json.dumps(found))
        return
    print("\n".join(result.lines()))
    if result.change is not None and per_day is None:
        print("Alerts a day need the orders that are scored a day, the log has no time: --orders-per-day N.")
    elif result.change is not None and args.orders_per_day is None:
        print(f"Alerts a day at {per_day:,.0f} orders a day, as in the log; --orders-per-day N is for another number.")
    if args.base_rate is not None:
        print(f"Expected at a share of positives of {args.base_rate:g}.")
    if registered is not None:
        alias = f" as {args.alias}" if args.alias else ""
        print(f"Registered {registered.name} version {registered.version}{alias}.")
        print(f"Read back from it: {registered.bundle.decides}.")


def _version(model: RegisteredModel, alias: str | None) -> dict[str, Any]:
    """What is served, as the registry has it."""
    bundle = model.bundle
    rule = {"threshold": bundle.threshold} if bundle.targets == 1 else rule_to_dict(bundle.rule_of(SERVED))
    return {"name": model.name, "version": model.version, "alias": alias, "objective": bundle.serve_objective, **rule}


def _number_or_text(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


def _users_of(setting: str) -> str:
    users = [
        f"{key} (needed)" if field.default is MISSING else key
        for key, kind in OBJECTIVES.items()
        for field in fields(kind)
        if field.name == setting
    ]
    return f"for {', '.join(users)}"


if __name__ == "__main__":
    own_this_process()
    sys.exit(main())
