"""The kept answers in one SQLite file beside the posts, bounded in time; it holds no post's text (see recipes.py).

Writing is beside the line: an answer is told before it is kept, and none waits for the disk or fails with it. The
file is the operator's alone, an answer its account's: for any other there is none of that id. Several processes may
have the file open; one that is killed loses at most its last answers.
"""

import asyncio
import hashlib
import logging
import os
import secrets
import sqlite3
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, TypeVar

import orjson

from voxpop import __version__
from voxpop.answering import Made
from voxpop.errors import UsageError, VoxpopError
from voxpop.recipes import Kept, Recipe, Seal, code, dump, kept, load, may_be_kept
from voxpop.sealing import SALT
from voxpop.times import MICROS

T = TypeVar("T")
NAME = "answers.db"
_log = logging.getLogger(__name__)
_DAY = 24 * 3600 * MICROS
_FOREVER = 1 << 62
_WAITING = 256
_BUSY_S = 10.0
_DROP_S = 60.0
_SCHEMA = """CREATE TABLE IF NOT EXISTS answers (
  id TEXT PRIMARY KEY, at INTEGER NOT NULL, question TEXT NOT NULL, recipe BLOB NOT NULL, seals BLOB NOT NULL,
  sum BLOB NOT NULL, owner TEXT NOT NULL DEFAULT '') STRICT;
CREATE INDEX IF NOT EXISTS answers_at ON answers (at);"""
_OWNER = "ALTER TABLE answers ADD COLUMN owner TEXT NOT NULL DEFAULT ''"  # files of before there were accounts
_KEEP = "INSERT INTO answers (id, at, question, recipe, seals, owner, sum) VALUES (?, ?, ?, ?, ?, ?, ?)"
_REMOVE = "DELETE FROM answers WHERE id = ? AND (owner = ? OR ? IS NULL)"
_FORGET = "DELETE FROM answers WHERE owner = ?"
_LIST = """SELECT id, at, question, recipe, owner FROM answers WHERE at >= ? AND (owner = ? OR ? IS NULL)
  ORDER BY at DESC, id LIMIT ?"""
_GET = """SELECT id, at, question, recipe, seals, owner, sum FROM answers
  WHERE id = ? AND at >= ? AND (owner = ? OR ? IS NULL)"""
_ALL = "SELECT id, at, question, recipe, seals, owner, sum FROM answers"
_ALL_OF_BEFORE = "SELECT id, at, question, recipe, seals, '', sum FROM answers"
_DROP = "DELETE FROM answers WHERE at < ?"


@dataclass(frozen=True, slots=True)
class Listed:
    """A row of the list of kept answers; `at` in microseconds of UTC, `owner` the account that asked."""

    id: str
    at: int
    question: str
    voice: str
    engine: str
    model: str
    owner: str = ""


