"""Ensembles as they are fitted: members that follow each other, a fit that goes on, forests, and probabilities."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pyspark.sql import SparkSession
from support.model_rows import FEATURES, as_spark, matrix, model_rows
from support.pytorch import needs_torch
from support.strategy_checks import name_of

from imbalance_spark.calibration import PriorCorrection, choose_calibrator
from imbalance_spark.core.run import Run
from imbalance_spark.metrics import ScoreCounts
from imbalance_spark.orders.config import OrdersConfig
from imbalance_spark.scoring.boosters import load_booster, probabilities
from imbalance_spark.split.config import SplitConfig
from imbalance_spark.train_only.config import TrainingConfig
from imbalance_spark.train_only.strategies import Strategy, strategy_from_config
from imbalance_spark.train_only.strategies import fit as fits
from imbalance_spark.train_only.strategies.ensembles import SelfPacedEnsemble
from imbalance_spark.train_only.strategies.fit import FittedStrategy, fit_strategy, write_train_table
from imbalance_spark.train_only.strategies.recipe import FitTask

SELF_PACED = {"kind": "self_paced_ensemble", "members": 3, "bins": 4, "sampling_strategy": 0.5}
RUS_BOOST = {"kind": "rus_boost", "members": 4, "rounds": 3, "sampling_strategy": 0.5}
FOREST = {"kind": "balanced_random_forest", "members": 2, "trees": 7}


@pytest.fixture(scope="module")
def task() -> FitTask:
    params = {"max_depth": 3, "learning_rate": 0.3}
    return FitTask(
        orders=OrdersConfig(label="y", key=("order_id",), numeric=FEATURES),
        training=TrainingConfig(engine="native", num_workers=1, rounds=10, params=params),
        split=SplitConfig(early_stopping_fraction=0.2),
    )


def fitted(spark: SparkSession, run: Run, task: FitTask, entry: Mapping[str, Any]) -> FittedStrategy:
    rows = model_rows(12_000, 3).drop(columns=["is_early_stopping", "row_weight"])
    return fit_strategy(run, write_train_table(run, as_spark(spark, rows), task), strategy_from_config(entry), task)


def new_run(spark: SparkSession, place: Path) -> Run:
    return Run.open(spark, str(place), "ensembles", "hash", {})


@pytest.fixture(scope="module")
def run(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return new_run(spark, tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def self_paced(spark: SparkSession, run: Run, task: FitTask) -> FittedStrategy:
    return fitted(spark, run, task, SELF_PACED)


@pytest.mark.parametrize("member", [1, 2])
def test_a_member_learns_from_what_the_mean_of_those_before_finds_hard(
    self_paced: FittedStrategy, run: Run, member: int
) -> None:
    to_fit = run.table("train", pytest.fail).where("not is_early_stopping").toPandas()
    sample = run.table(f"train_self_paced_ensemble~{member}", pytest.fail).where("not is_early_stopping").toPandas()
    majority, rare = to_fit[to_fit.y == 0], to_fit[to_fit.y == 1]
    models = [load_booster(run.folder.read_bytes(f"models/self_paced_ensemble~{n}.ubj")) for n in range(member)]
    margin = np.mean([model.inplace_predict(matrix(majority), predict_type="margin") for model in models], axis=0)
    hardness = 1.0 / (1.0 + np.exp(-margin))  # of class 0 that is the score of class 1
    number = pd.Series((hardness * 4).astype(int), index=majority.order_id)
    factor = math.tan(math.pi / 2 * member / 2)
    share = np.array([1.0 / (hardness[number == b].mean() + factor) for b in range(4)])
    expected = 2 * len(rare) * share / share.sum()
    found = np.bincount(number[sample[sample.y == 0].order_id], minlength=4)
    assert abs(found - expected).max() < 4.5 * np.sqrt(expected.max())
    drawn_alike = 2 * len(rare) * np.bincount(number, minlength=4) / len(majority)
    assert abs(found - drawn_alike).max() > 10 * np.sqrt(expected.max())
    assert sorted(sample[sample.y == 1].order_id) == sorted(rare.order_id)
    assert "hardness" not in sample


def test_fits_with_other_parameters_share_the_first_sample_and_no_other(
    spark: SparkSession, run: Run, task: FitTask, self_paced: FittedStrategy
) -> None:
    trial = run.part("trial")
    train = run.table("train", pytest.fail)
    other = strategy_from_config({**SELF_PACED, "params": {"max_depth": 1}})
    fit_strategy(run, train, other, task, models=trial)
    first, *later = (f"train_self_paced_ensemble~{n}" for n in range(3))
    assert not trial.is_done(first)
    for step in later:
        assert trial.pin(step).fingerprint != run.pin(step).fingerprint


def test_an_ensemble_that_was_cut_off_goes_on_with_the_members_it_has(
    spark: SparkSession, task: FitTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, self_paced: FittedStrategy
) -> None:
    fit, names, most = Strategy.fit, [], 2

    def cut_off(self: Strategy, *args: Any) -> Any:
        names.append(self.name)
        if len(names) > most:
            raise InterruptedError
        return fit(self, *args)

    monkeypatch.setattr(SelfPacedEnsemble, "fit", cut_off)
    with pytest.raises(InterruptedError):
        fitted(spark, new_run(spark, tmp_path), task, SELF_PACED)
    most = 4
    resumed = fitted(spark, new_run(spark, tmp_path), task, SELF_PACED)
    assert names == [f"self_paced_ensemble~{n}" for n in (0, 1, 2, 2)]
    assert resumed.booster.model_bytes == self_paced.booster.model_bytes
    assert resumed.recipe == self_paced.recipe


def test_members_of_a_boosted_ensemble_add_up_and_weigh_what_is_left(
    spark: SparkSession, run: Run, task: FitTask
) -> None:
    found = fitted(spark, run, task, RUS_BOOST)
    names = [f"rus_boost~{n}" for n in range(4)]
    models = [load_booster(run.folder.read_bytes(f"models/{name}.ubj")) for name in names]
    rounds = [model.num_boosted_rounds() for model in models]
    assert found.booster.rounds_run == 12
    assert found.booster.best_iteration + 1 == sum(rounds) <= 12

    def margins(rows: pd.DataFrame, members: int) -> np.ndarray:
        return np.sum([m.inplace_predict(matrix(rows), predict_type="margin") for m in models[:members]], axis=0)

    unseen = model_rows(40_000, 8)
    booster, last = load_booster(found.booster.model_bytes), run.pin("train_rus_boost~3").observed
    np.testing.assert_allclose(
        booster.inplace_predict(matrix(unseen), predict_type="margin"), margins(unseen, 4), atol=1e-5
    )
    # Early-stopping rows weigh by the same rule, but for the scale.
    third = run.table("train_rus_boost~2", pytest.fail).toPandas()
    weight = third.row_weight / np.exp((1 - 2 * third.y) * margins(third, 2) / 2)
    for _, of_set in weight.groupby(third.is_early_stopping):
        np.testing.assert_allclose(of_set, of_set.iloc[0], rtol=1e-4)
    assert third.row_weight[~third.is_early_stopping].mean() == pytest.approx(1.0, rel=0.1)
    before = run.pin("train").observed
    kept = tuple(last[f"rows_{k}"] / before[f"rows_{k}"] for k in (0, 1))
    assert found.recipe.prior_shift.kept_fractions == kept
    # In the large the sum is right as it is: the members leave no odds of the sample to be learnt.
    p = probabilities(booster, matrix(unseen), found.recipe.prior_shift.correction())
    assert p.mean() == pytest.approx(unseen.y.mean(), rel=0.15)


def test_members_side_by_side_are_those_of_one_after_another(
    spark: SparkSession, task: FitTask, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = {"kind": "balanced_bagging", "members": 3}
    together = fitted(spark, run, task, entry)
    monkeypatch.setattr(fits, "fits_at_once", lambda *_, **__: 1)
    assert fitted(spark, new_run(spark, tmp_path), task, entry) == together


@pytest.mark.parametrize(
    ("kind", "learner"),
    [
        ("balanced_bagging", "logistic"),
        ("rus_boost", "logistic"),
        pytest.param("undersample_ensemble", "torch", marks=needs_torch),
    ],
)
def test_members_of_a_learner_without_trees_become_one_model_too(
    spark: SparkSession, run: Run, task: FitTask, kind: str, learner: str
) -> None:
    entry = {"kind": kind, "name": f"{kind}_{learner}", "members": 2, "learner": learner}
    found, rows = fitted(spark, run, task, entry), matrix(model_rows(500, 8))
    members = [load_booster(run.folder.read_bytes(f"models/{kind}_{learner}~{n}.ubj")) for n in range(2)]
    total = np.sum([member.inplace_predict(rows) for member in members], axis=0)
    expected = total if kind == "rus_boost" else total / 2
    np.testing.assert_allclose(load_booster(found.booster.model_bytes).inplace_predict(rows), expected, atol=1e-5)


def test_a_forest_is_one_round_of_each_member_whose_trees_are_averaged(
    spark: SparkSession, run: Run, task: FitTask
) -> None:
    found = fitted(spark, run, task, FOREST)
    assert (found.booster.rounds_run, found.booster.best_iteration) == (2, 1)
    booster, rows = load_booster(found.booster.model_bytes), matrix(model_rows(500, 8))
    model = json.loads(booster.save_raw("json"))["learner"]["gradient_booster"]["model"]
    assert model["iteration_indptr"] == [0, 7, 14]
    members = [load_booster(run.folder.read_bytes(f"models/balanced_random_forest~{n}.ubj")) for n in range(2)]
    mean = np.mean([member.inplace_predict(rows, predict_type="margin") for member in members], axis=0)
    np.testing.assert_allclose(booster.inplace_predict(rows, predict_type="margin"), mean, atol=1e-5)
    # (q - p) / (p (1 - p)) of a mean share q in [0, 1], on top of a start of ln (p / (1 - p)) with p near 1/2.
    assert -2.2 < mean.min() < -1.5 < 1.0 < mean.max() < 2.2


def test_a_forest_sets_what_makes_it_one_and_takes_other_parameters() -> None:
    forest = strategy_from_config({**FOREST, "params": {"max_depth": 20, "gamma": 0.5}})
    params = forest.booster_params()
    assert (params["num_parallel_tree"], params["learning_rate"]) == (7, 1.0)
    assert (params["max_depth"], params["gamma"]) == (20, 0.5)
    assert {"num_parallel_tree", "learning_rate", "max_depth"} <= forest.set_params()
    with pytest.raises(ValueError, match="num_parallel_tree is what trees says"):
        strategy_from_config({**FOREST, "params": {"num_parallel_tree": 3}})


@pytest.mark.parametrize("entry", [SELF_PACED, RUS_BOOST, FOREST], ids=name_of)
def test_probabilities_of_unseen_rows_are_right_once_they_are_calibrated(
    spark: SparkSession, run: Run, task: FitTask, entry: Mapping[str, Any]
) -> None:
    found = fitted(spark, run, task, entry)
    correction, booster = found.recipe.prior_shift.correction(), load_booster(found.booster.model_bytes)
    folds = [model_rows(40_000, seed) for seed in (4, 5, 6)]
    corrected = [probabilities(booster, matrix(fold), correction) for fold in folds]
    counts = [ScoreCounts.from_arrays(fold.y, score) for fold, score in zip(folds, corrected, strict=True)]
    y, p = folds[2].y.to_numpy(), choose_calibrator(*counts[:2]).calibrator.apply(corrected[2])
    highest = np.argsort(p)[-len(p) // 10 :]
    assert probabilities(booster, matrix(folds[2]), PriorCorrection.identity()).mean() > 2.0 * y.mean()
    # 2,000 positives: within three standard errors of either fold.
    assert p.mean() == pytest.approx(y.mean(), rel=0.1)
    assert p[highest].mean() == pytest.approx(y[highest].mean(), rel=0.1)
    assert found.recipe.prior_shift.is_exact == (entry is RUS_BOOST)
