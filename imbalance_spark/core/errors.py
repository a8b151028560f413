"""Every error that this package raises on purpose, with the exit code of a job that it ends."""

import difflib
from collections.abc import Collection, Iterable
from typing import ClassVar, Self


class ImbalanceSparkError(Exception):
    """An error in one line: what is wrong, where, the value, how to fix it.

    Messages never contain a row's values, only counts, column names, class labels and settings.
    """

    exit_code: ClassVar[int] = 1

    @classmethod
    def of_all(cls, problems: Collection[str]) -> Self:
        """One error for several problems."""
        return cls(" | ".join(problems))


class ConfigError(ImbalanceSparkError, ValueError):
    """An invalid setting: wrong type, out of range, unknown, or in conflict with another."""

    exit_code = 2


class UnsupportedSparkError(ConfigError):
    """A Spark that cannot run the job: Connect, dynamic allocation, too few slots, no Delta."""


class SlotsUnavailableError(UnsupportedSparkError):
    """Too few slots for the workers of a fit, which must all run at once."""


class RunConflictError(ConfigError):
    """A run id that is taken by another config, another input, or a running process."""


class DataContractError(ImbalanceSparkError, ValueError):
    """Data that violates the contract of an order log."""

    exit_code = 3


class MissingColumnsError(DataContractError):
    """A DataFrame without a column that a stage reads."""

    @classmethod
    def of(cls, stage: str, missing: Collection[str], present: Collection[str]) -> Self:
        """The error for a stage, the columns it lacks and those present, with the nearest names."""
        return cls(
            f"{stage}: the input has no column {sorted(missing)}; it has {sorted(present)}."
            f"{nearest(missing, present)} "
            "Add the column upstream, or name an existing one in the settings."
        )


class LeakageError(DataContractError):
    """A row outside the training fold reached a stage that only training rows may enter."""


class PinDamagedError(DataContractError):
    """A pinned table that no longer holds the rows recorded for it."""


class QualityGateError(ImbalanceSparkError):
    """A complete run whose best model fails the quality gate of the config."""

    exit_code = 4


class IncomparableChampionError(ImbalanceSparkError):
    """A complete run whose model could not be compared with the champion; see `gate.incomparable`."""

    exit_code = 5


class TrainingError(ImbalanceSparkError):
    """A fit that failed for a reason other than the config or the data contract."""


class TrackingError(ImbalanceSparkError):
    """The MLflow store stopped answering during a job."""


class SparkEndedError(ImbalanceSparkError):
    """Spark was shut down from outside during a job."""

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
