"""What every strategy promises, for two and for three classes. A new strategy joins by one line in `STRATEGIES`."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from pyspark.sql import DataFrame

from imbalance_spark.core.errors import ConfigError
from imbalance_spark.train_only.config import BoosterParams, TrainingConfig
from imbalance_spark.train_only.strategies import Recipe, Roles, Strategy, strategy_from_config
from imbalance_spark.train_only.strategies.base import training_table
from imbalance_spark.train_only.strategies.recipe import TWO_CLASSES, kept_fractions

STRATEGIES: tuple[Mapping[str, Any], ...] = (
    {"kind": "none"},
    {"kind": "undersample"},
    {"kind": "undersample", "name": "by_hash", "method": "key_hash"},
    {"kind": "oversample"},
    {"kind": "class_weight"},
    {"kind": "scale_pos_weight"},
    {"kind": "balanced_sketch"},
    {"kind": "class_weight_power", "power": 0.3},
    {"kind": "max_delta_step"},
    {"kind": "focal", "gamma": 1.0},
    {"kind": "asymmetric_focal"},
    {"kind": "class_balanced_focal", "beta": 0.99},
    {"kind": "logit_adjusted"},
    {"kind": "undersample_ensemble", "members": 2},
    {"kind": "balanced_bagging", "members": 2},
    {"kind": "self_paced_ensemble", "members": 3},
    {"kind": "rus_boost", "members": 3},
    {"kind": "balanced_random_forest", "members": 2},
    {"kind": "isolation_forest"},
    {"kind": "logistic_class_weight"},
    {"kind": "none", "name": "plain_lightgbm", "learner": "lightgbm"},
    {"kind": "class_weight", "name": "weighted_catboost", "learner": "catboost"},
    {"kind": "focal", "name": "focal_network", "learner": "torch", "params": {"batch_rows": 64, "lr": 0.01}},
    {"kind": "class_weight", "name": "weighted_logistic", "learner": "logistic"},
    {"kind": "smote", "k_neighbors": 3},
    {"kind": "borderline_smote"},
    {"kind": "adasyn"},
    {"kind": "smote_nc"},
    {"kind": "smote_tomek"},
    {"kind": "smote_enn"},
)
COUNTS = {2: {0: 900, 1: 100}, 3: {0: 900, 1: 80, 2: 20}}
CLASSES = {2: TWO_CLASSES, 3: ("ok", "late", "fraud")}
TRAINING = TrainingConfig(params=BoosterParams(max_depth=4))
SLACK = {"exact": 1e-12, "on average": 0.4, "about": 0.1}


def name_of(entry: Mapping[str, Any]) -> str:
    return str(entry.get("name", entry["kind"]))


def is_for(strategy: Strategy, classes: int) -> bool:
    return not list(strategy.problems(CLASSES[classes], ("amount",), _categorical(strategy)))


def recipe_of(strategy: Strategy, classes: int) -> Recipe:
    counts, planned = COUNTS[classes], strategy.planned_rows(dict(COUNTS[classes].items()))
    kept = kept_fractions(strategy.name, CLASSES[classes], counts, {k: planned[k] for k in counts})
    return strategy.resolve(counts, TRAINING, kept, classes=CLASSES[classes])


def check_config_comes_back_from_its_dump(strategy: Strategy, classes: int) -> None:
    assert strategy_from_config(strategy.model_dump(mode="json")) == strategy
    assert strategy.by_number(CLASSES[classes]) == strategy


def check_an_unknown_setting_is_refused(strategy: Strategy, classes: int) -> None:
    with pytest.raises(ValueError, match="no_such_setting"):
        strategy_from_config({**strategy.model_dump(mode="json"), "no_such_setting": 1})


def check_the_fit_starts_from_what_corrects_to_the_class_shares(strategy: Strategy, classes: int) -> None:
    recipe = recipe_of(strategy, classes)
    found = np.exp(recipe.prior_shift.correction().log_probabilities([recipe.start]))[0]
    np.testing.assert_allclose(found, np.array(list(COUNTS[classes].values())) / 1000, rtol=1e-6)


def check_the_correction_divides_by_rows_kept_and_weights(strategy: Strategy, classes: int) -> None:
    recipe = recipe_of(strategy, classes)
    planned = strategy.planned_rows(dict(COUNTS[classes].items()))
    in_loss, offsets = np.ones(classes), np.zeros(classes)
    if recipe.loss is not None:
        in_loss, offsets = np.array(recipe.loss.weights), np.array(recipe.loss.offsets or offsets)
    in_column = recipe.weights or dict.fromkeys(range(classes), 1.0)
    factors = [
        planned[k] / COUNTS[classes][k] * in_column[k] * in_loss[k] * (recipe.scale_pos_weight if k == 1 else 1.0)
        for k in range(classes)
    ] / np.exp(offsets)
    correction = recipe.prior_shift.correction()
    np.testing.assert_allclose(correction.factors, factors, rtol=1e-12)
    assert correction.gammas == (() if recipe.loss is None else recipe.loss.gammas)
    assert strategy.corrects or correction.is_identity


def check_logged_settings_are_those_that_differ(strategy: Strategy, classes: int) -> None:
    logged = recipe_of(strategy, classes).logged
    assert logged["kind"] == strategy.kind
    asked = strategy.model_dump(exclude_defaults=True, exclude={"name", "params"})
    assert {name: logged[name] for name in asked if name not in BoosterParams.model_fields} == {
        name: value for name, value in asked.items() if name not in BoosterParams.model_fields
    }
    defaults = set(type(strategy).model_fields) - set(asked) - {"kind", "max_delta_step", "scale_pos_weight"}
    assert not defaults & set(logged)


def check_a_class_without_rows_is_refused(strategy: Strategy, classes: int) -> None:
    with pytest.raises(ValueError, match=f"strategy '{strategy.name}'.*have no training rows to fit on"):
        strategy.resolve({**COUNTS[classes], 1: 0}, TRAINING, classes=CLASSES[classes])


def check_a_sampler_needs_to_know_what_it_kept(strategy: Strategy, classes: int) -> None:
    if strategy.table == "train":
        assert strategy.planned_rows(dict(COUNTS[classes].items())) == COUNTS[classes]
        return
    with pytest.raises(ConfigError, match=f"strategy '{strategy.name}' samples rows: pass kept"):
        strategy.resolve(COUNTS[classes], TRAINING, classes=CLASSES[classes])


CHECKS = [check for name, check in sorted(globals().items()) if name.startswith("check_")]


def check_sampled_rows(strategy: Strategy, train: DataFrame, roles: Roles) -> None:
    """The minority stays whole, rows are as planned, and the early-stopping set passes untouched."""
    table = training_table(train, strategy, roles, 7).toPandas()
    before = train.toPandas()
    rows, counts = (frame[~frame.is_early_stopping].y.value_counts().to_dict() for frame in (table, before))
    planned, minority = strategy.planned_rows(counts), min(counts, key=lambda k: counts[k])
    originals = set(before[~before.is_early_stopping & (before.y == minority)].order_id)
    for k in counts:
        if strategy.precision == "at most":
            assert rows[k] <= planned[k]
        else:
            assert rows[k] == pytest.approx(planned[k], rel=SLACK[strategy.precision])
    if strategy.precision != "at most":
        assert originals <= set(table[~table.is_early_stopping & (table.y == minority)].order_id)
    stopping = [sorted(frame[frame.is_early_stopping].order_id) for frame in (table, before)]
    assert stopping[0] == stopping[1]


def _categorical(strategy: Strategy) -> tuple[str, ...]:
    return ("country",) if strategy.kind == "smote_nc" else ()
