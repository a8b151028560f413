"""How a job ends: one line and an exit code for every failure, and no row's values in it."""

import logging
import os
import signal
import sys
import traceback
from collections.abc import Callable

from py4j.protocol import Py4JError
from pyspark.java_gateway import launch_gateway

from imbalance_spark.core.signals import ending_with_spark_submit, raising_on
from imbalance_spark.core.spark_errors import causes, describe, is_end_of_spark
from imbalance_spark.core.spark_session import runtime

logger = logging.getLogger(__name__)


def run_job(name: str, body: Callable[[], int], record: Callable[[dict[str, object]], None] | None = None) -> int:
    """Run a job's body; on failure print one line last on stderr and give the exit code.

    Args:
        name: the job's name, for the log.
        body: the work; gives an exit code.
        record: is handed the status (`job`, `state`, `exit_code`, `error`) however the job ends; `state` is
            done, failed, or killed (Ctrl-C, SIGTERM, `sys.exit`).

    Returns:
        What `body` gives; else the error's `exit_code` (2 config, 3 data, 4 quality gate, 1 other), 130 after
        Ctrl-C, 143 after SIGTERM.

    Raises:
        JobFailedError: on Databricks, in place of a code that is not 0.
    """
    state = "failed"
    try:
        with raising_on(signal.SIGTERM, _Terminated), ending_with_spark_submit():
            code, line = body(), None
        state = "done" if code == 0 else "failed"
    except BaseException as error:
        logger.debug("%s failed", name, exc_info=True)
        end = _end_behind(error)
        state = "failed" if end is None else "killed"
        code, line = describe(error) if end is None else _describe_end(end)
    if record is not None:
        record({"job": name, "state": state, "exit_code": code, "error": line})
    if line is not None:
        _say_last(f"ERROR {code}: {line}")
    if code != 0 and runtime() is not None:
        raise JobFailedError(f"{name} ended with exit code {code}. {line or ''}".strip())
    return code


class JobFailedError(Exception):
    """A job failed where nobody reads its exit code: a wheel task of Databricks fails by an exception alone."""


class _Terminated(SystemExit):
    """SIGTERM came, here or to Spark: everything on the way out is closed as after Ctrl-C."""


def _end_behind(error: BaseException) -> BaseException | None:
    """The signal or `sys.exit` on whose way out an error came up, such as that a JVM that is gone cannot be stopped."""
    found = next((each for each in causes(error) if not isinstance(each, Exception)), None)
    return _Terminated() if found is None and is_end_of_spark(error) else found


def _describe_end(error: BaseException) -> tuple[int, str]:
    again = "Run the job again: it goes on from the last finished step."
    if isinstance(error, KeyboardInterrupt):
        return 130, f"interrupted. {again}"
    if isinstance(error, _Terminated):
        return 143, f"stopped by SIGTERM, or Spark was. {again}"
    code = error.code if isinstance(error, SystemExit) and isinstance(error.code, int) else 1
    return code or 1, f"the job left through sys.exit. {again}"


def _say_last(line: str) -> None:
    """Print to stderr. spark-submit sends a Python driver's stderr to its own stdout: there, the JVM prints it."""
    if "PYSPARK_GATEWAY_PORT" in os.environ:
        try:
            launch_gateway().jvm.System.err.println(line)  # type: ignore[no-untyped-call]
        except (Py4JError, OSError):
            logger.debug("the JVM of spark-submit is gone", exc_info=True)
        else:
            return
    try:
        print(line, file=sys.stderr, flush=True)  # noqa: T201  # the job's last word
    except BrokenPipeError:
        logger.debug("nobody is left to read the last word", exc_info=True)


def traceback_text(error: BaseException) -> str:
    """The traceback for a log file: frames and error classes, without messages that may quote rows."""
    frames = "".join(traceback.format_tb(error.__traceback__))
    return f"{frames}{type(error).__name__}: {describe(error)[1]}"
