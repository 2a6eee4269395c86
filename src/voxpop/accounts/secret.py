"""The secret of an API key: made, read and compared; it is shown once, and only its SHA-256 is ever kept.

A fast hash is right here: a secret is 256 random bits, so there is nothing to guess, and no dictionary to try. What
Argon2 does for passwords would cost each request tens of milliseconds and protect nothing more.
"""

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass, field

_ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789"  # no letter that looks like another
_KEY = re.compile(r"vx-([a-z0-9]{8})-[A-Za-z0-9_-]{43}")


@dataclass(frozen=True, slots=True)
class Sealed:
    """A secret as it is kept: `prefix` finds it, `hash` proves it."""

    prefix: str
    hash: bytes = field(repr=False)


def mint() -> tuple[str, Sealed]:
    """A new secret, `vx-PREFIX-` and 43 characters of base64url, and what is kept of it."""
    prefix = "".join(secrets.choice(_ALPHABET) for _ in range(8))
    clear = f"vx-{prefix}-{secrets.token_urlsafe(32)}"
    return clear, Sealed(prefix, digest(clear))


def read(clear: str) -> Sealed | None:
    """What somebody sent, as it would be kept; None for what cannot be a key."""
    match = _KEY.fullmatch(clear)
    return Sealed(match[1], digest(clear)) if match else None


def same(kept: bytes, given: bytes) -> bool:
    """Whether two hashes are equal, in a time that says nothing of where they differ."""
    return hmac.compare_digest(kept, given)


def digest(clear: str) -> bytes:
    """SHA-256 of the whole secret, its prefix included: 32 bytes."""
    return hashlib.sha256(clear.encode()).digest()


def redacted(prefix: str) -> str:
    """A key as it may be shown and logged."""
    return f"vx-{prefix}-…"
