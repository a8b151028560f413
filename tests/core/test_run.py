"""Runs and steps: done once, verified when read, refused under another config."""

import shutil
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from imbalance_spark.core.errors import DataContractError, PinDamagedError, RunConflictError
from imbalance_spark.core.files import Folder
from imbalance_spark.core.run import Run, count_fingerprint


def open_run(spark: SparkSession, path: Path, config_hash: str = "c1") -> Run:
    return Run.open(spark, str(path), "r1", config_hash, {"version": 3})


def test_a_step_is_done_once(spark: SparkSession, tmp_path: Path) -> None:
    builds = []
    for _ in range(2):
        run = open_run(spark, tmp_path)
        table = run.table("orders", lambda: (builds.append(1), spark.range(10))[1])
        document = run.document("counts", lambda: (builds.append(2), {"n": 10})[1])
    assert builds == [1, 2]
    assert (table.count(), document) == (10, {"n": 10})


def test_a_table_that_no_entry_of_the_log_vouches_for_is_written_again(spark: SparkSession, tmp_path: Path) -> None:
    open_run(spark, tmp_path).table("orders", lambda: spark.range(10))
    (tmp_path / "r1/ledger/orders.json").unlink()
    run = open_run(spark, tmp_path)
    assert run.table("orders", lambda: spark.range(7)).count() == run.pin("orders").rows == 7


def test_files_that_another_process_leaves_beside_a_table_are_no_part_of_it(
    spark: SparkSession, tmp_path: Path
) -> None:
    run = open_run(spark, tmp_path)
    run.table("orders", lambda: spark.range(10))
    spark.range(5).write.mode("append").parquet(run.pin("orders").path)
    assert open_run(spark, tmp_path).table("orders", lambda: spark.range(10)).count() == 10


