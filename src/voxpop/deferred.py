"""Answers that are fetched later: each is given once, to its own account, within a day; then nothing of it is left.

What was answered lies sealed under the posts that it cites (`sealed.py`). What cannot be traced to posts is in no
file: this process holds it. An answer whose process ended before it was made is told as lost, never as pending.
"""

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any, Self

import orjson
from sqlalchemy import BigInteger, LargeBinary, String, delete, select, update
from sqlalchemy.orm import Mapped, Session, mapped_column

from voxpop.errors import UsageError, VoxpopError
from voxpop.posts import Post
from voxpop.records import Base, Database
from voxpop.sealed import Shut, opened, shut
from voxpop.times import MICROS

Made = tuple[bytes, Sequence[Post] | None]
"""A finished answer and the posts that it rests on; None where these are not known."""

_log = logging.getLogger(__name__)
_KEEP = 24 * 3600 * MICROS
_BEAT_S = 5.0
_LOST = 30 * MICROS  # without a sign of life its process has ended


class Deferred(Base):
    """An answer that waits to be fetched. `state`: pending, done or failed; `said` is sealed, or why it failed."""

    __tablename__ = "deferred"
    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    owner: Mapped[str] = mapped_column(String(128))
    at: Mapped[int] = mapped_column(BigInteger, index=True)
    alive: Mapped[int] = mapped_column(BigInteger)
    worker: Mapped[str] = mapped_column(String(32))
    state: Mapped[str] = mapped_column(String(8))
    said: Mapped[bytes] = mapped_column(LargeBinary)


class Later:
    """Makes answers beside the requests that asked for them, and keeps them. Use as an async context manager.

    `posts` gives the stored posts of ids; `clock` microseconds of UTC.
    """

    def __init__(
        self,
        records: Database,
        posts: Callable[[Sequence[str]], Awaitable[Sequence[Post]]],
        clock: Callable[[], int],
        *,
        beat_s: float = _BEAT_S,
    ) -> None:
        self._records, self._posts, self._clock, self._beat_s = records, posts, clock, beat_s
        self._worker = secrets.token_hex(8)
        self._making: dict[str, asyncio.Task[None]] = {}
        self._held: dict[str, tuple[int, bytes]] = {}

    async def __aenter__(self) -> Self:
        self._beating = asyncio.create_task(self._beat())
        return self

    async def __aexit__(self, *_: object) -> None:
        tasks = [self._beating, *self._making.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        with suppress(VoxpopError):  # what is left without a sign of life is told as lost all the same
            mine = update(Deferred).where(Deferred.worker == self._worker, Deferred.state == "pending")
            await self._records.run(lambda s: s.execute(mine.values(alive=0)))

    async def start(self, owner: str, work: Callable[[], Awaitable[Made]]) -> str:
        """Make an answer; the id by which it is fetched. Raises VoxpopError where the database fails."""
        id_, now = secrets.token_hex(16), self._clock()
        row = Deferred(id=id_, owner=owner, at=now, alive=now, worker=self._worker, state="pending", said=b"")
        await self._records.run(lambda s: s.add(row))
        self._making[id_] = asyncio.create_task(self._make(id_, work))
        return id_

    async def take(self, owner: str, id_: str) -> bytes | None:
        """The answer, which is then gone; None while it is being made.

        Raises UsageError: `not_found` for one that is unknown, another's or taken, `deferred_lost` where its
        process ended, `withdrawn` where a post is gone that it rests on; and what the making of it raised.
        """
        making, held = id_ in self._making, id_ in self._held  # before it is read: what ends meanwhile is not lost
        row = await self._records.run(lambda s: self._taken(s, owner, id_, making, held))
        if row is None:
            what = f"No answer waits under '{id_[:60]}'."
            raise UsageError(what, "Each is given once, within a day.", code="not_found")
        if row.state == "failed":
            raise _failure(orjson.loads(row.said))
        if row.state == "done":
            return await self._opened(row)
        if held:
            return self._held.pop(id_)[1]
        if not self._is_lost(row, making):
            return None
        raise UsageError("The server ended before this answer was made.", "Ask again.", code="deferred_lost")

    def _taken(self, session: Session, owner: str, id_: str, making: bool, held: bool) -> Deferred | None:
        """The row, which is removed unless it is still being made; of two that take it one gets nothing."""
        oldest = self._clock() - _KEEP
        mine = (Deferred.id == id_, Deferred.owner == owner, Deferred.at >= oldest)
        row = session.scalar(select(Deferred).where(*mine)) if id_.isascii() and id_.isprintable() else None
        pending = row and row.state == "pending" and not held
        if row is None or (pending and not self._is_lost(row, making)):
            return row
        session.expunge(row)
        gone = session.execute(delete(Deferred).where(*mine, Deferred.state == row.state))
        return row if gone.rowcount else None  # type: ignore[attr-defined]

    def _is_lost(self, row: Deferred, making: bool) -> bool:
        """Whether nobody makes it any more, of one that was pending when it was read."""
        return not making if row.worker == self._worker else row.alive < self._clock() - _LOST

    async def _opened(self, row: Deferred) -> bytes:
        value = Shut.unpack(row.said)
        data = opened(value, list(await self._posts(value.ids)) if value.ids else [])
        if data is None:
            what = "A post that this answer rests on is gone, and the answer with it."
            raise UsageError(what, "Ask again.", code="withdrawn")
        return data

    async def _make(self, id_: str, work: Callable[[], Awaitable[Made]]) -> None:
        try:
            data, posts = await work()
            if posts is None:
                self._held[id_] = self._clock(), data
            else:
                await self._end(id_, "done", shut(data, posts).pack())
        except VoxpopError as error:
            await self._end(id_, "failed", orjson.dumps(_told(error)))
        except Exception:
            _log.exception("A deferred answer failed")
            broken = VoxpopError("The server failed.", "Look into its log.", code="internal_error")
            await self._end(id_, "failed", orjson.dumps(_told(broken)))
        finally:
            self._making.pop(id_, None)

    async def _end(self, id_: str, state: str, said: bytes) -> None:
        ended = update(Deferred).where(Deferred.id == id_).values(state=state, said=said)
        with suppress(VoxpopError):  # it is told as lost
            await self._records.run(lambda s: s.execute(ended))

    async def _beat(self) -> None:
        """Say that what is being made still is; remove what is too old."""
        while True:
            await asyncio.sleep(self._beat_s)
            with suppress(VoxpopError):
                await self._records.run(self._tidy)

    def _tidy(self, session: Session) -> None:
        now = self._clock()
        session.execute(delete(Deferred).where(Deferred.at < now - _KEEP))
        self._held = {id_: held for id_, held in self._held.items() if session.get(Deferred, id_)}
        if self._making or self._held:
            mine = Deferred.id.in_([*self._making, *self._held])
            session.execute(update(Deferred).where(mine).values(alive=now))


def forget(session: Session, owner: str) -> None:
    """Remove an account's answers, within a transaction that is open; who makes one now lets go of it soon."""
    session.execute(delete(Deferred).where(Deferred.owner == owner))


def _told(error: VoxpopError) -> dict[str, Any]:
    param = getattr(error, "param", None)
    usage = isinstance(error, UsageError)
    return {"what": error.what, "cure": error.cure, "code": error.code, "usage": usage, "param": param}


def _failure(told: dict[str, Any]) -> VoxpopError:
    kind = UsageError if told["usage"] else VoxpopError
    error = kind(told["what"], told["cure"], code=told["code"])
    if told["param"]:
        error.param = told["param"]  # type: ignore[attr-defined]
    return error
