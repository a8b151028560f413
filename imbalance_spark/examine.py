"""Orders looked at before anything is written: which are valid, and how they would be split."""

from dataclasses import dataclass

from pyspark.sql import DataFrame, SparkSession

from imbalance_spark.config import RunConfig
from imbalance_spark.diagnose import Diagnosis
from imbalance_spark.multiclass.diagnosis import ClassDiagnosis, diagnosis_of
from imbalance_spark.orders import SourceOrders, read_orders
from imbalance_spark.prepare import CLASS_NUMBER, class_rows, split_counts, with_class_number
from imbalance_spark.progress import Progress
from imbalance_spark.split import SplitPlan
from imbalance_spark.split.by_config import fit_split_by_config
from imbalance_spark.validate import ValidationReport, validate_orders

STEPS = 2
"""Stages that `examine` announces."""


@dataclass(frozen=True, kw_only=True)
class ExaminedOrders:
    """What the orders hold; `valid` are those that break no rule, with `class_number`, lazily read from the source."""

    source: SourceOrders
    report: ValidationReport
    plan: SplitPlan
    diagnosis: Diagnosis | ClassDiagnosis
    valid: DataFrame


def examine(spark: SparkSession, config: RunConfig, progress: Progress) -> ExaminedOrders:
    """Read, validate and learn the split, as a run would; nothing is written.

    Passes: those of `read_orders`, `validate_orders` and `fit_split`.

    Raises:
        ConfigError, DataContractError: see the rooms that are called.
    """
    with progress.step("validate") as step:
        source = read_orders(spark, config.orders.source)
        validated = validate_orders(source.frame, config.orders)
        report = validated.report
        step.says(f"{report.rows:,} rows, {report.quarantined:,} to quarantine")
    with progress.step("split"):
        valid = with_class_number(validated, config.orders.label)
        plan = fit_split_by_config(valid, config.split, config.orders, label=CLASS_NUMBER)
    diagnosis = diagnosis_of(class_rows(report), split_counts(plan), report.label.classes)
    return ExaminedOrders(source=source, report=report, plan=plan, diagnosis=diagnosis, valid=valid)
