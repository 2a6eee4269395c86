"""The line of one request: plan, retrieve, weigh, generate, verify each sentence, and only then show it."""

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import NamedTuple

from voxpop import policy as policies
from voxpop import prompt as prompts
from voxpop.answering import Answer, Looked, Made, Stream, notice
from voxpop.apart import apart
from voxpop.authorities import Authorities
from voxpop.calling import must_call, offered, results
from voxpop.calls import licensed, ruled
from voxpop.closing import STALE, quip, situation, undeclared
from voxpop.engines import Engine
from voxpop.engines.quote import QuoteEngine
from voxpop.evidence import Evidence, numbered, weigh
from voxpop.messages import (
    AnswerEvent,
    Done,
    Found,
    Gap,
    Passage,
    Refused,
    Request,
    Result,
    Searching,
    Text,
    Withheld,
)
from voxpop.policy import Policy
from voxpop.questions import Question
from voxpop.results import kind_of, wins
from voxpop.retrieval import Plan, plan, retrieve
from voxpop.shaping import able, decided, filled, refusal, said
from voxpop.store import Store
from voxpop.text import language
from voxpop.tracing import span
from voxpop.voices import Voice, choose
from voxpop.writing import chatted, checked

Gaps = Callable[[int, int], Awaitable[Sequence[Gap]]]
Cite = Callable[[Sequence[str]], Awaitable[None]]
_Look = Callable[[Plan, Request, int], Awaitable[Looked]]


class Since(NamedTuple):
    """What is known of a question by now, and whether a result that it asks for is declared."""

    passages: tuple[Passage, ...]
    evidence: Evidence
    result: Result


async def _no_gaps(since: int, until: int) -> Sequence[Gap]:
    return ()


async def _no_cite(ids: Sequence[str]) -> None:
    """For an assistant whose posts nobody looks at again."""


