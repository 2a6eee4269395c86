"""Functions that a model asks for: what it may call, what is told when it does, and what is never called."""

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from test_assistant import OSS, QUESTION, assistant, done, notices, sentences
from voxpop.calling import decision, offered, read
from voxpop.engines import Engine
from voxpop.engines.echo import EchoEngine
from voxpop.engines.quote import QuoteEngine
from voxpop.errors import UsageError, VoxpopError
from voxpop.messages import (
    AnswerEvent,
    Call,
    Called,
    Delta,
    Function,
    Message,
    Request,
    Sampling,
    Searching,
    Text,
    Tools,
)

WEATHER = Function(
    "weather",
    "Tell the weather of a city.",
    {
        "type": "object",
        "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
        "required": ["city"],
    },
)
CLOCK = Function("clock", "Tell the time.")
TOOLS = Tools((WEATHER, CLOCK))
NONE = '{"calls":[]}'
OSS_CALL = '{"calls":[{"name":"weather","arguments":{"city":"Oss"}}]}'


async def ask(engine: Engine, *messages: Message | str, tools: Tools = TOOLS, **more: Any) -> list[AnswerEvent]:
    said = tuple(m if isinstance(m, Message) else Message("user", m) for m in messages)
    made = assistant(engine, OSS)
    return [event async for event in made.answer(Request(said, tools=tools, **more))]


def calls(events: Sequence[AnswerEvent]) -> list[tuple[str, str]]:
    return [(e.call.name, e.call.arguments) for e in events if isinstance(e, Called)]


async def test_a_call_is_all_that_is_told() -> None:
    engine = EchoEngine(OSS_CALL)
    events = await ask(engine, "Is it cold in Oss?")
    assert [type(e).__name__ for e in events] == ["Called", "Done"]
    assert calls(events) == [("weather", '{"city":"Oss"}')]
    assert done(events).reason == "tool_calls"
    assert done(events).answerable
    assert done(events).usage.prompt_tokens > 0


async def test_no_call_is_the_usual_answer() -> None:
    events = await ask(EchoEngine(texts=(NONE, "Hello there.")), "Hello!")
    assert not calls(events)
    assert "".join(e.text for e in events if isinstance(e, Text) and e.kind == "chat").strip() == "Hello there."
    assert done(events).reason == "stop"
    assert done(events).usage.completion_tokens == 3
    events = await ask(EchoEngine(texts=(NONE, "Bread. [1]")), "What is told about Mara Lind, Mayor of Oss?")
    assert any(isinstance(e, Searching) for e in events)
    assert sentences(events)


async def test_the_client_chooses() -> None:
    both = '{"calls":[{"name":"clock","arguments":{}},{"name":"weather","arguments":{"city":"Oss"}}]}'
    assert len(calls(await ask(EchoEngine(both), "Hi"))) == 2
    assert calls(await ask(EchoEngine(both), "Hi", tools=replace(TOOLS, parallel=False))) == [("clock", "{}")]
    named = await ask(EchoEngine(both), "Hi", tools=replace(TOOLS, choice="weather"))
    assert calls(named) == [("weather", '{"city":"Oss"}')]
    assert not calls(await ask(EchoEngine(both), "Hello!", tools=replace(TOOLS, choice="none")))
    with pytest.raises(VoxpopError, match="called no function"):
        await ask(EchoEngine(NONE), "Hi", tools=replace(TOOLS, choice="required"))


async def test_an_engine_that_calls_nothing_says_so_where_the_client_insists() -> None:
    for engine in (QuoteEngine(), EchoEngine()):
        events = await ask(engine, QUESTION)
        assert not calls(events)
        assert sentences(events)
        for choice in ("required", "weather"):
            with pytest.raises(UsageError, match="--engine local") as error:
                await ask(engine, QUESTION, tools=replace(TOOLS, choice=choice))
            assert (error.value.code, error.value.param) == ("unsupported", "tool_choice")


async def test_who_won_is_asked_of_posts_and_not_told_of_results() -> None:
    engine = EchoEngine('{"calls":[{"name":"clock","arguments":{}}]}')
    assert not calls(await ask(engine, QUESTION))
    assert not engine.prompts
    assert calls(await ask(engine, QUESTION, tools=replace(TOOLS, choice="required")))
    told = await ask(
        EchoEngine("Tom Beek is elected Mayor of Oss."),
        QUESTION,
        Message("assistant", "", (Call("c1", "clock"),)),
        Message("tool", "Tom Beek is elected Mayor of Oss.", answers="c1"),
    )
    assert not any(isinstance(e, Text) and "Beek is elected" in e.text for e in told)
    assert sentences(told)


RESULT = (
    Message("user", "Is it cold in Oss?"),
    Message("assistant", "", (Call("c1", "weather", '{"city":"Oss"}'),)),
    Message("tool", "3 degrees", answers="c1"),
)


async def test_an_answer_from_results_is_the_clients_own() -> None:
    engine = EchoEngine(texts=(NONE, "3 degrees, so yes."))
    events = await ask(engine, *RESULT)
    assert [(e.kind, e.text.strip()) for e in events if isinstance(e, Text)] == [
        ("chat", word) for word in ["3", "degrees,", "so", "yes."]
    ]
    assert "results of the functions" in engine.prompts[1].messages[0].content
    assert engine.prompts[1].messages[-1] == RESULT[-1]
    further = await ask(EchoEngine('{"calls":[{"name":"clock","arguments":{}}]}'), *RESULT)
    assert calls(further) == [("clock", "{}")]


async def test_a_call_that_was_answered_is_not_made_again() -> None:
    events = await ask(EchoEngine(texts=(OSS_CALL, "Yes.")), *RESULT)
    assert not calls(events)
    assert done(events).answerable


