"""SQLite is the truth: posts, tombstones and cursors, a batch and its cursor in one transaction.

It refuses a post that was deleted, a post of an account that is gone, and a text older than the one it holds.
A removed or edited-away text is overwritten in the file (`secure_delete`).
"""

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from voxpop.posts import (
    AccountGone,
    Author,
    Counted,
    Delete,
    Engagement,
    Event,
    Media,
    Post,
    Renamed,
    Upsert,
)
from voxpop.store import Applied, Query
from voxpop.text import fingerprint

_SCHEMA = """
CREATE TABLE IF NOT EXISTS posts (
  seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, network TEXT NOT NULL, author_id TEXT NOT NULL,
  text TEXT NOT NULL, created_at INTEGER NOT NULL, witnessed_at INTEGER NOT NULL, url TEXT, lang TEXT,
  reply_to TEXT, root TEXT, quote_of TEXT, extra BLOB, likes INTEGER, reposts INTEGER, replies INTEGER,
  fingerprint INTEGER NOT NULL);
CREATE INDEX IF NOT EXISTS posts_by_author ON posts(author_id, witnessed_at);
CREATE INDEX IF NOT EXISTS posts_by_text ON posts(fingerprint);
CREATE INDEX IF NOT EXISTS posts_by_time ON posts(witnessed_at);
CREATE TABLE IF NOT EXISTS authors (id TEXT PRIMARY KEY, handle TEXT NOT NULL, name TEXT NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS authors_by_handle ON authors(handle COLLATE NOCASE);
CREATE TABLE IF NOT EXISTS tombstones (id TEXT PRIMARY KEY, at INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS gone (author_id TEXT PRIMARY KEY, at INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS unindex (seq INTEGER PRIMARY KEY);
CREATE TABLE IF NOT EXISTS cursors (source TEXT PRIMARY KEY, cursor TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
"""
_INSERT = f"INSERT INTO posts VALUES ({', '.join('?' * 17)})"
_SELECT = """SELECT p.id, p.network, p.author_id, a.handle, a.name, p.text, p.created_at, p.witnessed_at, p.url,
  p.lang, p.reply_to, p.root, p.quote_of, p.extra, p.likes, p.reposts, p.replies, p.seq, p.fingerprint
  FROM posts p LEFT JOIN authors a ON a.id = p.author_id"""
_NAME = """INSERT INTO authors VALUES (?, ?, ?) ON CONFLICT(id) DO UPDATE SET
  handle = CASE WHEN excluded.handle = '' THEN handle ELSE excluded.handle END,
  name = CASE WHEN excluded.name = '' THEN name ELSE excluded.name END"""
_CHUNK = 500
_NAMES_KEPT = 200_000


@dataclass(slots=True)
class Stored:
    """A post with its place in the store: `seq` grows with every stored text and is never used twice."""

    seq: int
    post: Post
    fingerprint: int


class _Known(NamedTuple):
    seq: int
    witnessed_at: int
    text: str
    extra: bytes | None


@dataclass(slots=True)
class Batch:
    """What a committed batch changed: posts to index, sequence numbers to take out of the index."""

    applied: Applied
    added: list[Stored]
    removed: list[int]


def connect(path: Path, *, readonly: bool = False) -> sqlite3.Connection:
    """A connection with the store's settings; a reader never blocks the writer (WAL)."""
    con = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10)
    con.execute("PRAGMA journal_mode=WAL")
    con.execute("PRAGMA synchronous=NORMAL")
    con.execute("PRAGMA secure_delete=ON")
    con.execute("PRAGMA cache_size=-65536")
    con.execute("PRAGMA temp_store=MEMORY")
    if readonly:
        con.execute("PRAGMA query_only=ON")
    return con


