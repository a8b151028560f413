"""Which rows a champion is compared on, and what becomes of one that cannot be compared."""

from collections.abc import Callable
from types import SimpleNamespace

import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from support.made_up_comparison import comparison_of

from imbalance_spark.comparison import champion, gate
from imbalance_spark.comparison.champion import compare_with_champion, unseen_rows
from imbalance_spark.comparison.compare import Comparison
from imbalance_spark.config.run import GateConfig
from imbalance_spark.core.errors import DataContractError, MissingColumnsError
from imbalance_spark.orders.config import OrdersConfig
from imbalance_spark.orders.labels import LabelEncoding
from imbalance_spark.orders.model_inputs import CategoryEncoding, model_inputs
from imbalance_spark.split import SplitPlan, fit_split
from imbalance_spark.threshold import MinCost
from imbalance_spark.threshold.order_costs import OrderRule
from imbalance_spark.tracking.registry import RegisteredVersion

CHAMPION = RegisteredVersion(name="orders", version="3", run_id="r", model_id="m", bundle_sha256=None)


@pytest.fixture(scope="module")
def orders(spark: SparkSession) -> DataFrame:
    return spark.range(3000).select(
        F.col("id").alias("order_id"),
        (F.col("id") % 300).alias("customer"),
        F.timestamp_seconds(F.col("id") * 3600).alias("at"),
        (F.col("id") % 20 == 0).cast("int").alias("class_number"),
    )


SPLITS = {"key": {}, "group": {"group": "customer"}, "time": {"time": "at", "gap_days": 2.0}}


@pytest.mark.parametrize("settings", SPLITS.values(), ids=SPLITS)
def test_unseen_rows_are_those_outside_the_champions_train(orders: DataFrame, settings: dict[str, object]) -> None:
    plan = fit_split(orders, key="order_id", label="class_number", seed=5, **settings)
    read_back = SplitPlan.from_dict(plan.to_dict())
    found = plan.assign(orders).withColumn("is_unseen", unseen_rows(orders, read_back))
    counts = {(r["split"], r["is_unseen"]): r["count"] for r in found.groupBy("split", "is_unseen").count().collect()}
    train = sum(plan.counts["train"].values())
    assert {split for split, is_unseen in counts if not is_unseen} == {"train"}
    assert counts["train", False] == train
    assert sum(n for (_, is_unseen), n in counts.items() if is_unseen) == 3000 - train


def test_a_split_that_needs_an_absent_column_is_not_guessed(orders: DataFrame) -> None:
    plan = fit_split(orders, key="order_id", label="class_number", seed=5, group="customer")
    with pytest.raises(MissingColumnsError, match="the champion's split: the input has no column"):
        unseen_rows(orders.drop("customer"), plan)


@pytest.mark.parametrize(
    ("trained", "said"),
    [
        (
            ["train"],
            r"its split put nearly all of these validation rows into its train: 0 of 'yes' .* split\.seed \(7\)",
        ),
        (["train", "validation"], r"it was cross-fitted, .*: 0 of 'yes' .* Compare it on newer orders"),
    ],
)
def test_a_champion_that_has_seen_all_rows_is_refused_with_the_reason(
    monkeypatch: pytest.MonkeyPatch, trained: list[str], said: str
) -> None:
    inputs = SimpleNamespace(columns=[])
    prepared = SimpleNamespace(classes=("no", "yes"), orders=None, inputs=inputs)
    asked = SimpleNamespace(prepared=prepared, config=SimpleNamespace(orders=SimpleNamespace(amount=None)))
    bundle = SimpleNamespace(classes=("no", "yes"), numeric=(), categorical=(), rule_of=lambda _: None)
    pair = champion._Pair(comparison=asked, version=CHAMPION, bundle=bundle)
    counts = {"0": {"rows": 900, "unseen": 50}, "1": {"rows": 90, "unseen": 0}}
    plan = SimpleNamespace(rules=SimpleNamespace(seed=7, columns=()))
    vars(pair).update(_counts=counts, _plan=plan, _record={champion.TRAINED: trained})
    for name in ("check_features", "unseen_rows"):
        monkeypatch.setattr(champion, name, lambda *_: "a column")
    with pytest.raises(DataContractError, match=said):
        pair.check()


