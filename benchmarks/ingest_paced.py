"""The cost of keeping up with a live stream: 2,000 posts a second for fifteen seconds."""

import asyncio
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from _store import Paced, corpus, fresh, millis, report
from voxpop.ingest import Progress, ingest
from voxpop.posts import Event, Upsert
from voxpop.store import Applied
from voxpop.store.local import LocalStore
from voxpop.times import MICROS

RATE = 2000.0
SECONDS = int(sys.argv[1]) if len(sys.argv) > 1 else 15


class Timed(LocalStore):
    applies: list[float]
    lags: list[float]

    async def apply(self, source: str, events: Sequence[Event]) -> Applied:
        start = time.perf_counter()
        applied = await super().apply(source, events)
        self.applies.append(time.perf_counter() - start)
        now = time.time()
        self.lags += [now - e.post.witnessed_at / MICROS for e in events if isinstance(e, Upsert)]
        return applied


async def main() -> None:
    events = fresh(await corpus(int(RATE * SECONDS)), RATE, time.time() + 2)
    with tempfile.TemporaryDirectory() as temporary:
        async with Timed(Path(temporary)) as store:
            store.applies, store.lags = [], []
            await asyncio.sleep(events[0].post.witnessed_at / MICROS - time.time())
            wall, cpu = time.perf_counter(), time.process_time()
            await ingest(Paced(events), store, Progress("paced", "x", False))
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    apply50, apply99 = millis(store.applies, 0.5, 0.99)
    lag50, lag99 = millis(store.lags, 0.5, 0.99)
    report(
        figure="ingest_paced",
        cpu_share=round(cpu / wall, 3),
        posts_per_s=round(len(store.lags) / wall),
        witnessed_to_searchable_ms={"p50": lag50, "p99": lag99},
        apply_ms={"p50": apply50, "p99": apply99},
    )


asyncio.run(main())
