"""The split that a run's config asks for."""

from pyspark.sql import DataFrame

from imbalance_spark.config import SplitConfig
from imbalance_spark.config_orders import OrdersConfig
from imbalance_spark.split.plan import SplitPlan
from imbalance_spark.split.stratified import fit_split

__all__ = ["fit_split_by_config"]


def fit_split_by_config(
    orders: DataFrame, split: SplitConfig, config: OrdersConfig, *, label: str | None = None
) -> SplitPlan:
    """Learn the split by key, by group or by time, as `split.by` says; passes and errors as `fit_split`.

    Args:
        orders: valid orders, or the model's inputs with key, group and time kept.
        split: how rows fall into the folds.
        config: the columns' roles.
        label: the class column, where it is not `config.label`, such as the encoded one.
    """
    return fit_split(
        orders,
        key=config.key,
        label=label or config.label,
        fractions=split.fractions,
        seed=split.seed,
        group=config.group if split.by == "group" else None,
        time=config.time if split.by == "time" else None,
        exact_below=split.exact_below,
        gap_days=split.gap_days,
    )
