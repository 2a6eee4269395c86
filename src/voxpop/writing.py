"""Let an engine write from the evidence and show what is verified; what fails is withheld, its post quoted."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing

from voxpop.answering import Answer, notice
from voxpop.drafts import Draft, Lines
from voxpop.engines import Engine
from voxpop.engines.quote import quotation
from voxpop.errors import VoxpopError
from voxpop.evidence import Evidence
from voxpop.messages import AnswerEvent, Claim, Prompt, Withheld
from voxpop.tracing import span
from voxpop.verification import verify


async def checked(
    prompt: Prompt, engine: Engine, evidence: Evidence, answer: Answer, patience_s: float
) -> AsyncIterator[AnswerEvent]:
    """Each draft verified; what fails is withheld and the quote of its post stands in its place.

    An engine that breaks or stalls loses the rest of its answer: what passed stays, quotes follow.
    """
    lines, unused = Lines(), list(evidence.chosen)
    try:
        async with aclosing(written(prompt, engine, answer, patience_s)) as texts:  # type: ignore[type-var]
            async for text in texts:
                for draft in lines.feed(text):
                    for event in _judge(draft, evidence, prompt.lang, unused, answer):
                        yield event
    except (VoxpopError, TimeoutError):
        answer.broken = True
        yield notice("broken", prompt.lang)
    for draft in () if answer.broken else lines.end():
        for event in _judge(draft, evidence, prompt.lang, unused, answer):
            yield event
    # Where voices disagree a model may not choose whom to leave out.
    for claim in unused if answer.broken or evidence.disagree or not answer.sentences else ():
        for event in answer.show(_quoted(claim, prompt.lang, answer), (claim.number,)):
            yield event


async def written(prompt: Prompt, engine: Engine, answer: Answer, patience_s: float) -> AsyncIterator[str]:
    """The engine's text as it comes; TimeoutError where nothing comes for too long."""
    with span("generate", answer.span, engine=engine.describe().name):
        async with aclosing(engine.generate(prompt)) as deltas:  # type: ignore[type-var]
            while True:
                try:
                    async with asyncio.timeout(patience_s):
                        delta = await anext(deltas)
                except StopAsyncIteration:
                    return
                answer.usage = delta.usage or answer.usage
                if delta.text:
                    yield delta.text


def _judge(draft: Draft, evidence: Evidence, lang: str, unused: list[Claim], answer: Answer) -> list[AnswerEvent]:
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


def _quoted(claim: Claim, lang: str, answer: Answer) -> str:
    return quotation(claim, answer.passages[claim.number], lang)
