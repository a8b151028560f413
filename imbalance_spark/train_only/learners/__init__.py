"""What is fitted: distributed gradient boosting, and the slots that it needs."""

from imbalance_spark.train_only.learners.executors import check_executors, require_training_slots
from imbalance_spark.train_only.learners.xgboost import FittedBooster, fit_booster

__all__ = ["FittedBooster", "check_executors", "fit_booster", "require_training_slots"]
