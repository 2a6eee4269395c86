"""The line of one request: plan, retrieve, weigh, generate, verify each sentence, and only then show it."""

import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass

from voxpop import prompt as prompts
from voxpop.answering import Answer, notice
from voxpop.authorities import Authorities
from voxpop.closing import STALE, quip, situation
from voxpop.drafts import Unmarked
from voxpop.engines import Engine
from voxpop.engines.quote import QuoteEngine
from voxpop.errors import VoxpopError
from voxpop.evidence import numbered, weigh
from voxpop.messages import (
    AnswerEvent,
    Done,
    Found,
    Freshness,
    Gap,
    Request,
    Searching,
    Text,
    Timings,
    Withheld,
)
from voxpop.retrieval import Plan, plan, retrieve
from voxpop.store import Store
from voxpop.tracing import span
from voxpop.voices import Voice, choose
from voxpop.writing import checked, written


@dataclass(frozen=True, slots=True)
class Stream:
    """What the ingest side says of the live stream at one moment; `behind_s` of the source furthest behind.

    `down`: the sources that bring nothing now, by name.
    """

    lag_s: float | None = None
    simulated: bool = False
    behind_s: float | None = None
    down: tuple[str, ...] = ()


Gaps = Callable[[int, int], Awaitable[Sequence[Gap]]]
Cite = Callable[[Sequence[str]], Awaitable[None]]


async def _no_gaps(since: int, until: int) -> Sequence[Gap]:
    return ()


async def _no_cite(ids: Sequence[str]) -> None:
    """For an assistant whose posts nobody looks at again."""


class Assistant:
    """Answers requests from one store with one engine at a time.

    `engine` is asked anew for each request, so that a model can take over from `quote` when it has arrived;
    `clock` gives microseconds of UTC; `stream` tells the lag of the live stream and whether it is made up; `gaps`
    what of a time (since, until) cannot be had; `tally`
    counts answers, sentences shown and withheld, and engines that broke off; `done`
    hears of each answer's end, `cite` of the ids of the posts that it cites. An engine that gives nothing for
    `patience_s` is given up.
    """

    def __init__(
        self,
        store: Store,
        engine: Callable[[], Engine],
        voices: Mapping[str, Voice],
        *,
        authorities: Authorities,
        clock: Callable[[], int],
        stream: Callable[[], Stream] = Stream,
        gaps: Gaps = _no_gaps,
        done: Callable[[Done], None] = lambda _: None,
        cite: Cite = _no_cite,
        patience_s: float = 120.0,
    ) -> None:
        self._store = store
        self._engine = engine
        self._voices = voices
        self._authorities = authorities
        self._clock = clock
        self._stream = stream
        self._gaps = gaps
        self._note = done
        self._cite = cite
        self._patience_s = patience_s
        self.tally: Counter[str] = Counter()

    async def answer(self, request: Request) -> AsyncIterator[AnswerEvent]:
        """The events of one answer; closing it stops the engine. Raises UsageError for an unknown voice."""
        now = self._clock()
        voice = choose(self._voices, request.voice)
        engine = self._engine()
        planned = plan(request, now)
        answer = Answer(time.perf_counter())
        if planned.kind == "posts":
            engine = engine if engine.describe().writes else QuoteEngine()
            steps = self._from_posts(request, planned, engine, voice, answer, now)
        else:
            steps = self._from_model(request, planned, engine, voice, answer)
        traced = span("answer", kind=planned.kind, engine=engine.describe().name, voice=voice.name)
        with traced as answer.span:
            async with aclosing(steps):  # type: ignore[type-var]
                async for event in steps:
                    self._count(event)
                    yield event
        self.tally["answers"] += 1
        self.tally["engine_failures"] += answer.broken
        done = self._done(answer, engine, voice)
        self._note(done)
        if answer.cited:
            await self._cite([p.post.id for p in answer.cited.values()])
        yield done

    def _count(self, event: AnswerEvent) -> None:
        if isinstance(event, Withheld):
            self.tally["withheld"] += 1
        elif isinstance(event, Text) and event.kind == "sentence":
            self.tally["sentences"] += 1

    async def _from_posts(
        self, request: Request, planned: Plan, engine: Engine, voice: Voice, answer: Answer, now: int
    ) -> AsyncIterator[AnswerEvent]:
        question, until = planned.question, planned.query.until or now
        words = " ".join(c.word for c in question.concepts)
        answer.searched = (words,) if words else ()
        yield Searching(words)
        with span("search", answer.span):
            retrieved = await retrieve(self._store, planned, now, self._authorities, request.bounds.limit)
            found, answer.searched = retrieved.passages, retrieved.searched
            # A question without a bound asks about now: what is missing of last month says nothing about that.
            since = planned.query.since if planned.query.since is not None else until - STALE
            answer.gaps = tuple(await self._gaps(since, until))
        with span("weigh", answer.span, posts=len(found)):
            passages, evidence = numbered(found, weigh(question, found, until))
        prompt = prompts.build(request, question, passages, evidence, voice)
        answer.passages = {p.number: p for p in prompt.passages}
        answer.search_ms = answer.elapsed_ms()
        yield Found(len(passages), max((p.post.witnessed_at for p in passages), default=None), answer.search_ms)
        answer.simulated = self._stream().simulated or any(p.post.network == "simulated" for p in passages)
        if answer.simulated:
            yield notice("simulated", question.lang)
        if evidence.chosen:
            written = checked(prompt, engine, evidence, answer, self._patience_s)
            async with aclosing(written):  # type: ignore[type-var]
                async for event in written:
                    yield event
        if said := quip(voice, question.lang, situation(planned, passages, evidence, answer, until), answer):
            yield said

    async def _from_model(
        self, request: Request, planned: Plan, engine: Engine, voice: Voice, answer: Answer
    ) -> AsyncIterator[AnswerEvent]:
        """What the model says by itself, labelled; it saw no post, so nothing in it may look like a citation."""
        lang = planned.question.lang
        answer.simulated = self._stream().simulated
        if answer.simulated:
            yield notice("simulated", lang)
        if not engine.describe().converses:
            situation = "greeting" if planned.kind == "conversation" else "no_model"
            yield Text(voice.line(situation, lang, request.question), kind="notice")
            return
        yield notice("model", lang)
        plain = Unmarked()
        try:
            async with aclosing(written(prompts.chat(request, voice), engine, answer, self._patience_s)) as texts:  # type: ignore[type-var]
                async for text in texts:
                    if shown := plain.feed(text):
                        yield answer.chat(shown)
        except (VoxpopError, TimeoutError):
            if not answer.chatted:
                raise
            answer.broken = True
            yield notice("broken", lang)
        if rest := plain.end():
            yield answer.chat(rest)

    def _done(self, answer: Answer, engine: Engine, voice: Voice) -> Done:
        seen = [p.post.witnessed_at for p in answer.cited.values()]
        stream = self._stream()
        return Done(
            reason="stop",
            answerable=bool(answer.sentences) or answer.chatted,
            engine=engine.describe().name,
            voice=voice.name,
            usage=answer.usage,
            freshness=Freshness(
                max(seen, default=None),
                min(seen, default=None),
                stream.lag_s,
                answer.simulated,
                stream.behind_s,
                answer.gaps,
            ),
            timings=Timings(answer.search_ms, answer.first_ms, answer.elapsed_ms()),
            receipt=answer.receipt(stream.down),
        )
