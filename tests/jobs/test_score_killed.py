"""The score job killed around its write: each order is in the table once after all."""

import signal
from pathlib import Path

from pyspark.sql import SparkSession
from support.forks import Forks, die_in_a_write
from support.scoring_store import arguments, commits, table


def test_a_job_that_died_around_its_write_has_each_order_once_after_all(
    spark: SparkSession, scoring_home: Path, tmp_path: Path, forked_jobs: Forks
) -> None:
    output = tmp_path / "scored"
    argv = arguments(scoring_home, output)
    die_in_a_write("score", *argv, home=tmp_path, files="scored/*.parquet")
    for point in ("before write_batch", "after write_batch"):
        code, said = forked_jobs.run("score", *argv, kill_at=point)
        assert code == -signal.SIGKILL, said[-2000:]
    for _ in ("the rerun", "the same batch sent again"):
        code, said = forked_jobs.run("score", *argv)
        assert code == 0, said[-2000:]
        assert '"is_new": false' in said
    scored = table(spark, output)
    assert (scored.count(), scored.select("order_id").distinct().count()) == (200, 200)
    assert commits(spark, output) == 1
