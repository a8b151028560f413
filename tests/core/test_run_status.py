"""What a run's folder says of it: how it stands, and which entries of its step log cannot be believed."""

import dataclasses
import json
from pathlib import Path
from typing import cast

import pytest
from pyspark.sql import SparkSession

from imbalance_spark.core import run_lock
from imbalance_spark.core.errors import DataContractError, PinDamagedError
from imbalance_spark.core.files import Folder
from imbalance_spark.core.run import Run
from imbalance_spark.core.run_lock import LOCK, Owner, locks_released
from imbalance_spark.core.run_status import settle_status, write_status


@pytest.fixture(autouse=True)
def no_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_lock, "_SETTLE_S", 0.0)


def open_run(output: Path) -> Run:
    return Run.open(cast("SparkSession", None), f"file:{output}", "r1", "c1", {"version": 3})


def status(output: Path) -> tuple[str, str | None]:
    found = json.loads((output / "r1/status.json").read_text("utf-8"))
    return found["state"], found["error"]


def test_a_run_says_how_it_stands_and_how_it_ended(tmp_path: Path) -> None:
    for ended_by, state in ((None, "done"), (DataContractError("no label"), "failed"), (SystemExit(1), "killed")):
        try:
            with locks_released():
                open_run(tmp_path)
                assert status(tmp_path) == ("running", None)
                if ended_by is not None:
                    raise ended_by
        except (DataContractError, SystemExit):
            pass
        assert status(tmp_path)[0] == state
    assert "stopped" in (status(tmp_path)[1] or "")


def test_what_a_block_of_the_run_says_of_its_end_stands(tmp_path: Path) -> None:
    def work() -> None:
        with locks_released():
            with open_run(tmp_path).ending():
                pass
            raise DataContractError("later")

    with pytest.raises(DataContractError, match="later"):
        work()
    assert status(tmp_path) == ("done", None)


def test_a_status_that_cannot_be_written_does_not_end_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with locks_released():
        run = open_run(tmp_path)
        with monkeypatch.context() as patch:
            patch.setattr(Folder, "write_json", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left")))
            with run.ending():
                pass
    assert "status.json does not say 'done'" in caplog.text


def test_a_run_whose_process_was_lost_is_settled_as_killed(tmp_path: Path) -> None:
    folder = Folder(cast("SparkSession", None), f"file:{tmp_path}/r1")
    write_status(folder, "r1", "running")
    assert settle_status(folder, "r1") == "running"  # nobody knows of its process
    folder.create(LOCK, Owner.current().mark.encode())
    assert settle_status(folder, "r1") == "running"
    folder.delete(LOCK)
    folder.create(LOCK, dataclasses.replace(Owner.current(), pid=999_999_999).mark.encode())
    assert settle_status(folder, "r1") == "killed"
    write_status(folder, "r1", "done")
    assert settle_status(folder, "r1") == "done"


def test_a_damaged_entry_of_the_step_log_is_named_and_its_step_done_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with locks_released():
        run = open_run(tmp_path)
        output = {"rows": 12, "share": 0.1, "names": ["a", "b"]}
        run.record("counts", output)
        file = tmp_path / "r1/ledger/counts.json"
        whole = file.read_bytes()
        changed = whole.replace(b"12", b"13")
        for damaged in [*(whole[:length] for length in range(0, len(whole), 64)), b"[]", b"{}", b"\xff", changed]:
            file.write_bytes(damaged)
            assert not run.is_done("counts")
            with pytest.raises(PinDamagedError, match="'counts' was lost or damaged"):
                run.read_document("counts")
            assert run.document("counts", lambda: output) == output
            assert file.read_bytes() == whole
    assert "ledger/counts.json is damaged" in caplog.text


def test_an_entry_of_an_earlier_version_without_a_hash_is_read(tmp_path: Path) -> None:
    with locks_released():
        run = open_run(tmp_path)
        run.folder.write_json("ledger/counts.json", {"step": "counts", "output": {"rows": 12}})
        assert run.read_document("counts") == {"rows": 12}


def test_a_run_that_no_longer_says_to_which_config_it_belongs_is_refused(tmp_path: Path) -> None:
    with locks_released():
        open_run(tmp_path)
    (tmp_path / "r1/run.json").write_text('{"run": "r1", "conf', "utf-8")
    with pytest.raises(PinDamagedError, match=r"run\.json.*is damaged"), locks_released():
        open_run(tmp_path)
