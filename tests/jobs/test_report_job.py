"""The report job on a made-up comparison in a store of its own: the page again, and every way it may end."""

import contextlib
import json
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient
from support.made_up_comparison import ODD_NAME, comparison_of
from support.mlflow_store import new_store
from support.scoring_store import ending, printed

from imbalance_spark.comparison.report.figures import comparison_figures
from imbalance_spark.comparison.report.page import html_page, page_content
from imbalance_spark.metrics.plots import pngs
from imbalance_spark.tracking import runs
from imbalance_spark.tracking.config import TrackingConfig
from jobs import report


@pytest.fixture(scope="module")
def logged(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The store, a parent run and its strategy's run, one without a report, one with a damaged one, and the page."""
    home = tmp_path_factory.mktemp("report")
    comparison = comparison_of({"none": 1.0, ODD_NAME: 0.5})
    images = pngs(comparison_figures(comparison))
    texts = {"report.json": json.dumps(page_content(comparison, {}))}
    evidence = runs.Evidence(texts=texts, images={f"plots/{name}.png": image for name, image in images.items()})
    found = {"store": new_store(home), "page": html_page(comparison, images, {})}
    with contextlib.chdir(home):
        experiment = runs.connect(TrackingConfig(uri=found["store"], experiment="report"))
        with runs.tracked_run(experiment, "parent", runs.parent_identity("run")) as parent:
            runs.log_evidence(parent, evidence)
            with runs.tracked_run(experiment, "none", runs.strategy_identity("run", "none"), parent) as strategy:
                runs.log_evidence(strategy, runs.Evidence(metrics={"test/cost": 1.0}))
        with runs.tracked_run(experiment, "bare", runs.parent_identity("bare")) as bare:
            runs.log_evidence(bare, runs.Evidence(metrics={"test/cost": 1.0}))
        with runs.tracked_run(experiment, "cut off", runs.parent_identity("cut")) as damaged:
            runs.log_evidence(damaged, runs.Evidence(texts={"report.json": '{"layout": 1'}, images=evidence.images))
    return {**found, "parent": parent, "strategy": strategy, "bare": bare, "damaged": damaged}


def _run(logged: dict[str, str], run: str, output: Path, *more: str) -> int:
    return report.main(["--run", run, "--tracking-uri", logged["store"], "--output", str(output), *more])


@pytest.mark.parametrize("run", ["parent", "strategy"])
def test_the_page_is_that_of_the_job(
    logged: dict[str, str], tmp_path: Path, run: str, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "report.html"
    assert _run(logged, logged[run], output, "--json") == 0
    assert output.read_text("utf-8") == logged["page"]
    assert printed(capsys) == {"run": logged["parent"], "output": str(output), "bytes": output.stat().st_size}
    assert [file.name for file in tmp_path.iterdir()] == ["report.html"]


def test_nothing_is_added_to_the_run(logged: dict[str, str], tmp_path: Path) -> None:
    before = MlflowClient(logged["store"]).get_run(logged["parent"])
    assert _run(logged, logged["parent"], tmp_path / "report.html") == 0
    after = MlflowClient(logged["store"]).get_run(logged["parent"])
    assert (after.info.end_time, after.data.tags) == (before.info.end_time, before.data.tags)


@pytest.mark.parametrize(
    ("run", "code", "said"),
    [
        ("bare", 2, "it has no report.json to make a report of"),
        ("damaged", 3, "is no JSON object"),
        ("nobody", 2, "has no such run"),
    ],
)
def test_what_cannot_be_ends_with_one_line_and_its_code(
    logged: dict[str, str], tmp_path: Path, run: str, code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _run(logged, logged.get(run, run), tmp_path / "report.html") == code
    assert said in ending(capsys, code)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_does_not_exist_is_named(
    logged: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _run(logged, logged["parent"], tmp_path / "no" / "report.html") == 2
    assert "Name a file in a folder that exists" in ending(capsys, 2)
