"""Carry events from a source to the store in batches; it decides nothing about a post and drops none."""

import asyncio
from collections import Counter, deque
from contextlib import aclosing, suppress
from dataclasses import dataclass, field

from voxpop.posts import Event, Upsert
from voxpop.sources import Source
from voxpop.store import Applied, Store
from voxpop.times import MICROS
from voxpop.tracing import span

BATCH = 2000
MAX_AGE_S = 0.25
_MINUTE = 60


@dataclass(slots=True)
class Progress:
    """What one source has brought since the start; `recent` holds (witnessed second, posts) of the last minute."""

    name: str
    network: str
    simulated: bool
    events: int = 0
    posts: int = 0
    added: int = 0
    edited: int = 0
    deleted: int = 0
    unchanged: int = 0
    refused: int = 0
    newest: int | None = None
    cursor: str | None = None
    recent: deque[tuple[int, int]] = field(default_factory=deque)

    def count(self, events: list[Event], applied: Applied) -> None:
        """Add an applied batch."""
        posts = [e.post for e in events if isinstance(e, Upsert)]
        self.events += len(events)
        self.posts += len(posts)
        for name in ("added", "edited", "deleted", "unchanged", "refused"):
            setattr(self, name, getattr(self, name) + getattr(applied, name))
        self.cursor = next((e.cursor for e in reversed(events) if e.cursor), self.cursor)
        if posts:
            self.newest = max(self.newest or 0, *(p.witnessed_at for p in posts))
            fresh = Counter(
                p.witnessed_at // MICROS for p in posts if p.witnessed_at > self.newest - _MINUTE * MICROS
            )
            self.recent.extend(sorted(fresh.items()))
        while self.recent and self.recent[0][0] < (self.newest or 0) // MICROS - _MINUTE:
            self.recent.popleft()

    def posts_per_minute(self, now: int) -> int:
        """Posts that were witnessed in the minute before `now` (microseconds): a backlog is not a rate."""
        return sum(n for at, n in self.recent if at >= now // MICROS - _MINUTE)

    def lag_s(self, now: int) -> float | None:
        """Seconds between now (microseconds) and the newest post's witnessing; None before the first post."""
        return None if self.newest is None else max(0.0, (now - self.newest) / MICROS)


@dataclass(slots=True)
class _Line:
    """Events on their way from the source to the store."""

    waiting: list[Event] = field(default_factory=list)
    full: asyncio.Event = field(default_factory=asyncio.Event)
    room: asyncio.Event = field(default_factory=asyncio.Event)
    ended: bool = False

    def end(self, _: object) -> None:
        self.ended = True
        self.full.set()


async def ingest(source: Source, store: Store, progress: Progress) -> None:
    """Store the source's events until it ends; a batch leaves when it is full or 250 ms old.

    On cancellation, and when the source fails, what it gave is stored
    first. At most one batch waits while another is being stored: a slow store slows the source down.
    """
    progress.cursor = await store.cursor(source.name)
    line = _Line()
    reading = asyncio.create_task(_read(source, progress.cursor, line))
    reading.add_done_callback(line.end)
    storing = asyncio.create_task(_store(source.name, store, line, progress))
    try:
        await asyncio.shield(storing)
    finally:
        reading.cancel()
        await asyncio.wait((reading, storing))
        storing.result()
        if not reading.cancelled():
            reading.result()


async def _read(source: Source, after: str | None, line: _Line) -> None:
    async with aclosing(source.events(after)) as events:  # type: ignore[type-var]
        async for event in events:
            line.waiting.append(event)
            while len(line.waiting) >= BATCH:
                line.full.set()
                line.room.clear()
                await line.room.wait()


async def _store(name: str, store: Store, line: _Line, progress: Progress) -> None:
    """Never cancelled: it ends when the line has ended and is empty, or when the store fails."""
    while line.waiting or not line.ended:
        with suppress(TimeoutError):
            await asyncio.wait_for(line.full.wait(), MAX_AGE_S)
        events, line.waiting = line.waiting, []
        if not line.ended:
            line.full.clear()
        line.room.set()
        if events:
            with span("batch", source=name, events=len(events)) as batch, span("apply", batch):
                applied = await store.apply(name, events)
            progress.count(events, applied)
