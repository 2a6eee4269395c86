"""Chat completions around scripted answers: several at once, calls, JSON, probabilities, deferred ones."""

import asyncio
import math
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import httpx
import orjson
import pytest

from conftest import Running, Script
from voxpop.deferred import Later
from voxpop.errors import VoxpopError
from voxpop.messages import (
    AnswerEvent,
    Call,
    Called,
    Citation,
    Done,
    Freshness,
    Passage,
    Refused,
    Request,
    Searching,
    Text,
    Timings,
    Token,
    Usage,
)
from voxpop.posts import Author, Post
from voxpop.records import Database

Serve = Callable[..., Any]
NOW = 1_760_000_000_000_000
POST = Post(
    "at://1", "bluesky", Author("did:plc:ann", "ann.example"), "it rains", NOW, NOW, "https://posts.example/1"
)
HELLO = {"messages": [{"role": "user", "content": "Hello"}]}
WEATHER = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}


def done(reason: Any = "stop", **used: int) -> Done:
    return Done(reason, True, "echo", "regular", Usage(10, 5, **used), Freshness(), Timings(), id="ab12")


class Seeded:
    """Says its seed in two pieces, with a pause that lets another begin between them."""

    async def answer(self, request: Request) -> AsyncIterator[AnswerEvent]:
        for piece in ("seed ", str(request.sampling.seed)):
            yield Text(piece, kind="chat")
            await asyncio.sleep(0.01)
        yield done()


async def ask(served: Serve, events: Any, **body: Any) -> Any:
    running = Running(Script(events) if isinstance(events, Sequence) else events)
    async with served(running) as url, httpx.AsyncClient(base_url=url, trust_env=False) as http:
        response = await http.post("/v1/chat/completions", json=HELLO | body)
    assert response.status_code == 200, response.text
    if not body.get("stream"):
        return response.json()
    *chunks, last = [line.removeprefix("data: ") for line in response.text.strip().split("\n\n")]
    assert last == "[DONE]"
    return [orjson.loads(c) for c in chunks]


async def test_each_of_several_answers_has_a_seed_of_its_own(served: Serve) -> None:
    whole = await ask(served, Seeded(), n=3, seed=7)
    assert [(c["index"], c["message"]["content"]) for c in whole["choices"]] == [
        (0, "seed 7"),
        (1, "seed 8"),
        (2, "seed 9"),
    ]
    assert whole["usage"]["prompt_tokens"] == 30


async def test_several_answers_stream_side_by_side(served: Serve) -> None:
    chunks = await ask(served, Seeded(), n=2, stream=True, stream_options={"include_usage": True})
    *parts, usage = chunks
    said = {0: "", 1: ""}
    for part in parts:
        for choice in part["choices"]:
            said[choice["index"]] += choice["delta"].get("content") or ""
    assert said == {0: "seed 0", 1: "seed 1"}
    order = [p["choices"][0]["index"] for p in parts if p["choices"][0]["delta"].get("content")]
    assert order[:2] == [0, 1]
    assert [p["choices"][0]["finish_reason"] for p in parts[-2:]] == ["stop", "stop"]
    assert usage["usage"]["total_tokens"] == 30


async def test_one_failure_ends_all(served: Serve) -> None:
    running = Running(Script([VoxpopError("The engine is gone.", "Start it.", code="engine_unreachable")]))
    async with served(running) as url, httpx.AsyncClient(base_url=url, trust_env=False) as http:
        for stream in (False, True):
            response = await http.post("/v1/chat/completions", json=HELLO | {"n": 3, "stream": stream})
            assert (response.status_code, response.json()["error"]["code"]) == (503, "engine_unreachable")
    assert running.assistant.closed == len(running.assistant.requests) <= 6


CALLS = [
    Called(Call("call_1", "weather", '{"city":"Oss"}')),
    Called(Call("call_2", "weather")),
    done("tool_calls"),
]
TOLD = [
    {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Oss"}'}},
    {"id": "call_2", "type": "function", "function": {"name": "weather", "arguments": "{}"}},
]


async def test_calls_are_told_whole(served: Serve) -> None:
    choice = (await ask(served, CALLS, tools=[WEATHER]))["choices"][0]
    assert choice["message"]["content"] is None
    assert choice["message"]["tool_calls"] == TOLD
    assert choice["finish_reason"] == "tool_calls"


async def test_a_streamed_call_comes_in_one_chunk(served: Serve) -> None:
    chunks = await ask(served, CALLS, tools=[WEATHER], stream=True)
    calls = [c["choices"][0]["delta"]["tool_calls"] for c in chunks if "tool_calls" in c["choices"][0]["delta"]]
    assert calls == [[{"index": 0, **TOLD[0]}], [{"index": 1, **TOLD[1]}]]
    assert chunks[-1]["choices"][0]["finish_reason"] == "tool_calls"


SHAPE = {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "object"}}}


