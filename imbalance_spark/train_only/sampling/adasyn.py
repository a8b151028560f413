"""ADASYN: more synthetic rows where more of the neighbours are foreign."""

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from imbalance_spark.class_counts import Label
from imbalance_spark.errors import DataContractError
from imbalance_spark.train_only.sampling.neighbour_sampler import Points
from imbalance_spark.train_only.sampling.neighbours import NeighbourIndex
from imbalance_spark.train_only.sampling.neighbours.lists import NEAR
from imbalance_spark.train_only.sampling.neighbours.space import HASH
from imbalance_spark.train_only.sampling.synthetic_draws import draw_for_each
from imbalance_spark.train_only.sampling.synthetic_sampler import SyntheticSampler

_TIMES, _SHARE = "__times", "__share"


class ADASYN(SyntheticSampler):
    """Adaptive synthetic sampling (He et al., 2008).

    Of G rows asked for, row i gets g_i = rint(G r_i / sum r), r_i being the share of other classes among its
    k nearest rows of any class; their sum may differ from G by rounding, as in imbalanced-learn.

    Args: as `SMOTE`, whose `k_neighbors` serves both searches (imbalanced-learn's `n_neighbors`).

    Raises, in `fit_resample`: as `SMOTE`, and
        DataContractError: no row of a class has a foreign neighbour.
    """

    _purpose = "adasyn"

    def _draw(self, points: Points, name: Label, wanted: int, index: NeighbourIndex) -> tuple[DataFrame, int]:
        """As `SMOTE`; one more search, against all rows, whose shares stay on the executors."""
        k = self.k_neighbors
        foreign = F.size(F.filter(NEAR, lambda near: near["code"] != points.codes[name]))
        # A checkpoint: the shares serve to sum, to round and to draw, and are dear.
        shares = self._among_all(points, [name], k).select(HASH, (foreign / k).alias(_SHARE)).localCheckpoint()
        # Counted by value, at most k + 1 of them, so that the sum does not hang on the order of the rows.
        per_share = sorted((row[_SHARE], row["count"]) for row in shares.groupBy(_SHARE).count().collect())
        total = sum(share * n for share, n in per_share)
        if total == 0.0:
            raise DataContractError(
                f"ADASYN: no row of class {name!r} has a neighbour of another class: there is no border to adapt to. "
                "Use SMOTE, or leave the class out of sampling_strategy."
            )
        times = F.rint(F.col(_SHARE) / total * wanted)
        made = sum(n * round(share / total * wanted) for share, n in per_share)
        lists = index.nearest(points.frame.sparkSession, k).join(
            shares.select(HASH, times.alias(_TIMES)), on=HASH, how="inner"
        )
        return draw_for_each(lists, F.col(_TIMES), self._draw_seed(name)), made
