"""The section `orders` of a config: where the orders are, and the roles of their columns."""

from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from imbalance_spark.core.masking import LONGEST_NAME, is_plain
from imbalance_spark.core.section import AnyPath, Section

MOST_CLASSES = 50
"""Each class costs a tree per boosting round, and its own bins in every count."""

MOST_FEATURES = 2000
"""Most features of a model: with more, Spark spends longer on planning than on the data."""


def class_names_problems(names: Sequence[str], *, has_positive: bool) -> Iterator[str]:
    """What is wrong with the names of the classes, if any are given."""
    if not names:
        return
    if has_positive:
        yield "positive_label is for two classes, classes for three or more: give one of them"
    if not 3 <= len(names) <= MOST_CLASSES:
        yield f"classes names {len(names)}, it takes 3 to {MOST_CLASSES}: for two use positive_label"
    if twice := sorted({name for name in names if list(names).count(name) > 1}):
        yield f"classes has duplicates: {twice}"
    if hidden := [ascii(name[:40]) for name in names if not is_plain(name) or not name.strip()]:
        yield (
            f"classes has names that are empty, longer than {LONGEST_NAME:,} characters, or have control characters or "
            f"marks of direction: {hidden}. Map them upstream"
        )


class SourceConfig(Section):
    """Where the orders are: a path or a table name, and for Delta which version.

    Args:
        path: folder or file that Spark can read, with any scheme; not with `table`.
        table: name in the catalog, such as `sales.orders`; not with `path`.
        format: file format of the orders.
        version: of the Delta table; by default the latest one when the run begins.
        preparation: built-in step that turns a raw log into orders, see `conf/retail.yaml` and `conf/flights.yaml`.
    """

    path: AnyPath | None = None
    table: str | None = None
    format: Literal["delta", "parquet", "csv"] = "delta"
    version: Annotated[int, Field(ge=0)] | None = None
    preparation: Literal["retail", "flights"] | None = None

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if self.path is not None and self.table is not None:
            raise ValueError("give either a path or a table, not both")
        if self.path is None and self.table is None and self.preparation != "flights":
            raise ValueError("give a path or a table to read the orders from")
        if self.version is not None and self.format != "delta":
            raise ValueError(f"only Delta has versions, the format is {self.format!r}: drop the version")
        return self


class OrdersConfig(Section):
    """The roles of an order log's columns.

    Args:
        source: where the orders are; none where a DataFrame is handed over.
        key: columns that identify a row; splits and samples are functions of them and of the seed.
        label: column of the outcome; 0/1 and boolean are used as they are.
        positive_label: the value of the rare class, if the label has two other values.
        classes: the values of a label with three or more classes, in the order in which they are shown; empty for two.
        group: column whose rows depend on each other, such as the customer.
        time: timestamp or date of the order.
        amount: money column, for costs that depend on the order.
        weight: column with a row's business weight, such as a cost; used in training and in metrics.
        numeric: features that are numbers or booleans; null is a missing value.
        categorical: features that are strings, integers or booleans; values are compared for equality.
        check_keys: `exact` looks for repeated keys among all rows, with a shuffle of a hash of each; `sampled` among
            one key of 64 by its hash, and among all only where one of these is repeated. A day that was loaded twice
            is found; a few repeated keys may not be.
        max_quarantined: share of rows that may break a rule; above it the job stops.
        max_duplicated: share of held-out rows that may have the same features as a training row; above it the job
            stops. Coarse features have duplicates by nature.
        max_categories: most values of a categorical feature in train; with more it is taken for an identifier and the
            job stops.
    """

    source: SourceConfig | None = None
    key: tuple[str, ...] = ("order_id",)
    label: str
    positive_label: int | str | bool | None = None
    classes: tuple[int | str | bool, ...] = ()
    group: str | None = None
    time: str | None = None
    amount: str | None = None
    weight: str | None = None
    numeric: tuple[str, ...] = ()
    categorical: tuple[str, ...] = ()
    check_keys: Literal["exact", "sampled"] = "exact"
    max_quarantined: Annotated[float, Field(ge=0.0, le=1.0)] = 0.01
    max_duplicated: Annotated[float, Field(ge=0.0, le=1.0)] = 1.0
    max_categories: Annotated[int, Field(ge=2, le=100_000)] = 1000

    @property
    def features(self) -> tuple[str, ...]:
        """Numeric features, then categorical ones: the order of the model's inputs."""
        return self.numeric + self.categorical

    @property
    def class_names(self) -> tuple[str, ...]:
        """The texts of `classes`, as in `labels.label_text`."""
        return tuple(str(name).lower() if isinstance(name, bool) else str(name) for name in self.classes)

    @property
    def grouping(self) -> tuple[str, ...]:
        """The group's column, if there is one."""
        return () if self.group is None else (self.group,)

    @model_validator(mode="after")
    def _roles_do_not_overlap(self) -> Self:
        problems = [*repeated("features", self.features), *repeated("key", self.key)]
        problems += class_names_problems(self.class_names, has_positive=self.positive_label is not None)
        if len(self.features) > MOST_FEATURES:
            problems.append(
                f"{len(self.features)} features, at most {MOST_FEATURES}: Spark's plans grow with them. Leave some out"
            )
        if not self.features:
            problems.append("no features: name columns under numeric or categorical")
        for name in self.features:
            role = self._role_of(name)
            if role:
                problems.append(
                    f"feature {name!r} is the {role} column, which leaks the label or identifies rows. Remove it"
                )
        if problems:
            raise ValueError("; ".join(problems))
        return self

    def _role_of(self, name: str) -> str | None:
        # An amount may be a feature: it is known when the order is placed.
        roles = {"label": (self.label,), "key": self.key, "group": (self.group,), "time": (self.time,)}
        roles |= {"weight": (self.weight,)}
        if name.startswith("true_probability"):
            return "true probability"
        return next((role for role, names in roles.items() if name in names), None)


def repeated(what: str, names: Any) -> list[str]:
    """A problem that lists duplicate names; none if there are no duplicates."""
    twice = sorted({name for name in names if list(names).count(name) > 1})
    return [f"{what} named twice: {twice}"] if twice else []