class History:
    """Keeps answers for `keep_days`, 0 for none. Use as an async context manager.

    An `owner` is the id of an account; empty: whoever asks on a machine without accounts, or at its command line.
    None, which only the operator's commands give, finds the answers of all.
    `rules` is the digest of what beside the code decides an answer, such as the operator's lists; `clock` gives
    microseconds of UTC. `tally` counts what was kept and what could not be.
    """

    def __init__(self, folder: Path, *, keep_days: float, clock: Callable[[], int], rules: str = "") -> None:
        self.path = folder / NAME
        self.rules = hashlib.sha256(f"{code()} {rules}".encode()).hexdigest()
        self.tally: Counter[str] = Counter()
        self._keep_days, self._clock = keep_days, clock
        self._worker = ThreadPoolExecutor(1, "voxpop-answers")
        self._waiting: set[Future[None]] = set()

    async def __aenter__(self) -> Self:
        with suppress(VoxpopError):  # what cannot be opened now is told when it is asked for
            await self.drop()
        self._dropping = asyncio.create_task(self._repeat())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._dropping.cancel()
        await asyncio.gather(self._dropping, return_exceptions=True)
        await asyncio.to_thread(self._worker.shutdown)

    # writing

    def keep(self, made: Made) -> str:
        """Keep an answer beside whatever goes on; the id by which it is found, empty where it will not be kept."""
        if not self._keep_days or not may_be_kept(made):
            return ""
        if len(self._waiting) >= _WAITING:
            self.tally["lost"] += 1
            return ""
        id_ = secrets.token_hex(8)
        job = self._worker.submit(self._write, id_, made)
        self._waiting.add(job)
        job.add_done_callback(self._waiting.discard)
        return id_

    def _write(self, id_: str, made: Made) -> None:
        try:
            answer = kept(id_, made, secrets.token_bytes(SALT), self.rules, __version__)
            row = _row(answer, made.request.asker.owner)
            with closing(self._open()) as con, con:
                con.execute(_DROP, (self._oldest(),))
                con.execute(_KEEP, row)
            self.tally["kept"] += 1
        except (sqlite3.Error, OSError, ValueError, KeyError, TypeError) as error:
            self.tally["lost"] += 1
            _log.warning("An answer could not be kept in %s: %s.", self.path, type(error).__name__)

    async def drop(self) -> int:
        """Drop what is too old; how many answers went."""
        return await self._on(self._drop) if self.path.exists() else 0

    async def _repeat(self) -> None:
        while True:
            await asyncio.sleep(_DROP_S)
            with suppress(VoxpopError):
                await self.drop()

    def _drop(self) -> int:
        with closing(self._open()) as con:
            gone = con.execute(_DROP, (self._oldest(),)).rowcount
            if gone:
                _clear(con)
            return gone

    async def remove(self, id_: str, *, owner: str | None = "") -> None:
        """Remove a kept answer. Raises UsageError where its owner has none of that id."""
        if not await self._on(lambda: self._remove(_REMOVE, (id_, owner, owner))):
            raise _unknown(id_)

    async def forget(self, owner: str) -> int:
        """Remove all that an account asked; how many answers went."""
        return await self._on(lambda: self._remove(_FORGET, (owner,)))

    def _remove(self, sql: str, values: tuple[str | None, ...]) -> int:
        if not self.path.exists():
            return 0
        with closing(self._open()) as con:
            gone = con.execute(sql, values).rowcount
            if gone:
                _clear(con)
            return gone

    # reading

    async def listed(self, limit: int = 50, *, owner: str | None = "") -> list[Listed]:
        """The owner's newest kept answers, newest first."""
        return await self._on(lambda: self._listed(limit, owner))

    def _listed(self, limit: int, owner: str | None) -> list[Listed]:
        return [_listing(*row) for row in self._rows(_LIST, (self._oldest(), owner, owner, limit))]

    async def get(self, id_: str, *, owner: str | None = "") -> Kept:
        """A kept answer. Raises UsageError where its owner has none of that id.

        Raises VoxpopError where its bytes were changed.
        """
        rows = await self._on(lambda: self._rows(_GET, (id_, self._oldest(), owner, owner)))
        if not rows:
            raise _unknown(id_)
        return _kept(*rows[0])

    def _rows(self, sql: str, values: tuple[Any, ...]) -> list[Any]:
        if not self.path.exists():
            return []
        with closing(self._open()) as con:
            return con.execute(sql, values).fetchall()

    # the file, on its own thread

    def _open(self) -> sqlite3.Connection:
        if not self.path.exists():
            # Before SQLite would make it readable for others; its log takes the file's mode.
            os.close(os.open(self.path, os.O_CREAT | os.O_RDWR, 0o600))
        elif self.path.stat().st_mode & 0o077:  # a copy, such as a restored one
            self.path.chmod(0o600)
        con = sqlite3.connect(self.path, timeout=_BUSY_S, isolation_level=None)
        try:
            con.execute("PRAGMA secure_delete=ON")
            con.execute("PRAGMA journal_mode=WAL")
            con.executescript(_SCHEMA)
            _migrate(con)
        except BaseException:
            con.close()
            raise
        return con

    def _oldest(self) -> int:
        return self._clock() - int(self._keep_days * _DAY) if self._keep_days else _FOREVER

    async def _on(self, work: Callable[[], T]) -> T:
        def job() -> T:
            try:
                return work()
            except (sqlite3.Error, OSError) as error:
                cure = f"Check the disk. The answers of before can be given up: move {self.path} away."
                raise VoxpopError(f"The kept answers in {self.path} failed: {error}.", cure) from error

        return await asyncio.get_running_loop().run_in_executor(self._worker, job)


