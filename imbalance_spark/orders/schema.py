"""Names and types that the columns of an order log may have, checked on the schema alone."""

import unicodedata
from collections.abc import Iterator, Sequence

from pyspark.sql import DataFrame
from pyspark.sql import types as T

from imbalance_spark.core.columns import CLASS_WEIGHT, IS_EARLY_STOPPING, SAMPLING_WEIGHT, SPLIT, taken_columns
from imbalance_spark.core.errors import DataContractError, nearest
from imbalance_spark.core.hashing import check_key
from imbalance_spark.core.masking import LONGEST_NAME, is_plain
from imbalance_spark.orders.config import OrdersConfig

_RESERVED = (SPLIT, SAMPLING_WEIGHT, CLASS_WEIGHT, IS_EARLY_STOPPING)
_MOST_NAMES = 20
_LONGEST_TYPE = 60
_Types = tuple[type[T.DataType], ...]
_INTEGERS = (T.ByteType, T.ShortType, T.IntegerType, T.LongType)
_NUMBERS = (*_INTEGERS, T.FloatType, T.DoubleType, T.DecimalType)
_TIMES = (T.TimestampType, T.TimestampNTZType, T.DateType)
_NUMERIC = (*_NUMBERS, T.BooleanType)
_CATEGORICAL = (*_INTEGERS, T.StringType, T.BooleanType)
_LABEL = (*_NUMBERS, T.StringType, T.BooleanType)

_FIXES: tuple[tuple[_Types, str], ...] = (
    (_TIMES, "derive numbers from it, such as the hour or the days since the last order"),
    ((T.StringType,), "list it under categorical, or cast it to double upstream"),
    ((T.FloatType, T.DoubleType, T.DecimalType), "list it under numeric, or cast it to integer or string upstream"),
    ((T.ArrayType, T.UserDefinedType), "write each element to a column of its own"),
    ((T.MapType, T.StructType), "write each field to a column of its own"),
)


def check_orders(frame: DataFrame, config: OrdersConfig) -> None:
    """Check names and types of an order log's columns; no Spark job.

    Raises:
        DataContractError: all problems at once. A column that a role names is absent; a feature,
            key, group, time, amount, weight or label has a type that its role does not accept; two
            column names look the same; a name hides something, or is reserved.
    """
    names = frame.columns
    problems = [
        *_spelling_problems(names),
        *_own_names(names),
        *_missing(frame, config),
        *_type_problems(frame, config),
    ]
    if problems:
        raise DataContractError.of_all(problems)


def check_features(
    frame: DataFrame, numeric: Sequence[str], categorical: Sequence[str], added: tuple[str, ...] = ()
) -> None:
    """Check that a model can read the orders to score; no Spark job.

    Args:
        numeric: features that the model reads as numbers: integer, float, decimal or boolean.
        categorical: features that it compares as text: string, integer or boolean.
        added: columns that scoring adds and the orders must not have.

    Raises:
        DataContractError: all problems at once. A feature is absent or has another type; two column names look the
            same; a name hides something; a column that scoring adds exists already.
    """
    problems = [*_spelling_problems(frame.columns), *_missing_features(frame, (*numeric, *categorical))]
    kinds = (("numbers", numeric, _NUMERIC), ("categories (integer, string or boolean)", categorical, _CATEGORICAL))
    for kind, names, accepted in kinds:
        changed = [name for name in names if name in frame.columns and not _is_of(frame, name, accepted)]
        problems += [
            f"scoring: column {name!r} is {_type_of(frame, name)}, the model was trained on {kind}. Cast it upstream."
            for name in changed
        ]
    if taken := taken_columns(frame, added):
        problems.append(f"scoring: the orders already have {taken}, which scoring adds. Drop or rename them.")
    if problems:
        raise DataContractError.of_all(problems)


def _missing_features(frame: DataFrame, features: Sequence[str]) -> Iterator[str]:
    if missing := sorted(set(features) - set(frame.columns)):
        yield (
            f"scoring: the orders have no column {_listed(missing)}, which the model reads; they have "
            f"{_listed(frame.columns)}.{nearest(missing[:_MOST_NAMES], frame.columns)} Add it upstream."
        )


