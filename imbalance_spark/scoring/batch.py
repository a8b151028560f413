"""A batch of orders to a table of scored ones, once; what no model can read is set aside with its reasons."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from imbalance_spark.core.columns import refuse_columns
from imbalance_spark.core.hashing import check_key
from imbalance_spark.orders.schema import check_features
from imbalance_spark.orders.validation.rules import (
    BrokenRows,
    any_broken,
    count_broken,
    feature_rules,
    refuse_too_many,
)
from imbalance_spark.orders.validation.rules import reasons as broken_rules
from imbalance_spark.scoring.bundle import ModelBundle
from imbalance_spark.scoring.control_sample import CONTROL_COLUMNS, ControlSample, mark_for_review, refuse_classes
from imbalance_spark.scoring.reasons import REASONS, check_reasons
from imbalance_spark.scoring.score_orders import added_columns, score_orders
from imbalance_spark.scoring.scored_table import (
    STAMPS,
    Batch,
    ScoredBatch,
    check_output,
    find_batch,
    write_batch,
    write_once,
)


def score_batch(
    orders: DataFrame,
    bundle: ModelBundle,
    batch: Batch,
    *,
    output: str,
    quarantine: str,
    max_quarantined: float,
    model_version: str,
    scored_at: datetime,
    control: ControlSample | None = None,
    reasons: int = 0,
) -> ScoredBatch:
    """Score the orders and append them to `output`, unless this batch stands there already.

    A batch is known by its orders and the bundle's hash. Each row says both, as `batch` and `bundle_sha256`.

    A row with an infinite feature, or one beyond float32, is set aside by the rules that training sets it aside by.
    It is appended to the Delta table at `quarantine`, with all columns of the orders, `reasons` (array of string),
    `model_version` and `scored_at`. Passes: one over the features of floating type, to count such rows; where there
    are any, one to write them; one to score the others.

    Args:
        orders: one row per order, see `score_orders`.
        max_quarantined: share of rows (0 to 1) that may be set aside.
        control: orders to review that are not flagged; adds `for_review` and `review_propensity`, see
            `mark_for_review`.
        reasons: how many features to name as reasons, see `score_orders`.

    Raises:
        DataContractError: the orders are not what the model was trained on; too many rows to set aside, or all;
            other columns than those of a table that is there. Nothing is written then.
        ConfigError: something else than a Delta table is at `output`; a control sample of three or more classes; more
            reasons than features.
    """
    batch = replace(batch, bundle_sha256=bundle.sha256)
    if (found := find_batch(orders.sparkSession, output, batch)) is not None:
        return found
    rules = _checked(orders, bundle, control, reasons)
    broken = count_broken(orders, rules) if rules else BrokenRows(rows=0)
    valid = orders
    if broken.broken > 0:
        _check_aside(orders, broken, max_quarantined)
        stamps = (F.lit(model_version).alias("model_version"), F.lit(scored_at).alias("scored_at"))
        is_broken = any_broken(rules)
        aside = orders.where(is_broken).select("*", broken_rules(rules).alias(REASONS), *stamps)
        # Before the scored rows, which say that the batch is done: after a kill in between, this write is skipped.
        write_once(aside, quarantine, batch)
        valid = orders.where(~is_broken)
    scored = score_orders(valid, bundle, model_version=model_version, scored_at=scored_at, reasons=reasons)
    scored = _stamped(scored if control is None else mark_for_review(scored, control), batch)
    return write_batch(scored, output, batch, broken)


@dataclass(frozen=True, kw_only=True)
class PlannedBatch:
    """What `score_batch` would do.

    Args:
        done: where the batch stands already: nothing would be added then.
        counted: rows read, and those to set aside by the rule that they break.
        columns: that the table would have.
    """

    done: ScoredBatch | None
    counted: BrokenRows
    columns: tuple[str, ...]

    @property
    def rows(self) -> int:
        """Rows that would be appended."""
        return 0 if self.done else self.counted.rows - self.counted.broken


def plan_batch(
    orders: DataFrame, bundle: ModelBundle, batch: Batch, *, output: str, max_quarantined: float, model_version: str,
    control: ControlSample | None = None, reasons: int = 0,
) -> PlannedBatch:  # fmt: skip
    """All checks of `score_batch` and its counts; one pass over the orders, nothing is written.

    Raises: as `score_batch`.
    """
    batch = replace(batch, bundle_sha256=bundle.sha256)
    done = find_batch(orders.sparkSession, output, batch)
    counted = count_broken(orders, _checked(orders, bundle, control, reasons))
    if counted.broken > 0:
        _check_aside(orders, counted, max_quarantined)
    now = datetime.now(UTC)
    scored = score_orders(orders, bundle, model_version=model_version, scored_at=now, reasons=reasons)
    scored = _stamped(scored if control is None else mark_for_review(scored, control), batch)
    check_output(scored, output)
    return PlannedBatch(done=done, counted=counted, columns=tuple(scored.columns))


def _checked(orders: DataFrame, bundle: ModelBundle, control: ControlSample | None, asked: int) -> Mapping[str, Column]:
    """The rules by which rows are set aside, of orders whose columns the model and the control sample can read."""
    added = (*added_columns(bundle, asked), *STAMPS)
    check_reasons(asked, bundle)
    if control is not None:
        refuse_classes(bundle)
        check_key(orders, control.key, "control sample")
        added = (*added, *CONTROL_COLUMNS)
    check_features(orders, bundle.numbers, bundle.categorical, added)
    return feature_rules(orders, bundle.numeric)


def _stamped(scored: DataFrame, batch: Batch) -> DataFrame:
    values = (batch.bundle_sha256, batch.identity)
    return scored.select("*", *[F.lit(value).alias(name) for name, value in zip(STAMPS, values, strict=True)])


def _check_aside(orders: DataFrame, broken: BrokenRows, max_quarantined: float) -> None:
    refuse_too_many(broken, max_quarantined)
    refuse_columns(orders, (REASONS,), "quarantine")
