"""A disk that is full while a step of a run is written or shuffled: nothing is logged, and with space it is done."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from imbalance_spark.core.run import Run
from imbalance_spark.core.run_lock import locks_released
from imbalance_spark.core.spark_errors import describe

pytestmark = pytest.mark.skipif(os.geteuid() != 0 or shutil.which("mount") is None, reason="needs root, to mount")
ROWS = 400_000
"""Of eight bytes that do not compress: more than the disk below has."""


@contextmanager
def small_disk(place: Path) -> Iterator[Callable[[], object]]:
    """A file system of 1 MB at a folder; gives what frees space on it."""

    def mount(*options: str) -> None:
        subprocess.run(["mount", "-t", "tmpfs", *options, "tmpfs", str(place)], check=True)

    mount("-o", "size=1m")
    try:
        yield lambda: mount("-o", "remount,size=64m")
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


def where_tables_go(_: SparkSession, run: Path) -> Path:
    run.mkdir()
    return run


def where_shuffles_go(spark: SparkSession, _: Path) -> Path:
    manager = spark.sparkContext._jvm.org.apache.spark.SparkEnv.get().blockManager().diskBlockManager()
    [place] = manager.localDirsString()
    return Path(place)


def make_folders(place: Path) -> None:
    """Of blocks: Spark makes each of them once, and they would be hidden, or left out, below a mounted disk."""
    for number in range(64):
        (place / f"{number:02x}").mkdir(exist_ok=True)


@pytest.mark.parametrize("where", [where_tables_go, where_shuffles_go])
def test_a_step_that_found_the_disk_full_is_done_once_there_is_space(
    spark: SparkSession, tmp_path: Path, where: Callable[[SparkSession, Path], Path]
) -> None:
    def build() -> DataFrame:
        return spark.range(ROWS).select(F.xxhash64("id").alias("noise")).repartition(3, "noise")

    place = where(spark, tmp_path / "run")
    if where is where_shuffles_go:
        make_folders(place)
    with small_disk(place) as free_space, locks_released():
        if where is where_shuffles_go:
            make_folders(place)
        run = Run.open(spark, str(tmp_path), "run", "hash", {})
        with pytest.raises(Exception) as full:  # noqa: PT011  # whose kind is Spark's to choose
            run.table("noise", build)
        assert describe(full.value) == (
            1, "no space left on the disk that Spark writes to; free space or set spark.local.dir.",
        )  # fmt: skip
        assert not run.is_done("noise")
        free_space()
        run.table("noise", build)
        assert run.pin("noise").rows == ROWS
