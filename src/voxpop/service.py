"""The running program: one store, one assistant, any number of sources side by side; it answers nothing itself.

Each source has its own task, counters and lag. One that fails is said in its state and does not stop the others.
"""

import asyncio
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from voxpop.assistant import Assistant, Stream
from voxpop.authorities import Authorities
from voxpop.engines import Engine
from voxpop.errors import VoxpopError
from voxpop.ingest import Progress, ingest
from voxpop.sources import Source
from voxpop.store.local import LocalStore
from voxpop.voices import Voice

Say = Callable[[str], None]
# Sources and engines say in words what they do; by the first of these words they are well, or on their way there.
_WELL = re.compile(r"(connected|connecting|replaying|ended|not started|ready|loading|downloading)\b")
_STATUS_S = 0.5
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


class Service:
    """What `voxpop up` runs, and what its faces ask.

    `engine` tells which engine answers now, `engine_state` what it is doing.
    """

    def __init__(
        self,
        store: LocalStore,
        sources: Sequence[Source],
        voices: Mapping[str, Voice],
        *,
        default_voice: str,
        authorities: Authorities,
        engine: Callable[[], Engine],
        engine_state: Callable[[], str],
        say: Say,
    ) -> None:
        self.voices = dict(voices)
        self.default_voice = default_voice
        self.started = int(time.time())
        self.assistant = Assistant(store, engine, voices, authorities=authorities, clock=clock, stream=self.stream)
        self.progress = {s.name: Progress(s.name, s.network, s.simulated) for s in sources}
        self.registry = CollectorRegistry()
        self.registry.register(_Meters(self, sources))
        self._store, self._sources = store, sources
        self._engine, self._engine_state, self._say = engine, engine_state, say
        self._failures: dict[str, str] = {}
        self._last: tuple[float, dict[str, Any]] | None = None
        self._asking = asyncio.Lock()

    @property
    def simulated(self) -> bool:
        """Whether any of the posts are made up."""
        return any(s.simulated for s in self._sources)

    def stream(self) -> Stream:
        """The lag of the source that is furthest ahead, and whether the stream is made up."""
        lags = [lag for p in self.progress.values() if (lag := p.lag_s(clock())) is not None]
        return Stream(min(lags, default=None), self.simulated)

    async def run(self) -> None:
        """Ingest from every source until cancelled."""
        async with asyncio.TaskGroup() as group:
            for source in self._sources:
                group.create_task(self._ingest(source))

    async def _ingest(self, source: Source) -> None:
        progress = self.progress[source.name]
        try:
            await ingest(source, self._store, progress)
            self._say(f"{source.name}: the source has ended after {progress.posts} posts")
        except VoxpopError as error:
            self._failures[source.name] = str(error)
            self._say(f"{source.name}: stopped. {error}")

    def state(self, source: Source) -> str:
        """What a source is doing, or why it stopped."""
        return self._failures.get(source.name, source.state)

    async def status(self) -> dict[str, Any]:
        """The page's header: totals, rate, lag, sources, engine, examples; half a second old at most."""
        async with self._asking:
            if self._last is None or time.monotonic() - self._last[0] > _STATUS_S:
                self._last = (time.monotonic(), await self._status())
            return self._last[1]

    async def _status(self) -> dict[str, Any]:
        totals = await self._store.totals()
        rate = sum(p.posts_per_minute(clock()) for p in self.progress.values())
        lag = self.stream().lag_s
        info = self._engine().describe()
        return {
            "simulated": self.simulated,
            "posts": totals["posts"],
            "posts_per_minute": rate,
            "lag_s": None if lag is None else round(lag, 2),
            "sources": [
                {"name": s.name, "simulated": s.simulated, **_health(self.state(s), s.name not in self._failures)}
                for s in self._sources
            ],
            "engine": {"name": info.name, "model": info.model, **_health(self._engine_state())},
            "examples": list(_EXAMPLES[self.simulated]),
        }

    async def unready(self) -> str:
        """Why no question can be answered yet; empty when one can."""
        if (await self._store.totals())["posts"]:
            return ""
        return "no posts yet: " + "; ".join(f"{s.name} {self.state(s)}" for s in self._sources)


def _health(state: str, going: bool = True) -> dict[str, Any]:
    return {"state": state, "ok": going and bool(_WELL.match(state))}


class _Meters(Collector):
    """Prometheus metrics, read from the live counters at each scrape."""

    def __init__(self, service: Service, sources: Sequence[Source]) -> None:
        self._service, self._sources = service, sources

    def collect(self) -> Iterator[Metric]:
        posts = CounterMetricFamily("voxpop_posts", "Posts received.", labels=["source"])
        dropped = CounterMetricFamily("voxpop_dropped", "Input dropped.", labels=["source", "reason"])
        lag = GaugeMetricFamily("voxpop_lag_seconds", "Age of the newest post.", labels=["source"])
        for source in self._sources:
            progress = self._service.progress[source.name]
            posts.add_metric([source.name], progress.posts)
            for reason, count in source.dropped.items():
                dropped.add_metric([source.name, reason], count)
            if (age := progress.lag_s(clock())) is not None:
                lag.add_metric([source.name], age)
        yield from (posts, dropped, lag)
        tally = self._service.assistant.tally
        for name, said in (
            ("answers", "Answers given."),
            ("sentences", "Sentences shown after verification."),
            ("withheld", "Sentences withheld by verification."),
        ):
            yield CounterMetricFamily(f"voxpop_{name}", said, value=tally[name])
