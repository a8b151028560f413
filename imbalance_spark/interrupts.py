"""Signals as exceptions, which leave the connection to the JVM fit for what the way out still has to do."""

import os
import re
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from py4j.protocol import Py4JError, Py4JNetworkError
from pyspark import SparkContext

from imbalance_spark.errors import SparkEndedError

_LOOK_EVERY_S = 0.5
_ENDED = re.compile(
    r"SparkContext was shut ?down|SparkContext has been shut ?down|stopped SparkContext"
    r"|\AAn error occurred while calling \S+\Z"  # Py4J's, of a JVM that gave no answer: else a trace follows
)
_leaving = threading.Event()


@contextmanager
def raising_on(number: signal.Signals, error: Callable[[], BaseException]) -> Iterator[None]:
    """Within the block the signal raises where Python stands, so that `finally` blocks run.

    Only the main thread may set handlers: in any other the caller's own stays.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(_: int, __: object) -> None:
        _forget_interrupted_call()
        raise error()

    before = signal.signal(number, end)
    try:
        yield
    finally:
        signal.signal(number, before)


@contextmanager
def ending_with_spark_submit() -> Iterator[None]:
    """Within the block the end of the spark-submit that started this process is a SIGTERM to it.

    A SIGTERM to spark-submit ends its JVM alone. Python would go on without Spark, to where it registers a model.
    Where a call to Spark was under way it fails by itself, see `is_end_of_spark`, and no signal comes in its way out.
    """
    _leaving.clear()
    if "PYSPARK_GATEWAY_PORT" not in os.environ or threading.current_thread() is not threading.main_thread():
        yield
        return
    parent, is_over = os.getppid(), threading.Event()

    def watch() -> None:
        while not is_over.wait(_LOOK_EVERY_S):
            if os.getppid() != parent and not _leaving.is_set():
                os.kill(os.getpid(), signal.SIGTERM)
                return

    watcher = threading.Thread(target=watch, name="watch-of-spark-submit", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        is_over.set()
        watcher.join()


def is_end_of_spark(error: BaseException) -> bool:
    """Whether a call failed since Spark or its JVM was ended from outside; then what is left is the way out."""
    _leaving.set()  # first, so that no signal falls into what follows
    found = _is_stopped() or any(_tells_of_the_end(each) for each in causes(error))
    if not found:
        _leaving.clear()
    return found


def _tells_of_the_end(error: BaseException) -> bool:
    try:
        text = str(error)
    except (Py4JError, OSError):  # Py4J asks the JVM for the text of a Java exception
        return True
    return isinstance(error, Py4JNetworkError | SparkEndedError) or _ENDED.search(text) is not None


def _is_stopped() -> bool:
    """Whether the context that Python believes to be there is none: not every failure on the way tells so."""
    # Of a context whose own stop failed, Python keeps the shell.
    java_context = getattr(SparkContext._active_spark_context, "_jsc", None)
    try:
        return java_context is not None and bool(java_context.sc().isStopped())
    except (Py4JError, OSError):
        return True


def causes(error: BaseException) -> Iterator[BaseException]:
    """The exception, and those that it came of or up on the way out of."""
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        yield current
        seen.add(id(current))
        current = current.__cause__ or current.__context__


def _forget_interrupted_call() -> None:
    """Close this thread's connection to the JVM; the next call opens another.

    The answer to the call that is cut off is still to come on it, and would be taken for that of the next call.
    """
    gateway = SparkContext._gateway
    connection = gateway._gateway_client.get_thread_connection() if gateway is not None else None
    if connection is not None:
        connection.close()
