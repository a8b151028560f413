"""Sampling of training rows, in the words of Spark and of imbalanced-learn."""

from imbalance_spark.train_only.sampling.random_over import RandomOverSampler
from imbalance_spark.train_only.sampling.random_under import RandomUnderSampler
from imbalance_spark.train_only.sampling.sample_by_class import sample_by_class
from imbalance_spark.train_only.sampling.smote import SMOTE
from imbalance_spark.train_only.sampling.strategy import check_sampling_strategy

__all__ = ["SMOTE", "RandomOverSampler", "RandomUnderSampler", "check_sampling_strategy", "sample_by_class"]
