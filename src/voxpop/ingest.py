"""Carry events from a source to the store in batches; it decides nothing about a post and drops none.

Where the store is slower than the source, the source is held back: it catches up by its cursor. Sums of likes
(`Engaged`) do not wait: from when a post had to, until a batch leaves that is not full, they are shed and counted.
"""

import asyncio
import time
from collections import Counter, deque
from contextlib import aclosing, suppress
from dataclasses import dataclass, field

from voxpop.posts import Engaged, Event, Missed, Upsert
from voxpop.sources import Source
from voxpop.store import Applied, Store
from voxpop.times import MICROS
from voxpop.times import span as length
from voxpop.tracing import span

BATCH = 2000
MAX_AGE_S = 0.25
_MINUTE = 60
_PACE_S = 10.0
_BEHIND_S = 10.0


@dataclass(slots=True)
class Progress:
    """What one source has brought since the start, and how full its line is.

    `recent` holds (second of our running, posts) of the last minute; `pace` (seconds of our running, newest) at
    the batches of the last ten seconds. `waiting` is how many events waited for the store when the last batch, of
    `batch` events, had been stored. `shed` counts by kind what was given up because the store was too slow.
    """

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
    engaged: int = 0
    missed: int = 0
    batches: int = 0
    batch: int = 0
    waiting: int = 0
    shed: Counter[str] = field(default_factory=Counter)
    newest: int | None = None
    cursor: str | None = None
    recent: deque[tuple[int, int]] = field(default_factory=deque)
    pace: deque[tuple[float, int]] = field(default_factory=deque)

    def count(self, events: list[Event], applied: Applied, at_s: float | None = None) -> None:
        """Add a batch that was applied at `at_s` seconds of our running (not given: now)."""
        kinds = Counter(map(type, events))
        posts = [e.post for e in events if isinstance(e, Upsert)]
        self.events += len(events)
        self.posts += len(posts)
        self.engaged += kinds[Engaged]
        self.missed += kinds[Missed]
        self.batches, self.batch = self.batches + 1, len(events)
        for name in ("added", "edited", "deleted", "unchanged", "refused"):
            setattr(self, name, getattr(self, name) + getattr(applied, name))
        self.cursor = next((e.cursor for e in reversed(events) if e.cursor), self.cursor)
        if posts:
            self.newest = max(self.newest or 0, *(p.witnessed_at for p in posts))
            at = time.monotonic() if at_s is None else at_s
            earlier = self.recent.pop()[1] if self.recent and self.recent[-1][0] == int(at) else 0
            self.recent.append((int(at), earlier + len(posts)))
            self.pace.append((at, self.newest))
        while len(self.pace) > 2 and self.pace[0][0] < self.pace[-1][0] - _PACE_S:
            self.pace.popleft()
        while self.recent and self.recent[0][0] <= self.recent[-1][0] - _MINUTE:
            self.recent.popleft()

    def posts_per_minute(self, at_s: float | None = None) -> int:
        """Posts that came in the minute before `at_s` seconds of our running (not given: now), a backlog's too."""
        since = (time.monotonic() if at_s is None else at_s) - _MINUTE
        return sum(n for at, n in self.recent if at > since)

    def lag_s(self, now: int) -> float | None:
        """Seconds between now (microseconds) and the newest post's witnessing; None before the first post."""
        return None if self.newest is None else max(0.0, (now - self.newest) / MICROS)

    def behind(self, now: int) -> str:
        """Such as `behind 12 min, catching up at 8x`; empty if it is not. `now` is in microseconds."""
        lag, speed = self.lag_s(now) or 0.0, self.speed()
        if lag < _BEHIND_S or not speed:
            return ""
        ago = length(lag)
        return f"behind {ago}, catching up at {speed:.0f}x" if speed > 1.1 else f"behind {ago}, and not catching up"

    def speed(self) -> float:
        """Seconds of the world a second, over the last batches; 0 before there are any."""
        if len(self.pace) < 2:
            return 0.0
        (began, first), (ended, last) = self.pace[0], self.pace[-1]
        return (last - first) / MICROS / (ended - began) if ended > began else 0.0


@dataclass(slots=True)
class _Line:
    """Events on their way from the source to the store; `pressed` while the store is the slower one."""

    waiting: list[Event] = field(default_factory=list)
    full: asyncio.Event = field(default_factory=asyncio.Event)
    room: asyncio.Event = field(default_factory=asyncio.Event)
    storing: bool = False
    pressed: bool = False
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
    reading = asyncio.create_task(_read(source, progress, line))
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


async def _read(source: Source, progress: Progress, line: _Line) -> None:
    """Waits for room after a post, never after an `Engaged`: those of one cursor must be stored together."""
    async with aclosing(source.events(progress.cursor)) as events:  # type: ignore[type-var]
        async for event in events:
            adds = isinstance(event, Engaged)
            if adds and (line.pressed or len(line.waiting) >= 2 * BATCH):
                progress.shed["engaged"] += 1
                continue
            line.waiting.append(event)
            if len(line.waiting) >= BATCH:
                line.full.set()
            while len(line.waiting) >= BATCH and not adds:
                line.pressed |= line.storing
                line.room.clear()
                await line.room.wait()


async def _store(name: str, store: Store, line: _Line, progress: Progress) -> None:
    """Never cancelled: it ends when the line has ended and is empty, or when the store fails."""
    while line.waiting or not line.ended:
        with suppress(TimeoutError):
            await asyncio.wait_for(line.full.wait(), MAX_AGE_S)
        events, line.waiting = line.waiting, []
        line.pressed = line.pressed and len(events) >= BATCH
        if not line.ended:
            line.full.clear()
        line.room.set()
        if events:
            line.storing = True
            with span("batch", source=name, events=len(events)) as batch, span("apply", batch):
                applied = await store.apply(name, events)
            line.storing = False
            progress.waiting = len(line.waiting)
            progress.count(events, applied)
