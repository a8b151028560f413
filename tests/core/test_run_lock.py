"""Leases: of processes that start on one run together one works, and the lock of a lost one is taken over."""

import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest
from pyspark.sql import SparkSession
from support.forks import ROOT

from imbalance_spark.core import run_lock
from imbalance_spark.core.errors import RunConflictError
from imbalance_spark.core.files import Folder
from imbalance_spark.core.run_lock import LOCK, Owner, claim, is_gone, locks_released, require_lock

GONE = replace(Owner.current(), pid=999_999_999, start="1", token="gone")
ELSEWHERE = replace(Owner.current(), host="other", scope="other", token="elsewhere")

HOLD = """
import sys, time
from imbalance_spark.core import run_lock
from imbalance_spark.core.errors import RunConflictError
from imbalance_spark.core.files import Folder

clock = time.time
time.time = lambda: clock() + 60 * float(sys.argv[2])  # minutes off
run_lock._BEAT_S, run_lock._LOST_AFTER_S = 0.1, 1.0
with run_lock.locks_released():
    try:
        run_lock.claim(Folder(None, f"file:{sys.argv[1]}"), "r1")
    except RunConflictError as refused:
        sys.exit(str(refused))
    print("held", flush=True)
    sys.stdin.read()
"""

RACES = """
import multiprocessing, os, sys
from imbalance_spark.core import run_lock
from imbalance_spark.core.errors import RunConflictError
from imbalance_spark.core.files import Folder

run_lock._SETTLE_S = 0.0

def run(barrier, won):
    for race in range(200):
        folder = Folder(None, f"file:{sys.argv[1]}/{race}")
        barrier.wait()
        with run_lock.locks_released():
            try:
                run_lock.claim(folder, "r1")
                with won.get_lock():
                    won[race] += 1
            except RunConflictError:
                pass
            barrier.wait()  # the winner holds the run until all have tried

for race in range(1, 200, 2):
    Folder(None, f"file:{sys.argv[1]}/{race}").create(run_lock.LOCK, sys.argv[2].encode())
processes = multiprocessing.get_context("fork")
barrier, won = processes.Barrier(3), processes.Array("i", 200)
racers = [processes.Process(target=run, args=(barrier, won)) for _ in range(3)]
for racer in racers:
    racer.start()
for racer in racers:
    racer.join()
print(list(won) == [1] * 200)
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Folder:
    """Of a run, reached without Spark; a holder that nobody can see is lost after a second."""
    monkeypatch.setattr(run_lock, "_held", {})
    monkeypatch.setattr(run_lock, "_SETTLE_S", 0.05)
    monkeypatch.setattr(run_lock, "_BEAT_S", 0.1)
    monkeypatch.setattr(run_lock, "_LOST_AFTER_S", 1.0)
    return Folder(cast("SparkSession", None), f"file:{tmp_path}/run")


@pytest.fixture
def living() -> Iterator[list[Owner]]:
    """Three processes that live."""
    command = [sys.executable, "-c", "import sys; sys.stdin.read()"]
    started = [subprocess.Popen(command, stdin=subprocess.PIPE) for _ in range(3)]
    yield [replace(Owner.current(), pid=each.pid, start=run_lock._start_of(each.pid), token="") for each in started]
    for each in started:
        each.communicate()


def as_process(patch: pytest.MonkeyPatch, owner: Owner) -> None:
    patch.setattr(Owner, "current", lambda: owner)


def start_holder(folder: Folder, *, minutes: int = 0, unshared: str | None = None) -> "subprocess.Popen[str]":
    own_space = [] if unshared is None else ["unshare", *unshared.split(), "--kill-child", "--fork"]
    command = [*own_space, sys.executable, "-c", HOLD, folder.path.removeprefix("file:"), str(minutes)]
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip


def holds(holder: "subprocess.Popen[str]") -> bool:
    assert holder.stdout
    return holder.stdout.readline() == "held\n"


def end(holder: "subprocess.Popen[str]") -> str:
    holder.kill()
    return holder.communicate()[1]


def test_in_200_races_of_three_processes_one_gets_the_run(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", RACES, str(tmp_path), GONE.mark],
        env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert ended.stdout == "True\n", ended.stderr[-2000:]


@pytest.mark.parametrize(
    "left_over", [None, GONE.mark, ELSEWHERE.mark, "", "host:12:34"], ids=["none", "gone", "elsewhere", "empty", "old"]
)
def test_a_run_that_nobody_renews_is_taken(folder: Folder, left_over: str | None) -> None:
    if left_over is not None:
        folder.create(LOCK, left_over.encode())
    with locks_released():
        claim(folder, "r1")
        claim(folder, "r1")
        require_lock(folder, "r1")
        assert run_lock._chain(folder)[-1][1] == Owner.current().mark
    assert list(Path(folder.path.removeprefix("file:")).iterdir()) == []


def test_a_living_holder_is_named_and_keeps_the_run(
    folder: Folder, monkeypatch: pytest.MonkeyPatch, living: list[Owner]
) -> None:
    folder.create(LOCK, GONE.mark.encode())
    with locks_released(), monkeypatch.context() as patch:
        as_process(patch, living[0])
        claim(folder, "r1")  # takes over from the dead one, whom no message names any more
        as_process(patch, living[1])
        with pytest.raises(RunConflictError, match=f"process {living[0].pid} on host"):
            claim(folder, "r1")
        as_process(patch, living[0])
        require_lock(folder, "r1")


def test_a_holder_out_of_sight_that_renews_its_lease_keeps_the_run(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    with locks_released():
        with monkeypatch.context() as patch:
            as_process(patch, ELSEWHERE)
            claim(folder, "r1")
        with pytest.raises(RunConflictError, match="on host 'other'"):
            claim(folder, "r1")


def test_a_lock_that_is_released_while_somebody_waits_for_it_is_taken(folder: Folder) -> None:
    folder.create(LOCK, ELSEWHERE.mark.encode())
    releasing = threading.Timer(0.2, folder.delete, (LOCK,))
    releasing.start()
    with locks_released():
        claim(folder, "r1")
        assert [name for name, _ in run_lock._chain(folder)] == [LOCK]
    releasing.join()


def test_who_lost_its_lease_neither_goes_on_nor_removes_the_lock(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    with locks_released():
        claim(folder, "r1")
        folder.create(run_lock._follower(Owner.current().mark), ELSEWHERE.mark.encode())
        with pytest.raises(RunConflictError, match="on host 'other'"):
            require_lock(folder, "r1")
    assert run_lock._chain(folder)[-1][1] == ELSEWHERE.mark


def test_only_a_process_in_sight_is_known_to_be_gone() -> None:
    assert is_gone(GONE.mark)
    reused = replace(Owner.current(), start="1")
    assert is_gone(reused.mark)
    assert not any(is_gone(mark) for mark in (Owner.current().mark, ELSEWHERE.mark, "host:999999999:1", ""))
    assert not is_gone(replace(GONE, scope="").mark)


def test_clocks_minutes_apart_change_nothing(folder: Folder) -> None:
    holder = start_holder(folder, minutes=-30)
    assert holds(holder)
    second = start_holder(folder, minutes=30)
    assert not holds(second)
    assert f"process {holder.pid} on host" in end(second)
    end(holder)
    third = start_holder(folder, minutes=30)
    assert holds(third)
    end(third)


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("unshare") is None, reason="needs root and unshare")
def test_a_holder_in_another_container_is_respected_and_taken_over_once_killed(folder: Folder) -> None:
    spaces = "--pid --net --mount-proc"  # the host name stays the same
    holder = start_holder(folder, unshared=spaces)
    assert holds(holder)
    for other in (None, spaces):
        second = start_holder(folder, unshared=other)
        assert not holds(second)
        assert "process 1 on host" in end(second)
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    for other in (None, spaces):
        third = start_holder(folder, unshared=other)
        assert holds(third)
        end(third)
