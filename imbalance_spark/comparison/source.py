"""Which orders a run reads, by which id it goes, and where they stay as they are while it works."""

import hashlib
from collections.abc import Mapping

from pyspark.sql import DataFrame, SparkSession

from imbalance_spark.config.run import RunConfig
from imbalance_spark.config.yaml_file import config_hash
from imbalance_spark.core.errors import ConfigError
from imbalance_spark.core.files import Folder
from imbalance_spark.core.run import Run, count_fingerprint
from imbalance_spark.core.spark_session import fit_shuffles
from imbalance_spark.orders.read import SourceOrders, read_orders

_IN_MEMORY = "DataFrame"
"""Location and format of orders that were handed over."""


def pinned_orders(
    spark: SparkSession, config: RunConfig, orders: DataFrame | None
) -> tuple[Run, DataFrame, str, int | None]:
    """The run, its orders as they stay while it works, where these lie, and their Delta version.

    Passes: none over a Delta source; one that copies any other.
    """
    source = source_orders(spark, config, orders)
    identity = identity_of(spark, source, config)
    run = Run.open(spark, config.output, run_id_of(config, identity), config_hash(config), identity)
    if source.version is not None:
        return run, source.frame, source.location, source.version
    copied = run.table("orders", lambda: source.frame)
    return run, copied, run.pin("orders").path, None


def source_orders(spark: SparkSession, config: RunConfig, orders: DataFrame | None = None) -> SourceOrders:
    """The orders that a run reads: those that were handed over, else those of the config's source.

    Raises:
        ConfigError, DataContractError: there are none; see `read_orders`.
    """
    if orders is not None:
        return SourceOrders(frame=orders, description="a DataFrame", location=_IN_MEMORY, format=_IN_MEMORY)
    require_source(config)
    assert config.orders.source is not None, "require_source has seen to it"  # noqa: S101  # for the type checker
    found = read_orders(spark, config.orders.source)
    fit_shuffles(found.frame)
    return found


def require_source(config: RunConfig) -> None:
    """Refuse a config that names no orders.

    Raises:
        ConfigError: it has no `orders.source`.
    """
    if config.orders.source is None:
        raise ConfigError(
            "orders.source: the config names none. Give a path or a table, or hand over a DataFrame: "
            "run(spark, config, orders=df) of imbalance_spark.comparison.run."
        )


def run_id_of(config: RunConfig, identity: Mapping[str, str]) -> str:
    """The config's `run_id`, else one that is the same for the same config and the same orders."""
    return config.run_id or f"{config.name}-{config_hash(config)[:8]}-{identity['state'][:8]}"


def identity_of(spark: SparkSession, source: SourceOrders, config: RunConfig) -> Mapping[str, str]:
    """Which orders these are: where, and their state.

    The state is the Delta version, or a hash of the files' names, sizes and times; of a DataFrame, of its row count
    and fingerprint, which takes one pass.
    """
    if source.location == _IN_MEMORY:
        rows, fingerprint = count_fingerprint(source.frame)
        state = hashlib.sha256(f"{rows} rows {fingerprint}".encode()).hexdigest()
    elif source.version is not None:
        state = f"v{source.version}"
    elif config.orders.source is not None and config.orders.source.path is not None:
        state = Folder(spark, config.orders.source.path).listing_hash()
    else:
        state = "package"
    return {"location": source.location, "state": state}
