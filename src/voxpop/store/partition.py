"""One stretch of arrival in a file of its own: rows of posts, found by key, author, text or time.

A whole partition is dropped by removing its folder. A file that SQLite refuses is named; the store opens without it
once its folder is moved away.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from voxpop.store import Query
from voxpop.store.bounds import KINDS
from voxpop.store.database import Database, among
from voxpop.store.rows import AS_JSON, COLUMNS, Stored, row
from voxpop.times import MICROS

DAY = 24 * 3600 * MICROS
FULL = 1_000_000
WORTH_CUTTING = 50_000
FOREVER = 1 << 62
_SCHEMA = """
CREATE TABLE IF NOT EXISTS posts (
  seq INTEGER PRIMARY KEY, key INTEGER NOT NULL, id TEXT NOT NULL, network TEXT NOT NULL, author INTEGER NOT NULL,
  text TEXT NOT NULL, created INTEGER NOT NULL, witnessed INTEGER NOT NULL, url TEXT, lang TEXT, reply_to TEXT,
  root TEXT, quote_of TEXT, extra BLOB, likes INTEGER NOT NULL, reposts INTEGER NOT NULL, replies INTEGER NOT NULL,
  fingerprint INTEGER NOT NULL, kind TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS posts_by_key ON posts(key);
CREATE INDEX IF NOT EXISTS posts_by_author ON posts(author, witnessed);
CREATE INDEX IF NOT EXISTS posts_by_text ON posts(fingerprint);
CREATE INDEX IF NOT EXISTS posts_by_time ON posts(witnessed);
CREATE TABLE IF NOT EXISTS aliases (key INTEGER, seq INTEGER, PRIMARY KEY (key, seq)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS settled (one INTEGER PRIMARY KEY CHECK (one = 1), batch INTEGER NOT NULL);
"""
_INSERT = f"INSERT INTO posts({COLUMNS}) VALUES ({', '.join('?' * (COLUMNS.count(',') + 1))})"
_AMONG = "IN (SELECT value FROM json_each(?))"
_NETWORKS = f"(network {_AMONG} OR kind {_AMONG})"
_HELD = "key, seq, id, author, witnessed, text, extra, likes, reposts, replies"
_COUNT = "UPDATE posts SET likes = ?, reposts = ?, replies = ? WHERE seq = ?"
_COUNT_MORE = "UPDATE posts SET likes = likes + ?, reposts = reposts + ?, replies = replies + ? WHERE seq = ?"
_BUSY_KB, _RESTING_KB = 65536, 2048


class Extent(NamedTuple):
    """What the catalog says of a partition; times in microseconds, `stale` the removals its index has seen."""

    first: int
    posts: int = 0
    oldest: int = FOREVER
    newest: int = -1
    stale: int = 0

    def full(self, witnessed_at: int) -> bool:
        """Whether a post of this time belongs into a new partition."""
        return self.posts >= FULL or (witnessed_at - self.oldest > DAY and self.posts >= WORTH_CUTTING)

    def with_posts(self, stored: Sequence[Stored]) -> "Extent":
        times = [s.post.witnessed_at for s in stored]
        return self._replace(
            posts=self.posts + len(stored),
            oldest=min((self.oldest, *times)),
            newest=max((self.newest, *times)),
        )

    def without(self, count: int) -> "Extent":
        return self._replace(posts=self.posts - count, stale=self.stale + count)


class Work(NamedTuple):
    """What a committed batch owes to one partition: rows to remove, counts to set or raise, aliases to add.

    Counts are (likes, reposts, replies, seq), aliases (key, seq).
    """

    removed: list[int]
    counts: list[tuple[int, int, int, int]]
    more: list[tuple[int, int, int, int]]
    aliases: list[tuple[int, int]]


def folder_of(root: Path, first: int) -> Path:
    """Where the partition that begins with post number `first` lives."""
    return root / "partitions" / f"{first:012d}"


def _of(networks: Sequence[str]) -> list[str]:
    """The values of `_NETWORKS`: networks by name, and the kinds of post, as rows say them, behind names."""
    kinds = [KINDS[name] for name in networks if name in KINDS]
    return [*among(networks), *among("" if kind == "post" else kind for kind in kinds)]


class Partition:
    """One connection to one partition's rows; `busy`: it keeps much of the file in memory."""

    def __init__(self, root: Path, first: int, *, busy: bool = False, readonly: bool = False) -> None:
        self.first = first
        self.folder = folder_of(root, first)
        self.db = Database(
            self.folder / "posts.db",
            _SCHEMA,
            cache_kb=_BUSY_KB if busy else _RESTING_KB,
            durable=not readonly,
            readonly=readonly,
        )

    def rest(self) -> None:
        """Give most of the memory back: this partition is no longer the newest."""
        self.db.cache(_RESTING_KB)

    def close(self) -> None:
        self.db.close()

    # writing

    def insert(self, stored: Iterable[Stored]) -> None:
        """Add rows in a transaction of their own."""
        self.db.begin()
        self.db.many(_INSERT, map(row, stored))
        self.db.commit()

    def settled(self) -> int:
        """The last batch whose work was done here."""
        return int(self.db.rows("SELECT coalesce(max(batch), 0) FROM settled")[0][0])

    def settle(self, batch: int, work: Work) -> None:
        """Do what a committed batch owes, in one transaction that also says so: it is never done twice."""
        self.db.moved = True
        self.db.begin()
        self.db.rows("INSERT OR REPLACE INTO settled VALUES (1, ?)", (batch,))
        self.db.many("DELETE FROM posts WHERE seq = ?", ((s,) for s in work.removed))
        self.db.many(_COUNT, work.counts)
        self.db.many(_COUNT_MORE, work.more)
        self.db.many("INSERT OR IGNORE INTO aliases VALUES (?, ?)", work.aliases)
        self.db.commit()

    def cut_after(self, seq: int) -> None:
        """Remove rows above `seq`: their batch was never committed."""
        self.db.moved = True
        self.db.rows("DELETE FROM posts WHERE seq > ?", (seq,))
        self.db.rows("DELETE FROM aliases WHERE seq > ?", (seq,))

    # looking up

    def held(self, keys: Iterable[int]) -> list[Any]:
        """(key, seq, id, author, witnessed, text, extra, likes, reposts, replies) of the rows with these keys."""
        return self.db.rows(f"SELECT {_HELD} FROM posts WHERE key {_AMONG}", among(keys))

    def aliased(self, keys: Iterable[int]) -> list[tuple[int, int]]:
        """(alias key, seq) of the posts that go by these aliases."""
        return self.db.rows(f"SELECT key, seq FROM aliases WHERE key {_AMONG}", among(keys))

    def held_at(self, seqs: Iterable[int]) -> list[Any]:
        """As `held`, by number."""
        return self.db.rows(f"SELECT {_HELD} FROM posts WHERE seq {_AMONG}", among(seqs))

    def by_author(self, author: int, since: int, until: int) -> list[tuple[int, int]]:
        """(seq, key) of an author's posts witnessed from `since` to `until`."""
        sql = "SELECT seq, key FROM posts WHERE author = ? AND witnessed BETWEEN ? AND ?"
        return self.db.rows(sql, (author, since, until))

    def by_seqs(self, seqs: Iterable[int]) -> list[Any]:
        return self.db.rows_at_once(f"SELECT {AS_JSON} FROM posts WHERE seq {_AMONG}", among(seqs))

    def texts(self, seqs: Iterable[int]) -> list[Any]:
        """(fingerprint, first seq, last seq, newest witnessed) of each text among these numbers."""
        one = "SELECT fingerprint AS f, min(seq) AS a, max(seq) AS b, max(witnessed) AS w FROM posts"
        each = f"{one} WHERE seq {_AMONG} GROUP BY f"
        return self.db.rows_at_once(f"SELECT json_group_array(json_array(f, a, b, w)) FROM ({each})", among(seqs))

    def by_keys(self, keys: Iterable[int]) -> list[Any]:
        return self.db.rows_at_once(f"SELECT {AS_JSON} FROM posts WHERE key {_AMONG}", among(keys))

    def after(self, seq: int, count: int) -> list[Any]:
        """The first `count` rows after `seq`, in order."""
        return self.db.rows(f"SELECT {COLUMNS} FROM posts WHERE seq > ? ORDER BY seq LIMIT ?", (seq, count))

    def of_networks(self, seqs: Iterable[int], networks: Sequence[str]) -> list[int]:
        """Those of these numbers whose rows are of one of the networks."""
        sql = f"SELECT seq FROM posts WHERE seq {_AMONG} AND {_NETWORKS}"
        return [seq for (seq,) in self.db.rows(sql, (*among(seqs), *_of(networks)))]

    def latest(self, query: Query, authors: Sequence[int], others: Sequence[int], limit: int) -> list[Any]:
        """The newest rows within the bounds of a query but those of domains; its words are not looked at."""
        where = ["witnessed BETWEEN ? AND ?"]
        values: list[int | str] = [query.since or 0, query.until if query.until is not None else FOREVER]
        if query.handles:
            where.append(f"author {_AMONG}")
            values += among(authors)
        if others:
            where.append(f"author NOT {_AMONG}")
            values += among(others)
        if query.networks:
            where.append(_NETWORKS)
            values += _of(query.networks)
        if query.lang:
            where.append("lang = ?")
            values.append(query.lang)
        if query.min_likes:
            where.append("likes >= ?")
            values.append(query.min_likes)
        sql = f"SELECT {COLUMNS} FROM posts WHERE {' AND '.join(where)} ORDER BY witnessed DESC, seq DESC LIMIT ?"
        return self.db.rows(sql, (*values, limit))

    def copies(self, marks: Iterable[int], until: int) -> list[tuple[int, int, int, int]]:
        """(fingerprint, author, posts, first witnessed) of the posts of these texts witnessed by `until`."""
        sql = (
            "SELECT fingerprint, author, count(*), min(witnessed) FROM posts"
            f" WHERE fingerprint {_AMONG} AND witnessed <= ? GROUP BY fingerprint, author"
        )
        return self.db.rows(sql, (*among(marks), until))

    def between(self, since: int, until: int, network: str, after: int, count: int) -> list[tuple[int, int]]:
        """(seq, key) of a network's posts witnessed in a stretch of time, by number."""
        sql = """SELECT seq, key FROM posts WHERE witnessed BETWEEN ? AND ? AND network = ? AND seq > ?
          ORDER BY seq LIMIT ?"""
        return self.db.rows(sql, (since, until, network, after, count))

    def listed(self) -> list[tuple[int, int, int, int]]:
        """(seq, key, author, witnessed) of all rows."""
        return self.db.rows("SELECT seq, key, author, witnessed FROM posts")

    def extent(self, stale: int = 0) -> Extent:
        """What the file itself says, by a scan."""
        sql = "SELECT count(*), coalesce(min(witnessed), ?), coalesce(max(witnessed), -1) FROM posts"
        posts, oldest, newest = self.db.rows(sql, (FOREVER,))[0]
        return Extent(self.first, posts, oldest, newest, stale)
