"""The embedded store: SQLite holds the truth, tantivy ranks, a hot tail bridges the moments between commits.

A post is searchable when `apply` returns. What the index finds is looked up in the truth before it is shown, so a
deleted or edited-away text is never found, however late the index is. All work runs on threads of its own.
"""

import asyncio
import logging
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Self, TypeVar

from voxpop.errors import VoxpopError
from voxpop.posts import Event, Post
from voxpop.store import Applied, Hit, Query
from voxpop.store.index import Entry, Index, Wanted, erase
from voxpop.store.ranking import rank
from voxpop.store.tail import HotTail, holds, idf
from voxpop.store.trouble import said
from voxpop.store.truth import Reader, Stored, Writer
from voxpop.text import indexed, words
from voxpop.times import MICROS

T = TypeVar("T")
_log = logging.getLogger(__name__)
_TAIL_FULL = 20_000
_CANDIDATES = 120
_MOST_CANDIDATES = 6400


class LocalStore:
    """A store in one folder. Use as an async context manager, one writing process at a time.

    `commit_s`: seconds between the index's commits; search does not wait for them. `purge_s`: seconds after which
    a removed text is in no page and no log of the database. `readonly` opens the posts of
    this moment beside a process that writes; it refuses `apply`. `rebuilt` says why the index was made anew.
    """

    def __init__(
        self, folder: Path, *, commit_s: float = 0.5, purge_s: float = 60.0, readonly: bool = False
    ) -> None:
        self.folder = folder
        self._purge_s = purge_s
        self.rebuilt = ""
        self._path = folder / "posts.db"
        self._commit_s = commit_s
        self._readonly = readonly
        self._writer: Writer | None = None
        self._index: Index | None = None
        self._tail = HotTail()
        self._turn = threading.Lock()  # held to change the tail, `_removed` or what the writer holds
        self._writing = ThreadPoolExecutor(1, "voxpop-write")
        self._indexing = ThreadPoolExecutor(1, "voxpop-index")
        self._reading = ThreadPoolExecutor(2, "voxpop-read")
        self._local = threading.local()
        self._readers: list[Reader] = []
        self._removed: list[int] = []
        self._ticker: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        try:
            await self._on(self._writing, self._open)
        except BaseException:
            await self.__aexit__()
            raise
        if not self._readonly:
            self._ticker = asyncio.create_task(self._tick())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._ticker:
            self._ticker.cancel()
            with suppress(asyncio.CancelledError):
                await self._ticker
        try:
            await self._on(self._indexing, self._commit)
        finally:
            await self._on(self._writing, self._close)
            for pool in (self._writing, self._indexing, self._reading):
                pool.shutdown()

    # the Store protocol

    async def apply(self, source: str, events: Sequence[Event]) -> Applied:
        applied = await self._on(self._writing, lambda: self._apply(source, events))
        if len(self._tail) >= _TAIL_FULL:
            await self.commit()
        return applied

    async def cursor(self, source: str) -> str | None:
        return await self._read(lambda reader: reader.cursor(source))

    async def search(self, query: Query, now: int) -> list[Hit]:
        return await self._read(lambda reader: self._search(reader, query, now))

    async def posts(self, ids: Sequence[str]) -> list[Post]:
        return await self._read(lambda reader: reader.by_ids(ids))

    # for the operator: doctor, sources, the page's counters

    async def totals(self) -> dict[str, int]:
        """Posts, tombstones, newest witnessed time, and how far the index is behind."""
        return await self._read(lambda r: {**r.totals(), "indexed": self.index.documents, "tail": len(self._tail)})

    async def cursors(self) -> dict[str, str]:
        """The cursor of each source that was ever applied."""
        return await self._read(lambda r: r.cursors())

    async def check(self) -> list[str]:
        """What is wrong between the file, the truth and the index; empty when they agree."""
        await self.commit()
        return await self._read(self._disagreements)

    async def commit(self) -> None:
        """Bring the index up to the truth now."""
        await self._on(self._indexing, self._commit)

    # on the writing thread; commits of the index on one of their own, so that `apply` never waits for them

    def _open(self) -> None:
        if self._readonly and not self._path.exists():
            cure = f"Fill it first, such as with: voxpop ingest --source SOURCE --data {self.folder}"
            raise VoxpopError(f"The data folder {self.folder} holds no posts.", cure)
        self.folder.mkdir(parents=True, exist_ok=True)
        self._writer = None if self._readonly else Writer(self._path)
        reader = Reader(self._path)
        try:
            if self._writer is None:
                self._index = Index(self.folder / "index")
                self._tail.add([_entry(s) for s in reader.after(self._index.last_seq)])
            else:
                self._index = self._sound_index(reader, self._writer)
        finally:
            reader.close()

    def _sound_index(self, reader: Reader, writer: Writer) -> Index:
        folder = self.folder / "index"
        stored = reader.totals()["posts"]
        why = "" if folder.exists() or not stored else "the index was missing"
        try:
            index = Index(folder)
            _catch_up(index, reader, writer)
            if not why and index.documents != stored:
                why = f"the index held {index.documents} posts and the truth {stored}"
        except (OSError, ValueError) as error:
            index, why = None, f"the index could not be read: {error}"
        if why:
            self.rebuilt = why
            _log.warning("Rebuilding the index of %s: %s.", self.folder, why)
        if index is None or index.documents != stored:
            erase(folder)
            index = Index(folder)
            _catch_up(index, reader, writer)
        folder.mkdir(exist_ok=True)
        return index

    def _close(self) -> None:
        if self._index:
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
        with self._turn:
            batch = self._writer.apply(source, events)
            self._removed += batch.removed
            self._tail.add([_entry(s) for s in batch.added])
        return batch.applied

    def _commit(self) -> None:
        if not (self._writer and self._index):
            return
        with self._turn:
            taken, removed = self._tail.take(), self._removed
            self._removed = []
        try:
            self._index.write([entry for part in taken for entry in part.entries], removed)
        except BaseException:
            with self._turn:
                self._removed = removed + self._removed
            raise
        with self._turn:
            self._tail.drop(taken)
            self._writer.forget_unindexed(removed)

    def _purge(self) -> None:
        if self._writer:
            with self._turn:
                self._writer.purge()

    async def _tick(self) -> None:
        last, waited = "", 0.0
        while True:
            await asyncio.sleep(self._commit_s)
            waited += self._commit_s
            try:
                await self.commit()
                if waited >= self._purge_s:
                    waited = 0.0
                    await self._on(self._writing, self._purge)
            except (
                VoxpopError
            ) as error:  # the tail keeps what the index could not take; apply raises when it is full
                if str(error) != last:
                    _log.error("The index could not be written: %s", error)
                last = str(error)

    # on a reading thread

    def _search(self, reader: Reader, query: Query, now: int) -> list[Hit]:
        author_ids = reader.author_ids(query.handles) if query.handles else []
        if query.limit < 1 or (query.handles and not author_ids):
            return []
        wanted = _wanted(query, author_ids)
        limit = max(_CANDIDATES, 6 * query.limit)
        while True:
            if query.words or query.phrases:
                scores = self._candidates(wanted, query, now, limit)
                looked, stored = len(scores), reader.by_seqs(scores)
                found = [(s, scores[s.seq]) for s in stored if s.post.engagement.likes >= query.min_likes]
            else:
                latest = reader.latest(query, author_ids, limit)
                looked, found = len(latest), [(s, 1.0) for s in latest if not _excluded(s, wanted)]
            hits = rank(found, query, now, reader.copies)
            if len(hits) >= query.limit or looked < limit or limit >= _MOST_CANDIDATES:
                return hits
            limit *= 4

    def _candidates(self, wanted: Wanted, query: Query, now: int, limit: int) -> dict[int, float]:
        # The tail is read before the index: a post that a commit moves in between is then seen twice, never missed.
        index = self.index
        documents = index.documents + len(self._tail)
        found = dict(self._tail.search(wanted, lambda term: idf(documents, index.holding(term))))
        found.update(index.search(wanted, limit))
        recent = min(now, wanted.until) - int(query.half_life_s * MICROS)
        if len(found) >= limit and recent > wanted.since:
            found.update(index.search(wanted.within(recent, wanted.until), limit // 2))
        return found

    def _disagreements(self, reader: Reader) -> list[str]:
        wrong = []
        if (word := reader.check()) != "ok":
            wrong.append(f"SQLite says of posts.db: {word}")
        held, true = self.index.seqs(), reader.seqs()
        for names, seqs in (("the index lacks", true - held), ("the index still holds", held - true)):
            if seqs:
                wrong.append(f"{names} {len(seqs)} posts, the first of them number {min(seqs)}")
        return wrong

    # threads

    @property
    def index(self) -> Index:
        if self._index is None:
            raise RuntimeError("the store is not open")
        return self._index

    async def _on(self, pool: ThreadPoolExecutor, work: Callable[[], T]) -> T:
        def job() -> T:
            with said(self.folder):
                return work()

        return await asyncio.get_running_loop().run_in_executor(pool, job)

    async def _read(self, work: Callable[[Reader], T]) -> T:
        return await self._on(self._reading, lambda: work(self._reader()))

    def _reader(self) -> Reader:
        if not hasattr(self._local, "reader"):
            self._local.reader = Reader(self._path)
            self._readers.append(self._local.reader)
        reader: Reader = self._local.reader
        return reader


def _entry(stored: Stored) -> Entry:
    post = stored.post
    text = indexed(post.text, [m.alt for m in post.media if m.alt])
    return Entry(stored.seq, text, post.witnessed_at, post.author.id, post.lang)


def _catch_up(index: Index, reader: Reader, writer: Writer) -> None:
    """Bring a committed index up to the truth, a slice at a time."""
    removed = [*reader.unindexed(), *writer.skip_to(index.last_seq)]
    missed = map(_entry, reader.after(index.last_seq))
    while entries := list(islice(missed, _TAIL_FULL)):
        index.write(entries, [])
    index.write([], removed)
    writer.forget_unindexed(removed)


def _excluded(stored: Stored, wanted: Wanted) -> bool:
    return bool(wanted.none_of) and any(holds(_entry(stored).text.split(), group) for group in wanted.none_of)


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
