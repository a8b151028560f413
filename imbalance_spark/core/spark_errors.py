"""One line on what went wrong, without any row's values, and whether Spark itself was shut down."""

import json
import re
import traceback
from collections.abc import Iterator
from typing import Literal

from py4j.protocol import Py4JError, Py4JJavaError, Py4JNetworkError
from pyspark import SparkContext
from pyspark.errors import PySparkException

from imbalance_spark.core.errors import (
    DataContractError,
    ImbalanceSparkError,
    LeakageError,
    SparkEndedError,
    TrainingError,
)
from imbalance_spark.core.masking import masked_text, visible
from imbalance_spark.core.signals import tearing_down

_ENDED = re.compile(
    r"SparkContext was shut ?down|SparkContext has been shut ?down|stopped SparkContext"
    r"|\AAn error occurred while calling \S+\Z"  # Py4J's, of a JVM that gave no answer: else a trace follows
)


def is_end_of_spark(error: BaseException) -> bool:
    """Whether a call failed because Spark or its JVM was shut down from outside; if so, only teardown is left."""
    tearing_down.set()  # first, so that no signal interrupts what follows
    found = _is_stopped() or any(_is_of_shutdown(each) for each in causes(error))
    if not found:
        tearing_down.clear()
    return found


def state_after(error: BaseException) -> Literal["failed", "killed"]:
    """How a run stands that this exception ends: killed by a signal, `sys.exit` or the end of Spark, else failed."""
    told = next((each for each in causes(error) if not isinstance(each, Exception)), None)
    return "killed" if told is not None or is_end_of_spark(error) else "failed"


def _is_of_shutdown(error: BaseException) -> bool:
    try:
        text = str(error)
    except (Py4JError, OSError):  # Py4J asks the JVM for the text of a Java exception
        return True
    return isinstance(error, Py4JNetworkError | SparkEndedError) or _ENDED.search(text) is not None


def _is_stopped() -> bool:
    """Whether the context that Python holds is gone: not every exception says so."""
    # Where stopping a context failed, Python keeps the object without its JVM side.
    java_context = getattr(SparkContext._active_spark_context, "_jsc", None)
    try:
        return java_context is not None and bool(java_context.sc().isStopped())
    except (Py4JError, OSError):
        return True


def causes(error: BaseException) -> Iterator[BaseException]:
    """The exception and its chain of causes and contexts."""
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        yield current
        seen.add(id(current))
        current = current.__cause__ or current.__context__


_LONGEST_LINE = 1500


_SAFE_CONDITION = re.compile(r"[A-Z][A-Z0-9_.]+")


_MISSING_DATA = ("PATH_NOT_FOUND", "TABLE_OR_VIEW_NOT_FOUND", "DELTA_MISSING_DELTA_TABLE", "DELTA_TABLE_NOT_FOUND")


_DAMAGED_DATA = (
    (
        re.compile(
            r"\[DELTA_(?:VERSIONS_NOT_CONTIGUOUS|TRUNCATED_TRANSACTION_LOG|LOG_FILE_NOT_FOUND)|\[DELTA_STATE_RECOVER_ERROR"
            r"|\[FAILED_READ_FILE[^\n]*/_delta_log/"
            r"|jackson\.core\.JsonParseException|jackson\.databind\.JsonMappingException|JsonEOFException"
        ),
        "the log of a Delta table lacks a commit or has a damaged one",
        "restore _delta_log, or write the table again",
    ),
    (
        re.compile(r"\[FAILED_READ_FILE|CANNOT_READ_FILE_FOOTER|ChecksumException"),
        "a file of a table is lost, cut short or changed, or vacuum removed it",
        "restore it, or read another version of the table",
    ),
    (
        re.compile(r"\[DELTA_(?:UNSUPPORTED_FEATURES_FOR_READ|INVALID_PROTOCOL_VERSION)"),
        "a Delta table needs what this Delta does not know",
        "read it with a later Delta, or drop the feature from the table",
    ),
)
"""Of tables that others wrote: their faults are those of the data, exit code 3."""


