"""Read news feeds, a thousand side by side, for ever; a feed that fails is counted, and holds up no other.

An entry that leaves its feed is not deleted: feeds show their newest entries only. The cursor holds, for each feed,
the one mark by which its server can tell after a restart whether it has changed; what is read twice is stored once.
"""

import asyncio
import random
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import NamedTuple
from urllib.parse import urlsplit

import httpx
import orjson

from voxpop.errors import VoxpopError
from voxpop.posts import Author, Event, Media, Post, Upsert
from voxpop.sources.feeds_fetch import Answer, Marks, client, fetch
from voxpop.sources.feeds_pace import FeedSettings, Pace, allowed
from voxpop.sources.feeds_places import Place
from voxpop.sources.feeds_process import FeedProcess
from voxpop.sources.feeds_wire import Entry, Feed
from voxpop.times import MICROS

NETWORK = "rss"
MAX_KEPT_MARKS = 2000
_MAX_KEPT_ETAG = 64
_WAITING = 8


@dataclass(slots=True)
class _Line:
    """One feed while it is read. `known` holds a digest of each entry of the last look, by a digest of its id."""

    place: Place
    pace: Pace
    url: str
    marks: Marks = Marks()
    known: dict[int, int] = field(default_factory=dict)
    dropped: Counter[str] = field(default_factory=Counter)
    title: str = ""
    looked: bool = False
    trouble: str = ""
    over: bool = False


class _Look(NamedTuple):
    """What one look brought: posts, and the marks that may be kept once they are stored."""

    key: str
    posts: list[Post]
    marks: Marks


