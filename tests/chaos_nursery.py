"""Bear processes that fill a store and may be killed at any moment: `python chaos_nursery.py`, one order a line.

A process is forked from one that has imported everything and started nothing, so that a life costs milliseconds.
"""

import asyncio
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any

import chaos_world
from voxpop import ingest as ingesting
from voxpop.errors import VoxpopError
from voxpop.ingest import Progress, ingest
from voxpop.posts import Event
from voxpop.sources.bluesky import BlueskySource, Patience
from voxpop.store import Applied, Query, index, partition
from voxpop.store.local import LocalStore

BACK_S = 3600.0
QUICK = Patience(
    open_s=2.0, idle_s=0.4, first_wait_s=0.01, longest_wait_s=0.05, overlap_s=0.5, gap_s=1e9, adding_s=0.05
)


def say(**what: Any) -> None:
    """One line to whoever gives the orders, whole."""
    os.write(1, json.dumps(what).encode() + b"\n")


class Telling(LocalStore):
    """A store that says which cursor it acknowledged."""

    async def apply(self, source: str, events: Sequence[Event]) -> Applied:
        applied = await super().apply(source, events)
        say(acknowledged=int(events[-1].cursor or 0))
        return applied


def tiny_store(folder: Path, kind: type[LocalStore] = LocalStore) -> LocalStore:
    """A store that commits, cuts and purges all the time."""
    return kind(folder, commit_s=0.02, purge_s=0.06)


async def fill(folder: Path, order: dict[str, Any]) -> None:
    """Take the script up from the cursor, in batches of any size; a store that fails must still answer."""
    luck = Random(order["seed"])
    async with tiny_store(folder, Telling) as store:
        say(rebuilt=store.rebuilt)
        n = int(await store.cursor("world") or 0)
        try:
            while n < order["until"]:
                size = min(luck.choice((1, 30, 200, 400)), order["until"] - n)
                await store.apply("world", [chaos_world.event(m) for m in range(n, n + size)])
                n += size
        except VoxpopError as error:
            hits = await store.search(Query(words=("river",)), chaos_world.time_of(n))
            say(failed=str(error), found=len(hits))
            raise


async def listen(folder: Path, order: dict[str, Any]) -> None:
    """Ingest from a Jetstream until the store has seen its last event."""
    source = BlueskySource(
        [order["url"]], engagement=True, lookback_s=3600, directories=None, patience=QUICK, clock=clock(order)
    )
    async with tiny_store(folder, Telling) as store:
        say(rebuilt=store.rebuilt)
        progress = Progress(source.name, source.network, False)
        reading = asyncio.create_task(ingest(source, store, progress))
        while int(progress.cursor or 0) < order["until"] and not reading.done():
            await asyncio.sleep(0.02)
        reading.cancel()
        with suppress(asyncio.CancelledError):
            await reading


def clock(order: dict[str, Any]) -> Callable[[], float]:
    """The time of day, or that of a machine whose clock is an hour slow, or is set back amid its life."""
    began = time.monotonic()

    def back() -> float:
        return BACK_S if order["clock"] == "slow" or time.monotonic() - began > 0.2 else 0.0

    return time.time if order["clock"] == "right" else lambda: time.time() - back()


def born(order: dict[str, Any]) -> int:
    """The exit code of a life that was not cut short."""
    work = listen if "url" in order else fill
    try:
        asyncio.run(work(Path(order["folder"]), order))
    except VoxpopError as error:
        say(failed=str(error))
        return 3
    return 0


def main() -> None:
    partition.FULL, partition.WORTH_CUTTING = 2000, 300
    index._HEAP = 15_000_000
    ingesting.BATCH, ingesting.MAX_AGE_S = 100_000, 0.03  # small by age, and no like is ever shed
    for line in sys.stdin:
        order = json.loads(line)
        if not (pid := os.fork()):
            code = 1
            try:
                code = born(order)
            finally:
                os._exit(code)
        say(pid=pid)
        _, ended = os.waitpid(pid, 0)
        say(ended=os.waitstatus_to_exitcode(ended))


if __name__ == "__main__":
    main()
