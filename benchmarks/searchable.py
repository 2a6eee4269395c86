"""How soon a post is found after `apply` took it, while earlier posts are being committed to the index."""

import asyncio
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from _store import corpus, fill, millis, report
from voxpop.posts import Upsert
from voxpop.store import Query
from voxpop.store.local import LocalStore
from voxpop.times import MICROS

ROUNDS, BATCH = 200, 200


async def main() -> None:
    events = await corpus(50_000)
    applies, finds, at_once = [], [], 0
    with tempfile.TemporaryDirectory() as temporary:
        async with LocalStore(Path(temporary)) as store:
            await fill(store, events)
            for n in range(ROUNDS):
                now = int(time.time() * MICROS)
                batch = [
                    Upsert(
                        replace(e.post, id=f"fresh:{n}:{i}", text=f"{e.post.text} mark{n}x{i}", witnessed_at=now)
                    )
                    for i, e in enumerate(events[n * BATCH : (n + 1) * BATCH])
                ]
                start = time.perf_counter()
                await store.apply("fresh", batch)
                applied = time.perf_counter()
                hits = await store.search(Query(words=(f"mark{n}x{n}",)), now)
                finds.append(time.perf_counter() - applied)
                applies.append(applied - start)
                at_once += [h.post.id for h in hits] == [f"fresh:{n}:{n}"]
                await asyncio.sleep(0.02)
    apply50, apply99 = millis(applies, 0.5, 0.99)
    find50, find99 = millis(finds, 0.5, 0.99)
    report(
        figure="searchable",
        found_at_the_first_search=at_once / ROUNDS,
        apply_returned_to_found_ms={"p50": find50, "p99": find99},
        apply_ms={"p50": apply50, "p99": apply99},
        posts_a_batch=BATCH,
    )


asyncio.run(main())
