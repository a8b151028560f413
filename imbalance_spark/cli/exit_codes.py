"""How a job ends: for every failure an exit code and one line, without any row's values."""

import logging
import os
import signal
import sys
from collections.abc import Callable

from py4j.protocol import Py4JError
from pyspark.java_gateway import launch_gateway

from imbalance_spark.core.signals import ending_with_spark_submit, raising_on
from imbalance_spark.core.spark_errors import causes, describe, is_end_of_spark
from imbalance_spark.core.spark_session import runtime

logger = logging.getLogger(__name__)


def run_job(name: str, body: Callable[[], int], record: Callable[[dict[str, object]], None] | None = None) -> int:
    """Run a job's body; on failure, print one last line to stderr and return the exit code.

    Args:
        name: the job's name, for the log.
        body: the work; returns an exit code.
        record: called with the status (`job`, `state`, `exit_code`, `error`) when the job begins and however it ends;
            `state` is running, then done, failed, or killed (Ctrl-C, SIGTERM, `sys.exit`). An error of its own is
            logged and changes nothing.

    Returns:
        What `body` returns; after an error its `exit_code` (2 config, 3 data, 4 quality gate, 5 champion, 1 other), 130
        after Ctrl-C, 143 after SIGTERM.

    Raises:
        JobFailedError: on Databricks, instead of returning a code other than 0.
    """
    state = "failed"
    _record(record, {"job": name, "state": "running", "exit_code": None, "error": None})
    try:
        with raising_on(signal.SIGTERM, _Terminated), ending_with_spark_submit():
            code, line = body(), None
        state = "done" if code == 0 else "failed"
    except BaseException as error:
        logger.debug("%s failed", name, exc_info=True)
        end = _shutdown_behind(error)
        state = "failed" if end is None else "killed"
        code, line = describe(error) if end is None else _describe_shutdown(end)
    _record(record, {"job": name, "state": state, "exit_code": code, "error": line})
    if line is not None:
        _say_last(f"ERROR {code}: {line}")
    if code != 0 and runtime() is not None:
        raise JobFailedError(f"{name} ended with exit code {code}. {line or ''}".strip())
    return code


def _record(record: Callable[[dict[str, object]], None] | None, status: dict[str, object]) -> None:
    try:
        if record is not None:
            record(status)
    except Exception as error:  # whatever it is: how the job ends counts for more than where that is noted
        logger.warning("the status %r was not written (%s)", status["state"], type(error).__name__)


class JobFailedError(Exception):
    """A failed job on Databricks, where a wheel task fails by an exception alone and exit codes are ignored."""


class _Terminated(SystemExit):
    """SIGTERM, to this process or to Spark: teardown is that of Ctrl-C."""


def _shutdown_behind(error: BaseException) -> BaseException | None:
    """The signal or `sys.exit` during whose teardown an error was raised, such as that a dead JVM cannot be stopped."""
    found = next((each for each in causes(error) if not isinstance(each, Exception)), None)
    return _Terminated() if found is None and is_end_of_spark(error) else found


def _describe_shutdown(error: BaseException) -> tuple[int, str]:
    again = "Run the job again: it resumes after the last finished step."
    if isinstance(error, KeyboardInterrupt):
        return 130, f"interrupted. {again}"
    if isinstance(error, _Terminated):
        return 143, f"stopped by SIGTERM, or Spark was. {again}"
    code = error.code if isinstance(error, SystemExit) and isinstance(error.code, int) else 1
    return code or 1, f"the job left through sys.exit. {again}"


def _say_last(line: str) -> None:
    """Print to stderr; under spark-submit the JVM does, since a Python driver's stderr ends up on its stdout."""
    if "PYSPARK_GATEWAY_PORT" in os.environ:
        try:
            launch_gateway().jvm.System.err.println(line)  # type: ignore[no-untyped-call]
        except (Py4JError, OSError):
            logger.debug("the JVM of spark-submit is gone", exc_info=True)
        else:
            return
    try:
        print(line, file=sys.stderr, flush=True)  # noqa: T201  # the job's last line
    except BrokenPipeError:
        logger.debug("stderr is closed", exc_info=True)
