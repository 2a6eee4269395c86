"""Measure, on the live simulated stream, how soon after the authority's post the true result is told."""

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from voxpop.evaluation.bench import Bench
from voxpop.ingest import Progress, ingest
from voxpop.simulator import world
from voxpop.simulator.jetstream import Jetstream
from voxpop.sources import Source
from voxpop.sources.auto import Ways, open_source
from voxpop.store.local import LocalStore
from voxpop.times import MICROS

_QUESTION = "Who won the presidential election?"


async def seconds_to_the_call(
    bench: Bench, question: str = _QUESTION, *, lead_s: float = 4.0, patience_s: float = 30.0
) -> float:
    """From the moment of the authority's post to an answer that cites it; `patience_s` where none comes.

    The stream begins `lead_s` seconds before the post.
    """
    server = Jetstream()
    async with streamed(server, world.DECLARED - lead_s) as store:
        declared = server.uri(world.keys()["declared"])
        born = server.time_of(world.DECLARED) / MICROS
        assistant = bench.assistant(store)
        while (late := time.time() - born) < patience_s:
            told = await bench.ask(assistant, "live", question)
            if declared in told.cited:
                return round(time.time() - born, 3)
            await asyncio.sleep(0.05 if late > -0.5 else 0.5)
    return patience_s


@asynccontextmanager
async def streamed(server: Jetstream, elapsed: float) -> AsyncIterator[LocalStore]:
    """A store into which the night flows from a Jetstream, in real time, from `elapsed` seconds of it on."""

    async def simulate(seed: int, speed: float) -> str:
        return await server.start(elapsed=elapsed, speed=1.0)

    try:
        source: Source = await open_source("simulated", Ways(lookback_s=world.END, simulator=simulate))
        with tempfile.TemporaryDirectory(prefix="voxpop-eval-live-") as folder:
            async with LocalStore(Path(folder)) as store:
                running = asyncio.create_task(ingest(source, store, Progress(source.name, source.network, True)))
                try:
                    yield store
                finally:
                    running.cancel()
                    with suppress(asyncio.CancelledError):
                        await running
    finally:
        await server.stop()
