"""The embedded store: SQLite holds the truth, tantivy ranks, a hot tail bridges the moments between commits.

A post is searchable when `apply` returns. What the index finds is looked up in the truth before it is shown, so a
deleted or edited-away text is never found, however late the index is. All work runs on threads of its own.
"""

import asyncio
import logging
import secrets
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Self, TypeVar

import orjson

from voxpop.errors import UsageError, VoxpopError
from voxpop.posts import AccountGone, Delete, Event, Post
from voxpop.store import Applied, Hit, Query
from voxpop.store.building import build_apart
from voxpop.store.index import Index, erase, index_of
from voxpop.store.reading import Reader
from voxpop.store.rows import key
from voxpop.store.searching import search
from voxpop.store.shelves import Shelves
from voxpop.store.trouble import said
from voxpop.store.truth import Writer
from voxpop.text import counted
from voxpop.times import MICROS

T = TypeVar("T")
_log = logging.getLogger(__name__)
_TAIL_FULL = 20_000
_FORGOTTEN_AT_ONCE = 2000
_DAY = 24 * 3600 * MICROS
_ORDERS_S, _RETAIN_S = 0.5, 60.0
_REST = 9  # seconds of rest for each second that a rewrite of an index took: a tenth of one core


class LocalStore:
    """A store in one folder. Use as an async context manager, one writing process at a time.

    `commit_s`: seconds between the index's commits; search does not wait for them. `purge_s`: seconds after which
    a removed text is in no file. `keep_days`, `keep_gb`: what is older, or the oldest above that size, is dropped;
    0 keeps all. `readonly` opens the posts of this moment beside a process that writes; it refuses `apply`.
    """

    def __init__(
        self,
        folder: Path,
        *,
        commit_s: float = 0.5,
        purge_s: float = 60.0,
        keep_days: float = 0.0,
        keep_gb: float = 0.0,
        readonly: bool = False,
    ) -> None:
        self.folder = folder
        self._keep = keep_days, int(keep_gb * 1e9)
        self._shelves = Shelves(folder, readonly=readonly)
        self._writing = ThreadPoolExecutor(1, "voxpop-write")
        self._indexing = ThreadPoolExecutor(1, "voxpop-index")
        self._reading = ThreadPoolExecutor(2, "voxpop-read")
        self._local = threading.local()
        self._readers: list[Reader] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._every = (
            (commit_s, self.commit),
            (purge_s, self._purge),
            (_ORDERS_S, self._take_orders),
            (_RETAIN_S, self._retain),
            (purge_s, self._rewrite_one),
            (purge_s, self._mend),
        )
        self._making = asyncio.Lock()

    async def __aenter__(self) -> Self:
        try:
            await self._on(self._writing, self._shelves.open)
            if not self._shelves.readonly:
                with suppress(VoxpopError):  # it is tried again within a minute, and says then what is wrong
                    await self._retain()
        except BaseException:
            await self.__aexit__()
            raise
        if not self._shelves.readonly:
            self._tasks = [asyncio.create_task(self._repeat(*each)) for each in self._every]
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        try:
            await self._on(self._indexing, self._shelves.commit)
        finally:
            await asyncio.to_thread(self._reading.shutdown)  # searches under way end before what they read closes
            for reader in self._readers:
                reader.close()
            await self._on(self._writing, self._shelves.close)
            for pool in (self._writing, self._indexing):
                pool.shutdown()

    # the Store protocol

    async def apply(self, source: str, events: Sequence[Event]) -> Applied:
        if len(self._shelves.tail) >= _TAIL_FULL:
            await self.commit()  # before: what this raises says that nothing of the batch is stored
        return await self._on(self._writing, lambda: self._shelves.apply(source, events))

    async def cursor(self, source: str) -> str | None:
        return (await self.cursors()).get(source)

    async def search(self, query: Query, now: int) -> list[Hit]:
        shelves = self._shelves
        return await self._read(lambda reader: search(reader, shelves.index, shelves.tail, query, now))

    async def posts(self, ids: Sequence[str]) -> list[Post]:
        return await self._read(lambda reader: reader.by_ids(ids))

    # for whoever watches: doctor, sources, metrics, the page's counters

    @property
    def rebuilt(self) -> str:
        """Why an index was made anew when the store was opened; empty where none was."""
        return self._shelves.rebuilt

    @property
    def index(self) -> Index:
        return self._shelves.index

    async def totals(self) -> dict[str, int]:
        """Posts, tombstones, newest witnessed time, and how far the index is behind; nothing is scanned."""
        behind = {"indexed": self.index.documents, "tail": len(self._shelves.tail)}
        return await self._read(lambda r: {**r.catalog.totals(), **behind})

    async def figures(self) -> dict[str, float]:
        """Partitions, batches, times of commits and purges, bytes on the disk, since the store was opened."""
        return await self._on(self._reading, self._shelves.state)

    async def cursors(self) -> dict[str, str]:
        """The cursor of each source that was ever applied."""
        return await self._read(lambda r: r.catalog.cursors())

    async def gaps(self, since: int, until: int) -> list[tuple[str, int, int, str]]:
        """(source, since, until, why) of the stretches within two moments (microseconds) of which nothing came."""
        return await self._read(lambda r: r.catalog.gaps(since, until))

    async def newer(self, seq: int, most: int) -> list[Post] | None:
        """The posts whose text came after a number (see `totals`), edits too; None where they are over `most`."""
        return await self._read(lambda r: r.newer(seq, most))

    async def spent(self, source: str, month: str) -> tuple[int, int]:
        """(reads, millionths of a US dollar) of a source in a month of UTC, such as 2026-11."""
        rows = {(s, m): (reads, usd) for s, m, reads, usd in await self.spending()}
        return rows.get((source, month), (0, 0))

    async def spending(self) -> list[tuple[str, str, int, int]]:
        """(source, month, reads, millionths of a US dollar) of all months."""
        return await self._read(lambda r: r.catalog.spending())

    async def check(self) -> list[str]:
        """What is wrong between the files, the truth and the index; empty when they agree."""
        await self.commit()
        return await self._read(self._disagreements)

    # what answers cite, and what should be looked up again

    async def cite(self, ids: Sequence[str], now: int) -> None:
        """Remember that answers cite these posts."""
        await self._write(lambda w: w.catalog.mark("cited", map(key, ids), now))

    async def to_check(self, network: str, before: int, limit: int) -> list[str]:
        """Ids of a network's posts, cited ones first, that nobody witnessed or looked up since `before`."""
        return await self._read(lambda r: r.to_check(network, before, limit))

    async def checked(self, ids: Sequence[str], now: int) -> None:
        """These posts were looked up."""
        await self._write(lambda w: w.catalog.mark("checked", map(key, ids), now))

    # keeping and forgetting

    async def commit(self) -> None:
        """Bring the index up to the truth now."""
        await self._on(self._indexing, self._shelves.commit)

    async def purge(self) -> None:
        """What was removed is in no file once this returns."""
        await self.commit()
        await self._purge()

    async def retain(self, keep_days: float, keep_bytes: int, now: int) -> int:
        """Drop the partitions that are older or, oldest first, above the size; 0 keeps all. How many posts went."""
        oldest = now - int(keep_days * _DAY) if keep_days else 0
        return await self._on(self._indexing, lambda: self._shelves.retain(oldest, keep_bytes))

    async def forget(self, *, post: str = "", author: str = "", before: int = 0) -> int:
        """Remove a post (by id), all of an author (id or handle), or all witnessed before a moment; how many went.

        A source cannot bring the post or the author's posts back. Whole partitions before the moment are dropped.
        """
        newest = (await self.totals())["newest"] or 0  # a clock may be behind what it witnessed
        now = max(int(time.time() * MICROS), newest)
        gone = 0
        events: list[Event] = [Delete(post, now)] if post else []
        if author:
            events += [AccountGone(id_, now) for id_ in await self._read(lambda r: r.who(author))]
        if before:
            gone = await self._on(self._indexing, lambda: self._shelves.drop_before(before))
            events += [Delete(id_, now) for id_ in await self._read(lambda r: r.before(before))]
        for start in range(0, len(events), _FORGOTTEN_AT_ONCE):
            gone += (await self.apply("forget", events[start : start + _FORGOTTEN_AT_ONCE])).deleted
        await self.purge()
        return gone

    async def rebuild(self, progress: Callable[[int, int], None] = lambda done, of: None) -> int:
        """Make all indexes anew from the truth while the old ones answer; how many posts they hold.

        `progress` is told how many of how many posts are done.
        """
        await self.commit()
        extents = await self._read(lambda r: r.extents())
        of, done = sum(e.posts for e in extents), 0
        for extent in extents:
            await self._remake(extent.first, partial(_shifted, progress, done, of))
            done += extent.posts
        return done

    async def perform(
        self, what: Mapping[str, Any], progress: Callable[[int, int], None] = lambda done, of: None
    ) -> str:
        """Do an order (see `orders`); what came of it. Raises UsageError for one that cannot be."""
        match what:
            case {"do": "forget", **how} if set(how) in ({"post"}, {"author"}, {"before"}):
                return f"Forgot {counted(await self.forget(**how), 'post')}."
            case {"do": "purge"}:
                await self.purge()
                return "What was removed is in no file."
            case {"do": "rebuild"}:
                return f"Made the index of {counted(await self.rebuild(progress), 'post')} anew."
        raise UsageError(f"{dict(what)} is no order.", "Order 'forget', 'purge' or 'rebuild'.")

    # what is done again and again

    async def _repeat(self, every_s: float, work: Callable[[], Any]) -> None:
        last = ""
        while True:
            await asyncio.sleep(every_s)
            try:
                await work()
                last = ""
            except VoxpopError as error:  # what could not be written is kept, and apply says so
                if str(error) != last:
                    _log.error("%s", error)
                last = str(error)

    async def _purge(self) -> None:
        await self._on(self._writing, self._shelves.purge)

    async def _retain(self) -> None:
        days, most = self._keep
        if any(self._keep) and (gone := await self.retain(days, most, int(time.time() * MICROS))):
            said = "Dropped the oldest %s: storage.keep_days is %g, storage.keep_gb is %g."
            _log.info(said, counted(gone, "post"), days, most / 1e9)

    async def _rewrite_one(self) -> None:
        """Write the index with the most removed posts anew, then rest."""
        extents = await self._read(lambda r: r.extents())
        if stale := [e for e in extents if e.stale]:
            began = time.monotonic()
            await self._remake(max(stale, key=lambda e: e.stale).first)
            await asyncio.sleep(_REST * (time.monotonic() - began))

    async def _mend(self) -> None:
        """Make anew the indexes that failed a search."""
        for first in self.index.damaged():
            await self._remake(first)
            _log.warning("The damaged index of partition %d was made anew.", first)

    async def _take_orders(self) -> None:
        """Begin what was ordered: a text is forgotten at once, while an index is made anew as well."""
        for number, text in await self._read(lambda r: r.catalog.waiting()):
            await self._write(_answer(number, "running", ""))
            self._tasks = [t for t in self._tasks if not t.done()]
            self._tasks.append(asyncio.create_task(self._follow(number, text)))

    async def _follow(self, order: int, text: str) -> None:
        try:
            state, word = "done", await self.perform(orjson.loads(text), partial(self._tell, order))
        except (VoxpopError, ValueError, AttributeError, TypeError) as error:
            state, word = "failed", str(error)
        except Exception as error:  # who ordered it waits for an answer
            _log.exception("An order failed.")
            state, word = "failed", f"It failed by a fault of voxpop: {type(error).__name__}."
        with suppress(VoxpopError):  # the folder cannot be written: who waits gives up in time
            await self._write(_answer(order, state, word))

    def _tell(self, order: int, done: int, of: int) -> None:
        """Say to who waits for an order how far it is, without waiting ourselves."""
        self._writing.submit(self._shelves.write, _answer(order, "running", f"{done}/{of}"))

    async def _remake(self, first: int, progress: Callable[[int], None] = lambda _: None) -> None:
        shelves = self._shelves
        folder = index_of(self.folder, first).with_name(f"index.{secrets.token_hex(4)}")
        async with self._making:
            await self._on(self._indexing, lambda: shelves.watch(first))
            try:
                last = await build_apart(self.folder, first, folder.name, progress)
                await self._on(self._indexing, lambda: shelves.swap(first, folder, last))
            finally:
                # On the thread of the swap, so after it: who leaves must not take away what is being put in place.
                self._indexing.submit(_let_go, shelves, first, folder)

    # on a reading thread

    def _disagreements(self, reader: Reader) -> list[str]:
        wrong = reader.check()
        held = {s for first in self.index.firsts for s in self.index.at(first).seqs()}
        true = {s for e in reader.extents() for s in reader.seqs(e.first)}
        for names, seqs in (("the index lacks", true - held), ("the index still holds", held - true)):
            if seqs:
                wrong.append(f"{names} {len(seqs)} posts, the first of them number {min(seqs)}")
        return wrong

    # threads

    async def _on(self, pool: ThreadPoolExecutor, work: Callable[[], T]) -> T:
        def job() -> T:
            with said(self.folder):
                return work()

        return await asyncio.get_running_loop().run_in_executor(pool, job)

    async def _write(self, work: Callable[[Writer], None]) -> None:
        await self._on(self._writing, lambda: self._shelves.write(work))

    async def _read(self, work: Callable[[Reader], T]) -> T:
        return await self._on(self._reading, lambda: work(self._reader()))

    def _reader(self) -> Reader:
        if not hasattr(self._local, "reader"):
            self._local.reader = self._shelves.reader()
            self._readers.append(self._local.reader)
        reader: Reader = self._local.reader
        return reader


def _let_go(shelves: Shelves, first: int, folder: Path) -> None:
    shelves.unwatch(first)
    with suppress(OSError):
        erase(folder)


def _shifted(progress: Callable[[int, int], None], before: int, of: int, done: int) -> None:
    progress(before + done, of)


def _answer(order: int, state: str, word: str) -> Callable[[Writer], None]:
    return lambda writer: writer.catalog.answer(order, state, word)
