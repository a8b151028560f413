"""SMOTE: rows between a row of a class and one of its nearest neighbours of that class."""

from pyspark.sql import DataFrame

from imbalance_spark.class_counts import Label
from imbalance_spark.frames import col
from imbalance_spark.train_only.sampling.census import Census
from imbalance_spark.train_only.sampling.feature_scale import FeatureScale
from imbalance_spark.train_only.sampling.held_class import HeldClass, class_bytes, collect_class
from imbalance_spark.train_only.sampling.held_draws import draw_held, drawn_bytes, with_draws
from imbalance_spark.train_only.sampling.neighbours.index import HELD_BYTES, index_held
from imbalance_spark.train_only.sampling.neighbours.space import HASH, Space
from imbalance_spark.train_only.sampling.synthetic_sampler import SyntheticSampler


class SMOTE(SyntheticSampler):
    """Synthetic minority over-sampling (Chawla et al., 2002), drawn as imbalanced-learn draws.

    Pairs of row and neighbour are uniform with replacement, the gap is uniform in [0, 1). Neighbours are of
    the same class, by Euclidean distance of the scaled features; a row is not its own neighbour, a twin of it
    is. They are exact up to `exact_rows` rows of a class, and those of the eight nearest cells of k-means beyond;
    `neighbour_report_` says how many of the nearest these find. Where a class and its draws fit a task's memory
    they are broadcast and nothing is joined; the rows are the same.

    A feature that is null or NaN counts as the mean in distances. A synthetic row lacks what its parent
    lacks; where only the neighbour lacks a value, it has the parent's.

    Args:
        key: columns that identify a row. label: the class.
        features: numeric columns, which are interpolated.
        sampling_strategy: rows to reach, as `check_sampling_strategy`.
        k_neighbors: integer >= 1. scaling: "standard", "robust" or "none", before distances only.
        seed: integer >= 0.
        exact_rows: rows of a class up to which it is collected, broadcast and searched exactly.

    Attributes, after `fit_resample`: as `RandomOverSampler`, and
        neighbour_report_: for each class that gets rows, a `NeighbourReport`.
    """

    _purpose = "smote"

    def _made(self, census: Census, scale: FeatureScale, name: Label, wanted: int) -> tuple[DataFrame, int]:
        rows, space = census.counts[name], Space(numeric=self.features, scale=scale)
        needed = class_bytes(rows, space) + drawn_bytes(wanted)
        if needed > HELD_BYTES:
            return super()._made(census, scale, name, wanted)
        mine = census.rows.where(col(self.label) == name)
        held = collect_class(mine, self._hashed(), self.key, self.features, type(self).__name__)
        return self._made_in_memory(mine, held, space, name, wanted), wanted

    def _made_in_memory(self, mine: DataFrame, held: HeldClass, space: Space, name: Label, wanted: int) -> DataFrame:
        """As the joins on the cluster would make them, from a class that tasks hold whole."""
        index = index_held(held.points(space), space, exact_rows=self.exact_rows, seed=self.seed)
        self._report(index, name, wanted)
        found = index.search(mine.sparkSession, self.k_neighbors)
        draws = draw_held(mine.sparkSession, found, wanted, self._draw_seed(name))
        hashed = mine.select("*", self._hashed().alias(HASH))
        drawn = with_draws(hashed, HASH, held, draws, mine.select(self._id()).schema[0].dataType)
        return drawn.select(*[self._output(mine, column) for column in mine.columns], *self._provenance())
