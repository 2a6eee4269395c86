"""Bear processes that fill a store and may be killed at any moment: `python chaos_nursery.py`, one order a line.

A process is forked from one that has imported everything and started nothing, so that a life costs milliseconds.
"""

import asyncio
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

import chaos_world
from voxpop.posts import Event
from voxpop.store import Applied, index, partition
from voxpop.store.local import LocalStore

partition.FULL, partition.WORTH_CUTTING = 2000, 300
index._HEAP = 15_000_000


def say(**what: Any) -> None:
    """One line to whoever gives the orders, whole."""
    os.write(1, json.dumps(what).encode() + b"\n")


def tiny_store(folder: Path) -> LocalStore:
    """A store that commits, cuts and purges all the time."""
    return LocalStore(folder, commit_s=0.02, purge_s=0.06)


class Telling(LocalStore):
    """A store that says which cursor it acknowledged."""

    async def apply(self, source: str, events: Sequence[Event]) -> Applied:
        applied = await super().apply(source, events)
        say(acknowledged=int(events[-1].cursor))
        return applied


async def fill(folder: Path, until: int, seed: int) -> None:
    """Take the script up from the cursor, in batches of any size."""
    luck = Random(seed)
    async with Telling(folder, commit_s=0.02, purge_s=0.06) as store:
        assert not store.rebuilt, store.rebuilt
        n = int(await store.cursor("world") or 0)
        while n < until:
            size = min(luck.choice((1, 30, 200, 400)), until - n)
            await store.apply("world", [chaos_world.event(m) for m in range(n, n + size)])
            n += size


def main() -> None:
    for line in sys.stdin:
        order = json.loads(line)
        if not (pid := os.fork()):
            status = 1
            try:
                asyncio.run(fill(Path(order["folder"]), order["until"], order["seed"]))
                status = 0
            finally:
                os._exit(status)
        say(pid=pid)
        _, ended = os.waitpid(pid, 0)
        say(ended=os.waitstatus_to_exitcode(ended))


if __name__ == "__main__":
    main()
