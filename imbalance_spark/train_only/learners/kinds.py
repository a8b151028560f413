"""All learners, by the name that a config gives them."""

from collections.abc import Iterable, Mapping

from imbalance_spark.core.errors import ConfigError
from imbalance_spark.train_only.learners.catboost import CatBoost
from imbalance_spark.train_only.learners.learner import Learner
from imbalance_spark.train_only.learners.lightgbm import LightGBM
from imbalance_spark.train_only.learners.logistic import Logistic
from imbalance_spark.train_only.learners.network import Torch
from imbalance_spark.train_only.learners.xgboost import XGBoost

LEARNERS: Mapping[str, Learner] = {
    learner.name: learner for learner in (XGBoost(), LightGBM(), CatBoost(), Torch(), Logistic())
}


def require_packages(learners: Iterable[Learner]) -> None:
    """Refuse learners whose extra is not installed.

    Raises:
        ConfigError: says how to install each of them.
    """
    by_name = {learner.name: learner for learner in learners}
    if problems := [text for learner in by_name.values() if (text := learner.missing_package()) is not None]:
        raise ConfigError.of_all(problems)