_NEEDED_FEATURES = re.compile(r'unsupported by Delta Lake "[^"]*": ([A-Za-z0-9, -]+)\.')


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
        # A worker that cannot import ends its barrier stage, whose own words say nothing of it.
        re.compile(r"ModuleNotFoundError: |ImportError: "),
        "an executor's Python lacks a package or a part of one",
        "install the locked packages there; jobs/doctor.py names what differs",
    ),
    (
        re.compile(r"failed barrier ResultStage|Barrier task"),
        "a training worker was lost",
        "check executor memory; run the job again",
    ),
)


def describe(error: BaseException) -> tuple[int, str]:
    """Exit code and one line for an exception, without any row's values.

    Messages of Spark and XGBoost can run to 10 kB and quote cells, so only the error class, or a known cause, is passed
    on.
    """
    found = as_own_error(error)
    if found is not None:
        return found.exit_code, _one_line(str(found))
    if _known_cause(str(error)) is None and (damaged := _damaged_data(str(error))):
        return DataContractError.exit_code, damaged
    if isinstance(error, PySparkException):
        return _describe_spark(error)
    return _describe_other(error)


def _damaged_data(text: str) -> str | None:
    for pattern, what, fix in _DAMAGED_DATA:
        if pattern.search(text):
            named = _NEEDED_FEATURES.search(text)
            return f"{what}{f': {named[1]}' if named else ''}; {fix}."
    return None


CONTRACT_BROKEN = f"{DataContractError.__module__}.{DataContractError.__qualname__}: "
"""Begins the message of a task that fails, so that `as_own_error` knows which error of this package it means."""


def as_own_error(error: BaseException) -> ImbalanceSparkError | None:
    """The error of this package that an exception is, wraps, or carries out of a Spark task."""
    for each in causes(error):
        if isinstance(each, ImbalanceSparkError):
            return each
    leak = re.search(r"LeakageError: ([^\n]*?)(?: SQLSTATE|\n|$)", str(error))
    if leak:
        return LeakageError(leak.group(1))
    own = re.search(
        r"imbalance_spark\.core\.errors\.(DataContractError|MissingColumnsError|TrainingError): ([^\n]*)", str(error)
    )
    if own is None:
        return None
    return TrainingError(own.group(2)) if own.group(1) == "TrainingError" else DataContractError(own.group(2))


def traceback_lines(error: BaseException) -> Iterator[str]:
    """Where an exception and its causes were raised, without the messages of others, which may quote a row."""
    for each in causes(error):
        said = f": {_one_line(str(each))}" if isinstance(each, ImbalanceSparkError) else ""
        yield f"{type(each).__name__}{said}"
        for frame in traceback.extract_tb(each.__traceback__):
            yield f"  {frame.filename}:{frame.lineno} in {frame.name}"


def training_error(error: Exception, strategy: str) -> ImbalanceSparkError:
    """The error to report for a failed fit: this package's own, or one line on the cause."""
    own = as_own_error(error)
    if own is not None:
        return own
    return TrainingError(f"training of strategy {strategy!r}: {describe(error)[1]}")


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
    is_of_file = isinstance(error, OSError) and error.filename is not None  # that file's disk is full, not Spark's
    known = None if is_of_file else _known_cause(str(error))
    if known:
        return 1, known
    if isinstance(error, OSError) and error.strerror:
        return 1, f"{type(error).__name__}: {error.strerror} ({json.dumps(str(error.filename))})."
    if isinstance(error, Py4JJavaError):
        return 1, f"Spark's JVM failed with {_java_causes(error)}. Run with --verbose for the traceback."
    # The message may quote a cell: give the class and the line of code instead.
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
    """Control characters escaped, so that no name can forge a line of the log; addresses without their secrets."""
    plain = visible(masked_text(text))
    return plain if len(plain) <= _LONGEST_LINE else plain[: _LONGEST_LINE - 3] + "..."