class Writer:
    """The only writer of a store's database; `lock` beside it keeps a second one out until this process ends."""

    def __init__(self, path: Path) -> None:
        self._lock = sqlite3.connect(path.with_name("lock"), isolation_level=None, timeout=0)
        self._lock.execute("BEGIN EXCLUSIVE")
        self._con = connect(path)
        self._con.executescript(_SCHEMA)
        row = self._con.execute("SELECT value FROM counters WHERE name = 'seq'").fetchone()
        self._seq: int = row[0] if row else 0
        self._named: dict[str, str] = {}  # what authors were last called; strings, so that no collection walks it

    def purge(self) -> None:
        """Fold the write-ahead log into the file and empty it: no removed text stays in either."""
        self._con.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def close(self) -> None:
        """Purge and close."""
        try:
            self.purge()
        finally:
            self._con.close()
            self._lock.close()

    def apply(self, source: str, events: Sequence[Event]) -> Batch:
        """Store a batch and its last cursor in one transaction; on an error nothing of it is stored."""
        seq = self._seq
        try:
            self._con.execute("BEGIN IMMEDIATE")
            change = _Change(self._con, events)
            batch = change.run()
            for stored in batch.added:
                self._seq += 1
                stored.seq = self._seq
            self._con.executemany(_INSERT, [_row(s) for s in batch.added])
            self._name(change.names, change.forgotten)
            if cursor := next((e.cursor for e in reversed(events) if e.cursor), ""):
                self._con.execute("INSERT OR REPLACE INTO cursors VALUES (?, ?)", (source, cursor))
            self._con.execute("INSERT OR REPLACE INTO counters VALUES ('seq', ?)", (self._seq,))
            self._con.execute("COMMIT")
        except BaseException:
            if self._con.in_transaction:
                self._con.execute("ROLLBACK")
            self._seq = seq
            self._named.clear()
            raise
        return batch

    def skip_to(self, seq: int) -> range:
        """Never use numbers up to `seq` again; returns those that the index holds and the truth has lost.

        After a power cut SQLite may have lost its last transactions while the index kept its commit.
        """
        lost = range(self._seq + 1, seq + 1)
        self._seq = max(self._seq, seq)
        return lost

    def forget_unindexed(self, seqs: Iterable[int]) -> None:
        """The index no longer holds these: they need not be taken out again after a crash."""
        if pairs := [(seq,) for seq in seqs]:
            with self._con:
                self._con.execute("BEGIN IMMEDIATE")
                self._con.executemany("DELETE FROM unindex WHERE seq = ?", pairs)

    def _name(self, names: dict[str, Author], forgotten: set[str]) -> None:
        for id_ in forgotten:
            self._named.pop(id_, None)
        fresh = [a for a in names.values() if self._named.get(a.id) != f"{a.handle}\0{a.name}"]
        if len(self._named) > _NAMES_KEPT:
            self._named.clear()
        self._named.update((a.id, f"{a.handle}\0{a.name}") for a in fresh)
        self._con.executemany(_NAME, fresh)


