"""The Databricks notebooks, one after the other as a person would run them, on few generated orders."""

import io
from dataclasses import dataclass
from pathlib import Path

import pytest
from matplotlib.image import imread
from mlflow.tracking import MlflowClient
from pyspark.sql import SparkSession
from pyspark.sql import functions as F
from support.mlflow_store import new_store
from support.notebook_runner import Ran, run

pytestmark = pytest.mark.pictures

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
MODEL = "main.default.orders_fraud"
MISS, ALARM = 25.0, 1.0
ROWS = 6000


@dataclass(frozen=True)
class Session:
    home: Path
    store: str
    understood: Ran
    compared: Ran
    chosen: Ran
    scored: Ran
    monitored: Ran

    @property
    def notebooks(self) -> list[Ran]:
        return [self.understood, self.compared, self.chosen, self.scored, self.monitored]


@pytest.fixture(scope="module")
def session(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Session:
    home = tmp_path_factory.mktemp("notebooks")
    store = new_store(home)
    # Else MLflow puts artifacts where the notebooks are.
    for name in ("orders", "monitor"):
        MlflowClient(store).create_experiment(name, artifact_location=f"{home}/artifacts/{name}")
    few = {"rows": str(ROWS), "prevalence": "0.12"}
    orders = {**few, "output": str(home)}
    fits = {"strategies": "none, class_weight", "rounds": "12", "experiment": "orders"}
    costs = {"miss_cost": str(MISS), "alarm_cost": str(ALARM), "register": "yes"}

    def ran(name: str, given: dict[str, str]) -> Ran:
        return run(NOTEBOOKS / f"{name}.py", spark, given)

    return Session(
        home=home,
        store=store,
        understood=ran("01_understand_the_imbalance", few),
        compared=ran("02_compare_strategies", {**orders, **fits, "tracking_uri": store}),
        chosen=ran("03_choose_and_change_a_threshold", {**costs, "tracking_uri": store}),
        scored=ran("04_score", {**orders, "rows": "3000", "tracking_uri": store}),
        monitored=ran("05_monitor", {"output": str(home), "tracking_uri": store, "experiment": "monitor"}),
    )


def test_every_notebook_explains_itself_and_shows_pictures_and_tables(session: Session) -> None:
    assert [(len(ran.figures), len(ran.tables)) for ran in session.notebooks] == [
        (5, 7),
        (8, 2),
        (3, 3),
        (4, 2),
        (1, 2),
    ]
    for ran in session.notebooks:
        assert ran.markdown[0].startswith("# ")
        assert all(len(table) for table in ran.tables)
        for figure in ran.figures:
            drawn = io.BytesIO()
            figure.savefig(drawn, format="png", dpi=40)
            drawn.seek(0)
            assert imread(drawn)[..., :3].std() > 0.05, "an empty picture"


def test_the_first_one_counts_every_order(session: Session) -> None:
    folds, orders = session.understood.tables[0].set_index("fold"), session.understood.names["orders"]
    counted = {row["is_fraud"]: row["count"] for row in orders.groupBy("is_fraud").count().collect()}
    for number in (0, 1):
        assert folds.loc["all", f"class {number}"] == counted[number]
        assert folds.drop("all")[f"class {number}"].sum() == counted[number]
    assert session.understood.tables[1]["orders"].sum() == ROWS


def test_the_second_one_compares_in_mlflow_and_shows_the_report(session: Session) -> None:
    client = MlflowClient(session.store)
    runs = client.search_runs([client.get_experiment_by_name("orders").experiment_id])
    assert {run.info.status for run in runs} == {"FINISHED"}
    scores = {run.data.params.get("strategy"): run.data.metrics.get("validation/average_precision") for run in runs}
    table, by_sql = session.compared.tables
    assert set(table["strategy"]) == {"none", "class_weight", "majority class"}
    assert all(scores[row["strategy"]] == row["AP val"] for _, row in table.head(2).iterrows())
    assert table["AP val"][0] >= table["AP val"][1]
    curves = session.compared.names["curves"]
    right = curves[(curves.fold == "test") & (curves.precision >= 0.5)].groupby("params.strategy").recall.max()
    assert dict(zip(by_sql["strategy"], by_sql["recall"], strict=True)) == right.to_dict()
    [page] = session.compared.pages
    assert "The answer" in page


def test_the_third_one_chooses_the_closed_form_and_registers_it(session: Session) -> None:
    chosen = session.chosen.names["chosen"]
    assert chosen.threshold == pytest.approx(ALARM / (ALARM + MISS))
    assert chosen.value == MISS * chosen.matrix.fn + ALARM * chosen.matrix.fp
    rows = [session.chosen.names["logged"].documents["counts.json"][half] for half in ("calibrate", "choose")]
    positives, negatives = (sum(sum(half[name]) for half in rows) for name in ("positives", "negatives"))
    assert (chosen.matrix.tp + chosen.matrix.fn, chosen.matrix.fp + chosen.matrix.tn) == (positives, negatives)
    client = MlflowClient(session.store)
    champion = client.get_model_version_by_alias(MODEL, "champion")
    assert (str(champion.version), champion.tags["source_version"]) == ("2", f"{MODEL}/1")
    assert float(champion.tags["threshold"]) == chosen.threshold


def test_the_fourth_one_scores_each_new_order_once(session: Session, spark: SparkSession) -> None:
    scored = spark.read.format("delta").load(f"{session.home}/scored")
    threshold = session.chosen.names["chosen"].threshold
    is_right = (F.col("decision") == (F.col("probability") >= threshold).cast("int")) & (F.col("model_version") == "2")
    sums = (F.count("*"), F.countDistinct("order_id"), F.sum(is_right.cast("int")), F.sum("decision"))
    *counted, alerts = scored.agg(*sums).first()
    assert counted == [3000, 3000, 3000]
    per_day, promise = session.scored.tables
    assert (per_day["orders"].sum(), per_day["alerts"].sum()) == (3000, alerts)
    assert promise["flagged"][1] == alerts / 3000


def test_the_fourth_one_adds_nothing_for_the_same_orders_by_their_table_name(
    session: Session, spark: SparkSession
) -> None:
    spark.sql(f"CREATE TABLE new_orders USING delta LOCATION '{session.home}/new_orders_3000_0.12'")
    given = {"orders_table": "new_orders", "output": str(session.home), "tracking_uri": session.store}
    again = run(NOTEBOOKS / "04_score.py", spark, given)
    spark.sql("DROP TABLE new_orders")
    assert not again.names["written"].is_new
    assert spark.read.format("delta").load(f"{session.home}/scored").count() == 3000


def test_the_fifth_one_expects_what_the_labels_of_the_days_before_say(session: Session, spark: SparkSession) -> None:
    scored = spark.read.format("delta").load(f"{session.home}/scored").toPandas()
    age = (scored["ordered_at"].max().normalize() - scored["ordered_at"].dt.normalize()).dt.days
    served = session.monitored.names["report"].served
    assert (served.version, served.orders) == ("2", (age < 7).sum())
    assert served.unmoved["positives"].value == pytest.approx(scored.loc[age < 7, "probability"].sum())
    found = scored.loc[(age >= 7) & (age < 14), "is_fraud"].sum()
    assert served.labelled.found["positives"] == found
    low, high = (getattr(served.labelled.unmoved["positives"], end) for end in ("low", "high"))
    assert low <= found <= high
    [page] = session.monitored.pages
    assert "Performance without labels" in page
    client = MlflowClient(session.store)
    [run] = client.search_runs([client.get_experiment_by_name("monitor").experiment_id])
    assert run.data.metrics["version_2/orders"] == served.orders
