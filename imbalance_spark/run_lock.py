"""One process at a time on a run: the second one is refused while the first one lives."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from imbalance_spark.errors import RunConflictError
from imbalance_spark.process import is_gone, own_mark
from imbalance_spark.storage import Folder

LOCK = "run.lock"
_SETTLE_S = 0.5
_held: dict[str, Folder] = {}


def claim(folder: Folder, run_id: str) -> None:
    """Take the run's lock, or go on with it where this process has it; of a process that died it is taken over.

    Raises:
        RunConflictError: another process works on the run, or one on another host did and left its lock.
    """
    mark = own_mark()
    if not folder.create(LOCK, mark.encode()):
        holder = _holder(folder)
        if holder == mark:
            return
        if holder is not None:
            if not is_gone(holder):
                raise _conflict(folder, run_id, holder)
            folder.delete(LOCK)
        folder.create(LOCK, mark.encode())
    # Two that start together may both find no lock, or a dead one's: of the two, the mark that stands decides.
    time.sleep(_SETTLE_S)
    if (holder := _holder(folder)) != mark:
        raise _conflict(folder, run_id, holder)
    _held[folder.path] = folder


def _holder(folder: Folder) -> str | None:
    """The mark in the lock; None where there is none, or another process has just removed it."""
    try:
        return folder.read_bytes(LOCK).decode()
    except FileNotFoundError:
        return None


@contextmanager
def locks_released() -> Iterator[None]:
    """Within the block runs may be claimed; at its end, however it ends, this process holds none."""
    try:
        yield
    finally:
        while _held:
            _held.popitem()[1].delete(LOCK)


def _conflict(folder: Folder, run_id: str, holder: str | None) -> RunConflictError:
    named = f"{holder}, as host:pid:start" if holder else "it has not signed its lock yet"
    return RunConflictError(
        f"run_id {run_id!r}: another process works on it ({named}). Wait for it, or use another "
        f"run_id. If that process is gone, delete {folder.path}/{LOCK}."
    )
