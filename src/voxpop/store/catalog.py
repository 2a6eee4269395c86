"""catalog.db: what the store knows beside the posts; its commit is the moment from which a batch counts.

Of what was removed it keeps a 64-bit key and no text. A file of a newer version is refused by name.
"""

import secrets
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import orjson

from voxpop.errors import VoxpopError
from voxpop.posts import Author
from voxpop.store.database import Database, among
from voxpop.store.partition import Extent, Work

VERSION = 3
_SCHEMA = """
CREATE TABLE IF NOT EXISTS authors (
  number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE,
  handle TEXT NOT NULL DEFAULT '', name TEXT NOT NULL DEFAULT '', mark TEXT NOT NULL DEFAULT '',
  label TEXT NOT NULL DEFAULT '', since INTEGER NOT NULL DEFAULT 0, bio TEXT NOT NULL DEFAULT '');
CREATE INDEX IF NOT EXISTS authors_by_handle ON authors(handle COLLATE NOCASE) WHERE handle <> '';
CREATE TABLE IF NOT EXISTS partitions (
  first INTEGER PRIMARY KEY, posts INTEGER NOT NULL, oldest INTEGER NOT NULL, newest INTEGER NOT NULL,
  stale INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS tombstones (key INTEGER PRIMARY KEY, at INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS gone (author INTEGER PRIMARY KEY, at INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS unindex (seq INTEGER PRIMARY KEY);
CREATE TABLE IF NOT EXISTS owed (batch INTEGER PRIMARY KEY, works BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS cursors (source TEXT PRIMARY KEY, cursor TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS gaps (source TEXT, since INTEGER, until INTEGER, why TEXT,
  PRIMARY KEY (source, since, until)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS spend (source TEXT, month TEXT, reads INTEGER, micro_usd INTEGER,
  PRIMARY KEY (source, month)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS cited (key INTEGER PRIMARY KEY, at INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS checked (key INTEGER PRIMARY KEY, at INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS orders (
  id INTEGER PRIMARY KEY, what TEXT NOT NULL, state TEXT NOT NULL DEFAULT 'waiting', said TEXT NOT NULL DEFAULT '');
CREATE TABLE IF NOT EXISTS secret (bytes BLOB NOT NULL);
"""
_UPGRADES = {
    2: [
        f"ALTER TABLE authors ADD COLUMN {column}"
        for column in (
            "mark TEXT NOT NULL DEFAULT ''",
            "label TEXT NOT NULL DEFAULT ''",
            "since INTEGER NOT NULL DEFAULT 0",
            "bio TEXT NOT NULL DEFAULT ''",
        )
    ]
}
_SAID = {2: "handle, name, '', '', 0, ''", VERSION: "handle, name, mark, label, since, bio"}
# A profile with the account's beginning (?5) is whole: what it leaves out is no longer so. Else it only adds.
_NAME = """UPDATE authors SET handle = CASE WHEN ?1 = '' THEN handle ELSE ?1 END,
  name = CASE WHEN ?2 = '' AND ?5 = 0 THEN name ELSE ?2 END,
  mark = CASE WHEN ?3 = '' AND ?5 = 0 THEN mark ELSE ?3 END,
  label = CASE WHEN ?4 = '' AND ?5 = 0 THEN label ELSE ?4 END, since = CASE ?5 WHEN 0 THEN since ELSE ?5 END,
  bio = CASE WHEN ?6 = '' AND ?5 = 0 THEN bio ELSE ?6 END WHERE number = ?7"""
_FORGET = "UPDATE authors SET handle = '', name = '', mark = '', label = '', since = 0, bio = '' WHERE number = ?"
_SPEND = """INSERT INTO spend VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET
  reads = reads + excluded.reads, micro_usd = micro_usd + excluded.micro_usd"""
_CHECKED_KEPT = 30 * 24 * 3600 * 1_000_000
_NUMBERS_KEPT = 200_000
_AMONG = "IN (SELECT value FROM json_each(?))"


@dataclass(slots=True)
class Notes:
    """What one batch writes into the catalog."""

    cursor: str
    seq: int
    extents: Sequence[Extent]
    authors: Sequence[tuple[int, str]]
    names: Sequence[tuple[int, Author]]
    forgotten: Iterable[int]
    tombstones: Sequence[tuple[int, int]]
    gone: Sequence[tuple[int, int]]
    removed: Sequence[int]
    missed: Sequence[tuple[int, int, str]]
    spent: Sequence[tuple[int, int, int]]
    batch: int
    works: Mapping[int, Work]


