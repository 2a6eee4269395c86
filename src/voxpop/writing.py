"""Let an engine write from the evidence and show what is verified; what fails is withheld, its post quoted."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing

from voxpop.answering import Answer, notice
from voxpop.drafts import Draft, Lines, Unmarked
from voxpop.engines import Engine
from voxpop.engines.quote import quotation
from voxpop.errors import VoxpopError
from voxpop.evidence import Evidence
from voxpop.messages import AnswerEvent, Claim, Delta, Outcome, Prompt, Text, Token, Withheld
from voxpop.results import unconfirmed
from voxpop.schemas import Schema
from voxpop.telling import differing, repaired, why
from voxpop.text import language
from voxpop.tracing import span
from voxpop.verification import Verdict, verify
from voxpop.wording import shorter


async def checked(
    prompt: Prompt, engine: Engine, evidence: Evidence, answer: Answer, patience_s: float
) -> AsyncIterator[AnswerEvent]:
    """Each draft verified; what fails is withheld and the quote of its post stands in its place.

    An engine that breaks or stalls loses the rest of its answer: what passed stays, quotes follow.
    """
    lines, unused = Lines(), list(evidence.chosen)
    if differ := differing(evidence, answer.passages, prompt.lang):
        yield Text(differ, kind="notice")
    try:
        async with aclosing(written(prompt, engine, answer, patience_s)) as texts:  # type: ignore[type-var]
            async for delta in texts:
                for draft in lines.feed(delta.text):
                    for event in _judge(draft, evidence, prompt.lang, unused, answer):
                        yield event
    except (VoxpopError, TimeoutError):
        answer.broken = True
        yield notice("broken", prompt.lang)
    for draft in () if answer.broken else lines.end():
        for event in _judge(draft, evidence, prompt.lang, unused, answer):
            yield event
    # Where voices disagree a model may not choose whom to leave out, nor ever the declaration that is asked for.
    rest = (
        unused if answer.broken or evidence.disagree or not answer.sentences else _leading(unused, evidence, answer)
    )
    for claim in rest:
        for event in answer.show(_quoted(claim, prompt.lang, answer)):
            yield event


async def written(
    prompt: Prompt, engine: Engine, answer: Answer, patience_s: float, schema: Schema | None = None
) -> AsyncIterator[Delta]:
    """The engine's text as it comes; TimeoutError where nothing comes for too long."""
    with span("generate", answer.span, engine=engine.describe().name):
        async with aclosing(engine.generate(prompt, schema)) as deltas:  # type: ignore[type-var]
            while True:
                try:
                    async with asyncio.timeout(patience_s):
                        delta = await anext(deltas)
                except StopAsyncIteration:
                    return
                answer.take(delta)
                if delta.text or delta.tokens:
                    yield delta


async def chatted(prompt: Prompt, engine: Engine, answer: Answer, patience_s: float) -> AsyncIterator[AnswerEvent]:
    """A model's own words as they come, in which nothing may look like a citation; that it broke off is said."""
    plain, tokens = Unmarked(), tuple[Token, ...]()
    try:
        async with aclosing(written(prompt, engine, answer, patience_s)) as deltas:  # type: ignore[type-var]
            async for delta in deltas:
                tokens += delta.tokens
                if shown := plain.feed(delta.text):
                    yield answer.chat(shown, tokens)
                    tokens = ()
    except (VoxpopError, TimeoutError):
        if not answer.chatted:
            raise
        answer.broken = True
        yield notice("broken", language(answer.request.question))
    if (rest := plain.end()) or tokens:
        yield answer.chat(rest, tokens)


def _judge(draft: Draft, evidence: Evidence, lang: str, unused: list[Claim], answer: Answer) -> list[AnswerEvent]:
    verdict = _verdict(draft, evidence, answer)
    if verdict.shown:
        _use(draft, unused)
        return [] if draft.text in answer.sentences else answer.show(_told(draft, verdict, answer))
    events: list[AnswerEvent] = [Withheld(draft.text, verdict.reason)]
    for part in (Draft(text, draft.citations) for text in shorter(draft.text)):
        if (again := _verdict(part, evidence, answer)).shown:
            _use(part, unused)
            return [*events, *answer.show(_told(part, again, answer, verdict.reason))]
    if claim := next((c for c in unused if c.number in draft.citations), None):
        unused.remove(claim)
        events += answer.show(_quoted(claim, lang, answer, verdict.reason))
    return events


def _verdict(draft: Draft, evidence: Evidence, answer: Answer) -> Verdict:
    with span("verify", answer.span, citations=len(draft.citations)):
        return verify(draft, answer.passages, evidence)


def _leading(unused: list[Claim], evidence: Evidence, answer: Answer) -> list[Claim]:
    return [c for c in unused if answer.result == "declared" and c == evidence.chosen[0]]


def _use(draft: Draft, unused: list[Claim]) -> None:
    unused[:] = [c for c in unused if c.number not in draft.citations]


def _told(draft: Draft, verdict: Verdict, answer: Answer, failed: str = "") -> Text:
    """A verified draft with its outcome; `failed` is why the engine's own sentence was not shown."""
    reason = why(verdict, [answer.passages[n] for n in draft.citations])
    outcome: Outcome = "repaired" if failed else "attributed" if verdict.attributed else "shown"
    if failed:
        reason = f"{repaired(failed, quoted=verdict.verbatim)}; {reason}"
    return Text(_marked(draft, answer), draft.citations, outcome=outcome, why=reason, support=verdict.support)


def _marked(draft: Draft, answer: Answer) -> str:
    """A draft that tells a result which nobody who may has declared, marked as unconfirmed."""
    cited = [answer.passages[n] for n in draft.citations]
    label = unconfirmed(draft.text, cited, answer.prompt.lang if answer.prompt else "")
    return draft.text.rstrip(" .。") + label if label and not draft.text.endswith(label) else draft.text


def _quoted(claim: Claim, lang: str, answer: Answer, failed: str = "") -> Text:
    """The quote of a claim: what the weighing chose, in its author's words."""
    passage = answer.passages[claim.number]
    draft = Draft(quotation(claim, passage, lang), (claim.number,))
    verdict = Verdict(True, attributed=claim.standing != "stated", verbatim=True, support=1.0)
    return _told(draft, verdict, answer, failed)
