"""The Databricks bundle: what its jobs name is there, and its settings are those that Databricks knows."""

import json
import os
import re
import shutil
import subprocess
import zipfile
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest
import yaml
from databricks.bundles.jobs import Job
from jsonschema import Draft202012Validator

from imbalance_spark.config.run import RunConfig
from imbalance_spark.config.yaml_file import load_config
from jobs import score

ROOT = Path(__file__).resolve().parents[2]
SCHEMA = "DATABRICKS_BUNDLE_SCHEMA"
"""Names a file that `databricks bundle schema` printed, where that command itself is not there."""

BUNDLE: dict[str, Any] = yaml.safe_load((ROOT / "databricks.yml").read_text("utf-8"))
JOBS: dict[str, Any] = BUNDLE["resources"]["jobs"]
TASKS = [(f"{job}.{task['task_key']}", task) for job, settings in JOBS.items() for task in settings["tasks"]]
WHEEL_TASKS = [(name, task["python_wheel_task"]) for name, task in TASKS if "python_wheel_task" in task]
NOTEBOOK_TASKS = [(name, task["notebook_task"]) for name, task in TASKS if "notebook_task" in task]

jobs = pytest.mark.parametrize("job", JOBS.values(), ids=JOBS)
wheel_tasks = pytest.mark.parametrize("task", [task for _, task in WHEEL_TASKS], ids=[name for name, _ in WHEEL_TASKS])
notebook_tasks = pytest.mark.parametrize(
    "task", [task for _, task in NOTEBOOK_TASKS], ids=[name for name, _ in NOTEBOOK_TASKS]
)


def filled_in(text: str) -> str:
    """A setting with the defaults of the bundle's variables, and this folder as the workspace's."""
    text = text.replace("${workspace.file_path}", str(ROOT))
    return re.sub(r"\$\{var\.(\w+)\}", lambda found: str(BUNDLE["variables"][found[1]]["default"]), text)


@jobs
def test_databricks_own_classes_take_each_job(job: dict[str, Any]) -> None:
    # They know every setting, its type and its words: an unknown one raises.
    assert set(Job.from_dict(job).as_dict()) == set(job)


def test_databricks_own_classes_refuse_what_they_do_not_know() -> None:
    with pytest.raises(ValueError, match="Unexpected field 'tasks_'"):
        Job.from_dict({**JOBS["train"], "tasks_": []})
    with pytest.raises(TypeError, match="timezone_id"):
        Job.from_dict({**JOBS["train"], "schedule": {"quartz_cron_expression": "0 0 3 ? * MON"}})


def test_the_bundle_is_valid_by_the_schema_of_the_command_line_tool() -> None:
    broken = json.loads(json.dumps(BUNDLE))
    broken["resources"]["jobs"]["train"]["tasks"][0]["python_wheel_task"]["entry_pont"] = "x"
    validator = Draft202012Validator(_schema())
    assert [error.message for error in validator.iter_errors(BUNDLE)] == []
    assert not validator.is_valid(broken)


def _schema() -> Any:
    if SCHEMA in os.environ:
        text = Path(os.environ[SCHEMA]).read_text("utf-8")
    elif shutil.which("databricks"):
        text = subprocess.run(["databricks", "bundle", "schema"], capture_output=True, text=True, check=True).stdout
    else:
        pytest.skip(f"needs the databricks command, or {SCHEMA} with the file that `databricks bundle schema` prints")
    # Python's patterns have no classes of Unicode; the bundle's names are plain.
    return json.loads(text.replace(r"[\\p{L}\\p{N}]", "[a-zA-Z0-9]").replace(r"\\p{L}", "[a-zA-Z]"))


@jobs
def test_a_job_runs_on_a_schedule_with_a_time_zone(job: dict[str, Any]) -> None:
    assert len(job["schedule"]["quartz_cron_expression"].split()) in (6, 7)
    assert job["schedule"]["timezone_id"] == "UTC"
    assert job["max_concurrent_runs"] == 1


