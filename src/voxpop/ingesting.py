"""Ingest without serving: every configured source to its end, each by itself; what it brought is told."""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from voxpop.app import open_store, traced
from voxpop.config import Config
from voxpop.errors import VoxpopError
from voxpop.health import of
from voxpop.ingest import Progress, ingest
from voxpop.live_table import rated
from voxpop.service import clock
from voxpop.source_choice import open_budgets, opened
from voxpop.sources import Source


async def ingest_all(
    config: Config,
    show: Callable[[dict[str, Any]], None],
    tell: Callable[[list[dict[str, Any]]], object] = lambda _: None,
) -> None:
    """Ingest every configured source to its end.

    `show` gets a status each second, as `voxpop sources --watch` has it. `tell` gets what each source brought, as
    `voxpop ingest --json` prints it, when all have ended, one has failed, or this is cancelled.
    """
    with traced(config):
        await _ingest_all(config, show, tell)


async def _ingest_all(
    config: Config, show: Callable[[dict[str, Any]], None], tell: Callable[[list[dict[str, Any]]], object]
) -> None:
    async with opened(config) as sources, open_store(config) as store:
        began = time.monotonic()
        await open_budgets(sources, store)
        progress = {s.name: Progress(s.name, s.network, s.simulated) for s in sources}
        took = dict.fromkeys(progress, 0.0)

        async def bring(source: Source) -> None:
            try:
                await ingest(source, store, progress[source.name])
            finally:
                took[source.name] = time.monotonic() - began

        async def report() -> None:
            before = None
            while True:
                await asyncio.sleep(1)
                now = {
                    "posts": sum(p.posts for p in progress.values()),
                    "sources": [of(s, progress[s.name], clock()).json() for s in sources],
                    "store": {},
                    "process": {"uptime_s": time.monotonic() - began, "searches": 0},
                }
                show(rated(before, now))
                before = now

        reporting = asyncio.create_task(report())
        try:
            async with asyncio.TaskGroup() as group:
                for source in sources:
                    group.create_task(bring(source))
        except* VoxpopError as errors:
            raise errors.exceptions[0] from None
        finally:
            reporting.cancel()
            with suppress(asyncio.CancelledError):
                await reporting
            tell([_row(s, progress[s.name], took[s.name]) for s in sources])


def _row(source: Source, progress: Progress, took_s: float) -> dict[str, Any]:
    counts = ("posts", "added", "edited", "deleted", "unchanged", "refused", "cursor")
    return {
        "source": source.name,
        **{c: getattr(progress, c) for c in counts},
        "dropped": dict(source.dropped),
        "took_s": round(took_s, 2),
        "posts_per_s": round(progress.posts / max(took_s, 1e-9)),
    }
