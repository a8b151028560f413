"""From a source to rows that a model can read: read, validate, split, encode; shared by the jobs."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pyspark.sql import DataFrame, SparkSession

from imbalance_spark.comparison.cross_fit import Evaluation, evaluation_of
from imbalance_spark.comparison.source import pinned_orders, source_orders
from imbalance_spark.config.run import RunConfig
from imbalance_spark.core.class_counts import Label
from imbalance_spark.core.columns import FOLDS, SPLIT, TRAIN, VALIDATION, col, refuse_columns
from imbalance_spark.core.progress import Progress
from imbalance_spark.core.run import Run
from imbalance_spark.orders.audit import Audit, audit, refuse_key_like
from imbalance_spark.orders.diagnosis import Diagnosis, diagnose
from imbalance_spark.orders.model_inputs import LABEL, CategoryEncoding, feature_column, fit_categories, model_inputs
from imbalance_spark.orders.read import SourceOrders
from imbalance_spark.orders.schema import check_orders
from imbalance_spark.orders.validation.validate import ValidatedOrders, ValidationReport, validate_orders
from imbalance_spark.scoring.boosters import as_float
from imbalance_spark.split import SplitPlan
from imbalance_spark.split.folds import Folds, as_scored, as_trained, cross_fit_folds, fit_folds
from imbalance_spark.split.rules import KnownCounts
from imbalance_spark.split.stratified import fit_split_by_config
from imbalance_spark.train_only.pool import TrainingPool, rows_in_memory, training_pool
from imbalance_spark.train_only.strategies.base import planned_fits
from imbalance_spark.train_only.strategies.recipe import TWO_CLASSES

logger = logging.getLogger(__name__)


CLASS_NUMBER = "class_number"


TRAINED = "trained"
"""In the record of a split: the folds that the models which serve are fitted on."""


INPUTS = "inputs"
"""The step whose table every later stage reads instead of the orders."""

STAGES = ("read", "validate", "split", "categories", INPUTS, "evaluation", "audit")
"""Those that `prepare` announces."""


@dataclass(frozen=True, kw_only=True)
class PreparedOrders:
    """Valid orders of a run with their fold, and the same as model inputs.

    `inputs` has the columns of key, group, time and segments, `split`, `class_number`, `x_0..` (float), `y` and, where
    configured, `row_weight`, `amount_value`, and `category_0..` for a champion. It is a table of the run, of which a
    filter on `split` reads a part; `orders` are lazy over the pinned source.
    """

    run: Run
    location: str
    version: int | None
    """Of a Delta source; None of one that was copied to the run's folder."""
    report: ValidationReport
    plan: SplitPlan
    categories: CategoryEncoding
    diagnosis: Diagnosis
    audit: Audit
    orders: DataFrame
    """The valid orders as they came, with `split`."""
    passed_columns: tuple[str, ...]
    """Columns of the orders that stand in `inputs`, too."""
    inputs: DataFrame
    evaluation: Evaluation
    folds: Folds | None
    """Of a cross-fit."""
    pool: TrainingPool

    @property
    def split_record(self) -> dict[str, Any]:
        """The plan as JSON values, and which of its folds are fitted on."""
        trained = [TRAIN] if self.folds is None else [TRAIN, VALIDATION]
        return {**self.plan.to_dict(), TRAINED: trained}

    @property
    def trained(self) -> DataFrame:
        """The inputs as the models that serve are fitted: a cross-fit's on the rows of validation, too."""
        return self.inputs if self.folds is None else as_trained(self.inputs)

    def scored(self, rows: DataFrame) -> DataFrame:
        """Orders or inputs as they are scored: `split` is "validation" for the rows that rank, calibrate and choose."""
        return rows if self.folds is None else as_scored(rows, self.folds)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, in the order of their numbers."""
        return self.report.label.classes

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a person should look at before believing the results."""
        return (*self.report.warnings, *self.audit.warnings())


