"""The line of one request: plan, retrieve, weigh, generate, verify each sentence, and only then show it."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

from voxpop import prompt as prompts
from voxpop.authorities import Authorities
from voxpop.drafts import Draft, Lines, Unmarked
from voxpop.engines import Engine
from voxpop.engines.quote import QuoteEngine, quotation
from voxpop.errors import VoxpopError
from voxpop.evidence import Evidence, declared, numbered, weigh
from voxpop.messages import (
    AnswerEvent,
    Citation,
    Claim,
    Done,
    Found,
    Freshness,
    Gap,
    Passage,
    Prompt,
    Request,
    Searching,
    Text,
    Timings,
    Usage,
    Withheld,
)
from voxpop.retrieval import Plan, plan, retrieve
from voxpop.store import Store
from voxpop.times import MICROS
from voxpop.tracing import span
from voxpop.verification import adds_nothing, verify
from voxpop.voices import Voice, choose

_STALE = 24 * 3600 * MICROS
_BREAKING = 15 * 60 * MICROS
_FLOOD = 5
_NOTICES = {
    "simulated": {
        "en": "Simulated stream: these posts are invented.",
        "fr": "Flux simulé : ces messages sont inventés.",
    },
    "model": {"en": "From the model, not from posts.", "fr": "Du modèle, pas des messages."},
    "broken": {
        "en": "The model stopped before the end; what follows is quoted from the posts.",
        "fr": "Le modèle s'est arrêté avant la fin ; la suite est citée des messages.",
    },
}


@dataclass(frozen=True, slots=True)
class Stream:
    """What the ingest side says of the live stream at one moment; `behind_s` of the source furthest behind."""

    lag_s: float | None = None
    simulated: bool = False
    behind_s: float | None = None


Gaps = Callable[[int, int], Awaitable[Sequence[Gap]]]
Cite = Callable[[Sequence[str]], Awaitable[None]]


async def _no_gaps(since: int, until: int) -> Sequence[Gap]:
    return ()


async def _no_cite(ids: Sequence[str]) -> None:
    """For an assistant whose posts nobody looks at again."""


@dataclass(slots=True)
class _Answer:
    """What one answer has shown so far."""

    began: float
    passages: Mapping[int, Passage] = field(default_factory=dict)
    cited: dict[int, Passage] = field(default_factory=dict)
    sentences: list[str] = field(default_factory=list)
    usage: Usage = field(default_factory=Usage)
    search_ms: float = 0.0
    first_ms: float | None = None
    chatted: bool = False
    simulated: bool = False
    gaps: tuple[Gap, ...] = ()
    span: Any = None

    def elapsed_ms(self) -> float:
        return round((time.perf_counter() - self.began) * 1000, 1)

    def show(self, text: str, numbers: tuple[int, ...]) -> list[AnswerEvent]:
        """The events that show a verified sentence, its new citations first."""
        events: list[AnswerEvent] = [Citation(self.passages[n]) for n in numbers if n not in self.cited]
        self.cited.update((n, self.passages[n]) for n in numbers)
        self.sentences.append(text)
        if self.first_ms is None:
            self.first_ms = self.elapsed_ms()
        return [*events, Text(text, numbers)]

    def chat(self, text: str) -> Text:
        """The event that shows a piece of a model's own text."""
        self.chatted = True
        if self.first_ms is None:
            self.first_ms = self.elapsed_ms()
        return Text(text, kind="chat")


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
        answer = _Answer(time.perf_counter())
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
        self, request: Request, planned: Plan, engine: Engine, voice: Voice, answer: _Answer, now: int
    ) -> AsyncIterator[AnswerEvent]:
        question, until = planned.question, planned.query.until or now
        yield Searching(" ".join(c.word for c in question.concepts))
        with span("search", answer.span):
            found = await retrieve(self._store, planned, now, self._authorities, request.bounds.limit)
            # A question without a bound asks about now: what is missing of last month says nothing about that.
            since = planned.query.since if planned.query.since is not None else until - _STALE
            answer.gaps = tuple(await self._gaps(since, until))
        with span("weigh", answer.span, posts=len(found)):
            passages, evidence = numbered(found, weigh(question, found, until))
        prompt = prompts.build(request, question, passages, evidence, voice)
        answer.passages = {p.number: p for p in prompt.passages}
        answer.search_ms = answer.elapsed_ms()
        yield Found(len(passages), max((p.post.witnessed_at for p in passages), default=None), answer.search_ms)
        answer.simulated = self._stream().simulated or any(p.post.network == "simulated" for p in passages)
        if answer.simulated:
            yield _notice("simulated", question.lang)
        if evidence.chosen:
            written = self._sentences(prompt, engine, evidence, answer)
            async with aclosing(written):  # type: ignore[type-var]
                async for event in written:
                    yield event
        if quip := _quip(voice, question.lang, _situation(planned, passages, evidence, answer, until), answer):
            yield quip

    async def _sentences(
        self, prompt: Prompt, engine: Engine, evidence: Evidence, answer: _Answer
    ) -> AsyncIterator[AnswerEvent]:
        """Each draft verified; what fails is withheld and the quote of its post stands in its place.

        An engine that breaks or stalls loses the rest of its answer: what passed stays, quotes follow.
        """
        lines, unused, broken = Lines(), list(evidence.chosen), False
        try:
            async with aclosing(self._written(prompt, engine, answer)) as texts:  # type: ignore[type-var]
                async for text in texts:
                    for draft in lines.feed(text):
                        for event in _judge(draft, evidence, prompt.lang, unused, answer):
                            yield event
        except (VoxpopError, TimeoutError):
            broken = True
            yield self._broke(prompt.lang)
        for draft in () if broken else lines.end():
            for event in _judge(draft, evidence, prompt.lang, unused, answer):
                yield event
        # Where voices disagree a model may not choose whom to leave out.
        for claim in unused if broken or evidence.disagree or not answer.sentences else ():
            for event in answer.show(_quoted(claim, prompt.lang, answer), (claim.number,)):
                yield event

    async def _written(self, prompt: Prompt, engine: Engine, answer: _Answer) -> AsyncIterator[str]:
        """The engine's text as it comes; TimeoutError where nothing comes for too long."""
        with span("generate", answer.span, engine=engine.describe().name):
            async with aclosing(engine.generate(prompt)) as deltas:  # type: ignore[type-var]
                while True:
                    try:
                        async with asyncio.timeout(self._patience_s):
                            delta = await anext(deltas)
                    except StopAsyncIteration:
                        return
                    answer.usage = delta.usage or answer.usage
                    if delta.text:
                        yield delta.text

    def _broke(self, lang: str) -> Text:
        self.tally["engine_failures"] += 1
        return _notice("broken", lang)

    async def _from_model(
        self, request: Request, planned: Plan, engine: Engine, voice: Voice, answer: _Answer
    ) -> AsyncIterator[AnswerEvent]:
        """What the model says by itself, labelled; it saw no post, so nothing in it may look like a citation."""
        lang = planned.question.lang
        answer.simulated = self._stream().simulated
        if answer.simulated:
            yield _notice("simulated", lang)
        if not engine.describe().converses:
            situation = "greeting" if planned.kind == "conversation" else "no_model"
            yield Text(voice.line(situation, lang, request.question), kind="notice")
            return
        yield _notice("model", lang)
        plain = Unmarked()
        try:
            async with aclosing(self._written(prompts.chat(request, voice), engine, answer)) as texts:  # type: ignore[type-var]
                async for text in texts:
                    if shown := plain.feed(text):
                        yield answer.chat(shown)
        except (VoxpopError, TimeoutError):
            if not answer.chatted:
                raise
            yield self._broke(lang)
        if rest := plain.end():
            yield answer.chat(rest)

    def _done(self, answer: _Answer, engine: Engine, voice: Voice) -> Done:
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
        )


