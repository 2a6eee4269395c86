"""Search times over 225,000 posts with nothing else going on."""

import asyncio
import tempfile
import time
from pathlib import Path

from _store import corpus, fill, millis, queries, report
from voxpop.store.local import LocalStore

COUNT = 400


async def main() -> None:
    events = await corpus()
    asked = queries(events, COUNT)
    now = max(e.post.witnessed_at for e in events)
    times, found = [], 0
    with tempfile.TemporaryDirectory() as temporary:
        async with LocalStore(Path(temporary)) as store:
            await fill(store, events)
            for query in asked[:20]:
                await store.search(query, now)
            cpu = time.process_time()
            for query in asked:
                start = time.perf_counter()
                found += bool(await store.search(query, now))
                times.append(time.perf_counter() - start)
            cpu = time.process_time() - cpu
    p50, p99 = millis(times, 0.5, 0.99)
    report(
        figure="search_latency",
        posts=len(events),
        queries=COUNT,
        with_hits=found / COUNT,
        search_ms={"p50": p50, "p99": p99},
        cpu_ms_a_search=round(1000 * cpu / COUNT, 2),
    )


asyncio.run(main())
