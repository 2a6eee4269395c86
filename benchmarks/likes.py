"""Twenty thousand events a second, nine in ten of them likes, through a socket: parsed, added up, stored.

`python benchmarks/likes.py [SECONDS] [RATE]`; the sums that were given must be those that were sent.
"""

import asyncio
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from _firehose import Timed, flood, resident_mb
from _store import millis, report
from voxpop.app import tune
from voxpop.ingest import Progress, ingest
from voxpop.posts import Engaged, Event
from voxpop.sources.bluesky import BlueskySource
from voxpop.store import Applied

SECONDS = int(sys.argv[1]) if len(sys.argv) > 1 else 20
RATE = int(sys.argv[2]) if len(sys.argv) > 2 else 20_000


class Adding(Timed):
    """Adds up what it is told to add."""

    added = sums = 0

    async def apply(self, source: str, events: Sequence[Event]) -> Applied:
        applied = await super().apply(source, events)
        more = [sum(e.more) for e in events if isinstance(e, Engaged)]
        self.added, self.sums = self.added + sum(more), self.sums + len(more)
        return applied


async def main() -> None:
    count = RATE * SECONDS
    tune()
    with (
        tempfile.TemporaryDirectory() as folder,
        flood("--rate", RATE, "--count", count, "--like", 0.88, "--repost", 0.02) as server,
    ):
        async with Adding(Path(folder)) as store:
            progress = Progress("b", "x", False)
            source = BlueskySource([server.url], directories=None, lookback_s=60, engagement=True)
            begun, cpu = time.perf_counter(), time.process_time()
            ingesting = asyncio.create_task(ingest(source, store, progress))
            kinds: dict[str, int] = {}
            while time.perf_counter() < begun + SECONDS + 30:
                await asyncio.sleep(0.5)
                kinds = (await asyncio.to_thread(server.sent))["kinds"]
                told = store.added + progress.shed["engaged"]
                if sum(kinds.values()) == count and progress.posts == kinds["post"] and told >= kinds["like"]:
                    break
            wall, cpu = time.perf_counter() - begun, time.process_time() - cpu
            served = await asyncio.to_thread(server.cpu_share)
            await asyncio.sleep(7)  # for the sums of the lull
            ingesting.cancel()
            with suppress(asyncio.CancelledError):
                await ingesting
            stored = (await store.totals())["posts"]
    report(
        figure="likes",
        seconds=SECONDS,
        sent=kinds,
        events_per_s=round(count / wall),
        posts_lost=kinds["post"] - stored,
        reactions_lost=kinds["like"] + kinds["repost"] - store.added,
        sums_given=store.sums,
        sums_shed=progress.shed["engaged"],
        cpu_share=round(cpu / wall, 3),
        cpu_us_per_event=round(1e6 * cpu / count, 2),
        server_cpu_share=served,
        memory_mb=resident_mb(),
        arrival_to_searchable_ms=dict(zip(("p50", "p99"), millis(store.lags, 0.5, 0.99), strict=True)),
        dropped=dict(source.dropped),
    )


asyncio.run(main())
