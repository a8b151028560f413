"""What the random samplers share: roles, the classes they learn, and the hashes at which a draw ends."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import ClassVar

from pyspark.sql import Column, DataFrame

from imbalance_spark.checks import check_seed
from imbalance_spark.class_counts import Label, of_class
from imbalance_spark.frames import col
from imbalance_spark.hashing import check_key, key_hash
from imbalance_spark.ranks import collect_cut_offs
from imbalance_spark.train_only.guard import leakage_errors
from imbalance_spark.train_only.sampling.census import Census, count_train
from imbalance_spark.train_only.sampling.strategy import Kind, SamplingStrategy, check_sampling_strategy


class RandomSampler:
    """The words of imbalanced-learn's random samplers, on training rows with a key."""

    _kind: ClassVar[Kind]
    _purpose: ClassVar[str]

    def __init__(
        self, *, key: str | Sequence[str], label: str, sampling_strategy: SamplingStrategy = "auto", seed: int
    ) -> None:
        check_seed(seed, type(self).__name__)
        self.key = (key,) if isinstance(key, str) else tuple(key)
        self.label = label
        self.sampling_strategy = sampling_strategy
        self.seed = seed

    def _count(self, train: DataFrame, aggregates: Mapping[str, Column] = MappingProxyType({})) -> Census:
        """One pass: guarded rows and their classes, from which `sampling_strategy_` is learnt."""
        stage = type(self).__name__
        check_key(train, self.key, stage)
        census = count_train(train, self.label, stage, aggregates)
        self.sampling_strategy_ = check_sampling_strategy(self.sampling_strategy, census.counts, self._kind)
        self.counts_before_ = dict(census.counts)
        return census

    def _learn_kept(self, after: Mapping[Label, int]) -> None:
        self.kept_fractions_: dict[Label, float] = {
            label: after[label] / rows for label, rows in self.counts_before_.items()
        }

    def _is_among_lowest(self, census: Census, ranks: Mapping[Label, int], default: int) -> Column:
        """Whether a row is one of its class's `ranks` rows with the lowest hashes; one pass to find the cut-offs.

        Args:
            default: the cut-off of classes that `ranks` does not name: 0 takes none of their rows.
        """
        hashed = key_hash(self.key, self.seed, self._purpose)
        asked = {label: (rank,) for label, rank in ranks.items()}
        with leakage_errors():
            cut_offs = collect_cut_offs(
                census.rows, col(self.label), hashed, counts=census.counts, ranks=asked, stage=type(self).__name__
            )  # fmt: skip
        return hashed < of_class(self.label, {label: cuts[0] for label, cuts in cut_offs.items()}, default)
