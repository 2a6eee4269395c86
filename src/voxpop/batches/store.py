"""All batches of all accounts: what was asked, how far each request is, and the results, sealed under their posts.

A request is pending, then running, then over; its result and its end are written as one. What was running when the
program was killed has no result, and runs again under the same request id; what has one is never asked again.
"""

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import fields
from typing import Any

import orjson
from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from voxpop.accounts import Account
from voxpop.batches import KEPT_S, MOST, OPEN, OVER, WINDOW_S, Batch, Line, Wish
from voxpop.batches.tables import BatchRow, RequestRow, batch_of, dump, row_of
from voxpop.errors import UsageError
from voxpop.posts import Post
from voxpop.records import Database
from voxpop.sealed import Shut, opened, shut

MOST_OPEN = 100  # batches of one account that are not over
_SECOND = 1_000_000
_PAGE = 200
Posts = Callable[[Sequence[str]], Awaitable[Sequence[Post]]]


class Batches:
    """All batches in the database of records; `posts` gives the stored posts of ids, `clock` microseconds of UTC.

    `woken` is set when there is work.
    """

    def __init__(self, records: Database, posts: Posts, clock: Callable[[], int]) -> None:
        self._records, self._posts, self._clock = records, posts, clock
        self.woken = asyncio.Event()

    def now(self) -> int:
        """Seconds of UTC."""
        return self._clock() // _SECOND

    async def create(
        self,
        account: Account,
        *,
        name: str = "",
        endpoint: str = "",
        input_file: str = "",
        meta: Mapping[str, Any] | None = None,
        window_s: int = WINDOW_S,
    ) -> Batch:
        """A new batch: of a file of requests, or (without) one that takes requests until it is over."""
        now = self.now()
        row = BatchRow(
            id=f"batch_{secrets.token_hex(16)}",
            owner=account.id,
            asker=dump(account),
            name=name,
            endpoint=endpoint,
            input_file=input_file,
            meta=orjson.dumps(meta or {}).decode(),
            status="validating" if input_file else "in_progress",
            times=orjson.dumps({"created_at": now}).decode(),
            created_at=now,
            expires_at=now + window_s,
        )

        def add(session: Session) -> Batch:
            of_owner = (BatchRow.owner == account.id) & BatchRow.status.in_(OPEN)
            if (session.scalar(select(func.count()).where(of_owner)) or 0) >= MOST_OPEN:
                what = f"You have {MOST_OPEN} batches that are not over."
                raise UsageError(what, "Wait for one, or cancel one.", code="too_many_batches")
            session.add(row)
            session.flush()
            return batch_of(session, row)

        batch = await self._records.run(add)
        self.woken.set()
        return batch

    async def add(self, batch: Batch, wishes: Iterable[Wish]) -> None:
        """More requests for a batch. Raises UsageError where it is over, has too many, or one id stands twice."""
        now = self.now()
        given = list(wishes)

        def put(session: Session) -> None:
            row = session.get(BatchRow, batch.id, with_for_update=True)
            if row is None or row.status not in ("validating", "in_progress"):
                raise UsageError("The batch takes no more requests.", "Make another.", code="batch_over")
            first = session.scalar(select(func.count()).where(RequestRow.batch == batch.id)) or 0
            if first + len(given) > MOST:
                raise UsageError(f"A batch has at most {MOST} requests.", "Make another for the rest.")
            ids = [w.custom_id for w in given]
            twice = session.scalar(
                select(RequestRow.custom_id)
                .where(RequestRow.batch == batch.id, RequestRow.custom_id.in_(ids))
                .limit(1)
            )
            if twice is not None or len(set(ids)) < len(ids):
                what = f"The id '{twice or _twice(ids)}' stands twice."
                raise UsageError(what, "Give each request an id of its own.", code="duplicate_custom_id")
            session.add_all(row_of(batch.id, first + n, w, now) for n, w in enumerate(given))

        await self._records.run(put)
        self.woken.set()

    async def get(self, owner: str, id_: str) -> Batch:
        """Raises UsageError (`batch_not_found`) for one that is not there or is another's."""
        oldest = self.now() - KEPT_S

        def look(session: Session) -> Batch | None:
            row = session.get(BatchRow, id_)
            if row is None or row.owner != owner or row.created_at < oldest:
                return None
            return batch_of(session, row)

        found = await self._records.run(look, write=False) if _can_be(id_) else None
        if found is None:
            raise UsageError(
                f"There is no batch '{id_[:60]}'.", "GET /v1/batches lists yours.", code="batch_not_found"
            )
        return found

    async def of(self, owner: str, *, limit: int = 20, after: str = "") -> tuple[list[Batch], bool]:
        """A page of an account's batches, newest first, and whether there are more. Raises UsageError."""
        start = await self.get(owner, after) if after else None
        sought = select(BatchRow).where(BatchRow.owner == owner, BatchRow.created_at >= self.now() - KEPT_S)
        if start:
            older = BatchRow.created_at < start.created_at
            sought = sought.where(older | ((BatchRow.created_at == start.created_at) & (BatchRow.id < after)))
        sought = sought.order_by(BatchRow.created_at.desc(), BatchRow.id.desc()).limit(limit + 1)
        rows = await self._records.run(lambda s: [batch_of(s, r) for r in s.scalars(sought)], write=False)
        return rows[:limit], len(rows) > limit

    async def cancel(self, owner: str, id_: str) -> Batch:
        """No request that has not begun is begun; a batch that is over stays as it is. Raises UsageError."""
        await self.get(owner, id_)
        await self._records.run(lambda s: self._end(s, id_, "cancelled", "cancelled_at"))
        return await self.get(owner, id_)

    async def lines(
        self, batch: str, *, start: int = 0, limit: int = _PAGE, ended: bool = False, results: bool = True
    ) -> list[Line]:
        """Requests from the number `start` on, in order; `ended`: those that are over."""
        sought = select(RequestRow).where(RequestRow.batch == batch, RequestRow.n >= start)
        if ended:
            sought = sought.where(RequestRow.state.in_(OVER))
        sought = sought.order_by(RequestRow.n).limit(limit)
        rows = await self._records.run(lambda s: list(s.scalars(sought)), write=False)
        return [await self._line(row, results) for row in rows]

    async def line(self, batch: str, custom_id: str) -> Line:
        """One request by its own id. Raises UsageError (`batch_not_found`)."""
        sought = select(RequestRow).where(RequestRow.batch == batch, RequestRow.custom_id == custom_id)
        row = await self._records.run(lambda s: s.scalar(sought), write=False) if custom_id.isprintable() else None
        if row is None:
            what = f"The batch has no request '{custom_id[:60]}'."
            raise UsageError(what, "Look into its requests.", code="batch_not_found")
        return await self._line(row, True)

    async def all_lines(self, batch: str) -> AsyncIterator[Line]:
        """Every request that is over, page by page."""
        start = 0
        while page := await self.lines(batch, start=start, ended=True):
            for line in page:
                yield line
            start = page[-1].n + 1

    # The work

    async def begin(self) -> None:
        """After a start: what was running when the program ended is to be done again."""
        await self._records.run(
            lambda s: s.execute(update(RequestRow).where(RequestRow.state == "running").values(state="pending"))
        )

    async def open_ones(self) -> list[Batch]:
        """The batches that are not over, oldest first."""
        sought = select(BatchRow).where(BatchRow.status.in_(OPEN)).order_by(BatchRow.created_at)
        return await self._records.run(lambda s: [batch_of(s, r) for r in s.scalars(sought)], write=False)

    async def take(self, batch: str) -> Line | None:
        """The next request of a batch, running from now on; None where none waits."""

        def first(session: Session) -> RequestRow | None:
            if (row := session.get(BatchRow, batch)) is None or row.status != "in_progress":
                return None
            sought = select(RequestRow).where(RequestRow.batch == batch, RequestRow.state == "pending")
            taken = session.scalar(sought.order_by(RequestRow.n).limit(1).with_for_update(skip_locked=True))
            if taken is not None:
                taken.state = "running"
            return taken

        row = await self._records.run(first)
        return await self._line(row, False) if row else None

    async def put_back(self, line: Line) -> None:
        """It could not be served yet."""
        await self._records.run(lambda s: s.execute(_one(line).values(state="pending")))
        self.woken.set()

    async def finish(self, line: Line, status: int, result: bytes, posts: Iterable[Post]) -> None:
        """Its result and its end, as one."""
        state = "succeeded" if status < 400 else "failed"
        values = {"state": state, "status": status, "result": shut(result, posts).pack(), "ended_at": self.now()}
        await self._records.run(lambda s: s.execute(_one(line).values(**values)))

    async def advance(self, batch: str, status: str, time: str = "", **more: Any) -> None:
        """Set a batch's status, when it came to it, and what else is to be known (`meta`)."""

        def move(session: Session) -> None:
            if (row := session.get(BatchRow, batch)) is not None and row.status in (*OPEN, "finalizing"):
                row.status = status
                row.times = orjson.dumps(
                    {**orjson.loads(row.times), **({time: self.now()} if time else {})}
                ).decode()
                row.meta = orjson.dumps({**orjson.loads(row.meta), **more}).decode()

        await self._records.run(move)
        self.woken.set()

    async def show(self, batch: str, **more: str) -> None:
        """Note which files show what came of a batch that is over."""

        def put(session: Session) -> None:
            if row := session.get(BatchRow, batch):
                row.meta = orjson.dumps({**orjson.loads(row.meta), **more}).decode()

        await self._records.run(put)

    async def clear(self, batch: str) -> None:
        """Remove the requests of a batch whose reading was broken off."""
        await self._records.run(lambda s: s.execute(delete(RequestRow).where(RequestRow.batch == batch)))

    async def drop(self) -> None:
        """End what is over its time, remove what is too old."""
        now = self.now()

        def sweep(session: Session) -> None:
            late = select(BatchRow.id).where(BatchRow.status.in_(OPEN), BatchRow.expires_at <= now)
            for id_ in list(session.scalars(late)):
                self._end(session, id_, "expired", "expired_at")
            old = select(BatchRow.id).where(BatchRow.created_at < now - KEPT_S)
            session.execute(delete(RequestRow).where(RequestRow.batch.in_(old)))
            session.execute(delete(BatchRow).where(BatchRow.created_at < now - KEPT_S))

        await self._records.run(sweep)

    def _end(self, session: Session, id_: str, status: str, time: str) -> None:
        row = session.get(BatchRow, id_, with_for_update=True)
        if row is None or row.status not in OPEN:
            return
        waiting = update(RequestRow).where(RequestRow.batch == id_, RequestRow.state == "pending")
        session.execute(waiting.values(state="cancelled", ended_at=self.now()))
        row.status = status
        row.times = orjson.dumps({**orjson.loads(row.times), time: self.now()}).decode()

    async def _line(self, row: RequestRow, result: bool) -> Line:
        data, withdrawn = None, False
        if result and row.result is not None:
            value = Shut.unpack(row.result)
            data = opened(value, await self._posts(value.ids) if value.ids else ())
            withdrawn = data is None
        known = {f.name: getattr(row, f.name) for f in fields(Line) if f.name not in ("result", "withdrawn")}
        return Line(**known, result=data, withdrawn=withdrawn)


def forget(session: Session, owner: str) -> None:
    """Remove all of an account's batches, within a transaction that is open."""
    theirs = select(BatchRow.id).where(BatchRow.owner == owner)
    session.execute(delete(RequestRow).where(RequestRow.batch.in_(theirs)))
    session.execute(delete(BatchRow).where(BatchRow.owner == owner))


def _one(line: Line) -> Any:
    of = (RequestRow.batch == line.batch) & (RequestRow.n == line.n) & (RequestRow.state == "running")
    return update(RequestRow).where(of)


def _twice(ids: Sequence[str]) -> str:
    seen: set[str] = set()
    return next((i for i in ids if i in seen or seen.add(i)), "")  # type: ignore[func-returns-value]


def _can_be(id_: str) -> bool:
    """PostgreSQL takes no NUL and no lone surrogate."""
    return id_.isascii() and id_.isprintable() and len(id_) <= 64
