"""The control sample: who is marked for review, with what propensity, and that nothing but the key decides it."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.testing import assertDataFrameEqual
from support.orders_to_score import as_table, bundle, orders

from imbalance_spark.core.errors import ConfigError, DataContractError, MissingColumnsError
from imbalance_spark.scoring.batch import plan_batch, score_batch
from imbalance_spark.scoring.control_sample import CONTROL_COLUMNS, ControlSample, mark_for_review
from imbalance_spark.scoring.scored_table import Batch, ScoredBatch

MODEL = bundle()
TENTH = ControlSample(share=0.1, key=("order_id",))


def _decided(spark: SparkSession, rows: int = 20_000) -> DataFrame:
    return spark.range(rows).selectExpr("id AS order_id", "int(id % 50 = 0) AS decision")


def _scored(spark: SparkSession, output: Path, state: str, control: ControlSample | None) -> ScoredBatch:
    return score_batch(
        as_table(spark, orders(40)), MODEL, Batch(location="orders", state=state, model="orders/1"),
        output=str(output), quarantine=f"{output}_quarantined", max_quarantined=0.0, model_version="1",
        scored_at=datetime(2026, 1, 1, tzinfo=UTC), control=control,
    )  # fmt: skip


def test_all_flagged_orders_and_a_share_of_the_others_are_for_review(spark: SparkSession) -> None:
    marked = mark_for_review(_decided(spark), TENTH)
    sums = [F.expr("collect_set(review_propensity) AS propensity"), F.expr("avg(int(for_review)) AS reviewed")]
    by_decision = marked.groupBy("decision").agg(*sums).collect()
    found = {row["decision"]: (row["propensity"], row["reviewed"]) for row in by_decision}
    assert found[1] == ([1.0], 1.0)
    assert found[0][0] == [0.1]
    # 19,600 draws: three standard errors are 0.0064.
    assert found[0][1] == pytest.approx(0.1, abs=0.0064)


def test_the_choice_depends_on_the_key_alone_and_a_smaller_share_is_a_subset(spark: SparkSession) -> None:
    decided = _decided(spark, 2_000)
    tenth = mark_for_review(decided, TENTH)
    assertDataFrameEqual(mark_for_review(decided.repartition(7), TENTH), tenth.coalesce(1))
    twentieth = mark_for_review(decided, ControlSample(share=0.05, key=("order_id",)))
    left_out = twentieth.where("for_review").join(tenth.where("for_review"), on="order_id", how="left_anti")
    assert left_out.count() == 0


@pytest.mark.parametrize("share", [0.0, -0.1, 1.5])
def test_a_share_out_of_range_is_refused_with_its_meaning(share: float) -> None:
    with pytest.raises(ConfigError, match=r"0\.01 reviews one in a hundred"):
        ControlSample(share=share, key=("order_id",))


def test_a_table_gets_the_columns_with_its_first_control_sample_and_keeps_them(
    spark: SparkSession, tmp_path: Path
) -> None:
    output = tmp_path / "scored"
    assert _scored(spark, output, "v1", None).is_new
    assert _scored(spark, output, "v2", TENTH).is_new
    table = spark.read.format("delta").load(str(output))
    assert {row[0]: row[1] for row in table.groupBy(F.col("for_review").isNull()).count().collect()} == {
        True: 40, False: 40,
    }  # fmt: skip
    with pytest.raises(DataContractError, match="for_review"):
        _scored(spark, output, "v3", None)


def test_what_cannot_be_drawn_by_is_refused_before_a_row_is_scored(spark: SparkSession, tmp_path: Path) -> None:
    output = tmp_path / "scored"
    for key, error in ((("amount",), DataContractError), (("invoice",), MissingColumnsError)):
        with pytest.raises(error, match="control sample: "):
            _scored(spark, output, "v1", ControlSample(share=0.1, key=key))
    taken = as_table(spark, orders(5)).withColumn("for_review", F.lit(True))
    with pytest.raises(DataContractError, match="for_review"):
        plan_batch(
            taken, MODEL, Batch(location="orders", state="v1", model="orders/1"), output=str(output),
            max_quarantined=0.0, model_version="1", control=TENTH,
        )  # fmt: skip
    assert not output.exists()


def test_the_plan_has_the_columns_of_the_control_sample(spark: SparkSession, tmp_path: Path) -> None:
    planned = plan_batch(
        as_table(spark, orders(5)), MODEL, Batch(location="orders", state="v1", model="orders/1"),
        output=str(tmp_path / "scored"), max_quarantined=0.0, model_version="1", control=TENTH,
    )  # fmt: skip
    assert set(CONTROL_COLUMNS) <= set(planned.columns)
