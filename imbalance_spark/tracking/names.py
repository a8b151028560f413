"""Names of metrics and params that MLflow takes, whatever the classes are called."""

import hashlib
import re

_REFUSED = re.compile(r"[^\w.\- /]")  # and the colon, which MLflow takes, but which marks what was replaced here
_LONGEST = 250


def stored_name(name: str) -> str:
    """The name as MLflow stores it: equal where MLflow takes it, and different for different names.

    What it refuses becomes its number between colons, as in `recall/a:26:b` for `recall/a&b`; so do dots and nothing
    between slashes, which it reads as folders. A name that is too long ends with a part of its sha256.
    """
    plain = _REFUSED.sub(_numbered, name)
    taken = "/".join(_no_folder(part) for part in plain.split("/"))
    if len(taken) <= _LONGEST:
        return taken
    mark = hashlib.sha256(name.encode()).hexdigest()[:16]
    return f"{taken[: _LONGEST - len(mark) - 1]}:{mark}"


def _numbered(found: re.Match[str]) -> str:
    return f":{ord(found[0]):x}:"


def _no_folder(part: str) -> str:
    return re.sub(r"\.", _numbered, part) if part in (".", "..") else part or "::"
