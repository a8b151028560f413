"""What is said of a store that cannot be used: the truth, and what to do."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from mlflow.entities import Metric
from mlflow.tracking import MlflowClient
from support.mlflow_store import new_store

from imbalance_spark.core.errors import ConfigError
from imbalance_spark.core.spark_errors import describe
from imbalance_spark.tracking.config import TrackingConfig
from imbalance_spark.tracking.runs import connect
from imbalance_spark.tracking.store import refuse_absent_file, store_alone


def test_a_deleted_experiment_is_not_a_store_that_does_not_answer(tmp_path: Path) -> None:
    config = TrackingConfig(uri=new_store(tmp_path), experiment="deleted")
    MlflowClient(config.uri).delete_experiment(connect(config))
    with pytest.raises(ConfigError, match=r"tracking\.experiment: MLflow refuses 'deleted': it was deleted"):
        connect(config)


@pytest.mark.parametrize("uri", ["sqlite:///{}/mlflow.db?timeout=30", "sqlite+pysqlite:///{}/mlflow.db"])
def test_settings_of_a_connection_are_no_part_of_its_file(tmp_path: Path, uri: str) -> None:
    address = uri.format(tmp_path)
    with pytest.raises(ConfigError, match=r"there is no file '[^?]*mlflow\.db'"):
        refuse_absent_file(address)
    new_store(tmp_path)
    refuse_absent_file(address)
    with store_alone(address):
        pass
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mlflow.db", "mlflow.db.lock"]
    refuse_absent_file("https://mlflow.internal")


def test_a_full_disk_is_that_of_the_file_that_could_not_be_written() -> None:
    code, line = describe(OSError(28, "No space left on device", "/artifacts/model.ubj"))
    assert (code, line) == (1, 'OSError: No space left on device ("/artifacts/model.ubj").')
    assert "that Spark writes to" in describe(RuntimeError("java.io.IOException: No space left on device"))[1]


@contextmanager
def busy_store(failures: int) -> Iterator[tuple[str, list[tuple[str, bytes]]]]:
    """A store that answers the first calls with 503, though it did what they asked for, and later ones with success."""
    calls = list[tuple[str, bytes]]()

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            path = urlsplit(self.path).path
            calls.append((path, self.rfile.read(int(self.headers.get("Content-Length", 0)))))
            is_busy = len(calls) <= failures
            experiment = {"experiment_id": "7", "name": "e", "lifecycle_stage": "active", "artifact_location": "a"}
            content = json.dumps({} if path.endswith("log-batch") else {"experiment": experiment}).encode()
            self.send_response(503 if is_busy else 200)
            self.send_header("Content-Length", str(0 if is_busy else len(content)))
            self.end_headers()
            self.wfile.write(b"" if is_busy else content)

        do_GET = do_POST = answer  # noqa: N815  # the server's names

        def log_message(self, *_: object) -> None:
            """Nothing is printed."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", calls
    finally:
        server.shutdown()
        server.server_close()


def test_a_store_that_answers_503_is_asked_again_within_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_BACKOFF_JITTER", "0")
    with busy_store(failures=1) as (uri, calls):
        assert connect(TrackingConfig(uri=uri, experiment="e")) == "7"
        assert len(calls) >= 2
    with busy_store(failures=1000) as (uri, calls):
        started = time.monotonic()
        with pytest.raises(ConfigError, match=r"tracking\.uri: the MLflow store does not answer"):
            connect(TrackingConfig(uri=uri, experiment="e"))
        assert time.monotonic() - started < 30
        assert len(calls) <= 6


def test_metrics_that_are_sent_again_after_a_503_are_there_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_BACKOFF_JITTER", "0")
    metrics = [Metric("loss", 0.5, 1_700_000_000_000, 3)]
    with busy_store(failures=1) as (uri, calls):
        MlflowClient(uri).log_batch("run", metrics)
    sent = [body for path, body in calls if path.endswith("log-batch")]
    assert len(sent) == 2
    assert sent[0] == sent[1]
    # The same call twice is what a store then has seen; metrics are known by name, time, step and value.
    client = MlflowClient(new_store(tmp_path))
    run_id = client.create_run(client.create_experiment("e")).info.run_id
    for _ in range(2):
        client.log_batch(run_id, metrics)
    assert [metric.step for metric in client.get_metric_history(run_id, "loss")] == [3]
