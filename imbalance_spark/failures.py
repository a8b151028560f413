"""How a job ends: one line and an exit code for every failure, and no row's values in it."""

import json
import logging
import os
import re
import signal
import sys
import traceback
from collections.abc import Callable

from py4j.protocol import Py4JError, Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.java_gateway import launch_gateway

from imbalance_spark.databricks import runtime
from imbalance_spark.errors import DataContractError, ImbalanceSparkError, LeakageError, TrainingError
from imbalance_spark.interrupts import causes, ending_with_spark_submit, is_end_of_spark, raising_on

logger = logging.getLogger(__name__)

_LONGEST_LINE = 1500
_SAFE_CONDITION = re.compile(r"[A-Z][A-Z0-9_.]+")
_MISSING_DATA = ("PATH_NOT_FOUND", "TABLE_OR_VIEW_NOT_FOUND", "DELTA_MISSING_DELTA_TABLE", "DELTA_TABLE_NOT_FOUND")
_KNOWN_CAUSES = (
    (
        re.compile(r"No space left on device"),
        "no space left on the disk that Spark writes to",
        "free space or set spark.local.dir",
    ),
    (
        re.compile(r"OutOfMemoryError|Java heap space"),
        "a Spark process ran out of memory",
        "give it more memory or more partitions",
    ),
    (
        re.compile(r"SPARK-24819|more slots than"),
        "the cluster has fewer free slots than training.num_workers",
        "lower it",
    ),
    (
        re.compile(r"SPARK-24942"),
        "barrier training cannot run under dynamic allocation",
        "set spark.dynamicAllocation.enabled=false",
    ),
    (
        re.compile(r"failed barrier ResultStage|Barrier task"),
        "a training worker was lost",
        "check executor memory; run the job again",
    ),
    (
        re.compile(r"ModuleNotFoundError: No module named '(\w+)'"),
        "an executor's Python lacks a package",
        "install the locked packages there",
    ),
)


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


def describe(error: BaseException) -> tuple[int, str]:
    """The exit code and the one line that say what went wrong, without any row's values.

    Spark's and XGBoost's own texts can run to 10 kB and quote cells, so only their error class
    and what is known of it are passed on.
    """
    found = as_own_error(error)
    if found is not None:
        return found.exit_code, _one_line(str(found))
    if isinstance(error, PySparkException):
        return _describe_spark(error)
    return _describe_other(error)


def as_own_error(error: BaseException) -> ImbalanceSparkError | None:
    """The error of this package that an exception is, wraps, or carried out of a Spark task."""
    for each in causes(error):
        if isinstance(each, ImbalanceSparkError):
            return each
    leak = re.search(r"LeakageError: ([^\n]*?)(?: SQLSTATE|\n|$)", str(error))
    if leak:
        return LeakageError(leak.group(1))
    contract = re.search(r"imbalance_spark\.errors\.(?:DataContractError|MissingColumnsError): ([^\n]*)", str(error))
    return DataContractError(contract.group(1)) if contract else None


def training_error(error: Exception, strategy: str) -> ImbalanceSparkError:
    """What a failed fit is reported as: this package's own error, or one line on the cause."""
    own = as_own_error(error)
    if own is not None:
        return own
    return TrainingError(f"training of strategy {strategy!r}: {describe(error)[1]}")


def traceback_text(error: BaseException) -> str:
    """The traceback for a log file: frames and error classes, without messages that may quote rows."""
    frames = "".join(traceback.format_tb(error.__traceback__))
    return f"{frames}{type(error).__name__}: {describe(error)[1]}"


def _describe_spark(error: PySparkException) -> tuple[int, str]:
    condition = error.getCondition() or ""
    if condition in _MISSING_DATA:
        return 3, f"Spark cannot find the data ({condition}). Check orders.source in the config."
    known = _known_cause(str(error))
    if known:
        return 1, known
    name = condition if _SAFE_CONDITION.fullmatch(condition) else type(error).__name__
    return 1, f"Spark failed with {name}. The driver's log has the stack; run with --verbose to see it."


def _describe_other(error: BaseException) -> tuple[int, str]:
    known = _known_cause(str(error))
    if known:
        return 1, known
    if isinstance(error, OSError) and error.strerror:
        return 1, f"{type(error).__name__}: {error.strerror} ({json.dumps(str(error.filename))})."
    if isinstance(error, Py4JJavaError):
        return 1, f"Spark's JVM failed with {_java_causes(error)}. Run with --verbose for the traceback."
    # The text may quote a cell: say the class and the place, not the message.
    frame = traceback.extract_tb(error.__traceback__)[-1] if error.__traceback__ else None
    where = f" in {frame.name}, line {frame.lineno}" if frame else ""
    return 1, f"unexpected {type(error).__name__}{where}. Run with --verbose for the traceback."


def _java_causes(error: Py4JJavaError) -> str:
    """The classes of a Java exception and its causes, outermost first, without their messages."""
    names: list[str] = []
    current = error.java_exception
    while current is not None and len(names) < 5:
        names.append(str(current.getClass().getSimpleName()))
        current = current.getCause()
    return " from ".join(names)


def _known_cause(text: str) -> str | None:
    for pattern, what, fix in _KNOWN_CAUSES:
        if pattern.search(text):
            return f"{what}; {fix}."
    return None


def _one_line(text: str) -> str:
    """Control characters escaped, so that a hostile name cannot forge a line of the log."""
    plain = "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)
    return plain if len(plain) <= _LONGEST_LINE else plain[: _LONGEST_LINE - 3] + "..."
