"""The metrics that stop a fit, against scikit-learn on the same rows, with workers of one class."""

import math
import pickle

import numpy as np
import pytest
import xgboost
from pyspark.sql import DataFrame, SparkSession
from sklearn.metrics import average_precision_score, log_loss
from support.model_rows import FEATURES, as_spark, matrix, model_rows, start_of

from imbalance_spark.calibration import PriorCorrection
from imbalance_spark.core.errors import ConfigError, TrainingError
from imbalance_spark.scoring.boosters import load_booster, probabilities
from imbalance_spark.train_only.config import BoosterParams, TrainingConfig
from imbalance_spark.train_only.learners.layout import one_file_a_worker
from imbalance_spark.train_only.learners.losses import FocalLoss
from imbalance_spark.train_only.learners.stopping import MetricName, StoppingMetric, stopping_metric
from imbalance_spark.train_only.learners.xgboost import FittedBooster, fit_booster

COSTS = (10.0, 1.0)
METRICS: tuple[MetricName, ...] = ("log_loss", "average_precision", "expected_cost")
_BIN = 40.0 / 65_536


def metric(name: MetricName, **changes: object) -> StoppingMetric:
    settings = {"correction": PriorCorrection.identity(), "is_margin": True, "costs": COSTS, **changes}
    return StoppingMetric(name=name, **settings)


def value(name: MetricName, logit: np.ndarray, label: np.ndarray, weight: np.ndarray) -> float:
    """The same by scikit-learn, and the cost by trying every cut-off."""
    p = 1 / (1 + np.exp(-logit))
    if name == "log_loss":
        return float(log_loss(label, p, sample_weight=weight))
    if name == "average_precision":
        return float(average_precision_score(label, logit, sample_weight=weight))
    costs = [
        COSTS[0] * weight[(label == 1) & (logit < cut)].sum() + COSTS[1] * weight[(label == 0) & (logit >= cut)].sum()
        for cut in [*np.unique(logit), np.inf]
    ]
    return min(costs) / weight.sum()


@pytest.fixture
def rows() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    draw = np.random.default_rng(1)
    label = (draw.random(800) < 0.1).astype(float)
    # On the middle of a bin, so that the bins lose nothing; some rows tie, some lie beyond the last bin.
    logit = (np.round((draw.normal(label * 2.0 - 3.0, 1.5)) / _BIN / 500) * 500 + 0.5) * _BIN
    logit[:2] = [19.9997, -30.0]
    return logit, label, draw.integers(1, 4, 800).astype(float)


