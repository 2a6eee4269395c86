"""The truth, the index and the hot tail of one folder, kept in step; each method runs on the thread that it names.

It refuses a folder that another process writes to, and one of a newer version.
"""

import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from voxpop.errors import VoxpopError
from voxpop.posts import Event
from voxpop.store import Applied, migration
from voxpop.store.building import build
from voxpop.store.index import Entry, Index, begin, entry, erase, exists, index_of, is_damage, tidy
from voxpop.store.partition import Extent, folder_of
from voxpop.store.reading import Reader
from voxpop.store.tail import HotTail, Slice
from voxpop.store.trouble import plainly
from voxpop.store.truth import Writer

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Figures:
    """What the store has done since it was opened; times in seconds."""

    batches: int = 0
    batch_size: int = 0
    apply_s: float = 0.0
    apply_total_s: float = 0.0
    commits: int = 0
    commit_s: float = 0.0
    commit_total_s: float = 0.0
    purges: int = 0
    purge_s: float = 0.0
    rebuilt: int = 0
    dropped_partitions: int = 0


class Shelves:
    """One folder, opened to write or only to read. `rebuilt` says why an index was made anew at the start."""

    def __init__(self, root: Path, *, readonly: bool) -> None:
        self.root = root
        self.readonly = readonly
        self.rebuilt = ""
        self.figures = Figures()
        self.tail = HotTail()
        self._index: Index | None = None
        self._writer: Writer | None = None
        self._lock: sqlite3.Connection | None = None
        self._turn = threading.Lock()  # held to change the tail, `_removed` or what the writer holds
        self._removed: list[int] = []
        self._watched: dict[int, list[int]] = {}  # removals since an index began to be made anew

    @property
    def index(self) -> Index:
        if self._index is None:
            raise RuntimeError("the store is not open")
        return self._index

    @property
    def writer(self) -> Writer:
        if self._writer is None:
            raise VoxpopError(f"The store in {self.root} was opened to read only.", "Open it with readonly=False.")
        return self._writer

    def reader(self) -> Reader:
        """A view for one thread."""
        return Reader(self.root, lambda: self._writer.hidden if self._writer else frozenset())

    # on the writing thread

    def open(self) -> None:
        if self.readonly:
            self._open_to_read()
            return
        self.root.mkdir(parents=True, exist_ok=True)
        self._lock = lock(self.root)
        migration.carry_over(self.root)
        self._writer = Writer(self.root, lambda first: begin(self.root, first))
        self._index = Index(self.root, self._writer.catalog.secret())
        reader = self.reader()
        try:
            self._mend(reader, self._writer)
        finally:
            reader.close()

    def _open_to_read(self) -> None:
        migration.refuse_old(self.root)
        cure = f"Fill it first, such as with: voxpop ingest --source SOURCE --data {self.root}"
        migration.refuse_empty(self.root, cure)
        reader = self.reader()
        try:
            self._index = Index(self.root, reader.catalog.secret())
            extents = reader.extents()
            for extent in extents:
                last = 0
                if exists(self.root, extent.first):
                    part = self._index.open(extent)
                    if part.documents == extent.posts and extent not in extents[-2:]:
                        continue
                    last = part.last_seq()
                for some in reader.after(extent.first, last):
                    self.tail.add([entry(s) for s in some], extent.first)
        finally:
            reader.close()

    def apply(self, source: str, events: Sequence[Event]) -> Applied:
        began = time.perf_counter()
        with self._turn:
            batch = self.writer.apply(source, events)
            self._removed += batch.removed
            for first, seqs in self._watched.items():
                seqs += [s for s in batch.removed if self.writer.home(s) == first]
            self.tail.add([entry(s) for s in batch.added], batch.first)
        figures = self.figures
        figures.batches += 1
        figures.batch_size = len(events)
        figures.apply_s = time.perf_counter() - began
        figures.apply_total_s += figures.apply_s
        return batch.applied

    def purge(self) -> None:
        """No removed text stays in any page or log."""
        if self._writer:
            began = time.perf_counter()
            with self._turn:
                self._writer.purge()
            self.figures.purges += 1
            self.figures.purge_s = time.perf_counter() - began

    def close(self) -> None:
        if self._index:
            self._index.close()
        try:
            if self._writer:
                self._writer.close()
        finally:
            if self._lock:
                self._lock.close()

    def write(self, work: Callable[[Writer], Any]) -> Any:
        """Do something with the writer, in turn."""
        with self._turn:
            return work(self.writer)

    # on the indexing thread, so that `apply` never waits for a commit

    def commit(self) -> None:
        """Bring the index up to the truth."""
        if not (self._writer and self._index):
            return
        began = time.perf_counter()
        with self._turn:
            taken, removed = self.tail.take(), self._removed
            self._removed = []
            extents = {e.first: e for e in self._writer.extents()}
        try:
            self._index.write(extents, _by_partition(taken), removed)
        except BaseException:
            with self._turn:
                self._removed = removed + self._removed
            raise
        with self._turn:
            self.tail.drop(taken)
            self._writer.forget_unindexed(removed)
        figures = self.figures
        figures.commits += 1
        figures.commit_s = time.perf_counter() - began
        figures.commit_total_s += figures.commit_s

    def retain(self, oldest: int, most_bytes: int) -> int:
        """Drop partitions that end before `oldest` (microseconds), then the first while the folder is larger.

        The one that takes new posts stays; it is cut early, so that what must go is at most an eighth too much.
        """
        with self._turn:
            writer = self.writer
            if active := writer.active:
                extent, size = writer.extents()[-1], folder_bytes(folder_of(self.root, active))
                long = oldest > 0 and extent.newest - extent.oldest > (extent.newest - oldest) // 8
                if extent.newest < oldest or long or 0 < most_bytes < 8 * size:
                    writer.cut()
            return self._drop(writer, oldest, most_bytes)

    def drop_before(self, moment: int) -> int:
        """Drop the partitions whose posts were all witnessed before a moment; how many posts they held."""
        with self._turn:
            writer = self.writer
            if writer.active and writer.extents()[-1].newest < moment:
                writer.cut()
            return self._drop(writer, moment, 0)

    def _drop(self, writer: Writer, oldest: int, most_bytes: int) -> int:
        sizes = (
            {e.first: folder_bytes(folder_of(self.root, e.first)) for e in writer.extents()} if most_bytes else {}
        )
        total = sum(sizes.values()) + (self.root / "catalog.db").stat().st_size
        *older, newest = writer.extents() or [Extent(0)]
        dropped = 0
        for extent in (*older, newest):
            too_large = 0 < most_bytes < total and extent is not newest
            if 0 < extent.first != writer.active and (extent.newest < oldest or too_large):
                total -= sizes.get(extent.first, 0)
                dropped += writer.drop(extent.first)
                self.figures.dropped_partitions += 1
        self.index.keep({e.first for e in writer.extents()})
        return dropped

    # making an index anew

    def watch(self, first: int) -> None:
        """From now on remember what is removed of a partition."""
        with self._turn:
            self._watched[first] = []

    def swap(self, first: int, folder: Path, last: int) -> None:
        """Put an index that holds the posts up to `last`, as they were since `watch`, in a partition's place."""
        with self._turn:
            removed = self._watched[first]
            waiting = [e.seq for e in _by_partition(self.tail.take()).get(first, ())]
            until = min(waiting, default=self.writer.last + 1)  # what comes now goes through the tail
        part = self.index.made(folder)
        reader = self.reader()
        try:
            missed = [entry(s) for some in reader.after(first, last) for s in some if s.seq < until]
        finally:
            reader.close()
        part.write(missed, removed)
        part.rest()
        self.index.swap(first, folder)
        with self._turn:
            self.writer.fresh(first)
        self.figures.rebuilt += 1

    def unwatch(self, first: int) -> None:
        with self._turn:
            self._watched.pop(first, None)

    def _mend(self, reader: Reader, writer: Writer) -> None:
        """Bring every index up to the truth; one that cannot be read is made anew."""
        removed = writer.catalog.unindexed()
        for extent in writer.extents():
            tidy(self.root, extent.first)
            why = "" if exists(self.root, extent.first) or not extent.posts else "the index was missing"
            why = why or self._catch_up(reader, writer, extent, removed)
            if why:
                self.rebuilt = why
                _log.warning("Rebuilding the index of %s: %s.", index_of(self.root, extent.first).parent, why)
                erase(index_of(self.root, extent.first))
                build(reader, self.index.open(extent), extent.first, 0, _said(extent))
                writer.recount(extent.first)
        writer.forget_unindexed(removed)

    def _catch_up(self, reader: Reader, writer: Writer, extent: Extent, removed: Sequence[int]) -> str:
        """Why the index of a partition cannot be brought up to the truth; empty when it was."""
        first = extent.first
        newest = first == writer.active
        try:
            part = self.index.open(extent)
            lost = writer.skip_to(part.last_seq()) if newest else ()
            if gone := [*(s for s in removed if writer.home(s) == first), *lost]:
                part.write([], gone)
            if newest or part.documents != extent.posts:
                build(reader, part, first, part.last_seq(), lambda _: None)
        except BaseException as error:
            if not is_damage(error):
                raise
            return f"the index could not be read: {plainly(str(error))}"
        if part.documents != extent.posts:
            writer.recount(first)
        held, true = part.documents, {e.first: e for e in writer.extents()}[first].posts
        return "" if held == true else f"the index held {held} posts and the truth {true}"

    def state(self) -> dict[str, float]:
        """Figures for whoever watches."""
        extents = self.writer.extents() if self._writer else []
        return {
            **asdict(self.figures),
            "partitions": len(extents),
            "tail": len(self.tail),
            "removals_waiting": len(self._removed),
            "disk_bytes": folder_bytes(self.root),
        }


def lock(root: Path) -> sqlite3.Connection:
    """Keep a second writer out until this process ends, however it ends."""
    held = sqlite3.connect(root / "lock", isolation_level=None, timeout=0, check_same_thread=False)
    try:
        held.execute("BEGIN EXCLUSIVE")
    except BaseException:
        held.close()
        raise
    return held


def folder_bytes(folder: Path) -> int:
    """The size of all files in a folder that others may change meanwhile."""
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_size if path.is_file() else 0
        except FileNotFoundError:
            continue
    return total


def _by_partition(slices: Sequence[Slice]) -> dict[int, list[Entry]]:
    found: dict[int, list[Entry]] = {}
    for one in slices:
        found.setdefault(one.first, []).extend(one.entries)
    return found


def _said(extent: Extent) -> Callable[[int], None]:
    return lambda done: _log.info("Rebuilt %d of %d posts of partition %d.", done, extent.posts, extent.first)
