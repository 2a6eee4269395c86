"""Passwords: hashed by Argon2id, compared, and refused where they are too short; none is kept or shown."""

from functools import cache

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from voxpop.errors import UsageError

_SHORTEST = 10  # characters; NIST SP 800-63B asks for length, not for kinds of characters
_LONGEST = 1000  # bytes of work for a stranger's text are bounded
_hasher = PasswordHasher()  # argon2-cffi's defaults are RFC 9106's second recommendation: 64 MiB, 3 passes


def hashed(password: str) -> str:
    """The encoded hash, with its salt and its parameters; tens of milliseconds. Raises UsageError."""
    if not _SHORTEST <= len(password) <= _LONGEST:
        what = f"A password has {_SHORTEST} to {_LONGEST} characters; this one has {len(password)}."
        raise UsageError(what, "Choose another, such as four words.", code="bad_password")
    return _hasher.hash(password)


def matches(kept: str, password: str) -> bool:
    """Whether it is the password of this hash; takes as long where there is no hash, which matches nothing."""
    try:
        return _hasher.verify(kept or _nobodys(), password[:_LONGEST]) and bool(kept)
    except (VerificationError, InvalidHashError):
        return False


def stale(kept: str) -> bool:
    """Whether a hash was made with other parameters than those of today, and is to be made anew."""
    return bool(kept) and _hasher.check_needs_rehash(kept)


@cache
def _nobodys() -> str:
    return _hasher.hash("nobody has this password")
