"""Trees of LightGBM and CatBoost as XGBoost's, against the predictions of the libraries themselves."""

import json
from pathlib import Path

import catboost
import lightgbm
import numpy as np
import pytest
import xgboost
from scipy.special import expit, softmax

from imbalance_spark.scoring.boosters import contributions, load_booster, sum_of_models
from imbalance_spark.scoring.tree_json import booster_of_trees
from imbalance_spark.train_only.learners.catboost_pools import MISSING_CODE, trees_of_catboost
from imbalance_spark.train_only.learners.lightgbm import trees_of_lightgbm
from imbalance_spark.train_only.learners.tree_nodes import Leaf, Split, first_above, tree_json

NUMERIC, CODES = 3, 40
FEATURES = [f"x_{i}" for i in range(NUMERIC + 1)]
QUIET = {"verbose": -1, "num_threads": 1, "boost_from_average": False, "seed": 1}


def mixed_rows(seed: int, rows: int = 3000, *, codes: int = CODES, missing: float = 0.1) -> np.ndarray:
    """Three numbers, the second one with few values and the third one without missing ones, and a category's codes."""
    rng = np.random.default_rng(seed)
    x = np.column_stack([rng.normal(size=(rows, NUMERIC)), rng.integers(0, codes, rows)]).astype(np.float32)
    x[:, 1] = np.round(x[:, 1])
    x[:, [0, 1, 3]] = np.where(rng.random((rows, 3)) < missing, np.nan, x[:, [0, 1, 3]])
    return x


def labels_of(x: np.ndarray, classes: int) -> np.ndarray:
    rng = np.random.default_rng(9)
    seen = np.nan_to_num(x, nan=0.5)
    return np.digitize(
        seen[:, 0] + (seen[:, 3] % 5 == 3) - 0.5 * seen[:, 1] + rng.normal(size=len(x)), [0.8, 2.0][: classes - 1]
    )


def with_thresholds(x: np.ndarray, booster: xgboost.Booster) -> np.ndarray:
    """Rows at every cut of a booster, and just below it; and with codes that training lacked."""
    trees = json.loads(booster.save_raw("json"))["learner"]["gradient_booster"]["model"]["trees"]
    cuts = [np.array(tree["split_conditions"], np.float32)[np.array(tree["left_children"]) >= 0] for tree in trees]
    at = np.unique(np.concatenate(cuts))
    at = at[np.abs(at) < 1e30]
    near = np.concatenate([at, np.nextafter(at, np.float32(-np.inf)), np.nextafter(at, np.float32(np.inf))])
    rows = np.tile(x, (2, 1))
    rows[: len(x), 0], rows[len(x) :, 2] = np.resize(near, len(x)), np.resize(near, len(x))
    rows[::7, 3] = CODES + 90.0
    return np.vstack([rows, np.full((1, x.shape[1]), np.nan, np.float32), np.zeros((1, x.shape[1]), np.float32)])


