"""Text that others wrote: names that hide something, and how to show them."""

import unicodedata

LONGEST_NAME = 1000
"""Characters of a column's or a class's name."""
_DIRECTION_MARKS = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def is_plain(name: str) -> bool:
    """Whether a name shows all that it is: not too long, without control characters and marks of direction."""
    return len(name) <= LONGEST_NAME and not any(_is_hidden(character) for character in name)


def visible(text: str) -> str:
    """The text in one line, with escapes for all that a terminal or a log would not print as it is."""
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)


def _is_hidden(character: str) -> bool:
    return unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") or character in _DIRECTION_MARKS
