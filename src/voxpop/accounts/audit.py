"""What admins did: who, what, on whom and when, in the transaction that did it; never a secret.

The log only grows: the database itself refuses to change or remove a line.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from voxpop.accounts import Account
from voxpop.accounts.tables import Act

_LOCK = 0x766F79
_MOST = 1000


@dataclass(frozen=True, slots=True)
class By:
    """Who does something, and when, in microseconds of UTC: `user_…`, `cli:NAME`, or `sign-up`."""

    who: str
    now: int

    @classmethod
    def account(cls, account: Account, now: int) -> "By":
        """An account, and the key by which it came."""
        return cls(f"{account.id} {account.key}".strip() or "local", now)


def alone(session: Session) -> None:
    """Until the end of this transaction nobody else changes accounts: what is checked stays so."""
    session.flush()  # what is read anew from here on must not undo what this transaction did already
    if session.get_bind().dialect.name == "postgresql":  # SQLite has one writer at a time
        session.execute(text("SELECT pg_advisory_xact_lock(:n)"), {"n": _LOCK})


def note(session: Session, by: By, act: str, subject: str, **details: Any) -> None:
    """Write down an act such as `user.add` on a subject's id; what is None or empty in `details` is left out."""
    said = {k: v for k, v in details.items() if v not in (None, "", [], ())}
    session.add(Act(at=by.now, by=by.who, act=act, subject=subject, details=said))


def acts(session: Session, *, before: int | None = None, subject: str = "", limit: int = 100) -> Sequence[Act]:
    """The newest first; `before` is the id of the oldest that was read already."""
    query = select(Act).order_by(Act.id.desc()).limit(min(limit, _MOST))
    if before is not None:
        query = query.where(Act.id < before)
    if subject:
        query = query.where(Act.subject == subject)
    return session.scalars(query).all()
