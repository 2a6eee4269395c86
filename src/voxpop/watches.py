"""Keep standing questions, what is held of each, and each flip until it is told; it asks nothing and sends nothing.

A flip, its number and the new position are one transaction: however often the process dies, each flip is there
once. A watch is its account's: for any other there is none of that id. Posts are kept by id. A webhook's secret is
kept readable, since it is needed for each signature: the file is readable by the operator alone.
"""

import asyncio
import base64
import os
import secrets
from collections.abc import Callable, Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple, dataclass, replace
from pathlib import Path
from typing import Any, Self, TypeVar

import orjson

from voxpop.errors import UsageError
from voxpop.positions import Flip, Position, Why
from voxpop.store.database import Database
from voxpop.store.trouble import said

T = TypeVar("T")
NAME = "watches.db"
KEPT = 200  # flips of one watch
_SCHEMA = """
CREATE TABLE IF NOT EXISTS watches(
  id TEXT PRIMARY KEY, question TEXT NOT NULL, created INTEGER NOT NULL, expires INTEGER NOT NULL,
  url TEXT NOT NULL, secret TEXT NOT NULL, seq INTEGER NOT NULL, position TEXT NOT NULL,
  owner TEXT NOT NULL DEFAULT '') WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS flips(
  watch TEXT NOT NULL, seq INTEGER NOT NULL, at INTEGER NOT NULL, why TEXT NOT NULL, before TEXT NOT NULL,
  after TEXT NOT NULL, posts TEXT NOT NULL, due INTEGER, tries INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY(watch, seq)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS waiting ON flips(due) WHERE due IS NOT NULL;
"""


_OWNER = "ALTER TABLE watches ADD COLUMN owner TEXT NOT NULL DEFAULT ''"  # files of before there were accounts


@dataclass(frozen=True, slots=True)
class Watch:
    """A standing question. Times are microseconds of UTC; `seq` is the number of its last flip, 0 before any.

    `url` is its webhook, empty where it has none, `secret` what that is signed with. `owner` is the id of the
    account that asked, empty on a machine without accounts.
    """

    id: str
    question: str
    created: int
    expires: int
    url: str = ""
    secret: str = ""
    seq: int = 0
    position: Position = Position()
    owner: str = ""


@dataclass(frozen=True, slots=True)
class Told:
    """One flip of a watch as it is kept: its number, when it was seen, and how often its webhook was tried."""

    watch: str
    seq: int
    at: int
    flip: Flip
    tries: int = 0

    @property
    def id(self) -> str:
        """The same however often it is told."""
        return f"{self.watch}_{self.seq}"


def kept_in(folder: Path) -> list[Watch]:
    """Every account's watches in a data folder, those of invented posts after the others, for its operator alone.

    It only reads, also beside the server that has them open; never call it in that server's own process.
    """
    found = []
    for path in (folder / NAME, folder / "simulated" / NAME):
        if path.exists():
            with said(path.parent):
                db = Database(path, readonly=True)
                try:
                    found += [_watch(r) for r in db.rows("SELECT * FROM watches ORDER BY created, id")]
                finally:
                    db.close()
    return found