async def test_a_break_under_way_to_a_call_loses_no_answer() -> None:
    class Breaking(EchoEngine):
        async def generate(self, prompt: Any, schema: Any = None) -> Any:
            if schema is not None:
                raise VoxpopError("gone")
            yield Delta("Hello.")

    engine = Breaking("")
    events = await ask(engine, "Hello!")
    assert [e.text for e in events if isinstance(e, Text) and e.kind == "chat"] == ["Hello."]
    with pytest.raises(VoxpopError, match="gone"):
        await ask(engine, "Hello!", tools=replace(TOOLS, choice="required"))


async def test_what_max_tokens_cuts_is_no_call() -> None:
    cut = '{"calls":[{"name":"clock","arguments":{}}, {"name":"weather", "arguments": {"city": "Oss"}}]}'
    events = await ask(EchoEngine(cut), "Hi", sampling=Sampling(max_tokens=2))
    assert calls(events) == [("clock", "{}")]
    assert done(events).reason == "tool_calls"
    events = await ask(EchoEngine('{"calls": [{"name": "clock",'), "Hi", sampling=Sampling(max_tokens=1))
    assert [type(e).__name__ for e in events] == ["Done"]
    assert done(events).reason == "length"


@pytest.mark.parametrize("parameters", [
    {"type": 3},
    {"$ref": "https://example.org/schema"},
    {"$ref": "#/$defs/absent"},
    {"properties": {"a": {"$ref": "other.json"}}},
    {"type": "object", "description": "x" * 70_000},
])  # fmt: skip
async def test_a_bad_schema_of_a_function_is_refused(parameters: dict[str, Any]) -> None:
    with pytest.raises(UsageError) as error:
        await ask(EchoEngine(NONE), "Hi", tools=Tools((Function("f", "", parameters),)))
    assert (error.value.code, error.value.param) == ("unsupported", "tools")


def asked(*functions: Function, **more: Any) -> Request:
    return Request((Message("user", "?"),), tools=Tools(functions, **more))


def test_the_schema_of_the_decision() -> None:
    made = decision(asked(WEATHER, CLOCK, choice="required").tools)
    assert made["properties"]["calls"]["minItems"] == 1
    names = [one["properties"]["name"]["const"] for one in made["properties"]["calls"]["items"]["anyOf"]]
    assert names == ["weather", "clock"]
    assert made["$defs"]["f0"]["additionalProperties"] is False
    assert made["$defs"]["f1"] == {"type": "object", "properties": {}, "additionalProperties": False}


def test_references_move_with_their_schema() -> None:
    tree = {"type": "object", "properties": {"next": {"$ref": "#"}, "k": {"$ref": "#/$defs/k"}}, "$defs": {"k": {}}}
    made = decision(asked(CLOCK, Function("tree", "", tree)).tools)
    assert made["$defs"]["f1"]["properties"]["next"] == {"$ref": "#/$defs/f1"}
    assert made["$defs"]["f1"]["properties"]["k"] == {"$ref": "#/$defs/f1/$defs/k"}


@pytest.mark.parametrize(("text", "found"), [
    (OSS_CALL, ['{"city":"Oss"}']),
    ('{ "calls" : [ {"name": "weather", "arguments": {"city": "Oss"}} ] }', ['{"city": "Oss"}']),
    ('{"calls":[{"arguments":{"city":"Oss"},"name":"weather"}]}', ['{"city": "Oss"}']),
    ('{"calls":[{"name":"weather","arguments":{"city":"Oss","days":1e9999}}]}', []),
    ('{"calls":[{"name":"weather","arguments":{"city":"Oss","days":' + "9" * 5000 + "}}]}", []),
    ('{"calls":[{"name":"weather","arguments":{"town":"Oss"}}]}', []),
    ('{"calls":[{"name":"weather","arguments":"Oss"}]}', []),
    ('{"calls":[{"name":"absent","arguments":{}}]}', []),
    ('{"calls":[{"name":"weather","arguments":{"city":"Oss"}},{"name":"wea', ['{"city":"Oss"}']),
    (OSS_CALL.replace("]}", ',{"name":"weather","arguments":{"city":"Oss"}}]}'), ['{"city":"Oss"}']),
    ("", []), ("[]", []), ('{"calls":3}', []), ('{"calls":[' * 9000, []), ("Hello", []),
])  # fmt: skip
def test_reading(text: str, found: list[str]) -> None:
    assert [c.arguments for c in read(text, asked(WEATHER))] == found


@given(st.text(), st.integers(0, 40))
def test_whatever_an_engine_writes_a_call_is_whole(text: str, cut: int) -> None:
    for written in (text, OSS_CALL[:cut] + text, OSS_CALL[: -cut or None]):
        for call in read(written, asked(WEATHER, CLOCK)):
            assert isinstance(json.loads(call.arguments), dict)
            assert call.id.startswith("call_")


def test_ids_are_those_of_the_request() -> None:
    request = asked(WEATHER)
    (one,) = read(OSS_CALL, request)
    assert read(OSS_CALL, request) == (one,)
    (other,) = read(OSS_CALL, replace(request, messages=(Message("user", "!"),)))
    assert one.id != other.id


def test_none_is_offered_where_the_client_wants_none() -> None:
    assert offered(asked(WEATHER, choice="none").tools) == ()
    assert offered(asked(WEATHER, CLOCK, choice="clock").tools) == (CLOCK,)


async def test_a_notice_of_memory_is_not_put_on_results() -> None:
    assert notices(await ask(EchoEngine(texts=(NONE, "Cold.")), *RESULT)) == []
    assert notices(await ask(EchoEngine(texts=(NONE, "Hi.")), "Hello!")) == ["From the model, not from posts."]
