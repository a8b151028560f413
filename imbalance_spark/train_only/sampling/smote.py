"""SMOTE: rows between a row of a class and one of its nearest neighbours of that class."""

import hashlib
from collections.abc import Iterator, Sequence
from functools import reduce
from numbers import Integral

import numpy as np
import pyarrow as pa
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T

from imbalance_spark.checks import refuse_columns
from imbalance_spark.class_counts import Label, of_class, show_counts
from imbalance_spark.errors import ConfigError, DataContractError
from imbalance_spark.frames import col
from imbalance_spark.hashing import key_hash
from imbalance_spark.train_only.guard import leakage_errors
from imbalance_spark.train_only.sampling.feature_scale import FeatureScale, Scaling, check_numeric, fit_feature_scale
from imbalance_spark.train_only.sampling.neighbours import nearest
from imbalance_spark.train_only.sampling.random_over import COPY_NUMBER
from imbalance_spark.train_only.sampling.random_sampler import RandomSampler
from imbalance_spark.train_only.sampling.smote_draws import draw_smote
from imbalance_spark.train_only.sampling.strategy import SamplingStrategy
from imbalance_spark.train_only.sampling.weighing import with_sampling_weight

PROVENANCE = (COPY_NUMBER, "is_synthetic", "parent_id", "neighbour_id", "gap")
CLASS_BYTES = 1 << 29
"""Default of the most bytes of one class's features and hashes, 8 a value, that are collected and broadcast."""
_HASH, _ID = "__hash", "__id"