class Watches:
    """The watches of one data folder. Use as an async context manager, in one process at a time.

    `most` bounds how many there may be, `each` how many of one account.
    """

    def __init__(self, folder: Path, *, most: int = 1000, each: int = 1000) -> None:
        self.path = folder / NAME
        self.most, self.each = most, each
        self._thread = ThreadPoolExecutor(1, "voxpop-watches")
        self._db: Database | None = None
        self._news = asyncio.Event()

    async def __aenter__(self) -> Self:
        await self._do(self._open)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._db:
            await asyncio.get_running_loop().run_in_executor(self._thread, self._db.close)
        self._thread.shutdown()

    # the watches

    async def add(
        self, question: str, *, now: int, lasts_s: float, url: str, position: Position, owner: str = ""
    ) -> Watch:
        """A new watch. Raises UsageError where there are too many, or too many of its owner."""
        id_ = f"watch_{secrets.token_hex(8)}"
        secret = f"whsec_{base64.b64encode(secrets.token_bytes(32)).decode()}" if url else ""
        watch = Watch(id_, question, now, now + int(lasts_s * 1e6), url, secret, 0, position, owner)

        def work(db: Database) -> None:
            if owner and db.rows("SELECT count(*) FROM watches WHERE owner = ?", (owner,))[0][0] >= self.each:
                what = f"You have {self.each} watches already."
                raise UsageError(what, "Stop one of them.", code="too_many_watches")
            if db.rows("SELECT count(*) FROM watches")[0][0] >= self.most:
                cure = "Stop one of them, or raise watching.watches."
                raise UsageError(f"There are {self.most} watches already.", cure, code="too_many_watches")
            row = [*astuple(watch)[:7], _packed(position), owner]
            db.rows("INSERT INTO watches VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", row)

        await self._do(work)
        return watch

    async def all(self) -> list[Watch]:
        """Every watch, the oldest first: for what looks at them and tells them."""
        return await self._do(lambda db: [_watch(r) for r in db.rows("SELECT * FROM watches ORDER BY created, id")])

    async def of(self, owner: str) -> list[Watch]:
        """The watches of an account, the oldest first."""
        sql = "SELECT * FROM watches WHERE owner = ? ORDER BY created, id"
        return await self._do(lambda db: [_watch(r) for r in db.rows(sql, (owner,))])

    async def one(self, id_: str, *, owner: str = "") -> Watch:
        """The watch of that id. Raises UsageError where its owner has none of it."""
        sql = "SELECT * FROM watches WHERE id = ? AND owner = ?"
        rows = await self._do(lambda db: db.rows(sql, (id_, owner)))
        if not rows:
            cure = "List them with: voxpop watch --list"
            raise UsageError(f"There is no watch '{id_[:60]}'.", cure, code="not_found")
        return _watch(rows[0])

    async def remove(self, id_: str, *, owner: str = "") -> None:
        """End a watch and forget its flips, told or not. Raises UsageError where its owner has none of that id."""
        await self.one(id_, owner=owner)
        await self._do(lambda db: _remove(db, [id_]))
        self._announce()

    async def forget(self, owner: str) -> int:
        """End all watches of an account, whatever of them is still to be told; how many."""
        gone = [watch.id for watch in await self.of(owner)]

        def work(db: Database) -> None:
            _remove(db, gone)
            db.moved = True
            db.purge()  # of who is gone no file knows anything

        if gone:
            await self._do(work)
            self._announce()
        return len(gone)

    async def expire(self, now: int) -> int:
        """End the watches whose time is over; how many."""

        def work(db: Database) -> int:
            gone = [r[0] for r in db.rows("SELECT id FROM watches WHERE expires <= ?", (now,))]
            _remove(db, gone)
            return len(gone)

        if gone := await self._do(work):
            self._announce()
        return gone

    # what became of them

    async def flip(self, watch: Watch, flip: Flip, after: Position, now: int) -> Told | None:
        """Keep a flip and what is held after it, as one; None where the watch has moved on or ended meanwhile."""

        def work(db: Database) -> Told | None:
            db.begin()
            moved = "UPDATE watches SET seq = seq + 1, position = ? WHERE id = ? AND seq = ? RETURNING seq, url"
            rows = db.rows(moved, (_packed(after), watch.id, watch.seq))
            if not rows:
                return None
            seq, url = rows[0]
            sides = (_packed(flip.before), _packed(flip.after), _json(flip.posts))
            kept = (watch.id, seq, now, flip.why, *sides, now if url else None)
            db.rows("INSERT INTO flips VALUES (?, ?, ?, ?, ?, ?, ?, ?, 0)", kept)
            # A webhook that is being waited for is tried at once: what is new is told after what is old.
            db.rows("UPDATE flips SET due = ? WHERE watch = ? AND due > ?", (now, watch.id, now))
            db.rows("DELETE FROM flips WHERE watch = ? AND seq <= ?", (watch.id, seq - KEPT))
            db.commit()
            return Told(watch.id, seq, now, flip)

        told = await self._do(work)
        self._announce()
        return told

    async def hold(self, watch: Watch, position: Position) -> None:
        """What is held of a watch that did not flip."""
        sql = "UPDATE watches SET position = ? WHERE id = ? AND seq = ?"
        await self._do(lambda db: db.rows(sql, (_packed(position), watch.id, watch.seq)))

    async def flips(self, id_: str, after: int = 0, limit: int = KEPT) -> list[Told]:
        """The flips of a watch after a number, in order."""
        sql = "SELECT * FROM flips WHERE watch = ? AND seq > ? ORDER BY seq LIMIT ?"
        return await self._do(lambda db: [_told(r) for r in db.rows(sql, (id_, after, limit))])

    def next_change(self) -> asyncio.Event:
        """Set when any watch next flips or ends; to be taken before one looks, and waited for after."""
        return self._news

    # what a webhook has still to be told

    async def due(self, now: int, busy: Collection[str] = ()) -> list[tuple[Watch, Told]]:
        """Of each watch the first flip that its webhook was not told, where it is time to; no `busy` watch."""

        def work(db: Database) -> list[tuple[Watch, Told]]:
            first = """SELECT * FROM flips f WHERE due <= ? AND NOT EXISTS (
              SELECT 1 FROM flips e WHERE e.watch = f.watch AND e.seq < f.seq AND e.due IS NOT NULL) ORDER BY due"""
            told = [t for r in db.rows(first, (now,)) if (t := _told(r)).watch not in busy]
            rows = {t.watch: db.rows("SELECT * FROM watches WHERE id = ?", (t.watch,)) for t in told}
            return [(_watch(rows[t.watch][0]), t) for t in told if rows[t.watch]]

        return await self._do(work)

    async def next_due(self) -> int | None:
        """When a webhook is to be tried next; None where none waits."""
        rows = await self._do(lambda db: db.rows("SELECT min(due) FROM flips WHERE due IS NOT NULL"))
        due: int | None = rows[0][0]
        return due

    async def tried(self, told: Told, due: int | None) -> None:
        """A webhook was told, or given up (`due` is None), or is to be tried again at a moment."""
        sql = "UPDATE flips SET due = ?, tries = tries + 1 WHERE watch = ? AND seq = ?"
        await self._do(lambda db: db.rows(sql, (due, told.watch, told.seq)))

    # what was removed from the posts

    async def held_posts(self) -> dict[str, set[str]]:
        """Of each post that a position or a kept flip names: the watches."""

        def work(db: Database) -> dict[str, set[str]]:
            found: dict[str, set[str]] = {}
            rows = db.rows("SELECT id, position FROM watches")
            rows += db.rows("SELECT watch, before FROM flips UNION ALL SELECT watch, after FROM flips")
            for watch, packed in rows:
                for post in _position(packed).posts:
                    found.setdefault(post, set()).add(watch)
            return found

        return await self._do(work)

    async def scrub(self, gone: Collection[str]) -> None:
        """Forget what positions say by posts that are all gone; their ids stay, the file is cleared of the rest."""

        def bare(packed: str) -> str:
            held = _position(packed)
            empty = bool(held.said and held.posts) and set(held.posts) <= set(gone)
            return _packed(replace(held, said=())) if empty else packed

        def work(db: Database) -> None:
            for id_, packed in db.rows("SELECT id, position FROM watches"):
                if bare(packed) != packed:
                    db.rows("UPDATE watches SET position = ? WHERE id = ?", (bare(packed), id_))
                    db.moved = True
            for watch, seq, *sides in db.rows("SELECT watch, seq, before, after FROM flips"):
                if (new := [bare(s) for s in sides]) != sides:
                    sql = "UPDATE flips SET before = ?, after = ? WHERE watch = ? AND seq = ?"
                    db.rows(sql, (*new, watch, seq))
                    db.moved = True
            db.purge()

        await self._do(work)

    # the file

    def _open(self, _: object) -> None:
        with said(self.path.parent):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            os.close(os.open(self.path, os.O_CREAT | os.O_RDWR, 0o600))  # SQLite gives its log the same rights
            self.path.chmod(0o600)
            self._db = Database(self.path, _SCHEMA, durable=True)
            if "owner" not in {row[1] for row in self._db.rows("PRAGMA table_info(watches)")}:
                self._db.rows(_OWNER)
            self._db.purge()

    async def _do(self, work: Callable[[Any], T]) -> T:
        def job() -> T:
            with said(self.path.parent):
                try:
                    return work(self._db)
                finally:
                    if self._db:
                        self._db.rollback()

        return await asyncio.get_running_loop().run_in_executor(self._thread, job)

    def _announce(self) -> None:
        self._news.set()
        self._news = asyncio.Event()


def _remove(db: Database, ids: Iterable[str]) -> None:
    for id_ in ids:
        db.begin()
        db.rows("DELETE FROM flips WHERE watch = ?", (id_,))
        db.rows("DELETE FROM watches WHERE id = ?", (id_,))
        db.commit()


def _json(value: Any) -> str:
    return orjson.dumps(value).decode()


def _packed(position: Position) -> str:
    return _json([position.stance, position.said, position.confirmed, position.posts])


def _position(packed: str) -> Position:
    stance, told, confirmed, posts = orjson.loads(packed)
    return Position(stance, tuple(told), confirmed, tuple(posts))


def _watch(row: Sequence[Any]) -> Watch:
    id_, question, created, expires, url, secret, seq, packed, owner = row
    return Watch(id_, question, created, expires, url, secret, seq, _position(packed), owner)


def _told(row: Sequence[Any]) -> Told:
    watch, seq, at, why, before, after, posts, _, tries = row
    known: Why = why
    return Told(watch, seq, at, Flip(known, _position(before), _position(after), tuple(orjson.loads(posts))), tries)
