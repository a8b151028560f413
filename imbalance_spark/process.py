"""Which process holds something, written so that another can tell whether that process still runs."""

import os
import socket
from pathlib import Path


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
