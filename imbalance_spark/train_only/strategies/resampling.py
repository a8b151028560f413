"""Strategies that change which rows are fitted on: fewer of the frequent classes, or more of the rare ones."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, ClassVar, Literal

from pydantic import Field, field_validator
from pyspark.sql import DataFrame

from imbalance_spark.core.class_counts import Label
from imbalance_spark.core.columns import COPY_NUMBER
from imbalance_spark.orders.model_inputs import LABEL
from imbalance_spark.train_only.sampling import (
    ADASYN,
    SMOTE,
    SMOTEENN,
    SMOTENC,
    BorderlineSMOTE,
    RandomOverSampler,
    RandomUnderSampler,
    SMOTETomek,
    check_sampling_strategy,
    sample_by_class,
)
from imbalance_spark.train_only.sampling.base import count_train
from imbalance_spark.train_only.sampling.synthetic import SyntheticSampler
from imbalance_spark.train_only.strategies.base import Precision, Tell
from imbalance_spark.train_only.strategies.boosting import Boosted
from imbalance_spark.train_only.strategies.recipe import Roles


class Resampled(Boosted):
    """A strategy that samples rows, and boosts on a training table of its own.

    Args:
        sampling_strategy: imbalanced-learn's: 'auto', for two classes a ratio minority / majority in (0, 1], or target
            rows per class.
    """

    sampling_strategy: float | str | dict[int | str, int] = "auto"

    @field_validator("sampling_strategy")
    @classmethod
    def _is_a_ratio(cls, asked: float | str | dict[int | str, int]) -> float | str | dict[int | str, int]:
        if isinstance(asked, float) and not 0.0 < asked <= 1.0:
            raise ValueError(f"as a ratio minority / majority must be in (0, 1], got {asked}")
        return asked

    def problems(self, classes: Sequence[str], numeric: Sequence[str], categorical: Sequence[str]) -> Iterator[str]:
        """A ratio for more than two classes, or rows of a class that there is not."""
        asked = self.sampling_strategy
        if isinstance(asked, float) and len(classes) > 2:
            yield (
                f"strategy {self.name!r}: sampling_strategy {asked} is a ratio of two classes: give rows per class, or "
                "'auto'"
            )
        if isinstance(asked, dict) and (unknown := sorted(set(map(str, asked)) - set(classes))):
            yield f"strategy {self.name!r}: sampling_strategy names {unknown}, the classes are {list(classes)}"

    @property
    def table(self) -> str:
        """A training table of its own."""
        return f"train_{self.name}"


class Undersample(Resampled):
    """Keep a sample of the frequent classes; the correction divides their odds by the kept fraction.

    Args:
        method: `exact` rows per class, or on average by `key_hash` or `sample_by` (Spark's own draw).
    """

    kind: Literal["undersample"] = "undersample"
    method: Literal["exact", "key_hash", "sample_by"] = "exact"

    @property
    def precision(self) -> Precision:
        """Exact, or on average where rows are drawn."""
        return "exact" if self.method == "exact" else "on average"

    def planned_rows(self, counts: Mapping[Label, int]) -> dict[Label, int]:
        """The target rows of the sampled classes."""
        return {**counts, **check_sampling_strategy(self.sampling_strategy, counts, "under-sampling")}

    def sample(self, to_fit: DataFrame, roles: Roles, seed: int, *, member: int = 0, tell: Tell = dict) -> DataFrame:
        """Fewer rows of the sampled classes; for `key_hash` and `sample_by` the target is reached on average."""
        if self.method == "exact":
            return RandomUnderSampler(
                key=roles.key, label=LABEL, sampling_strategy=self.sampling_strategy, seed=seed
            ).fit_resample(to_fit)
        counts = count_train(to_fit, LABEL, f"strategy {self.name!r}").counts
        target = check_sampling_strategy(self.sampling_strategy, counts, "under-sampling")
        fractions = {label: rows / counts[label] for label, rows in target.items()}
        return sample_by_class(to_fit, label=LABEL, fractions=fractions, seed=seed, method=self.method, key=roles.key)


class Oversample(Resampled):
    """Repeat rows of the rare classes; the correction divides their odds by the copies."""

    kind: Literal["oversample"] = "oversample"

    def planned_rows(self, counts: Mapping[Label, int]) -> dict[Label, int]:
        """The rows of each class with its copies."""
        return _oversampled(self.sampling_strategy, counts)

    def sample(self, to_fit: DataFrame, roles: Roles, seed: int, *, member: int = 0, tell: Tell = dict) -> DataFrame:
        """The rows, and copies of those of the rare classes."""
        return RandomOverSampler(
            key=roles.key, label=LABEL, sampling_strategy=self.sampling_strategy, seed=seed
        ).fit_resample(to_fit)


class Interpolated(Resampled):
    """A strategy that makes synthetic samples of the rare classes; the correction is right for their number alone.

    Args:
        k_neighbors: neighbours of a row of its class that samples are interpolated with.
        undersample_to: for two classes the ratio minority / majority in (0, 1] to which the majority is under-sampled
            afterwards; null keeps it whole.
    """

    k_neighbors: Annotated[int, Field(ge=1, le=1000)] = 5
    undersample_to: Annotated[float, Field(gt=0.0, le=1.0)] | None = None
    is_exact: ClassVar[bool] = False

    sampler_class: ClassVar[type[SyntheticSampler]]

    def problems(self, classes: Sequence[str], numeric: Sequence[str], categorical: Sequence[str]) -> Iterator[str]:
        """Features that the sampler cannot interpolate, or a ratio for more than two classes."""
        yield from super().problems(classes, numeric, categorical)
        yield from self._feature_problems(numeric, categorical)
        if self.undersample_to is not None and len(classes) > 2:
            yield (
                f"strategy {self.name!r}: undersample_to {self.undersample_to} is a ratio of two classes, there are "
                f"{len(classes)}: leave it out"
            )

    def notes(self) -> dict[str, str]:
        """That synthetic samples follow no known law."""
        return {"prior_correction": "approximate"}

    def planned_rows(self, counts: Mapping[Label, int]) -> dict[Label, int]:
        """The rows of each class with its synthetic samples, before any cleaning."""
        rows = _oversampled(self.sampling_strategy, counts)
        if self.undersample_to is None:
            return rows
        return {**rows, **check_sampling_strategy(self.undersample_to, rows, "under-sampling")}

    def sample(self, to_fit: DataFrame, roles: Roles, seed: int, *, member: int = 0, tell: Tell = dict) -> DataFrame:
        """The rows and the synthetic samples, with their provenance."""
        sampler = self._sampler(roles, seed)
        made = sampler.fit_resample(to_fit)
        tell(sampler.neighbour_report_)
        if self.undersample_to is None:
            return made
        return RandomUnderSampler(
            key=(*roles.key, COPY_NUMBER), label=LABEL, sampling_strategy=self.undersample_to, seed=seed
        ).fit_resample(made)

    def _sampler(self, roles: Roles, seed: int) -> SyntheticSampler:
        return self.sampler_class(
            key=roles.key, label=LABEL, features=roles.numeric, sampling_strategy=self.sampling_strategy,
            k_neighbors=self.k_neighbors, seed=seed,
        )  # fmt: skip

    def _feature_problems(self, numeric: Sequence[str], categorical: Sequence[str]) -> Iterator[str]:
        if categorical:
            yield (
                f"strategy {self.name!r}: {self.kind} interpolates numeric features and cannot handle "
                f"orders.categorical {list(categorical)}: use smote_nc, or leave these features out"
            )


class Smote(Interpolated):
    """SMOTE: samples on the line between a row and a neighbour of its class."""

    kind: Literal["smote"] = "smote"
    sampler_class: ClassVar[type[SyntheticSampler]] = SMOTE


class BorderlineSmote(Interpolated):
    """SMOTE of the rows near another class alone."""

    kind: Literal["borderline_smote"] = "borderline_smote"
    sampler_class: ClassVar[type[SyntheticSampler]] = BorderlineSMOTE


class Adasyn(Interpolated):
    """SMOTE with more samples of rows that have many neighbours of another class."""

    kind: Literal["adasyn"] = "adasyn"
    sampler_class: ClassVar[type[SyntheticSampler]] = ADASYN

    @property
    def precision(self) -> Precision:
        """Rounded for each row."""
        return "about"


class SmoteNC(Interpolated):
    """SMOTE of numeric and categorical features together."""

    kind: Literal["smote_nc"] = "smote_nc"

    def _sampler(self, roles: Roles, seed: int) -> SyntheticSampler:
        return SMOTENC(
            key=roles.key, label=LABEL, features=roles.numeric, categorical_features=roles.categorical,
            sampling_strategy=self.sampling_strategy, k_neighbors=self.k_neighbors, seed=seed,
        )  # fmt: skip

    def _feature_problems(self, numeric: Sequence[str], categorical: Sequence[str]) -> Iterator[str]:
        if not (numeric and categorical):
            yield (
                f"strategy {self.name!r}: smote_nc is for numeric and categorical features together: for numbers alone "
                "use smote"
            )


class SmoteTomek(Interpolated):
    """SMOTE, then rows of different classes that are each other's nearest neighbour are removed."""

    kind: Literal["smote_tomek"] = "smote_tomek"
    sampler_class: ClassVar[type[SyntheticSampler]] = SMOTETomek

    @property
    def precision(self) -> Precision:
        """Cleaning removes rows."""
        return "at most"


class SmoteEnn(Interpolated):
    """SMOTE, then rows that most of their neighbours disagree with are removed."""

    kind: Literal["smote_enn"] = "smote_enn"
    sampler_class: ClassVar[type[SyntheticSampler]] = SMOTEENN

    @property
    def precision(self) -> Precision:
        """Cleaning removes rows."""
        return "at most"


def _oversampled(
    sampling_strategy: float | str | dict[int | str, int], counts: Mapping[Label, int]
) -> dict[Label, int]:
    made = check_sampling_strategy(sampling_strategy, counts, "over-sampling")
    return {label: rows + made.get(label, 0) for label, rows in counts.items()}