class _Change:
    """Folds one batch over what is stored, in the order of its events."""

    def __init__(self, con: sqlite3.Connection, events: Sequence[Event]) -> None:
        self._con = con
        self._events = events
        self._new: dict[str, Stored] = {}
        self._removed: list[int] = []
        self._added = self._edited = self._deleted = self._unchanged = self._refused = 0
        self.names: dict[str, Author] = {}
        self.forgotten: set[str] = set()
        ids = {e.post.id if isinstance(e, Upsert) else e.id for e in events if isinstance(e, Upsert | Delete)}
        authors = {e.post.author.id for e in events if isinstance(e, Upsert)}
        known = _chunked(con, "SELECT id, seq, witnessed_at, text, extra FROM posts WHERE id IN ({})", ids)
        self._known: dict[str, _Known] = {row[0]: _Known(*row[1:]) for row in known}
        self._dead = {r[0] for r in _chunked(con, "SELECT id FROM tombstones WHERE id IN ({})", ids)}
        gone = _chunked(con, "SELECT author_id, at FROM gone WHERE author_id IN ({})", authors)
        self._gone: dict[str, int] = {row[0]: row[1] for row in gone}

    def run(self) -> Batch:
        for event in self._events:
            if isinstance(event, Upsert):
                self._upsert(event.post)
            elif isinstance(event, Delete):
                self._delete(event)
            elif isinstance(event, AccountGone):
                self._account_gone(event)
            elif isinstance(event, Renamed):
                self._name(event.author)
            elif isinstance(event, Counted):
                self._count(event.id, event.engagement)
        self._con.executemany("INSERT OR IGNORE INTO unindex VALUES (?)", [(seq,) for seq in self._removed])
        applied = Applied(self._added, self._edited, self._deleted, self._unchanged, self._refused)
        return Batch(applied, list(self._new.values()), self._removed)

    def _upsert(self, post: Post) -> None:
        if post.id in self._dead or post.witnessed_at <= self._gone.get(post.author.id, -1):
            self._refused += 1
            return
        held = self._held(post.id)
        if held is None:
            self._added += 1
        elif post.witnessed_at < held.witnessed_at:
            self._unchanged += 1
            return
        elif (post.text, _extra(post)) == (held.text, held.extra):
            self._unchanged += 1
            if post.engagement != Engagement():
                self._count(post.id, post.engagement)
            return
        elif post.witnessed_at == held.witnessed_at:  # two texts of one moment: the first stays, in every replay
            self._unchanged += 1
            return
        else:
            self._edited += 1
            self._remove(post.id)
        self._new[post.id] = Stored(0, post, fingerprint(post.text))
        self._name(post.author)

    def _held(self, id_: str) -> "_Known | None":
        if pending := self._new.get(id_):
            post = pending.post
            return _Known(0, post.witnessed_at, post.text, _extra(post))
        return self._known.get(id_)

    def _remove(self, id_: str) -> bool:
        """Whether there was a post to remove."""
        pending = self._new.pop(id_, None)
        known = self._known.pop(id_, None)
        if known:
            self._con.execute("DELETE FROM posts WHERE seq = ?", (known.seq,))
            self._removed.append(known.seq)
        return bool(pending or known)

    def _delete(self, event: Delete) -> None:
        self._con.execute("INSERT OR IGNORE INTO tombstones VALUES (?, ?)", (event.id, event.at))
        self._dead.add(event.id)
        self._deleted += self._remove(event.id)

    def _account_gone(self, event: AccountGone) -> None:
        who, at = event.author_id, event.at
        self._con.execute(
            "INSERT INTO gone VALUES (?, ?) ON CONFLICT(author_id) DO UPDATE SET at = max(at, excluded.at)",
            (who, at),
        )
        self._gone[who] = max(at, self._gone.get(who, -1))
        pending = [s.post for s in self._new.values() if s.post.author.id == who]
        for post in pending:
            if post.witnessed_at <= at:
                self._deleted += self._remove(post.id)
        old = "DELETE FROM posts WHERE author_id = ? AND witnessed_at <= ? RETURNING id, seq"
        for id_, seq in self._con.execute(old, (who, at)).fetchall():
            self._known.pop(id_, None)
            self._removed.append(seq)
            self._deleted += 1
        left = self._con.execute("SELECT 1 FROM posts WHERE author_id = ? LIMIT 1", (who,)).fetchone()
        if not left and all(post.witnessed_at <= at for post in pending):
            self._con.execute("DELETE FROM authors WHERE id = ?", (who,))
            self.names.pop(who, None)
            self.forgotten.add(who)

    def _name(self, author: Author) -> None:
        if author.handle or author.name:
            _, handle, name = self.names.get(author.id, author)
            self.names[author.id] = Author(author.id, author.handle or handle, author.name or name)

    def _count(self, id_: str, counts: Engagement) -> None:
        if pending := self._new.get(id_):
            pending.post = replace(pending.post, engagement=counts)
        else:
            self._con.execute("UPDATE posts SET likes = ?, reposts = ?, replies = ? WHERE id = ?", (*counts, id_))


