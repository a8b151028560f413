"""One process works on a run at a time: a lock file that names its holder."""

import hashlib
import os
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from imbalance_spark.core.errors import RunConflictError
from imbalance_spark.core.files import Folder


def own_mark() -> str:
    """`host:pid:start` of this process; `start` tells it from a later process of the same number."""
    return f"{socket.gethostname()}:{os.getpid()}:{_start_of(os.getpid())}"


def is_gone(mark: str) -> bool:
    """Whether the process of a mark has ended, as far as this machine can tell; of another host's it cannot."""
    host, _, rest = mark.partition(":")
    pid, _, start = rest.partition(":")
    if host != socket.gethostname() or not pid.isdigit():
        return False
    return _start_of(int(pid)) != start


def _start_of(pid: int) -> str:
    """When the process started, in clock ticks since boot; "unknown" where there is no /proc, "gone" for none."""
    if not Path("/proc/self/stat").exists():
        return "unknown" if _answers(pid) else "gone"
    try:
        # The name, in brackets, may hold spaces; of what follows it, the 20th field is the start.
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


LOCK = "run.lock"


_SETTLE_S = 0.5


_held: dict[str, tuple[Folder, Sequence[str]]] = {}


def claim(folder: Folder, run_id: str) -> None:
    """Take the run's lock, or go on with it where this process has it; of a process that died it is taken over.

    The lock of a dead process is not removed but followed by another, named after it: where two take it over at the
    same time, only one creates the next, and nobody removes what a third has just made.

    Raises:
        RunConflictError: another process works on the run, or one on another host did and left its lock.
    """
    mark, names = own_mark(), [LOCK]
    while not folder.create(names[-1], mark.encode()):
        holder = _mark_in(folder, names[-1])
        if holder == mark:
            return
        if holder is None:  # released meanwhile
            names = [LOCK]
        elif is_gone(holder):
            names.append(_next(holder))
        else:
            raise _conflict(folder, run_id, holder)
    # Where a store has no exclusive creation, two that start together may both find no lock: the mark that stands
    # decides.
    time.sleep(_SETTLE_S)
    if (holder := _holder(folder)) != mark:
        raise _conflict(folder, run_id, holder or "")
    _held[folder.path] = (folder, names)


@contextmanager
def locks_released() -> Iterator[None]:
    """Within the block runs may be claimed; at its end, however it ends, this process holds none."""
    try:
        yield
    finally:
        while _held:
            folder, names = _held.popitem()[1]
            for name in names:
                folder.delete(name)


def _holder(folder: Folder) -> str | None:
    """The last mark of the locks that follow one another from the first on."""
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