@jobs
def test_a_job_runs_on_fixed_dedicated_workers_with_a_runtime_for_machine_learning(job: dict[str, Any]) -> None:
    [cluster] = (one["new_cluster"] for one in job["job_clusters"])
    assert "autoscale" not in cluster
    assert int(filled_in(cluster["num_workers"])) >= 1
    assert cluster["data_security_mode"] in ("SINGLE_USER", "DATA_SECURITY_MODE_DEDICATED")
    assert re.fullmatch(r"\d+\.[\dx]+(\.x)?-cpu-ml-scala2\.13", filled_in(cluster["spark_version"]))


@jobs
def test_tasks_follow_tasks_and_share_the_jobs_cluster(job: dict[str, Any]) -> None:
    before: set[str] = set()
    for task in job["tasks"]:
        assert {one["task_key"] for one in task.get("depends_on", [])} <= before
        assert task["job_cluster_key"] == job["job_clusters"][0]["job_cluster_key"]
        assert task["libraries"] == [{"whl": "dist/*.whl"}]
        before.add(task["task_key"])


@wheel_tasks
def test_a_wheel_task_calls_a_command_of_the_package(task: dict[str, Any]) -> None:
    [found] = entry_points(group="console_scripts", name=task["entry_point"])
    assert (found.value.split(":")[1], task["package_name"]) == ("main", "imbalance_spark")
    assert (ROOT / (found.value.split(":")[0].replace(".", "/") + ".py")).is_file()


@wheel_tasks
def test_the_parameters_of_a_wheel_task_are_understood(task: dict[str, Any]) -> None:
    given = [filled_in(one) for one in task["parameters"]]
    assert "${" not in " ".join(given)
    if task["entry_point"] == "imbalance-score":
        args = score.parse_args(given)
        assert (args.model, args.tracking_uri) == ("models:/main.default.orders_fraud@champion", "databricks")
        return
    assert given[::2] == ["--config", *["--set"] * (len(given) // 2 - 1)]
    config = load_config(given[1], RunConfig, given[3::2])
    assert config.output == "/Volumes/main/default/imbalance_spark/runs"
    # Each machine has a core at least.
    assert config.training.num_workers <= int(filled_in("${var.workers}"))


@notebook_tasks
def test_a_notebook_is_there_and_has_the_widgets_that_the_task_sets(task: dict[str, Any]) -> None:
    source = (ROOT / task["notebook_path"]).read_text("utf-8")
    assert source.startswith("# Databricks notebook source")
    widgets = re.findall(r'dbutils\.widgets\.\w+\("(\w+)"', source)
    assert set(task["base_parameters"]) <= set(widgets)
    assert "${" not in " ".join(filled_in(value) for value in task["base_parameters"].values())


def test_the_config_names_tables_and_a_model_of_unity_catalog() -> None:
    config = load_config(str(ROOT / "conf/databricks.yaml"), RunConfig)
    assert (config.tracking.uri, config.spark.master) == ("databricks", None)
    assert config.orders.source.format == "delta"
    for name in (config.orders.source.table, config.tracking.registered_model):
        assert len((name or "").split(".")) == 3
    assert config.tracking.experiment.startswith("/")


def test_the_wheel_leaves_spark_to_the_runtime(tmp_path: Path) -> None:
    build = BUNDLE["artifacts"]["package"]["build"]
    assert build.startswith("IMBALANCE_SPARK_WHEEL=databricks python3 -m pip wheel ")
    source = tmp_path / "source"
    source.mkdir()
    for name in ("setup.py", "pyproject.toml", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for name in ("imbalance_spark", "jobs"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    command = build.replace("python3", f"{os.sys.executable}") + " --no-build-isolation"
    subprocess.run(command, shell=True, cwd=source, check=True, capture_output=True)
    [wheel] = (source / "dist").glob("*.whl")
    with zipfile.ZipFile(wheel) as opened:
        [metadata] = (name for name in opened.namelist() if name.endswith("METADATA"))
        asked = re.findall(r"^Requires-Dist: ([\w-]+)[^;\n]*$", opened.read(metadata).decode(), re.MULTILINE)
        names = set(opened.namelist())
    assert {"jobs/train.py", "imbalance_spark/py.typed", "imbalance_spark/cli/proven_versions.txt"} <= names
    assert asked == ["xgboost", "mlflow", "pydantic", "PyYAML", "jinja2", "matplotlib"]
