"""SMOTE followed by a cleaning of all classes: the two combinations of Batista, Prati and Monard (2004)."""

from typing import ClassVar

from pyspark.sql import DataFrame

from imbalance_spark.core.columns import COPY_NUMBER
from imbalance_spark.train_only.sampling.cleaning import CleaningSampler, EditedNearestNeighbours, TomekLinks
from imbalance_spark.train_only.sampling.smote import SMOTE


class _SmoteAndClean(SMOTE):
    _cleaner: ClassVar[type[CleaningSampler]]

    def fit_resample(self, train: DataFrame) -> DataFrame:
        """As `SMOTE`, without the rows that the cleaning removes; SMOTE's rows are checkpointed on the executors."""
        oversampled = super().fit_resample(train).localCheckpoint()
        oversampled_fractions = dict(self.kept_fractions_)
        cleaner = self._cleaner(
            key=(*self._key, COPY_NUMBER), label=self.label, features=self.features, sampling_strategy="all",
            scaling=self.scaling, seed=self.seed, exact_rows=self.exact_rows,
        )  # fmt: skip
        cleaned = cleaner.fit_resample(oversampled)
        self.removed_ = cleaner.removed_
        self.kept_fractions_ = {
            name: oversampled_fractions[name] * share for name, share in cleaner.kept_fractions_.items()
        }
        return cleaned


class SMOTETomek(_SmoteAndClean):
    """SMOTE followed by the removal of both members of every Tomek link.

    Args and attributes: as `SMOTE`, and `removed_` as `TomekLinks`.
    """

    _purpose = "smote_tomek"
    _cleaner = TomekLinks


class SMOTEENN(_SmoteAndClean):
    """SMOTE followed by `EditedNearestNeighbours` on all classes.

    Args and attributes: as `SMOTE`, and `removed_` as `EditedNearestNeighbours`.
    """

    _purpose = "smote_enn"
    _cleaner = EditedNearestNeighbours
