"""The rounds of a distributed fit, told to the driver while it runs: Spark itself hears of a task only at its end."""

import hmac
import logging
import secrets
import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pyspark.sql import SparkSession
from xgboost import collective
from xgboost.callback import TrainingCallback

logger = logging.getLogger(__name__)


_SEND_LIMIT_S = 5.0


_LONGEST_MESSAGE = 128


class RoundReporter(TrainingCallback):
    """Runs on every worker of a fit; the first one tells the driver of each round, and the model is left as it is.

    One is enough: no worker gets further than the sum of a round that another one owes. A report that cannot be
    delivered is no error of the fit. Whoever listens hears nothing then, and has to decide.
    """

    def __init__(self, host: str, port: int, token: str) -> None:
        super().__init__()
        self._address = (host, port)
        self._token = token

    def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
        """Tell of the round; never ends the fit."""
        if collective.get_rank() == 0:
            try:
                with socket.create_connection(self._address, timeout=_SEND_LIMIT_S) as connection:
                    connection.sendall(f"{self._token} {epoch}\n".encode())
            except OSError as error:
                logger.warning("round %d: the driver at %s:%d was not told: %s", epoch, *self._address, error)
        return False


class RoundListener:
    """What the driver has heard of one fit; `reporter` is the callback to give to that fit."""

    def __init__(self, host: str, port: int) -> None:
        self._token = secrets.token_hex(16)
        self.reporter = RoundReporter(host, port, self._token)
        self.last_round: int | None = None
        """The last round that ended, from 0."""

    def hear(self, message: bytes) -> None:
        """Take a report; whatever does not hold this fit's token is none, such as one of an earlier attempt."""
        token, _, number = message.decode("ascii", "replace").strip().partition(" ")
        if hmac.compare_digest(token.encode(), self._token.encode()) and number.isdigit():
            self.last_round = int(number)


@contextmanager
def listening(spark: SparkSession) -> Iterator[RoundListener]:
    """A listener at the driver's address, which executors reach anyway; it closes with the block."""
    conf = spark.sparkContext.getConf()
    host = conf.get("spark.driver.host", "127.0.0.1")
    with socketserver.TCPServer((conf.get("spark.driver.bindAddress", host), 0), _Handler) as server:
        listener = RoundListener(host, server.server_address[1])
        server.hear = listener.hear  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever, args=(0.1,), name="rounds-of-a-fit", daemon=True)
        thread.start()
        try:
            yield listener
        finally:
            server.shutdown()
            thread.join()


class _Handler(socketserver.StreamRequestHandler):
    timeout = _SEND_LIMIT_S

    def handle(self) -> None:
        try:
            message = self.rfile.readline(_LONGEST_MESSAGE)
        except OSError:  # someone who connects and says nothing
            return
        self.server.hear(message)  # type: ignore[attr-defined]
