"""Orders whose numbers no model can read: the score job sets them aside, or ends where they are too many."""

import shutil
from pathlib import Path

import pytest
from delta.tables import DeltaTable
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from support.orders_to_score import as_table, orders
from support.scoring_store import arguments, ending, in_memory, printed, table

from jobs import score


def with_amounts(table: DataFrame, amounts: dict[int, float]) -> DataFrame:
    """The orders, some with another amount."""
    amount = F.col("amount")
    for order, value in amounts.items():
        amount = F.when(F.col("order_id") == order, value).otherwise(amount)
    return table.withColumn("amount", amount)


def test_numbers_that_no_model_can_read_are_set_aside_once_with_their_reasons(
    spark: SparkSession, scoring_home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken, output = tmp_path / "broken", tmp_path / "scored"
    inf, nan = float("inf"), float("nan")
    table_in = with_amounts(as_table(spark, orders()), {3: inf, 4: -inf, 5: 1e300, 6: nan, 7: 1e38})
    table_in.write.format("delta").save(str(broken))
    argv = [*arguments(scoring_home, output), "--input", str(broken), "--max-quarantined", "0.02"]
    assert score.main(argv) == 0
    first = printed(capsys)
    assert (first["rows"], first["quarantined"]) == (197, {"infinite_feature": 2, "feature_beyond_float32": 1})
    assert first["quarantine"] == f"{output}_quarantined"

    aside = table(spark, Path(f"{output}_quarantined"))
    assert aside.columns == [*table_in.columns, "reasons", "model_version", "scored_at"]
    why = {row["order_id"]: (row["reasons"], row["model_version"]) for row in aside.collect()}
    assert why == {
        3: (["infinite_feature"], "1"), 4: (["infinite_feature"], "1"), 5: (["feature_beyond_float32"], "1")
    }  # fmt: skip
    scored = {row["order_id"]: row["probability"] for row in table(spark, output).collect()}
    assert set(scored) == set(range(200)) - {3, 4, 5}
    sound = orders()
    sound.loc[6, "amount"], sound.loc[7, "amount"] = None, 1e38
    expected = in_memory(scoring_home, sound)["probability"]
    assert {order: scored[order] for order in (6, 7, 8)} == {order: expected[order] for order in (6, 7, 8)}

    # As after a kill between the two writes: the rows that were set aside are there, those scored are not.
    shutil.rmtree(output)
    assert score.main(argv) == 0
    assert score.main(argv) == 0
    assert printed(capsys) == {**first, "is_new": False}
    assert (table(spark, Path(f"{output}_quarantined")).count(), table(spark, output).count()) == (3, 197)


@pytest.mark.parametrize(
    ("amounts", "limit", "said"),
    [
        ({3: float("inf")}, "0.04", "1 of 20 rows break a rule (infinite_feature 1; 20 rows), above --max-quarantined"),
        (dict.fromkeys(range(20), 1e300), "1", "every row breaks a rule (feature_beyond_float32 20; 20 rows)"),
    ],
)
def test_too_many_such_numbers_end_with_code_3_and_nothing_is_written(
    spark: SparkSession,
    scoring_home: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    amounts: dict[int, float],
    limit: str,
    said: str,
) -> None:
    broken, output = tmp_path / "broken", tmp_path / "scored"
    with_amounts(as_table(spark, orders(20)), amounts).write.format("delta").save(str(broken))
    assert score.main([*arguments(scoring_home, output), "--input", str(broken), "--max-quarantined", limit]) == 3
    assert said in ending(capsys, 3)
    assert not DeltaTable.isDeltaTable(spark, str(output))
    assert not Path(f"{output}_quarantined").exists()


def test_a_share_beyond_1_is_a_usage_error(scoring_home: Path, tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as ended:
        score.main([*arguments(scoring_home, tmp_path / "scored"), "--max-quarantined", "2"])
    assert ended.value.code == 2
