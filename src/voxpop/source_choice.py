"""Open the sources that a config names, with what they need to know; it reads no post."""

import os
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from voxpop.api.page import gap_json
from voxpop.config import Config
from voxpop.errors import UsageError, VoxpopError
from voxpop.messages import Gap
from voxpop.simulator.jetstream import Jetstream
from voxpop.sources import Source
from voxpop.sources.auto import Simulator, Ways, kinds, open_source, parse_spec
from voxpop.sources.bluesky import DEFAULT_HOSTS
from voxpop.sources.feeds_pace import FeedSettings
from voxpop.sources.feeds_places import places
from voxpop.sources.replay import ReplaySource
from voxpop.sources.spending import Spends
from voxpop.sources.x import XSettings, XSource
from voxpop.sources.x_api import TOKEN as X_TOKEN
from voxpop.sources.x_api import Api as XApi
from voxpop.sources.x_api import Refused as XRefused
from voxpop.sources.x_rules import Synced
from voxpop.sources.x_rules import sync as sync_x_rules
from voxpop.store.local import LocalStore
from voxpop.times import MICROS, iso

NIGHT_SO_FAR_S = 7200.0
_DAY = 24 * 3600 * MICROS


def check_source(spec: str) -> None:
    """Raise UsageError for a source that cannot be, VoxpopError for a file that is not there."""
    parsed = parse_spec(spec)
    if parsed.kind == "replay" and not Path(parsed.target).is_file():
        raise VoxpopError(f"The recording {parsed.target} is not there.", "Check the path after 'replay:'.")
    if parsed.kind == "rss" and parsed.target:
        places((parsed.target,))


def ways(config: Config, simulator: Simulator | None = None) -> Ways:
    """What the config says of reaching sources."""
    return Ways(
        hosts=config.sources.bluesky_hosts or DEFAULT_HOSTS,
        lookback_s=config.sources.lookback_s,
        dictionary=config.sources.zstd_dictionary,
        engagement=config.sources.engagement,
        probe_s=config.sources.probe_s,
        simulator=simulator,
        rss=FeedSettings(
            feeds=config.rss.feeds,
            shortest_s=config.rss.shortest_s,
            longest_s=config.rss.longest_s,
            oldest_s=config.rss.oldest_days * 86_400,
        ),
        x=XSettings(
            config.x.rules,
            config.x.host,
            config.x.price_usd,
            config.x.monthly_usd,
            config.x.backfill_minutes,
        ),
        secret=lambda name: os.environ.get(name, ""),
    )


@asynccontextmanager
async def opened(config: Config, *, elapsed_s: float = NIGHT_SO_FAR_S) -> AsyncIterator[list[Source]]:
    """The configured sources; a simulated night runs as long as they are open."""
    servers: list[Jetstream] = []
    sources: list[Source] = []

    async def simulate(seed: int, speed: float) -> str:
        servers.append(Jetstream(seed=seed))
        return await servers[-1].start(elapsed=elapsed_s, speed=speed)

    try:
        for spec in config.sources.use:
            sources.append(await open_source(spec, ways(config, simulate)))
        _tell_apart([s for s in sources if isinstance(s, ReplaySource)])
        if twice := [name for name, times in Counter(s.name for s in sources).items() if times > 1]:
            raise UsageError(f"The source {twice[0]!r} is named twice.", "Name each source once.")
        _refuse_mixed(sources)
        yield sources
    finally:
        for source in sources:
            if isinstance(source, XSource):
                await source.aclose()
        for server in servers:
            await server.stop()


def _tell_apart(recordings: Sequence[ReplaySource]) -> None:
    """Files of one name are called by as much of their paths as tells them apart."""
    for name, times in Counter(r.name for r in recordings).items():
        same = {r.path.resolve(): r for r in recordings if r.name == name}
        if times == 1 or len(same) < times:
            continue
        for n in range(2, 1 + max(len(path.parts) for path in same)):
            tails = {path: "/".join(path.parts[-n:]) for path in same}
            if len(set(tails.values())) == times:
                break
        for path, source in same.items():
            source.name = f"replay:{tails[path]}"


def _refuse_mixed(sources: Sequence[Source]) -> None:
    """Invented posts never stand among real ones."""
    made_up, real = ([s.name for s in sources if s.simulated == mark] for mark in (True, False))
    if made_up and real:
        raise UsageError(
            f"The source {made_up[0]!r} is invented and {real[0]!r} is not: their posts must not mix.",
            f"Run {made_up[0]!r} by itself, or in a second voxpop with another --data.",
        )


async def open_budgets(sources: Sequence[Source], store: LocalStore) -> None:
    """What this month has cost already is in the store."""
    for source in sources:
        if isinstance(source, Spends):
            await source.budget.open(store)


def list_kinds(config: Config) -> list[dict[str, Any]]:
    """The kinds of source, and which of them the config uses."""
    used = {parse_spec(spec).kind for spec in config.sources.use}
    return [
        {"source": name, "about": f"{kind.about}: {kind.shape}", "configured": name in used, "cursor": None}
        for name, kind in kinds().items()
    ]


async def list_stored(store: LocalStore, now: int) -> list[dict[str, Any]]:
    """Each source that the store knows: its cursor, what the month cost, the gaps of the day before `now`."""
    month, missing = iso(now)[:7], await store.gaps(now - _DAY, now)
    spending = await store.spending()
    rows = []
    for name, cursor in (await store.cursors()).items():
        paid = [r[2:] for r in spending if r[1] == month and r[0] in (name, f"{name}:recheck")]
        reads, micro_usd = sum(p[0] for p in paid), sum(p[1] for p in paid)
        rows.append(
            {
                "source": name,
                "about": "stored",
                "configured": True,
                "cursor": cursor,
                "reads": reads,
                "spent_usd": micro_usd / MICROS,
                "gaps": [gap_json(Gap(*row)) for row in missing if row[0] == name],
            }
        )
    return rows


async def x_rules(config: Config, *, apply: bool) -> Synced:
    """What differs between the rules of the config and those that X keeps; `apply` makes them alike."""
    settings = ways(config).x
    api = XApi(settings.host, os.environ.get(X_TOKEN, ""))
    try:
        return await sync_x_rules(api, settings.rules, dry_run=not apply)
    except XRefused as error:
        if error.kind == "network":
            raise VoxpopError(f"{settings.host} cannot be reached: {error}.", "Check the network.") from error
        raise VoxpopError(f"X refused: {error}.", f"Check {X_TOKEN} (docs/x.md).") from error
    finally:
        await api.aclose()
