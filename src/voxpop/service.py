"""The running program: one store, one assistant, any number of sources side by side; it answers nothing itself.

Each source has a runner of its own. One that fails is said in its state, is tried again, and stops no other.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from prometheus_client import CollectorRegistry

from voxpop.answering import Stream
from voxpop.assistant import Assistant, Gaps
from voxpop.authorities import Authorities
from voxpop.engines import Engine
from voxpop.errors import VoxpopError
from voxpop.health import Health, health, well
from voxpop.history import History
from voxpop.messages import Gap
from voxpop.meters import Measured, Meters, Requests, Sample, Steps
from voxpop.policy import Policy, load
from voxpop.posts import Post
from voxpop.reopening import Answers
from voxpop.runner import Runner
from voxpop.sources import Source
from voxpop.store.local import LocalStore
from voxpop.voices import Voice

_STATUS_S = 0.5
_FIGURES_S = 5.0
_SHOWN = ("partitions", "tail", "disk_bytes", "removals_waiting")
# Metrics by the store's own names for them.
_FIGURES = {
    "stored_posts": "posts",
    "tail_posts": "tail",
    "partitions": "partitions",
    "partitions_dropped": "dropped_partitions",
    "disk_bytes": "disk_bytes",
    "removals_waiting": "removals_waiting",
    "commits": "commits",
    "commit_seconds": "commit_total_s",
    "purges": "purges",
    "purge_seconds": "purge_s",
}
_EXAMPLES = {
    False: (
        "What are people saying right now?",
        "What are people saying about the weather?",
        "Que dit-on du match ?",
    ),
    True: (
        "Did a ballot box burn in Dornick?",
        "What do the exit polls say?",
        "Who won the election?",
        "Qui a gagné l'élection ?",
    ),
}


def clock() -> int:
    """Now, in microseconds of UTC."""
    return time.time_ns() // 1000


def gaps_of(store: LocalStore) -> Gaps:
    """What the store knows of times that cannot be had, as an assistant asks for it."""

    async def gaps(since: int, until: int) -> list[Gap]:
        return [Gap(*row) for row in await store.gaps(since, until)]

    return gaps


class Service:
    """What `voxpop up` runs, and what its faces ask.

    `engine` tells which engine answers now, `engine_state` what it is doing; `history` keeps the answers; `beside`
    is what else runs, and does not fail.
    """

    def __init__(
        self,
        store: LocalStore,
        sources: Sequence[Source],
        voices: Mapping[str, Voice],
        *,
        default_voice: str,
        authorities: Authorities,
        policy: Policy | None = None,
        engine: Callable[[], Engine],
        engine_state: Callable[[], str],
        history: History,
        aliases: Sequence[str] = (),
        beside: Sequence[Callable[[], Coroutine[Any, Any, None]]] = (),
    ) -> None:
        self._beside = beside
        self.voices = dict(voices)
        self.default_voice, self.aliases = default_voice, aliases
        self.engine = engine
        self.policy = policy or load()
        self.started = int(time.time())
        self._began = time.monotonic()
        self.registry = CollectorRegistry()
        self._measured = Measured(store, self.registry)
        self._runners = [Runner(source, self._measured) for source in sources]
        self.assistant = Assistant(
            self._measured,
            engine,
            voices,
            authorities=authorities,
            policy=self.policy,
            clock=clock,
            stream=self.stream,
            gaps=gaps_of(store),
            done=Steps(self.registry).done,
            cite=self._cite,
            keep=history.keep,
        )
        self.answers = Answers(history, store, self.assistant, clock)
        self.requests = Requests()
        self._meters = Meters(self.registry, self._samples)
        self._store, self._engine, self._engine_state = store, engine, engine_state
        self._figures, self._figured = dict[str, float](), -_FIGURES_S
        self._last: tuple[float, dict[str, Any]] | None = None
        self._asking = asyncio.Lock()

    @property
    def simulated(self) -> bool:
        """Whether any of the posts are made up."""
        return any(r.source.simulated for r in self._runners)

    def stream(self) -> Stream:
        """The lag of the source furthest ahead, how far the last is behind, who is down, and what is made up."""
        sources = self._healths()
        lags = [s.lag_s for s in sources if s.lag_s is not None]
        behind = [s.behind_s for s in sources if s.behind_s]
        down = tuple(s.name for s in sources if not s.ok)
        return Stream(min(lags, default=None), self.simulated, max(behind, default=None), down)

    async def posts(self, ids: Sequence[str]) -> list[Post]:
        """The posts of these ids that are there, as they are now."""
        return await self._store.posts(ids)

    async def _cite(self, ids: Sequence[str]) -> None:
        """What an answer cites is looked at again first, where a network tells no deletions."""
        with suppress(VoxpopError):  # a full disk stops no answer
            await self._store.cite(ids, clock())

    async def run(self) -> None:
        """Ingest from every source until cancelled."""
        async with asyncio.TaskGroup() as group:
            for runner in self._runners:
                group.create_task(runner.run())
            for work in self._beside:
                group.create_task(work())

    async def status(self) -> dict[str, Any]:
        """The page's header: totals, rate, lag, sources, engine, examples; half a second old at most."""
        async with self._asking:
            if self._last is None or time.monotonic() - self._last[0] > _STATUS_S:
                self._last = (time.monotonic(), await self._status())
            return self._last[1]

    async def _status(self) -> dict[str, Any]:
        totals = await self._store.totals()
        if time.monotonic() - self._figured > _FIGURES_S:  # it looks at each file of the folder
            self._figures, self._figured = await self._store.figures(), time.monotonic()
        self._figures |= {"posts": totals["posts"], "tail": totals["tail"]}
        sources = self._healths()
        lag = self.stream().lag_s
        info = self._engine().describe()
        state = self._engine_state()
        return {
            "simulated": self.simulated,
            "posts": totals["posts"],
            "posts_per_minute": sum(s.posts_per_minute for s in sources),
            "last_hour": self._measured.last_hour(),
            "lag_s": lag,
            "sources": [s.json() for s in sources],
            "engine": {"name": info.name, "model": info.model, "state": state, "ok": well(state)},
            "process": {
                "uptime_s": round(time.monotonic() - self._began, 3),
                "memory_bytes": self._meters.memory_bytes(),
                "searches": self._measured.searches,
            },
            "store": {name: self._figures[name] for name in _SHOWN},
            "policy": self.policy.json(),
            "examples": list(_EXAMPLES[self.simulated]),
        }

    async def unready(self) -> str:
        """Why no question can be answered yet; empty when one can."""
        if (await self._store.totals())["posts"]:
            return ""
        return "no posts yet: " + "; ".join(f"{r.source.name} {r.state}" for r in self._runners)

    def _healths(self) -> list[Health]:
        return [health(runner, clock()) for runner in self._runners]

    def _samples(self) -> Iterator[Sample]:
        """What a scrape reads: the counters of this moment, and the store's figures of the last status."""
        for source in self._healths():
            yield from source.samples()
            yield "voxpop_apply_failures", (source.name,), self._measured.failures.get(source.name, 0)
        for name, figure in _FIGURES.items():
            if figure in self._figures:
                yield f"voxpop_{name}", (), self._figures[figure]
        yield from self.requests.samples()
        tally = self.assistant.tally
        for name in ("answers", "sentences", "withheld", "engine_failures"):
            yield f"voxpop_{name}", (), tally[name]