def test_a_champion_of_unknown_split_is_compared_as_served_and_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    found, former = comparison_of({"none": 0.3}), comparison_of({"none": 2.5}).best
    bundle = SimpleNamespace(
        classes=("no", "1"), numeric=(), categorical=(), categories=None,
        probabilities=former.calibration.calibrator.apply, threshold=former.rules[found.serving].threshold,
        model_bytes=b"", correction=None, calibrator=former.calibration.calibrator,
        rule_of=lambda _: former.rules[found.serving],
    )  # fmt: skip
    stored = SimpleNamespace(columns=[], select=lambda *_: None)
    vars(found.prepared).update(orders=None, inputs=stored, passed_columns=())
    vars(found.prepared.run)["document"] = lambda step, build: build()
    vars(found.config)["orders"] = SimpleNamespace(numeric=(), categorical=(), features=(), amount=None)
    for name, result in {
        "bundle_of_version": bundle, "split_record_of": None, "check_features": None,
        "count_served": former.held_out,
    }.items():  # fmt: skip
        monkeypatch.setattr(champion, name, lambda *_, result=result, **__: result)
    compared = compare_with_champion(found, CHAMPION)
    served = former.curves["validation"][0].at(bundle.threshold).cost(fn=10, fp=1)
    assert compared.gain.value == pytest.approx(served - found.best.metrics["validation/cost"])
    assert compared.gain.low > 0.0
    assert compared.margin == pytest.approx(0.01 * served)
    assert "The split of orders/3 is unknown" in compared.rows
    assert "it may have been trained on some of these rows" in compared.rows
    monkeypatch.setattr(champion, "bundle_of_version", lambda _: SimpleNamespace(**vars(bundle) | {"classes": "ab"}))
    with pytest.raises(DataContractError, match="it knows the classes"):
        compare_with_champion(found, CHAMPION)
    by_order = OrderRule(costs=MinCost(fn="amount", fp=1).costs, column="price", threshold=0.5)
    by_price = SimpleNamespace(**vars(bundle) | {"rule_of": lambda _: by_order})
    monkeypatch.setattr(champion, "bundle_of_version", lambda _: by_price)
    with pytest.raises(DataContractError, match=r"it decides by the amount in 'price', and orders\.amount is None"):
        compare_with_champion(found, CHAMPION)


def test_a_champion_reads_the_same_from_what_is_stored_as_from_the_orders(
    spark: SparkSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(champion, "split_record_of", lambda _: None)
    rows = [(1, 0.5, 1.0, "b", "p", "no"), (2, None, 2.0, "new", None, "yes"), (3, 3.5, None, "a", "q", "no")]
    names = "id long, amount double, km double, country string, channel string, fraud string"
    split = spark.createDataFrame(rows, names).withColumn("split", F.lit("validation"))
    roles = {"label": "fraud", "key": ("id",), "amount": "amount"}
    own = OrdersConfig(numeric=("km", "amount"), categorical=("channel", "country"), **roles)
    label = LabelEncoding(classes=("no", "yes"))
    ours = CategoryEncoding(values={"country": ("a", "b"), "channel": ("p", "q")})
    stored = model_inputs(split, own, label, ours, keep=("id", "split"), with_values=True)
    prepared = SimpleNamespace(orders=split, inputs=stored, passed_columns=("id", "split"),
                               report=SimpleNamespace(label=label))  # fmt: skip
    comparison = SimpleNamespace(prepared=prepared, config=SimpleNamespace(orders=own))
    pair = champion._Pair(comparison, CHAMPION, SimpleNamespace())
    theirs = CategoryEncoding(values={"country": ("new", "b", "c")})
    asked = (("amount",), ("country",), theirs)
    found = pair._inputs(*asked)
    prepared.inputs = stored.drop("x_0")  # reading these would fail
    pair.comparison.config.orders = own.model_copy(update={"numeric": ("km",)})
    assert pair._inputs(*asked).orderBy("id").select(found.columns).collect() == found.orderBy("id").collect()
    assert [row["x_1"] for row in found.orderBy("id").collect()] == [1.0, 0.0, 3.0]


@pytest.fixture
def incomparable(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Comparison]:
    def fails(*_: object) -> None:
        raise DataContractError("it knows the classes ['a', 'b'].")

    monkeypatch.setattr(gate, "champion_of", lambda _: CHAMPION)
    monkeypatch.setattr(gate, "has_identity", lambda *_: False)
    monkeypatch.setattr(gate, "compare_with_champion", fails)

    def comparison(asked: str) -> Comparison:
        found = comparison_of({"none": 0.5}, gate=GateConfig(incomparable=asked))
        vars(found.config)["tracking"] = SimpleNamespace(registered_model="orders")
        return found

    return comparison


@pytest.mark.parametrize(("asked", "outcome", "is_problem"), [
    ("fail", "keep", True), ("keep", "keep", False), ("replace", "promote", False),
])  # fmt: skip
def test_a_champion_that_cannot_be_compared_is_a_problem_with_a_way_out(
    incomparable: Callable[[str], Comparison], asked: str, outcome: str, is_problem: bool
) -> None:
    found = gate.decide_promotion(incomparable(asked))
    assert (found.outcome, found.against, found.problem is not None) == (outcome, "3", is_problem)
    assert "orders/3 cannot be compared on these rows: it knows the classes" in found.reasons[0]
    assert "gate.incomparable" in found.reasons[1]
    if found.problem is not None:
        assert "set gate.incomparable: replace for one run" in found.problem