def _is_of(frame: DataFrame, name: str, accepted: _Types) -> bool:
    return isinstance(frame.schema[name].dataType, accepted)


def _type_of(frame: DataFrame, name: str) -> str:
    return frame.schema[name].dataType.simpleString()[:_LONGEST_TYPE]


def _missing(frame: DataFrame, config: OrdersConfig) -> Iterator[str]:
    roles = (*config.key, config.label, config.group, config.time, config.amount, config.weight, *config.features)
    missing = sorted({name for name in roles if name is not None} - set(frame.columns))
    if missing:
        yield (
            f"orders: the source has no column {_listed(missing)}; it has {_listed(frame.columns)}."
            f"{nearest(missing[:_MOST_NAMES], frame.columns)} Name existing columns under orders."
        )


def _spelling_problems(names: list[str]) -> Iterator[str]:
    same: dict[str, list[str]] = {}
    for name in names:
        same.setdefault(_look(name), []).append(name)
    for alike in same.values():
        if len(alike) > 1:
            yield (
                f"orders: columns {[ascii(name) for name in alike]} differ only in letter case, spelling of accents "
                "or invisible characters. Rename or drop all but one."
            )
    if refused := [ascii(name[:40]) for name in names if not is_plain(name) or not name.strip()]:
        yield (
            f"orders: columns {', '.join(refused[:_MOST_NAMES])} have names that are empty, longer than "
            f"{LONGEST_NAME:,} characters, or have control characters or marks of direction. Rename or drop them."
        )


def _own_names(names: list[str]) -> Iterator[str]:
    if ours := [name for name in names if name.lower() in _RESERVED or name.startswith("_")]:
        yield (
            f"orders: columns {_listed(ours)} have reserved names ({', '.join(_RESERVED)}, a leading _). "
            "Rename or drop them upstream."
        )


def _look(name: str) -> str:
    visible = "".join(c for c in name if unicodedata.category(c) != "Cf")
    return unicodedata.normalize("NFC", visible).casefold()


def _type_problems(frame: DataFrame, config: OrdersConfig) -> Iterator[str]:
    present = set(frame.columns)
    for role, names in (("key", config.key), ("group", (config.group,) if config.group else ())):
        if names and present.issuperset(names):
            yield from _key_problem(frame, names, f"orders.{role}")
    for role, names, accepted, fix in _accepted_types(config):
        for name in names:
            if name in present and not _is_of(frame, name, accepted):
                advice = fix or _feature_fix(frame.schema[name].dataType)
                yield f"orders.{role}: column {name!r} is {_type_of(frame, name)}: {advice}."


def _accepted_types(config: OrdersConfig) -> Iterator[tuple[str, tuple[str, ...], _Types, str | None]]:
    """Each role with its columns, the types that it accepts, and what to do about other types."""
    yield "label", (config.label,), _LABEL, "a label is boolean, a number or a string; cast it upstream"
    yield "time", (config.time,) if config.time else (), _TIMES, "cast it to timestamp or date upstream"
    yield "amount", (config.amount,) if config.amount else (), _NUMBERS, "cast it to double upstream"
    yield "weight", (config.weight,) if config.weight else (), _NUMBERS, "cast it to double upstream"
    yield "numeric", config.numeric, _NUMERIC, None
    yield "categorical", config.categorical, _CATEGORICAL, None


def _key_problem(frame: DataFrame, names: tuple[str, ...], where: str) -> Iterator[str]:
    try:
        check_key(frame, names, where)
    except DataContractError as error:
        yield str(error)


def _feature_fix(found: T.DataType) -> str:
    fixes = (fix for kinds, fix in _FIXES if isinstance(found, kinds))
    return next(fixes, "remove it, or turn it into numbers or categories upstream")


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    return f"{names[:_MOST_NAMES]}{more}"
