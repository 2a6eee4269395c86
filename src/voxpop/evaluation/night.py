"""Hear the invented night over the real wire on loopback, and give it up to a moment; it judges nothing."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass

from voxpop.posts import AccountGone, Delete, Event, Renamed, Upsert
from voxpop.simulator import world
from voxpop.simulator.jetstream import Jetstream
from voxpop.sources.auto import Ways, open_source
from voxpop.times import MICROS

QUIET_S = 1.0
_PATIENCE = 10  # seconds without a word before missing handles are given up


@dataclass(frozen=True)
class Night:
    """The night as it came over the wire, and the moment at which its first second was played."""

    events: tuple[Event, ...]
    began: int
    keys: dict[str, str]  # of a post's address, its key in the plot

    def moment(self, at: float) -> int:
        """Microseconds of UTC of a second of the night."""
        return self.began + int(at * MICROS)

    def between(self, after: int, moment: int) -> Iterable[Event]:
        """What came after one moment, up to another; who is called what is known from the start."""
        return (e for e in upto(self.events, moment) if _at(e) > after)

    def key(self, post_id: str) -> str:
        """The plot's name for a post; `crowd` for one of the crowd's."""
        return self.keys.get(post_id, "crowd")


async def listen() -> Night:
    """The whole night from a Jetstream on loopback."""
    server = Jetstream()

    async def simulate(seed: int, speed: float) -> str:
        return await server.start(elapsed=world.END + 60.0, speed=speed)

    heard: list[Event] = []
    try:
        source = await open_source("simulated", Ways(lookback_s=world.END + 120.0, simulator=simulate))
        listening = asyncio.create_task(_listen(source.events(None), heard))
        before, quiet = -1, 0
        # Handles come after the posts, from other servers: without them an answer names nobody.
        while not heard or before != len(heard) or (_unnamed(heard) and quiet < _PATIENCE):
            quiet = quiet + 1 if before == len(heard) else 0
            before = len(heard)
            await asyncio.wait([listening], timeout=QUIET_S)
        listening.cancel()
        with suppress(asyncio.CancelledError):
            await listening
    finally:
        await server.stop()
    keys = {server.uri(event): key for key, event in world.keys().items()}
    return Night(tuple(heard), server.time_of(0), keys)


def _unnamed(heard: Sequence[Event]) -> bool:
    """Whether most who posted are still without a handle."""
    who = {e.post.author.id for e in heard if isinstance(e, Upsert)}
    named = {e.author.id for e in heard if isinstance(e, Renamed) and e.author.handle}
    named |= {e.post.author.id for e in heard if isinstance(e, Upsert) and e.post.author.handle}
    return len(who - named) > 0.02 * len(who)


async def _listen(events: AsyncIterator[Event], heard: list[Event]) -> None:
    async with aclosing(events):  # type: ignore[type-var]
        async for event in events:
            heard.append(event)


def upto(events: Sequence[Event], moment: int) -> Iterable[Event]:
    """Events up to a moment; who is called what is known from the start."""
    for event in events:
        match event:
            case Renamed():
                yield event
            case Upsert(post) if post.witnessed_at <= moment:
                yield event
            case Delete(at=at) | AccountGone(at=at) if at <= moment:
                yield event


def _at(event: Event) -> int:
    return event.post.witnessed_at if isinstance(event, Upsert) else getattr(event, "at", 0)