class Catalog:
    """The catalog's one connection of a thread; every read sees the newest committed state."""

    def __init__(self, path: Path, *, readonly: bool = False) -> None:
        self._numbers: dict[str, int] = {}
        self._said = _SAID[VERSION]
        self.db = Database(path, cache_kb=2048 if readonly else 16384, readonly=readonly)
        try:
            self._open(path, readonly)
        except BaseException:
            self.db.close()
            raise

    def _open(self, path: Path, readonly: bool) -> None:
        version = self.db.rows("PRAGMA user_version")[0][0]
        if version > VERSION:
            what = f"{path} was written by a newer voxpop (its format is {version}, this one reads {VERSION})."
            raise VoxpopError(what, "Upgrade voxpop, or choose another folder with --data.")
        if readonly:
            self._said = _SAID.get(version, self._said)
        if readonly or version == VERSION:
            return
        self.db.begin()
        for statement in _UPGRADES.get(version) or _SCHEMA.strip().split(";\n"):
            self.db.rows(statement)
        if not version:
            self.db.rows("INSERT INTO secret VALUES (?)", (secrets.token_bytes(32),))
        self.db.rows(f"PRAGMA user_version={VERSION}")
        self.db.commit()

    def close(self) -> None:
        self.db.close()

    # what a batch changes

    def write(self, source: str, notes: Notes) -> None:
        """All that a batch says beside its posts; the caller commits."""
        db = self.db
        db.many("INSERT INTO authors(number, id) VALUES (?, ?)", notes.authors)
        db.many(_FORGET, ((n,) for n in notes.forgotten))
        db.many(_NAME, [(*a[1:], n) for n, a in notes.names])
        dead = db.many("INSERT OR IGNORE INTO tombstones VALUES (?, ?)", notes.tombstones)
        db.many("INSERT INTO gone VALUES (?, ?) ON CONFLICT DO UPDATE SET at = max(at, excluded.at)", notes.gone)
        db.many("INSERT OR IGNORE INTO unindex VALUES (?)", ((seq,) for seq in notes.removed))
        db.many("INSERT OR REPLACE INTO partitions VALUES (?, ?, ?, ?, ?)", notes.extents)
        if notes.cursor:
            db.rows("INSERT OR REPLACE INTO cursors VALUES (?, ?)", (source, notes.cursor))
        self.count("seq", notes.seq)
        db.rows("DELETE FROM owed")
        if notes.works:
            works = orjson.dumps({str(first): list(work) for first, work in notes.works.items()})
            db.rows("INSERT INTO owed VALUES (?, ?)", (notes.batch, works))
        if dead:
            self.count("tombstones", self.counter("tombstones") + dead)
        db.many("INSERT OR REPLACE INTO gaps VALUES (?, ?, ?, ?)", [(source, *m) for m in notes.missed])
        db.many(_SPEND, [(source, _month(at), reads, usd) for at, reads, usd in notes.spent])

    def count(self, name: str, value: int) -> None:
        self.db.rows("INSERT OR REPLACE INTO counters VALUES (?, ?)", (name, value))

    def counter(self, name: str) -> int:
        row = self.db.rows("SELECT value FROM counters WHERE name = ?", (name,))
        return int(row[0][0]) if row else 0

    # partitions and the journal of removed rows

    def extents(self) -> list[Extent]:
        """The partitions, oldest first."""
        return [Extent(*row) for row in self.db.rows("SELECT * FROM partitions ORDER BY first")]

    def keep(self, extent: Extent) -> None:
        self.db.rows("INSERT OR REPLACE INTO partitions VALUES (?, ?, ?, ?, ?)", extent)

    def drop(self, first: int, last: int, oldest_left: int) -> None:
        """Forget a partition, the removals that were journalled for it, and gaps before what is left."""
        self.db.begin()
        self.db.rows("DELETE FROM partitions WHERE first = ?", (first,))
        self.db.rows("DELETE FROM unindex WHERE seq BETWEEN ? AND ?", (first, last))
        self.db.rows("DELETE FROM gaps WHERE until < ?", (oldest_left,))
        self.db.commit()

    def owed(self) -> tuple[int, dict[int, Work]]:
        """The last batch and what it owes to the partitions: done before the next is written."""
        rows = self.db.rows("SELECT batch, works FROM owed")
        if not rows:
            return 0, {}
        return rows[0][0], {int(first): Work(*work) for first, work in orjson.loads(rows[0][1]).items()}

    def unindexed(self) -> list[int]:
        """Removed posts that the partitions' files or indexes may still hold."""
        return [r[0] for r in self.db.rows("SELECT seq FROM unindex ORDER BY seq")]

    def forget_unindexed(self, seqs: Iterable[int]) -> None:
        if pairs := [(seq,) for seq in seqs]:
            self.db.begin()
            self.db.many("DELETE FROM unindex WHERE seq = ?", pairs)
            self.db.commit()

    # reading

    def secret(self) -> bytes:
        """The key by which this store writes words into its indexes."""
        return bytes(self.db.rows("SELECT bytes FROM secret")[0][0])

    def next_author(self) -> int:
        return int(self.db.rows("SELECT coalesce(max(number), 0) + 1 FROM authors")[0][0])

    def numbers(self, ids: Sequence[str]) -> dict[str, int]:
        """The numbers of the authors with these ids, where they are known; a number never changes."""
        found = {id_: self._numbers[id_] for id_ in ids if id_ in self._numbers}
        left = [id_ for id_ in ids if id_ not in found]
        if len(self._numbers) > _NUMBERS_KEPT:
            self._numbers.clear()
        for start in range(0, len(left), 500):
            some = left[start : start + 500]
            asked = ", ".join("?" * len(some))
            rows = self.db.rows(f"SELECT id, number FROM authors WHERE id IN ({asked})", some)
            found.update(rows)
            self._numbers.update(rows)
        return found

    def authors(self, numbers: Iterable[int]) -> dict[int, Author]:
        """Who these numbers are."""
        sql = f"SELECT number, id, {self._said} FROM authors WHERE number {_AMONG}"
        return {r[0]: Author(*r[1:]) for r in self.db.rows(sql, among(set(numbers)))}

    def began(self, numbers: Iterable[int]) -> dict[int, int]:
        """When the accounts of these numbers began (microseconds), of those of which it is known."""
        if self._said == _SAID[2]:
            return {}
        sql = f"SELECT number, since FROM authors WHERE number {_AMONG} AND since > 0"
        return dict(self.db.rows(sql, among(set(numbers))))

    def called(self, handles: Iterable[str]) -> list[int]:
        """The numbers of authors by handle, in any case, by `x:handle` for those of X alone, or by id."""
        asked = [h.lstrip("@") for h in handles]
        named = {h.lower() for h in asked}
        wanted = [*asked, *(h[2:] for h in named if h.startswith("x:"))]
        marks = ", ".join("?" * len(wanted))
        sql = f"SELECT number, id, handle FROM authors WHERE handle <> '' AND handle COLLATE NOCASE IN ({marks})"
        found = [
            number
            for number, id_, handle in self.db.rows(sql, wanted)
            if handle.lower() in named or (id_.startswith("x:") and f"x:{handle.lower()}" in named)
        ]
        return [*found, *self.numbers([h for h in asked if ":" in h]).values()]

    def dead(self, keys: Iterable[int]) -> set[int]:
        """Those of `keys` that were deleted."""
        return {r[0] for r in self.db.rows(f"SELECT key FROM tombstones WHERE key {_AMONG}", among(keys))}

    def gone(self, numbers: Iterable[int]) -> dict[int, int]:
        """Until when the posts of these authors are gone."""
        return dict(self.db.rows(f"SELECT author, at FROM gone WHERE author {_AMONG}", among(numbers)))

    def cursors(self) -> dict[str, str]:
        return dict(self.db.rows("SELECT source, cursor FROM cursors"))

    def gaps(self, since: int, until: int) -> list[tuple[str, int, int, str]]:
        sql = "SELECT source, since, until, why FROM gaps WHERE until >= ? AND since <= ? ORDER BY since, source"
        return self.db.rows(sql, (since, until))

    def spending(self) -> list[tuple[str, str, int, int]]:
        return self.db.rows("SELECT source, month, reads, micro_usd FROM spend ORDER BY month, source")

    def totals(self) -> dict[str, int]:
        """Posts, tombstones, texts waiting to leave the index, newest witnessed time, last number."""
        posts, newest = self.db.rows("SELECT coalesce(sum(posts), 0), max(newest) FROM partitions WHERE posts > 0")[
            0
        ]
        waiting = self.db.rows("SELECT count(*) FROM unindex")[0][0]
        dead, seq = self.counter("tombstones"), self.counter("seq")
        return {"posts": posts, "tombstones": dead, "unindex": waiting, "newest": newest, "seq": seq}

    # what answers cite, and what was looked up again

    def mark(self, table: str, keys: Iterable[int], at: int) -> None:
        """Set the time of `keys` in `cited` or `checked`."""
        self.db.begin()
        self.db.many(f"INSERT OR REPLACE INTO {table} VALUES (?, ?)", [(k, at) for k in keys])
        forgotten = at - _CHECKED_KEPT
        self.db.rows("DELETE FROM checked WHERE at < ? AND key NOT IN (SELECT key FROM cited)", (forgotten,))
        self.db.commit()

    def cited(self, before: int) -> list[int]:
        """Keys of cited posts that were not looked up since `before`, the longest waiting first."""
        sql = """SELECT c.key FROM cited c LEFT JOIN checked k ON k.key = c.key
          WHERE coalesce(k.at, 0) < ? ORDER BY coalesce(k.at, 0), c.at"""
        return [r[0] for r in self.db.rows(sql, (before,))]

    def checked(self, keys: Iterable[int]) -> dict[int, int]:
        """When these were looked up last."""
        return dict(self.db.rows(f"SELECT key, at FROM checked WHERE key {_AMONG}", among(keys)))

    # orders of other processes

    def waiting(self) -> list[tuple[int, str]]:
        return self.db.rows("SELECT id, what FROM orders WHERE state = 'waiting' ORDER BY id")

    def answer(self, order: int, state: str, said: str) -> None:
        self.db.rows("UPDATE orders SET state = ?, said = ? WHERE id = ?", (state, said, order))


def _month(at: int) -> str:
    return time.strftime("%Y-%m", time.gmtime(max(at, 0) // 1_000_000))
