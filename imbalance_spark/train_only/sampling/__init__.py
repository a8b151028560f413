"""Sampling of training rows, with the parameters of Spark's `sampleBy` and of imbalanced-learn."""

from typing import NoReturn

from imbalance_spark.train_only.sampling.cleaning import EditedNearestNeighbours, NeighbourhoodCleaningRule, TomekLinks
from imbalance_spark.train_only.sampling.combine import SMOTEENN, SMOTETomek
from imbalance_spark.train_only.sampling.prototype_selection import InstanceHardnessThreshold, NearMiss
from imbalance_spark.train_only.sampling.random_samplers import RandomOverSampler, RandomUnderSampler
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

_REFUSED = {
    "CondensedNearestNeighbour": "it processes rows one after the other, in an order. Use NearMiss or TomekLinks",
    "OneSidedSelection": "it depends on one random row of each class. Use TomekLinks",
    "SVMSMOTE": "it needs a kernel machine on all rows, whose cost is quadratic in them. Use BorderlineSMOTE",
    "ClusterCentroids": "it needs one cluster centre per row to keep. Use RandomUnderSampler",
    "KMeansSMOTE": "its clusters depend on the order of mini-batches. Use BorderlineSMOTE or ADASYN",
}
"""Samplers of imbalanced-learn that have no faithful parallel form, each with the reason and what to use instead."""


def __getattr__(name: str) -> NoReturn:
    if name in _REFUSED:
        raise AttributeError(f"{name} is not offered on Spark: {_REFUSED[name]}.")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
