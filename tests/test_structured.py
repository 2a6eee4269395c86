"""JSON in the place of sentences: what posts must carry, what is refused, and what is the model's own."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from test_assistant import BOARD, DECLARED, QUESTION, STREET, Shelf, assistant, done, post
from voxpop.engines import Engine
from voxpop.engines.echo import EchoEngine
from voxpop.engines.quote import QuoteEngine
from voxpop.errors import UsageError, VoxpopError
from voxpop.messages import (
    AnswerEvent,
    AuthorClass,
    Citation,
    Message,
    Passage,
    Refused,
    Request,
    Sampling,
    Text,
    Withheld,
)
from voxpop.schemas import closed, holds, sound
from voxpop.structured import judge, leaves

LINES = Shelf(
    post(1, BOARD, "Line A in Oss is closed because of a fire. 12 trains wait."),
    post(2, BOARD, "No trains on line D: it is closed in Oss after a power cut."),
)
ASKED = "Which lines are closed in Oss?"
SCHEMA = {
    "type": "object",
    "properties": {
        "lines": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "line": {"type": "string"},
                    "why": {"type": "string"},
                    "state": {"enum": ["closed", "open", "unknown"]},
                },
                "required": ["line", "why", "state"],
                "additionalProperties": False,
            },
        }
    },
    "required": ["lines"],
    "additionalProperties": False,
}
TRUE = json.dumps({"lines": [{"line": "line D", "why": "power cut", "state": "closed"}]})
FALSE = json.dumps({"lines": [{"line": "line C", "why": "strike", "state": "closed"}]})


async def ask(engine: Engine, said: str = ASKED, shelf: Shelf = LINES, **more: Any) -> list[AnswerEvent]:
    request = Request((Message("user", said),), **{"schema": SCHEMA, **more})
    return [event async for event in assistant(engine, shelf).answer(request)]


def texts(events: list[AnswerEvent]) -> list[tuple[str, str]]:
    return [(e.kind, e.text) for e in events if isinstance(e, Text)]


async def test_json_of_posts_is_the_whole_content_and_cites_who_carries_it() -> None:
    events = await ask(EchoEngine(TRUE))
    assert texts(events) == [("json", TRUE)]
    cited = [e.passage for e in events if isinstance(e, Citation)]
    assert [p.post.id for p in cited] == ["at://2"]
    (text,) = (e for e in events if isinstance(e, Text))
    assert text.citations == (cited[0].number,)
    assert done(events).answerable
    assert done(events).reason == "stop"


async def test_a_value_that_no_post_holds_gets_a_second_try() -> None:
    engine = EchoEngine(texts=(FALSE, TRUE))
    events = await ask(engine)
    assert texts(events) == [("json", TRUE)]
    assert [e.reason for e in events if isinstance(e, Withheld)] == [
        "'lines[0].line' is “line C”: the letter 'C' is in no cited post"
    ]
    assert "Copy from the posts." in engine.prompts[1].messages[-1].content


async def test_what_fails_twice_is_refused_and_said() -> None:
    events = await ask(EchoEngine(FALSE))
    assert [e.rule for e in events if isinstance(e, Refused)] == ["schema"]
    ((kind, why),) = texts(events)
    assert kind == "notice"
    assert "'lines[0].line' is “line C”" in why
    assert not done(events).answerable
    assert not [e for e in events if isinstance(e, Citation)]


async def test_what_is_not_json_of_the_schema_is_refused() -> None:
    for said in ("hens", "[]", '{"lines": 3}', "{" * 20_000):
        assert "no JSON of the schema" in texts(await ask(EchoEngine(said)))[0][1]


async def test_nothing_of_what_max_tokens_cut_is_shown() -> None:
    events = await ask(EchoEngine(FALSE), sampling=Sampling(max_tokens=2))
    assert texts(events) == []
    assert done(events).reason == "length"


async def test_where_no_post_answers_that_is_said() -> None:
    engine = EchoEngine(TRUE)
    events = await ask(engine, shelf=Shelf())
    assert [e.rule for e in events if isinstance(e, Refused)] == ["schema"]
    assert not engine.prompts


# -- results ------------------------------------------------------------------------------------------------------

WINNER = {"type": "object", "properties": {"winner": {"enum": ["Mara Lind", "Tom Beek", "nobody"]}}}
OSS = Shelf(post(1, BOARD, DECLARED), post(2, STREET, "Tom Beek is elected Mayor of Oss, they say."))


async def test_a_result_that_is_not_declared_is_refused() -> None:
    engine = EchoEngine('{"winner": "Tom Beek"}')
    events = await ask(engine, QUESTION, Shelf(post(2, STREET, "Tom Beek is elected Mayor of Oss!")), schema=WINNER)
    assert [e.rule for e in events if isinstance(e, Refused)] == ["schema"]
    assert texts(events)[0][1].startswith("Not declared as of 22:00 UTC")
    assert not engine.prompts


async def test_a_declared_result_is_told_of_its_declaration_alone() -> None:
    engine = EchoEngine('{"winner": "Mara Lind"}')
    events = await ask(engine, QUESTION, OSS, schema=WINNER)
    assert texts(events) == [("json", '{"winner": "Mara Lind"}')]
    assert "they say" not in engine.prompts[0].messages[-1].content
    assert "Beek is elected" not in engine.prompts[0].messages[-1].content


@pytest.mark.parametrize(("said", "schema"), [
    ('{"winner": "nobody"}', WINNER),
    ('{"winner": "Ann Kok"}', {"type": "object", "properties": {"winner": {"const": "Ann Kok"}}}),
    ('{"won": true}', {"type": "object", "properties": {"won": {"type": "boolean"}}}),
    ('{"Ann Kok": 52.4}', {"type": "object"}),
    ('{"name": "Tom Beek", "share": 52.4}', {"type": "object"}),
    ('{"text": "Tom Beek is elected Mayor of Oss"}', {"type": "object"}),
])  # fmt: skip
async def test_a_result_is_not_told_otherwise_in_a_field(said: str, schema: dict[str, Any]) -> None:
    events = await ask(EchoEngine(said), QUESTION, OSS, schema=schema)
    assert [e.rule for e in events if isinstance(e, Refused)] == ["schema"], texts(events)


async def test_without_a_search_who_won_is_not_told() -> None:
    for schema in (None, WINNER):
        engine = EchoEngine('{"winner": "Mara Lind"}')
        events = await ask(engine, QUESTION, OSS, schema=schema, look="off")
        assert texts(events) == [
            ("notice", "Who won is told from posts only, and this request lets me search none.")
        ]
        assert not engine.prompts
        assert not done(events).answerable


# -- a conversation -----------------------------------------------------------------------------------------------


async def test_json_of_a_conversation_is_the_models_own() -> None:
    events = await ask(EchoEngine('{"hens": [1, 2]}'), "Hello!", schema={"type": "object"})
    assert {kind for kind, _ in texts(events)} == {"json"}
    assert json.loads("".join(text for _, text in texts(events))) == {"hens": [1, 2]}
    assert done(events).answerable


async def test_json_that_is_not_of_the_schema_is_a_fault() -> None:
    with pytest.raises(VoxpopError, match="no JSON of the schema"):
        await ask(EchoEngine('{"lines": 3}'), "Hello!")
    events = await ask(EchoEngine('{"lines": [ "a'), "Hello!", sampling=Sampling(max_tokens=2))
    assert done(events).reason == "length"


async def test_look_decides_whether_posts_are_searched() -> None:
    assert [
        e for e in await ask(EchoEngine(TRUE), "Hello, lines closed in Oss!", look="on") if isinstance(e, Citation)
    ]
    assert not [e for e in await ask(EchoEngine(TRUE), look="off") if isinstance(e, Citation)]


# -- what cannot be ------------------------------------------------------------------------------------------------


async def test_an_engine_that_writes_no_json_says_so() -> None:
    for engine in (QuoteEngine(), EchoEngine()):
        for said in (ASKED, "Hello!"):
            with pytest.raises(UsageError, match="--engine local") as error:
                await ask(engine, said)
            assert (error.value.code, error.value.param) == ("unsupported", "response_format")


@pytest.mark.parametrize("schema", [
    {"type": "hen"},
    {"$ref": "#/$defs/absent"},
    {"$ref": "file:///etc/passwd"},
    {"$dynamicRef": "https://example.org/x"},
    {"properties": {"a": {"type": "object", "properties": {"b": {"$ref": "x"}}}}},
    {"minimum": "3"},
    {"items": {"items": {"items": {"enum": ["x" * 70_000]}}}},
])  # fmt: skip
def test_a_schema_that_is_none_is_refused(schema: dict[str, Any]) -> None:
    with pytest.raises(UsageError) as error:
        sound(schema, "response_format")
    assert (error.value.code, error.value.param) == ("unsupported", "response_format")


@pytest.mark.parametrize("ref", ["file:///etc/passwd", "https://example.org/x", "x", "#/$defs/absent"])
def test_nothing_outside_of_a_schema_is_looked_up(ref: str) -> None:
    with pytest.raises(UsageError, match="not within it"):
        sound({"properties": {"a": {"$ref": ref}}}, "response_format")


def test_a_schema_is_bounded_in_depth() -> None:
    schema: dict[str, Any] = {}
    for _ in range(5000):
        schema = {"items": schema}
    with pytest.raises(UsageError, match="levels deep"):
        sound(schema, "response_format")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(), lambda s: st.lists(s) | st.dictionaries(st.text(), s)
)


@given(
    st.dictionaries(st.sampled_from(["type", "properties", "items", "enum", "$ref", "anyOf", "const", "x"]), JSON)
)
def test_no_schema_breaks_the_reading(schema: dict[str, Any]) -> None:
    try:
        sound(schema, "x")
    except UsageError:
        return
    closed(schema)
    for value in ({}, [1, "a"], {"a": {"b": 1.5}}, "a"):
        list(leaves(value, schema))
        if holds(closed(schema), value):
            assert holds(schema, value)


# -- values -------------------------------------------------------------------------------------------------------


def told(text: str, author_class: AuthorClass = "authority") -> Passage:
    return Passage(1, post(1, BOARD, text), author_class=author_class)


@pytest.mark.parametrize(("text", "value", "passes"), [
    ("12 trains wait in Oss.", 12, True),
    ("12 trains wait in Oss.", 12.0, True),
    ("12 trains wait in Oss.", 13, False),
    ("It is -3.5 degrees in Oss.", -3.5, True),
    ("It is 3.5 degrees in Oss.", -3.5, False),
    ("12 000 people came to Oss.", 12000, True),
    ("Line A is closed.", "line A", True),
    ("Line A is closed.", "Line B", False),
    ("Line A is closed.", "closed", True),
    ("Line A is not closed.", "closed", False),
    ("Line A is closed.", "open", False),
    ("Line A is closed.", "", True),
    ("Line A is closed.", None, True),
    ("Line A is closed.", True, True),
    ("The bridge opens on Monday.", "Tuesday", False),
    ("Mara Lind spoke in Oss.", "Mara Lind", True),
    ("Mara Lind spoke in Oss.", "Tom Beek", False),
    ("Mara Lind spoke in Oss.", "mara beek", False),
    ("Lind is elected, claims Beek.", "Lind is elected Mayor", False),
    ("橋は閉鎖されています。", "閉鎖", True),
    ("Mara 52, Tom 47.", {"name": "Mara", "votes": 52}, True),
    ("Mara 52, Tom 47.", {"name": "Mara", "votes": 47}, False),
    ("Mara 52, Tom 47.", {"rows": [{"name": "Mara", "votes": 47}]}, False),
    ("Mara 52, Tom 47.", {"name": "Mara", "note": "hens"}, False),
])  # fmt: skip
def test_a_value_stands_in_a_post(text: str, value: Any, passes: bool) -> None:
    schema = {"properties": {n: {} for n in ("name", "votes", "rows", "note")}, "items": {"$ref": "#"}}
    schema["properties"]["rows"] = {"items": {"$ref": "#"}}
    judged = judge(value, schema, [told(text)], result=False)
    assert (not judged.reason) == passes, judged


def test_the_schemas_own_cases_are_no_claims() -> None:
    schema: dict[str, Any] = {
        "$defs": {"state": {"enum": ["up", "down", 7]}},
        "properties": {
            "a": {"$ref": "#/$defs/state"},
            "b": {"anyOf": [{"const": "x"}, {"type": "string"}]},
            "c": {},
        },
    }
    value = {"a": "up", "b": "x", "c": "up", "d": 7, "e": None, "f": False}
    assert [(leaf.path, leaf.text) for leaf in leaves(value, schema)] == [
        ("c", "up"),
        ("d", "d"),
        ("d", "7"),
        ("e", "e"),
        ("f", "f"),
    ]
    assert [leaf.text for leaf in leaves({"a": True}, {"properties": {"a": {"enum": [1]}}}, result=True)] == [
        "true"
    ]


@pytest.mark.parametrize(
    "value", ["Mara Lind is elected", "Mara Lind is elected Mayor of Oss", "elected: Mara Lind"]
)
def test_a_field_settles_nothing_that_is_not_declared(value: str) -> None:
    text = "Mara Lind is elected Mayor of Oss."
    assert judge(value, {}, [told(text, "unknown")], result=False).reason
    assert not judge(value, {}, [told(text)], result=False).reason
