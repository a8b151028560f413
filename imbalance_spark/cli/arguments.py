"""What every job's command line has: --config, --set, --json, --verbose, and a status file at the end."""

import argparse
import json
import logging
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from imbalance_spark.cli.exit_codes import run_job
from imbalance_spark.config.run import RunConfig
from imbalance_spark.config.yaml_file import load_config
from imbalance_spark.core.errors import ImbalanceSparkError


def parser(job: str, description: str) -> argparse.ArgumentParser:
    """A parser with the options that every configured job shares."""
    made = argparse.ArgumentParser(prog=f"jobs/{job}.py", description=description)
    made.add_argument("--config", required=True, metavar="FILE", help="YAML file, such as conf/demo.yaml")
    made.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="override a setting, such as split.seed=8; repeatable",
    )
    made.add_argument("--json", action="store_true", help="print the result as one JSON object instead of tables")
    made.add_argument("--verbose", action="store_true", help="log in detail, with tracebacks, to stderr")
    return made


def run_configured(
    job: str, args: argparse.Namespace, body: Callable[[RunConfig], int], *, with_status: bool = True
) -> int:
    """Load the config and run the job's body; however it ends, say so on stderr and, unless told not to, in a file.

    `status.json` is written in the config's `output` folder if that is a local path that can be
    known; it holds `job`, `state`, `exit_code` and `error`.
    """
    # Orders and models are not for other users of the machine.
    os.umask(0o077)
    set_up_logging(args.verbose)
    outputs: list[str] = []

    def work() -> int:
        config = load_config(args.config, RunConfig, args.set)
        outputs.append(config.output)
        return body(config)

    if not with_status:
        return run_job(job, work)
    return run_job(job, work, lambda status: write_status(outputs or _output_alone(args), status))


def set_up_logging(verbose: bool) -> None:
    """Warnings to stderr, this package's in detail where asked; of MLflow and XGBoost errors only."""
    level = logging.DEBUG if verbose else logging.WARNING
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(levelname)s %(name)s: %(message)s")
    logging.getLogger("imbalance_spark").setLevel(level)
    for noisy in ("XGBoost-PySpark", "mlflow", "alembic"):
        logging.getLogger(noisy).setLevel(logging.ERROR)


def _output_alone(args: argparse.Namespace) -> list[str]:
    """The output folder of a config that is otherwise wrong, so that its status still finds a place."""
    from imbalance_spark.config.yaml_file import read_yaml

    try:
        output = read_yaml(args.config, args.set).get("output")
    except ImbalanceSparkError:
        return []
    return [output] if isinstance(output, str) else []


def write_status(outputs: Sequence[str], status: dict[str, object]) -> None:
    """Write `status.json` into each output folder that is a local path."""
    for output in outputs:
        place = output.removeprefix("file://").removeprefix("file:")
        if "://" in place or place.startswith("dbfs:"):
            continue  # a remote output: exit code and last line say the same
        Path(place).mkdir(parents=True, exist_ok=True)
        Path(place, "status.json").write_text(json.dumps(status, indent=1) + "\n", "utf-8")
