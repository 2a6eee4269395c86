"""Reading a chat completions body: what is taken, ignored and refused; whatever comes, only UsageError escapes."""

from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from voxpop import voices
from voxpop.api import openai
from voxpop.api.asked import parse
from voxpop.api.fields import FieldError, told
from voxpop.errors import UsageError
from voxpop.messages import Sampling
from voxpop.times import micros

VOICES = voices.load()
HELLO: dict[str, Any] = {"messages": [{"role": "user", "content": "Hello"}]}


def read(**fields: Any) -> Any:
    return parse(HELLO | fields, VOICES, "regular")


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
    "top_p": 0.9,
    "presence_penalty": 0.1,
    "logit_bias": {},
    "reasoning_effort": "low",
    "web_search_options": {},
    "tools": [{"type": "function", "function": {"name": "f"}}],
    "tool_choice": "auto",
    "n": 1,
    "stop": [],
    "logprobs": False,
    "top_logprobs": 0,
    "response_format": {"type": "text"},
    "modalities": ["text"],
    "voice": "",
    "as_of": None,
    "stream": None,
    "stream_options": None,
    "no_such_field": [1],
}


def test_harmless_fields_change_nothing() -> None:
    assert read(**HARMLESS) == read()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("n", 2),
        ("n", True),
        ("tool_choice", "required"),
        ("tool_choice", {"type": "function", "function": {"name": "f"}}),
        ("function_call", {"name": "f"}),
        ("response_format", {"type": "json_object"}),
        ("response_format", {"type": "json_schema", "json_schema": {}}),
        ("stop", ["\n"]),
        ("logprobs", True),
        ("top_logprobs", 3),
        ("modalities", ["text", "audio"]),
        ("audio", {}),
        ("deferred", True),
        ("search_parameters", {"mode": "off"}),
    ],
)
def test_what_would_change_the_meaning_is_refused_by_name(field: str, value: Any) -> None:
    with pytest.raises(FieldError) as caught:
        read(**{field: value})
    error = openai.error(caught.value)["error"]
    assert (error["param"], error["code"], error["type"]) == (field, "unsupported", "invalid_request_error")
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
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0]", "bad_usage"),
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
        parse(body, VOICES, "regular")


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


FIELDS = (*HARMLESS, "messages", "model", "max_tokens", "max_completion_tokens", "temperature", "seed")
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
MESSAGE = st.fixed_dictionaries({}, optional={"role": st.just("user") | JSON, "content": st.text() | JSON})
BODY = st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=4).flatmap(
    lambda body: st.just(body) | st.lists(MESSAGE | JSON, max_size=3).map(lambda m: body | {"messages": m})
)


@settings(max_examples=300, deadline=None)
@given(JSON | BODY)
def test_whatever_comes_only_usage_errors_escape(body: Any) -> None:
    try:
        asked = parse(body, VOICES, "regular")
    except UsageError as error:
        orjson.dumps(openai.error(error))
        return
    assert asked.request.question.strip()
    orjson.dumps([m.content for m in asked.request.messages])
