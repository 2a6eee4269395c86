"""Sessions of signed-in pages: opened, known by their token, ended; a token is kept only as its SHA-256.

What is known of a session is kept for half a second, so that one that was ended is refused within one, by every
process. A session ends when it was not used for `idle_s`, and at the latest `lasts_s` after it was opened.
"""

import hashlib
import re
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from sqlalchemy import BigInteger, ForeignKey, LargeBinary, delete, select, update
from sqlalchemy.orm import Mapped, Session, mapped_column

from voxpop.records import Base, Database

LASTS_S = 0.5
_COARSE_US = 60_000_000
_MOST = 10_000  # sessions that are kept in memory at once
_EACH = 50  # sessions of one user: beyond them the oldest end
_TOKEN = re.compile(r"[A-Za-z0-9_-]{43}")  # 256 bits, as `secrets.token_urlsafe(32)` writes them


class PageSession(Base):
    """A page that somebody signed in. Times are microseconds of UTC; `used_at` is a minute's."""

    __tablename__ = "page_sessions"
    hash: Mapped[bytes] = mapped_column(LargeBinary(32), primary_key=True)
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    opened_at: Mapped[int] = mapped_column(BigInteger)
    used_at: Mapped[int] = mapped_column(BigInteger)
    expires_at: Mapped[int] = mapped_column(BigInteger, index=True)


@dataclass(frozen=True, slots=True)
class _Seen:
    user: str
    until: int
    at: float


@dataclass(slots=True)
class Sessions:
    """The sessions of a database. `clock` is in microseconds of UTC, `ticks` in seconds that never go back."""

    database: Database
    clock: Callable[[], int]
    lasts_s: float = 30 * 86_400.0
    idle_s: float = 7 * 86_400.0
    ticks: Callable[[], float] = time.monotonic
    _seen: dict[bytes, _Seen] = field(default_factory=dict)

    async def open(self, user_id: str) -> str:
        """A new session of a user; its token, which is shown this once."""
        token, now = secrets.token_urlsafe(32), self.clock()
        row = PageSession(
            hash=_hash(token), user_id=user_id, opened_at=now, used_at=now, expires_at=now + _us(self.lasts_s)
        )
        await self.database.run(lambda s: self._add(s, row, now))
        return token

    def _add(self, session: Session, row: PageSession, now: int) -> None:
        idle = PageSession.used_at <= now - _us(self.idle_s)
        session.execute(delete(PageSession).where((PageSession.expires_at <= now) | idle))
        mine = select(PageSession.hash).where(PageSession.user_id == row.user_id)
        old = session.scalars(mine.order_by(PageSession.used_at.desc()).offset(_EACH - 1)).all()
        session.execute(delete(PageSession).where(PageSession.hash.in_(old)))
        session.add(row)

    async def user(self, token: str) -> str:
        """The id of the user whose session it is; empty for one that is unknown or over."""
        if not _TOKEN.fullmatch(token):
            return ""
        by, now = _hash(token), self.clock()
        seen = self._seen.get(by)
        if seen is None or self.ticks() - seen.at > LASTS_S:
            seen = await self._look(by, now)
        return seen.user if seen and now < seen.until else ""

    async def _look(self, by: bytes, now: int) -> _Seen | None:
        at = self.ticks()  # before the look: what is read can be no older
        row = await self.database.run(lambda s: s.get(PageSession, by), write=False)
        if row is None:
            self._seen.pop(by, None)
            return None
        if len(self._seen) >= _MOST:
            self._seen.clear()
        seen = _Seen(row.user_id, min(row.expires_at, row.used_at + _us(self.idle_s)), at)
        self._seen[by] = seen
        if now < seen.until and row.used_at + _COARSE_US <= now:
            used = update(PageSession).where(PageSession.hash == by).values(used_at=now)
            await self.database.run(lambda s: s.execute(used))
        return seen

    async def end(self, token: str) -> None:
        """Sign out: the token is worth nothing any more. An unknown one is none already."""
        by = _hash(token)
        await self.database.run(lambda s: s.execute(delete(PageSession).where(PageSession.hash == by)))
        self._seen.pop(by, None)

    async def end_all(self, user_id: str, *, but: str = "") -> None:
        """Sign a user out everywhere, but for the session of the token `but`."""
        kept = _hash(but)
        gone = delete(PageSession).where(PageSession.user_id == user_id, PageSession.hash != kept)
        await self.database.run(lambda s: s.execute(gone))
        for by in [by for by, seen in self._seen.items() if seen.user == user_id and by != kept]:
            del self._seen[by]


def _hash(token: str) -> bytes:
    # The token has 256 random bits: there is nothing to guess, so nothing to slow down.
    return hashlib.sha256(token.encode()).digest()


def _us(seconds: float) -> int:
    return int(seconds * 1_000_000)
