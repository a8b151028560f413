"""Files by path: Hadoop's client and a mounted volume give the same."""

from pathlib import Path
from typing import cast

import pytest
from pyspark.sql import SparkSession

from imbalance_spark.core import files as core_files
from imbalance_spark.core.files import Files, Folder, _LocalFiles, _MountedFiles, files_of
from imbalance_spark.core.run import Run
from imbalance_spark.orders.config import SourceConfig
from imbalance_spark.orders.read import read_orders


@pytest.fixture
def volume(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that stands for a mounted volume."""
    monkeypatch.setattr(core_files, "VOLUMES", str(tmp_path))
    return tmp_path


@pytest.fixture(params=[Files, _LocalFiles, _MountedFiles])
def files(request: pytest.FixtureRequest, spark: SparkSession) -> Files:
    kind: type[Files] = request.param
    return kind(spark)


def test_a_file_is_written_read_replaced_and_removed(files: Files, tmp_path: Path) -> None:
    path, other = f"{tmp_path}/new folder/a.bin", f"{tmp_path}/new folder/b.bin"
    assert (files.exists(path), files.size(path), files.names(f"{tmp_path}/new folder")) == (False, None, [])
    files.write(path, bytes(range(256)))
    files.write(other, b"\x00\xff")
    assert (files.exists(path), files.size(path), files.size(str(tmp_path))) == (True, 256, None)
    files.replace(path, other)
    assert (files.exists(path), files.read(other)) == (False, bytes(range(256)))
    files.delete(other)
    files.delete(other)
    assert not files.exists(other)
    with pytest.raises(FileNotFoundError, match=r"b\.bin"):
        files.read(other)


def test_only_one_process_creates_a_file(files: Files, tmp_path: Path) -> None:
    assert files.create(f"{tmp_path}/locks/run.lock", b"one")
    assert not files.create(f"{tmp_path}/locks/run.lock", b"two")
    assert files.read(f"{tmp_path}/locks/run.lock") == b"one"


def test_all_files_below_a_folder_are_listed_with_size_and_time(files: Files, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    for name, text in (("a/one", "1"), ("two", "22")):
        (tmp_path / name).write_text(text, "utf-8")
    found = {Path(path.removeprefix("file:")): (size, time) for path, size, time in files.below(str(tmp_path))}
    expected = {
        path: (path.stat().st_size, path.stat().st_mtime_ns // 1_000_000)
        for path in (tmp_path / "a/one", tmp_path / "two")
    }
    assert found == expected
    assert sorted(files.names(str(tmp_path))) == ["a", "two"]


@pytest.mark.parametrize("kind", [_LocalFiles, _MountedFiles])
def test_a_file_that_goes_while_others_are_listed_is_left_out(
    spark: SparkSession, tmp_path: Path, kind: type[Files]
) -> None:
    (tmp_path / "gone").symlink_to(tmp_path / "nowhere")
    (tmp_path / "there").write_text("1", "utf-8")
    assert [Path(path).name for path, _, _ in kind(spark).below(str(tmp_path))] == ["there"]


def test_a_path_of_a_mounted_volume_is_one_of_plain_files(spark: SparkSession, volume: Path) -> None:
    for path in (str(volume), f"{volume}/catalog/runs", f"dbfs:{volume}/catalog"):
        assert isinstance(files_of(spark, path), _MountedFiles)
    for path in (f"{volume}2", "output/runs", "/elsewhere", "file:///elsewhere"):
        assert type(files_of(spark, path)) is _LocalFiles
    assert type(files_of(spark, "s3a://bucket/key")) is Files


def test_volumes_that_are_not_mounted_are_no_plain_files_of_a_volume(spark: SparkSession) -> None:
    assert type(files_of(spark, "/Volumes/main/default/runs")) is _LocalFiles


def test_a_local_file_that_hadoop_wrote_is_replaced_together_with_its_checksum(
    spark: SparkSession, tmp_path: Path
) -> None:
    path = f"{tmp_path}/status.json"
    Files(spark).write(path, b"before")
    _LocalFiles(spark).write(path, b"now")
    assert Files(spark).read(path) == b"now"
    Files(spark).write(path, b"before")
    _LocalFiles(spark).delete(path)
    assert list(tmp_path.iterdir()) == []


def test_a_local_file_by_its_uri_needs_no_jvm(spark: SparkSession, tmp_path: Path) -> None:
    without_spark = cast("SparkSession", None)
    for address in (f"file:{tmp_path}", f"file://{tmp_path}"):
        folder = Folder(without_spark, address)
        folder.write_bytes("a b.json", address.encode())
        assert Folder(spark, str(tmp_path)).read_bytes("a b.json") == folder.read_bytes("a b.json") == address.encode()


def test_a_run_in_a_volume_keeps_its_tables_and_goes_on(spark: SparkSession, volume: Path) -> None:
    for attempt in range(2):
        run = Run.open(spark, f"{volume}/runs", "r1", "hash", {"table": "t"})
        assert run.is_done("orders") is (attempt == 1)
        assert run.table("orders", lambda: spark.range(10)).count() == 10
    assert run.pin("orders").path == f"{volume}/runs/r1/tables/orders"
    assert run.folder.read_json("run.json")["config_hash"] == "hash"


def test_orders_in_a_volume_are_read_at_their_version(spark: SparkSession, volume: Path) -> None:
    spark.range(10).write.format("delta").save(f"{volume}/orders")
    orders = read_orders(spark, SourceConfig(path=f"{volume}/orders"))
    assert (orders.version, orders.frame.count()) == (0, 10)


def test_a_folder_that_changes_has_another_hash(spark: SparkSession, volume: Path) -> None:
    folder = Folder(spark, str(volume))
    folder.write_bytes("a", b"1")
    before = folder.listing_hash()
    assert folder.listing_hash() == before
    folder.write_bytes("b", b"2")
    assert folder.listing_hash() != before
