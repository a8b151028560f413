"""What workers of a distributed fit and the driver say to each other while it runs.

Spark itself hears of a task only at its end, and lets tasks wait for each other no shorter than a second.
"""

import hmac
import json
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


_LONGEST_MESSAGE = 256
_LARGEST_CHECKPOINT = 1 << 31


class RoundReporter:
    """Used by the workers of a fit, which meet by way of the driver; the first one tells it of each round.

    One is enough: no worker gets further than the sum of a round that another one owes. A report that cannot be
    delivered is no error of the fit. Whoever listens hears nothing then, and has to decide.
    """

    def __init__(self, host: str, port: int, token: str) -> None:
        self._address = (host, port)
        self._token = token
        self._meetings = 0

    def tell(self, round_number: int) -> None:
        """Tell of a round, from 0, that has ended."""
        self._send(f"{self._token} round {round_number}\n".encode(), _SEND_LIMIT_S)

    def hand_over(self, checkpoint: bytes) -> None:
        """Have the driver keep a checkpoint: its folder may be out of this worker's reach. Returns when it is kept."""
        header = f"{self._token} checkpoint {len(checkpoint)}\n".encode()
        self._send(header + checkpoint, _HAND_OVER_LIMIT_S, waits=True)

    def meet(self, worker: int, workers: int, message: str = "") -> list[str]:
        """Wait for all workers of the fit, however long they load, and give what each came with, in their order.

        A worker that waits here when a peer dies ends with its task, as Spark ends all of a barrier stage.

        Args:
            message: a word without line breaks.
        Raises:
            ConnectionError: the driver is gone, or has given the fit up.
        """
        self._meetings += 1
        said = f"{self._token} meet {self._meetings} {worker} {workers} {message}\n"
        try:
            with socket.create_connection(self._address, timeout=_HAND_OVER_LIMIT_S) as connection:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
                connection.sendall(said.encode())
                connection.settimeout(None)
                with connection.makefile("rb") as answer:
                    met = answer.readline()
        except OSError:
            met = b""
        if not met.endswith(b"\n"):
            raise ConnectionError(f"worker {worker} of a fit lost the driver at {self._address[0]}")
        return list(json.loads(met))

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
        self._change = threading.Condition()
        self._came: dict[int, dict[int, str]] = {}
        self._is_over = False
        self.last_round: int | None = None
        """The last round that ended, from 0."""

    def hear(self, message: bytes) -> int:
        """Take a report, and say how many bytes of a checkpoint follow.

        Whatever does not hold this fit's token is none, such as one of an earlier attempt.
        """
        subject, _, number = self._report(message).partition(" ")
        if not number.isdigit():
            return 0
        if subject == "round":
            self.last_round = max(int(number), self.last_round or 0)  # two may come in at once
        return min(int(number), _LARGEST_CHECKPOINT) if subject == "checkpoint" else 0

    def meet(self, message: bytes) -> list[str] | None:
        """What all workers came to a meeting with, once the last one is there.

        None if the message is about something else, or the fit has ended before.
        """
        subject, *found = self._report(message).split(" ", 4)
        if subject != "meet" or len(found) != 4 or not all(number.isdigit() for number in found[:3]):
            return None
        meeting, worker, workers = map(int, found[:3])
        with self._change:
            came = self._came.setdefault(meeting, {})
            came[worker] = found[3]
            self._change.notify_all()
            self._change.wait_for(lambda: len(came) == workers or self._is_over)
            return [came[number] for number in sorted(came)] if len(came) == workers else None

    def end(self) -> None:
        """Nobody waits for the others of this fit any more."""
        with self._change:
            self._is_over = True
            self._change.notify_all()

    def _report(self, message: bytes) -> str:
        token, _, report = message.decode("ascii", "replace").rstrip("\n").partition(" ")
        return report if hmac.compare_digest(token.encode(), self._token.encode()) else ""

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
    with _Server((conf.get("spark.driver.bindAddress", host), 0), _Handler) as server:
        listener = RoundListener(host, server.server_address[1], keep)
        server.listener = listener  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever, args=(0.1,), name="rounds-of-a-fit", daemon=True)
        thread.start()
        try:
            yield listener
        finally:
            listener.end()
            server.shutdown()
            thread.join()


class _Server(socketserver.ThreadingTCPServer):
    """A thread for each connection: workers that meet wait in theirs."""

    daemon_threads = True
    request_queue_size = 256


class _Handler(socketserver.StreamRequestHandler):
    timeout = _SEND_LIMIT_S

    def handle(self) -> None:
        listener: RoundListener = self.server.listener  # type: ignore[attr-defined]
        try:
            message = self.rfile.readline(_LONGEST_MESSAGE)
            if (met := listener.meet(message)) is not None:
                self.wfile.write(json.dumps(met).encode() + b"\n")
                return
            size = listener.hear(message)
            checkpoint = self.rfile.read(size)
        except OSError:  # someone who connects and says nothing, or has gone
            return
        if size and len(checkpoint) == size:
            listener.keep(checkpoint)