class Reader:
    """One thread's view of the truth; every call sees the newest committed state."""

    def __init__(self, path: Path) -> None:
        self._con = connect(path, readonly=True)

    def close(self) -> None:
        self._con.close()

    def cursor(self, source: str) -> str | None:
        row = self._con.execute("SELECT cursor FROM cursors WHERE source = ?", (source,)).fetchone()
        return str(row[0]) if row else None

    def by_ids(self, ids: Sequence[str]) -> list[Post]:
        found = {r[0]: _stored(r).post for r in _chunked(self._con, _SELECT + " WHERE p.id IN ({})", ids)}
        return [found[i] for i in ids if i in found]

    def by_seqs(self, seqs: Iterable[int]) -> Iterator[Stored]:
        return map(_stored, _chunked(self._con, _SELECT + " WHERE p.seq IN ({})", seqs))

    def after(self, seq: int) -> Iterator[Stored]:
        """Posts stored after `seq`, in order: what an index that ends there has missed."""
        return map(_stored, self._con.execute(_SELECT + " WHERE p.seq > ? ORDER BY p.seq", (seq,)))

    def unindexed(self) -> list[int]:
        """Removed texts that the index may still hold."""
        return [r[0] for r in self._con.execute("SELECT seq FROM unindex ORDER BY seq")]

    def seqs(self) -> set[int]:
        """The numbers of all posts."""
        return {r[0] for r in self._con.execute("SELECT seq FROM posts")}

    def author_ids(self, handles: Iterable[str]) -> list[str]:
        asked = [h.lstrip("@") for h in handles]
        rows = _chunked(self._con, "SELECT id FROM authors WHERE handle COLLATE NOCASE IN ({})", asked)
        return [r[0] for r in rows] + [h for h in asked if ":" in h]

    def latest(self, query: Query, author_ids: Sequence[str], limit: int) -> list[Stored]:
        """The newest posts within the bounds of a query; its words are not looked at."""
        where: list[str] = ["p.witnessed_at BETWEEN ? AND ?"]
        values: list[int | str] = [query.since or 0, query.until if query.until is not None else 1 << 62]
        if query.handles:
            where.append(f"p.author_id IN ({', '.join('?' * len(author_ids))})")
            values += author_ids
        if query.lang:
            where.append("p.lang = ?")
            values.append(query.lang)
        if query.min_likes:
            where.append("p.likes >= ?")
            values.append(query.min_likes)
        sql = f"{_SELECT} WHERE {' AND '.join(where)} ORDER BY p.witnessed_at DESC, p.seq DESC LIMIT {int(limit)}"
        return [_stored(r) for r in self._con.execute(sql, values)]

    def copies(self, marks: Iterable[int], until: int) -> dict[int, tuple[int, int]]:
        """For each text fingerprint: how many posts carry it by `until`, and from how many authors."""
        sql = (
            "SELECT fingerprint, count(*), count(DISTINCT author_id) FROM posts"
            f" WHERE fingerprint IN ({{}}) AND witnessed_at <= {int(until)} GROUP BY fingerprint"
        )
        return {r[0]: (r[1], r[2]) for r in _chunked(self._con, sql, marks)}

    def totals(self) -> dict[str, int]:
        """Counts of posts, tombstones and texts waiting to leave the index; the newest witnessed time."""
        one = self._con.execute(
            "SELECT (SELECT count(*) FROM posts), (SELECT count(*) FROM tombstones),"
            " (SELECT count(*) FROM unindex), (SELECT max(witnessed_at) FROM posts),"
            " (SELECT coalesce(max(seq), 0) FROM posts)"
        ).fetchone()
        return dict(zip(("posts", "tombstones", "unindex", "newest", "seq"), one, strict=True))

    def cursors(self) -> dict[str, str]:
        return dict(self._con.execute("SELECT source, cursor FROM cursors"))

    def check(self) -> str:
        """SQLite's own word on the file: `ok`, or what is wrong."""
        return str(self._con.execute("PRAGMA quick_check(1)").fetchone()[0])


def _chunked(con: sqlite3.Connection, sql: str, values: Iterable[Any]) -> Iterator[Any]:
    asked = list(values)
    for start in range(0, len(asked), _CHUNK):
        chunk = asked[start : start + _CHUNK]
        yield from con.execute(sql.format(", ".join("?" * len(chunk))), chunk)


def _extra(post: Post) -> bytes | None:
    return orjson.dumps([[list(m) for m in post.media], post.links]) if post.media or post.links else None


def _row(stored: Stored) -> tuple[Any, ...]:
    p = stored.post
    return (
        stored.seq, p.id, p.network, p.author.id, p.text, p.created_at, p.witnessed_at, p.url, p.lang,
        p.reply_to, p.root, p.quote_of, _extra(p), *p.engagement, stored.fingerprint,
    )  # fmt: skip


def _stored(row: Any) -> Stored:
    media, links = orjson.loads(row[13]) if row[13] else ((), ())
    post = Post(
        id=row[0], network=row[1], author=Author(row[2], row[3] or "", row[4] or ""), text=row[5],
        created_at=row[6], witnessed_at=row[7], url=row[8], lang=row[9], reply_to=row[10], root=row[11],
        quote_of=row[12], media=tuple(Media(*m) for m in media), links=tuple(links),
        engagement=Engagement(row[14], row[15], row[16]),
    )  # fmt: skip
    return Stored(row[17], post, row[18])