def probabilities_of(booster: xgboost.Booster, x: np.ndarray) -> np.ndarray:
    margin = booster.inplace_predict(x, predict_type="margin").astype(float)
    return expit(margin) if margin.ndim == 1 else softmax(margin, axis=1)


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("missing", [0.0, 0.1])
def test_converted_trees_of_lightgbm_predict_what_lightgbm_predicts(classes: int, missing: float) -> None:
    x = mixed_rows(1, missing=missing)
    kind = {"objective": "binary"} if classes == 2 else {"objective": "multiclass", "num_class": classes}
    rows = lightgbm.Dataset(x, labels_of(x, classes), categorical_feature=[3])
    model = lightgbm.train({**QUIET, **kind, "num_leaves": 31}, rows, 30)
    trees = trees_of_lightgbm(model.dump_model())
    booster = load_booster(booster_of_trees(trees, [0.0] if classes == 2 else [0.0] * classes, FEATURES))
    assert any(tree["categories"] for tree in trees)
    tested = with_thresholds(mixed_rows(2), booster)
    np.testing.assert_allclose(probabilities_of(booster, tested), model.predict(tested), rtol=0.0, atol=1e-6)


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("nan_mode", ["Min", "Max"])
def test_converted_trees_of_catboost_predict_what_catboost_predicts(
    classes: int, nan_mode: str, tmp_path: Path
) -> None:
    def pool(x: np.ndarray, label: np.ndarray | None = None) -> catboost.Pool:
        codes = np.nan_to_num(x[:, [3]], nan=MISSING_CODE).astype(int).astype(str).astype(object)
        return catboost.Pool(catboost.FeaturesData(x[:, :3], np.vectorize(str.encode, otypes=[object])(codes)), label)

    x = mixed_rows(1)
    loss = "Logloss" if classes == 2 else "MultiClass"
    model = catboost.CatBoost(
        {"loss_function": loss, "iterations": 30, "depth": 4, "one_hot_max_size": 255, "boost_from_average": False,
         "thread_count": 1, "logging_level": "Silent", "allow_writing_files": False, "nan_mode": nan_mode,
         "random_seed": 1}
    )  # fmt: skip
    rows = pool(x, labels_of(x, classes))
    model.fit(rows)
    model.save_model(str(tmp_path / "model.json"), format="json", pool=rows)
    trees = trees_of_catboost(json.loads((tmp_path / "model.json").read_text("utf-8")), range(len(FEATURES)), classes)
    booster = load_booster(booster_of_trees(trees, [0.0] if classes == 2 else [0.0] * classes, FEATURES))
    assert any(tree["categories"] for tree in trees)
    tested = with_thresholds(mixed_rows(2), booster)
    expected = model.predict(pool(tested), prediction_type="Probability")
    expected = expected[:, 1] if classes == 2 else expected
    np.testing.assert_allclose(probabilities_of(booster, tested), expected, rtol=0.0, atol=1e-6)


def test_contributions_of_converted_trees_add_up_to_the_margin() -> None:
    x = mixed_rows(1)
    rows = lightgbm.Dataset(x, labels_of(x, 2), categorical_feature=[3])
    model = lightgbm.train({**QUIET, "objective": "binary"}, rows, 10)
    booster = load_booster(booster_of_trees(trees_of_lightgbm(model.dump_model()), [-1.0], FEATURES))
    found = contributions(booster, x)
    np.testing.assert_allclose(found.sum(axis=1), model.predict(x, raw_score=True) - 1.0, atol=1e-5)
    # TreeSHAP of the library itself, whose last column is the mean margin by rows instead of Hessians.
    peer = model.predict(x, pred_contrib=True)
    assert np.corrcoef(found[:, 0], peer[:, 0])[0, 1] > 0.99


def test_a_missing_category_goes_right_where_that_is_the_split() -> None:
    leaves = {"left": Leaf(value=1.0, weight=1.0), "right": Leaf(value=2.0, weight=0.0)}
    split = Split(feature=0, categories=(65_535,), is_missing_left=False, **leaves)
    booster = load_booster(booster_of_trees([tree_json(split, 1)], [0.0], ["x_0"]))
    rows = np.array([[0.0], [254.0], [np.nan]], np.float32)
    np.testing.assert_array_equal(booster.inplace_predict(rows, predict_type="margin"), [1.0, 1.0, 2.0])
    assert np.isfinite(contributions(booster, rows)).all()


def test_the_first_float_above_a_number_is_above_it_and_has_none_between() -> None:
    thresholds = np.array([0.1, -0.1, 0.0, 1.0, 1e300, -1e300, 1.0000000180025095e-35])
    found = first_above(thresholds)
    assert (found.astype(float) > thresholds).all()
    with np.errstate(over="ignore"):
        assert (np.nextafter(found, np.float32(-np.inf)).astype(float) <= thresholds).all()


def test_converted_trees_average_like_any_others() -> None:
    x = mixed_rows(1)
    models = [
        lightgbm.train(
            {**QUIET, "objective": "binary", "seed": seed, "bagging_fraction": 0.5, "bagging_freq": 1},
            lightgbm.Dataset(x, labels_of(x, 2), categorical_feature=[3]), 5,
        )
        for seed in (1, 2)
    ]  # fmt: skip
    merged = sum_of_models(
        [booster_of_trees(trees_of_lightgbm(one.dump_model()), [0.0], FEATURES) for one in models], 0.5
    )
    expected = np.mean([one.predict(x, raw_score=True) for one in models], axis=0)
    np.testing.assert_allclose(load_booster(merged).inplace_predict(x, predict_type="margin"), expected, atol=1e-5)