def verify(path: Path) -> list[str]:
    """What is wrong with a file of kept answers, in words; nothing where there is no file."""
    if not path.exists():
        return []
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=_BUSY_S)) as con:
            if (word := con.execute("PRAGMA quick_check(1)").fetchone()[0]) != "ok":
                return [f"SQLite says of {path}: {word}."]
            rows = con.execute(_ALL if _has_owner(con) else _ALL_OF_BEFORE)
            return [
                f"The kept answer {row[0]} in {path} was changed or damaged." for row in rows if not _whole(*row)
            ]
    except sqlite3.Error as error:
        return [f"SQLite says of {path}: {error}."]


def _has_owner(con: sqlite3.Connection) -> bool:
    return "owner" in {row[1] for row in con.execute("PRAGMA table_info(answers)")}


def _migrate(con: sqlite3.Connection) -> None:
    if _has_owner(con):
        return
    con.execute("BEGIN IMMEDIATE")  # another process may open the file just now
    if not _has_owner(con):
        con.execute(_OWNER)
    con.execute("COMMIT")


def _clear(con: sqlite3.Connection) -> None:
    """What was dropped leaves the log as well, as soon as no other process reads in it."""
    con.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _row(answer: Kept, owner: str) -> tuple[Any, ...]:
    recipe = dump({"recipe": answer.recipe, "seals": [_shut(s) for s in answer.seals]})
    seals = b"".join(s.data for s in answer.seals)
    clear = answer.id, answer.recipe.at, answer.recipe.request.question, recipe, seals, owner
    return (*clear, _sum(*clear))


def _shut(seal: Seal) -> list[Any]:
    return [seal.kind, list(seal.rests), list(seal.numbers), len(seal.data)]


def _sum(id_: str, at: int, question: str, recipe: bytes, seals: bytes, owner: str) -> bytes:
    said = [id_.encode(), b"%d" % at, question.encode(), recipe, seals]
    return hashlib.sha256(b"\0".join([*said, owner.encode()] if owner else said)).digest()


def _whole(id_: str, at: int, question: str, recipe: bytes, seals: bytes, owner: str, sum_: bytes) -> bool:
    return secrets.compare_digest(_sum(id_, at, question, recipe, seals, owner), sum_)


def _kept(id_: str, at: int, question: str, recipe: bytes, seals: bytes, owner: str, sum_: bytes) -> Kept:
    if not _whole(id_, at, question, recipe, seals, owner, sum_):
        what = f"The kept answer {id_} was changed or damaged since it was written."
        raise VoxpopError(what, f"Remove it with: voxpop answers remove {id_}", code="damaged")
    data, start, shut = orjson.loads(recipe), 0, list[Seal]()
    for kind, rests, numbers, size in data["seals"]:
        shut.append(Seal(kind, tuple(rests), tuple(numbers), seals[start : start + size]))
        start += size
    return Kept(id_, load(Recipe, data["recipe"]), tuple(shut))


def _listing(id_: str, at: int, question: str, recipe: bytes, owner: str) -> Listed:
    made = orjson.loads(recipe)["recipe"]
    engine = made["engine"]
    return Listed(id_, at, question, made["request"]["voice"], engine["name"], engine["model"], owner)


def _unknown(id_: str) -> UsageError:
    return UsageError(f"No answer '{id_[:60]}' is kept.", "See: voxpop answers", code="answer_not_found")
