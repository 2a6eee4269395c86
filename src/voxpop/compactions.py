"""A conversation as one closed text that its client keeps and sends back; only its own account can have it opened.

Closed by ChaCha20-Poly1305 (RFC 8439) under a key of this installation and the account, so that no other account's
and no altered text is taken. Nothing of the conversation stays here.
"""

import secrets
import zlib
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from typing import Self

import orjson
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from sqlalchemy import LargeBinary, String
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Mapped, Session, mapped_column

from voxpop.errors import UsageError
from voxpop.messages import Message
from voxpop.recipes import dump, load
from voxpop.records import Base, Database

_NONCE = 12
_LARGEST = 4 << 20  # bytes of a conversation
_PREFIX = "vc1."
_NAME = "compactions"


class InstallationKey(Base):
    """A key that every server of one database shares."""

    __tablename__ = "installation_keys"
    name: Mapped[str] = mapped_column(String(40), primary_key=True)
    key: Mapped[bytes] = mapped_column(LargeBinary)


class Compactions:
    """Closes conversations and opens them again. Use as an async context manager."""

    def __init__(self, records: Database) -> None:
        self._records = records
        self._key = b""

    async def __aenter__(self) -> Self:
        self._key = await self._records.run(_key, write=False)
        if not self._key:
            fresh = secrets.token_bytes(32)
            try:
                await self._records.run(lambda s: s.add(InstallationKey(name=_NAME, key=fresh)))
            except Exception as error:  # another server was first
                if not isinstance(error.__cause__, IntegrityError):
                    raise
            self._key = await self._records.run(_key, write=False)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._key = b""

    def closed(self, owner: str, messages: Sequence[Message]) -> str:
        """The closed text. Raises UsageError for a conversation that is too long."""
        plain = dump(list(messages))
        if len(plain) > _LARGEST:
            what = f"The conversation has {len(plain)} bytes."
            raise UsageError(what, f"Compact one of at most {_LARGEST >> 20} MiB.", code="too_long")
        nonce = secrets.token_bytes(_NONCE)
        sealed = ChaCha20Poly1305(self._key).encrypt(nonce, zlib.compress(plain, 1), owner.encode())
        return _PREFIX + urlsafe_b64encode(nonce + sealed).decode("ascii")

    def opened(self, owner: str, text: str) -> tuple[Message, ...]:
        """The conversation. Raises UsageError for a text that was not closed here for this account."""
        try:
            raw = urlsafe_b64decode(text.removeprefix(_PREFIX).encode("ascii")) if text.startswith(_PREFIX) else b""
            packed = ChaCha20Poly1305(self._key).decrypt(raw[:_NONCE], raw[_NONCE:], owner.encode())
        except (ValueError, InvalidTag) as error:
            what = "The compacted conversation cannot be opened: it was altered, or closed elsewhere."
            raise UsageError(what, "Send the messages themselves, or compact them anew.") from error
        return tuple(load(Message, m) for m in orjson.loads(zlib.decompress(packed)))


def _key(session: Session) -> bytes:
    found = session.get(InstallationKey, _NAME)
    return found.key if found else b""
