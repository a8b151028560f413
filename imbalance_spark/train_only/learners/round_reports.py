"""The rounds of a distributed fit, told to the driver while it runs: Spark itself hears of a task only at its end."""

import hmac
import logging
import secrets
import socket
import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from pyspark.sql import SparkSession

logger = logging.getLogger(__name__)


_SEND_LIMIT_S = 5.0
_HAND_OVER_LIMIT_S = 60.0


_LONGEST_MESSAGE = 128
_LARGEST_CHECKPOINT = 1 << 31


class RoundReporter:
    """Used by the first worker of a fit, which tells the driver of each round; the model is left as it is.

    One is enough: no worker gets further than the sum of a round that another one owes. A report that cannot be
    delivered is no error of the fit. Whoever listens hears nothing then, and has to decide.
    """

    def __init__(self, host: str, port: int, token: str) -> None:
        self._address = (host, port)
        self._token = token

    def tell(self, round_number: int) -> None:
        """Tell of a round, from 0, that has ended."""
        self._send(f"{self._token} round {round_number}\n".encode(), _SEND_LIMIT_S)

    def hand_over(self, checkpoint: bytes) -> None:
        """Have the driver keep a checkpoint: its folder may be out of this worker's reach. Returns when it is kept."""
        header = f"{self._token} checkpoint {len(checkpoint)}\n".encode()
        self._send(header + checkpoint, _HAND_OVER_LIMIT_S, waits=True)

    def own_host(self) -> str:
        """The address of this machine on the way to the driver, at which other workers reach it."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as way:
            way.connect(self._address)  # of a datagram socket: nothing is sent
            return str(way.getsockname()[0])

    def _send(self, message: bytes, limit_s: float, *, waits: bool = False) -> None:
        try:
            with socket.create_connection(self._address, timeout=limit_s) as connection:
                connection.sendall(message)
                if waits:
                    connection.recv(1)  # the driver closes when it has heard and kept all
        except OSError as error:
            logger.warning("the driver at %s:%d was not told of a round: %s", *self._address, error)


class RoundListener:
    """What the driver has heard of one fit; `reporter` is what that fit's first worker reports with.

    Args:
        keep: called with each checkpoint that came in whole, on another thread.
    """

    def __init__(self, host: str, port: int, keep: Callable[[bytes], object]) -> None:
        self._token = secrets.token_hex(16)
        self._keep = keep
        self.reporter = RoundReporter(host, port, self._token)
        self.last_round: int | None = None
        """The last round that ended, from 0."""

    def hear(self, message: bytes) -> int:
        """Take a report, and say how many bytes of a checkpoint follow.

        Whatever does not hold this fit's token is none, such as one of an earlier attempt.
        """
        token, _, report = message.decode("ascii", "replace").strip().partition(" ")
        subject, _, number = report.partition(" ")
        if not hmac.compare_digest(token.encode(), self._token.encode()) or not number.isdigit():
            return 0
        if subject == "round":
            self.last_round = int(number)
        return min(int(number), _LARGEST_CHECKPOINT) if subject == "checkpoint" else 0

    def keep(self, checkpoint: bytes) -> None:
        """Keep a checkpoint; where that fails the fit goes on, and would be resumed from an earlier one."""
        try:
            self._keep(checkpoint)
        except Exception as error:
            logger.warning("a checkpoint of %d bytes was not kept: %s", len(checkpoint), type(error).__name__)


@contextmanager
def listening(spark: SparkSession, keep: Callable[[bytes], object]) -> Iterator[RoundListener]:
    """A listener at the driver's address, which executors reach anyway; it closes with the block."""
    conf = spark.sparkContext.getConf()
    host = conf.get("spark.driver.host", "127.0.0.1")
    with socketserver.TCPServer((conf.get("spark.driver.bindAddress", host), 0), _Handler) as server:
        listener = RoundListener(host, server.server_address[1], keep)
        server.listener = listener  # type: ignore[attr-defined]
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
        listener: RoundListener = self.server.listener  # type: ignore[attr-defined]
        try:
            size = listener.hear(self.rfile.readline(_LONGEST_MESSAGE))
            checkpoint = self.rfile.read(size)
        except OSError:  # someone who connects and says nothing
            return
        if size and len(checkpoint) == size:
            listener.keep(checkpoint)
