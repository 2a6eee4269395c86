"""Reading a chat completions body: what is taken, ignored and refused; whatever comes, only UsageError escapes."""

from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from voxpop import voices
from voxpop.api import openai
from voxpop.api.asked import Known, parse
from voxpop.api.fields import FieldError, told
from voxpop.errors import UsageError
from voxpop.messages import Bounds, Call, Function, Message, Sampling, Tools
from voxpop.times import micros

KNOWN = Known(voices.load(), "regular", ("grok-*",))
HELLO: dict[str, Any] = {"messages": [{"role": "user", "content": "Hello"}]}


def read(**fields: Any) -> Any:
    return parse(HELLO | fields, KNOWN)


def test_a_bare_question_gets_the_defaults() -> None:
    asked = read()
    assert (asked.model, asked.stream, asked.include_usage) == ("voxpop", False, False)
    assert (asked.request.question, asked.request.voice, asked.request.as_of) == ("Hello", "regular", None)


def test_every_field_that_is_taken_arrives() -> None:
    asked = read(
        model="voxpop-fun",
        stream=True,
        stream_options={"include_usage": True},
        max_completion_tokens=7,
        max_tokens=9,
        temperature=1,
        seed=3,
        as_of="2026-11-03T22:40:00Z",
        messages=[
            {"role": "developer", "content": "Be brief."},
            {"role": "user", "content": [{"type": "text", "text": "One"}, {"type": "text", "text": "two"}]},
        ],
    )
    request = asked.request
    assert (asked.model, asked.stream, asked.include_usage) == ("voxpop-fun", True, True)
    assert (request.sampling, request.voice) == (Sampling(7, 1.0, 3), "fun")
    assert request.as_of == micros("2026-11-03T22:40:00Z")
    assert [(m.role, m.content) for m in request.messages] == [("system", "Be brief."), ("user", "One\ntwo")]


def test_a_voice_beside_the_model_wins_and_a_bound_is_kept_within() -> None:
    assert read(model="voxpop-regular", voice="fun").request.voice == "fun"
    assert read(max_tokens=100_000).request.sampling.max_tokens == 4096


HARMLESS = {
    "user": "u",
    "metadata": {"a": "b"},
    "store": True,
    "service_tier": "auto",
    "parallel_tool_calls": True,
    "top_p": None,
    "presence_penalty": 0,
    "logit_bias": {},
    "reasoning_effort": "none",
    "web_search_options": {"search_context_size": "high"},
    "tools": [],
    "tool_choice": "auto",
    "n": 1,
    "stop": [],
    "logprobs": False,
    "top_logprobs": 0,
    "response_format": {"type": "text"},
    "modalities": ["text"],
    "search_parameters": {"mode": "auto", "sources": None},
    "deferred": False,
    "voice": "",
    "as_of": None,
    "stream": None,
    "stream_options": None,
    "no_such_field": [1],
}


def test_harmless_fields_change_nothing() -> None:
    assert read(**HARMLESS) == read()


WEATHER = {"name": "weather", "description": "Of a city", "parameters": {"type": "object"}}
SHAPE = {"type": "object", "properties": {"a": {"type": "integer"}}}
CALL = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Oss"}'}}


def test_how_tokens_are_chosen_arrives() -> None:
    asked = read(
        top_p=0.5,
        frequency_penalty=-1,
        presence_penalty=2,
        stop=["\n", "END"],
        logprobs=True,
        top_logprobs=20,
        n=8,
        reasoning_effort="xhigh",
        deferred=True,
    )
    sampling = asked.request.sampling
    assert (sampling.top_p, sampling.frequency_penalty, sampling.presence_penalty) == (0.5, -1.0, 2.0)
    assert (sampling.stop, sampling.logprobs) == (("\n", "END"), 20)
    assert (asked.answers, asked.request.effort, asked.deferred) == (8, "high", True)
    assert read(logprobs=True).request.sampling.logprobs == 0
    assert read(stop="END").request.sampling.stop == ("END",)


