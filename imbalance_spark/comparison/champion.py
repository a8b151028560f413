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
    count_candidate,
    count_strategy,
)
from imbalance_spark.core.columns import SPLIT, TEST, TRAIN, VALIDATION, col
from imbalance_spark.core.errors import DataContractError, MissingColumnsError
from imbalance_spark.metrics.bucket_draws import decided
from imbalance_spark.metrics.intervals import Interval
from imbalance_spark.orders.categories import CategoryEncoding
from imbalance_spark.orders.model_inputs import model_inputs
from imbalance_spark.orders.schema import check_features
from imbalance_spark.scoring.bundle import ModelBundle
from imbalance_spark.scoring.held_out_counts import HeldOutCounts
from imbalance_spark.split import SplitPlan
from imbalance_spark.threshold.choice import cut_at
from imbalance_spark.threshold.rule import DECIDED_AT
from imbalance_spark.tracking.registry import RegisteredVersion, bundle_of_version, split_record_of

_UNSEEN = "__unseen"


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
    strategy where rows were left out. All are kept in the run.

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
        if not self._leaves_out:
            return
        few = {prepared.classes[k]: n for k, n in self._unseen.items() if n < FEWEST_POSITIVES}
        if few:
            left = ", ".join(f"{n:,} of {name!r}" for name, n in few.items())
            raise DataContractError(
                f"its split put nearly all of these validation rows into its train: {left} are left, and "
                f"{FEWEST_POSITIVES} are needed. Use its split.seed ({self._plan_seed}), or newer orders."
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
        metric, decisions = comparison.deciding, comparison.decisions
        if not self._leaves_out:
            return of_strategy(best, metric, decisions)

        def counted() -> HeldOutCounts:
            orders = comparison.config.orders
            return count_strategy(
                comparison.prepared,
                self._inputs(orders.numeric, orders.categorical, comparison.prepared.categories),
                best.fitted,
                best.calibration,
                best.rules[comparison.serving],
                comparison.config,
            )

        counts = self._kept(f"counts_{best.name}_beside_{self.version.model_id}", counted)
        if metric != COST:
            return ranking_of(counts, metric)
        if not comparison.is_single:
            return class_cost_of(counts, SERVED_RULE, decisions)
        serving = {comparison.serving: decisions.swept[comparison.serving]}
        chosen = calibrate_and_choose(counts, replace(decisions, swept=serving)).chosen[comparison.serving]
        of_halves = chosen.by_target[0].decided
        assert of_halves is not None, "as of every threshold that halves chose"  # noqa: S101  # for the type checker
        return cost_of(of_halves, decisions.cost_objective, DECIDED_AT)

    def champion(self) -> Jackknifed:
        """What decides, of the champion as it is served."""
        comparison, bundle = self.comparison, self.bundle

        def counted() -> HeldOutCounts:
            inputs = self._inputs(bundle.numeric, bundle.categorical, bundle.categories)
            return count_candidate(comparison.prepared, inputs, bundle, comparison.config)

        counts = self._kept(f"counts_champion_{self.version.model_id}", counted)
        if comparison.deciding != COST:
            return ranking_of(counts, comparison.deciding)
        if not comparison.is_single:
            return class_cost_of(counts, SERVED_RULE, comparison.decisions)
        parts = [counts.target.bucketed(half, bundle.probabilities) for half in ("calibrate", "choose")]
        served = decided([(part, cut_at(part.curve, bundle.threshold)) for part in parts])
        return cost_of(served, comparison.decisions.cost_objective, DECIDED_AT)

    def _kept(self, step: str, count: Any) -> HeldOutCounts:
        """Counts from the step log, else from a scan."""
        return HeldOutCounts.from_records(self.comparison.prepared.run.document(step, lambda: count().to_records()))

    def _inputs(
        self, numeric: tuple[str, ...], categorical: tuple[str, ...], categories: CategoryEncoding
    ) -> DataFrame:
        """Inputs of these features; of validation the rows that the champion was not trained on."""
        config, prepared, unseen = self.comparison.config, self.comparison.prepared, self._unseen_column
        orders = prepared.orders
        if unseen is not None and self._leaves_out:
            orders = orders.where((col(SPLIT) == TEST) | unseen)
        roles = config.orders.model_copy(update={"numeric": numeric, "categorical": categorical})
        return model_inputs(orders, roles, prepared.report.label, categories, keep=prepared.passed_columns)

    @cached_property
    def _plan(self) -> SplitPlan | None:
        return None if self._record is None else SplitPlan.from_dict(self._record)

    @cached_property
    def _record(self) -> Mapping[str, Any] | None:
        return split_record_of(self.version)

    @property
    def _plan_seed(self) -> str:
        return "unknown" if self._plan is None else str(self._plan.rules.seed)

    @cached_property
    def _unseen_column(self) -> Column | None:
        if self._plan is None or self._record is None:
            return None
        try:
            return unseen_rows(self.comparison.prepared.orders, self._plan, self._record.get(TRAINED, (TRAIN,)))
        except MissingColumnsError:
            return None

    @cached_property
    def _counts(self) -> Mapping[str, Mapping[str, int]]:
        """Rows of validation, and of these the unseen ones, by class number as text."""
        prepared, unseen = self.comparison.prepared, self._unseen_column

        def counted() -> Any:
            is_unseen = F.lit(True) if unseen is None else unseen
            marked = prepared.orders.select("*", is_unseen.alias(_UNSEEN))
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
