"""Tomek links: rows of different classes that are each other's nearest."""

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from imbalance_spark.train_only.sampling.cleaning_sampler import CleaningSampler
from imbalance_spark.train_only.sampling.neighbour_sampler import Points
from imbalance_spark.train_only.sampling.neighbours.lists import NEAR
from imbalance_spark.train_only.sampling.neighbours.space import CODE, HASH


class TomekLinks(CleaningSampler):
    """Remove the members of Tomek links (Tomek, 1976) whose class is to be cleaned: by default all but the minority.

    A link has at most one row of the majority class. So the other classes' rows look for their nearest, and only
    the foreign ones among those look back: two scans.

    Args, attributes and errors: as `CleaningSampler`.
    """

    def _removed(self, points: Points) -> DataFrame:
        others = [name for name in points.codes if name != points.majority]
        forth = _first(self._among_all(points, others, 1)).where(F.col("__to_code") != F.col(CODE)).localCheckpoint()
        partners = forth.select(F.col("__to").alias(HASH)).distinct().localCheckpoint()
        asked = points.frame.join(partners, on=HASH, how="left_semi")
        back = _first(self._nearest_of(points, asked, partners.count(), 1))
        looking_back = back.select(F.col(HASH).alias("__to"), F.col("__to").alias(HASH))
        links = forth.join(looking_back, on=[HASH, "__to"], how="inner")
        members = F.array(F.struct(HASH, CODE), F.struct(F.col("__to").alias(HASH), F.col("__to_code").alias(CODE)))
        return links.select(F.inline(members)).where(F.col(CODE).isin(self._targets(points)))


def _first(lists: DataFrame) -> DataFrame:
    nearest = F.get(NEAR, F.lit(0))
    return lists.select(HASH, CODE, nearest["near"].alias("__to"), nearest["code"].alias("__to_code"))
