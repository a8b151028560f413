"""The champion against the strategy of a run: on rows that neither was trained on, each as it is served."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from imbalance_spark.comparison.compare import Comparison
from imbalance_spark.comparison.gains import (
    COST,
    FEWEST_POSITIVES,
    Jackknifed,
    class_cost_of,
    cost_of,
    joint_level,
    of_strategy,
    paired_gain,
    ranking_of,
)
from imbalance_spark.comparison.prepare import CLASS_NUMBER, TRAINED
from imbalance_spark.comparison.score_strategies import (
    SERVED_RULE,
    calibrate_and_choose,
    candidate_of,
    count_served,
)
from imbalance_spark.core.columns import SPLIT, TEST, TRAIN, VALIDATION, col
from imbalance_spark.core.errors import DataContractError, MissingColumnsError
from imbalance_spark.metrics.bucket_draws import decided
from imbalance_spark.metrics.intervals import Interval
from imbalance_spark.orders.model_inputs import (
    AMOUNT_VALUE,
    LABEL,
    ROW_WEIGHT,
    CategoryEncoding,
    category_column,
    feature_column,
    model_inputs,
)
from imbalance_spark.orders.schema import check_features
from imbalance_spark.scoring.boosters import Candidate
from imbalance_spark.scoring.bundle import SERVED, ModelBundle
from imbalance_spark.scoring.held_out import DecidingModel
from imbalance_spark.scoring.held_out_counts import HeldOutCounts
from imbalance_spark.split import SplitPlan
from imbalance_spark.threshold.choice import cut_at
from imbalance_spark.threshold.order_costs import OrderRule
from imbalance_spark.threshold.rule import DECIDED_AT
from imbalance_spark.tracking.registry import RegisteredVersion, bundle_of_version, split_record_of

_UNSEEN = "__unseen"
_OF_EVERY_MODEL = (LABEL, ROW_WEIGHT, AMOUNT_VALUE)
"""Stored inputs that do not depend on a model's features."""


@dataclass(frozen=True, kw_only=True)
class ChampionGain:
    """How much better the strategy that a run registers is than the champion.

    Args:
        margin: the gain that is too small to matter, in the unit of the gain.
        rows: on which rows they were compared, as a sentence.
    """

    gain: Interval
    margin: float
    rows: str


def compare_with_champion(comparison: Comparison, champion: RegisteredVersion) -> ChampionGain:
    """Count both on the rows of validation that the champion's own split did not put into its train.

    The champion is taken as it is served: its calibration, its rule. So may its features and encodings be its own. A
    champion without a split record (its MLflow run is gone, or lacks columns here) is compared on all of validation,
    and the sentence says that it may have been trained on some of these rows.

    Passes: one over validation to count the rows; one over validation and test for the champion, and one for the run's
    strategy where rows were left out. All are kept in the run. They read the stored inputs; where these lack a feature
    of the champion, or a column of its split, the orders.

    Raises:
        DataContractError: the champion has other classes, lacks a column here, its files are damaged, or fewer than
            `FEWEST_POSITIVES` rows of a class are left.
    """
    pair = _Pair(comparison, champion, bundle_of_version(champion))
    pair.check()
    metric, level = comparison.deciding, joint_level(len(comparison.results))
    own, other = pair.own(), pair.champion()
    return ChampionGain(
        gain=paired_gain(own, other, is_loss=metric == COST, level=level),
        margin=comparison.margin_of(other.value),
        rows=pair.rows,
    )


def unseen_rows(orders: DataFrame, plan: SplitPlan, trained: Sequence[str] = (TRAIN,)) -> Column:
    """Whether a plan puts a row into no fold that was fitted on; one of unknown fold counts as seen. No pass.

    Args:
        trained: folds that were fitted on: after a cross-fit validation, too.
    Raises:
        MissingColumnsError: the plan needs a column that is absent.
    """
    missing = set(plan.rules.columns) - set(orders.columns)
    if missing:
        raise MissingColumnsError.of("the champion's split", missing, orders.columns)
    return F.coalesce(~plan.fold(orders).isin(*trained), F.lit(False))


