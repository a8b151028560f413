"""One process at a time works on a run: a lease that its holder renews, and that another takes over once it is lost.

A lock file is created once and never changed. Its holder shows that it lives by a counter in another file. The lock
of a lost holder is not removed but followed by another, named after it: of several processes that take it over at once,
only one can create that file, and none removes a lock that another has just created.
"""

import hashlib
import itertools
import json
import logging
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

from imbalance_spark.core.errors import RunConflictError
from imbalance_spark.core.files import Folder

logger = logging.getLogger(__name__)

LOCK = "run.lock"
_BEAT_S, _LOST_AFTER_S = 5.0, 60.0
"""How often a holder renews its lease; after how long without a renewal, on the clock of who waits, it is lost."""
_LOOK_S = 0.5
_SETTLE_S = 0.5
_held: dict[str, "_Lease"] = {}


@dataclass(frozen=True, kw_only=True)
class Owner:
    """A process, as every machine can tell it from any other.

    Args:
        start: when the process started, in clock ticks since boot.
        scope: boot of the machine and the namespaces of process ids and time; empty where they cannot be told. Only
            within its scope a process id says whether the process lives.
        token: random, new for each process.
    """

    host: str
    pid: int
    start: str
    scope: str
    token: str

    @classmethod
    def current(cls) -> "Owner":
        """This process."""
        pid = os.getpid()
        return cls(host=socket.gethostname(), pid=pid, start=_start_of(pid), scope=_scope(pid), token=_token(pid))

    @classmethod
    def parse(cls, mark: str) -> "Owner | None":
        """The owner that a mark names; None if it is none, such as one that is not written yet."""
        try:
            return cls(**json.loads(mark))
        except (ValueError, TypeError):
            return None

    @property
    def mark(self) -> str:
        """The owner in one line."""
        return json.dumps(asdict(self))

    @property
    def is_in_sight(self) -> bool:
        """Whether it is certain from here if the process lives."""
        return self.scope != "" and self.scope == _scope(os.getpid())

    @property
    def is_gone(self) -> bool:
        """Whether the process has ended for certain."""
        return self.is_in_sight and _start_of(self.pid) != self.start


def is_gone(mark: str) -> bool:
    """Whether the process of a mark has ended for certain; of one on another machine that is never so."""
    owner = Owner.parse(mark)
    return owner is not None and owner.is_gone


def claim(folder: Folder, run_id: str, at_end: Callable[[BaseException | None], None] | None = None) -> None:
    """Take the run's lock and renew it in the background until `locks_released` ends.

    A process that has the lock keeps it. Where the holder may live on another machine or in another container, this
    waits until it shows that it lives, or for `_LOST_AFTER_S`; no two clocks are compared.

    Args:
        at_end: called before the lock is released, with the exception that ends the block if there is one.
    Raises:
        RunConflictError: another process holds the run.
    """
    mark = Owner.current().mark
    name = _next_lock(folder, run_id, mark)
    while name is not None and not folder.create(name, mark.encode()):
        name = _next_lock(folder, run_id, mark)
    if name is None:
        return
    # Without exclusive creation, as in some stores, two processes may both create the lock: the last mark wins.
    time.sleep(_SETTLE_S)
    chain = _chain(folder)
    if not chain or chain[-1][1] != mark:
        if _read(folder, name) == mark:
            folder.delete(name)
        raise _conflict(run_id, chain[-1][1] if chain else "")
    _held[folder.path] = _Lease(folder, mark, at_end)


def require_lock(folder: Folder, run_id: str) -> None:
    """Refuse to go on with a run whose lock another process has taken over, as after a long suspension.

    Raises:
        RunConflictError: this process no longer holds the run.
    """
    lease = _held.get(folder.path)
    if lease is not None and not lease.is_own:
        chain = _chain(lease.folder)
        raise _conflict(run_id, chain[-1][1] if chain else "")


def is_abandoned(folder: Folder) -> bool:
    """Whether the process that last held the run has ended for certain without releasing its lock."""
    chain = _chain(folder)
    return bool(chain) and is_gone(chain[-1][1])


@contextmanager
def locks_released() -> Iterator[None]:
    """Release every lock of this process when the block ends, normally or not."""
    ended_by: BaseException | None = None
    try:
        yield
    except BaseException as error:
        ended_by = error
        raise
    finally:
        while _held:
            _held.popitem()[1].release(ended_by)


