"""What the tests promise of themselves: sentences that fit a line, files that are told apart, groups that hold."""

import ast
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.running_order import LONGEST_FIRST, TESTS, group_of, rank_of

LONGEST_NAME = 79


def _names(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            yield node.name


def test_no_test_has_a_name_that_is_longer_than_a_sentence_should_be() -> None:
    names = [(file, name) for file in TESTS.rglob("test_*.py") for name in _names(file)]
    assert [f"{file.relative_to(TESTS)}: {name}" for file, name in names if len(name) > LONGEST_NAME] == []


def test_no_file_has_two_tests_of_one_name() -> None:
    for file in TESTS.rglob("test_*.py"):
        twice = [name for name, count in Counter(_names(file)).items() if count > 1]
        assert twice == [], file  # Python would keep the last one and run it alone


def test_no_two_files_share_a_name() -> None:
    names = Counter(file.name for file in TESTS.rglob("test_*.py"))
    assert [name for name, count in names.items() if count > 1] == []


@pytest.mark.parametrize("start", LONGEST_FIRST)
def test_what_is_to_run_first_is_there(start: str) -> None:
    assert (TESTS / start).exists()


def test_of_the_clusters_files_the_one_that_ends_a_node_runs_last() -> None:
    ranks = {file.name: rank_of(_node(file)) for file in (TESTS / "cluster").glob("test_*.py")}
    assert max(ranks, key=lambda name: ranks[name]) == "test_faults.py"
    assert len(set(ranks.values())) == len(ranks)
    assert {group_of(_node(TESTS / "cluster" / name)) for name in ranks} == {"cluster"}


def test_files_that_fork_jobs_on_a_warm_jvm_share_it() -> None:
    forking = [file for file in (TESTS / "jobs").glob("test_*.py") if "forked_jobs" in file.read_text("utf-8")]
    assert len(forking) > 1
    assert {group_of(_node(file)) for file in forking} == {"forks"}


def test_two_processes_share_the_tests_by_their_groups(tmp_path: Path) -> None:
    """Seen in pytest-xdist itself, which had once stopped to group without a word."""
    files = ("cluster/test_standalone.py", "cluster/test_faults.py", "core/test_many.py", "jobs/test_resume.py")
    for name in files:
        place = tmp_path / "tests" / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text("def test_a(): ...\ndef test_b(): ...\ndef test_c(): ...\n", "utf-8")
    command = [sys.executable, "-m", "pytest", "-n", "2", "-v", "-p", "support.running_order", "-p", "no:cacheprovider"]
    run = subprocess.run(
        [*command, "--rootdir", str(tmp_path), "tests"], cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(TESTS)},
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stdout
    ran = re.findall(r"^\[(gw\d)\].*PASSED tests/(\S+?)::", run.stdout, re.MULTILINE)
    assert len(ran) == 3 * len(files)
    assert len({process for process, name in ran if name.startswith("cluster/")}) == 1
    assert all(len({process for process, other in ran if other == name}) == 1 for name in files)


def _node(file: Path) -> str:
    return f"tests/{file.relative_to(TESTS).as_posix()}::test"
