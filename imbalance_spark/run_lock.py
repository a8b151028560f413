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
        if (holder := _holder(folder)) == mark:
            return
        if not is_gone(holder):
            raise _conflict(folder, run_id, holder)
        folder.delete(LOCK)
        folder.create(LOCK, mark.encode())
    # Two that start together may both find no lock, or a dead one's: of the two, the mark that stands decides.
    time.sleep(_SETTLE_S)
    if (holder := _holder(folder)) != mark:
        raise _conflict(folder, run_id, holder)
    _held[folder.path] = folder


def _holder(folder: Folder) -> str:
    return folder.read_bytes(LOCK).decode() if folder.exists(LOCK) else ""


@contextmanager
def locks_released() -> Iterator[None]:
    """Within the block runs may be claimed; at its end, however it ends, this process holds none."""
    try:
        yield
    finally:
        while _held:
            _held.popitem()[1].delete(LOCK)


def _conflict(folder: Folder, run_id: str, holder: str) -> RunConflictError:
    return RunConflictError(
        f"run_id {run_id!r}: another process works on it ({holder}, as host:pid:start). Wait for it, or use another "
        f"run_id. If that process is gone, delete {folder.path}/{LOCK}."
    )