@dataclass(frozen=True)
class _Pair:
    """A comparison, and the champion that its strategy is to replace."""

    comparison: Comparison
    version: RegisteredVersion
    bundle: ModelBundle

    def check(self) -> None:
        """Refuse a champion that cannot be scored here, and rows that are too few."""
        prepared, bundle = self.comparison.prepared, self.bundle
        if not _knows_same_classes(bundle.classes, prepared.classes):
            raise DataContractError(f"it knows the classes {list(bundle.classes)}, here are {list(prepared.classes)}.")
        check_features(prepared.orders, bundle.numeric, bundle.categorical)
        self._check_amount()
        if not self._leaves_out:
            return
        few = {prepared.classes[k]: n for k, n in self._unseen.items() if n < FEWEST_POSITIVES}
        if few:
            left = ", ".join(f"{n:,} of {name!r}" for name, n in few.items())
            wanted = f"{left} are left, and {FEWEST_POSITIVES} are needed"
            if VALIDATION in self._trained:
                raise DataContractError(
                    "it was cross-fitted, so that its own validation rows were fitted on, too, and nearly all of these "
                    f"rows are among them: {wanted}. Compare it on newer orders."
                )
            raise DataContractError(
                f"its split put nearly all of these validation rows into its train: {wanted}. Use its split.seed "
                f"({self._plan_seed}), or newer orders."
            )

    def _check_amount(self) -> None:
        rule, amount = self.bundle.rule_of(SERVED), self.comparison.config.orders.amount
        if isinstance(rule, OrderRule) and rule.column != amount:
            raise DataContractError(
                f"it decides by the amount in {rule.column!r}, and orders.amount is {amount!r} here. "
                f"Name {rule.column!r} as orders.amount."
            )

    @property
    def rows(self) -> str:
        """On which rows they are compared."""
        label = self.version.label
        if self._unseen_column is None:
            return (
                f"The split of {label} is unknown (its MLflow run has none, or it needs other columns): it may have "
                "been trained on some of these rows, which favours it."
            )
        left, total = sum(self._unseen.values()), sum(self._judged.values())
        if not self._leaves_out:
            return f"{label} was trained on none of the {total:,} rows of validation."
        return f"Compared on the {left:,} of {total:,} rows of validation that {label} was not trained on."

    def own(self) -> Jackknifed:
        """What decides, of the run's strategy."""
        comparison, best = self.comparison, self.comparison.best
        metric, decisions, serving = comparison.deciding, comparison.decisions, comparison.serving
        if not self._leaves_out:
            return of_strategy(best.scored, metric, decisions)
        orders = comparison.config.orders
        model = DecidingModel(
            candidate=candidate_of(best.fitted),
            calibrators=best.scored.cross_fitted,
            rules={SERVED_RULE: best.rules[serving]},
        )
        features = (orders.numeric, orders.categorical, comparison.prepared.categories)
        counts = self._counts_of(f"counts_{best.name}_beside_{self.version.model_id}", model, *features)
        if metric != COST or not comparison.is_single or self._by_order(model):
            return self._deciding(counts)
        chosen = calibrate_and_choose(counts, replace(decisions, swept={serving: best.scored.objectives[serving]}))
        return of_strategy(chosen, metric, decisions)

    def champion(self) -> Jackknifed:
        """What decides, of the champion as it is served."""
        comparison, bundle = self.comparison, self.bundle
        model = DecidingModel(
            candidate=Candidate(
                name="champion",
                model_bytes=bundle.model_bytes,
                features=bundle.numeric + bundle.categorical,
                correction=bundle.correction,
            ),
            calibrators=(bundle.calibrator,) * 3,
            rules={SERVED_RULE: bundle.rule_of(SERVED)},
        )
        features = (bundle.numeric, bundle.categorical, bundle.categories)
        counts = self._counts_of(f"counts_champion_{self.version.model_id}", model, *features)
        if comparison.deciding != COST or not comparison.is_single or self._by_order(model):
            return self._deciding(counts)
        parts = [counts.target.bucketed(half, bundle.probabilities) for half in ("calibrate", "choose")]
        served = decided([(part, cut_at(part.curve, bundle.threshold)) for part in parts])
        return cost_of(served, comparison.decisions.cost_objective, DECIDED_AT)

    def _counts_of(
        self,
        step: str,
        model: DecidingModel,
        numeric: tuple[str, ...],
        categorical: tuple[str, ...],
        categories: CategoryEncoding,
    ) -> HeldOutCounts:
        """Counts of a model with these features: from the step log, else from a scan."""
        comparison = self.comparison
        prepared = comparison.prepared

        def counted() -> Any:
            inputs = self._inputs(numeric, categorical, categories)
            decides = self._by_order(model)
            return count_served(prepared, inputs, model, comparison.config, decides=decides).to_records()

        return HeldOutCounts.from_records(prepared.run.document(step, counted))

    def _by_order(self, model: DecidingModel) -> bool:
        """Whether what decides is a cost, and the model decides order by order."""
        return self.comparison.deciding == COST and isinstance(model.rules[SERVED_RULE], OrderRule)

    def _deciding(self, counts: HeldOutCounts) -> Jackknifed:
        """What decides, from counts of scores, of decisions order by order, or of decisions between K classes."""
        metric, decisions = self.comparison.deciding, self.comparison.decisions
        if metric != COST:
            return ranking_of(counts, metric)
        if not self.comparison.is_single:
            return class_cost_of(counts, SERVED_RULE, decisions)
        return cost_of(counts.target.bucketed(VALIDATION), decisions.cost_objective, DECIDED_AT)

    def _inputs(
        self, numeric: tuple[str, ...], categorical: tuple[str, ...], categories: CategoryEncoding
    ) -> DataFrame:
        """Inputs of these features; of validation the rows that the champion was not trained on."""
        prepared, own = self.comparison.prepared, self.comparison.config.orders
        if (
            not self._marks_stored
            or not set(numeric) <= set(own.numeric)
            or not set(categorical) <= set(own.categorical)
        ):
            roles = own.model_copy(update={"numeric": numeric, "categorical": categorical})
            orders, keep = self._judging(prepared.orders), prepared.passed_columns
            return model_inputs(orders, roles, prepared.report.label, categories, keep=keep)
        stored = [col(feature_column(own.features.index(name))) for name in numeric]
        stored += [categories.encode(name, category_column(own.categorical.index(name))) for name in categorical]
        others = [name for name in prepared.inputs.columns if name in (*prepared.passed_columns, *_OF_EVERY_MODEL)]
        features = [value.alias(feature_column(i)) for i, value in enumerate(stored)]
        return self._judging(prepared.inputs).select(*[col(name) for name in others], *features)

    def _judging(self, rows: DataFrame) -> DataFrame:
        unseen = self._unseen_in(rows)
        return rows.where((col(SPLIT) == TEST) | unseen) if unseen is not None and self._leaves_out else rows

    @cached_property
    def _plan(self) -> SplitPlan | None:
        return None if self._record is None else SplitPlan.from_dict(self._record)

    @cached_property
    def _record(self) -> Mapping[str, Any] | None:
        return split_record_of(self.version)

    @property
    def _trained(self) -> Sequence[str]:
        """Folds that the champion was fitted on."""
        return (TRAIN,) if self._record is None else self._record.get(TRAINED, (TRAIN,))

    @property
    def _plan_seed(self) -> str:
        return "unknown" if self._plan is None else str(self._plan.rules.seed)

    @property
    def _marks_stored(self) -> bool:
        """Whether the stored inputs tell which rows the champion's split put into its train."""
        return self._plan is None or set(self._plan.rules.columns) <= set(self.comparison.prepared.inputs.columns)

    @property
    def _telling(self) -> DataFrame:
        """The rows that tell it: the stored inputs, else the orders."""
        return self.comparison.prepared.inputs if self._marks_stored else self.comparison.prepared.orders

    def _unseen_in(self, rows: DataFrame) -> Column | None:
        if self._plan is None or self._record is None:
            return None
        try:
            return unseen_rows(rows, self._plan, self._trained)
        except MissingColumnsError:
            return None

    @property
    def _unseen_column(self) -> Column | None:
        return self._unseen_in(self._telling)

    @cached_property
    def _counts(self) -> Mapping[str, Mapping[str, int]]:
        """Rows of validation, and of these the unseen ones, by class number as text."""
        prepared, unseen = self.comparison.prepared, self._unseen_column

        def counted() -> Any:
            is_unseen = F.lit(True) if unseen is None else unseen
            marked = self._telling.select("*", is_unseen.alias(_UNSEEN))
            judged = prepared.scored(marked).where(col(SPLIT) == VALIDATION).groupBy(CLASS_NUMBER)
            found = judged.agg(F.count(F.lit(1)).alias("rows"), F.count_if(_UNSEEN).alias("unseen")).collect()
            return {str(row[CLASS_NUMBER]): {"rows": row["rows"], "unseen": row["unseen"]} for row in found}

        return prepared.run.document(f"unseen_by_{self.version.model_id}", counted)  # type: ignore[no-any-return]

    @property
    def _judged(self) -> dict[int, int]:
        return {int(k): counts["rows"] for k, counts in self._counts.items()}

    @property
    def _unseen(self) -> dict[int, int]:
        return {int(k): counts["unseen"] for k, counts in self._counts.items()}

    @property
    def _leaves_out(self) -> bool:
        """Whether the champion was trained on rows of this validation."""
        return self._unseen_column is not None and self._unseen != self._judged


def _knows_same_classes(one: tuple[str, ...], other: tuple[str, ...]) -> bool:
    """Of two classes the positive one is enough: the other is all that is left."""
    return one[1] == other[1] if len(one) == len(other) == 2 else one == other
