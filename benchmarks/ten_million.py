"""What N posts cost: ingest, disk by part, opening, searches, deletes: `python ten_million.py [N [FOLDER]]`.

N is 10,000,000 if not given. A FOLDER keeps the posts: the first run fills it, the next one measures the rest.
The posts are the corpus looped with new ids, times and orders of words, as Jetstream gives them, 100 a second.
"""

import asyncio
import base64
import hashlib
import platform
import random
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from _store import corpus, millis, queries, report
from voxpop.posts import Author, Delete, Event, Post, Upsert
from voxpop.store import Query
from voxpop.store.index import Wanted
from voxpop.store.local import LocalStore
from voxpop.text import words
from voxpop.times import MICROS

BATCH, RATE, BEGAN = 2000, 100, 1_790_000_000 * MICROS
ASKED, DELETED = 300, 200
KINDS = {2: "indexes", 10: "indexes", 5: "rows", 13: "rows", 0: "rows"}


def short(name: str, size: int) -> str:
    return base64.b32encode(hashlib.blake2b(name.encode(), digest_size=20).digest()).decode().lower()[:size]


def streamed(events: Sequence[Upsert], count: int) -> Iterator[list[Event]]:
    """Batches of posts as Bluesky's would be."""
    batch: list[Event] = []
    for n in range(count):
        batch.append(Upsert(streamed_post(events[n % len(events)].post, n, n // len(events)), str(n)))
        if len(batch) == BATCH or n == count - 1:
            yield batch
            batch = []


def streamed_post(post: Post, n: int, loop: int) -> Post:
    did = f"did:plc:{short(f'{post.author.id or n}/{loop // 2}', 24)}"
    at, name = BEGAN + n * MICROS // RATE, short(str(n), 13)
    words = post.text.split()
    if loop:  # else every text would have copies in every loop, and be shown once
        random.Random(n).shuffle(words)
    return replace(
        post,
        text=" ".join(words) if loop else post.text,
        id=f"at://{did}/app.bsky.feed.post/{name}",
        url=f"https://bsky.app/profile/{did}/post/{name}",
        author=Author(did, "", ""),
        created_at=at - 700_000 - n % 1000,
        witnessed_at=at,
        reply_to="" if n % 2 else f"at://did:plc:{short(f'r{n}', 24)}/app.bsky.feed.post/{short(f'p{n}', 13)}",
        root="" if n % 2 else f"at://did:plc:{short(f'r{n}', 24)}/app.bsky.feed.post/{short(f'p{n}', 13)}",
    )


def disk(folder: Path) -> dict[str, int]:
    """Bytes by part: rows and indexes of the partitions (by the kind of each page), tantivy, the catalog."""
    parts = dict.fromkeys(("rows", "indexes", "tantivy", "catalog"), 0)
    for path in folder.glob("partitions/*/posts.db"):
        with path.open("rb") as file:
            while page := file.read(4096):
                parts[KINDS.get(page[0], "rows")] += len(page)
    parts["tantivy"] = sum(p.stat().st_size for p in folder.glob("partitions/*/index/*"))
    parts["catalog"] = sum(p.stat().st_size for p in folder.glob("catalog.db*"))
    return parts


async def filled(folder: Path, events: Sequence[Upsert], count: int) -> dict[str, float]:
    async with LocalStore(folder) as store:
        wall, cpu, slowest = time.perf_counter(), time.process_time(), 0.0
        made_wall = made_cpu = 0.0
        batches = streamed(events, count)
        while True:
            start, spent = time.perf_counter(), time.thread_time()
            batch = next(batches, None)
            made_wall, made_cpu = made_wall + time.perf_counter() - start, made_cpu + time.thread_time() - spent
            if batch is None:
                break
            start = time.perf_counter()
            await store.apply("s", batch)
            slowest = max(slowest, time.perf_counter() - start)
        await store.commit()
        wall, cpu = time.perf_counter() - wall - made_wall, time.process_time() - cpu - made_cpu
        return {
            "posts_per_s": round(count / wall),
            "posts_per_cpu_s": round(count / cpu),
            "slowest_apply_ms": round(1000 * slowest, 1),
        }


async def searched(store: LocalStore, asked: Sequence[Query], now: int) -> dict[str, float]:
    times, cpu = [], time.process_time()
    for query in asked:
        start = time.perf_counter()
        await store.search(query, now)
        times.append(time.perf_counter() - start)
    p50, p99 = millis(times[len(times) // 10 :], 0.5, 0.99)
    return {"p50": p50, "p99": p99, "cpu": round(1000 * (time.process_time() - cpu) / len(asked), 2)}


def bare(store: LocalStore, asked: Sequence[Query]) -> list[float]:
    """Milliseconds of tantivy alone: the best 20 numbers of all partitions for the same words; no post is read."""
    times = []
    for query in asked:
        groups = tuple(tuple(words(w)) for w in query.words)
        start = time.perf_counter()
        store.index.search(Wanted(any_of=groups), query.limit)
        times.append(1000 * (time.perf_counter() - start))
    return times


async def beside_bare(store: LocalStore, asked: Sequence[Query], now: int) -> dict[str, float]:
    """All-time BM25, ours and tantivy's alone in turns."""
    ours: list[float] = []
    alone: list[float] = []
    for query in asked:
        alone += bare(store, [query])
        start = time.perf_counter()
        await store.search(replace(query, half_life_s=1e9), now)
        ours.append(1000 * (time.perf_counter() - start))
    return {
        "mean_ratio": round(sum(ours) / sum(alone), 2),
        "ours_mean": round(sum(ours) / len(ours), 2),
        "alone_mean": round(sum(alone) / len(alone), 2),
    }


async def deleted(store: LocalStore, events: Sequence[Upsert], count: int) -> dict[str, float]:
    """Milliseconds until deleted posts are out of search, one by one and a thousand at once."""
    ids = [
        streamed_post(events[n % len(events)].post, n, n // len(events)).id for n in range(0, count, count // 4000)
    ]
    ones, thousands = [], []
    for id_ in ids[:DELETED]:
        start = time.perf_counter()
        await store.apply("d", [Delete(id_, BEGAN)])
        ones.append(time.perf_counter() - start)
        await asyncio.sleep(0.01)
    assert not await store.posts(ids[:DELETED])
    for begin in (1000, 2000, 3000):
        some = ids[begin : begin + 1000]
        start = time.perf_counter()
        await store.apply("d", [Delete(id_, BEGAN) for id_ in some])
        thousands.append(time.perf_counter() - start)
    p50, p99 = millis(ones, 0.5, 0.99)
    return {"p50": p50, "p99": p99, "a_thousand": max(millis(thousands, 0.99))}


async def main(count: int, kept: Path | None) -> None:
    events = await corpus()
    if kept and not kept.exists():
        report(figure="ten_million_filled", posts=count, ingest=await filled(kept, events, count))
        return
    asked = queries(events, ASKED)
    now = BEGAN + count * MICROS // RATE
    with tempfile.TemporaryDirectory() as temporary:
        folder = kept or Path(temporary)
        ingest = None if kept else await filled(folder, events, count)
        parts = disk(folder)
        start = time.perf_counter()
        async with LocalStore(folder) as store:
            opening = time.perf_counter() - start
            figures = {
                "last_hour": await searched(store, [replace(q, since=now - 3600 * MICROS) for q in asked], now),
                "all_time_bm25": await searched(store, [replace(q, half_life_s=1e9) for q in asked], now),
                "all_time_recent": await searched(store, asked, now),
            }
            beside = await beside_bare(store, asked, now)
            partitions = (await store.figures())["partitions"]
            removed = await deleted(store, events, count)
    report(
        figure="ten_million",
        posts=count,
        partitions=partitions,
        ingest=ingest,
        open_s=round(opening, 3),
        bytes_per_post={
            **{k: round(v / count, 1) for k, v in parts.items()},
            "all": round(sum(parts.values()) / count),
        },
        search_ms=figures,
        beside_bare_tantivy=beside,
        delete_ms=removed,
        machine=platform.processor() or platform.machine(),
    )


COUNT = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000_000
asyncio.run(main(COUNT, Path(sys.argv[2]) if len(sys.argv) > 2 else None))
