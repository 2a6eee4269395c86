"""Compare a folder's files with each other, post by post, beside a running server too; it mends nothing.

What a server is about to bring in line looks like a fault for a moment: a difference counts only if it stays.
"""

import sqlite3
import time
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from voxpop import history
from voxpop.keeping import accounts
from voxpop.keeping.backup import catalog_of
from voxpop.keeping.progress import Tell
from voxpop.store.codes import Codes
from voxpop.store.index import PartitionIndex, exists, index_of, is_damage, unsound
from voxpop.store.orders import held
from voxpop.store.partition import Extent, Partition, folder_of
from voxpop.store.reading import Reader
from voxpop.store.trouble import plainly, said

_TRIES, _PAUSE_S = 8, 1.0
_REBUILD = "Run: voxpop rebuild"
_GO_ON = "Restore a backup, or go on without its posts: the next 'voxpop up' or 'voxpop ingest' does."


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong, and the way out."""

    what: str
    cure: str


@dataclass(slots=True)
class Verdict:
    """What was compared, and what is wrong with it."""

    posts: int = 0
    partitions: int = 0
    coded: int = 0
    faults: list[Fault] = field(default_factory=list)


def verify(folder: Path, tell: Tell, *, elsewhere: bool = False) -> Verdict:
    """Check every page, count, index entry and uploaded file. Raises VoxpopError for a catalog that cannot be read.

    `elsewhere`: the records are in a database that is not the folder's, and not looked at.
    """
    verdict = Verdict()
    path = catalog_of(folder)
    with said(folder), closing(Reader(folder)) as reader:
        if (word := reader.catalog.db.check()) != "ok":
            verdict.faults.append(Fault(f"SQLite says of {path}: {word}.", "Restore a backup."))
        codes = Codes(reader.catalog.secret())
        extents = reader.extents()
        total, done = sum(e.posts for e in extents), 0
        for extent in extents:
            tell("verifying", done, total)
            verdict.faults += _Check(folder, reader, codes, extent.first, tell).faults()
            done += extent.posts
        answers = folder / history.NAME
        cure = f"Remove it with 'voxpop answers remove', or give up all and move {answers} away."
        verdict.faults += [Fault(what, cure) for what in history.verify(answers)]
        verdict.faults += [Fault(*said) for said in accounts.verify(folder, elsewhere=elsewhere)]
        verdict.posts = reader.catalog.totals()["posts"]
        verdict.partitions = len(extents)
        verdict.coded = sum(e.stale for e in reader.extents())
    return verdict


@dataclass(slots=True)
class _Difference:
    """What one look at a partition found."""

    counted: str = ""
    lacks: set[int] = field(default_factory=set)
    holds: set[int] = field(default_factory=set)
    unread: str = ""

    def __bool__(self) -> bool:
        return bool(self.counted or self.lacks or self.holds or self.unread)

    def still(self, later: "_Difference") -> "_Difference":
        """What a later look found as well."""
        return _Difference(
            later.counted if self.counted else "",
            self.lacks & later.lacks,
            self.holds & later.holds,
            later.unread if self.unread else "",
        )


@dataclass(frozen=True, slots=True)
class _Check:
    """One partition."""

    folder: Path
    reader: Reader
    codes: Codes
    first: int
    tell: Tell

    def faults(self) -> list[Fault]:
        path = folder_of(self.folder, self.first) / "posts.db"
        away = (
            f"Stop voxpop and move {path.parent} away: the next 'voxpop up' or 'voxpop ingest' goes on without it."
            " Or restore a backup."
        )
        if not path.is_file():
            # The catalog may have forgotten it meanwhile: a running server drops old partitions.
            return [Fault(f"{path} is gone.", _GO_ON)] if self._extent() else []
        try:
            with closing(Partition(self.folder, self.first, readonly=True)) as partition:
                if (word := partition.db.check()) != "ok":
                    return [Fault(f"SQLite says of {path}: {word}.", away)]
                difference = self._settled(partition)
        except sqlite3.DatabaseError as error:
            return [Fault(f"SQLite says of {path}: {error}.", away)] if self._extent() else []
        return self._named(difference)

    def _named(self, found: _Difference) -> list[Fault]:
        index = index_of(self.folder, self.first)
        faults = [Fault(found.counted, "Stop voxpop and start it again: it counts anew.")] if found.counted else []
        if found.unread:
            faults.append(Fault(f"The index {index} cannot be read: {found.unread}.", _REBUILD))
        for word, seqs in (("lacks", found.lacks), ("still holds", found.holds)):
            if seqs:
                what = f"The index {index} {word} {len(seqs)} posts, the first of them number {min(seqs)}."
                faults.append(Fault(what, _REBUILD))
        return faults

    def _settled(self, partition: Partition) -> _Difference:
        """The difference that stays, where a server that writes beside us has had time to end it."""
        found = self._look(partition)
        for _ in range(_TRIES if found and held(self.folder) else 0):
            if not found or not self._extent():
                break
            time.sleep(_PAUSE_S)
            self.tell("looking again", 0, 1)
            found = found.still(self._look(partition))
        return found if self._extent() else _Difference()

    def _extent(self) -> Extent | None:
        return next((e for e in self.reader.extents() if e.first == self.first), None)

    def _look(self, partition: Partition) -> _Difference:
        found = _Difference()
        extent = self._extent() or Extent(self.first)
        stored = partition.extent().posts
        if stored != extent.posts:
            found.counted = f"{partition.db.path} holds {stored} posts and the catalog says {extent.posts}."
        try:
            if not exists(self.folder, self.first):
                found.unread = "it is missing"
                return found
            index = index_of(self.folder, self.first)
            if word := unsound(index):
                found.unread = word
                return found
            indexed = PartitionIndex(index, self.codes).seqs()
        except BaseException as error:
            if not is_damage(error):
                raise
            found.unread = plainly(str(error))
            return found
        true = self.reader.seqs(self.first)
        found.lacks, found.holds = true - indexed, indexed - true
        return found