class _Lease:
    """A lock that this process took, renewed until it is released."""

    def __init__(self, folder: Folder, mark: str, at_end: Callable[[BaseException | None], None] | None) -> None:
        self.folder, self._mark, self._at_end, self._is_over = folder, mark, at_end, threading.Event()
        self._renewer = threading.Thread(target=self._renew, name="lease-of-run", daemon=True)
        self._renewer.start()

    @property
    def is_own(self) -> bool:
        """Whether no other process has taken the lock over."""
        chain = _chain(self.folder)
        return bool(chain) and chain[-1][1] == self._mark

    def release(self, ended_by: BaseException | None) -> None:
        if self._at_end is not None:
            self._at_end(ended_by)
        self._is_over.set()
        self._renewer.join(_BEAT_S)
        try:
            chain = _chain(self.folder) if self.is_own else []
            for name in [*(name for name, _ in chain), *(_beat_of(mark) for _, mark in chain), _beat_of(self._mark)]:
                self.folder.delete(name)
        except Exception:  # the JVM or the store may be gone, while another error is on its way
            logger.warning("%s/%s stays: it expires, as nobody renews it", self.folder.path, LOCK)

    def _renew(self) -> None:
        for beat in itertools.count():
            try:
                self.folder.write_bytes(_beat_of(self._mark), str(beat).encode())
            except Exception:  # whatever it is: the next beat may succeed
                logger.debug("the lease was not renewed", exc_info=True)
            if self._is_over.wait(_BEAT_S):
                return


def _next_lock(folder: Folder, run_id: str, mark: str) -> str | None:
    """Name of the lock to create; None if this process holds the run already."""
    while chain := _chain(folder):
        name, holder = chain[-1]
        if holder == mark:
            return None
        if _is_lost(folder, name, holder, run_id):
            return _follower(holder)
    return LOCK


def _is_lost(folder: Folder, name: str, mark: str, run_id: str) -> bool:
    """Whether a lock's holder is gone; False once the lock is, too.

    Raises:
        RunConflictError: the holder lives.
    """
    owner = Owner.parse(mark)
    if owner is not None and owner.is_in_sight:
        if owner.is_gone:
            return True
        raise _conflict(run_id, mark)
    beat, until = _read(folder, _beat_of(mark)), time.monotonic() + _LOST_AFTER_S
    logger.warning("run %s: waiting up to %g s for a sign of life of %s", run_id, _LOST_AFTER_S, _named(mark))
    while time.monotonic() < until:
        time.sleep(min(_LOOK_S, _BEAT_S))
        if _read(folder, name) != mark:
            return False
        if _read(folder, _beat_of(mark)) != beat:
            raise _conflict(run_id, mark)
    return True


def _chain(folder: Folder) -> list[tuple[str, str]]:
    """Names and marks of the lock and those that followed it; the last one holds the run."""
    chain, name = list[tuple[str, str]](), LOCK
    while (mark := _read(folder, name)) is not None:
        chain.append((name, mark))
        name = _follower(mark)
    return chain


def _read(folder: Folder, name: str) -> str | None:
    try:
        return folder.read_bytes(name).decode()
    except FileNotFoundError:
        return None


def _follower(mark: str) -> str:
    return f"{LOCK}.{hashlib.sha256(mark.encode()).hexdigest()[:16]}"


def _beat_of(mark: str) -> str:
    return f"{_follower(mark)}.beat"


def _conflict(run_id: str, mark: str) -> RunConflictError:
    return RunConflictError(
        f"run_id {run_id!r}: another process works on it: {_named(mark)}. Wait for it to end, or use another run_id; "
        f"if it is lost, its lock can be taken over {_LOST_AFTER_S:g} s later."
    )


def _named(mark: str) -> str:
    owner = Owner.parse(mark)
    return "one that has not signed its lock" if owner is None else f"process {owner.pid} on host {owner.host!r}"


@cache
def _token(pid: int) -> str:
    """Of the process with that id: a fork of it has another."""
    return f"{pid}-{secrets.token_hex(8)}"


def _start_of(pid: int) -> str:
    """When the process started, in clock ticks since boot; "gone" if it has ended, and where there is no /proc."""
    try:
        # The process name, in brackets, may contain spaces; the start is the 20th field after it.
        fields = Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()
    except OSError:
        return "gone"
    return "gone" if fields[0] == "Z" else fields[19]


def _scope(pid: int) -> str:
    try:
        if os.readlink("/proc/self") != str(pid):  # a /proc of another namespace, with other ids
            return ""
        boot = Path("/proc/sys/kernel/random/boot_id").read_text("utf-8").strip()
        spaces = [os.readlink(f"/proc/self/ns/{kind}") for kind in ("pid", "time") if _has_space(kind)]
    except OSError:
        return ""
    return " ".join([socket.gethostname(), boot, *spaces])


def _has_space(kind: str) -> bool:
    return Path(f"/proc/self/ns/{kind}").is_symlink()
