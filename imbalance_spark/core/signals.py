"""Signals as exceptions, which leave the connection to the JVM fit for what the way out still has to do."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from pyspark import SparkContext

_LOOK_EVERY_S = 0.5


leaving = threading.Event()


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
    leaving.clear()
    if "PYSPARK_GATEWAY_PORT" not in os.environ or threading.current_thread() is not threading.main_thread():
        yield
        return
    parent, is_over = os.getppid(), threading.Event()

    def watch() -> None:
        while not is_over.wait(_LOOK_EVERY_S):
            if os.getppid() != parent and not leaving.is_set():
                os.kill(os.getpid(), signal.SIGTERM)
                return

    watcher = threading.Thread(target=watch, name="watch-of-spark-submit", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        is_over.set()
        watcher.join()


def _forget_interrupted_call() -> None:
    """Close this thread's connection to the JVM; the next call opens another.

    The answer to the call that is cut off is still to come on it, and would be taken for that of the next call.
    """
    gateway = SparkContext._gateway
    connection = gateway._gateway_client.get_thread_connection() if gateway is not None else None
    if connection is not None:
        connection.close()
