"""Sampling of training rows, in the words of Spark and of imbalanced-learn."""

from typing import NoReturn

from imbalance_spark.train_only.sampling.adasyn import ADASYN
from imbalance_spark.train_only.sampling.borderline_smote import BorderlineSMOTE
from imbalance_spark.train_only.sampling.edited_nearest_neighbours import EditedNearestNeighbours
from imbalance_spark.train_only.sampling.instance_hardness_threshold import InstanceHardnessThreshold
from imbalance_spark.train_only.sampling.near_miss import NearMiss
from imbalance_spark.train_only.sampling.neighbourhood_cleaning_rule import NeighbourhoodCleaningRule
from imbalance_spark.train_only.sampling.random_over import RandomOverSampler
from imbalance_spark.train_only.sampling.random_under import RandomUnderSampler
from imbalance_spark.train_only.sampling.refused import refuse_by_name
from imbalance_spark.train_only.sampling.sample_by_class import sample_by_class
from imbalance_spark.train_only.sampling.smote import SMOTE
from imbalance_spark.train_only.sampling.smote_and_clean import SMOTEENN, SMOTETomek
from imbalance_spark.train_only.sampling.smoten import SMOTEN
from imbalance_spark.train_only.sampling.smotenc import SMOTENC
from imbalance_spark.train_only.sampling.strategy import check_sampling_strategy
from imbalance_spark.train_only.sampling.tomek_links import TomekLinks

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
