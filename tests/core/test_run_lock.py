"""Processes that start on one run at the same moment: one of them works, the others are refused."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from imbalance_spark.core import run_lock
from imbalance_spark.core.errors import RunConflictError
from imbalance_spark.core.files import Folder
from imbalance_spark.core.run_lock import LOCK, claim, locks_released

HOST = run_lock.own_mark().split(":")[0]


@pytest.fixture(scope="module")
def marks() -> Iterator[list[str]]:
    """Of three processes that live."""
    command = [sys.executable, "-c", "import sys; sys.stdin.read()"]
    living = [subprocess.Popen(command, stdin=subprocess.PIPE) for _ in range(3)]
    yield [f"{HOST}:{each.pid}:{run_lock._start_of(each.pid)}" for each in living]
    for each in living:
        each.communicate()


@pytest.mark.parametrize("left_over", [None, f"{HOST}:999999999:1"])
def test_of_three_that_start_together_one_gets_the_run(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, marks: list[str], left_over: str | None
) -> None:
    own, start = threading.local(), threading.Barrier(3)
    monkeypatch.setattr(run_lock, "own_mark", lambda: own.mark)
    monkeypatch.setattr(run_lock, "_held", {})
    folder = Folder(spark, str(tmp_path))
    if left_over is not None:
        folder.create(LOCK, left_over.encode())
    ends: dict[str, str] = {}

    def run(mark: str) -> None:
        own.mark = mark
        start.wait()
        try:
            claim(folder, "r1")
            ends[mark] = "works"
        except RunConflictError as refused:
            ends[mark] = str(refused)

    threads = [threading.Thread(target=run, args=(mark,)) for mark in marks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(ends) == set(marks)
    [winner] = [mark for mark in marks if ends[mark] == "works"]
    assert run_lock._holder(folder) == winner
    assert all("another process works on it" in ends[mark] for mark in marks if mark != winner)


def test_a_lock_that_vanishes_while_it_is_read_is_taken(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, create = Folder(spark, str(tmp_path)), Folder.create
    monkeypatch.setattr(run_lock, "_held", {})
    answers = iter([False])

    def refused_once(folder: Folder, name: str, content: bytes) -> bool:
        return next(answers, True) and create(folder, name, content)

    monkeypatch.setattr(Folder, "create", refused_once)
    claim(folder, "r1")
    assert folder.read_bytes(LOCK).decode() == run_lock.own_mark()


def test_a_lock_that_is_not_signed_yet_is_respected(spark: SparkSession, tmp_path: Path) -> None:
    folder = Folder(spark, str(tmp_path))
    folder.create(LOCK, b"")
    with pytest.raises(RunConflictError, match=r"has not signed its lock yet.*delete"):
        claim(folder, "r1")


def test_a_lock_that_was_taken_over_is_respected_and_all_of_it_is_released(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, marks: list[str]
) -> None:
    folder, held = Folder(spark, str(tmp_path)), dict[str, object]()
    monkeypatch.setattr(run_lock, "_held", held)
    folder.create(LOCK, f"{HOST}:999999999:1".encode())
    with locks_released():
        claim(folder, "r1")
        claim(folder, "r1")
        own = run_lock.own_mark()
        with monkeypatch.context() as other:
            other.setattr(run_lock, "own_mark", lambda: marks[0])
            with pytest.raises(RunConflictError, match=own):
                claim(folder, "r1")
    assert folder.names() == []
