"""How a run stands, in a file of its folder: running, done, failed or killed."""

import logging
from typing import Any, Literal

from imbalance_spark.core.errors import ImbalanceSparkError
from imbalance_spark.core.files import Folder
from imbalance_spark.core.run_lock import is_abandoned
from imbalance_spark.core.spark_errors import describe, state_after

logger = logging.getLogger(__name__)

STATUS = "status.json"

State = Literal["running", "done", "failed", "killed"]
"""Killed is a run that a signal, `sys.exit`, the end of Spark, or the loss of its process has ended."""


def write_status(folder: Folder, run_id: str, state: State, error: str | None = None) -> None:
    """Say how the run stands; a failing write is a warning, on which no job ends."""
    try:
        folder.write_json(STATUS, {"run_id": run_id, "state": state, "error": error})
    except Exception as failure:  # of Hadoop, the JVM or the disk
        logger.warning("run %s: status.json does not say %r (%s)", run_id, state, type(failure).__name__)


def read_state(folder: Folder) -> State | None:
    """What `status.json` says; None where there is none that can be read."""
    try:
        found: Any = folder.read_json(STATUS)["state"]
    except Exception:  # nothing there, out of reach, or not what `write_status` writes
        return None
    return found if found in ("running", "done", "failed", "killed") else None


def end_status(folder: Folder, run_id: str, error: BaseException | None) -> None:
    """Say how a run ended, unless that has been said."""
    if read_state(folder) not in ("running", None):
        return
    if error is None:
        write_status(folder, run_id, "done")
    elif (state := state_after(error)) == "failed" or isinstance(error, ImbalanceSparkError):
        write_status(folder, run_id, state, describe(error)[1])
    else:
        write_status(folder, run_id, state, "the job was stopped, or Spark was")


def settle_status(folder: Folder, run_id: str) -> State | None:
    """How a run stands whose process ended for certain; a status that still says running becomes killed."""
    if read_state(folder) == "running" and is_abandoned(folder):
        write_status(folder, run_id, "killed", "the process that worked on it was lost")
    return read_state(folder)