def prepare(
    spark: SparkSession,
    config: RunConfig,
    progress: Progress,
    orders: DataFrame | None = None,
    *,
    free_bytes: int = 0,
) -> PreparedOrders:
    """Read, validate, split and encode the orders of a config.

    Passes over the orders: one to copy a source that is not Delta (it has no versions), those of `validate_orders`,
    those of `fit_split`, one over the training rows for the categories, one of `refuse_key_like` where there are
    suspects, and one that writes the inputs. Over these: those of `fit_folds` where rows are few, and those of `audit`.

    Args:
        orders: instead of `config.orders.source`; one pass counts them, one writes them to the run's folder.
        free_bytes: memory of the executors; 0 if it is not known, and then all training rows are in the pool.
    Raises:
        ConfigError, DataContractError: see the rooms that are called.
    """
    with progress.step("read") as step:
        run, pinned, location, version = pinned_orders(spark, config, orders)
        check_orders(pinned, config.orders)
        step.says(f"{location}{'' if version is None else f' version {version}'}; run {run.run_id}")
    with progress.step("validate") as step:
        validated = _validate(run, pinned, config)
        step.says(_rows_kept(validated.report))
    with progress.step("split") as step:
        coded = with_class_number(validated, config.orders.label)
        plan = _fit_plan(run, coded, validated, config)
        counts = split_counts(plan)
        step.says(", ".join(f"{fold} {sum(counts[fold].values()):,}" for fold in FOLDS))
    split, evaluation = plan.assign(coded), evaluation_of(config, counts)
    with progress.step("categories") as step:
        categories = _categories(run, as_trained(split) if evaluation.is_cross_fit else split, config)
        found = ", ".join(f"{name} {len(values):,}" for name, values in categories.values.items())
        step.says(f"in train: {found}" if found else "no such feature")
    passed = _passed_columns(config)
    with progress.step(INPUTS) as step:
        read = model_inputs(
            split, config.orders, validated.report.label, categories, keep=passed,
            with_values=compares_champion(config),
        )  # fmt: skip
        pool = _pool(run, counts, evaluation, config, free_bytes)
        _check_samplings(config, pool, trained_counts(counts, evaluation))
        kept = (
            read
            if pool.is_all or judges_train(evaluation, config)
            else read.where((col(SPLIT) != TRAIN) | pool.holds(LABEL))
        )
        inputs = run.table(INPUTS, lambda: _to_store(kept, validated.report, config), partition_by=(SPLIT,))
        pin = run.pin(INPUTS)
        step.says(f"{pin.rows:,} rows in {sum(pin.files.values()) / 2**20:,.0f} MiB, which all that follows reads")
        step.says(f"fits read {pool.sentence(validated.report.label.classes)}")
    with progress.step("evaluation") as step:
        folds = _folds(run, inputs, plan, evaluation, config)
        step.says(evaluation.cost(config))
    with progress.step("audit") as step:
        audited = _audit(run, inputs, validated.report, config)
        step.says(
            f"{audited.duplicates.shared:,} of {audited.duplicates.held_out:,} held-out rows duplicate a training row"
        )
    return PreparedOrders(
        run=run,
        location=location,
        version=version,
        report=validated.report,
        plan=plan,
        categories=categories,
        diagnosis=diagnose(class_rows(validated.report), counts, validated.report.label.classes),
        audit=audited,
        orders=split,
        passed_columns=passed,
        inputs=inputs,
        evaluation=evaluation,
        folds=folds,
        pool=pool,
    )


def compares_champion(config: RunConfig) -> bool:
    """Whether the gate compares with the champion of the registry, if there is one."""
    return config.tracking.registered_model is not None and config.gate.mode != "disabled"


def _passed_columns(config: RunConfig) -> tuple[str, ...]:
    """Columns of the orders that later stages ask for by name."""
    roles = [n for n in (config.orders.group, config.orders.time, config.scoring.entity) if n is not None]
    return tuple(dict.fromkeys([*config.orders.key, *roles, *config.scoring.segments, SPLIT, CLASS_NUMBER]))


def judges_train(evaluation: Evaluation, config: RunConfig) -> bool:
    """Whether training rows judge, too, so that those outside the pool are stored with the others."""
    return evaluation.is_cross_fit or config.split.backtest is not None


