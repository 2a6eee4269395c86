"""Where questions are asked: the night and recordings in stores of a temporary folder, one engine, every time kept.

It opens the same parts as the program does: sources are ingested by their own path, and `app.assistant` answers.
"""

import asyncio
import random
import tempfile
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import orjson

from voxpop import app, ingesting, tracing
from voxpop.assistant import Assistant
from voxpop.config import Config
from voxpop.engines import Engine
from voxpop.engines.quote import QuoteEngine
from voxpop.evaluation import night
from voxpop.evaluation.told import Told, read
from voxpop.messages import Bounds, Message, Request
from voxpop.store.local import LocalStore

T = TypeVar("T")
Step = Callable[[int, int], None]


class Skipped(Exception):
    """A suite cannot run here; the message says why."""


@dataclass(frozen=True, slots=True)
class Times:
    """Of one answer, in ms; `first` is None where no sentence was shown."""

    suite: str
    first: float | None
    total: float
    verify: float


@dataclass
class Bench:
    """Stores, assistants and the engine for the suites of one run; enter it, and its folder goes at the end.

    `data` is the folder of public files that `datasets` reads; None where there is none. `sample` bounds how many
    questions a suite asks; a suite takes them by `seed`, so two engines are asked the same ones. `config` gives the
    lists of authorities and the voices; its data folder is not touched. `heard` is the night where it is
    known, `kept` what suites share.
    """

    engine: Callable[[], Engine] = QuoteEngine
    data: Path | None = None
    questions: Path | None = None
    sample: int | None = None
    seed: int = 0
    config: Config = field(default_factory=Config)
    progress: Callable[[str, int, int], None] = lambda suite, done, total: None
    heard: night.Night | None = None
    suite: str = ""
    times: list[Times] = field(default_factory=list)
    kept: dict[str, Any] = field(default_factory=dict)

    async def __aenter__(self) -> "Bench":
        self._stack = AsyncExitStack()
        self._folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="voxpop-eval-")))
        self._opened: dict[str, LocalStore] = {}
        self._verify_s = 0.0
        self._others: list[Assistant] = []  # of engines that are not measured
        self._stack.callback(tracing.timed(self._span))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    def _span(self, name: str, seconds: float) -> None:
        if name == "verify":
            self._verify_s += seconds

    # -- what is asked --------------------------------------------------------------------------------------

    def some(self, items: Iterable[T], most: int | None = None) -> list[T]:
        """At most `sample` of them, drawn by the seed, in their own order; `most` is the suite's own bound."""
        everything = list(items)
        limit = min(n for n in (self.sample, most, len(everything)) if n is not None)
        if limit >= len(everything):
            return everything
        kept = random.Random(self.seed).sample(range(len(everything)), limit)
        return [everything[i] for i in sorted(kept)]

    def steps(self, items: Sequence[T], done: int = 0, total: int | None = None) -> Iterator[T]:
        """The items one after another, each told to whoever watches."""
        total = total or len(items)
        for number, item in enumerate(items, done):
            self.progress(self.suite, number, total)
            yield item
        self.progress(self.suite, done + len(items), total)

    def public(self, *names: str) -> tuple[Path, ...]:
        """Files of the folder of public data. Raises Skipped where one is absent."""
        if self.data is None:
            raise Skipped("needs --data, a folder of public files (docs/evaluation.md)")
        paths = tuple(self.data / name for name in names)
        if missing := [p.name for p in paths if not p.is_file()]:
            raise Skipped(f"{', '.join(missing)} is not in the folder of --data")
        return paths

    # -- stores ---------------------------------------------------------------------------------------------

    async def night(self) -> night.Night:
        """The simulated night as it came over the wire, once a run."""
        if self.heard is None:
            self.heard = await night.listen()
        return self.heard

    @asynccontextmanager
    async def playing(self) -> AsyncIterator["Playing"]:
        """The night, played forward moment by moment."""
        heard = await self.night()
        with tempfile.TemporaryDirectory(dir=self._folder) as folder:
            async with LocalStore(Path(folder)) as store:
                yield Playing(heard, store)

    @asynccontextmanager
    async def fresh_night(self, at: float) -> AsyncIterator[LocalStore]:
        """A store of its own that holds the night up to a second of it."""
        async with self.playing() as playing:
            await playing.to(at)
            await playing.store.commit()
            yield playing.store

    async def recorded(self, *recordings: Path, name: str = "") -> LocalStore:
        """A store of recordings, ingested once a run."""
        key = name or "|".join(map(str, recordings))
        if key not in self._opened:
            storage = replace(self.config.storage, data=str(self._folder / f"recorded-{len(self._opened)}"))
            sources = replace(self.config.sources, use=tuple(f"replay:{path}" for path in recordings))
            config = replace(self.config, storage=storage, sources=sources)
            await ingesting.ingest_all(config, lambda _: None)
            self._opened[key] = await self._stack.enter_async_context(app.open_store(config, readonly=True))
        return self._opened[key]

    async def rows(self, name: str, rows: Iterable[dict[str, Any]]) -> LocalStore:
        """A store of rows as a recording has them (see `sources/replay.py`), under a name of the suite's own."""
        if name not in self._opened:
            path = self._folder / f"rows-{len(self._opened)}.jsonl"
            await asyncio.to_thread(path.write_bytes, b"\n".join(orjson.dumps(r) for r in rows))
            return await self.recorded(path, name=name)
        return self._opened[name]

    # -- asking ---------------------------------------------------------------------------------------------

    def assistant(
        self, store: LocalStore, engine: Callable[[], Engine] | None = None, authorities: Sequence[str] = ()
    ) -> Assistant:
        """The program's own assistant over a store; `authorities` are listed beside the configured ones."""
        listed = self.config.authorities
        config = replace(
            self.config,
            storage=replace(self.config.storage, data=str(self._folder)),
            authorities=replace(listed, authority=(*listed.authority, *authorities)),
        )
        made = app.assistant(config, store, engine or self.engine)
        if engine is not None:
            self._others.append(made)
        return made

    async def ask(
        self,
        assistant: Assistant,
        id_: str,
        question: str,
        as_of: int | None = None,
        before: Sequence[str] = (),
        bounds: Bounds | None = None,
    ) -> Told:
        """The answer to a question, after those that the user asked `before`; the engine's own times are kept."""
        turns = tuple(Message("user", text) for text in (*before, question))
        self._verify_s = 0.0
        told = await read(id_, question, assistant.answer(Request(turns, as_of=as_of, bounds=bounds or Bounds())))
        told.verify_ms = self._verify_s * 1000
        if told.done and assistant not in self._others:
            timings = told.done.timings
            self.times.append(Times(self.suite, timings.first_sentence_ms, timings.total_ms, told.verify_ms))
        return told


@dataclass
class Playing:
    """The night in a store, as far as it has been played."""

    night: night.Night
    store: LocalStore
    played: int = -1

    async def to(self, at: float) -> int:
        """Play on to a second of the night; that moment (microseconds). Going back raises RuntimeError."""
        now = self.night.moment(at)
        if now < self.played:
            raise RuntimeError("the night cannot be played backwards")
        await self.store.apply("simulated", list(self.night.between(self.played, now)))
        self.played = now
        return now
