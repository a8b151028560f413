"""Access to the MLflow store: short waits, one process at a time, errors that say what to do."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import mlflow
from mlflow.exceptions import MlflowException

from imbalance_spark.core.errors import ConfigError

NOT_FOUND = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")
"""MLflow's error codes for a name, version, alias or run that the store does not have."""


def use_store(uri: str) -> None:
    """Point MLflow at the store, and keep its progress bars, which it shows where tqdm is there, from our stages."""
    os.environ["MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR"] = "false"
    mlflow.set_tracking_uri(uri)


@contextmanager
def short_waits() -> Iterator[None]:
    """Few and short HTTP retries, so that an unreachable tracking server is noticed within half a minute."""
    limits = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2", "MLFLOW_HTTP_REQUEST_TIMEOUT": "8"}
    before = {name: os.environ.get(name) for name in limits}
    os.environ.update(limits)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None) if value is None else os.environ.update({name: value})


@contextmanager
def store_alone(uri: str) -> Iterator[None]:
    """Only one process at a time is in the block, if the store is a SQLite file; with a server, this does nothing.

    Two processes that create the file at once crash in its migration; two that promote at once would both succeed.
    """
    file = _sqlite_file(uri)
    if file is None:
        yield
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    with Path(f"{file}.lock").open("w") as lock:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(lock.fileno(), msvcrt.LK_LOCK, 1)  # tried for ten seconds; released with the file
        else:
            import fcntl

            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def refuse_absent_file(uri: str) -> None:
    """Raise `ConfigError` for a SQLite store whose file does not exist."""
    # MLflow would create an empty store, and find no run in it.
    file = _sqlite_file(uri)
    if file is not None and not file.is_file():
        raise ConfigError(f"--tracking-uri: there is no file {str(file)!r}. Name the run's store.")


def _sqlite_file(uri: str) -> Path | None:
    """The file of a SQLite store, whose URI may have settings of the connection after a `?`; None of another store."""
    scheme, _, place = uri.partition(":///")
    return Path(place.partition("?")[0]) if scheme.partition("+")[0] == "sqlite" else None


@contextmanager
def store_errors(if_absent: str) -> Iterator[None]:
    """Raise MLflow's errors in the block as `ConfigError`.

    Args:
        if_absent: the message where the store does not have what is asked for.
    """
    try:
        yield
    except MlflowException as error:
        if error.error_code in NOT_FOUND:
            raise ConfigError(if_absent) from error
        raise ConfigError(
            f"--tracking-uri: the MLflow store does not answer ({type(error).__name__}). Start it, or name another."
        ) from error
