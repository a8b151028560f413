"""Which sampler a kind of strategy means, on the columns of a training table."""

from collections.abc import Callable, Mapping, Sequence

from pyspark.sql import DataFrame

from imbalance_spark.class_counts import Label
from imbalance_spark.config_strategy import SYNTHETIC_KINDS, StrategyConfig
from imbalance_spark.encoding import LABEL
from imbalance_spark.frames import COPY_NUMBER
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
from imbalance_spark.train_only.sampling.census import count_train
from imbalance_spark.train_only.sampling.disjoint_under import disjoint_undersample
from imbalance_spark.train_only.sampling.neighbour_report import NeighbourReport
from imbalance_spark.train_only.sampling.synthetic_sampler import SyntheticSampler

Tell = Callable[[Mapping[Label, NeighbourReport]], object]
"""Is told of a sampler's neighbours, before a row is made of them."""

_SMOTES: dict[str, type[SyntheticSampler]] = {
    "smote": SMOTE,
    "borderline_smote": BorderlineSMOTE,
    "adasyn": ADASYN,
    "smote_tomek": SMOTETomek,
    "smote_enn": SMOTEENN,
}


def sample_for(
    to_fit: DataFrame, strategy: StrategyConfig, *, key: Sequence[str], seed: int, numeric: Sequence[str],
    categorical: Sequence[str], member: int, tell: Tell,
) -> DataFrame:  # fmt: skip
    """The rows to fit on, resampled as the strategy says; see the sampler for passes, columns and errors."""
    if strategy.kind in SYNTHETIC_KINDS:
        return _synthesised(to_fit, strategy, key, seed, numeric, categorical, tell)
    asked = strategy.sampling_strategy
    if strategy.kind == "undersample_ensemble":
        return disjoint_undersample(
            to_fit, key=key, label=LABEL, sampling_strategy=asked, seed=seed, member=member, members=strategy.members
        )
    if strategy.kind == "oversample":
        return RandomOverSampler(key=key, label=LABEL, sampling_strategy=asked, seed=seed).fit_resample(to_fit)
    if strategy.method == "exact":
        return RandomUnderSampler(key=key, label=LABEL, sampling_strategy=asked, seed=seed).fit_resample(to_fit)
    counts = count_train(to_fit, LABEL, f"strategy {strategy.name!r}").counts
    target = check_sampling_strategy(asked, counts, "under-sampling")
    fractions = {label: rows / counts[label] for label, rows in target.items()}
    return sample_by_class(to_fit, label=LABEL, fractions=fractions, seed=seed, method=strategy.method, key=key)


def _synthesised(
    to_fit: DataFrame, strategy: StrategyConfig, key: Sequence[str], seed: int, numeric: Sequence[str],
    categorical: Sequence[str], tell: Tell,
) -> DataFrame:  # fmt: skip
    asked, k = strategy.sampling_strategy, strategy.k_neighbors
    if strategy.kind == "smote_nc":
        sampler: SyntheticSampler = SMOTENC(
            key=key, label=LABEL, features=numeric, categorical_features=categorical, sampling_strategy=asked,
            k_neighbors=k, seed=seed,
        )  # fmt: skip
    else:
        sampler = _SMOTES[strategy.kind](
            key=key, label=LABEL, features=numeric, sampling_strategy=asked, k_neighbors=k, seed=seed
        )
    made = sampler.fit_resample(to_fit)
    tell(sampler.neighbour_report_)
    if strategy.undersample_to is None:
        return made
    return RandomUnderSampler(
        key=(*key, COPY_NUMBER), label=LABEL, sampling_strategy=strategy.undersample_to, seed=seed
    ).fit_resample(made)
