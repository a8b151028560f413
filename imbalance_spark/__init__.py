"""Class imbalance on Spark from split to threshold; the public names, each loaded when it is first used.

`import imbalance_spark as ims` needs neither Spark, MLflow nor XGBoost: a name's module is imported by `ims.<name>`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from imbalance_spark.core.version import __version__ as __version__

if TYPE_CHECKING:
    from imbalance_spark.calibration import IsotonicCalibration as IsotonicCalibration
    from imbalance_spark.calibration import LogOddsCalibration as LogOddsCalibration
    from imbalance_spark.calibration import MulticlassTemperature as MulticlassTemperature
    from imbalance_spark.calibration import PriorCorrection as PriorCorrection
    from imbalance_spark.calibration import choose_calibrator as choose_calibrator
    from imbalance_spark.calibration import correct_prior as correct_prior
    from imbalance_spark.calibration import fit_calibrator as fit_calibrator
    from imbalance_spark.calibration import ledger_check as ledger_check
    from imbalance_spark.comparison.prepare import inspect_orders as inspect_orders
    from imbalance_spark.comparison.retune import register_retuned as register_retuned
    from imbalance_spark.comparison.retune import retune as retune
    from imbalance_spark.comparison.run import RunResult as RunResult
    from imbalance_spark.comparison.run import run as run
    from imbalance_spark.config.run import GateConfig as GateConfig
    from imbalance_spark.config.run import RunConfig as RunConfig
    from imbalance_spark.config.run import ScoringConfig as ScoringConfig
    from imbalance_spark.config.run import SparkConfig as SparkConfig
    from imbalance_spark.config.yaml_file import load_config as load_config
    from imbalance_spark.metrics import ConfusionMatrix as ConfusionMatrix
    from imbalance_spark.metrics import Curve as Curve
    from imbalance_spark.metrics import MulticlassConfusion as MulticlassConfusion
    from imbalance_spark.metrics import MulticlassCounts as MulticlassCounts
    from imbalance_spark.metrics import ScoreCounts as ScoreCounts
    from imbalance_spark.metrics import collect_multiclass_counts as collect_multiclass_counts
    from imbalance_spark.metrics import collect_score_counts as collect_score_counts
    from imbalance_spark.metrics import evaluate as evaluate
    from imbalance_spark.metrics import evaluate_multiclass as evaluate_multiclass
    from imbalance_spark.metrics import majority_baseline as majority_baseline
    from imbalance_spark.metrics import matrix_metrics as matrix_metrics
    from imbalance_spark.metrics import score_counts as score_counts
    from imbalance_spark.monitoring.config import MonitoringConfig as MonitoringConfig
    from imbalance_spark.monitoring.page import monitor_page as monitor_page
    from imbalance_spark.monitoring.run import MonitorTask as MonitorTask
    from imbalance_spark.monitoring.run import monitor as monitor
    from imbalance_spark.orders.config import OrdersConfig as OrdersConfig
    from imbalance_spark.orders.config import SourceConfig as SourceConfig
    from imbalance_spark.orders.datasets import OrderShift as OrderShift
    from imbalance_spark.orders.datasets import generate_orders as generate_orders
    from imbalance_spark.orders.datasets import generate_outcomes as generate_outcomes
    from imbalance_spark.scoring.batch import score_batch as score_batch
    from imbalance_spark.scoring.increments import score_increments as score_increments
    from imbalance_spark.scoring.score_orders import score_orders as score_orders
    from imbalance_spark.scoring.scored_table import current_scores as current_scores
    from imbalance_spark.scoring.scored_table import read_batch as read_batch
    from imbalance_spark.session import spark_session as spark_session
    from imbalance_spark.split import SplitPlan as SplitPlan
    from imbalance_spark.split import count_splits as count_splits
    from imbalance_spark.split import early_stopping_slice as early_stopping_slice
    from imbalance_spark.split import fit_split as fit_split
    from imbalance_spark.split import stratified_split as stratified_split
    from imbalance_spark.split.config import SplitConfig as SplitConfig
    from imbalance_spark.threshold import AlertBudget as AlertBudget
    from imbalance_spark.threshold import BayesCost as BayesCost
    from imbalance_spark.threshold import ChosenThreshold as ChosenThreshold
    from imbalance_spark.threshold import MaxFBeta as MaxFBeta
    from imbalance_spark.threshold import MaxKappa as MaxKappa
    from imbalance_spark.threshold import MaxMCC as MaxMCC
    from imbalance_spark.threshold import MaxPrecision as MaxPrecision
    from imbalance_spark.threshold import MaxRecall as MaxRecall
    from imbalance_spark.threshold import MinCost as MinCost
    from imbalance_spark.threshold import TopEntities as TopEntities
    from imbalance_spark.threshold import Youden as Youden
    from imbalance_spark.threshold import choose_again as choose_again
    from imbalance_spark.threshold import choose_threshold as choose_threshold
    from imbalance_spark.threshold import sweep as sweep
    from imbalance_spark.threshold import sweep_segments as sweep_segments
    from imbalance_spark.threshold.choice import threshold_interval as threshold_interval
    from imbalance_spark.threshold.class_rules import ClassThresholds as ClassThresholds
    from imbalance_spark.threshold.class_rules import CostMatrix as CostMatrix
    from imbalance_spark.threshold.class_rules import sweep_classes as sweep_classes
    from imbalance_spark.tracking.config import TrackingConfig as TrackingConfig
    from imbalance_spark.tracking.models import load_logged_model as load_logged_model
    from imbalance_spark.tracking.registry import load_registered_model as load_registered_model
    from imbalance_spark.train_only.config import BoosterParams as BoosterParams
    from imbalance_spark.train_only.config import TrainingConfig as TrainingConfig
    from imbalance_spark.train_only.sampling import ADASYN as ADASYN
    from imbalance_spark.train_only.sampling import SMOTE as SMOTE
    from imbalance_spark.train_only.sampling import SMOTEENN as SMOTEENN
    from imbalance_spark.train_only.sampling import SMOTEN as SMOTEN
    from imbalance_spark.train_only.sampling import SMOTENC as SMOTENC
    from imbalance_spark.train_only.sampling import BorderlineSMOTE as BorderlineSMOTE
    from imbalance_spark.train_only.sampling import EditedNearestNeighbours as EditedNearestNeighbours
    from imbalance_spark.train_only.sampling import InstanceHardnessThreshold as InstanceHardnessThreshold
    from imbalance_spark.train_only.sampling import NearMiss as NearMiss
    from imbalance_spark.train_only.sampling import NeighbourhoodCleaningRule as NeighbourhoodCleaningRule
    from imbalance_spark.train_only.sampling import RandomOverSampler as RandomOverSampler
    from imbalance_spark.train_only.sampling import RandomUnderSampler as RandomUnderSampler
    from imbalance_spark.train_only.sampling import SMOTETomek as SMOTETomek
    from imbalance_spark.train_only.sampling import TomekLinks as TomekLinks
    from imbalance_spark.train_only.sampling import sample_by_class as sample_by_class
    from imbalance_spark.train_only.weights import class_weights as class_weights
    from imbalance_spark.train_only.weights import scale_pos_weight as scale_pos_weight
    from imbalance_spark.train_only.weights import with_class_weight as with_class_weight


_SAMPLING = "train_only.sampling"
_NAMES = {
    "calibration": (
        *("IsotonicCalibration", "LogOddsCalibration", "MulticlassTemperature", "PriorCorrection"),
        *("choose_calibrator", "correct_prior", "fit_calibrator", "ledger_check"),
    ),
    "comparison.prepare": ("inspect_orders",),
    "comparison.retune": ("register_retuned", "retune"),
    "comparison.run": ("RunResult", "run"),
    "config.run": ("GateConfig", "RunConfig", "ScoringConfig", "SparkConfig"),
    "config.yaml_file": ("load_config",),
    "metrics": (
        *("ConfusionMatrix", "Curve", "MulticlassConfusion", "MulticlassCounts", "ScoreCounts"),
        *("collect_multiclass_counts", "collect_score_counts", "evaluate", "evaluate_multiclass", "majority_baseline"),
        *("matrix_metrics", "score_counts"),
    ),
    "monitoring.config": ("MonitoringConfig",),
    "monitoring.page": ("monitor_page",),
    "monitoring.run": ("MonitorTask", "monitor"),
    "orders.datasets": ("OrderShift", "generate_orders", "generate_outcomes"),
    "orders.config": ("OrdersConfig", "SourceConfig"),
    "scoring.batch": ("score_batch",),
    "scoring.increments": ("score_increments",),
    "scoring.score_orders": ("score_orders",),
    "scoring.scored_table": ("current_scores", "read_batch"),
    "session": ("spark_session",),
    "split.config": ("SplitConfig",),
    "split": ("SplitPlan", "count_splits", "early_stopping_slice", "fit_split", "stratified_split"),
    "threshold": (
        *("AlertBudget", "BayesCost", "ChosenThreshold", "MaxFBeta", "MaxKappa", "MaxMCC", "MaxPrecision"),
        *("MaxRecall", "MinCost", "TopEntities", "Youden", "choose_again", "choose_threshold", "sweep"),
        "sweep_segments",
    ),
    "threshold.choice": ("threshold_interval",),
    "threshold.class_rules": ("ClassThresholds", "CostMatrix", "sweep_classes"),
    "tracking.config": ("TrackingConfig",),
    "tracking.models": ("load_logged_model",),
    "tracking.registry": ("load_registered_model",),
    _SAMPLING: (
        *("ADASYN", "BorderlineSMOTE", "EditedNearestNeighbours", "InstanceHardnessThreshold", "NearMiss"),
        *("NeighbourhoodCleaningRule", "RandomOverSampler", "RandomUnderSampler", "SMOTE", "SMOTEENN", "SMOTEN"),
        *("SMOTENC", "SMOTETomek", "TomekLinks", "sample_by_class"),
    ),
    "train_only.config": ("BoosterParams", "TrainingConfig"),
    "train_only.weights": ("class_weights", "scale_pos_weight", "with_class_weight"),
}
_MODULES = {name: module for module, names in _NAMES.items() for name in names}
_REFUSED = ("ClusterCentroids", "CondensedNearestNeighbour", "KMeansSMOTE", "OneSidedSelection", "SVMSMOTE")
"""Samplers of imbalanced-learn that `train_only.sampling` refuses, each with its reason."""

__all__ = sorted(_MODULES)  # type checkers read the imports above


def __getattr__(name: str) -> Any:
    """Import the module of a public name and keep the name; raise what a refused sampler has to say."""
    if name in _REFUSED:
        return getattr(import_module(f"{__name__}.{_SAMPLING}"), name)
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULES})
