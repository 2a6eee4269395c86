"""Forget posts by hand, through whichever process holds the folder; it says what it would remove, never a text."""

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from voxpop.errors import UsageError, VoxpopError
from voxpop.keeping.backup import catalog_of
from voxpop.store.database import among
from voxpop.store.orders import order
from voxpop.store.partition import Partition
from voxpop.store.reading import Reader
from voxpop.store.rows import key
from voxpop.store.trouble import said

SHOWN = 5


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to forget: posts by id, authors by handle or id, all witnessed before a moment (microseconds)."""

    posts: tuple[str, ...] = ()
    authors: tuple[str, ...] = ()
    before: int | None = None

    def orders(self) -> list[dict[str, Any]]:
        """What the store is asked to do, one after the other."""
        asked: list[dict[str, Any]] = [{"do": "forget", "post": p} for p in self.posts]
        asked += [{"do": "forget", "author": a} for a in self.authors]
        return asked if self.before is None else [*asked, {"do": "forget", "before": self.before}]


@dataclass(frozen=True, slots=True)
class Matching:
    """How many stored posts are meant, and the ids of the first few."""

    posts: int
    ids: tuple[str, ...]


def find(folder: Path, wanted: Wanted) -> Matching:
    """What `forget` would remove.

    Raises UsageError where nothing is named, VoxpopError for a folder without posts or a handle of nobody: only
    an account's id can be refused before its first post.
    """
    if not wanted.orders():
        raise UsageError("Nothing is named to forget.", "Give --post, --author or --before.")
    catalog_of(folder)
    with said(folder), closing(Reader(folder)) as reader:
        ids = []
        for author in wanted.authors:
            if not (who := reader.who(author)):
                raise VoxpopError(
                    f"No account is known by the handle '{author}'.", "Give its id, such as did:plc:abc."
                )
            ids += who
        numbers = reader.catalog.numbers(ids).values()
        count, seqs = 0, list[int]()
        for extent in reader.extents():
            with closing(Partition(folder, extent.first, readonly=True)) as partition:
                more, some = _in(partition, [key(p) for p in wanted.posts], list(numbers), wanted.before or 0)
            count, seqs = count + more, seqs + some
        return Matching(count, tuple(s.post.id for s in reader.by_seqs(seqs[:SHOWN])))


def _in(partition: Partition, keys: list[int], numbers: list[int], before: int) -> tuple[int, list[int]]:
    """How many rows of a partition match, and the numbers of the first."""
    each = "IN (SELECT value FROM json_each(?))"
    where = f"FROM posts WHERE key {each} OR author {each} OR witnessed < ?"
    values = (*among(keys), *among(numbers), before)
    count = partition.db.rows(f"SELECT count(*) {where}", values)[0][0]
    return count, [r[0] for r in partition.db.rows(f"SELECT seq {where} ORDER BY seq LIMIT {SHOWN}", values)]


async def forget(folder: Path, wanted: Wanted, say: Callable[[str], None]) -> None:
    """Have it done, here or by the process that writes to the folder; `say` is told what came of each order.

    When this returns no search finds the texts, and no page and no log of a database holds them.
    """
    for asked in wanted.orders():
        say(await order(folder, asked))
