"""Models in the store: logged once, registered under the hash of what was logged, refused once changed."""

import contextlib
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import mlflow
import pytest
from mlflow.models import Model
from mlflow.tracking import MlflowClient
from support.mlflow_store import new_store
from support.orders_to_score import bundle

from imbalance_spark.core.errors import DataContractError
from imbalance_spark.tracking.config import TrackingConfig
from imbalance_spark.tracking.models import BUNDLE_SHA256, load_bundle, log_bundle, register_version
from imbalance_spark.tracking.registry import load_registered_model
from imbalance_spark.tracking.runs import connect, log_orders_input, strategy_identity, tracked_run

IDENTITY = strategy_identity("r1", "none")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models")


@pytest.fixture
def experiment(home: Path, request: pytest.FixtureRequest) -> Iterator[str]:
    """Of its own for each test; another one is MLflow's active experiment."""
    with contextlib.chdir(home):  # MLflow puts a new experiment's artifacts below it
        found = connect(TrackingConfig(uri=new_store(home), experiment=request.node.name))
        mlflow.set_experiment("another")
        yield found


def status_of(run_id: str) -> str:
    return str(MlflowClient().get_run(run_id).info.status)


def test_a_run_stays_running_until_its_job_ends_it(experiment: str, home: Path) -> None:
    with tracked_run(experiment, "none", IDENTITY) as run_id:
        log_orders_input(run_id, "orders", f"{home}/orders", 3)
        assert status_of(run_id) == "RUNNING"
        with tracked_run(experiment, "none", IDENTITY) as same:
            uri = log_bundle(same, bundle(3))
        assert (same, status_of(run_id)) == (run_id, "RUNNING")
    assert status_of(run_id) == "FINISHED"
    run = MlflowClient().get_run(run_id)
    [read] = run.inputs.dataset_inputs
    assert (json.loads(read.dataset.source)["delta_table_version"], read.tags[0].value) == (3, "training")
    model = MlflowClient().get_logged_model(uri.removeprefix("models:/"))
    assert (model.experiment_id, model.source_run_id, str(model.status)) == (experiment, run_id, "READY")


def test_of_a_job_that_was_killed_while_it_uploaded_one_model_is_left(
    experiment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dies(*args: object, **kwargs: object) -> None:
        original(*args, **kwargs)
        raise KeyboardInterrupt

    def work() -> str:
        with tracked_run(experiment, "none", IDENTITY) as run_id:
            runs.append(run_id)
            return log_bundle(run_id, bundle(3))

    original, runs = Model.log, list[str]()
    monkeypatch.setattr(Model, "log", dies)
    with pytest.raises(KeyboardInterrupt):
        work()
    monkeypatch.undo()
    assert status_of(runs[0]) == "KILLED"
    uri = work()
    assert work() == uri
    assert set(runs) == {runs[0]}
    assert [f"models:/{left.model_id}" for left in MlflowClient().search_logged_models([experiment])] == [uri]


def test_a_bundle_that_was_changed_together_with_its_manifest_is_refused(experiment: str, home: Path) -> None:
    with tracked_run(experiment, "none", IDENTITY) as run_id:
        uri = log_bundle(run_id, bundle(3))
    version = register_version("orders", uri, {"more": "tags"})
    assert MlflowClient().get_model_version("orders", version).tags == {
        BUNDLE_SHA256: bundle(3).sha256,
        "more": "tags",
    }
    model_id = uri.removeprefix("models:/")
    [part] = [file for file in home.rglob("threshold.json") if model_id in str(file)]
    changed = part.read_bytes().replace(b"0.2", b"0.3")
    assert changed != part.read_bytes()
    part.write_bytes(changed)
    manifest = json.loads((part.parent / "manifest.json").read_text("utf-8"))
    manifest["threshold.json"] = hashlib.sha256(changed).hexdigest()
    (part.parent / "manifest.json").write_text(json.dumps(manifest), "utf-8")
    with pytest.raises(DataContractError, match="changed together with its manifest"):
        load_registered_model(new_store(home), f"models:/orders/{version}")
    # One that an earlier version of the package registered has no hash to compare with.
    assert load_bundle(model_id, None).strategy == bundle(3).strategy


def test_a_version_that_was_registered_without_a_hash_loads(experiment: str, home: Path) -> None:
    with tracked_run(experiment, "none", IDENTITY) as run_id:
        uri = log_bundle(run_id, bundle(3))
    version = register_version("earlier", uri, {})
    MlflowClient().delete_model_version_tag("earlier", version, BUNDLE_SHA256)
    loaded = load_registered_model(new_store(home), f"models:/earlier/{version}")
    assert (loaded.bundle_sha256, loaded.bundle.sha256) == (None, bundle(3).sha256)
