"""Uniform draws and look-up tables as column expressions: the same numbers on every machine.

Only `log`, `exp`, `pow` and `sqrt` are built on: Spark computes these by StrictMath or exactly,
while `sin` and `cos` may differ in the last digit from one processor to the next.
"""

from collections.abc import Sequence

from pyspark.sql import Column
from pyspark.sql import functions as F

RECIPE = 1
"""Version of the generated rows; a change of any draw must change it."""


def uniform(seed: int, stream: str, number: Column) -> Column:
    """A double in the open interval (0, 1): a function of seed, stream and a bigint alone.

    Streams are independent of each other. The generator makes the numbers itself, so that their
    type is always bigint and the short hash is safe; keys of users go through `hashing`.
    """
    bits = F.shiftrightunsigned(F.xxhash64(F.lit(f"{RECIPE}/{seed}/{stream}"), number), 12)
    # 52 bits and a half: never 0 or 1, so that log(u) and log(1 - u) are finite.
    return (bits + F.lit(0.5)) / F.lit(float(1 << 52))


def logit(share: Column) -> Column:
    """log(u / (1 - u)): a standard logistic draw when `share` is uniform."""
    return F.log(share / (F.lit(1.0) - share))


def lookup(values: Sequence[float], index: Column) -> Column:
    """The double at `index`, counted from 0."""
    return F.get(_literal(values).cast("array<double>"), index.cast("int"))


def lookup_text(values: Sequence[str], index: Column) -> Column:
    """The string at `index`, counted from 0; no value may hold a comma."""
    return F.get(_literal(values), index.cast("int"))


def _literal(values: Sequence[object]) -> Column:
    # One text that the optimizer folds into a constant: thousands of F.lit would each cross to the JVM.
    return F.split(F.lit(",".join(str(value) for value in values)), ",")


def alias_table(weights: Sequence[float]) -> tuple[list[float], list[int]]:
    """Walker's alias table of a discrete distribution (Vose, 1991): kept shares and stand-ins.

    A uniform slot i of n is kept with probability `kept[i]`, else replaced by `stand_in[i]`;
    then each i comes out with probability weights[i] / sum(weights).
    """
    n, total = len(weights), sum(weights)
    kept, stand_in = [weight * n / total for weight in weights], list(range(n))
    poor = [i for i in range(n) if kept[i] < 1.0]
    rich = [i for i in range(n) if kept[i] >= 1.0]
    while poor and rich:
        small, large = poor.pop(), rich[-1]
        stand_in[small] = large
        kept[large] -= 1.0 - kept[small]
        if kept[large] < 1.0:
            poor.append(rich.pop())
    for leftover in (*poor, *rich):  # 1 up to rounding
        kept[leftover] = 1.0
    return kept, stand_in
