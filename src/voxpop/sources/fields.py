"""Read single values that networks send, in one way for all; what is malformed reads as empty, and never raises."""

import re
from functools import lru_cache

from voxpop.sources.timestamps import timestamp

MAX_ALT = 2000
MAX_BIO = 300
_MAX_URL = 2048
_MAX_TAG = 32
_SPACE = re.compile(r"\s").search
_MOST_COUNTED = 10**12  # more is no count, and past 63 bits no database takes it
_NO_LANGUAGE = frozenset({"und", "mul", "mis", "zxx", "art"})


def web(value: object) -> str:
    """An http(s) address of at most 2,048 characters."""
    if type(value) is not str or len(value) > _MAX_URL or not value.startswith(("https://", "http://")):
        return ""
    return "" if _SPACE(value) else value


def described(value: object) -> str:
    """A description of a picture, or the title or summary of a card, cut at 2,000 characters."""
    return value.strip()[:MAX_ALT] if type(value) is str else ""


def bio(value: object) -> str:
    """What an account says of itself, on one line and cut at 300 characters."""
    return " ".join(value[: 4 * MAX_BIO].split())[:MAX_BIO].rstrip() if type(value) is str else ""


def count(value: object) -> int:
    """A count that can be; else zero."""
    return value if type(value) is int and 0 < value <= _MOST_COUNTED else 0


def claimed(value: object, otherwise: int) -> int:
    """A time that somebody claims (ISO 8601), in microseconds of UTC; `otherwise` where it is none since 1970."""
    try:
        at = timestamp(value) if type(value) is str else -1
    except (ValueError, OverflowError):
        return otherwise
    return at if at >= 0 else otherwise


def language(value: object) -> str:
    """The primary language of a tag (RFC 5646), in lower case; empty for what says that it is none of them.

    Codes from `qaa` to `qtz` are for private use (ISO 639-2): X marks posts without words by them.
    """
    return _primary(value) if type(value) is str and len(value) <= _MAX_TAG else ""


@lru_cache(maxsize=1024)
def _primary(tag: str) -> str:
    primary = tag.strip().lower().replace("_", "-").partition("-")[0]
    plain = primary.isascii() and primary.isalpha() and 2 <= len(primary) <= 8
    private = len(primary) == 3 and "qaa" <= primary <= "qtz"
    return primary if plain and not private and primary not in _NO_LANGUAGE else ""
