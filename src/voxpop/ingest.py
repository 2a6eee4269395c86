"""Carry events from a source to the store in batches; it decides nothing about a post and drops none."""

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import aclosing, suppress
from dataclasses import dataclass, field

from voxpop.posts import Event, Upsert
from voxpop.sources import Source
from voxpop.store import Applied, Store
from voxpop.times import MICROS

BATCH = 2000
MAX_AGE_S = 0.25
_MINUTE = 60


@dataclass(slots=True)
class Progress:
    """What one source has brought since the start; `recent` holds (second, posts) of the last minute."""

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

    def count(self, events: list[Event], applied: Applied, second: int) -> None:
        """Add an applied batch, at `second` of any steady clock."""
        posts = [e.post for e in events if isinstance(e, Upsert)]
        self.events += len(events)
        self.posts += len(posts)
        for name in ("added", "edited", "deleted", "unchanged", "refused"):
            setattr(self, name, getattr(self, name) + getattr(applied, name))
        self.cursor = next((e.cursor for e in reversed(events) if e.cursor), self.cursor)
        if posts:
            self.newest = max(self.newest or 0, *(p.witnessed_at for p in posts))
        self.recent.append((second, len(posts)))
        while self.recent[0][0] < second - _MINUTE:
            self.recent.popleft()

    def posts_per_minute(self, second: int, running_s: float) -> float:
        """Posts in the last minute, scaled up while the source has run for less."""
        posts = sum(n for at, n in self.recent if at >= second - _MINUTE)
        return posts * _MINUTE / min(_MINUTE, max(running_s, 1.0))

    def lag_s(self, now: int) -> float | None:
        """Seconds between now (microseconds) and the newest post's witnessing; None before the first post."""
        return None if self.newest is None else max(0.0, (now - self.newest) / MICROS)


async def ingest(source: Source, store: Store, progress: Progress, clock: Callable[[], float]) -> None:
    """Store the source's events until it ends; a batch leaves when it is full or 250 ms old.

    `clock` is a monotonic clock in seconds. On cancellation the batch in hand is stored first.
    """
    progress.cursor = await store.cursor(source.name)
    batch: list[Event] = []
    turn = asyncio.Lock()

    async def flush() -> None:
        nonlocal batch
        async with turn:
            if batch:
                events, batch = batch, []
                applied = await store.apply(source.name, events)
                progress.count(events, applied, int(clock()))

    async def flush_by_age() -> None:
        while True:
            await asyncio.sleep(MAX_AGE_S)
            await flush()

    ageing = asyncio.create_task(flush_by_age())
    try:
        async with aclosing(source.events(progress.cursor)) as events:  # type: ignore[type-var]
            async for event in events:
                batch.append(event)
                if len(batch) >= BATCH:
                    await flush()
                if ageing.done():
                    break
    finally:
        ageing.cancel()
        with suppress(asyncio.CancelledError):
            await ageing
        await flush()
