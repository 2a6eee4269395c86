"""Tries to sign in: counted in the database before a password is looked at, and refused beyond a bound.

The bound of a name from one address is low, against guessing; those of a name from everywhere and of an address for
every name are higher, so that nobody easily locks somebody else out. What was tried is kept as its SHA-256.
"""

import hashlib
import ipaddress
from collections.abc import Mapping

from sqlalchemy import BigInteger, Integer, LargeBinary, delete, text
from sqlalchemy.orm import Mapped, Session, mapped_column

from voxpop.accounts import Limited
from voxpop.accounts.people import folded
from voxpop.records import Base

WINDOW_US = 15 * 60 * 1_000_000
TOGETHER, OF_NAME, OF_ADDRESS = 10, 100, 100
_COUNT = text("""
INSERT INTO sign_in_attempts (subject, count, until) VALUES (:subject, 1, :later)
ON CONFLICT (subject) DO UPDATE SET
  count = CASE WHEN sign_in_attempts.until BETWEEN :now + 1 AND :later THEN sign_in_attempts.count + 1 ELSE 1 END,
  until = CASE WHEN sign_in_attempts.until BETWEEN :now + 1 AND :later THEN sign_in_attempts.until ELSE :later END
RETURNING count, until
""")


class Attempt(Base):
    """How often somebody tried since a window began that ends at `until`, in microseconds of UTC."""

    __tablename__ = "sign_in_attempts"
    subject: Mapped[bytes] = mapped_column(LargeBinary(32), primary_key=True)
    count: Mapped[int] = mapped_column(Integer)
    until: Mapped[int] = mapped_column(BigInteger, index=True)


def count(session: Session, now: int, name: str, address: str) -> None:
    """One more try for a name from an address. Raises Limited where there were too many."""
    session.execute(delete(Attempt).where(Attempt.until <= now))
    for subject, most in sorted(_subjects(name, address).items()):  # one order: no two wait for each other
        values = {"subject": subject, "now": now, "later": now + WINDOW_US}
        tries, until = session.execute(_COUNT, values).one()
        if tries > most:
            seconds = max(1, -(-(until - now) // 1_000_000))
            minutes = -(-seconds // 60)
            cure = f"Try again in {minutes} minute{'s' if minutes != 1 else ''}."
            raise Limited("Too many tries to sign in.", cure, {"retry-after": str(seconds)})


def succeeded(session: Session, name: str, address: str) -> None:
    """Forget the tries of this name from this address: it was its owner."""
    session.execute(delete(Attempt).where(Attempt.subject == _subject("both", name, _net(address))))


def _subjects(name: str, address: str) -> Mapping[bytes, int]:
    net = _net(address)
    return {
        _subject("both", name, net): TOGETHER,
        _subject("name", name): OF_NAME,
        _subject("address", net): OF_ADDRESS,
    }


def _subject(*said: str) -> bytes:
    # Names as they are looked up: another case, or a space more, is no other name with tries of its own.
    return hashlib.sha256("\0".join(folded(s) for s in said).encode("utf-8", "replace")).digest()


def _net(address: str) -> str:
    """An address of IPv6 stands for its /64, which is one customer's."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    return str(ipaddress.ip_network((parsed, 64), strict=False)) if parsed.version == 6 else str(parsed)