def _judge(draft: Draft, evidence: Evidence, lang: str, unused: list[Claim], answer: _Answer) -> list[AnswerEvent]:
    with span("verify", answer.span, citations=len(draft.citations)):
        verdict = verify(draft, answer.passages, evidence)
    if verdict.shown:
        unused[:] = [c for c in unused if c.number not in draft.citations]
        return [] if draft.text in answer.sentences else answer.show(draft.text, draft.citations)
    events: list[AnswerEvent] = [Withheld(draft.text, verdict.reason)]
    if claim := next((c for c in unused if c.number in draft.citations), None):
        unused.remove(claim)
        events += answer.show(_quoted(claim, lang, answer), (claim.number,))
    return events


def _quoted(claim: Claim, lang: str, answer: _Answer) -> str:
    return quotation(claim, answer.passages[claim.number], lang)


def _notice(kind: str, lang: str) -> Text:
    return Text(_NOTICES[kind].get(lang, _NOTICES[kind]["en"]), kind="notice")


def _quip(voice: Voice, lang: str, situation: str, answer: _Answer) -> Text | None:
    line = voice.line(situation, lang, "".join(answer.sentences))
    if not line:
        return None
    if not answer.sentences:
        return Text(line, kind="notice")
    return Text(line, kind="quip") if adds_nothing(line, "\n".join(answer.sentences)) else None


def _situation(
    planned: Plan, passages: tuple[Passage, ...], evidence: Evidence, answer: _Answer, until: int
) -> str:
    """What most needs saying about the evidence, in this order of weight."""
    cited = list(answer.cited.values())
    shown = [c for c in evidence.chosen if c.number in answer.cited]
    official = any(p.author_class == "authority" for p in cited)
    called = any(declared(c.text) and answer.cited[c.number].author_class == "authority" for c in shown)
    if planned.question.about_result and passages and not called:
        return "not_declared"
    if not cited:
        return "not_said" if passages else "nothing_found"
    newest = max(p.post.witnessed_at for p in cited)
    if evidence.disagree:
        return "disagree"
    if any(p.duplicates >= _FLOOD and p.duplicates > 2 * p.independent_authors for p in cited):
        return "flood"
    if until - newest > _STALE:
        return "stale"
    voices = {p.post.author.id for p in cited}
    if voices != {""} and len(voices) == 1 == cited[0].independent_authors and not official:
        return "one_voice"
    return "breaking" if until - min(p.post.witnessed_at for p in cited) < _BREAKING else "plain"