def trained_counts(by_split: Mapping[str, Mapping[int, int]], evaluation: Evaluation) -> dict[int, int]:
    """Rows of each class that the models which serve are fitted on, or stopped by; of a pool, too, all of them."""
    folds = (TRAIN, VALIDATION) if evaluation.is_cross_fit else (TRAIN,)
    return {number: sum(by_split[fold].get(number, 0) for fold in folds) for number in by_split[TRAIN]}


def pool_of(
    by_split: Mapping[str, Mapping[int, int]], evaluation: Evaluation, config: RunConfig, free_bytes: int
) -> TrainingPool:
    """The pool of a run's training rows, as the config or the memory of the executors limits it."""
    counts, training = trained_counts(by_split, evaluation), config.training
    most = training.max_rows
    if most is None:
        in_memory = rows_in_memory(free_bytes, len(config.orders.features), training)
        most = in_memory if free_bytes else sum(counts.values())
    return training_pool(counts, most, key=config.orders.key, seed=config.split.seed)


def _pool(
    run: Run, by_split: Mapping[str, Mapping[int, int]], evaluation: Evaluation, config: RunConfig, free_bytes: int
) -> TrainingPool:
    # Kept in the run: more or less memory, when it goes on, changes nothing.
    made = pool_of(by_split, evaluation, config, free_bytes)
    return TrainingPool.from_dict(run.document("pool", made.to_dict))


def _check_samplings(config: RunConfig, pool: TrainingPool, trained: Mapping[int, int]) -> None:
    """Refuse strategies that cannot sample rows of these classes, before any row is written or fitted on."""
    share = 1.0 - config.split.early_stopping_fraction
    fit_rows: dict[Label, int] = {number: round(rows * share) for number, rows in pool.rows(trained).items()}
    if not all(fit_rows.values()):
        return  # a class without rows is refused with a reason of its own
    classes = config.orders.class_names or TWO_CLASSES
    planned_fits(config.compared, classes, fit_rows, "" if pool.is_all else f" Fits read {pool.sentence(classes)}.")


def _to_store(inputs: DataFrame, report: ValidationReport, config: RunConfig) -> DataFrame:
    """The inputs with features as float32, which is what learners read."""
    refuse_key_like(inputs, config.orders, report.large_integers)
    features = [feature_column(i) for i in range(len(config.orders.features))]
    others = [col(name) for name in inputs.columns if name not in features]
    return inputs.select(*others, *as_float(features))


def with_class_number(validated: ValidatedOrders, label: str) -> DataFrame:
    """The valid orders with `class_number` (int, from 0), by which they are split; lazy."""
    refuse_columns(validated.valid, (CLASS_NUMBER,), "orders")
    number = validated.report.label.encode(col(label))
    return validated.valid.select("*", number.alias(CLASS_NUMBER))


def split_counts(plan: SplitPlan) -> dict[str, dict[int, int]]:
    """Rows per fold and class number of the rows that the plan was fitted on; rows in a gap are left out."""
    return {fold: {int(number): n for number, n in plan.counts[fold].items()} for fold in FOLDS}


def class_rows(report: ValidationReport) -> dict[int, int]:
    """Valid rows of each class."""
    return {number: report.class_counts[name] for number, name in enumerate(report.label.classes)}


def _validate(run: Run, orders: DataFrame, config: RunConfig) -> ValidatedOrders:
    known = ValidationReport.from_dict(run.read_document("validation")) if run.is_done("validation") else None
    validated = validate_orders(orders, config.orders, known, by_day=config.split.by == "time")
    run.document("validation", validated.report.to_dict)
    run.table("quarantined", lambda: validated.quarantined)
    return validated


def _rows_kept(report: ValidationReport) -> str:
    broken = ", ".join(f"{rule} {rows:,}" for rule, rows in report.by_rule.items() if rows)
    kept = f"{report.rows:,} -> {report.rows - report.quarantined:,} rows"
    return f"{kept}, {report.quarantined:,} quarantined" + (f" ({broken})" if broken else "")


