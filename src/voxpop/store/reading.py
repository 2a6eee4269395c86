"""One thread's view of the truth over all partitions; a partition that was dropped meanwhile is skipped."""

import sqlite3
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from voxpop.floods import Copy, independent
from voxpop.posts import Post
from voxpop.store import Query
from voxpop.store.catalog import Catalog
from voxpop.store.partition import FOREVER, Extent, Partition
from voxpop.store.rows import Copies, Stored, key, stored
from voxpop.times import MICROS

_SLICE = 5000
_AGES = 2000  # whose age is looked up: a flood of more is told by its minutes
_RECENT = 7 * 24 * 3600 * MICROS
_NOTHING: frozenset[int] = frozenset()


class Reader:
    """Every call sees the newest committed state, less what `hidden` names."""

    def __init__(self, root: Path, hidden: Callable[[], frozenset[int]] = lambda: _NOTHING) -> None:
        self._root = root
        self._hidden = hidden
        self.catalog = Catalog(root / "catalog.db", readonly=True)
        self._open: dict[int, Partition] = {}
        self._newest = 0

    def close(self) -> None:
        self.catalog.close()
        for partition in self._open.values():
            partition.close()

    # partitions

    def _partitions(self, extents: Iterable[Extent]) -> Iterator[Partition]:
        for extent in extents:
            if extent.first not in self._open:
                with suppress(FileNotFoundError, NotADirectoryError):
                    self._open[extent.first] = _reading(self._root, extent.first, busy=extent.first == self._newest)
            if extent.first in self._open:
                yield self._open[extent.first]

    def extents(self) -> list[Extent]:
        """The partitions of this moment, oldest first; connections to those that are gone are closed."""
        extents = self.catalog.extents()
        for first in self._open.keys() - {e.first for e in extents}:
            self._open.pop(first).close()
        newest = extents[-1].first if extents else 0
        if newest != self._newest and self._newest in self._open:
            self._open[self._newest].rest()
        self._newest = newest
        return extents

    def _posts(self, rows: Sequence[Any]) -> list[Stored]:
        if not rows:
            return []
        hidden = self._hidden()
        authors = self.catalog.authors(r[4] for r in rows)
        return [stored(r, authors) for r in rows if r[0] not in hidden]

    # posts

    def by_ids(self, ids: Sequence[str]) -> list[Post]:
        """The posts of these ids, in their order."""
        keys = {key(i) for i in ids}
        rows = [r for p in self._partitions(self.extents()) for r in p.by_keys(keys)]
        found = {s.post.id: s.post for s in sorted(self._posts(rows), key=lambda s: s.seq)}
        return [found[i] for i in ids if i in found]

    def after(self, first: int, seq: int) -> Iterator[list[Stored]]:
        """The posts of one partition after `seq`, in order, a slice at a time."""
        for partition in self._partitions([Extent(first)]):
            while rows := partition.after(seq, _SLICE):
                seq = rows[-1][0]
                yield self._posts(rows)

    def newer(self, seq: int, most: int) -> list[Post] | None:
        """The posts after `seq` in all partitions, in order; None where they are more than `most`."""
        found: list[Post] = []
        extents = self.extents()
        for extent in extents[max(0, bisect_right([e.first for e in extents], seq) - 1) :]:
            for part in self.after(extent.first, seq):
                found += [s.post for s in part]
                if len(found) > most:
                    return None
        return found

    # with the `extents` of one look at the catalog, since each look may wait for the interpreter's lock

    def by_seqs(self, seqs: Iterable[int], extents: Sequence[Extent]) -> list[Stored]:
        """The posts of these numbers."""
        return self._posts(self._each(seqs, extents, Partition.by_seqs))

    def texts(self, seqs: Iterable[int], extents: Sequence[Extent]) -> list[tuple[int, int, int, int]]:
        """(fingerprint, first number, last number, newest witnessed) of each text among these numbers.

        A text that lies in two partitions comes twice.
        """
        return self._each(seqs, extents, Partition.texts)

    def _each(
        self,
        seqs: Iterable[int],
        extents: Sequence[Extent],
        ask: Callable[[Partition, Iterable[int]], list[Any]],
    ) -> list[Any]:
        """What each partition says of its own among these numbers."""
        firsts = [e.first for e in extents]
        homes: defaultdict[int, list[int]] = defaultdict(list)
        for seq in seqs:
            homes[bisect_right(firsts, seq) - 1].append(seq)
        homes.pop(-1, None)
        return [
            r for place, some in homes.items() for p in self._partitions([extents[place]]) for r in ask(p, some)
        ]

    def of_networks(self, seqs: Iterable[int], networks: Sequence[str], extents: Sequence[Extent]) -> list[int]:
        """Those of these numbers whose posts are of one of the networks."""
        return self._each(seqs, extents, lambda partition, some: partition.of_networks(some, networks))

    def latest(
        self,
        query: Query,
        authors: Sequence[int],
        others: Sequence[int],
        limit: int,
        extents: Sequence[Extent],
    ) -> list[Stored]:
        """The newest posts within the bounds of a query; its words are not looked at."""
        since, until = query.since or 0, query.until if query.until is not None else FOREVER
        fitting = [e for e in extents if e.newest >= since and e.oldest <= until]
        rows: list[Any] = []
        for extent in sorted(fitting, key=lambda e: -e.newest):
            if len(rows) == limit and extent.newest < rows[-1][7]:
                break
            for partition in self._partitions([extent]):
                rows += partition.latest(query, authors, others, limit)
            rows = sorted(rows, key=lambda r: (-r[7], -r[0]))[:limit]
        return self._posts(rows)

    def copies(self, extents: Sequence[Extent], marks: Iterable[int], until: int) -> dict[int, Copies]:
        """For each text fingerprint what is known of the posts that carry it by `until`."""
        asked = list(marks)
        posts: defaultdict[int, int] = defaultdict(int)
        first: defaultdict[int, dict[int, int]] = defaultdict(dict)
        for partition in self._partitions(e for e in extents if e.oldest <= until):
            for mark, author, count, at in partition.copies(asked, until):
                posts[mark] += count
                first[mark][author] = min(at, first[mark].get(author, at))
        several = {author for authors in first.values() if len(authors) > 1 for author in authors}
        since = self.catalog.began(sorted(several)[:_AGES]) if several else {}
        return {
            mark: Copies(
                posts[mark],
                len(authors),
                independent(Copy(author, at, since.get(author, 0)) for author, at in authors.items()),
            )
            for mark, authors in first.items()
        }

    # for keeping

    def seqs(self, first: int) -> set[int]:
        """The numbers of a partition's posts."""
        return {s for p in self._partitions([Extent(first)]) for s, *_ in p.listed()}

    def before(self, moment: int) -> list[str]:
        """The ids of all posts witnessed before a moment (microseconds)."""
        ids: list[str] = []
        for partition in self._partitions(e for e in self.extents() if e.oldest < moment):
            seqs = [seq for seq, _, _, at in partition.listed() if at < moment]
            for start in range(0, len(seqs), _SLICE):
                ids += [s.post.id for s in self._posts(partition.by_seqs(seqs[start : start + _SLICE]))]
        return ids

    def who(self, name: str) -> list[str]:
        """The ids of the authors of a handle, or the id itself, known or not."""
        found = self.catalog.authors(self.catalog.called([name])).values()
        return [a.id for a in found] or ([name] if ":" in name else [])

    # what should be looked up again

    def to_check(self, network: str, before: int, limit: int) -> list[str]:
        """Ids of a network's cited posts, then of its last 7 days, not witnessed or looked up since `before`."""
        asked = self.catalog.cited(before)
        ids = [s.post.id for s in self._fitting(asked, network, before)][:limit]
        newest = self.catalog.totals()["newest"] or 0
        seen = set(asked)
        for extent in reversed(self.extents()):
            for partition in self._partitions([extent] if extent.newest >= newest - _RECENT else []):
                seq = 0
                while len(ids) < limit and (
                    pairs := partition.between(newest - _RECENT, before - 1, network, seq, _SLICE)
                ):
                    seq = pairs[-1][0]
                    done = self.catalog.checked(k for _, k in pairs)
                    keys = [k for _, k in pairs if done.get(k, 0) < before and k not in seen]
                    ids += [s.post.id for s in self._fitting(keys[: limit - len(ids)], network, before)]
        return ids[:limit]

    def _fitting(self, keys: Sequence[int], network: str, before: int) -> list[Stored]:
        """The posts of these keys, in their order, of one network and witnessed before."""
        order = {k: n for n, k in enumerate(keys)}
        rows = [r for p in self._partitions(self.extents()) for r in p.by_keys(keys)] if keys else []
        fitting = [r for r in rows if r[3] == network and r[7] < before]
        return self._posts(sorted(fitting, key=lambda r: order[r[1]]))

    # the operator's

    def authors(self, handles: Iterable[str]) -> list[int]:
        return self.catalog.called(handles)

    def check(self) -> list[str]:
        """What SQLite says is wrong with a file, and where a file and the catalog count differently."""
        wrong = (
            [f"SQLite says of {self.catalog.db.path}: {word}"] if (word := self.catalog.db.check()) != "ok" else []
        )
        for extent in self.extents():
            opened = False
            for partition in self._partitions([extent]):
                opened = True
                if (word := partition.db.check()) != "ok":
                    wrong.append(f"SQLite says of {partition.db.path}: {word}")
                elif (held := partition.extent().posts) != extent.posts:
                    wrong.append(f"{partition.db.path} holds {held} posts and the catalog says {extent.posts}")
            if not opened:
                wrong.append(f"The partition {extent.first} is gone")
        return wrong


def _reading(root: Path, first: int, *, busy: bool) -> Partition:
    try:
        return Partition(root, first, busy=busy, readonly=True)
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_CANTOPEN:
            raise FileNotFoundError(str(error)) from error
        raise
