"""A generated order log as a Delta table: written once, and recognised later by what it was generated from."""

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace

from delta.tables import DeltaTable
from pyspark.sql import DataFrame, SparkSession

from imbalance_spark.core.class_counts import Label, count_classes
from imbalance_spark.core.errors import ConfigError, nearest
from imbalance_spark.orders.datasets.distributions import RECIPE
from imbalance_spark.orders.datasets.population import OUTCOMES
from imbalance_spark.orders.datasets.synthetic import generate_orders, generate_outcomes
from imbalance_spark.orders.datasets.synthetic_plan import OrderShift

logger = logging.getLogger(__name__)

_GENERATOR = "imbalance_spark.generate"
_ROWS_PER_COMMIT = 50_000_000


@dataclass(frozen=True, kw_only=True)
class OrderLog:
    """An order log to generate; the arguments of `generate_orders`, or with `outcomes` of `generate_outcomes`.

    Args:
        rows: number of orders.
        prevalence: share of fraud, in (0, 0.5]; of no effect if `outcomes` are given.
        outcomes: share of each outcome, instead of fraud or not.
        seed: another seed gives an independent log.
        start: first day, UTC.
        days: length of the log.
        shift: of a log of fraud or not, against the one without it.
        columns: to keep, the key and the label among them; None for all.

    Raises:
        ConfigError: a shift of a log of outcomes, or columns without the key or the label.
    """

    rows: int
    prevalence: float
    outcomes: Mapping[str, float] | None
    seed: int
    start: str
    days: int
    shift: OrderShift | None = None
    columns: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if self.shift is not None and self.outcomes is not None:
            raise ConfigError(
                f"generate_orders: --shift {self.shift} is of logs of fraud or not. Leave out --outcomes or --shift."
            )
        missing = {"order_id", self.label} - set(self.columns or ("order_id", self.label))
        if missing:
            raise ConfigError(f"generate_orders: --columns lacks {sorted(missing)}. A log has its key and its label.")

    @property
    def label(self) -> str:
        """The label column."""
        return "is_fraud" if self.outcomes is None else "outcome"

    def orders(self, spark: SparkSession, first: int = 0) -> DataFrame:
        """One row per order from number `first` on; lazy.

        Raises:
            ConfigError: an argument is out of its range, or no such column is generated.
        """
        every = self._every_column(spark, first)
        if self.columns is None:
            return every
        unknown = [name for name in self.columns if name not in every.columns]
        if unknown:
            raise ConfigError(
                f"generate_orders: --columns {unknown} are not generated.{nearest(unknown, every.columns)} "
                f"There are {every.columns}."
            )
        return every.select(*self.columns)

    def _every_column(self, spark: SparkSession, first: int) -> DataFrame:
        if self.outcomes is not None:
            return generate_outcomes(
                spark, rows=self.rows, shares=self.outcomes, seed=self.seed, start=self.start, days=self.days,
                first=first,
            )  # fmt: skip
        return generate_orders(
            spark, rows=self.rows, prevalence=self.prevalence, seed=self.seed, start=self.start, days=self.days,
            shift=self.shift, first=first,
        )  # fmt: skip

    def expected_counts(self) -> dict[str, int]:
        """Expected rows per class, {} where a shift leaves them open; the actual counts are random."""
        if self.shift is not None and self.shift.kind != "label":
            return {}
        rate = self.prevalence * (1.0 if self.shift is None else self.shift.size)
        shares = {"fraud": rate} if self.outcomes is None else self.outcomes
        rare = {name: round(self.rows * share) for name, share in shares.items()}
        return {"honest" if self.outcomes is None else OUTCOMES[0]: self.rows - sum(rare.values()), **rare}

    def is_written(self, spark: SparkSession, path: str, *, overwrite: bool = False) -> bool:
        """Whether the latest version of the Delta table at `path` is this log.

        Raises:
            ConfigError: it is another table, unless `overwrite`, and no log that this one begins with.
        """
        if not DeltaTable.isDeltaTable(spark, path):
            return False
        (_, found), asked = _latest(spark, path), self._description
        if found == asked or overwrite or self._begun(found):
            return found == asked
        differing = sorted(name for name in asked | found if found.get(name) != asked.get(name))
        was = {name: found.get(name) for name in differing} if found else "written by something else"
        raise ConfigError(
            f"generate_orders: --output {path!r} already holds another table (there: {was}; "
            f"asked: { {name: asked.get(name) for name in differing} }). Choose another path, or add --overwrite."
        )

    def write(self, spark: SparkSession, path: str, *, overwrite: bool = False) -> None:
        """Write the log as a Delta table, in place of another one there if `overwrite`; one scan.

        It is written in parts, each with a commit of its own, so that a shorter log of the same arguments, such as one
        that was cut off, is continued. Of two that write at the same time none writes an order again.
        """
        version, found = _latest(spark, path) if DeltaTable.isDeltaTable(spark, path) else (-1, {})
        first = self._begun(found)
        mode = "append" if first else "overwrite" if overwrite else "error"
        for stop in [*range(first + _ROWS_PER_COMMIT, self.rows, _ROWS_PER_COMMIT), self.rows]:
            part = replace(self, rows=stop)
            # The description is part of the commit that writes the rows: there is never one without the other.
            writer = part.orders(spark, first).write.format("delta").mode(mode).option("userMetadata", part._text)
            if mode == "overwrite":
                writer = writer.option("overwriteSchema", "true")
            if mode == "append":
                writer = writer.option("txnAppId", f"{_GENERATOR}/{version}").option("txnVersion", stop)
            writer.save(path)
            logger.info("%s: %s of %s orders", path, f"{stop:,}", f"{self.rows:,}")
            first, mode = stop, "append"

    def _begun(self, found: Mapping[str, object]) -> int:
        """How many orders of this log another one has, if it is its beginning; else 0."""
        rows = found.get("rows")
        if not isinstance(rows, int) or rows >= self.rows:
            return 0
        return rows if found == replace(self, rows=rows)._description else 0

    @property
    def _text(self) -> str:
        return json.dumps(self._description, sort_keys=True)

    def count(self, spark: SparkSession, path: str) -> dict[Label, int]:
        """Rows of each class in the table at `path`; one scan."""
        return count_classes(spark.read.format("delta").load(path), self.label, "generate_orders")

    @property
    def _description(self) -> dict[str, object]:
        """What the rows depend on, as JSON values."""
        shares = {"prevalence": self.prevalence} if self.outcomes is None else {"outcomes": dict(self.outcomes)}
        rest: dict[str, object] = {"rows": self.rows, "seed": self.seed, "start": self.start, "days": self.days}
        if self.shift is not None:
            rest["shift"] = str(self.shift)
        if self.columns is not None:
            rest["columns"] = list(self.columns)
        return {"generator": _GENERATOR, "recipe": RECIPE, **shares, **rest}


def _latest(spark: SparkSession, path: str) -> tuple[int, dict[str, object]]:
    """Number and description of the latest commit; the latter is {} if that commit is not one of `write`."""
    [commit] = DeltaTable.forPath(spark, path).history(1).select("version", "userMetadata").collect()
    try:
        found = json.loads(commit["userMetadata"] or "{}")
    except json.JSONDecodeError:
        found = {}
    is_ours = isinstance(found, dict) and found.get("generator") == _GENERATOR
    return commit["version"], found if is_ours else {}
