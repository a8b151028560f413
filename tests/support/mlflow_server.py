"""MLflow's servers for tests, each on a free port of this machine."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

_PATIENCE_S = 120.0


@contextmanager
def running(command: Sequence[str], log: Path, *, page: str = "health", **environment: str) -> Iterator[str]:
    """What `mlflow ...` starts, beside its log, as long as the block lives; gives its address.

    Args:
        page: which answers as soon as the server is up. environment: beside that of the tests.
    """
    port = free_port()
    # Neither telemetry nor the runner of server-side jobs is of use here.
    quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    # The command looks for its server, uvicorn, on the PATH; a virtual environment need not be active here.
    path = {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    with log.open("w") as output:
        server = subprocess.Popen(
            [sys.executable, "-m", *command, "--host", "127.0.0.1", "--port", str(port), "--workers", "1"],
            env={**os.environ, **quiet, **path, **environment}, cwd=log.parent, stdout=output, stderr=output,
            start_new_session=True,
        )  # fmt: skip
    try:
        address = f"http://127.0.0.1:{port}"
        _wait_for(f"{address}/{page}", server, log)
        yield address
    finally:
        # The server has processes of its own; told to end, it would wait for its clients.
        with suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGKILL)
        server.wait(timeout=30)


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def _wait_for(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + _PATIENCE_S
    while time.monotonic() < end:
        assert server.poll() is None, log.read_text()
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.2)
    raise AssertionError(f"no answer in {_PATIENCE_S:.0f} s: {log.read_text()}")
