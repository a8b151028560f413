"""Signals as exceptions, with the connection to the JVM left usable for teardown."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from pyspark import SparkContext

_CHECK_EVERY_S = 0.5

tearing_down = threading.Event()
"""Set once Spark is known to be shut down: from then on its end raises no further signal."""


@contextmanager
def raising_on(number: signal.Signals, error: Callable[[], BaseException]) -> Iterator[None]:
    """Within the block, the signal raises `error` in the main thread, so that `finally` blocks run.

    Only the main thread may set handlers: in any other thread this does nothing.
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
    """Within the block, this process gets a SIGTERM when the spark-submit that started it ends.

    A SIGTERM to spark-submit ends its JVM alone; Python would go on without Spark until the next call to it. A call
    under way fails by itself, see `is_end_of_spark`, and no signal interrupts its teardown.
    """
    tearing_down.clear()
    if "PYSPARK_GATEWAY_PORT" not in os.environ or threading.current_thread() is not threading.main_thread():
        yield
        return
    parent, is_over = os.getppid(), threading.Event()

    def watch() -> None:
        while not is_over.wait(_CHECK_EVERY_S):
            if os.getppid() != parent and not tearing_down.is_set():
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

    The answer to the interrupted call is still to arrive on it, and would be read as the answer to the next one.
    """
    gateway = SparkContext._gateway
    connection = gateway._gateway_client.get_thread_connection() if gateway is not None else None
    if connection is not None:
        connection.close()
