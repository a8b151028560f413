"""What may be printed or logged of settings, addresses and names: no password, no token, nothing that hides."""

import re
import unicodedata
from collections.abc import Mapping
from typing import Any

MASK = "***"

LONGEST_NAME = 1000
"""Characters of a column's or a class's name."""
_DIRECTION_MARKS = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")

_NAMES = (
    r"password|passwd|pwd|token|secret|credential|access.?key|account.?key|api.?key|private.?key|connection.?string"
)
SECRET_NAME = re.compile(rf"(?i){_NAMES}|(?:^|[._-])sas(?:$|[._-])")
"""Of a setting whose value is a secret, such as `spark.hadoop.fs.s3a.secret.key`."""
_QUERY_SECRET = re.compile(rf"([?&;][^=&;]*(?:{_NAMES}|key|sig)[^=&;]*=)[^&;#\s'\"]*", re.IGNORECASE)
_URI = re.compile(r"[A-Za-z][\w+.-]*://[^\s'\"]+")


def masked_uri(uri: str) -> str:
    """The URI with `***` for its user information and for query parameters that name a secret.

    The user goes too: in `https://TOKEN@host` it is the secret.
    """
    scheme, separator, rest = uri.partition("://")
    if separator and not rest.startswith("/"):
        authority = re.split("[/?#]", rest, maxsplit=1)[0]
        # A password may hold these characters unescaped: then the `@` that ends it comes after them.
        end = authority.rfind("@") if "@" in authority or not _is_cut_short(authority) else rest.rfind("@")
        rest = f"{MASK}{rest[end:]}" if end >= 0 else rest
    return _QUERY_SECRET.sub(rf"\1{MASK}", scheme + separator + rest)


def masked_text(text: str) -> str:
    """The text with each URI in it masked."""
    return _URI.sub(lambda found: masked_uri(found[0]), text)


def masked_settings(settings: Any) -> Any:
    """JSON-able settings with `***` for each value whose name is that of a secret, and each URI in a text masked."""
    if isinstance(settings, Mapping):
        return {
            name: MASK if value is not None and SECRET_NAME.search(str(name)) else masked_settings(value)
            for name, value in settings.items()
        }
    if isinstance(settings, list | tuple):
        return [masked_settings(value) for value in settings]
    return masked_text(settings) if isinstance(settings, str) else settings


def _is_cut_short(authority: str) -> bool:
    """Whether what follows the last colon is no port, so that a password was split at one of its characters."""
    _, colon, port = authority.rpartition(":")
    return bool(colon) and not port.isdigit() and not authority.endswith("]")


def is_plain(name: str) -> bool:
    """Whether a name shows all that it is: not too long, without control characters and marks of direction."""
    return len(name) <= LONGEST_NAME and not any(_is_hidden(character) for character in name)


def visible(text: str) -> str:
    """The text in one line, with escapes for all that a terminal or a log would not print as it is."""
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)


def _is_hidden(character: str) -> bool:
    return unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") or character in _DIRECTION_MARKS
