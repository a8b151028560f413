"""The main job on an MLflow server that goes away: at the start, while results are logged, and at registration."""

import contextlib
import json
import select
import socket
import socketserver
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient
from support.mlflow_server import free_port, running
from support.mlflow_store import new_store
from support.resumable import config_file, ledger, runs_of

from imbalance_spark.comparison import record
from jobs import train


class Line:
    """What lies between a client and a server on this machine; `cut` ends all that goes over it."""

    def __init__(self, server_port: int) -> None:
        self._target = ("127.0.0.1", server_port)
        self._open: set[socket.socket] = set()
        self.port = free_port()
        self.join()

    def join(self) -> None:
        line = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                with contextlib.suppress(OSError), socket.create_connection(line._target) as server:
                    ends = {self.request: server, server: self.request}
                    line._open |= set(ends)
                    while True:
                        for end in select.select(list(ends), [], [])[0]:
                            if not (sent := end.recv(65536)):
                                return
                            ends[end].sendall(sent)

        class Server(socketserver.ThreadingTCPServer):
            allow_reuse_address, daemon_threads, block_on_close = True, True, False

        self._server = Server(("127.0.0.1", self.port), Handler)
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def cut(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        for end in self._open:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        self._open.clear()


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Line]:
    """To a real MLflow server on a new store."""
    home = tmp_path_factory.mktemp("server")
    command = [
        "mlflow",
        "server",
        "--backend-store-uri",
        new_store(home),
        "--artifacts-destination",
        f"{home}/artifacts",
    ]
    with running(command, home / "server.log") as address:
        made = Line(int(address.rpartition(":")[2]))
        yield made
        made.cut()


def test_a_job_goes_on_from_where_the_store_went_away(
    resumable_home: Path, line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Of MLflow's own patience, minutes are left out.
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "0")
    home, uri = resumable_home, f"http://127.0.0.1:{line.port}"
    config = config_file(home, "away", uri, ("none",))

    def run() -> tuple[int, str]:
        code = train.main(["--config", config, "--json"])
        return code, str(json.loads((home / "away" / "status.json").read_text("utf-8"))["error"])

    line.cut()
    code, said = run()
    assert (code, said.startswith("tracking.uri: the MLflow store does not answer")) == (2, True), said
    assert not (home / "away" / "away").exists()
    for module, name in ((record, "log_bundle"), (record, "promote")):
        line.join()
        with monkeypatch.context() as patched:
            original = getattr(module, name)
            patched.setattr(module, name, lambda *args, original=original: (line.cut(), original(*args))[1])
            code, said = run()
        assert (code, "MLflow: the store stopped answering" in said) == (1, True), (name, said)
        assert "Run the job again when the store is back" in said
    fitted = ledger(home, "away")
    line.join()
    assert run() == (0, "None")
    assert ledger(home, "away") == fitted
    store = MlflowClient(uri)
    assert runs_of(store) == {"away": "FINISHED", "none": "FINISHED"}
    assert [str(found.version) for found in store.search_model_versions("name = 'resume'")] == ["1"]
    assert str(store.get_model_version_by_alias("resume", "champion").version) == "1"
