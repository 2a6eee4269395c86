"""What 18,000 likes a second cost beside posts in four partitions, most of them for posts that are not stored."""

import asyncio
import random
import tempfile
import time
from pathlib import Path

from _store import generated, report, set_aside
from voxpop.posts import Engaged, Engagement, Upsert
from voxpop.store import partition
from voxpop.store.local import LocalStore

PARTITIONS, EACH, LIKES, BATCH, STORED = 4, 60_000, 18_000, 4500, 0.1


def likes(events: list[Upsert], luck: random.Random) -> list[Engaged]:
    def name(n: int) -> str:
        return luck.choice(events).post.id if luck.random() < STORED else f"at://did:plc:nobody{n}/like/{n}"

    return [Engaged(name(n), Engagement(1, 0, 0)) for n in range(LIKES)]


async def main() -> None:
    partition.FULL = EACH
    events = set_aside(generated(PARTITIONS * EACH))
    luck = random.Random(3)
    seconds = [likes(events, luck) for _ in range(10)]
    with tempfile.TemporaryDirectory() as temporary:
        async with LocalStore(Path(temporary)) as store:
            for start in range(0, len(events), 2000):
                await store.apply("fill", events[start : start + 2000])
            await store.commit()
            cpu, wall = time.process_time(), time.perf_counter()
            for second in seconds:
                for start in range(0, LIKES, BATCH):
                    await store.apply("likes", second[start : start + BATCH])
            cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
            partitions = (await store.figures())["partitions"]
    report(
        figure="engagement",
        likes_per_s=LIKES,
        stored=STORED,
        partitions=partitions,
        share_of_a_core=round(cpu / len(seconds), 3),
        wall_s_for_a_second=round(wall / len(seconds), 3),
    )


asyncio.run(main())
