"""Forget posts by hand, through whichever process holds the folder; it says what it would remove, never a text."""

import re
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
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
_ON_X = re.compile(r"https?://(?:www\.|mobile\.)?(?:x|twitter)\.com/\w+/status/(\d+)(?:[/?#].*)?")
_ON_BLUESKY = re.compile(r"https?://bsky\.app/profile/([^/?#]+)/post/([^/?#]+)[/?#]?.*")
_ID = re.compile(r"[\w.+-]+:\S+")


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
    """How many stored posts are meant, in all and by each option, and the ids of the first few."""

    posts: int
    ids: tuple[str, ...]
    named: int = 0
    by_author: int = 0
    before: int = 0


def resolved(folder: Path, wanted: Wanted) -> Wanted:
    """The same with an id for each address of a post, as its network's page or `voxpop search` shows it.

    An address that no stored post has stays as it is: some networks' ids are addresses. Raises VoxpopError for
    what is neither.
    """
    if not wanted.posts:
        return wanted
    catalog_of(folder)
    with said(folder), closing(Reader(folder)) as reader:
        return replace(wanted, posts=tuple(dict.fromkeys(i for p in wanted.posts for i in _ids(reader, p))))


def _ids(reader: Reader, name: str) -> list[str]:
    if match := _ON_X.fullmatch(name):
        return [f"x:{match[1]}"]
    if match := _ON_BLUESKY.fullmatch(name):
        if who := reader.who(match[1]):
            return [f"at://{did}/app.bsky.feed.post/{match[2]}" for did in who]
    elif not name.startswith(("http://", "https://")):
        if _ID.fullmatch(name):
            return [name]
        raise VoxpopError(f"'{name}' is no post's id or address.", "Give one as 'voxpop search' prints it.")
    return [name] if reader.by_ids([name]) else _at(reader, name) or [name]


def _at(reader: Reader, url: str) -> list[str]:
    """The ids of the posts with this address: it is stored in parts, so that each post is looked at."""
    found: list[str] = []
    for extent in reader.extents():
        for some in reader.after(extent.first, 0):
            found += [s.post.id for s in some if s.post.url == url]
    return found


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
        counts: tuple[int, ...] = (0, 0, 0, 0)
        seqs: list[int] = []
        extents = reader.extents()
        for extent in extents:
            with closing(Partition(folder, extent.first, readonly=True)) as partition:
                more, few = _in(partition, [key(p) for p in wanted.posts], list(numbers), wanted.before or 0)
            counts = tuple(map(sum, zip(counts, more, strict=True)))
            seqs += few
        some, (posts, named, by_author, older) = reader.by_seqs(seqs[:SHOWN], extents), counts
        return Matching(posts, tuple(s.post.id for s in some), named, by_author, older)


def _in(
    partition: Partition, keys: list[int], numbers: list[int], before: int
) -> tuple[tuple[int, ...], list[int]]:
    """How many rows of a partition match, in all and by key, author and time; the numbers of the first."""
    each = "IN (SELECT value FROM json_each(?))"
    ways = {f"key {each}": among(keys)[0], f"author {each}": among(numbers)[0], "witnessed < ?": before}
    values = tuple(ways.values())
    any_of = " OR ".join(ways)
    asked = {any_of: values, **{way: (value,) for way, value in ways.items()}}
    counts = tuple(partition.db.rows(f"SELECT count(*) FROM posts WHERE {w}", v)[0][0] for w, v in asked.items())
    first = f"SELECT seq FROM posts WHERE {any_of} ORDER BY seq LIMIT {SHOWN}"
    return counts, [r[0] for r in partition.db.rows(first, values)]


async def forget(folder: Path, wanted: Wanted, say: Callable[[str], None]) -> None:
    """Have it done, here or by the process that writes to the folder; `say` is told what came of each order.

    When this returns no search finds the texts, and no page and no log of a database holds them.
    """
    for asked in wanted.orders():
        say(await order(folder, asked))