class Assistant:
    """Answers requests from one store with one engine at a time.

    `engine` is asked anew for each request, so that a model can take over from `quote` when it has arrived;
    `clock` gives microseconds of UTC; `stream` tells the lag of the live stream and whether it is made up; `gaps`
    what of a time (since, until) cannot be had; `tally` counts answers, sentences shown and withheld, and engines
    that broke off; `done` hears of each answer's end, `cite` of the ids of the posts that it cites. `keep` takes
    each whole answer and gives the id by which it can be opened again, empty where it is not kept. `policy` says
    what is refused, by default what voxpop ships. An engine that gives nothing for `patience_s` is given up.
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
        keep: Callable[[Made], str] = lambda _: "",
        policy: Policy | None = None,
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
        self._keep = keep
        self._policy = policy or policies.load()
        self._patience_s = patience_s
        self.tally: Counter[str] = Counter()

    async def answer(self, request: Request) -> AsyncIterator[AnswerEvent]:
        """The events of one answer; closing it stops the engine. Raises UsageError for an unknown voice."""
        events: list[AnswerEvent] = []
        engine = self._engine()
        answer = Answer(request, self._clock(), choose(self._voices, request.voice), engine.describe())
        async with aclosing(self._steps(answer, engine, self._look)) as steps:  # type: ignore[type-var]
            async for event in steps:
                self._count(event)
                events.append(event)
                yield event
        self.tally["answers"] += 1
        self.tally["engine_failures"] += answer.broken
        done = answer.done()
        done = replace(done, id=self._keep(answer.made([*events, done])))
        self._note(done)
        if answer.cited:
            await self._cite([p.post.id for p in answer.cited.values()])
        yield done

    async def again(self, request: Request, at: int, engine_name: str, looked: Looked) -> Made:
        """The same request of the same moment from what was found then, with the voice and the engine of now.

        Nothing is searched, counted, cited or kept. Raises UsageError for a voice that is gone.
        """

        async def look(planned: Plan, request: Request, now: int) -> Looked:
            return looked

        quoted = engine_name == "quote" and not offered(request.tools)  # a model decided what to call, all the same
        engine = QuoteEngine() if quoted else self._engine()
        answer = Answer(request, at, choose(self._voices, request.voice), engine.describe())
        events = [event async for event in self._steps(answer, engine, look)]
        return answer.made([*events, answer.done()])

    async def since(self, request: Request, at: int, known: Sequence[Passage]) -> Since:
        """What the posts of now say on a question that was asked at `at`, beside passages that are `known`.

        A request for an earlier moment, or until one, stays with that moment.
        """
        planned = plan(request, at)
        ends = [t for t in (request.as_of, request.bounds.until) if t is not None]
        until = min(ends, default=self._clock())
        looked = await self._look(replace(planned, query=replace(planned.query, until=until)), request, until)
        ids, first = {p.post.id for p in known}, max((p.number for p in known), default=0) + 1
        fresh = (p for p in self._policy.quotable(looked.passages)[0] if p.post.id not in ids)
        passages = (*known, *(replace(p, number=n) for n, p in enumerate(fresh, first)))
        return Since(passages, *await apart(_weigh, planned.question, passages, until))

    async def _steps(self, answer: Answer, engine: Engine, look: _Look) -> AsyncIterator[AnswerEvent]:
        asked = [m.content for m in answer.request.messages if m.role == "user"]
        if rule := self._policy.refuses(answer.request.question, asked[:-1]):
            yield Refused(rule.name, rule.title)
            yield Text(self._policy.notice(rule, language(answer.request.question)), kind="notice")
            return
        await able(engine, answer.request)
        planned = plan(answer.request, answer.now)
        traced = span("answer", kind=planned.kind, engine=answer.engine.name, voice=answer.voice.name)
        with traced as answer.span:
            if self._may_call(answer.request, engine, planned):
                for call in await decided(answer.request, engine, answer, self._patience_s):
                    yield answer.call(call)
            if answer.calls or answer.cut:
                return
            steps = self._line(planned, engine, answer, look)
            async with aclosing(steps):  # type: ignore[type-var]
                async for event in steps:
                    yield event

    def _may_call(self, request: Request, engine: Engine, planned: Plan) -> bool:
        """Who won is told from posts alone: then a function is called only where the client insists."""
        if not engine.describe().shapes or not offered(request.tools):
            return False
        return must_call(request.tools) or not wins(planned.question)

    def _line(self, planned: Plan, engine: Engine, answer: Answer, look: _Look) -> AsyncIterator[AnswerEvent]:
        if planned.kind != "posts" or (results(answer.request.messages) and not wins(planned.question)):
            unsought = replace(planned, kind="general") if planned.kind == "posts" else planned
            return self._from_model(unsought, engine, answer, look)
        # A result is told at once and in the words of who declared it: no model is waited for, none words it.
        writes = engine.describe().writes and not kind_of(planned.question)
        engine = engine if writes or answer.request.schema is not None else QuoteEngine()
        answer.engine = engine.describe()
        return self._from_posts(planned, engine, answer, look)

    def _count(self, event: AnswerEvent) -> None:
        if isinstance(event, Withheld):
            self.tally["withheld"] += 1
        elif isinstance(event, Text) and event.kind == "sentence":
            self.tally["sentences"] += 1

    async def _look(self, planned: Plan, request: Request, now: int) -> Looked:
        if planned.kind != "posts":
            return Looked(self._stream())
        retrieved = await retrieve(self._store, planned, now, self._authorities, request.bounds.limit)
        # A question without a bound asks about now: what is missing of last month says nothing about that.
        until = planned.query.until or now
        since = planned.query.since if planned.query.since is not None else until - STALE
        gaps = tuple(await self._gaps(since, until))
        found = licensed(planned.question, retrieved.passages, self._authorities, until)
        return Looked(self._stream(), found, retrieved.searched, gaps)

    async def _from_posts(
        self, planned: Plan, engine: Engine, answer: Answer, look: _Look
    ) -> AsyncIterator[AnswerEvent]:
        question, until = planned.question, planned.query.until or answer.now
        yield Searching(" ".join(c.word for c in question.concepts))
        with span("search", answer.span):
            answer.looked = await look(planned, answer.request, answer.now)
        found, kept_back = self._policy.quotable(answer.looked.passages)
        for rule in kept_back:
            yield Withheld("", f"a post falls under the rule '{rule.name}' of the policy")
        with span("weigh", answer.span, posts=len(found)):
            led, answer.result = await apart(_weigh, question, found, until)
            passages, evidence = numbered(found, led)
        answer.prompt = prompts.build(answer.request, question, passages, evidence, answer.voice)
        answer.passages = {p.number: p for p in answer.prompt.passages}
        answer.search_ms = answer.elapsed_ms()
        yield Found(len(passages), max((p.post.witnessed_at for p in passages), default=None), answer.search_ms)
        answer.simulated = answer.looked.stream.simulated or any(p.post.network == "simulated" for p in passages)
        if answer.request.schema is not None:
            told = self._json(planned, engine, answer, evidence, passages)
        else:
            told = self._sentences(planned, engine, answer, evidence, passages)
        async with aclosing(told):  # type: ignore[type-var]
            async for event in told:
                yield event

    async def _sentences(
        self, planned: Plan, engine: Engine, answer: Answer, evidence: Evidence, passages: tuple[Passage, ...]
    ) -> AsyncIterator[AnswerEvent]:
        question, until = planned.question, planned.query.until or answer.now
        if answer.simulated:
            yield notice("simulated", question.lang)
        if passages and answer.result == "not declared":
            yield undeclared(question, until)
        if evidence.chosen and answer.prompt:
            written = checked(answer.prompt, engine, evidence, answer, self._patience_s)
            async with aclosing(written):  # type: ignore[type-var]
                async for event in written:
                    yield event
        if said := quip(answer.voice, question.lang, situation(planned, passages, evidence, answer, until), answer):
            yield said

    async def _json(
        self, planned: Plan, engine: Engine, answer: Answer, evidence: Evidence, passages: tuple[Passage, ...]
    ) -> AsyncIterator[AnswerEvent]:
        question, until = planned.question, planned.query.until or answer.now
        if answer.result == "not declared":
            why = undeclared(question, until).text
        elif not evidence.chosen:
            how = situation(planned, passages, evidence, answer, until)
            why = answer.voice.line(how, question.lang, "") or "No post answers that."
        else:
            made = filled(question, engine, evidence, answer, self._patience_s)
            async with aclosing(made):  # type: ignore[type-var]
                async for event in made:
                    yield event
            return
        for event in refusal(why):
            yield event

    async def _from_model(
        self, planned: Plan, engine: Engine, answer: Answer, look: _Look
    ) -> AsyncIterator[AnswerEvent]:
        """What the model says by itself, labelled, or of what the client's functions found; no post is seen."""
        lang, request, voice = planned.question.lang, answer.request, answer.voice
        answer.looked = await look(planned, request, answer.now)
        answer.simulated = answer.looked.stream.simulated
        if wins(planned.question):  # the client forbids the search, and from memory it is not told
            unsearched = notice("unsearched", lang)
            for event in [unsearched] if request.schema is None else refusal(unsearched.text):
                yield event
            return
        if request.schema is None:
            if answer.simulated:
                yield notice("simulated", lang)
            if not engine.describe().converses:
                situation = "greeting" if planned.kind == "conversation" else "no_model"
                yield Text(voice.line(situation, lang, request.question), kind="notice")
                return
            if not results(request.messages):
                yield notice("model", lang)
        answer.prompt = prompts.chat(request, voice)
        tell = chatted if request.schema is None else said
        async with aclosing(tell(answer.prompt, engine, answer, self._patience_s)) as texts:  # type: ignore[type-var]
            async for text in texts:
                yield text


def _weigh(question: Question, found: Sequence[Passage], until: int) -> tuple[Evidence, Result]:
    return ruled(question, found, weigh(question, found, until))
