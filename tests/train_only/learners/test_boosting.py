"""The rounds of a fit against `xgboost.train` on the same bins, in one process, and resumed from checkpoints."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import xgboost
from support.model_rows import matrix, model_rows

from imbalance_spark.calibration import PriorCorrection
from imbalance_spark.core.errors import DataContractError, TrainingError
from imbalance_spark.train_only.learners import spill
from imbalance_spark.train_only.learners.boosting import BoostingPlan, Progress, boost
from imbalance_spark.train_only.learners.cuts import FeatureCuts, quantile_cuts
from imbalance_spark.train_only.learners.losses import FocalLoss
from imbalance_spark.train_only.learners.stopping import StoppingMetric

ROWS = model_rows(3000, seed=1, intercept=-2.0)
IS_STOPPING = ROWS.is_early_stopping.to_numpy(bool)
CUTS = FeatureCuts(tuple(quantile_cuts([column], [1.0], 62) for column in matrix(ROWS).T))
INPUTS = ("x_0", "x_1", "x_2", "x_3")
PARAMS = {
    "objective": "binary:logistic", "tree_method": "hist", "base_score": 0.2, "seed": 7, "max_bin": CUTS.max_bin,
    "max_depth": 4,
}  # fmt: skip
PLAN = BoostingPlan(
    params={**PARAMS, "eval_metric": "logloss"}, rounds=9, early_stopping_rounds=9, checkpoint_rounds=4, loss=None,
    metric=None, stopping_margin=None, cuts=CUTS.digest,
)  # fmt: skip
FOCAL = dataclasses.replace(
    PLAN, params={**PARAMS, "disable_default_eval_metric": 1}, loss=FocalLoss.focal(),
    metric=StoppingMetric(name="log_loss", correction=FocalLoss.focal().correction(), is_margin=True),
)  # fmt: skip
SAMPLED = dataclasses.replace(PLAN, params={**PLAN.params, "subsample": 0.5, "colsample_bytree": 0.5})


def batches(rows: slice = slice(None)) -> list[pa.RecordBatch]:
    frame = ROWS[rows].astype(dict.fromkeys(INPUTS, "float32")).assign(fit_weight=ROWS.row_weight.astype("float32"))
    return pa.Table.from_pandas(frame, preserve_index=False).to_batches(max_chunksize=700)


@pytest.fixture(scope="module")
def matrices(tmp_path_factory: pytest.TempPathFactory) -> tuple[xgboost.DMatrix, xgboost.DMatrix]:
    return spilled_matrices(tmp_path_factory.mktemp("spill"))


def spilled_matrices(
    folder: Path, pages: Path | None = None, weight: str | None = None
) -> tuple[xgboost.DMatrix, xgboost.DMatrix]:
    to_fit, stopping = spill.spilled(batches(), INPUTS, weight, folder)
    train = spill.quantile_matrix(to_fit, ref=CUTS.as_matrix(), max_bin=CUTS.max_bin, threads=1, pages=pages)
    return train, spill.quantile_matrix(stopping, ref=train, max_bin=CUTS.max_bin, threads=1)


def run(
    plan: BoostingPlan, data: tuple[xgboost.DMatrix, xgboost.DMatrix], *, progress: Progress | None = None,
    tell: Callable[[int], object] = bool, keep: Callable[[bytes], object] = bool,
) -> Progress:  # fmt: skip
    return boost(plan, *data, progress or Progress(rows=5), threads=1, tell=tell, keep=keep)


def native(plan: BoostingPlan, weight: np.ndarray | None = None) -> tuple[xgboost.Booster, dict]:
    """XGBoost's own loop on a matrix in memory with the same cuts."""
    x, y = matrix(ROWS), ROWS.y.to_numpy()
    here, there = ~IS_STOPPING, IS_STOPPING
    train = xgboost.QuantileDMatrix(
        x[here], y[here], ref=CUTS.as_matrix(), max_bin=CUTS.max_bin, weight=None if weight is None else weight[here]
    )
    stopping = xgboost.QuantileDMatrix(
        x[there], y[there], ref=train, max_bin=CUTS.max_bin, weight=None if weight is None else weight[there]
    )
    curve: dict = {}
    booster = xgboost.train(
        dict(plan.params), train, plan.rounds, evals=[(train, "training"), (stopping, "stopping")], obj=plan.loss,
        custom_metric=plan.metric, evals_result=curve, verbose_eval=False,
    )  # fmt: skip
    return booster, curve


@pytest.mark.parametrize("plan", [PLAN, FOCAL], ids=["logistic", "focal"])
def test_spilled_rows_grow_the_trees_of_rows_in_memory(
    matrices: tuple[xgboost.DMatrix, xgboost.DMatrix], plan: BoostingPlan
) -> None:
    found, (peer, curve) = run(plan, matrices), native(plan)
    booster = xgboost.Booster(model_file=bytearray(found.model))
    assert booster.get_dump(with_stats=True) == peer.get_dump(with_stats=True)
    [on_train], [on_stopping] = curve["training"].values(), curve["stopping"].values()
    np.testing.assert_allclose(found.training, on_train, rtol=1e-5)
    np.testing.assert_allclose(found.validation, on_stopping, rtol=1e-5)


def test_weights_count_in_trees_and_metric_and_not_in_the_cuts(tmp_path: Path) -> None:
    found = run(PLAN, spilled_matrices(tmp_path, weight="fit_weight"))
    peer, curve = native(PLAN, ROWS.row_weight.to_numpy())
    booster = xgboost.Booster(model_file=bytearray(found.model))
    assert booster.get_dump(with_stats=True) == peer.get_dump(with_stats=True)
    np.testing.assert_allclose(found.validation, curve["stopping"]["logloss"], rtol=1e-5)


