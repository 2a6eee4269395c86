"""X's daily average through a Jetstream on loopback: 6,000 posts a second, 10 searches a second beside it.

`python benchmarks/firehose.py SECONDS [RATE]`; a minute unless told. Nothing may be lost; the newest must be found.
"""

import asyncio
import sys
import tempfile
import time
from contextlib import AsyncExitStack, suppress
from dataclasses import replace
from pathlib import Path

from _firehose import Timed, flood, resident_mb
from _store import corpus, millis, queries, report
from voxpop.app import tune
from voxpop.ingest import Progress, ingest
from voxpop.posts import Upsert
from voxpop.sources.bluesky import BlueskySource
from voxpop.store import Query
from voxpop.text import keywords
from voxpop.times import MICROS

SECONDS = int(sys.argv[1]) if len(sys.argv) > 1 else 60
RATE = int(sys.argv[2]) if len(sys.argv) > 2 else 6000
ASKED_A_SECOND = 10
HOUR = 3600 * MICROS


async def search(store: Timed, asked: list[Query], times: list[float]) -> None:
    """Ask at a steady pace, within the last hour."""
    began = time.perf_counter()
    for n, query in enumerate(asked):
        await asyncio.sleep(max(0.0, began + n / ASKED_A_SECOND - time.perf_counter()))
        start, now = time.perf_counter(), int(time.time() * MICROS)
        await store.search(replace(query, since=now - HOUR), now)
        times.append(time.perf_counter() - start)


async def look(store: Timed, found: list[bool], memory: list[float]) -> None:
    """Every second, look for a post of the batch that was stored last, by a word of its own and its moment."""
    while True:
        await asyncio.sleep(1)
        memory.append(resident_mb())
        posts = [e.post for e in store.last if isinstance(e, Upsert)]
        said = next(((p, w) for p in reversed(posts) if (w := [w for w in keywords(p.text) if len(w) > 3])), None)
        if said:
            query = Query(words=(said[1][0],), since=said[0].witnessed_at, until=said[0].witnessed_at)
            hits = await store.search(query, int(time.time() * MICROS))
            found.append(said[0].id in {h.post.id for h in hits})


async def main() -> None:
    times: list[float] = []
    found: list[bool] = []
    count = RATE * SECONDS
    asked = queries(await corpus(20_000), SECONDS * ASKED_A_SECOND)
    tune()
    with tempfile.TemporaryDirectory() as folder:
        async with Timed(Path(folder)) as store, AsyncExitStack() as stack:
            server = stack.enter_context(flood("--rate", RATE, "--count", count))
            source, progress = (
                BlueskySource([server.url], directories=None, lookback_s=60),
                Progress("b", "x", False),
            )
            memory = [resident_mb()]
            begun, cpu = time.perf_counter(), time.process_time()
            ingesting = asyncio.create_task(ingest(source, store, progress))
            looking = asyncio.create_task(look(store, found, memory))
            await search(store, asked, times)
            deadline = time.perf_counter() + 60
            while progress.posts < count and time.perf_counter() < deadline and not ingesting.done():
                await asyncio.sleep(0.05)
            wall, cpu = time.perf_counter() - begun, time.process_time() - cpu
            served, sent = server.cpu_share(), server.sent()["events"]
            for task in (looking, ingesting):
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task
            stored = (await store.totals())["posts"]
        disk = sum(f.stat().st_size for f in Path(folder).rglob("*") if f.is_file())
    p50, p99 = millis(times, 0.5, 0.99)
    lag50, lag99, lag_most = millis(store.lags, 0.5, 0.99, 1.0)
    apply50, apply99 = millis(store.applies, 0.5, 0.99)
    report(
        figure="firehose",
        seconds=SECONDS,
        sent=sent,
        stored=stored,
        lost=sent - stored,
        posts_per_s=round(len(store.lags) / wall),
        cpu_share=round(cpu / wall, 3),
        cpu_us_per_post=round(1e6 * cpu / count, 1),
        server_cpu_share=served,
        memory_mb={"start": memory[0], "end": memory[-1], "most": max(memory)},
        bytes_a_post=round(disk / max(stored, 1)),
        arrival_to_searchable_ms={"p50": lag50, "p99": lag99, "most": lag_most},
        apply_ms={"p50": apply50, "p99": apply99},
        batches=progress.batches,
        search_ms={"p50": p50, "p99": p99},
        just_stored_found=sum(found) / max(len(found), 1),
        dropped=dict(source.dropped),
    )


asyncio.run(main())
