"""The options that jobs share, and what stands in the status file when a job ends."""

import json
import os
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path

import pytest

from imbalance_spark.cli.arguments import add_shared, parser, run_configured, run_unconfigured
from jobs import diagnose, doctor, generate_orders, monitor, report, retune, score, train


@pytest.fixture(autouse=True)
def umask() -> Iterator[None]:
    before = os.umask(0o077)
    yield
    os.umask(before)


@pytest.mark.parametrize("job", [diagnose, doctor, generate_orders, monitor, report, retune, score, train])
def test_every_job_has_the_shared_options_and_its_own_name(job: object, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        job.main(["--help"])
    text = capsys.readouterr().out
    assert ended.value.code == 0
    assert f"usage: jobs/{job.__name__.removeprefix('jobs.')}.py" in text
    assert {"--json", "--verbose"} <= set(text.replace("[", " ").replace("]", " ").split())


def test_a_shared_option_may_differ_in_one_job() -> None:
    made = parser("doctor", "", shared=("--set",))
    add_shared(made, "--config", required=False)
    assert vars(made.parse_args([])) == {"set": [], "json": False, "verbose": False, "config": None}
    with pytest.raises(SystemExit):
        parser("train", "").parse_args([])


def test_a_job_without_a_config_leaves_its_status_in_each_local_output(tmp_path: Path) -> None:
    outputs = [f"{tmp_path}/a", f"file://{tmp_path}/b", "s3a://bucket/c"]
    assert run_unconfigured("score", Namespace(verbose=False), lambda: 0, lambda: outputs) == 0
    expected = {"job": "score", "state": "done", "exit_code": 0, "error": None}
    assert [json.loads((tmp_path / name / "status.json").read_text()) for name in "ab"] == [expected, expected]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]


def test_a_wrong_config_leaves_its_status_in_the_output_that_it_names(tmp_path: Path) -> None:
    config = tmp_path / "conf.yaml"
    config.write_text(f"output: {tmp_path}/output\nlabels: no such key\n", "utf-8")
    args = Namespace(config=str(config), set=[], verbose=False)
    assert run_configured("train", args, lambda _: 0) == 2
    status = json.loads((tmp_path / "output/status.json").read_text("utf-8"))
    assert (status["state"], status["exit_code"]) == ("failed", 2)
