"""The one writer: rows into the newest partition, then the catalog's commit, then what the batch owes to old rows.

SQLite is atomic within one file, so the order makes a batch one: rows above the catalog's counter are rolled back
when the store opens, and what the last batch owes to older rows is done if its partition does not say that it was.
So a crash loses nothing of a batch and doubles nothing.
"""

import logging
import re
import shutil
import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from voxpop.posts import Event, Upsert
from voxpop.store import Applied
from voxpop.store.catalog import Catalog, Notes
from voxpop.store.changes import Change
from voxpop.store.database import Database, log_size
from voxpop.store.partition import FOREVER, Extent, Partition, Work, folder_of
from voxpop.store.rows import Stored

_log = logging.getLogger(__name__)
_LOG_FULL = 64_000_000
_NAMES_KEPT = 200_000
_DROPPED = ".dropped"


@dataclass(slots=True)
class Batch:
    """What a committed batch changed: posts to index in the partition `first`, numbers to take out of the index."""

    applied: Applied
    first: int
    added: list[Stored]
    removed: list[int]


class Writer:
    """The only writer of a store's files; the caller holds its lock.

    `began` is called with the number of a new partition before posts come into it. `hidden` are the numbers of
    removed rows that are still in a file.
    """

    def __init__(self, root: Path, began: Callable[[int], None] = lambda _: None) -> None:
        self._root = root
        self._began = began
        self.catalog = Catalog(root / "catalog.db")
        self._open: dict[int, Partition] = {}
        self._extents: dict[int, Extent] = {}
        self._named: dict[str, int] = {}  # a hash of what was last said of each author
        self._batch = 0
        self._owed: dict[int, Work] = {}
        self.hidden: frozenset[int] = frozenset()
        self._torn: Partition | None = None
        self._active = 0
        try:
            self._recover()
        except BaseException:
            self.close()
            raise

    # opening

    def _recover(self) -> None:
        """Bring all files to the catalog's last commit."""
        self._seq = self.catalog.counter("seq")
        self._next_author = self.catalog.next_author()
        known = {e.first: e for e in self.catalog.extents()}
        there = _folders(self._root)
        for first in known.keys() - there:
            _log.warning("The partition %s is gone: its posts are forgotten.", folder_of(self._root, first))
            self._forget(known.pop(first), known.values())
        for first in sorted(there - known.keys()):
            if first > self._seq:  # made for a batch that was never committed
                shutil.rmtree(folder_of(self._root, first))
            else:
                known[first] = self._adopt(first)
        self._extents = dict(sorted(known.items()))
        if self._extents:
            self._active = max(self._extents)
            self.partition(self._active).cut_after(self._seq)
        for first in self._extents:
            if log_size(folder_of(self._root, first) / "posts.db"):
                self.partition(first)  # so that the next purge empties it
        self._batch, works = self.catalog.owed()
        self._owed = {first: work for first, work in works.items() if first in self._extents}
        self._pay()
        self._batch = max((p.settled() for p in self.partitions()), default=self._batch)

    def _adopt(self, first: int) -> Extent:
        """Take a partition that was moved away and came back, less what was deleted since."""
        partition = self.partition(first)
        rows = partition.listed()
        dead = self.catalog.dead(k for _, k, _, _ in rows)
        gone = self.catalog.gone({a for _, _, a, _ in rows})
        removed = [s for s, k, a, at in rows if k in dead or at <= gone.get(a, -1)]
        partition.settle(partition.settled(), Work(removed, [], [], []))
        extent = partition.extent(len(removed))
        self.catalog.keep(extent)
        return extent

    # a batch

    def apply(self, source: str, events: Sequence[Event]) -> Batch:
        """Store a batch and its last cursor; on an error nothing of it is stored."""
        self.settle()
        self._cut_if_full(events)
        change = Change(self.catalog, self.partitions(), events, self._next_author)
        applied, added = change.run(), change.added
        for seq, stored in enumerate(added, self._seq + 1):
            stored.seq = seq
        notes = self._notes(change, events, added)
        try:
            if added:
                self._torn = self.partition(self._active)
                self._torn.insert(added)
            self.catalog.db.begin()
            self.catalog.write(source, notes)
            self.catalog.db.commit()
        except BaseException:
            self._named.clear()
            with suppress(sqlite3.Error):
                self._roll_back()
            raise
        self._torn = None
        self._seq, self._next_author = notes.seq, self._next_author + len(notes.authors)
        self._extents.update((e.first, e) for e in notes.extents)
        self._batch = notes.batch
        self._owe(notes.works)
        return Batch(applied, self._active, added, list(change.removed))

    def _cut_if_full(self, events: Sequence[Event]) -> None:
        times = [e.post.witnessed_at for e in events if isinstance(e, Upsert)]
        if times and (not self._active or self._extents[self._active].full(max(times))):
            self.cut()
            first = self._seq + 1
            folder_of(self._root, first).mkdir(parents=True, exist_ok=True)
            self._began(first)
            self._extents[first] = Extent(first)
            self._active = first

    def cut(self) -> None:
        """The next batch begins a new partition."""
        if self._active:
            self.partition(self._active).rest()
        self._active = 0

    def _notes(self, change: Change, events: Sequence[Event], added: Sequence[Stored]) -> Notes:
        extents: dict[int, Extent] = {}
        if added:
            extents[self._active] = self._extents[self._active].with_posts(added)
        for first in change.removed.values():
            extents[first] = extents.get(first, self._extents[first]).without(1)
        if len(self._named) > _NAMES_KEPT:
            self._named.clear()
        for id_ in change.forgotten:
            self._named.pop(id_, None)
        names = [a for a in change.names.values() if self._named.get(a.id) != hash(a)]
        self._named.update((a.id, hash(a)) for a in names)
        return Notes(
            cursor=next((e.cursor for e in reversed(events) if e.cursor), ""),
            seq=self._seq + len(added),
            extents=list(extents.values()),
            authors=change.new_authors,
            names=[(change.number(a.id), a) for a in names],
            forgotten=[change.number(id_) for id_ in change.forgotten],
            tombstones=change.tombstones,
            gone=[(change.number(id_), at) for id_, at in change.gone.items()],
            removed=list(change.removed),
            missed=change.missed,
            spent=change.spent,
            batch=self._batch + 1,
            works=change.works(self._active),
        )

    def _roll_back(self) -> None:
        self.catalog.db.rollback()
        if self._torn:
            self._torn.db.rollback()
            self._torn.cut_after(self._seq)
            self._torn = None

    def _owe(self, works: Mapping[int, Work]) -> None:
        self._owed = dict(works)
        self.hidden = frozenset(seq for work in works.values() for seq in work.removed)
        try:
            self._pay()
        except sqlite3.Error as error:  # the batch is committed: what is owed is hidden, and done before the next
            _log.error("A partition could not be written: %s", error)

    def _pay(self) -> None:
        for first, work in list(self._owed.items()):
            partition = self.partition(first)
            try:
                if partition.settled() < self._batch:
                    partition.settle(self._batch, work)
            except BaseException:
                partition.db.rollback()
                raise
            del self._owed[first]
        self.hidden = frozenset()

    def settle(self) -> None:
        """Finish what a failure left undone; raises while the cause lasts."""
        self._roll_back()
        self._pay()
        for db in self._databases():
            if db.log_bytes() > _LOG_FULL:
                db.purge()

    # partitions

    def partitions(self) -> list[Partition]:
        """All partitions, oldest first, opened."""
        return [self.partition(first) for first in self._extents]

    def partition(self, first: int) -> Partition:
        if first not in self._open:
            self._open[first] = Partition(self._root, first, busy=first == self._active)
        return self._open[first]

    def extents(self) -> list[Extent]:
        return list(self._extents.values())

    @property
    def active(self) -> int:
        """The partition that takes new posts; 0 where the next batch begins one."""
        return self._active

    @property
    def last(self) -> int:
        """The highest number that was ever used."""
        return self._seq

    def home(self, seq: int) -> int:
        """The partition of a number; 0 where there is none."""
        return max((first for first in self._extents if first <= seq), default=0)

    def drop(self, first: int) -> int:
        """Forget a whole partition, its file and its index, at once; how many posts it held."""
        if first == self._active:
            self._active = 0
        extent = self._extents.pop(first)
        self._owed.pop(first, None)
        if opened := self._open.pop(first, None):
            opened.close()
        folder = folder_of(self._root, first)
        gone = folder.with_name(folder.name + _DROPPED)
        folder.rename(gone)  # from here on it is dropped, also after a crash
        self._forget(extent, self._extents.values())
        shutil.rmtree(gone, ignore_errors=True)
        return extent.posts

    def _forget(self, extent: Extent, left: Iterable[Extent]) -> None:
        last = min((e.first for e in left if e.first > extent.first), default=FOREVER) - 1
        self.catalog.drop(extent.first, last, min((e.oldest for e in left), default=0))

    def recount(self, first: int) -> None:
        """Believe a partition's file rather than the catalog."""
        self._keep(self.partition(first).extent(self._extents[first].stale))

    def fresh(self, first: int) -> None:
        """The index of a partition was written anew and holds nothing of what was removed."""
        self._keep(self._extents[first]._replace(stale=0))

    def _keep(self, extent: Extent) -> None:
        self.catalog.keep(extent)
        self._extents[extent.first] = extent

    # the index's journal

    def skip_to(self, seq: int) -> range:
        """Never use numbers up to `seq` again; returns those that the index holds and the truth has lost.

        After a power cut SQLite may have lost its last transactions while the index kept its commit.
        """
        lost = range(self._seq + 1, seq + 1)
        self._seq = max(self._seq, seq)
        return lost

    def forget_unindexed(self, seqs: Iterable[int]) -> None:
        """The index no longer holds these: they need not be taken out again after a crash."""
        self.catalog.forget_unindexed(seq for seq in seqs if seq not in self.hidden)

    # keeping the files clean

    def purge(self) -> None:
        """No removed text stays in any page or log of any file."""
        self.settle()
        for db in self._databases():
            db.purge()

    def close(self) -> None:
        """Purge and close."""
        try:
            self.purge()
        finally:
            for db in self._databases():
                db.close()

    def _databases(self) -> list[Database]:
        self.catalog.db.moved = True  # names are indexed, and move with every new one
        return [self.catalog.db, *(p.db for p in self._open.values())]


def _folders(root: Path) -> set[int]:
    """The partitions that are there; what was dropped half is removed."""
    found: set[int] = set()
    for path in (root / "partitions").glob("*"):
        if path.name.endswith(_DROPPED):
            shutil.rmtree(path, ignore_errors=True)
        elif re.fullmatch(r"\d{12,}", path.name):
            found.add(int(path.name))
    return found
