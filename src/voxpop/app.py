"""Build the running program from a config: the only module that knows every concrete class."""

import asyncio
import os
import shutil
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from importlib import util
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from voxpop import voices as tones
from voxpop.assistant import Assistant, Stream
from voxpop.config import Config
from voxpop.engines import Engine
from voxpop.engines.echo import EchoEngine
from voxpop.engines.openai import OpenAIEngine
from voxpop.engines.quote import QuoteEngine
from voxpop.errors import UsageError
from voxpop.ingest import Progress, ingest
from voxpop.messages import AuthorClass
from voxpop.posts import Author
from voxpop.sources import Source
from voxpop.store.local import LocalStore
from voxpop.voices import Voice

Say = Callable[[str], None]
_EXAMPLES = {
    False: [
        "What is happening right now?",
        "What are people saying about the weather?",
        "Quelles nouvelles ce soir ?",
    ],
    True: [
        "Who won the election?",
        "How many ballots have been counted?",
        "Was there a fire at a polling station?",
    ],
}


def clock() -> int:
    """Now, in microseconds of UTC."""
    return time.time_ns() // 1000


def classifier(config: Config, more: tuple[tuple[str, AuthorClass], ...] = ()) -> Callable[[Author], AuthorClass]:
    """The class of an account by its id or handle, from the configured lists; a display name never counts."""
    known: dict[str, AuthorClass] = {name.lower(): "press" for name in config.authorities.press}
    known |= {name.lower(): "authority" for name in config.authorities.authority}
    known |= {name.lower(): kind for name, kind in more}

    def classify(author: Author) -> AuthorClass:
        return known.get(author.id.lower()) or known.get(author.handle.lower() or "-", "unknown")

    return classify


def load_voices(config: Config) -> dict[str, Voice]:
    """The shipped voices and those of the user's folder."""
    own = Path(config.answers.voices).expanduser() if config.answers.voices else config.data / "voices"
    return tones.load(own)


@asynccontextmanager
async def open_store(
    config: Config, *, readonly: bool = False, folder: Path | None = None
) -> AsyncIterator[LocalStore]:
    """The store of the data folder."""
    async with LocalStore(folder or config.data, commit_s=config.storage.commit_s, readonly=readonly) as store:
        yield store


class Service:
    """The running program: one store, one assistant, any number of sources side by side.

    Each source has its own task, counters and lag; one that fails is said in its state and does not stop the others.
    """

    def __init__(self, config: Config, store: LocalStore, opened: "list[OpenSource]", say: Say) -> None:
        self.config = config
        self.store = store
        self.sources = [o.source for o in opened]
        self.voices = load_voices(config)
        self.default_voice = config.answers.voice
        self.started = int(time.time())
        self.engines = Engines(config, say)
        more = tuple(pair for o in opened for pair in o.authorities)
        self.assistant = Assistant(
            store, self.engines.now, self.voices, classify=classifier(config, more), clock=clock, stream=self.stream
        )
        self.progress = {s.name: Progress(s.name, s.network, s.simulated) for s in self.sources}
        self.failures: dict[str, str] = {}
        self.registry = CollectorRegistry()
        self.registry.register(_Meters(self))
        self._began = time.monotonic()
        self._say = say

    @property
    def simulated(self) -> bool:
        return any(s.simulated for s in self.sources)

    def stream(self) -> Stream:
        """The lag of the source that is furthest ahead, and whether the stream is made up."""
        lags = [lag for p in self.progress.values() if (lag := p.lag_s(clock())) is not None]
        return Stream(min(lags, default=None), self.simulated)

    async def run(self) -> None:
        """Ingest from every source until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.engines.prepare())
            for source in self.sources:
                group.create_task(self._ingest(source))

    async def _ingest(self, source: Source) -> None:
        progress = self.progress[source.name]
        try:
            await ingest(source, self.store, progress, time.monotonic)
            self._say(f"{source.name}: the source has ended after {progress.posts} posts")
        except VoxpopError as error:
            self.failures[source.name] = str(error)
            self._say(f"{source.name}: stopped. {error}")

    async def status(self) -> dict[str, Any]:
        """The page's header: totals, rate, lag, sources, engine."""
        totals = await self.store.totals()
        second, running = int(time.monotonic()), time.monotonic() - self._began
        rate = sum(p.posts_per_minute(second, running) for p in self.progress.values())
        lag = self.stream().lag_s
        info = self.engines.now().describe()
        return {
            "simulated": self.simulated,
            "posts": totals["posts"],
            "posts_per_minute": round(rate, 1),
            "lag_s": None if lag is None else round(lag, 2),
            "sources": [
                {"name": s.name, "state": self.failures.get(s.name, s.state), "simulated": s.simulated}
                for s in self.sources
            ],
            "engine": {"name": info.name, "model": info.model, "state": self.engines.state},
            "examples": _EXAMPLES[self.simulated],
        }

    async def unready(self) -> str:
        """Why no question can be answered yet."""
        if (await self.store.totals())["posts"]:
            return ""
        states = "; ".join(f"{s.name}: {self.failures.get(s.name, s.state)}" for s in self.sources)
        return f"no posts yet ({states})"


class _Meters:
    """Prometheus metrics, read from the live counters at each scrape."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def collect(self) -> Iterator[Metric]:
        posts = CounterMetricFamily("voxpop_posts", "Posts received.", labels=["source"])
        dropped = CounterMetricFamily("voxpop_dropped", "Input dropped.", labels=["source", "reason"])
        lag = GaugeMetricFamily("voxpop_lag_seconds", "Age of the newest post.", labels=["source"])
        for source in self._service.sources:
            progress = self._service.progress[source.name]
            posts.add_metric([source.name], progress.posts)
            for reason, count in source.dropped.items():
                dropped.add_metric([source.name, reason], count)
            if (age := progress.lag_s(clock())) is not None:
                lag.add_metric([source.name], age)
        asked = self._service.assistant.tally
        answers = CounterMetricFamily("voxpop_answers", "Answers given.", value=asked["answers"])
        shown = CounterMetricFamily(
            "voxpop_sentences", "Sentences shown after verification.", value=asked["sentences"]
        )
        withheld = CounterMetricFamily(
            "voxpop_withheld", "Sentences withheld by verification.", value=asked["withheld"]
        )
        yield from (posts, dropped, lag, answers, shown, withheld)


class Engines:
    """Which engine answers now: `quote` from the start, and a model when one is ready, without a restart."""

    def __init__(self, config: Config, say: Say) -> None:
        self._config = config
        self._say = say
        self._engine: Engine = _simple_engine(config) or QuoteEngine()
        self.state = "ready"

    def now(self) -> Engine:
        return self._engine

    async def prepare(self) -> None:
        """Bring the configured model up in the background; what goes wrong is said, and quotes go on."""
        if self._config.engine.use not in ("auto", "local"):
            return
        try:
            await self._take_model()
        except VoxpopError as error:
            self.state = f"quotes only: {error}"
            self._say(f"engine: {self.state}")

    async def _take_model(self) -> None:
        name = await self._model()
        if name is None:
            self.state = "ready"
            return
        self.state = f"loading {name}"
        self._say(f"engine: loading {name}, answering with quotes meanwhile")
        self._engine = await asyncio.to_thread(local_engine, self._config, name)
        self.state = "ready"
        self._say(f"engine: {name} answers from now on")
