"""Search times over 225,000 posts while 2,000 more come in every second, in the same process."""

import asyncio
import tempfile
import time
from pathlib import Path

from _store import Paced, corpus, fill, fresh, millis, queries, report
from voxpop.ingest import Progress, ingest
from voxpop.store.local import LocalStore
from voxpop.times import MICROS

RATE, SECONDS, ASKED_A_SECOND = 2000.0, 16, 25


async def main() -> None:
    events = await corpus()
    asked = queries(events, SECONDS * ASKED_A_SECOND)
    times, found = [], 0
    with tempfile.TemporaryDirectory() as temporary:
        async with LocalStore(Path(temporary)) as store:
            await fill(store, events)
            stream = fresh(events[: int(RATE * SECONDS)], RATE, time.time() + 2)
            await asyncio.sleep(stream[0].post.witnessed_at / MICROS - time.time())
            progress = Progress("paced", "x", False)
            ingesting = asyncio.create_task(ingest(Paced(stream), store, progress))
            begun, cpu = time.perf_counter(), time.process_time()
            for n, query in enumerate(asked):
                await asyncio.sleep(max(0.0, begun + n / ASKED_A_SECOND - time.perf_counter()))
                start = time.perf_counter()
                found += bool(await store.search(query, int(time.time() * MICROS)))
                times.append(time.perf_counter() - start)
            wall, cpu = time.perf_counter() - begun, time.process_time() - cpu
            done = progress.posts
            await ingesting
    p50, p99 = millis(times, 0.5, 0.99)
    report(
        figure="search_while_ingesting",
        posts=len(events),
        queries=len(asked),
        with_hits=found / len(asked),
        posts_per_s=round(done / wall),
        cpu_share=round(cpu / wall, 3),
        search_ms={"p50": p50, "p99": p99},
    )


asyncio.run(main())
