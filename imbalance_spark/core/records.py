"""Records that an earlier job wrote as JSON, and what is raised when one is not what it was."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from imbalance_spark.core.errors import DataContractError, ImbalanceSparkError

_MALFORMED = (ArithmeticError, AttributeError, LookupError, MemoryError, RecursionError, TypeError, ValueError)
"""What Python and numpy raise on a key that is absent, a value of another type, or a size that cannot be."""


@contextmanager
def reading(what: str, fix: str) -> Iterator[None]:
    """Within the block a record is turned into objects.

    Args:
        what: the record's name in words, for the message.
        fix: what to do about it, as a sentence.

    Raises:
        DataContractError: the record is malformed. Errors of this package pass as they are.
    """
    try:
        with np.errstate(invalid="raise"):
            yield
    except ImbalanceSparkError:
        raise
    except _MALFORMED as error:
        raise DataContractError(
            f"{what} is damaged: not what was written there ({type(error).__name__}). {fix}"
        ) from None
