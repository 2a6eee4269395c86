"""Look again at posts that were kept, and take out of the store what is no longer public; it guesses nothing.

For networks that send no deletes. Its events go through the store as those of the source do: what is gone is a
`Delete`, a changed text an `Upsert`, new counts a `Counted`.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol

from voxpop.errors import VoxpopError
from voxpop.posts import Counted, Delete, Event, Post, Upsert
from voxpop.sources.lookup import BATCH, Later, Looked, Lookup
from voxpop.times import MICROS

_log = logging.getLogger(__name__)
_NOTHING_S = 60.0
_BETWEEN_S = 5.0
_SHORTEST_S = 1.0


class Kept(Protocol):
    """What a store does for the re-check."""

    async def to_check(self, network: str, before: int, limit: int) -> list[str]:
        """Ids of posts to look at: those that answers cite and recent ones, not looked at since `before`."""
        ...

    async def checked(self, ids: Sequence[str], now: int) -> None:
        """They were looked at."""
        ...

    async def posts(self, ids: Sequence[str]) -> list[Post]:
        """The stored posts of these ids."""
        ...

    async def apply(self, source: str, events: Sequence[Event]) -> object:
        """Store events."""
        ...


class Recheck:
    """One source's posts, each looked at every `every_s` seconds; `state` says in words what it is doing.

    `counts` has what was `looked` at, `gone`, `changed` and `unknown`. A process that dies between the look and the
    store looks again: what is gone is still gone then.
    """

    def __init__(self, lookup: Lookup, store: Kept, *, every_s: float, clock: Callable[[], int]) -> None:
        self.name = lookup.name
        self.state = "not started"
        self.counts: Counter[str] = Counter()
        self._lookup, self._store = lookup, store
        self._every, self._clock = int(every_s * MICROS), clock

    async def run(self) -> None:
        """Look, batch after batch, until cancelled; what fails is tried again later, and stops nothing else."""
        while True:
            wait = _NOTHING_S
            try:
                wait = await self.once()
            except VoxpopError as error:
                self.state = f"waiting: {error}"
            except Exception:
                self.state = "waiting: a fault of ours"
                _log.exception("The re-check broke: a fault of ours", extra={"source": self.name})
            await asyncio.sleep(max(wait, _SHORTEST_S))

    async def once(self) -> float:
        """One batch; in how many seconds the next is due."""
        before = self._clock() - self._every
        ids = await self._store.to_check(self._lookup.network, before, BATCH)
        if not ids:
            self.state = f"waiting: all is looked at; {self._told()}"
            return _NOTHING_S
        try:
            looked = await self._lookup.look(ids)
        except Later as later:
            self.state = f"waiting: {later}; {self._told()}"
            return later.wait_s
        now = self._clock()
        if events := changes(looked, await self._store.posts(ids), now):
            await self._store.apply(self.name, events)
        await self._store.checked(ids, now)
        self._count(ids, looked, events)
        self.state = f"looking: {self._told()}"
        return _BETWEEN_S

    def _count(self, ids: Sequence[str], looked: Looked, events: Sequence[Event]) -> None:
        known = {*looked.gone, *(post.id for post in looked.posts)}
        self.counts["looked"] += len(ids)
        self.counts["unknown"] += sum(id_ not in known for id_ in ids)
        self.counts["gone"] += sum(isinstance(e, Delete) for e in events)
        self.counts["changed"] += sum(isinstance(e, Upsert) for e in events)

    def _told(self) -> str:
        return f"{self.counts['looked']:,} posts looked at, {self.counts['gone']:,} of them gone"


def changes(looked: Looked, kept: Sequence[Post], now: int) -> list[Event]:
    """What a look changes of what is kept, at `now` (microseconds).

    A text that changed is witnessed now: what was cited before said something else.
    """
    stored = {post.id: post for post in kept}
    events: list[Event] = [Delete(id_, now) for id_ in looked.gone]
    for post in looked.posts:
        old = stored.get(post.id)
        if old is None:
            continue
        if post.text != old.text:
            new = replace(old, text=post.text, links=post.links, engagement=post.engagement, witnessed_at=now)
            events.append(Upsert(new))
        elif post.engagement != old.engagement:
            events.append(Counted(post.id, post.engagement))
    return events
