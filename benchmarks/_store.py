"""What the store's benchmarks share: a corpus of posts, a paced source, queries, quantiles."""

import asyncio
import gc
import json
import os
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import replace
from itertools import product
from pathlib import Path

from voxpop.posts import Author, Event, Post, Upsert
from voxpop.sources.replay import ReplaySource
from voxpop.store import Query
from voxpop.store.local import LocalStore
from voxpop.text import keywords
from voxpop.times import MICROS

DATA = Path(os.environ.get("VOXPOP_TEST_DATA") or Path(__file__).parents[2] / "shared" / "data")
RECORDING = DATA / "posts" / "all.jsonl.zst"
SYLLABLES = ["".join(pair) for pair in product("bdfghklmnprstvz", "aeiou")]


def corpus_name() -> str:
    return "recorded posts" if RECORDING.exists() else "generated posts"


async def corpus(limit: int = 225_000) -> list[Upsert]:
    """Recorded posts where they are at hand, else as many made-up ones with words as rare as real ones."""
    if RECORDING.exists():
        events = []
        async with aclosing(ReplaySource(RECORDING).events(None)) as recorded:
            async for event in recorded:
                if isinstance(event, Upsert):
                    events.append(event)
                if len(events) >= limit:
                    break
    else:
        events = generated(limit)
    return set_aside(events)


def set_aside(events: list[Upsert]) -> list[Upsert]:
    """The corpus is no part of what is measured: keep the garbage collector from walking it amid a search."""
    gc.collect()
    gc.freeze()
    return events


def generated(count: int) -> list[Upsert]:
    luck = random.Random(1)
    vocabulary = ["".join(luck.choices(SYLLABLES, k=luck.randint(1, 4))) for _ in range(40_000)]
    weights = [1 / (rank + 3) for rank in range(len(vocabulary))]
    words = iter(luck.choices(vocabulary, weights, k=count * 17))
    return [
        Upsert(
            Post(
                f"x:{n}", "x", Author(f"x:u{n % 9000}", f"u{n % 9000}"),
                " ".join(next(words) for _ in range(17)), n * 10_000, n * 10_000,
            ),
            str(n),
        )
        for n in range(count)
    ]  # fmt: skip


def fresh(events: Sequence[Upsert], rate: float, start: float) -> list[Upsert]:
    """The same posts under new ids, witnessed at `rate` a second from `start` (seconds since 1970)."""
    return set_aside(
        [
            replace(
                e,
                cursor=str(n),
                post=replace(e.post, id=f"fresh:{n}", witnessed_at=int((start + n / rate) * MICROS)),
            )
            for n, e in enumerate(events)
        ]
    )


class Paced:
    """A source that gives each event at its witnessed time."""

    name, network, simulated, state = "paced", "x", False, "pacing"

    def __init__(self, events: Sequence[Upsert]) -> None:
        self.dropped: Counter[str] = Counter()
        self._events = events

    async def events(self, after: str | None) -> AsyncIterator[Event]:
        for event in self._events:
            early = event.post.witnessed_at / MICROS - time.time()
            if early > 0.001:
                await asyncio.sleep(early)
            yield event


async def fill(store: LocalStore, events: Sequence[Upsert]) -> None:
    for start in range(0, len(events), 2000):
        await store.apply("fill", events[start : start + 2000])
    await store.commit()


def queries(events: Sequence[Upsert], count: int) -> list[Query]:
    """Searches of one to four words that stand together in some post."""
    luck = random.Random(2)
    made: list[Query] = []
    while len(made) < count:
        words = [w for w in keywords(luck.choice(events).post.text) if len(w) > 2]
        if words:
            made.append(Query(words=tuple(luck.sample(words, min(len(words), luck.randint(1, 4))))))
    return made


def millis(seconds: Sequence[float], *quantiles: float) -> list[float]:
    ordered = sorted(seconds)
    return [round(1000 * ordered[min(len(ordered) - 1, int(q * len(ordered)))], 2) for q in quantiles]


def report(**figures: object) -> None:
    print(json.dumps({**figures, "corpus": corpus_name()}))
