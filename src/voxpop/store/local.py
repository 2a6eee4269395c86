"""The embedded store: SQLite holds the truth, tantivy ranks, a hot tail bridges the moments between commits.

A post is searchable when `apply` returns. What the index finds is looked up in the truth before it is shown, so a
deleted or edited-away text is never found, however late the index is. All work runs on threads of its own.
"""

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Self, TypeVar

from voxpop.errors import VoxpopError
from voxpop.posts import Event, Post
from voxpop.store import Applied, Hit, Query
from voxpop.store.index import Entry, Index, Wanted
from voxpop.store.ranking import rank
from voxpop.store.tail import HotTail, idf
from voxpop.store.truth import Reader, Stored, Writer
from voxpop.text import indexed, words

T = TypeVar("T")
_TAIL_FULL = 20_000
_CANDIDATES = 120
_MOST_CANDIDATES = 6400


class LocalStore:
    """A store in one folder. Use as an async context manager, one process at a time.

    `commit_s`: seconds between the index's commits; search does not wait for them. `readonly` opens the state of
    this moment beside a process that writes; it refuses `apply`.
    """

    def __init__(self, folder: Path, *, commit_s: float = 0.5, readonly: bool = False) -> None:
        self.folder = folder
        self._commit_s = commit_s
        self._readonly = readonly
        self._writer: Writer | None = None
        self._tail = HotTail()
        self._writing = ThreadPoolExecutor(1, "voxpop-write")
        self._reading = ThreadPoolExecutor(2, "voxpop-read")
        self._local = threading.local()
        self._readers: list[Reader] = []
        self._removed: list[int] = []
        self._ticker: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        await self._on(self._writing, self._open)
        if not self._readonly:
            self._ticker = asyncio.create_task(self._tick())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._ticker:
            self._ticker.cancel()
            with suppress(asyncio.CancelledError):
                await self._ticker
        await self._on(self._writing, self._close)
        self._writing.shutdown()
        self._reading.shutdown()

    # the Store protocol

    async def apply(self, source: str, events: Sequence[Event]) -> Applied:
        return await self._on(self._writing, lambda: self._apply(source, events))

    async def cursor(self, source: str) -> str | None:
        return await self._read(lambda reader: reader.cursor(source))

    async def search(self, query: Query, now: int) -> list[Hit]:
        return await self._read(lambda reader: self._search(reader, query, now))

    async def posts(self, ids: Sequence[str]) -> list[Post]:
        return await self._read(lambda reader: reader.by_ids(ids))

    # for the operator: doctor, sources, the page's counters

    async def totals(self) -> dict[str, int]:
        """Posts, tombstones, newest witnessed time, and how far the index is behind."""
        return await self._read(lambda r: {**r.totals(), "indexed": self._index.documents, "tail": len(self._tail)})

    async def cursors(self) -> dict[str, str]:
        """The cursor of each source that was ever applied."""
        return await self._read(lambda r: r.cursors())

    async def check(self) -> list[str]:
        """What is wrong between the file, the truth and the index; empty when they agree."""
        await self._on(self._writing, self._commit)
        return await self._read(self._disagreements)

    async def commit(self) -> None:
        """Bring the index up to the truth now."""
        await self._on(self._writing, self._commit)

    # on the writing thread

    def _open(self) -> None:
        path = self.folder / "posts.db"
        if self._readonly and not path.exists():
            cure = f"Fill it first, such as with: voxpop ingest --source SOURCE --data {self.folder}"
            raise VoxpopError(f"The data folder {self.folder} holds no posts.", cure)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._writer = None if self._readonly else Writer(path)
            self._index = Index(self.folder / "index")
            self._catch_up(path)
        except (OSError, ValueError, sqlite3.Error) as error:
            cure = "Choose another folder with --data, or stop the voxpop that uses it."
            raise VoxpopError(f"Cannot open the data folder {self.folder}: {error}.", cure) from error

    def _catch_up(self, path: Path) -> None:
        reader = Reader(path)
        if self._writer:
            self._removed = [*reader.unindexed(), *self._writer.skip_to(self._index.last_seq)]
        self._tail.add(_entry(s) for s in reader.after(self._index.last_seq))
        reader.close()
        self._commit()

    def _close(self) -> None:
        self._commit()
        self._index.close()
        if self._writer:
            self._writer.close()
        for reader in self._readers:
            reader.close()

    def _apply(self, source: str, events: Sequence[Event]) -> Applied:
        if not self._writer:
            raise VoxpopError(
                f"The store in {self.folder} was opened to read only.", "Open it with readonly=False."
            )
        batch = self._writer.apply(source, events)
        self._removed += batch.removed
        self._tail.add([_entry(s) for s in batch.added])
        if len(self._tail) >= _TAIL_FULL:
            self._commit()
        return batch.applied

    def _commit(self) -> None:
        taken, removed = self._tail.take(), self._removed
        if not self._writer or not (taken or removed):
            return
        self._removed = []
        self._index.write(taken, removed)
        self._tail.drop(taken)
        self._writer.forget_unindexed(removed)

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(self._commit_s)
            await self._on(self._writing, self._commit)

    # on a reading thread

    def _search(self, reader: Reader, query: Query, now: int) -> list[Hit]:
        author_ids = reader.author_ids(query.handles) if query.handles else []
        if query.handles and not author_ids:
            return []
        limit = max(_CANDIDATES, 6 * query.limit)
        if not query.words and not query.phrases:
            found = [(s, 1.0) for s in reader.latest(query, author_ids, limit)]
            return rank(found, query, now, reader.copies)
        wanted = _wanted(query, author_ids)
        while True:
            scores = self._candidates(wanted, query, now, limit)
            kept = [
                (s, scores[s.seq]) for s in reader.by_seqs(scores) if s.post.engagement.likes >= query.min_likes
            ]
            hits = rank(kept, query, now, reader.copies)
            if len(hits) >= query.limit or len(scores) < limit or limit >= _MOST_CANDIDATES:
                return hits
            limit *= 4

    def _candidates(self, wanted: Wanted, query: Query, now: int, limit: int) -> dict[int, float]:
        # The tail is read before the index: a post that a commit moves in between is then seen twice, never missed.
        documents = self._index.documents + len(self._tail)
        found = dict(self._tail.search(wanted, lambda term: idf(documents, self._index.holding(term))))
        found.update(self._index.search(wanted, limit))
        end = min(now, wanted.until)
        recent = end - int(query.half_life_s * 1_000_000)
        if recent > wanted.since:
            found.update(self._index.search(wanted.within(recent, wanted.until), limit // 2))
        return found

    def _disagreements(self, reader: Reader) -> list[str]:
        wrong = []
        if (word := reader.check()) != "ok":
            wrong.append(f"SQLite says of posts.db: {word}")
        totals = reader.totals()
        held = self._index.documents
        if held != totals["posts"]:
            wrong.append(f"the index holds {held} posts, the truth {totals['posts']}")
        return wrong

    # threads

    async def _on(self, pool: ThreadPoolExecutor, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(pool, work)

    async def _read(self, work: Callable[[Reader], T]) -> T:
        return await self._on(self._reading, lambda: work(self._reader()))

    def _reader(self) -> Reader:
        if not hasattr(self._local, "reader"):
            self._local.reader = Reader(self.folder / "posts.db")
            self._readers.append(self._local.reader)
        reader: Reader = self._local.reader
        return reader


def _entry(stored: Stored) -> Entry:
    post = stored.post
    text = indexed(post.text, [m.alt for m in post.media if m.alt])
    return Entry(stored.seq, text, post.witnessed_at, post.author.id, post.lang)


def _wanted(query: Query, author_ids: Sequence[str]) -> Wanted:
    def groups(texts: Sequence[str]) -> tuple[tuple[str, ...], ...]:
        return tuple(dict.fromkeys(tuple(terms) for t in texts if (terms := words(t))))

    return Wanted(
        any_of=groups(query.words),
        all_of=groups(query.phrases),
        none_of=groups(query.excluded),
        author_ids=frozenset(author_ids) if query.handles else None,
        lang=query.lang,
        since=query.since or 0,
        until=query.until if query.until is not None else 1 << 62,
    )
