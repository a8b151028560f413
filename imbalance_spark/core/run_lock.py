"""One process at a time works on a run: a lock file that names its holder by host, pid and start."""

import hashlib
import os
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from imbalance_spark.core.errors import RunConflictError
from imbalance_spark.core.files import Folder

LOCK = "run.lock"
_SETTLE_S = 0.5
_held: dict[str, tuple[Folder, Sequence[str]]] = {}


def own_mark() -> str:
    """`host:pid:start` of this process; `start` distinguishes it from a later process with the same pid."""
    return f"{socket.gethostname()}:{os.getpid()}:{_start_of(os.getpid())}"


def is_gone(mark: str) -> bool:
    """Whether the process of a mark is known to have ended; of a process on another host, nothing is known."""
    host, _, rest = mark.partition(":")
    pid, _, start = rest.partition(":")
    if host != socket.gethostname() or not pid.isdigit():
        return False
    return _start_of(int(pid)) != start


def _start_of(pid: int) -> str:
    """When the process started, in clock ticks since boot; "unknown" without /proc, "gone" if there is none."""
    if not Path("/proc/self/stat").exists():
        return "unknown" if _answers(pid) else "gone"
    try:
        # The process name, in brackets, may contain spaces; the start is the 20th field after it.
        fields = Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()
    except OSError:
        return "gone"
    return "gone" if fields[0] == "Z" else fields[19]


def _answers(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def claim(folder: Folder, run_id: str) -> None:
    """Take the run's lock; a process that has it keeps it, and that of a dead process is taken over.

    The lock of a dead process is not removed but followed by another, named after it. Of several processes that take it
    over at once, only one can create that file, and none removes a lock that another has just created.

    Raises:
        RunConflictError: another process holds the run, or one on another host left its lock.
    """
    mark, names = own_mark(), [LOCK]
    while not folder.create(names[-1], mark.encode()):
        holder = _mark_in(folder, names[-1])
        if holder == mark:
            return
        if holder is None:  # released in the meantime
            names = [LOCK]
        elif is_gone(holder):
            names.append(_next(holder))
        else:
            raise _conflict(folder, run_id, holder)
    # Without exclusive creation, as in some stores, two processes may both create the lock: the last mark wins.
    time.sleep(_SETTLE_S)
    if (holder := _holder(folder)) != mark:
        raise _conflict(folder, run_id, holder or "")
    _held[folder.path] = (folder, names)


@contextmanager
def locks_released() -> Iterator[None]:
    """Release every lock of this process when the block ends, normally or not."""
    try:
        yield
    finally:
        while _held:
            folder, names = _held.popitem()[1]
            for name in names:
                folder.delete(name)


def _holder(folder: Folder) -> str | None:
    """The mark of the last lock in the chain."""
    last, name = None, LOCK
    while (mark := _mark_in(folder, name)) is not None:
        last, name = mark, _next(mark)
    return last


def _mark_in(folder: Folder, name: str) -> str | None:
    try:
        return folder.read_bytes(name).decode()
    except FileNotFoundError:
        return None


def _next(mark: str) -> str:
    return f"{LOCK}.{hashlib.sha256(mark.encode()).hexdigest()[:16]}"


def _conflict(folder: Folder, run_id: str, holder: str) -> RunConflictError:
    named = f"{holder}, as host:pid:start" if holder else "it has not signed its lock yet"
    return RunConflictError(
        f"run_id {run_id!r}: another process works on it ({named}). Wait for it, or use another run_id. If that "
        f"process is gone, delete {folder.path}/{LOCK}."
    )