async def test_json_carries_no_mark_and_its_citations_stand_beside(served: Serve) -> None:
    said = [Searching("rain"), Citation(Passage(1, POST)), Text('{"rain":true}', (1,), kind="json"), done()]
    whole = await ask(served, said, response_format=SHAPE)
    assert orjson.loads(whole["choices"][0]["message"]["content"]) == {"rain": True}
    assert (whole["citations"], whole["usage"]["num_sources_used"]) == (["https://posts.example/1"], 1)
    pieces = [Text('{"a":', kind="json"), Text("1}", kind="json"), done("length")]
    cut = await ask(served, pieces, response_format=SHAPE)
    assert (cut["choices"][0]["message"]["content"], cut["choices"][0]["finish_reason"]) == ('{"a":1}', "length")


REFUSAL = [Refused("schema", "JSON from posts"), Text("No post says how much.", kind="notice"), done()]


async def test_a_refusal_of_json_is_no_content(served: Serve) -> None:
    whole = await ask(served, REFUSAL, response_format=SHAPE)
    message = whole["choices"][0]["message"]
    assert (message["content"], message["refusal"]) == (None, "No post says how much.")
    chunks = await ask(served, REFUSAL, response_format=SHAPE, stream=True)
    told = [c["choices"][0]["delta"].get("refusal") for c in chunks]
    assert [t for t in told if t] == ["No post says how much."]
    assert not any(c["choices"][0]["delta"].get("content") for c in chunks)


async def test_a_refusal_in_words_is_both(served: Serve) -> None:
    message = (await ask(served, REFUSAL))["choices"][0]["message"]
    assert message["content"] == message["refusal"] == "No post says how much."


async def test_probabilities_are_of_tokens_and_a_quotation_has_none(served: Serve) -> None:
    token = Token("é", math.log(0.5), (("é", math.log(0.5)), ("e", math.log(0.25))))
    said = [Text("é", kind="chat", tokens=(token,)), done()]
    row = (await ask(served, said, logprobs=True, top_logprobs=2))["choices"][0]["logprobs"]["content"][0]
    assert (row["token"], row["bytes"], [t["token"] for t in row["top_logprobs"]]) == ("é", [195, 169], ["é", "e"])
    assert row["logprob"] == pytest.approx(-0.693, abs=1e-3)
    chunks = await ask(served, said, logprobs=True, stream=True)
    assert [bool(c["choices"][0]["logprobs"]) for c in chunks] == [False, True, False]
    quoted = [Citation(Passage(1, POST)), Text("It rains.", (1,)), done()]
    assert (await ask(served, quoted, logprobs=True))["choices"][0]["logprobs"] is None


async def test_what_was_reasoned_is_counted_beside(served: Serve) -> None:
    usage = (await ask(served, [Text("x", kind="chat"), done(reasoning_tokens=7)]))["usage"]
    assert (usage["completion_tokens"], usage["total_tokens"]) == (5, 22)
    assert usage["completion_tokens_details"]["reasoning_tokens"] == 7


async def test_a_foreign_name_is_answered_by_and_citations_can_be_left_out(served: Serve) -> None:
    said = [Citation(Passage(1, POST)), Text("It rains.", (1,)), done()]
    whole = await ask(served, said, model="grok-4", search_parameters={"return_citations": False})
    assert whole["model"] == "grok-4"
    assert "citations" not in whole
    assert whole["system_fingerprint"].startswith("fp_")


# deferred


async def _fetched(http: httpx.AsyncClient, id_: str) -> httpx.Response:
    for _ in range(100):
        response = await http.get(f"/v1/chat/deferred-completion/{id_}")
        if response.status_code != 202:
            break
        assert response.content == b""
        await asyncio.sleep(0.02)
    return response


async def test_a_deferred_answer_is_given_once(served: Serve, database: Database) -> None:
    async def posts(ids: Sequence[str]) -> list[Post]:
        return [POST] if POST.id in ids else []

    said = [Citation(Passage(1, POST)), Text("It rains.", (1,)), done()]
    async with (
        Later(database, posts, lambda: NOW) as later,
        served(Running(Script(said)), later=later) as url,
        httpx.AsyncClient(base_url=url, trust_env=False) as http,
    ):
        asked = await http.post("/v1/chat/completions", json=HELLO | {"deferred": True, "n": 2})
        assert list(asked.json()) == ["request_id"]
        got = await _fetched(http, asked.json()["request_id"])
        assert (got.status_code, len(got.json()["choices"])) == (200, 2)
        assert got.json()["choices"][0]["message"]["content"] == "It rains. [1]"
        again = await _fetched(http, asked.json()["request_id"])
        assert (again.status_code, again.json()["error"]["code"]) == (404, "not_found")


async def test_nothing_is_deferred_without_a_place_for_it(served: Serve) -> None:
    async with served(Running(Script([done()]))) as url, httpx.AsyncClient(base_url=url, trust_env=False) as http:
        response = await http.post("/v1/chat/completions", json=HELLO | {"deferred": True})
    assert (response.status_code, response.json()["error"]["code"]) == (400, "unsupported")
