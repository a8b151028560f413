"""The metrics that stop a fit, against scikit-learn on the same rows, with workers of one class."""

import math
import pickle

import numpy as np
import pytest
import xgboost
from pyspark.sql import DataFrame, SparkSession
from sklearn.metrics import average_precision_score, log_loss
from support.model_rows import FEATURES, as_spark, matrix, model_rows

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


def test_flagging_nobody_is_among_the_cut_offs() -> None:
    data = xgboost.DMatrix(np.zeros((3, 1)), [0.0, 0.0, 1.0])
    # Any cut-off that finds the positive flags both negatives: 2 alarms at 1 against a miss at 0.5.
    assert metric("expected_cost", costs=(0.5, 1.0))(np.array([2.0, 2.0, 1.0]), data)[1] == pytest.approx(0.5 / 3)


def test_one_class_has_no_average_precision() -> None:
    data = xgboost.DMatrix(np.zeros((2, 1)), [0.0, 0.0])
    assert math.isnan(metric("average_precision")(np.zeros(2), data)[1])


def test_expected_cost_needs_costs() -> None:
    with pytest.raises(ConfigError, match="early_stopping_metric: expected_cost needs to know"):
        metric("expected_cost", costs=None)


@pytest.mark.parametrize("name", ["aucpr", "auc", "logloss"])
def test_a_loss_of_our_own_cannot_stop_by_a_metric_of_xgboosts(name: str) -> None:
    with pytest.raises(ConfigError, match=rf"early_stopping_metric: '{name}' is none of \['log_loss', "):
        stopping_metric(name, FocalLoss(), COSTS)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def one_class_a_worker(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> DataFrame:
    """Two files: all negatives in one, all positives in the other."""
    path = str(tmp_path_factory.mktemp("stopping") / "table")
    as_spark(spark, model_rows(2500, seed=6, intercept=-2.0)).repartitionByRange(2, "y").write.parquet(path)
    return spark.read.parquet(path)


def _fit(table: DataFrame, name: MetricName, loss: FocalLoss | None, shift: float = 0.0) -> FittedBooster:
    training = TrainingConfig(num_workers=2, rounds=12, early_stopping_rounds=3, early_stopping_metric=name)
    with one_file_a_worker(table, 2) as is_laid_out:
        assert is_laid_out
        assert sorted(row.y for row in table.groupBy("y", "_metadata.file_path").count().collect()) == [0, 1]
    return fit_booster(
        table, features=FEATURES, training=training, params=BoosterParams(max_depth=3), base_score=0.2,
        strategy="one class a worker", loss=loss, costs=COSTS, logit_shift=shift,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("name", "loss", "shift"),
    [
        ("log_loss", FocalLoss(), 0.0),
        ("average_precision", None, 0.0),
        ("average_precision", FocalLoss(), 0.0),
        ("expected_cost", None, -1.0),
    ],
)
def test_workers_of_one_class_stop_by_the_metric_of_all_rows(
    one_class_a_worker: DataFrame, name: MetricName, loss: FocalLoss | None, shift: float
) -> None:
    booster = _fit(one_class_a_worker, name, loss, shift)
    stopping = one_class_a_worker.where("is_early_stopping").toPandas()
    correction = PriorCorrection.of_odds(positive=math.exp(-shift), negative=1.0)
    through = correction if loss is None else loss.correction()
    p = probabilities(load_booster(booster.ubj), matrix(stopping), through)
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
    with pytest.raises(TrainingError, match=r"average_precision on \['validation'\] is no finite number"):
        fit_booster(
            as_spark(spark, rows), features=FEATURES, training=training, params=BoosterParams(), base_score=0.2,
            strategy="none",
        )  # fmt: skip
