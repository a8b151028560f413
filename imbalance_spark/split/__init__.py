"""Train, validation and test: each row's fold is a function of its key and a seed, or of its time."""

from imbalance_spark.core.class_counts import count_splits
from imbalance_spark.split.plan import SplitPlan
from imbalance_spark.split.stratified import early_stopping_slice, fit_split, stratified_split

__all__ = ["SplitPlan", "count_splits", "early_stopping_slice", "fit_split", "stratified_split"]