class SMOTE(RandomSampler):
    """Synthetic minority over-sampling (Chawla et al., 2002), drawn as imbalanced-learn draws.

    Pairs of row and neighbour are uniform with replacement, the gap is uniform in [0, 1). Neighbours
    are exact, inside the class, by Euclidean distance of the scaled features; a row is not its own
    neighbour, a twin of it is.

    A feature that is null or NaN counts as the class's median in distances. A synthetic row lacks what its parent
    lacks; where only the neighbour lacks a value, it has the parent's.

    Args:
        key: columns that identify a row. label: the class.
        features: numeric columns, which are interpolated.
        sampling_strategy: rows to reach, as `check_sampling_strategy`.
        k_neighbors: integer >= 1. scaling: "standard", "robust" or "none", before distances only.
        seed: integer >= 0.
        class_bytes: most bytes of one class that may be collected on the driver and broadcast.

    Attributes, after `fit_resample`: as `RandomOverSampler`.
    """

    _kind = "over-sampling"
    _purpose = "smote"

    def __init__(
        self, *, key: str | Sequence[str], label: str, features: Sequence[str],
        sampling_strategy: SamplingStrategy = "auto", k_neighbors: int = 5, scaling: Scaling = "standard", seed: int,
        class_bytes: int = CLASS_BYTES,
    ) -> None:  # fmt: skip
        super().__init__(key=key, label=label, sampling_strategy=sampling_strategy, seed=seed)
        if isinstance(k_neighbors, bool) or not isinstance(k_neighbors, Integral) or k_neighbors < 1:
            raise ConfigError(f"{type(self).__name__}.k_neighbors must be an integer >= 1, got {k_neighbors!r}.")
        self.features: tuple[str, ...] = tuple(features)
        self.k_neighbors: int = int(k_neighbors)
        self.scaling: Scaling = scaling
        self.class_bytes: int = class_bytes

    def fit_resample(self, train: DataFrame) -> DataFrame:
        """All rows unchanged, then the synthetic ones; every input column and six more.

        Three passes: counts, scale, and one per class sampled, whose rows (at most `class_bytes`) are
        collected and broadcast; the neighbour search itself is lazy, on the executors. A synthetic row has
        its parent's value in each column that is no feature, key included; integers are rounded half to even.

        Returns:
            `copy_number` (int): 0 for an original, from 1 for a parent's synthetic rows. `is_synthetic`
            (boolean). `parent_id`, `neighbour_id`: keys (a struct if of several columns) and `gap` (double, in
            [0, 1)): null for originals. `sampling_weight` (double): class rows before / after.

        Raises:
            ConfigError, LeakageError, MissingColumnsError: as `RandomOverSampler`.
            DataContractError: as there; features that are not numeric or have infinite values; a class
                of fewer than k_neighbors + 1 rows, or of more than `class_bytes`.
        """
        stage = type(self).__name__
        refuse_columns(train, (*PROVENANCE, _HASH, _ID), stage)
        check_numeric(train, self.features, stage)
        census = self._count(train)
        before = census.counts
        wanted = {name: n for name, n in self.sampling_strategy_.items() if n > 0}
        self._refuse_sizes({name: before[name] for name in wanted})
        after = {name: n + wanted.get(name, 0) for name, n in before.items()}
        self._learn_kept(after)
        scale = fit_feature_scale(census.rows, self.features, self.scaling, stage)
        made = [self._synthetic(census.rows, name, n, scale) for name, n in wanted.items()]
        weight = of_class(self.label, {name: before[name] / after[name] for name in before}, 1.0)
        return with_sampling_weight(reduce(DataFrame.unionByName, made, self._originals(census.rows)), weight)

    def _refuse_sizes(self, sampled: dict[Label, int]) -> None:
        stage, least = type(self).__name__, self.k_neighbors + 1
        if small := {name: n for name, n in sampled.items() if n < least}:
            raise DataContractError(
                f"{stage}: {show_counts(small)}, but k_neighbors={self.k_neighbors} needs {least} rows of a class. "
                "Lower k_neighbors, or leave the class out of sampling_strategy."
            )
        most = self.class_bytes // (8 * (len(self.features) + 1))
        if large := {name: n for name, n in sampled.items() if n > most}:
            raise DataContractError(
                f"{stage}: {show_counts(large)}, but class_bytes={self.class_bytes} holds {most}. Raise class_bytes, "
                "or use RandomOverSampler: a class so large gains next to nothing from interpolation."
            )

    def _id(self) -> Column:
        return col(self.key[0]) if len(self.key) == 1 else F.struct(*[col(name) for name in self.key])

    def _originals(self, rows: DataFrame) -> DataFrame:
        id_type = rows.select(self._id().alias(_ID)).schema[_ID].dataType
        values = (F.lit(0), F.lit(False), F.lit(None).cast(id_type), F.lit(None).cast(id_type))
        added = [value.alias(name) for name, value in zip(PROVENANCE, values, strict=False)]
        return rows.select("*", *added, F.lit(None).cast("double").alias("gap"))

    def _synthetic(self, rows: DataFrame, name: Label, wanted: int, scale: FeatureScale) -> DataFrame:
        hashed = key_hash(self.key, self.seed, self._purpose).alias(_HASH)
        mine = rows.where(col(self.label) == F.lit(name))
        numbers = [col(feature).cast("double").alias(f"__x_{i}") for i, feature in enumerate(self.features)]
        with leakage_errors():
            table = mine.select(hashed, *numbers).toArrow().combine_chunks().sort_by(_HASH)
        hashes = table[_HASH].to_numpy()
        if (hashes[1:] == hashes[:-1]).any():
            raise DataContractError(f"{type(self).__name__}: class {name!r} has rows of the same key. Remove them.")
        values = np.column_stack([table[f"__x_{i}"].to_numpy() for i in range(len(self.features))])
        start = int.from_bytes(hashlib.sha256(f"{self._purpose}/{self.seed}/{name!r}".encode()).digest()[:7])
        spark = rows.sparkSession
        shared = spark.sparkContext.broadcast((hashes, values, scale.apply(values)))
        k = self.k_neighbors

        fields = [T.StructField(c, T.LongType(), False) for c in (_HASH, "__near")]
        fields += [T.StructField(COPY_NUMBER, T.IntegerType(), False), T.StructField("gap", T.DoubleType(), False)]
        schema = T.StructType(
            fields + [T.StructField(f"__new_{i}", T.DoubleType(), False) for i in range(len(numbers))]
        )

        def interpolate(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
            ids, raw, scaled = shared.value
            draws = draw_smote(start, wanted, len(ids), k)
            for batch in batches:
                own = batch.column(0).to_numpy()
                positions = nearest(scaled[own], scaled, k, own).positions
                of_batch = np.flatnonzero((draws.parents >= own[0]) & (draws.parents <= own[-1]))
                parents, gaps = draws.parents[of_batch], draws.gaps[of_batch]
                near = positions[parents - own[0], draws.choices[of_batch]]
                start_at, step = raw[parents], raw[near] - raw[parents]
                new = start_at + gaps[:, None] * np.where(np.isnan(step), 0.0, step)
                columns = [ids[parents], ids[near], draws.copies[of_batch].astype(np.int32), gaps, *new.T]
                yield pa.RecordBatch.from_arrays([pa.array(c) for c in columns], names=schema.fieldNames())

        made = spark.range(0, len(hashes)).mapInArrow(interpolate, schema)
        ids = mine.select(hashed.alias("__near"), self._id().alias("neighbour_id"))
        joined = made.join(mine.select("*", hashed), _HASH).join(ids, "__near")
        return joined.select(*[self._output(rows, column) for column in rows.columns], *self._provenance())

    def _output(self, rows: DataFrame, name: str) -> Column:
        if name not in self.features:
            return col(name)
        value, found = col(f"__new_{self.features.index(name)}"), rows.schema[name].dataType
        made = (F.rint(value) if isinstance(found, T.IntegralType) else value).cast(found)
        # What the parent lacks stays as the parent has it: null is not NaN, and no integer is NaN.
        return F.when(F.isnan(value), col(name)).otherwise(made).alias(name)

    def _provenance(self) -> list[Column]:
        first = [col(COPY_NUMBER), F.lit(True).alias("is_synthetic"), self._id().alias("parent_id")]
        return [*first, col("neighbour_id"), col("gap")]
