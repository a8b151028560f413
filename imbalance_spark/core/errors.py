"""Every error that this package raises on purpose, each with the exit code a job ends with."""

import difflib
from collections.abc import Collection, Iterable
from typing import ClassVar, Self


class ImbalanceSparkError(Exception):
    """Something this package refuses, said in one line: what, where, the value, how to fix it.

    Messages never hold a row's values: counts, column names, class labels and settings only.
    """

    exit_code: ClassVar[int] = 1

    @classmethod
    def of_all(cls, problems: Collection[str]) -> Self:
        """One error for all problems that were found together."""
        return cls(" | ".join(problems))


class ConfigError(ImbalanceSparkError, ValueError):
    """A setting that cannot be: wrong type, out of range, unknown, or at odds with another."""

    exit_code = 2


class UnsupportedSparkError(ConfigError):
    """This Spark cannot do what was asked: Connect, dynamic allocation, too few slots, no Delta."""


class SlotsUnavailableError(UnsupportedSparkError):
    """Too few slots for the workers of a fit, which must all run at the same time."""


class RunConflictError(ConfigError):
    """A run id that is taken: by another config, another input, or a process at work on it."""


class DataContractError(ImbalanceSparkError, ValueError):
    """The data breaks the contract of an order log."""

    exit_code = 3


class MissingColumnsError(DataContractError):
    """A stage was given a DataFrame without a column that it reads."""

    @classmethod
    def of(cls, stage: str, missing: Collection[str], present: Collection[str]) -> Self:
        """Name the stage, what it misses, what there is, and the nearest names."""
        return cls(
            f"{stage}: the input has no column {sorted(missing)}; it has {sorted(present)}."
            f"{nearest(missing, present)} "
            "Add the column upstream, or name an existing one in the settings."
        )


class LeakageError(DataContractError):
    """A row that is not a training row reached a room that only training rows may enter."""


class PinDamagedError(DataContractError):
    """A pinned table no longer holds the rows that were recorded for it."""


class QualityGateError(ImbalanceSparkError):
    """The run is complete, but its best model does not meet the gate that the config sets."""

    exit_code = 4


class TrainingError(ImbalanceSparkError):
    """A fit failed for a reason that is neither the config's nor the contract's."""


class TrackingError(ImbalanceSparkError):
    """The MLflow store went away while a job worked with it."""


class SparkEndedError(ImbalanceSparkError):
    """Spark was ended from outside while a job worked with it."""

    exit_code = 143


def nearest(unknown: Iterable[object], known: Iterable[object]) -> str:
    """A hint ` Did you mean 'x'?` for each unknown name that has a close known one, else ''."""
    by_text = {str(name): name for name in known}
    hints = []
    for name in unknown:
        close = difflib.get_close_matches(str(name), by_text, n=1)
        if close:
            hints.append(f" Did you mean {by_text[close[0]]!r} for {name!r}?")
    return "".join(hints)
