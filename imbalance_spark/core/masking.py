"""Addresses as they may be printed: without the passwords and tokens in them."""

import re

_SECRET = re.compile(r"([?&;][^=&;]*(?:password|passwd|pwd|token|secret|key)[^=&;]*=)[^&;#]*", re.IGNORECASE)


def masked_uri(uri: str) -> str:
    """The URI with `***` for its user information and for query parameters that name a secret.

    The user goes too: in `https://TOKEN@host` it is the secret.
    """
    scheme, separator, rest = uri.partition("://")
    if separator and not rest.startswith("/"):
        authority = re.split("[/?#]", rest, maxsplit=1)[0]
        # A password may hold these characters unescaped: then the `@` that ends it comes after them.
        end = authority.rfind("@") if "@" in authority or not _is_cut_short(authority) else rest.rfind("@")
        rest = f"***{rest[end:]}" if end >= 0 else rest
    return _SECRET.sub(r"\1***", scheme + separator + rest)


def _is_cut_short(authority: str) -> bool:
    """Whether what follows the last colon is no port, so that a password was split at one of its characters."""
    _, colon, port = authority.rpartition(":")
    return bool(colon) and not port.isdigit() and not authority.endswith("]")
