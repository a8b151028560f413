"""SMOTENC: SMOTE for rows of numbers and categories."""

import statistics
from collections.abc import Sequence

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from imbalance_spark.class_counts import Label
from imbalance_spark.errors import ConfigError
from imbalance_spark.frames import COPY_NUMBER, col, require_columns
from imbalance_spark.train_only.guard import leakage_errors
from imbalance_spark.train_only.sampling.census import Census
from imbalance_spark.train_only.sampling.feature_scale import FeatureScale, Scaling
from imbalance_spark.train_only.sampling.neighbour_sampler import Points
from imbalance_spark.train_only.sampling.neighbours import EXACT_ROWS, NeighbourIndex
from imbalance_spark.train_only.sampling.neighbours.lists import NEAR
from imbalance_spark.train_only.sampling.neighbours.space import HASH, Space
from imbalance_spark.train_only.sampling.strategy import SamplingStrategy
from imbalance_spark.train_only.sampling.synthetic_draws import draw_pairs, uniform_draw
from imbalance_spark.train_only.sampling.synthetic_sampler import SyntheticSampler
from imbalance_spark.train_only.sampling.votes import VOTERS, cell, most_frequent


class SMOTENC(SyntheticSampler):
    """SMOTE-NC (Chawla et al., 2002): a differing category costs M, the median of the class's standard deviations.

    M is the median over the numeric features of their population standard deviation inside the class, in
    the units of the distance. Numbers are interpolated; a category is the most frequent one among the parent's
    k neighbours (the parent itself has no vote; of equally frequent ones a hash draws). Null is a category of its own.

    Args: as `SMOTE`, and
        categorical_features: columns of any type that Spark casts to string, not among `features`.

    Attributes, after `fit_resample`: as `SMOTE`, and
        median_std_: M for each class that was sampled.
    """

    _purpose = "smotenc"

    def __init__(
        self, *, key: str | Sequence[str], label: str, features: Sequence[str], categorical_features: Sequence[str],
        sampling_strategy: SamplingStrategy = "auto", k_neighbors: int = 5, scaling: Scaling = "standard", seed: int,
        exact_rows: int = EXACT_ROWS,
    ) -> None:  # fmt: skip
        super().__init__(
            key=key, label=label, features=features, sampling_strategy=sampling_strategy, k_neighbors=k_neighbors,
            scaling=scaling, seed=seed, exact_rows=exact_rows,
        )  # fmt: skip
        self.categorical_features = tuple(categorical_features)
        if not self.categorical_features:
            raise ConfigError("SMOTENC.categorical_features names no column: with numbers alone use SMOTE.")
        if both := sorted(set(self.features) & set(self.categorical_features)):
            raise ConfigError(f"SMOTENC: columns {both} are both numeric and categorical features. Name each once.")
        self.median_std_: dict[Label, float] = {}

    def _check(self, train: DataFrame, added: Sequence[str] = ()) -> Census:
        require_columns(train, self.categorical_features, "SMOTENC")
        return super()._check(train, added)

    def _space(self, census: Census, scale: FeatureScale, name: Label) -> Space:
        """One pass over the class, for M."""
        spreads = [F.stddev_pop(value) for value in scale.scaled(self.features)]
        with leakage_errors():
            [row] = census.rows.where(col(self.label) == F.lit(name)).agg(*spreads).collect()
        self.median_std_[name] = float(f"{statistics.median(row):.6g}")
        return Space(
            numeric=self.features, scale=scale, categorical=self.categorical_features, penalty=self.median_std_[name]
        )

    def _draw(self, points: Points, name: Label, wanted: int, index: NeighbourIndex) -> tuple[DataFrame, int]:
        placed = index.placed(points.frame.sparkSession, self.k_neighbors, "SMOTENC").localCheckpoint()
        draws = draw_pairs(placed, index.rows, wanted, self._draw_seed(name))
        near = placed.select(HASH, F.transform(NEAR, lambda entry: entry["near"]).alias(VOTERS))
        return draws.join(near, on=HASH, how="inner"), wanted

    def _synthetic(self, census: Census, name: Label, draws: DataFrame) -> DataFrame:
        return super()._synthetic(census, name, self._with_votes(census, name, draws))

    def _with_votes(self, census: Census, name: Label, draws: DataFrame) -> DataFrame:
        """The draws with the category that the parent's neighbours elect, one column a categorical feature."""
        mine = census.rows.where(col(self.label) == F.lit(name))
        electorate = draws.select(HASH, VOTERS).dropDuplicates([HASH])
        tied = most_frequent(electorate, mine, self._hashed(), self.categorical_features)
        elected = draws.drop(VOTERS).join(tied, on=HASH, how="inner")
        numbers = range(len(self.categorical_features))
        chosen = [_drawn(F.col(cell(i)), f"{self._draw_seed(name)}/{i}").alias(cell(i)) for i in numbers]
        return elected.select(*draws.drop(VOTERS).columns, *chosen)

    def _output(self, rows: DataFrame, name: str) -> Column:
        if name not in self.categorical_features:
            return super()._output(rows, name)
        return F.col(cell(self.categorical_features.index(name))).alias(name)


def _drawn(modes: Column, seed: str) -> Column:
    place = F.floor(uniform_draw(seed, "category", F.col(HASH), F.col(COPY_NUMBER)) * F.size(modes))
    return F.get(modes, place.cast("int"))["value"]