class RssSource:
    """The entries of feeds as posts of kind `news`, each with its feed as the author.

    `places` come from `voxpop.sources.feeds_places.places`.
    """

    simulated = False

    def __init__(
        self,
        places: Iterable[Place],
        settings: FeedSettings = FeedSettings(),  # noqa: B008  a NamedTuple cannot change
        *,
        name: str = "rss",
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.name, self.network = name, NETWORK
        self.dropped: Counter[str] = Counter()
        self._settings, self._clock = settings, clock
        self._lines = [_Line(place, Pace(settings), place.url) for place in places]
        self._lanes = asyncio.Semaphore(settings.at_once), asyncio.Semaphore(settings.suspects)
        self._hosts: defaultdict[str, asyncio.Semaphore] = defaultdict(lambda: asyncio.Semaphore(settings.a_host))
        self._kept: dict[str, Marks] = {}
        self._started = False

    @property
    def state(self) -> str:
        """How many feeds are fine, and what the others suffer from."""
        if not self._started:
            return "not started"
        told = Counter(line.trouble for line in self._lines if line.trouble)
        waiting = sum(not line.looked and not line.trouble for line in self._lines)
        fine = len(self._lines) - told.total() - waiting
        how = "failing" if told.total() == len(self._lines) else "reading"
        parts = [f"{how}: {fine:,} of {len(self._lines):,} feeds fine"]
        parts += [f"{waiting:,} not yet read"] if waiting else []
        for trouble, count in told.most_common(4):
            one = next(line.place.name for line in self._lines if line.trouble == trouble)
            parts.append(f"{trouble}: {count:,}, such as {one}" if count > 1 else f"{trouble}: {one}")
        return "; ".join(parts)

    async def events(self, after: str | None) -> AsyncIterator[Event]:
        """New and changed entries, without end; closing the iterator stops every fetch."""
        self._take_up(after)
        self._started = True
        looks: asyncio.Queue[_Look | Exception] = asyncio.Queue(_WAITING)
        reader = FeedProcess(self._settings.read_s)
        async with client(self._settings) as over:
            following = [asyncio.create_task(self._follow(line, over, reader, looks)) for line in self._lines]
            try:
                while True:
                    look = await looks.get()
                    if isinstance(look, Exception):
                        raise look
                    for event in self._events(look):
                        yield event
            finally:
                for task in following:
                    task.cancel()
                await asyncio.gather(*following, return_exceptions=True)
                await reader.close()
                self._started = False

    # -- one feed, for ever ---------------------------------------------------------------------------------

    async def _follow(
        self, line: _Line, over: httpx.AsyncClient, reader: FeedProcess, looks: "asyncio.Queue[_Look | Exception]"
    ) -> None:
        """Look at one feed again and again. A fault of our own must reach whoever reads the events."""
        spread_s = min(len(self._lines) * self._settings.start_every_s, self._settings.shortest_s)
        wait_s = random.uniform(0, spread_s) if len(self._lines) > 1 else 0.0
        try:
            while not line.over:
                await asyncio.sleep(wait_s)
                host = self._hosts[urlsplit(line.url).netloc]
                async with host, self._lanes[bool(line.trouble)]:
                    wait_s = await self._look(line, over, reader, looks)
                wait_s *= random.uniform(1.0, 1.1)
        except Exception as error:
            await looks.put(error)

    async def _look(
        self, line: _Line, over: httpx.AsyncClient, reader: FeedProcess, looks: "asyncio.Queue[_Look | Exception]"
    ) -> float:
        """One look; seconds until the next."""
        answer = await fetch(over, line.url, line.marks, self._settings, self._clock())
        if answer.trouble:
            return self._failed(line, answer)
        line.url = answer.moved or line.url
        if not answer.changed:
            line.looked, line.trouble = True, ""
            return line.pace.looked(False, answer.pause_s)
        feed = await reader.read(answer.body, answer.url, answer.content_type)
        if isinstance(feed, str):
            return self._failed(line, Answer(feed))
        posts = self._news(line, feed)
        await looks.put(_Look(line.place.key, posts, answer.marks))
        line.looked, line.trouble, line.marks, line.over = True, "", answer.marks, feed.expired
        now = self._clock()
        wait_s = line.pace.looked(bool(posts), max(answer.pause_s, feed.pause_s))
        return allowed(now + wait_s, feed.skip_hours, feed.skip_days) - now

    def _failed(self, line: _Line, answer: Answer) -> float:
        line.trouble, line.over = answer.trouble, answer.gone
        self.dropped[f"feed: {answer.trouble}"] += 1
        return line.pace.failed(answer.pause_s)

    # -- entries into posts ---------------------------------------------------------------------------------

    def _news(self, line: _Line, feed: Feed) -> list[Post]:
        """The entries that are new or changed since the last look, oldest first."""
        dropped = Counter(feed.dropped)
        self.dropped += dropped - line.dropped  # the same bad entry is there at every look, and counts once
        line.dropped = dropped
        line.title = feed.title or line.title
        author = Author(f"{NETWORK}:{line.place.name}", line.place.host, line.title)
        now = int(self._clock() * MICROS)
        oldest = now - int(self._settings.oldest_s * MICROS) if self._settings.oldest_s else -1
        said = set(line.known.values())
        known: dict[int, int] = {}
        fresh: list[Post] = []
        for entry in feed.entries:
            id_, content = _digest(entry.id), _digest(entry.text, entry.url, entry.media, entry.links)
            known[id_] = content
            if line.known.get(id_) == content or (id_ not in line.known and content in said):
                continue  # some feeds give the same entry a new id at each look
            if 0 <= entry.changed < oldest:
                self.dropped["entry: too old"] += 1
            else:
                fresh.append(_post(entry, author, now))
        line.known = known
        return fresh[::-1]

    def _events(self, look: _Look) -> Iterable[Event]:
        """The last post of a look carries the cursor: until it is stored, the feed counts as not seen."""
        self._kept.pop(look.key, None)
        self._kept[look.key] = look.marks
        for post in look.posts[:-1]:
            yield Upsert(post)
        if look.posts:
            yield Upsert(look.posts[-1], _written(self._kept))

    def _take_up(self, after: str | None) -> None:
        """What an earlier reading saw but nobody stored counts as not seen."""
        held = _cursor(after, self.name)
        self._kept = {}
        for line in self._lines:
            line.known, line.marks = {}, held.get(line.place.key, Marks())
            if line.marks != Marks():
                self._kept[line.place.key] = line.marks


def _post(entry: Entry, author: Author, now: int) -> Post:
    return Post(
        f"{author.id}#{_digest(entry.id):016x}",
        NETWORK,
        author,
        entry.text,
        entry.claimed if entry.claimed >= 0 else now,
        now,
        entry.url,
        entry.lang,
        media=tuple(Media(*one) for one in entry.media),
        links=entry.links,
        kind="news",
    )


def _digest(*values: object) -> int:
    return int.from_bytes(blake2b(repr(values).encode("utf-8", "replace"), digest_size=8).digest(), "big")


# -- the cursor: {"key of a feed": a short ETag, else Last-Modified in Unix seconds} ----------------------------


def _written(kept: dict[str, Marks]) -> str:
    """One mark a feed, some 50 bytes each: the ETag, since two versions of one second have one Last-Modified."""
    marks = ((key, m.etag if 0 < len(m.etag) <= _MAX_KEPT_ETAG else m.modified) for key, m in kept.items())
    return orjson.dumps(dict([(key, mark) for key, mark in marks if mark][-MAX_KEPT_MARKS:])).decode()


def _cursor(after: str | None, name: str) -> dict[str, Marks]:
    if not after:
        return {}
    try:
        held = orjson.loads(after)
        return {key: Marks(modified=v) if type(v) is int else Marks(etag=_text(v)) for key, v in held.items()}
    except (orjson.JSONDecodeError, AttributeError, TypeError) as error:
        raise VoxpopError(
            f"The cursor {after[:60]!r} of source {name!r} holds no marks of feeds.",
            "Remove that source's cursor from the store; every feed is then read whole once.",
            lasting=True,
        ) from error


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(value)
    return value
