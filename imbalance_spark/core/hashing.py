"""The hash that selects rows: a function of key, seed and purpose, never of the partitioning."""

from collections.abc import Sequence

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T

from imbalance_spark.core.errors import DataContractError, MissingColumnsError

RECIPE = 2
"""Version of what is hashed: any change to it selects other rows, and must change this number."""
_BITS = 62
HASH_RANGE = 1 << _BITS
"""Hashes are in [0, HASH_RANGE): a power of two, so `pmod` favours no value."""
_KEY_TYPES = (T.ByteType, T.ShortType, T.IntegerType, T.LongType, T.StringType, T.DateType)


def key_hash(key: Sequence[str], seed: int, purpose: str) -> Column:
    """A uniform bigint in [0, HASH_RANGE) from the key's text, the seed and what it is for.

    `xxhash64` itself distinguishes types (1 and 1L differ) and skips nulls. So these values are hashed in turn, each
    hash seeding the next: a string of recipe, purpose and seed; then for each key column its text and whether it is
    null. ('ab', 'c') and ('a', 'bc') differ, int and bigint agree, and null differs from any text. Different purposes
    give independent draws.

    Args:
        key: names of the key columns, of types that `check_key` accepts.
        seed: any integer.
        purpose: what the draw decides, such as "split" or "undersample".
    """
    # Chained, not concatenated: a fifth of the time, since only the key itself is turned into text.
    parts = [part for name in key for part in _hashed_part(name)]
    return F.pmod(F.xxhash64(F.lit(f"{RECIPE}/{purpose}/{seed}"), *parts), F.lit(HASH_RANGE))


def uniform(key: Sequence[str], seed: int, purpose: str) -> Column:
    """`key_hash` as a double in [0, 1)."""
    # 53 bits fill a double; more would round up to 1.0.
    return F.shiftright(key_hash(key, seed, purpose), 9) / F.lit(float(1 << 53))


def check_key(frame: DataFrame, key: Sequence[str], stage: str) -> None:
    """Raise for a key whose text would depend on settings or on how numbers are printed.

    Raises:
        MissingColumnsError: a key column is absent.
        DataContractError: no key column is named, or one is not integer, string, date or
            decimal with scale 0.
    """
    if not key:
        raise DataContractError(f"{stage}: no key column is named. Name the columns that identify a row.")
    if missing := set(key) - set(frame.columns):
        raise MissingColumnsError.of(stage, missing, frame.columns)
    bad = {
        name: frame.schema[name].dataType.simpleString()
        for name in key
        if not _is_key_type(frame.schema[name].dataType)
    }
    if bad:
        raise DataContractError(
            f"{stage}: key columns {bad} are not integer, string, date or decimal(p,0). "
            "Cast them to string or bigint upstream, so that their text never changes."
        )


def _is_key_type(data_type: T.DataType) -> bool:
    if isinstance(data_type, T.DecimalType):
        return data_type.scale == 0
    return isinstance(data_type, _KEY_TYPES)


def _hashed_part(name: str) -> tuple[Column, Column]:
    value = F.col(quoted(name))
    return value.cast("string"), value.isNull()


def quoted(name: str) -> str:
    """The name as a column reference that means exactly that column, dots and backticks included."""
    return "`" + name.replace("`", "``") + "`"


def hash_bucket(hashed: str, rows: int, of_bucket: int) -> Column:
    """A bucket number (bigint, from 0) from the highest bits of a hash; some `of_bucket` rows or fewer in each."""
    return F.shiftright(hashed, _BITS - max(0, (rows // of_bucket).bit_length()))