def test_functions_and_a_schema_arrive() -> None:
    asked = read(
        tools=[{"type": "function", "function": WEATHER}, {"type": "function", "function": {"name": "now"}}],
        tool_choice={"type": "function", "function": {"name": "now"}},
        parallel_tool_calls=False,
        response_format={"type": "json_schema", "json_schema": {"name": "a", "strict": True, "schema": SHAPE}},
    )
    weather = Function("weather", "Of a city", {"type": "object"})
    assert asked.request.tools == Tools((weather, Function("now")), "now", False)
    assert asked.request.schema == SHAPE
    assert read(response_format={"type": "json_object"}).request.schema == {"type": "object"}


def test_calls_and_their_results_arrive() -> None:
    messages = [
        {"role": "user", "content": "Weather?"},
        {"role": "assistant", "content": None, "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "c1", "content": [{"type": "text", "text": "12 degrees"}]},
        {"role": "assistant", "content": ""},
        {"role": "assistant"},
        {"role": "user", "content": "And now?"},
    ]
    said = read(messages=messages).request.messages
    assert said[1] == Message("assistant", "", (Call("c1", "weather", '{"city": "Oss"}'),))
    assert said[2] == Message("tool", "12 degrees", answers="c1")
    assert [m.content for m in said[3:5]] == ["", ""]
    assert read(messages=messages[:3]).request.question == "Weather?"


def test_a_foreign_name_means_voxpop_and_is_answered_by() -> None:
    asked = read(model="grok-4-fast")
    assert (asked.model, asked.named, asked.request.voice) == ("voxpop", "grok-4-fast", "regular")


def test_live_search_is_read_as_bounds() -> None:
    asked = read(
        search_parameters={
            "mode": "on",
            "return_citations": False,
            "from_date": "2026-11-20",
            "to_date": "2026-11-21",
            "max_search_results": 30,
            "sources": [
                {"type": "x", "included_x_handles": ["anna", "@bert"], "post_favorite_count": 10},
                {"type": "rss", "links": ["https://news.example/feed.xml"]},
            ],
        }
    )
    bounds = asked.request.bounds
    assert (asked.request.look, asked.cited) == ("on", False)
    assert (bounds.since, bounds.until) == (micros("2026-11-20"), micros("2026-11-22") - 1)
    assert bounds.handles == ("anna", "@bert", "rss:news.example/feed.xml")
    assert (set(bounds.networks), bounds.min_likes, bounds.limit) == ({"social", "feeds"}, 10, 30)


@pytest.mark.parametrize(
    ("source", "bound"),
    [
        ({"type": "x"}, Bounds(networks=("social",))),
        ("x", Bounds(networks=("social",))),
        ({"type": "x", "x_handles": ["a"]}, Bounds(networks=("social",), handles=("a",))),
        ({"type": "x", "excluded_x_handles": ["a"]}, Bounds(networks=("social",), not_handles=("a",))),
        ({"type": "news", "country": "CH", "safe_search": True}, Bounds(networks=("feeds",))),
        (
            {"type": "web", "allowed_websites": ["https://www.a.example/x", "B.example"]},
            Bounds(domains=("a.example", "b.example")),
        ),
        (
            {"type": "news", "excluded_websites": ["a.example"]},
            Bounds(networks=("feeds",), not_domains=("a.example",)),
        ),
    ],
)
def test_sources_are_our_networks(source: Any, bound: Bounds) -> None:
    assert read(search_parameters={"sources": [source]}).request.bounds == bound


def test_without_a_source_all_are_searched() -> None:
    assert read(search_parameters={}).request.bounds == Bounds()
    assert read(search_parameters={"mode": "off"}).request.look == "off"


def _x(**more: Any) -> dict[str, Any]:
    return {"search_parameters": {"sources": [{"type": "x", **more}]}}


@pytest.mark.parametrize(
    ("fields", "param", "code"),
    [
        ({"tool_choice": {"type": "allowed_tools"}}, "tool_choice", "unsupported"),
        ({"function_call": {"name": "f"}}, "function_call", "unsupported"),
        ({"response_format": {"type": "grammar"}}, "response_format", "unsupported"),
        ({"modalities": ["text", "audio"]}, "modalities", "unsupported"),
        ({"audio": {}}, "audio", "unsupported"),
        ({"tools": [{"type": "code_interpreter"}]}, "tools[0]", "unsupported"),
        (_x(post_view_count=5), "search_parameters.sources[0].post_view_count", "unsupported"),
        ({"n": 9}, "n", "bad_usage"),
        ({"n": True}, "n", "bad_usage"),
        ({"tool_choice": "required"}, "tool_choice", "bad_usage"),
        ({"tool_choice": {"type": "function", "function": {"name": "f"}}}, "tool_choice", "bad_usage"),
        ({"tools": [{"type": "function", "function": {"name": "a b"}}]}, "tools[0].function.name", "bad_usage"),
        ({"tools": [{"type": "function", "function": {"name": "auto"}}]}, "tools[0].function.name", "bad_usage"),
        ({"tools": [{"type": "function", "function": WEATHER}] * 2}, "tools", "bad_usage"),
        ({"tools": [{"type": "function", "function": WEATHER}] * 129}, "tools", "bad_usage"),
        ({"response_format": {"type": "json_schema", "json_schema": {}}}, "response_format.schema", "bad_usage"),
        ({"stop": ["a", "b", "c", "d", "e"]}, "stop", "bad_usage"),
        ({"stop": ["a", ""]}, "stop", "bad_usage"),
        ({"top_logprobs": 3}, "top_logprobs", "bad_usage"),
        ({"logprobs": True, "top_logprobs": 21}, "top_logprobs", "bad_usage"),
        ({"top_p": 1.5}, "top_p", "bad_usage"),
        ({"presence_penalty": 3}, "presence_penalty", "bad_usage"),
        ({"reasoning_effort": "very"}, "reasoning_effort", "bad_usage"),
        ({"deferred": True, "stream": True}, "deferred", "bad_usage"),
        ({"messages": [*HELLO["messages"], {"role": "tool", "tool_call_id": "c1", "content": ""}]}, None, None),
        ({"messages": [*HELLO["messages"], {"role": "tool", "content": "12"}]}, "messages[1].tool_call_id", None),
        ({"messages": [{"role": "assistant", "tool_calls": [{"id": "c"}]}, *HELLO["messages"]]}, None, None),
        ({"search_parameters": {"mode": "always"}}, "search_parameters.mode", "bad_usage"),
        ({"search_parameters": {"from_date": "soon"}}, "search_parameters.from_date", "bad_usage"),
        ({"search_parameters": {"from_date": "2026-02-02", "to_date": "2026-02-01"}}, "from_date", "bad_usage"),
        ({"search_parameters": {"max_search_results": 51}}, "max_search_results", "bad_usage"),
        ({"search_parameters": {"sources": [{"type": "tv"}]}}, "search_parameters.sources[0]", "bad_usage"),
        (_x(x_handles=["a"], excluded_x_handles=["b"]), "allowed_handles", "bad_usage"),
        ({"search_parameters": {"sources": [{"type": "rss", "links": ["ftp://a"]}]}}, None, "bad_usage"),
        ({"search_parameters": {"sources": [{"type": "web", "allowed_websites": ["a b"]}]}}, None, "bad_usage"),
    ],
)
def test_what_cannot_be_served_is_refused_by_name(fields: dict[str, Any], param: str | None, code: str) -> None:
    with pytest.raises(FieldError) as caught:
        read(**fields)
    error = openai.error(caught.value)["error"]
    assert error["param"] == param or param is None
    assert error["code"] == code or code is None
    assert error["type"] == "invalid_request_error"
    assert error["cure"]


@pytest.mark.parametrize(
    ("fields", "param", "code"),
    [
        ({"model": "gpt-9"}, "model", "model_not_found"),
        ({"model": ""}, "model", "model_not_found"),
        ({"model": ["voxpop"]}, "model", "model_not_found"),
        ({"model": "gpt-9", "voice": "fun"}, "model", "model_not_found"),
        ({"voice": "opera"}, "voice", "unknown_voice"),
        ({"voice": {"a": 1}}, "voice", "unknown_voice"),
        ({"messages": None}, "messages", "bad_usage"),
        ({"messages": []}, "messages", "bad_usage"),
        ({"messages": "Hello"}, "messages", "bad_usage"),
        ({"messages": HELLO["messages"] * 201}, "messages", "bad_usage"),
        ({"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}, "messages", None),
        ({"messages": ["Hello"]}, "messages[0]", "bad_usage"),
        ({"messages": [{"role": "function", "content": "x"}]}, "messages[0]", "bad_usage"),
        ({"messages": [{"role": ["user"], "content": "x"}]}, "messages[0]", "bad_usage"),
        ({"messages": [{"role": "user"}]}, "messages[0].content", "bad_usage"),
        ({"messages": [{"role": "user", "content": " "}]}, "messages[0].content", "bad_usage"),
        ({"messages": [{"role": "user", "content": "x" * 100_001}]}, "messages[0].content", "bad_usage"),
        ({"messages": [{"role": "user", "content": "x" * 4_001}]}, "messages", "too_long"),
        ({"messages": [{"role": "user", "content": "x" * 4_000}] * 11}, "messages", "too_long"),
        ({"messages": [{"role": "user", "content": "\ud800"}]}, "messages[0].content", "bad_usage"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]},
            "messages[0].content",
            "unsupported",
        ),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": 1}]}]}, "messages[0].content", None),
        ({"as_of": "yesterday"}, "as_of", "bad_usage"),
        ({"as_of": 5}, "as_of", "bad_usage"),
        ({"as_of": "9999-12-31T23:59:59-23:59"}, "as_of", "bad_usage"),
        ({"max_tokens": 0}, "max_tokens", "bad_usage"),
        ({"max_tokens": 1.5}, "max_tokens", "bad_usage"),
        ({"max_completion_tokens": True}, "max_completion_tokens", "bad_usage"),
        ({"temperature": "hot"}, "temperature", "bad_usage"),
        ({"temperature": 2.1}, "temperature", "bad_usage"),
        ({"temperature": float("nan")}, "temperature", "bad_usage"),
        ({"seed": 2**63}, "seed", "bad_usage"),
        ({"stream": "yes"}, "stream", "bad_usage"),
        ({"stream_options": [1]}, "stream_options", "bad_usage"),
        ({"stream_options": {"include_usage": 1}}, "include_usage", "bad_usage"),
    ],
)
def test_a_wrong_value_is_refused_by_name(fields: dict[str, Any], param: str, code: str | None) -> None:
    with pytest.raises(FieldError) as caught:
        read(**fields)
    assert caught.value.param == param
    assert code in (None, caught.value.code)
    assert caught.value.cure
    assert len(caught.value.what) < 200
    orjson.dumps(openai.error(caught.value))


@pytest.mark.parametrize("body", [None, [], "x", 1, True])
def test_a_body_that_is_no_object_is_refused(body: Any) -> None:
    with pytest.raises(UsageError):
        parse(body, KNOWN)


def test_values_of_strangers_are_told_in_short() -> None:
    deep: Any = []
    for _ in range(5000):
        deep = [deep]
    values = [deep, {"a": deep}, "x" * 1000, 10**5000, 1, 1.5, True, None]
    assert [told(v) for v in values] == [
        "a list",
        "an object",
        f"'{'x' * 40}…'",
        "such a number",
        "1",
        "1.5",
        "true",
        "null",
    ]


FIELDS = (*HARMLESS, "messages", "model", "max_tokens", "max_completion_tokens", "temperature", "seed", "audio")
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from(["user", "text", "voxpop"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=8,
)
ROLES = st.sampled_from(["user", "assistant", "tool"])
CALLS = st.lists(st.just(CALL) | JSON, max_size=2)
MESSAGE = st.fixed_dictionaries(
    {},
    optional={"role": ROLES | JSON, "content": st.text() | JSON, "tool_calls": CALLS, "tool_call_id": JSON},
)
BODY = st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=4).flatmap(
    lambda body: st.just(body) | st.lists(MESSAGE | JSON, max_size=3).map(lambda m: body | {"messages": m})
)


@settings(max_examples=300, deadline=None)
@given(JSON | BODY)
def test_whatever_comes_only_usage_errors_escape(body: Any) -> None:
    try:
        asked = parse(body, KNOWN)
    except UsageError as error:
        orjson.dumps(openai.error(error))
        return
    assert asked.request.question.strip()
    orjson.dumps([m.content for m in asked.request.messages])