@pytest.mark.parametrize("name", METRICS)
def test_each_metric_is_that_of_scikit_learn(name: MetricName, rows: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    logit, label, weight = rows
    weighed = xgboost.DMatrix(np.zeros((len(label), 1)), label, weight=weight)
    assert metric(name)(logit, weighed) == (name, pytest.approx(value(name, logit, label, weight), rel=1e-9))
    plain = xgboost.DMatrix(np.zeros((len(label), 1)), label)
    expected = value(name, logit, label, np.ones(len(label)))
    assert metric(name)(logit, plain)[1] == pytest.approx(expected, rel=1e-9)
    again = pickle.loads(pickle.dumps(metric(name)))
    assert again(logit, plain)[1] == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("name", METRICS)
def test_probabilities_and_a_correction_give_the_metric_of_corrected_margins(
    name: MetricName, rows: tuple[np.ndarray, np.ndarray, np.ndarray]
) -> None:
    logit, label = rows[0][2:], rows[1][2:]  # scikit-learn clips the probabilities of the first two
    data = xgboost.DMatrix(np.zeros((len(label), 1)), label)
    focal = PriorCorrection(factors=(1.0, 1.0), gammas=(2.0, 2.0))
    found = metric(name, correction=focal)(logit, data)[1]
    assert found == pytest.approx(value(name, focal.logit(logit), label, np.ones(len(label))), rel=1e-3)
    score = (1 / (1 + np.exp(-logit))).astype(np.float32)
    assert metric(name, is_margin=False)(score, data)[1] == pytest.approx(metric(name)(logit, data)[1], rel=1e-3)


CLASS_COSTS = ((0.0, 1.0, 1.0), (5.0, 0.0, 2.0), (30.0, 20.0, 0.0))


def _of_three(name: MetricName, p: np.ndarray, label: np.ndarray, weight: np.ndarray) -> float:
    """The metric of three classes by scikit-learn, and the cost of what the matrix decides row by row."""
    if name == "log_loss":
        return float(log_loss(label, p, sample_weight=weight, labels=[0, 1, 2]))
    if name == "average_precision":
        return float(np.mean([average_precision_score(label == k, p[:, k], sample_weight=weight) for k in range(3)]))
    cheapest = [min(range(3), key=lambda j: sum(row[i] * CLASS_COSTS[i][j] for i in range(3))) for row in p]
    return float(np.average([CLASS_COSTS[k][j] for k, j in zip(label, cheapest, strict=True)], weights=weight))


@pytest.mark.parametrize("name", METRICS)
@pytest.mark.parametrize("is_margin", [True, False])
def test_each_metric_of_three_classes_is_that_of_scikit_learn(name: MetricName, is_margin: bool) -> None:
    draw = np.random.default_rng(3)
    label, weight = draw.choice(3, 600, p=[0.8, 0.15, 0.05]), draw.integers(1, 4, 600).astype(float)
    margins = (draw.normal(size=(600, 3)) + 2.0 * np.eye(3)[label]).astype(np.float32)
    correction = PriorCorrection(factors=(1.0, 3.0, 10.0), gammas=(1.0, 1.0, 2.0))
    data = xgboost.DMatrix(np.zeros((600, 1)), label, weight=weight)
    predicted = margins if is_margin else np.exp(PriorCorrection.identity(3).log_probabilities(margins))
    found = metric(name, correction=correction, is_margin=is_margin, costs=CLASS_COSTS)(predicted, data)
    expected = _of_three(name, np.exp(correction.log_probabilities(margins)), label, weight)
    # Average precision sees 21,845 bins a class, where rows may tie.
    assert found == (name, pytest.approx(expected, rel=5e-3 if name == "average_precision" else 1e-6))


def test_a_class_without_rows_is_left_out_of_the_mean_area() -> None:
    data = xgboost.DMatrix(np.zeros((3, 1)), [0.0, 1.0, 1.0])
    margins = np.array([[3.0, 0.0, 0.0], [0.0, 3.0, 0.0], [0.0, 2.0, 0.0]])
    assert metric("average_precision", correction=PriorCorrection.identity(3))(margins, data)[1] == pytest.approx(1.0)


def test_flagging_nobody_is_among_the_cut_offs() -> None:
    data = xgboost.DMatrix(np.zeros((3, 1)), [0.0, 0.0, 1.0])
    # Any cut-off that finds the positive flags both negatives: 2 alarms at 1 against a miss at 0.5.
    assert metric("expected_cost", costs=(0.5, 1.0))(np.array([2.0, 2.0, 1.0]), data)[1] == pytest.approx(0.5 / 3)


def test_one_class_has_no_average_precision() -> None:
    data = xgboost.DMatrix(np.zeros((2, 1)), [0.0, 0.0])
    assert math.isnan(metric("average_precision")(np.zeros(2), data)[1])


def test_expected_cost_needs_costs() -> None:
    for wrong in (None, CLASS_COSTS):
        with pytest.raises(ConfigError, match="early_stopping_metric: expected_cost needs the costs"):
            metric("expected_cost", costs=wrong)
    with pytest.raises(ConfigError, match="with 3 classes each decision for each true class"):
        metric("expected_cost", correction=PriorCorrection.identity(3))


@pytest.mark.parametrize("name", ["aucpr", "auc", "logloss"])
def test_a_loss_of_our_own_cannot_stop_by_a_metric_of_xgboosts(name: str) -> None:
    with pytest.raises(ConfigError, match=rf"early_stopping_metric: '{name}' is none of \['log_loss', "):
        stopping_metric(name, FocalLoss.focal().correction(), is_margin=True, costs=COSTS)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def one_class_a_worker(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> DataFrame:
    """Two files: all negatives in one, all positives in the other."""
    path = str(tmp_path_factory.mktemp("stopping") / "table")
    as_spark(spark, model_rows(2500, seed=6, intercept=-2.0)).repartitionByRange(2, "y").write.parquet(path)
    return spark.read.parquet(path)


def through(loss: FocalLoss | None, shift: float) -> PriorCorrection:
    return PriorCorrection.of_odds(positive=math.exp(-shift), negative=1.0) if loss is None else loss.correction()


def _fit(table: DataFrame, name: MetricName, loss: FocalLoss | None, shift: float = 0.0) -> FittedBooster:
    training = TrainingConfig(num_workers=2, rounds=12, early_stopping_rounds=3, early_stopping_metric=name)
    with one_file_a_worker(table, 2) as is_laid_out:
        assert is_laid_out
        assert sorted(row.y for row in table.groupBy("y", "_metadata.file_path").count().collect()) == [0, 1]
    return fit_booster(
        table, features=FEATURES, training=training, params=BoosterParams(max_depth=3), start=start_of(0.2),
        correction=through(loss, shift), strategy="one class a worker", loss=loss, costs=COSTS,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("name", "loss", "shift"),
    [
        ("log_loss", FocalLoss.focal(), 0.0),
        ("average_precision", None, 0.0),
        ("average_precision", FocalLoss.focal(), 0.0),
        ("expected_cost", None, -1.0),
    ],
)
def test_workers_of_one_class_stop_by_the_metric_of_all_rows(
    one_class_a_worker: DataFrame, name: MetricName, loss: FocalLoss | None, shift: float
) -> None:
    booster = _fit(one_class_a_worker, name, loss, shift)
    stopping = one_class_a_worker.where("is_early_stopping").toPandas()
    p = probabilities(load_booster(booster.model_bytes), matrix(stopping), through(loss, shift))
    curve, best = booster.learning_curve["validation"], booster.best_iteration
    expected = value(name, np.log(p) - np.log1p(-p), stopping.y.to_numpy(), np.ones(len(p)))
    # Log loss is a sum; the others see 65,536 bins, where two rows may tie.
    assert curve[best] == pytest.approx(expected, rel=1e-6 if name == "log_loss" else 2e-3)
    assert curve[best] == (max if name == "average_precision" else min)(curve)
    assert len(curve) == booster.rounds_run <= best + 1 + 3
    assert booster.metric == name
    assert all(map(math.isfinite, (*curve, *booster.learning_curve["training"])))


def test_a_slice_without_positives_has_no_average_precision_to_stop_by(spark: SparkSession) -> None:
    rows = model_rows(200, seed=5, intercept=-1.0)
    rows.loc[rows.is_early_stopping, "y"] = 0
    training = TrainingConfig(num_workers=1, rounds=3, early_stopping_metric="average_precision")
    with pytest.raises(TrainingError, match=r"average_precision on \['validation'\] is not finite"):
        fit_booster(
            as_spark(spark, rows), features=FEATURES, training=training, params=BoosterParams(), start=start_of(0.2),
            correction=PriorCorrection.identity(), strategy="none",
        )  # fmt: skip