def test_bins_on_disk_give_the_bytes_of_bins_in_memory(
    matrices: tuple[xgboost.DMatrix, xgboost.DMatrix], tmp_path: Path
) -> None:
    (tmp_path / "pages").mkdir()
    data = spilled_matrices(tmp_path, pages=tmp_path / "pages")
    assert list((tmp_path / "pages").iterdir())
    assert run(PLAN, data).model == run(PLAN, matrices).model


@pytest.mark.parametrize("plan", [PLAN, FOCAL, SAMPLED], ids=["logistic", "focal", "sampled"])
@pytest.mark.parametrize("lost_in_round", [5, 8])
def test_a_fit_that_goes_on_from_a_checkpoint_gives_the_bytes_of_one_undisturbed(
    matrices: tuple[xgboost.DMatrix, xgboost.DMatrix], plan: BoostingPlan, lost_in_round: int
) -> None:
    kept: list[bytes] = []

    def lose(number: int) -> None:
        if number == lost_in_round:
            raise ConnectionError

    with pytest.raises(ConnectionError):
        run(plan, matrices, tell=lose, keep=kept.append)
    told: list[int] = []
    resumed = Progress.from_checkpoint(kept[-1], plan)
    found = run(plan, matrices, progress=resumed, tell=told.append)
    assert found == run(plan, matrices)
    assert told == list(range(4 * (lost_in_round // 4), 9))


def test_sampled_trees_differ_from_one_stretch_of_rounds_to_the_next(
    matrices: tuple[xgboost.DMatrix, xgboost.DMatrix],
) -> None:
    plan = dataclasses.replace(SAMPLED, params={**SAMPLED.params, "learning_rate": 1e-9}, checkpoint_rounds=1)
    booster = xgboost.Booster(model_file=bytearray(run(plan, matrices).model))
    assert len(set(booster.get_dump())) == 9


def test_the_fit_stops_when_no_round_was_better_for_long_enough(
    matrices: tuple[xgboost.DMatrix, xgboost.DMatrix],
) -> None:
    plan = dataclasses.replace(PLAN, rounds=200, early_stopping_rounds=3, checkpoint_rounds=500)
    found = run(plan, matrices)
    best = found.best_round(is_maximised=False)
    assert found.rounds == best + 1 + 3 < 200
    assert found.validation[best] == min(found.validation)


def test_rounds_of_one_stretch_count_towards_stopping_in_the_next(
    matrices: tuple[xgboost.DMatrix, xgboost.DMatrix],
) -> None:
    plan = dataclasses.replace(PLAN, rounds=200, early_stopping_rounds=3, checkpoint_rounds=2)
    kept: list[bytes] = []
    undisturbed = run(plan, matrices, keep=kept.append)
    assert run(plan, matrices, progress=Progress.from_checkpoint(kept[-1], plan)) == undisturbed


@pytest.mark.parametrize(
    "other",
    [
        dataclasses.replace(PLAN, params={**PLAN.params, "max_depth": 5}),
        dataclasses.replace(PLAN, cuts="others"),
        dataclasses.replace(PLAN, loss=FocalLoss.focal()),
        dataclasses.replace(
            PLAN, metric=StoppingMetric(name="log_loss", correction=PriorCorrection.identity(), is_margin=False)
        ),
    ],
    ids=["params", "cuts", "loss", "metric"],
)
def test_a_checkpoint_of_another_plan_is_refused(other: BoostingPlan) -> None:
    kept = Progress(model=b"m", training=(0.3,), validation=(0.4,), rows=1).as_checkpoint(PLAN)
    with pytest.raises(DataContractError, match="other parameters, cuts"):
        Progress.from_checkpoint(kept, other)


def test_a_checkpoint_that_was_cut_short_is_none() -> None:
    kept = Progress(model=b"model", training=(0.3,), validation=(0.1 + 0.2,), rows=1).as_checkpoint(PLAN)
    whole = Progress.from_checkpoint(kept, PLAN)
    assert whole is not None
    assert (whole.model, whole.validation) == (b"model", (0.1 + 0.2,))
    assert [Progress.from_checkpoint(kept[:end], PLAN) for end in (0, 20, len(kept) - 1)] == [None] * 3


def test_the_fingerprint_is_that_of_the_rows_in_any_order(tmp_path: Path) -> None:
    def fingerprint(rows: slice) -> int:
        return spill.spilled(batches(rows), INPUTS, None, tmp_path)[0].fingerprint

    forwards = fingerprint(slice(None))
    assert forwards == fingerprint(slice(None, None, -1))
    assert forwards != fingerprint(slice(1, None))


def test_nothing_is_left_in_the_folder_of_spilled_rows(tmp_path: Path) -> None:
    spilled_matrices(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_disk_without_space_is_said_before_it_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spill, "_SPARE_BYTES", 1 << 60)
    with pytest.raises(TrainingError, match=r"MiB of local disk left after 0 MiB of its rows"):
        spill.spilled(batches(), INPUTS, None, tmp_path)


def test_a_worker_without_rows_has_an_empty_matrix_of_all_features(tmp_path: Path) -> None:
    to_fit, stopping = spill.spilled([], INPUTS, None, tmp_path)
    train = spill.quantile_matrix(to_fit, ref=CUTS.as_matrix(), max_bin=CUTS.max_bin, threads=1)
    empty = spill.quantile_matrix(stopping, ref=train, max_bin=CUTS.max_bin, threads=1, margin=0.5)
    assert [(data.num_row(), data.num_col()) for data in (train, empty)] == [(0, 4), (0, 4)]
