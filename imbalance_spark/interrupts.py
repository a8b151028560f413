"""Signals as exceptions, which leave the connection to the JVM fit for what the way out still has to do."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from pyspark import SparkContext


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


def _forget_interrupted_call() -> None:
    """Close this thread's connection to the JVM; the next call opens another.

    The answer to the call that is cut off is still to come on it, and would be taken for that of the next call.
    """
    gateway = SparkContext._gateway
    connection = gateway._gateway_client.get_thread_connection() if gateway is not None else None
    if connection is not None:
        connection.close()
