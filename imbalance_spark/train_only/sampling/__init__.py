"""Sampling of training rows, in the words of Spark and of imbalanced-learn."""

from typing import NoReturn

from imbalance_spark.train_only.sampling.cleaning import EditedNearestNeighbours, NeighbourhoodCleaningRule, TomekLinks
from imbalance_spark.train_only.sampling.combine import SMOTEENN, SMOTETomek
from imbalance_spark.train_only.sampling.prototype_selection import InstanceHardnessThreshold, NearMiss
from imbalance_spark.train_only.sampling.random_samplers import RandomOverSampler, RandomUnderSampler
from imbalance_spark.train_only.sampling.refused import refuse_by_name
from imbalance_spark.train_only.sampling.sample_by_class import sample_by_class
from imbalance_spark.train_only.sampling.sampling_strategy import check_sampling_strategy
from imbalance_spark.train_only.sampling.smote import ADASYN, SMOTE, BorderlineSMOTE
from imbalance_spark.train_only.sampling.smote_categorical import SMOTEN, SMOTENC

__all__ = [
    "ADASYN",
    "SMOTE",
    "SMOTEENN",
    "SMOTEN",
    "SMOTENC",
    "BorderlineSMOTE",
    "EditedNearestNeighbours",
    "InstanceHardnessThreshold",
    "NearMiss",
    "NeighbourhoodCleaningRule",
    "RandomOverSampler",
    "RandomUnderSampler",
    "SMOTETomek",
    "TomekLinks",
    "check_sampling_strategy",
    "sample_by_class",
]


def __getattr__(name: str) -> NoReturn:
    refuse_by_name(name, __name__)
