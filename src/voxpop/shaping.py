"""Let an engine write JSON in the place of sentences: calls of functions, and answers of a schema; it runs nothing.

JSON of posts is shown whole and only where `structured.py` finds each of its values in them; what fails twice is
refused. JSON of a conversation is the model's own, as its words are.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing

from voxpop import calling
from voxpop import prompt as prompts
from voxpop.answering import Answer
from voxpop.engines import Engine, no_model
from voxpop.errors import UsageError, VoxpopError
from voxpop.evidence import Evidence
from voxpop.messages import AnswerEvent, Call, Claim, Prompt, Refused, Request, Text, Withheld
from voxpop.questions import Question
from voxpop.schemas import Schema, closed, holds, sound
from voxpop.structured import Judged, judge
from voxpop.telling import differing
from voxpop.writing import written

_TRIES = 2
_RULE = ("schema", "JSON was asked for, and the posts do not carry it")
_LARGER = "Ask again, or give a larger model."
_NO_JSON = "The model gave no JSON of the schema."


async def able(engine: Engine, request: Request) -> None:
    """Raise UsageError (code `unsupported`, with `param`) where this engine cannot do what is asked."""
    shapes = engine.describe().shapes
    if request.schema is not None:
        sound(request.schema, "response_format")
        await _follows(engine, closed(request.schema), "response_format")
    if not shapes and calling.must_call(request.tools):
        raise _lacking(engine, "tool_choice")
    if shapes and calling.offered(request.tools):
        await _follows(engine, calling.decision(request.tools), "tools")


async def _follows(engine: Engine, schema: Schema, param: str) -> None:
    if not engine.describe().shapes:
        raise _lacking(engine, param)
    try:
        await asyncio.to_thread(engine.check, schema)
    except UsageError as error:
        raise UsageError(error.what, error.cure, code=error.code, param=param) from error


def _lacking(engine: Engine, param: str) -> UsageError:
    error = no_model(engine.describe().name)
    error.param = param
    return error


async def decided(request: Request, engine: Engine, answer: Answer, patience_s: float) -> tuple[Call, ...]:
    """The calls that the model wants made; none where it wants none, or breaks and the client does not insist."""
    answer.prompt = prompts.deciding(request, calling.offered(request.tools))
    try:
        text = await _whole(answer.prompt, engine, answer, patience_s, calling.decision(request.tools))
    except (VoxpopError, TimeoutError) as error:
        if isinstance(error, UsageError) or calling.must_call(request.tools):
            raise
        answer.broken = True
        return ()
    calls = calling.read(text, request)
    if calls:
        answer.cut = False
    elif calling.must_call(request.tools) and not answer.cut:
        raise VoxpopError("The model called no function.", _LARGER, code="engine_failed")
    return calls


async def said(prompt: Prompt, engine: Engine, answer: Answer, patience_s: float) -> AsyncIterator[AnswerEvent]:
    """JSON of a conversation, as it comes. Raises VoxpopError where the engine did not keep to the schema."""
    schema, text = closed(answer.request.schema or {}), ""
    async with aclosing(written(prompt, engine, answer, patience_s, schema)) as deltas:  # type: ignore[type-var]
        async for delta in deltas:
            text += delta.text
            yield answer.chat(delta.text, delta.tokens, "json")
    if not answer.cut and not _is_of(text, schema):
        raise VoxpopError(_NO_JSON, _LARGER, code="engine_failed")


async def filled(
    question: Question, engine: Engine, evidence: Evidence, answer: Answer, patience_s: float
) -> AsyncIterator[AnswerEvent]:
    """JSON of a schema from the chosen posts, or a refusal that says which value stands in none of them."""
    request = answer.request
    claims = _agreed(evidence, answer)
    if not claims:
        for event in refusal(differing(evidence, answer.passages, question.lang)):
            yield event
        return
    schema, reason = closed(request.schema or {}), ""
    for _ in range(_TRIES):
        answer.prompt = prompts.filling(request, question, tuple(answer.passages.values()), claims, reason)
        text = await _whole(answer.prompt, engine, answer, patience_s, schema)
        if answer.cut:  # what is not whole cannot be checked, so nothing of it is shown
            return
        judged = _judged(text, schema, answer.prompt, answer)
        if not judged.reason:
            for event in answer.show(Text(text.strip(), judged.cited, kind="json")):
                yield event
            return
        reason = judged.reason
        yield Withheld(text, reason)
    for event in refusal(f"The posts do not carry an answer of this schema: {reason}."):
        yield event


def refusal(why: str) -> list[AnswerEvent]:
    """The events of a refused answer of a schema."""
    return [Refused(*_RULE), Text(why, kind="notice")]


def _agreed(evidence: Evidence, answer: Answer) -> Sequence[Claim]:
    """What may be told as fact: of a result its declaration, and where posts differ an authority's word."""
    if answer.result:
        return evidence.chosen[:1] if answer.result == "declared" else ()
    if not evidence.disagree:
        return evidence.chosen
    return [c for c in evidence.chosen if answer.passages[c.number].author_class == "authority"]


def _judged(text: str, schema: Schema, prompt: Prompt, answer: Answer) -> Judged:
    if not _is_of(text, schema):
        return Judged(_NO_JSON.rstrip("."))
    return judge(json.loads(text), schema, prompt.passages, result=bool(answer.result))


def _is_of(text: str, schema: Schema) -> bool:
    try:
        return holds(schema, json.loads(text))
    except (ValueError, RecursionError):
        return False


async def _whole(prompt: Prompt, engine: Engine, answer: Answer, patience_s: float, schema: Schema) -> str:
    async with aclosing(written(prompt, engine, answer, patience_s, schema)) as deltas:  # type: ignore[type-var]
        return "".join([delta.text async for delta in deltas])
