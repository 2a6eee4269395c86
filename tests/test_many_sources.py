"""Four sources side by side: one hangs, one floods, one sends garbage; the fourth does not notice."""

import asyncio
import os
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path

from voxpop.authorities import Authorities
from voxpop.engines.quote import QuoteEngine
from voxpop.history import History
from voxpop.service import Service, clock
from voxpop.simulator.firehose import Firehose, Harm
from voxpop.simulator.flood import CYCLE, Mix
from voxpop.sources.bluesky import BlueskySource, Patience
from voxpop.store.local import LocalStore
from voxpop.voices import load

MIX = Mix(reply=0.1, update=0.05, delete=0.1)
QUICK = Patience(open_s=1.0, idle_s=0.5, first_wait_s=0.01, longest_wait_s=0.1, gap_s=1e9)
SECONDS, RATE = 4, 400
STREAMS: dict[str, Callable[[], Firehose]] = {
    "healthy": lambda: Firehose(rate=RATE, mix=MIX, count=RATE * SECONDS),
    "hanging": lambda: Firehose(rate=RATE, mix=MIX, harm=Harm(hang=50)),
    "flooding": lambda: Firehose(rate=20_000, mix=MIX, count=40_000, harm=Harm(repeat=800, swap=900)),
    "garbage": lambda: Firehose(rate=RATE, harm=Harm(garbage=True)),
}


async def test_a_source_that_hangs_floods_or_sends_garbage_slows_no_other(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        streams = {name: make() for name, make in STREAMS.items()}
        sources = []
        for name, stream in streams.items():
            await stream.start()
            stack.push_async_callback(stream.stop)
            sources.append(BlueskySource([stream.url], name=name, directories=None, patience=QUICK))
        store = await stack.enter_async_context(LocalStore(tmp_path))
        service = Service(
            store, sources, load(), default_voice="regular", authorities=Authorities.of(), engine=QuoteEngine,
            engine_state=lambda: "ready", history=History(tmp_path, keep_days=0, clock=clock),
        )  # fmt: skip
        running = asyncio.create_task(service.run())

        async def end() -> None:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

        stack.push_async_callback(end)
        healthy = next(r.progress for r in service._runners if r.source.name == "healthy")
        lags, rows = [], {"flooding": {"posts": 0}}
        end = time.monotonic() + 4 * SECONDS
        while time.monotonic() < end and (healthy.events < RATE * SECONDS or rows["flooding"]["posts"] < 20_000):
            await asyncio.sleep(0.1)
            rows = {row["name"]: row for row in (await service.status())["sources"]}
            if streams["healthy"].over() < RATE * SECONDS and rows["healthy"]["posts"]:
                lags.append(rows["healthy"]["lag_s"])
        whole = streams["healthy"].flood.counts(RATE * SECONDS)
        later = streams["healthy"].flood.counts(RATE * SECONDS, CYCLE)
        assert healthy.added == whole["post"] + whole["reply"] + whole["update"] - later["update"]
        assert (healthy.edited, healthy.deleted) == (later["update"], later["delete"])
        # Where other programs share the machine, all wait for their turn.
        busy = max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))
        assert sorted(lags)[len(lags) * 9 // 10] < 1.0 * busy, lags
        assert rows["hanging"]["reconnects"] > 2
        assert rows["hanging"]["posts"] > 50
        assert rows["flooding"]["posts"] > 20_000
        assert sum(rows["garbage"]["dropped"].values()) > 1000
        assert rows["garbage"]["posts"] == 0