def _fit_plan(run: Run, orders: DataFrame, validated: ValidatedOrders, config: RunConfig) -> SplitPlan:
    def fitted() -> Any:
        return _fit_split(orders, validated, config).to_dict()

    return SplitPlan.from_dict(run.document("split", fitted))


def _categories(run: Run, split: DataFrame, config: RunConfig) -> CategoryEncoding:
    def fitted() -> Any:
        train = split.where(col(SPLIT) == TRAIN)
        return fit_categories(train, config.orders.categorical, config.orders.max_categories).to_dict()

    return CategoryEncoding.from_dict(run.document("categories", fitted))


def _folds(run: Run, orders: DataFrame, plan: SplitPlan, evaluation: Evaluation, config: RunConfig) -> Folds | None:
    if not evaluation.is_cross_fit:
        return None
    roles = config.orders

    def fitted() -> Any:
        return fit_folds(
            orders,
            evaluation.folds,
            config.split,
            key=roles.key,
            label=CLASS_NUMBER,
            group=roles.group,
            time=roles.time,
        ).to_dict()

    return cross_fit_folds(SplitPlan.from_dict(run.document("cross_fit", fitted)), plan)


def _audit(run: Run, inputs: DataFrame, report: ValidationReport, config: RunConfig) -> Audit:
    def audited() -> Any:
        rows, in_time = report.rows - report.quarantined, config.split.by == "time"
        return audit(inputs, config.orders, rows, in_time=in_time).to_dict()

    found = Audit.from_dict(run.document("audit", audited))
    for warning in (*report.warnings, *found.warnings()):
        logger.warning("%s", warning)
    return found


INSPECT_STAGES = ("validate", "split")
"""Those that `inspect_orders` announces."""


@dataclass(frozen=True, kw_only=True)
class InspectedOrders:
    """What the orders hold; `valid` are those that break no rule, with `class_number`, lazily read from the source.

    `knows_days` says whether validation could count the rows of each day, so that a split by time need not.
    """

    source: SourceOrders
    report: ValidationReport
    plan: SplitPlan
    diagnosis: Diagnosis
    valid: DataFrame
    knows_days: bool


def inspect_orders(
    spark: SparkSession, config: RunConfig, orders: DataFrame | None = None, *, progress: Progress | None = None
) -> InspectedOrders:
    """Read, validate and learn the split, as a run would; nothing is written.

    Passes: those of `read_orders`, `validate_orders` and `fit_split`.

    Args:
        orders: one row per order, instead of `config.orders.source`.
        progress: announces `INSPECT_STAGES`, and those before them; by default these two alone, on stderr.

    Raises:
        ConfigError, DataContractError: see the rooms that are called.
    """
    progress = progress or Progress(INSPECT_STAGES)
    with progress.step("validate") as step:
        source = source_orders(spark, config, orders)
        validated = validate_orders(source.frame, config.orders, by_day=config.split.by == "time")
        report = validated.report
        step.says(f"{report.rows:,} rows, {report.quarantined:,} to quarantine")
    with progress.step("split"):
        valid = with_class_number(validated, config.orders.label)
        plan = _fit_split(valid, validated, config)
    diagnosis = diagnose(class_rows(report), split_counts(plan), report.label.classes)
    knows_days = validated.days is not None
    return InspectedOrders(
        source=source, report=report, plan=plan, diagnosis=diagnosis, valid=valid, knows_days=knows_days
    )


def _fit_split(orders: DataFrame, validated: ValidatedOrders, config: RunConfig) -> SplitPlan:
    roles = config.orders
    return fit_split_by_config(
        orders,
        config.split,
        key=roles.key,
        label=CLASS_NUMBER,
        group=roles.group,
        time=roles.time,
        known=_known_counts(validated),
    )


def _known_counts(validated: ValidatedOrders) -> KnownCounts:
    """What validation has counted, by class number."""
    numbers = {name: number for number, name in enumerate(validated.report.label.classes)}
    days: dict[int, Mapping[Label, int]] | None = None
    if validated.days is not None:
        days = {day: {numbers[name]: n for name, n in rows.items() if n} for day, rows in validated.days.items()}
    return KnownCounts(classes={n: validated.report.class_counts[name] for name, n in numbers.items()}, days=days)