def test_a_process_that_lost_the_run_writes_no_table(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = open_run(spark, tmp_path)

    def lost(folder: Folder, run_id: str) -> None:
        raise RunConflictError(f"{run_id}: taken over")

    monkeypatch.setattr("imbalance_spark.core.run.require_lock", lost)
    with pytest.raises(RunConflictError, match="taken over"):
        run.table("orders", lambda: pytest.fail("must not be built"))
    assert not (tmp_path / "r1/tables").exists()


@pytest.mark.parametrize("folder", ["plain", "with space, [1] {a,b} *.% ?#", "\u00fc\u4e2d"])
def test_a_table_is_read_from_a_folder_of_any_name(spark: SparkSession, tmp_path: Path, folder: str) -> None:
    rows = spark.range(20).selectExpr("id", "id % 3 AS `a b, [c]`")
    run = open_run(spark, tmp_path / folder)
    for step, parts in (("whole", ()), ("parts", ("a b, [c]",))):
        found = run.table(step, lambda: rows, partition_by=parts)
        assert sorted(found.select("id", "`a b, [c]`").collect()) == sorted(rows.collect())
        assert (run.pin(step).rows, run.pin(step).fingerprint) == count_fingerprint(rows)


def test_a_filter_on_the_columns_that_part_a_table_reads_no_other_files(spark: SparkSession, tmp_path: Path) -> None:
    found = open_run(spark, tmp_path).table("rows", lambda: spark.range(9).selectExpr("id", "id % 3 AS part"),
                                            partition_by=("part",))  # fmt: skip
    assert "PartitionFilters: [isnotnull(part" in found.where("part = 1")._jdf.queryExecution().toString()
    assert found.where("part = 1").count() == 3


@pytest.mark.parametrize("parts", [(), ("part",)])
def test_a_table_without_rows_has_its_columns(spark: SparkSession, tmp_path: Path, parts: tuple[str, ...]) -> None:
    run = open_run(spark, tmp_path)
    empty = spark.range(5).selectExpr("id", "1 AS part").limit(0)
    found = run.table("rows", lambda: empty, partition_by=parts)
    assert (found.dtypes, found.count(), run.pin("rows").rows) == (empty.dtypes, 0, 0)


def test_a_table_with_maps_is_a_step_as_any_other(spark: SparkSession, tmp_path: Path) -> None:
    maps = spark.range(3).selectExpr("id", "map('a', id) counts", "array(map(id, 1)) nested")
    assert open_run(spark, tmp_path).table("orders", lambda: maps).count() == 3
    other = maps.selectExpr("id", "map('a', id + 1) counts", "nested")
    assert count_fingerprint(other) != count_fingerprint(maps) == count_fingerprint(maps)


def test_another_config_under_the_same_run_id_is_refused(spark: SparkSession, tmp_path: Path) -> None:
    open_run(spark, tmp_path)
    with pytest.raises(RunConflictError, match=r"'c1'.*'c2'"):
        open_run(spark, tmp_path, "c2")


def test_a_table_that_is_gone_or_another_one_is_noticed(spark: SparkSession, tmp_path: Path) -> None:
    run = open_run(spark, tmp_path)
    run.table("orders", lambda: spark.range(10).coalesce(1))
    table = tmp_path / "r1/tables/orders"
    for left in (lambda: None, lambda: spark.range(10).write.parquet(str(table))):
        shutil.rmtree(table, ignore_errors=True)
        left()
        with pytest.raises(PinDamagedError, match="'orders': 1 of its 1 files are lost"):
            open_run(spark, tmp_path).table("orders", lambda: spark.range(10))


def test_a_table_with_a_file_lost_or_cut_is_noticed_before_it_is_read(spark: SparkSession, tmp_path: Path) -> None:
    run = open_run(spark, tmp_path)
    run.table("orders", lambda: spark.range(10).repartition(2))
    file = next((tmp_path / "r1/tables/orders").glob("*.parquet"))
    for damage in (lambda: file.write_bytes(file.read_bytes()[:-1]), file.unlink):
        damage()
        with pytest.raises(PinDamagedError, match="'orders': 1 of its 2 files are lost or cut short"):
            open_run(spark, tmp_path).table("orders", lambda: spark.range(10))


def test_a_table_that_an_earlier_version_noted_is_refused_in_words(spark: SparkSession, tmp_path: Path) -> None:
    run = open_run(spark, tmp_path)
    run.table("orders", lambda: spark.range(10))
    noted = run.folder.read_json("ledger/orders.json")
    noted["output"] = {"step": "orders", "path": "p", "version": 0, "rows": 10, "fingerprint": 1, "table_id": "t"}
    del noted["output_sha256"]
    run.folder.write_json("ledger/orders.json", noted)
    with pytest.raises(DataContractError, match=r"step 'orders'.*Start a new run_id"):
        open_run(spark, tmp_path).table("orders", lambda: spark.range(10))


def test_fingerprint_does_not_depend_on_order_but_on_rows(spark: SparkSession) -> None:
    rows = spark.range(1000)
    assert count_fingerprint(rows) == count_fingerprint(rows.orderBy(rows.id.desc()).repartition(7))
    assert count_fingerprint(rows) != count_fingerprint(spark.range(1, 1001))


def test_files_are_whole_and_replaceable(spark: SparkSession, tmp_path: Path) -> None:
    folder = Folder(spark, str(tmp_path / "f"))
    folder.write_bytes("a.bin", bytes(range(256)))
    folder.write_bytes("a.bin", b"\x00\xff" * 3)
    assert folder.read_bytes("a.bin") == b"\x00\xff" * 3
    assert [p.name for p in (tmp_path / "f").iterdir() if not p.name.endswith(".crc")] == ["a.bin"]


def test_listing_hash_changes_with_a_file(spark: SparkSession, tmp_path: Path) -> None:
    (tmp_path / "a").write_text("1")
    folder = Folder(spark, str(tmp_path))
    before = folder.listing_hash()
    assert before == folder.listing_hash()
    (tmp_path / "b").write_text("2")
    assert folder.listing_hash() != before


def test_a_part_has_steps_of_its_own_under_the_lock_of_the_run(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, asked = open_run(spark, tmp_path), []
    monkeypatch.setattr("imbalance_spark.core.run.require_lock", lambda folder, _: asked.append(folder.path))
    run.part("repeat_2").part("fold_0").record("sums", 1)
    assert asked == [run.folder.path]
    assert (tmp_path / "r1/repeat_2/fold_0/ledger/sums.json").exists()
    assert not run.is_done("sums")
