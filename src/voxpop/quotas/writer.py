"""Many short pieces of work on the database in one commit: each is durable when it is done, or undone whole.

While one commit is under way the next ones gather: a disk that syncs slowly costs patience, not throughput.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from sqlalchemy import text
from sqlalchemy.orm import Session

from voxpop.records import Database

T = TypeVar("T")
_MOST = 256  # in one commit
_LOCK = text("SELECT pg_advisory_xact_lock(hashtextextended(:account, 118))")


@dataclass(frozen=True, slots=True)
class _Piece:
    account: str
    work: Callable[[Session], Any]
    done: "asyncio.Future[Any]"


class Writer:
    """Does work in the order in which it comes; of one account, one at a time in all servers together."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: deque[_Piece] = deque()
        self._task: asyncio.Task[None] | None = None

    def begin(self, account: str, work: Callable[[Session], T]) -> "asyncio.Future[T]":
        """Queue work on what belongs to an account; it is done also if nobody waits for it any more.

        The work may be run twice (its first try rolled back), so it must do nothing but ask the session.
        """
        done = asyncio.get_running_loop().create_future()
        done.add_done_callback(lambda f: f.cancelled() or f.exception())  # whoever went away asks no more
        self._waiting.append(_Piece(account, work, done))
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._write())
        return done

    async def do(self, account: str, work: Callable[[Session], T]) -> T:
        """What the work gives, once it is durable. Raises VoxpopError where the database fails."""
        return await asyncio.shield(self.begin(account, work))

    async def close(self) -> None:
        """Returns when all that was begun is written."""
        if self._task:
            await asyncio.gather(self._task, return_exceptions=True)

    async def _write(self) -> None:
        while self._waiting:
            pieces = [self._waiting.popleft() for _ in range(min(_MOST, len(self._waiting)))]
            try:
                await self._together(pieces)
            except Exception:
                for piece in pieces:  # one of them is at fault: the others must not suffer
                    await self._alone(piece)

    async def _together(self, pieces: Sequence[_Piece]) -> None:
        results = await self._database.run(lambda session: self._all(session, pieces))
        for piece, result in zip(pieces, results, strict=True):
            if not piece.done.done():
                piece.done.set_result(result)

    async def _alone(self, piece: _Piece) -> None:
        try:
            await self._together([piece])
        except Exception as error:
            if not piece.done.done():
                piece.done.set_exception(error)

    def _all(self, session: Session, pieces: Sequence[_Piece]) -> list[Any]:
        if not self._database.is_sqlite:
            # Always in the same order, so that two servers never wait for each other.
            for account in sorted({p.account for p in pieces}):
                session.execute(_LOCK, {"account": account})
        return [piece.work(session) for piece in pieces]
