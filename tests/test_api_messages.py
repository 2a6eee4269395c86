"""Anthropic's messages by Anthropic's own client, which checks every type, against a real store on loopback."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import anthropic
import httpx
import pytest

from conftest import Running, Script
from small_town import QUESTION, Town, town
from voxpop.accounts import Account, Denied, Limited
from voxpop.engines.echo import EchoEngine
from voxpop.errors import VoxpopError
from voxpop.gate import OpenGate
from voxpop.messages import (
    Call,
    Called,
    Citation,
    Done,
    Freshness,
    Message,
    Passage,
    Refused,
    Searching,
    Text,
    Timings,
    Usage,
)
from voxpop.posts import Author, Post

Serve = Callable[..., AbstractAsyncContextManager[str]]
ASKED: list[Any] = [{"role": "user", "content": QUESTION}]
HI: list[Any] = [{"role": "user", "content": "Hi"}]
SEARCH: list[Any] = [{"type": "web_search_20250305", "name": "web_search", "max_uses": 3}]
WEATHER: Any = {"name": "weather", "description": "Now", "input_schema": {"type": "object"}}
DONE = Done("stop", True, "echo", "regular", Usage(11, 5, 4, 2), Freshness(), Timings())
ANN = Post(
    "at://ann", "bluesky", Author("did:plc:ann", "ann.example"), "It rains.", 1, 1, url="https://a.example/1"
)
CITED = Citation(Passage(1, ANN))


def client_of(url: str, **more: Any) -> anthropic.AsyncAnthropic:
    return anthropic.AsyncAnthropic(
        base_url=url, api_key="any", max_retries=0, _strict_response_validation=True, **more
    )


@pytest.fixture
async def place(served: Serve, tmp_path: Path) -> AsyncIterator[Town]:
    async with town(served, tmp_path) as made:
        yield made


@pytest.fixture
async def client(place: Town) -> AsyncIterator[anthropic.AsyncAnthropic]:
    async with client_of(place.url) as client:
        yield client


@asynccontextmanager
async def said(served: Serve, *events: Any) -> AsyncIterator[tuple[anthropic.AsyncAnthropic, Script]]:
    """A client of a server that says these events."""
    script = Script([*events, DONE] if events and not isinstance(events[-1], Done | Exception) else events)
    async with served(Running(script)) as url, client_of(url) as client:
        yield client, script


async def test_an_answer_is_one_text_whose_marks_are_its_citations(client: anthropic.AsyncAnthropic) -> None:
    made: Any = await client.messages.create(model="voxpop", max_tokens=200, messages=ASKED)
    (block,) = made.content
    assert (made.stop_reason, block.type, made.role) == ("end_turn", "text", "assistant")
    marks = {int(n) for n in re.findall(r"\[(\d+)\]", block.text)}
    assert marks
    assert {int(c.encrypted_index) for c in block.citations} == marks
    for note in block.citations:
        assert note.type == "web_search_result_location"
        assert "bridge" in note.cited_text
        assert note.url.startswith("https://")
        assert note.title.startswith("@")
    assert made.usage.input_tokens + made.usage.cache_read_input_tokens > 0
    assert made.usage.server_tool_use.web_search_requests == 1
    assert made.model_extra["answerable"] is True
    assert made._request_id


async def test_a_stream_comes_in_the_order_of_anthropic_and_ends_in_the_plain_answer(
    client: anthropic.AsyncAnthropic,
) -> None:
    plain: Any = await client.messages.create(model="voxpop", max_tokens=200, messages=ASKED)
    stream: Any = await client.messages.create(model="voxpop", max_tokens=200, messages=ASKED, stream=True)
    kinds = [event.type async for event in stream]
    assert kinds[:2] == ["message_start", "content_block_start"]
    assert kinds[-3:] == ["content_block_stop", "message_delta", "message_stop"]
    assert set(kinds[2:-3]) == {"content_block_delta"}
    async with client.messages.stream(model="voxpop", max_tokens=200, messages=ASKED) as reader:
        text = "".join([piece async for piece in reader.text_stream])
        whole: Any = await reader.get_final_message()
    assert text == whole.content[0].text == plain.content[0].text
    assert [c.model_dump() for c in whole.content[0].citations] == [
        c.model_dump() for c in plain.content[0].citations
    ]
    assert whole.usage.output_tokens == plain.usage.output_tokens
    assert whole.stop_reason == "end_turn"


async def test_a_search_whose_tool_was_given_is_shown_as_blocks(client: anthropic.AsyncAnthropic) -> None:
    made: Any = await client.messages.create(model="voxpop", max_tokens=200, messages=ASKED, tools=SEARCH)
    use, result, text = made.content
    assert (use.type, use.name) == ("server_tool_use", "web_search")
    assert "bridge" in use.input["query"]
    assert result.tool_use_id == use.id
    assert result.content[0].url in {c.url for c in text.citations}
    async with client.messages.stream(model="voxpop", max_tokens=200, messages=ASKED, tools=SEARCH) as reader:
        whole: Any = await reader.get_final_message()
    assert [b.type for b in whole.content] == [b.type for b in made.content]
    assert whole.content[0].input == use.input
    only: Any = [SEARCH[0] | {"allowed_domains": ["gazette.example"]}]
    bound: Any = await client.messages.create(model="voxpop", max_tokens=200, messages=ASKED, tools=only)
    assert {c.url.split("/")[2] for c in bound.content[-1].citations} == {"gazette.example"}
    replayed: Any = [*ASKED, {"role": "assistant", "content": made.content}, {"role": "user", "content": "Hello"}]
    assert (await client.messages.create(model="voxpop", max_tokens=200, messages=replayed)).content


async def test_a_tool_is_used_and_its_result_comes_back(served: Serve) -> None:
    call = Call("toolu_1", "weather", '{"city": "Oss"}')
    done = Done("tool_calls", True, "echo", "regular", Usage(3, 4), Freshness(), Timings())
    async with said(served, Called(call), done) as (client, script):
        made: Any = await client.messages.create(
            model="voxpop", max_tokens=99, messages=HI, tools=[WEATHER], tool_choice={"type": "any"}
        )
        async with client.messages.stream(model="voxpop", max_tokens=99, messages=HI, tools=[WEATHER]) as reader:
            whole: Any = await reader.get_final_message()
        (use,) = made.content
        assert (made.stop_reason, use.type, use.id, use.input) == (
            "tool_use",
            "tool_use",
            "toolu_1",
            {"city": "Oss"},
        )
        assert (whole.stop_reason, whole.content[0].input) == ("tool_use", {"city": "Oss"})
        results: Any = [
            {"type": "tool_result", "tool_use_id": "toolu_1", "content": [{"type": "text", "text": "rain"}]},
            {"type": "text", "text": "And in words?"},
        ]
        turn: Any = {"role": "assistant", "content": made.content}
        await client.messages.create(
            model="voxpop-fun",
            max_tokens=99,
            system=[{"type": "text", "text": "Be kind."}],
            messages=[*HI, turn, {"role": "user", "content": results}],
            tools=[WEATHER],
            tool_choice={"type": "tool", "name": "weather", "disable_parallel_tool_use": True},
            stop_sequences=["END"],
            extra_body={"temperature": 0.5},
        )
    assert script.requests[0].tools.choice == "required"
    asked = script.requests[-1]
    assert asked.messages == (
        Message("system", "Be kind."),
        Message("user", "Hi"),
        Message("assistant", "", (call,)),
        Message("tool", "rain", answers="toolu_1"),
        Message("user", "And in words?"),
    )
    assert (asked.tools.choice, asked.tools.parallel, asked.voice) == ("weather", False, "fun")
    assert (asked.sampling.stop, asked.sampling.temperature, asked.sampling.max_tokens) == (("END",), 0.5, 99)


async def test_json_of_a_schema_comes_without_marks(served: Serve) -> None:
    schema: Any = {"type": "object", "properties": {"rain": {"type": "boolean"}}}
    async with said(served, CITED, Text('{"rain":true}', (1,), kind="json")) as (client, script):
        made: Any = await client.messages.create(
            model="voxpop",
            max_tokens=99,
            messages=HI,
            output_config={"format": {"type": "json_schema", "schema": schema}, "effort": "low"},
        )
    assert json.loads(made.content[0].text) == {"rain": True}
    assert made.content[0].citations[0].cited_text == "It rains."
    assert (script.requests[0].schema, script.requests[0].effort) == (schema, "low")


@pytest.mark.parametrize(
    ("events", "why"),
    [
        ((Text("It", kind="chat"), Done("length", True, "e", "v", Usage(), Freshness(), Timings())), "max_tokens"),
        ((Refused("weapons", "Weapons"), Text("No.", kind="notice")), "refusal"),
        ((Searching("rain"), Text("No.", kind="notice")), "end_turn"),
    ],
)
async def test_it_says_why_it_stopped(served: Serve, events: tuple[Any, ...], why: str) -> None:
    async with said(served, *events) as (client, _):
        made = await client.messages.create(model="voxpop", max_tokens=99, messages=HI)
        async with client.messages.stream(model="voxpop", max_tokens=99, messages=HI) as reader:
            whole = await reader.get_final_message()
    assert made.stop_reason == whole.stop_reason == why


@pytest.mark.parametrize(
    "body",
    [
        {"top_k": 3},
        {"messages": []},
        {"messages": [{"role": "system", "content": "x"}]},
        {"messages": [{"role": "user", "content": [{"type": "image"}]}]},
        {"messages": [{"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": "x"}]}]},
        {"messages": [*HI, {"role": "assistant", "content": "I begin"}]},
        {"tools": [{"type": "bash_20250124", "name": "bash"}]},
        {"tools": [WEATHER], "tool_choice": {"type": "tool", "name": "other"}},
        {"tool_choice": "auto"},
        {"max_tokens": 0},
        {"stop_sequences": "END"},
        {
            "tools": SEARCH[:1]
            and [SEARCH[0] | {"allowed_domains": ["a.example"], "blocked_domains": ["b.example"]}]
        },
    ],
)
async def test_what_cannot_be_done_is_refused_in_anthropics_shape(served: Serve, body: dict[str, Any]) -> None:
    async with served(Running(Script([DONE]))) as url, httpx.AsyncClient(base_url=url, trust_env=False) as client:
        reply = await client.post("/v1/messages", json={"model": "voxpop", "max_tokens": 9, "messages": HI} | body)
    assert reply.status_code == 400
    told = reply.json()
    assert (told["type"], told["error"]["type"]) == ("error", "invalid_request_error")
    assert told["error"]["cure"]


class Gate(OpenGate):
    """Knows one key, and lets its owner count, but not ask."""

    async def account(self, credential: Any) -> Account:
        if credential.key != "right":
            raise Denied("No such key.", "Make one.", code="invalid_api_key")
        return Account("ann", endpoints=frozenset({"messages"}))

    async def permit(self, account: Account, wanted: Any) -> Any:
        if wanted.bucket == "tokens":
            return await super().permit(account, wanted)
        assert (wanted.endpoint, wanted.max_tokens) == ("messages", 9)
        raise Limited("Enough for now.", "Come back later.", {"retry-after": "7"})


async def test_errors_are_the_sdks_own(served: Serve, tmp_path: Path) -> None:
    async with town(served, tmp_path, gate=Gate()) as place:
        async with client_of(place.url) as client:
            with pytest.raises(anthropic.AuthenticationError, match="No such key"):
                await client.messages.create(model="voxpop", max_tokens=9, messages=HI)
        async with client_of(place.url).copy(api_key="right") as client:
            with pytest.raises(anthropic.RateLimitError) as limited:
                await client.messages.create(model="voxpop", max_tokens=9, messages=HI)
            assert limited.value.response.headers["retry-after"] == "7"
            assert limited.value.type == "rate_limit_error"
            with pytest.raises(anthropic.NotFoundError) as missing:
                await client.messages.create(model="claude", max_tokens=9, messages=HI)
            assert missing.value.type == "not_found_error"
            assert missing.value.request_id
            counted = await client.messages.count_tokens(model="voxpop", messages=ASKED)
            assert counted.input_tokens > 0
        async with httpx.AsyncClient(base_url=place.url, trust_env=False) as other:
            reply = await other.post("/v1/responses", json={"input": "Hi"})
            assert reply.json()["error"]["code"] == "invalid_api_key"  # OpenAI's shape elsewhere


async def test_an_answer_that_breaks_off_is_an_error_of_the_sdk(served: Serve) -> None:
    broke = VoxpopError("The engine stopped.", "Ask again.", code="engine_failed")
    async with said(served, Text("It", kind="chat"), broke) as (client, _):
        with pytest.raises(anthropic.APIStatusError, match="The engine stopped"):
            await client.messages.create(model="voxpop", max_tokens=9, messages=HI)
        stream: Any = await client.messages.create(model="voxpop", max_tokens=9, messages=HI, stream=True)
        with pytest.raises(anthropic.APIStatusError, match="The engine stopped"):
            async for _ in stream:
                pass


async def test_a_client_that_goes_stops_the_engine(served: Serve, tmp_path: Path) -> None:
    engine = EchoEngine("word " * 500, pause_s=0.01)
    async with town(served, tmp_path, engine) as place, client_of(place.url) as client:
        stream: Any = await client.messages.create(
            model="voxpop", max_tokens=999, messages=[{"role": "user", "content": "Hello"}], stream=True
        )
        async for event in stream:
            if event.type == "content_block_delta":
                break
        await stream.close()
        await asyncio.sleep(0.3)
        made = engine.words_made
        await asyncio.sleep(0.2)
        assert engine.words_made == made < 450


def test_the_client_that_waits_takes_it_too(up: Any) -> None:
    with anthropic.Anthropic(base_url=up.url, api_key="any", max_retries=0) as client:
        asked: Any = [{"role": "user", "content": "Did a ballot box burn in Dornick?"}]
        with client.messages.stream(model="voxpop", max_tokens=200, messages=asked) as stream:
            text = "".join(stream.text_stream)
    assert "Dornick" in text
