"""What the command lines of all jobs share: options, logging, and a status file at the end."""

import argparse
import json
import logging
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imbalance_spark.cli.exit_codes import run_job
from imbalance_spark.core.errors import ImbalanceSparkError
from imbalance_spark.core.section import expanded
from imbalance_spark.core.spark_errors import traceback_lines
from imbalance_spark.tracking.config import TrackingConfig

if TYPE_CHECKING:
    from imbalance_spark.config.run import RunConfig

_SHARED: dict[str, dict[str, Any]] = {
    "--config": {"required": True, "metavar": "FILE", "help": "YAML file, such as conf/demo.yaml"},
    "--set": {
        "action": "append",
        "default": [],
        "metavar": "KEY=VALUE",
        "help": "override a setting, such as split.seed=8; repeatable",
    },
    "--dry-run": {"action": "store_true", "help": "print what would be done; write nothing"},
    "--master": {"help": "Spark master if spark-submit sets none (local[*])"},
    "--tracking-uri": {"default": TrackingConfig().uri, "help": "MLflow store (%(default)s)"},
    "--json": {"action": "store_true", "help": "print the result as one JSON object"},
    "--verbose": {"action": "store_true", "help": "log in detail, with tracebacks, to stderr"},
}


def parser(
    job: str, description: str, shared: Sequence[str] = ("--config", "--set"), *, epilog: str | None = None
) -> argparse.ArgumentParser:
    """A parser with `--json`, `--verbose` and the named shared options; a usage error ends with exit code 2.

    Args:
        job: the name of its file in `jobs/`.
        description: shown by `--help`, as is `epilog`.
        shared: options that `add_shared` knows.
    """
    made = argparse.ArgumentParser(prog=f"jobs/{job}.py", description=description, epilog=epilog)
    for name in (*shared, "--json", "--verbose"):
        add_shared(made, name)
    return made


def add_shared(parser: argparse.ArgumentParser, name: str, **changed: Any) -> None:
    """Add a shared option: `--config`, `--set`, `--dry-run`, `--master` or `--tracking-uri`.

    Args:
        changed: what differs from the other jobs' option, such as its `help`.
    """
    parser.add_argument(name, **(_SHARED[name] | changed))


def run_configured(
    job: str, args: argparse.Namespace, body: Callable[["RunConfig"], int], *, with_status: bool = True
) -> int:
    """Load the config and run the job's body as `run_unconfigured` does; the status goes to the config's `output`."""
    from imbalance_spark.config.run import RunConfig  # here: other jobs start half a second sooner without it
    from imbalance_spark.config.yaml_file import load_config

    outputs: list[str] = []

    def work() -> int:
        config = load_config(args.config, RunConfig, args.set)
        outputs.append(config.output)
        return body(config)

    return run_unconfigured(job, args, work, (lambda: outputs or _output_alone(args)) if with_status else tuple)


def run_unconfigured(
    job: str, args: argparse.Namespace, body: Callable[[], int], outputs: Callable[[], Sequence[str]] = tuple
) -> int:
    """Run a job's body with private files and logging set up; returns its exit code, as `run_job` does.

    Args:
        outputs: folders that get a `status.json` with `job`, `state`, `exit_code` and `error`, when the job begins and
            however it ends; asked for each time. Folders that are no local path are skipped.
    """
    # Orders and models are not for other users of the machine.
    os.umask(0o077)
    set_up_logging(args.verbose)
    return run_job(job, body, lambda status: write_status(outputs(), status))


class _SafeFormatter(logging.Formatter):
    """Tracebacks without the messages of other packages' exceptions, which may quote a row."""

    def formatException(self, ei: Any) -> str:  # noqa: N802  # logging's own name
        return "\n".join(traceback_lines(ei[1]))


def set_up_logging(verbose: bool) -> None:
    """Log warnings to stderr, this package in detail if `verbose`; of MLflow and XGBoost errors only."""
    level = logging.DEBUG if verbose else logging.WARNING
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_SafeFormatter("%(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    logging.getLogger("imbalance_spark").setLevel(level)
    for noisy in ("XGBoost-PySpark", "mlflow", "alembic"):
        logging.getLogger(noisy).setLevel(logging.ERROR)


def write_status(outputs: Sequence[str], status: dict[str, object]) -> None:
    """Write `status.json` into each output folder that is a local path."""
    for output in outputs:
        folder = output.removeprefix("file://").removeprefix("file:")
        if "://" in folder or folder.startswith("dbfs:"):
            continue  # a remote output: exit code and last line say the same
        Path(folder).mkdir(parents=True, exist_ok=True)
        # Under another name first: a full disk leaves what was there.
        written = Path(folder, "status.json.writing")
        written.write_text(json.dumps(status, indent=1) + "\n", "utf-8")
        written.replace(Path(folder, "status.json"))


def _output_alone(args: argparse.Namespace) -> list[str]:
    """The output folder of a config that is invalid otherwise, so that its status has a place."""
    from imbalance_spark.config.yaml_file import read_yaml

    try:
        output = read_yaml(args.config, args.set).get("output")
    except ImbalanceSparkError:
        return []
    return [expanded(output)] if isinstance(output, str) else []
