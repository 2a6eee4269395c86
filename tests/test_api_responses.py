"""The Responses API by OpenAI's own client, which checks every type, against a real store on loopback."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, cast

import httpx
import openai
import pytest
from pydantic import BaseModel

from conftest import Running, Script
from small_town import QUESTION, Town, town
from voxpop.engines.echo import EchoEngine
from voxpop.errors import VoxpopError
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
    Token,
    Usage,
)
from voxpop.posts import Author, Post

Serve = Callable[..., AbstractAsyncContextManager[str]]
X: Any = [{"type": "x_search"}]
DONE = Done("stop", True, "echo", "regular", Usage(11, 5, 4, 2), Freshness(), Timings())
ANN = Post(
    "at://ann", "bluesky", Author("did:plc:ann", "ann.example"), "It rains.", 1, 1, url="https://a.example/(1)"
)
CITED = Citation(Passage(1, ANN))
LINK = re.compile(r"\[\[(\d+)\]\]\(([^()\s]+)\)")


def client_of(url: str, **more: Any) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(
        base_url=f"{url}/v1", api_key="any", max_retries=0, _strict_response_validation=True, **more
    )


@pytest.fixture
async def place(served: Serve, tmp_path: Path) -> AsyncIterator[Town]:
    async with town(served, tmp_path) as made:
        yield made


@pytest.fixture
async def client(place: Town) -> AsyncIterator[openai.AsyncOpenAI]:
    async with client_of(place.url) as client:
        yield client


@asynccontextmanager
async def said(served: Serve, *events: Any) -> AsyncIterator[tuple[openai.AsyncOpenAI, Script]]:
    """A client of a server that says these events."""
    script = Script([*events, DONE] if events and not isinstance(events[-1], Done | Exception) else events)
    async with served(Running(script)) as url, client_of(url) as client:
        yield client, script


# -- an answer ---------------------------------------------------------------------------------------------------


async def test_an_answer_cites_by_links_that_its_annotations_span(client: openai.AsyncOpenAI) -> None:
    made: Any = await client.responses.create(model="voxpop", input=QUESTION, tools=X)
    search, message = made.output
    assert (search.type, search.name, search.status) == ("custom_tool_call", "x_keyword_search", "completed")
    assert "bridge" in json.loads(search.input)["query"]
    assert made.status == message.status == "completed"
    text, notes = made.output_text, message.content[0].annotations
    assert notes
    for note in notes:
        link = LINK.fullmatch(text[note.start_index : note.end_index])
        assert link
        assert link[2] == note.url.replace("(", "%28").replace(")", "%29")
        assert note.title.startswith("@")
    assert len(notes) == len(LINK.findall(text))
    used = made.usage
    assert used.total_tokens == used.input_tokens + used.output_tokens > 0
    extra = used.model_extra
    assert (extra["num_server_side_tools_used"], extra["num_sources_used"]) == (1, len({n.url for n in notes}))
    assert extra["server_side_tool_usage_details"]["x_search_calls"] == 1


async def test_without_links_only_numbers_stand_in_the_text(client: openai.AsyncOpenAI) -> None:
    made: Any = await client.responses.create(
        model="voxpop",
        input=QUESTION,
        tools=X,
        include=["no_inline_citations", "reasoning.encrypted_content"],  # type: ignore[list-item]
    )
    text = made.output_text
    assert not LINK.search(text)
    for note in made.output[1].content[0].annotations:
        assert re.fullmatch(r"\[\d+\]", text[note.start_index : note.end_index])


async def test_a_search_is_shown_only_where_its_tool_was_given(client: openai.AsyncOpenAI) -> None:
    plain = await client.responses.create(model="voxpop", input=QUESTION)
    assert [item.type for item in plain.output] == ["message"]
    web: Any = await client.responses.create(model="voxpop", input=QUESTION, tools=[{"type": "web_search"}])
    assert [item.type for item in web.output] == ["web_search_call", "message"]
    assert "bridge" in web.output[0].action.query
    sites = {a.url.split("/")[2] for a in web.output[1].content[0].annotations}
    assert sites == {"gazette.example", "town.example"}


async def test_the_events_come_in_the_order_of_xai_and_end_in_the_plain_answer(client: openai.AsyncOpenAI) -> None:
    stream: Any = await client.responses.create(model="voxpop", input=QUESTION, tools=X, stream=True)
    events = [event async for event in stream]
    assert [e.sequence_number for e in events] == list(range(len(events)))
    kinds = [e.type.removeprefix("response.") for e in events]
    head = [
        *("created", "in_progress", "output_item.added", "custom_tool_call_input.delta"),
        *("custom_tool_call_input.done", "output_item.done", "output_item.added", "content_part.added"),
    ]
    assert kinds[: len(head)] == head
    assert kinds[-4:] == ["output_text.done", "content_part.done", "output_item.done", "completed"]
    assert set(kinds[len(head) : -4]) == {"output_text.delta", "output_text.annotation.added"}
    whole = events[-1].response
    assert "".join(e.delta for e in events if e.type == "response.output_text.delta") == whole.output_text
    notes = [e.annotation.model_dump() for e in events if e.type == "response.output_text.annotation.added"]
    assert notes == [a.model_dump() for a in whole.output[1].content[0].annotations]
    plain = await client.responses.create(model="voxpop", input=QUESTION, tools=X)
    assert plain.output_text == whole.output_text


async def test_the_sdks_own_stream_reader_takes_it(client: openai.AsyncOpenAI) -> None:
    async with client.responses.stream(model="voxpop", input=QUESTION, tools=X) as stream:
        deltas = [e.delta async for e in stream if e.type == "response.output_text.delta"]
        whole = await stream.get_final_response()
    assert "".join(deltas) == whole.output_text
    assert LINK.search(whole.output_text)


@pytest.mark.parametrize(
    ("tool", "cited"),
    [
        ({"allowed_x_handles": ["ben.example"]}, {"ben"}),
        ({"excluded_x_handles": ["harbour.example", "@ann.example"]}, {"ben"}),
        ({"from_date": "2001-01-01", "to_date": "2001-01-02"}, set()),
        ({"allowed_x_handles": ["nobody.example"]}, set()),
        ({"type": "web_search", "allowed_domains": ["gazette.example"]}, {"gazette"}),
        ({"type": "web_search", "filters": {"allowed_domains": ["gazette.example"]}}, {"gazette"}),
    ],
)
async def test_the_bounds_of_a_tool_bound_the_search(
    client: openai.AsyncOpenAI, tool: Any, cited: set[str]
) -> None:
    made: Any = await client.responses.create(
        model="voxpop", input=QUESTION, tools=cast("Any", [{"type": "x_search"} | tool])
    )
    notes = [a for item in made.output if item.type == "message" for a in item.content[0].annotations]
    assert {a.url.split("/")[3] for a in notes} == cited


# -- what a client can ask for ------------------------------------------------------------------------------------


async def test_every_shape_of_input_is_read(served: Serve) -> None:
    async with said(served, Text("Yes.", kind="chat")) as (client, script):
        items: Any = [
            {"role": "developer", "content": "Be short."},
            {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Rain?"}]},
            {"type": "reasoning", "id": "rs_1", "summary": []},
            {"type": "custom_tool_call", "id": "ctc_1", "call_id": "c", "name": "x_keyword_search", "input": "{}"},
            {"type": "function_call", "call_id": "call_1", "name": "look", "arguments": '{"at":"sky"}'},
            {"type": "function_call", "call_id": "call_2", "name": "feel", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "call_1", "output": "grey"},
            {
                "type": "function_call_output",
                "call_id": "call_2",
                "output": [{"type": "input_text", "text": "wet"}],
            },
        ]
        await client.responses.create(model="voxpop-fun", input=items, instructions="Speak plainly.")
    asked = script.requests[0]
    calls = (Call("call_1", "look", '{"at":"sky"}'), Call("call_2", "feel", "{}"))
    assert asked.messages == (
        Message("system", "Speak plainly."),
        Message("system", "Be short."),
        Message("user", "Rain?"),
        Message("assistant", "", calls),
        Message("tool", "grey", answers="call_1"),
        Message("tool", "wet", answers="call_2"),
    )
    assert asked.voice == "fun"


async def test_a_call_is_an_item_with_its_arguments_whole(served: Serve) -> None:
    call = Call("call_77", "weather", '{"city":"Oss"}')
    tools: Any = [{"type": "function", "name": "weather", "parameters": {"type": "object"}, "strict": True}, *X]
    done = Done("tool_calls", True, "echo", "regular", Usage(3, 4), Freshness(), Timings())
    async with said(served, Called(call), Called(Call("call_78", "weather")), done) as (client, script):
        whole: Any = await client.responses.create(model="voxpop", input="Hi", tools=tools, tool_choice="required")
        stream: Any = await client.responses.create(model="voxpop", input="Hi", tools=tools, stream=True)
        events = [event async for event in stream]
    first, second = whole.output
    assert (first.type, first.call_id, first.name, first.arguments) == ("function_call", *call_of(call))
    assert (second.arguments, whole.status) == ("{}", "completed")
    kinds = [e.type.removeprefix("response.") for e in events][2:6]
    assert kinds == [
        *("output_item.added", "function_call_arguments.delta", "function_call_arguments.done"),
        "output_item.done",
    ]
    assert events[4].arguments == call.arguments
    asked = script.requests[0]
    assert (asked.look, asked.tools.choice, asked.bounds.networks) == ("on", "auto", ("social",))


def call_of(call: Call) -> tuple[str, str, str]:
    return call.id, call.name, call.arguments


class Weather(BaseModel):
    city: str
    rain: bool


async def test_json_of_a_schema_is_the_whole_text_and_is_parsed(served: Serve) -> None:
    told = '{"city":"Oss","rain":true}'
    async with said(served, CITED, Text(told, (1,), kind="json")) as (client, script):
        made: Any = await client.responses.parse(model="voxpop", input="Hi", text_format=Weather)
    assert made.output_parsed == Weather(city="Oss", rain=True)
    assert made.output_text == told
    note = made.output[0].content[0].annotations[0]
    assert made.output_text[note.start_index : note.end_index] == told
    assert script.requests[0].schema["properties"].keys() == {"city", "rain"}


async def test_a_refusal_is_one_in_form_and_never_read_as_json(served: Serve) -> None:
    refused = (Refused("schema", "no JSON"), Text("Nothing was found.", kind="notice"))
    async with said(served, *refused) as (client, _):
        plain: Any = await client.responses.create(model="voxpop", input="Hi")
        shaped: Any = await client.responses.parse(model="voxpop", input="Hi", text_format=Weather)
        stream: Any = await client.responses.create(
            model="voxpop", input="Hi", text={"format": {"type": "json_object"}}, stream=True
        )
        kinds = [event.type async for event in stream]
    assert [part.type for part in plain.output[0].content] == ["output_text", "refusal"]
    assert plain.output_text == plain.output[0].content[1].refusal == "Nothing was found."
    assert [part.type for part in shaped.output[0].content] == ["refusal"]
    assert shaped.output_parsed is None
    assert kinds[4:6] == ["response.refusal.delta", "response.refusal.done"]


async def test_what_the_bound_of_tokens_cut_is_incomplete(served: Serve) -> None:
    cut = Done("length", True, "echo", "regular", Usage(3, 4), Freshness(), Timings())
    async with said(served, Text("It rai", kind="chat"), cut) as (client, script):
        whole: Any = await client.responses.create(model="voxpop", input="Hi", max_output_tokens=16)
        stream: Any = await client.responses.create(model="voxpop", input="Hi", stream=True)
        events = [event async for event in stream]
    assert (whole.status, whole.incomplete_details.reason) == ("incomplete", "max_output_tokens")
    assert (whole.output[0].status, whole.max_output_tokens) == ("incomplete", 16)
    assert events[-1].type == "response.incomplete"
    assert script.requests[0].sampling.max_tokens == 16


async def test_the_probabilities_of_tokens_come_where_they_are_asked_for(served: Serve) -> None:
    tokens = (Token("Ye", -0.25, (("No", -1.5),)), Token("s", -0.5))
    async with said(served, Text("Yes", kind="chat", tokens=tokens)) as (client, script):
        made: Any = await client.responses.create(
            model="voxpop", input="Hi", include=["message.output_text.logprobs"], top_logprobs=1
        )
    first, second = made.output[0].content[0].logprobs
    assert (first.token, first.logprob, first.top_logprobs[0].token) == ("Ye", -0.25, "No")
    assert second.bytes == [115]
    assert script.requests[0].sampling.logprobs == 1


async def test_what_a_client_says_of_its_request_is_repeated(served: Serve) -> None:
    async with said(served, Text("Yes.", kind="chat")) as (client, script):
        made: Any = await client.responses.create(
            model="voxpop-fun",
            input="Hi",
            instructions="Be kind.",
            metadata={"ticket": "7"},
            temperature=0.5,
            top_p=0.9,
            parallel_tool_calls=False,
            user="u1",
            reasoning={"effort": "low"},
        )
    assert (made.model, made.instructions, made.metadata) == ("voxpop-fun", "Be kind.", {"ticket": "7"})
    assert (made.temperature, made.top_p, made.parallel_tool_calls, made.user) == (0.5, 0.9, False, "u1")
    asked = script.requests[0]
    assert (asked.sampling.temperature, asked.sampling.top_p, asked.effort) == (0.5, 0.9, "low")
    assert made.store is False  # nothing is stored by this server


@pytest.mark.parametrize(
    ("body", "code", "param"),
    [
        ({"background": True}, "unsupported", "background"),
        ({"tools": [{"type": "code_interpreter"}]}, "unsupported", "tools[0]"),
        ({"tools": [{"type": "mcp", "server_url": "https://x.example"}]}, "unsupported", "tools[0]"),
        ({"tools": ["x_search"]}, "unsupported", "tools[0]"),
        (
            {"tools": [{"type": "x_search", "allowed_x_handles": ["a"], "excluded_x_handles": ["b"]}]},
            "bad_usage",
            "allowed_handles",
        ),
        (
            {"tools": [{"type": "web_search", "allowed_domains": [f"{n}.example" for n in range(6)]}]},
            "bad_usage",
            "allowed_domains",
        ),
        ({"tools": [{"type": "x_search", "from_date": "yesterday"}]}, "bad_usage", "tools[0]"),
        (
            {"tools": [{"type": "x_search", "from_date": "2026-02-02", "to_date": "2026-01-01"}]},
            "bad_usage",
            "from_date",
        ),
        ({"tool_choice": {"type": "function", "name": "f"}}, "bad_usage", "tool_choice"),
        ({"tool_choice": {"type": "x_search"}}, "bad_usage", "tool_choice"),
        ({"input": []}, "bad_usage", "input"),
        ({"input": None}, "bad_usage", "input"),
        ({"input": 7}, "bad_usage", "input"),
        ({"input": [{"type": "input_image"}]}, "unsupported", "input[0].type"),
        ({"input": [{"role": "user", "content": [{"type": "input_image"}]}]}, "unsupported", "input[0].content[0]"),
        ({"input": [{"type": "function_call_output", "call_id": "c", "output": "x"}]}, "bad_usage", "input"),
        ({"input": [{"type": "item_reference", "id": "msg_1"}]}, "not_found", None),
        ({"input": [{"type": "compaction", "encrypted_content": "AAAA"}]}, "bad_usage", "input"),
        ({"previous_response_id": "resp_1"}, "not_found", None),
        ({"metadata": {"a": 1}}, "bad_usage", "metadata"),
        ({"model": "gpt-9"}, "model_not_found", "model"),
        ({"temperature": 3}, "bad_usage", "temperature"),
        ({"reasoning": {"effort": "huge"}}, "bad_usage", "reasoning.effort"),
        ({"text": {"format": {"type": "xml"}}}, "unsupported", "text.format"),
        ({"tools": X, "search_parameters": {"mode": "on"}}, "bad_usage", "search_parameters"),
    ],
)
async def test_what_cannot_be_done_is_refused_by_its_field(
    served: Serve, body: dict[str, Any], code: str, param: str | None
) -> None:
    async with served(Running(Script([DONE]))) as url, httpx.AsyncClient(base_url=url, trust_env=False) as client:
        reply = await client.post("/v1/responses", json={"model": "voxpop", "input": "Hi"} | body)
        assert reply.status_code == (404 if code in ("not_found", "model_not_found") else 400)
        error = reply.json()["error"]
        assert (error["code"], error["param"]) == (code, param)
        assert error["cure"]


async def test_an_answer_that_breaks_off_is_an_error_of_the_sdk(served: Serve) -> None:
    broke = VoxpopError("The engine stopped.", "Ask again.", code="engine_failed")
    async with said(served, Text("It", kind="chat"), broke) as (client, script):
        with pytest.raises(openai.APIError, match="The engine stopped"):
            await client.responses.create(model="voxpop", input="Hi")
        stream: Any = await client.responses.create(model="voxpop", input="Hi", stream=True)
        with pytest.raises(openai.APIError, match="The engine stopped"):
            async for _ in stream:
                pass
    assert script.closed == 2


async def test_a_client_that_goes_stops_the_engine(served: Serve, tmp_path: Path) -> None:
    engine = EchoEngine("word " * 500, pause_s=0.01)
    async with town(served, tmp_path, engine) as place, client_of(place.url) as client:
        stream: Any = await client.responses.create(model="voxpop", input="Hello", stream=True)
        async for event in stream:
            if event.type == "response.output_text.delta":
                break
        await stream.close()
        await asyncio.sleep(0.3)
        made = engine.words_made
        await asyncio.sleep(0.2)
        assert engine.words_made == made < 450


# -- what is stored ----------------------------------------------------------------------------------------------


def like(response: Any) -> dict[str, Any]:
    """A response without what only its making knows."""
    whole = response.model_dump()
    return {k: v for k, v in whole.items() if k not in ("completed_at", "withheld")}


async def test_a_response_is_stored_retrieved_and_removed(client: openai.AsyncOpenAI) -> None:
    made: Any = await client.responses.create(model="voxpop", input=QUESTION, tools=X, metadata={"a": "b"})
    assert made.store is True
    got = await client.responses.retrieve(made.id)
    assert like(got) == like(made)
    stream: Any = await client.responses.retrieve(made.id, stream=True)
    events = [event async for event in stream]
    assert like(events[-1].response) == like(made)
    rest: Any = await client.responses.retrieve(made.id, stream=True, starting_after=events[-3].sequence_number)
    assert [e.type async for e in rest] == [e.type for e in events[-2:]]
    await client.responses.delete(made.id)
    with pytest.raises(openai.NotFoundError):
        await client.responses.retrieve(made.id)
    kept_out = await client.responses.create(model="voxpop", input=QUESTION, store=False)
    with pytest.raises(openai.NotFoundError):
        await client.responses.retrieve(kept_out.id)


async def test_the_items_of_the_input_come_in_pages(client: openai.AsyncOpenAI) -> None:
    items: Any = [{"role": "user", "content": f"line {n}"} for n in range(5)]
    made = await client.responses.create(model="voxpop", input=[*items, {"role": "user", "content": QUESTION}])
    listed: list[Any] = [i async for i in client.responses.input_items.list(made.id, limit=2, order="asc")]
    assert [i.content[0].text for i in listed] == [*(f"line {n}" for n in range(5)), QUESTION]
    newest = await client.responses.input_items.list(made.id, limit=1)
    assert newest.data[0].id == listed[-1].id
    with pytest.raises(openai.BadRequestError):
        await client.responses.input_items.list(made.id, after="in_0")


async def test_a_withdrawn_answer_says_so(place: Town, client: openai.AsyncOpenAI) -> None:
    tool: Any = [{"type": "x_search", "allowed_x_handles": ["ben.example"]}]
    made = await client.responses.create(model="voxpop", input=QUESTION, tools=tool)
    assert "wind" in made.output_text
    await place.delete("ben")
    got = await client.responses.retrieve(made.id)
    assert got.status == "incomplete"
    assert got.incomplete_details
    assert got.incomplete_details.reason == "content_filter"
    assert "wind" not in got.to_json()
    assert "withdrawn" in got.output_text


async def test_a_conversation_goes_on_by_its_id(served: Serve, tmp_path: Path) -> None:
    engine = EchoEngine()
    async with town(served, tmp_path, engine) as place, client_of(place.url) as client:
        first = await client.responses.create(model="voxpop", input="Hello", instructions="Be kind.")
        second = await client.responses.create(model="voxpop", input="Thanks", previous_response_id=first.id)
        assert second.previous_response_id == first.id
    assert [(m.role, m.content.strip()) for m in engine.prompts[-1].messages if m.role != "system"] == [
        ("user", "Hello"),
        ("assistant", "Hello"),
        ("user", "Thanks"),
    ]
    assert not any("Be kind" in m.content for m in engine.prompts[-1].messages)


async def test_a_turn_that_was_withdrawn_is_left_out_of_what_follows(served: Serve, tmp_path: Path) -> None:
    engine = EchoEngine("Fine.")
    async with town(served, tmp_path, engine) as place, client_of(place.url) as client:
        tool: Any = [{"type": "x_search", "allowed_x_handles": ["ben.example"]}]
        first = await client.responses.create(model="voxpop", input=QUESTION, tools=tool)
        again = [{"type": "item_reference", "id": i.id} for i in first.output]
        await client.responses.create(model="voxpop", input="Thank you", previous_response_id=first.id)
        assert any("wind" in m.content for m in engine.prompts[-1].messages)
        await client.responses.create(model="voxpop", input=[*again, {"role": "user", "content": "Thank you"}])  # type: ignore[list-item]
        assert any("wind" in m.content for m in engine.prompts[-1].messages)
        await place.delete("ben")
        for body in (
            {"input": "Thank you", "previous_response_id": first.id},
            {"input": [*again, {"role": "user", "content": "Thank you"}]},
        ):
            made: Any = await client.responses.create(model="voxpop", **body)
            assert not any("wind" in m.content for m in engine.prompts[-1].messages)
            assert made.store is True


async def test_an_answer_sent_back_is_stored_with_its_posts_or_not_at_all(served: Serve, tmp_path: Path) -> None:
    async with town(served, tmp_path, EchoEngine("It was the wind.")) as place, client_of(place.url) as client:
        tool: Any = [{"type": "x_search", "allowed_x_handles": ["ben.example"]}]
        first = await client.responses.create(model="voxpop", input=QUESTION, tools=tool)
        thanks: Any = {"role": "user", "content": "Thank you"}
        replayed: Any = [{"role": "user", "content": QUESTION}, *[i.model_dump() for i in first.output], thanks]
        traced: Any = await client.responses.create(model="voxpop", input=replayed)
        assert traced.store is True
        unknown: Any = [thanks, {"role": "assistant", "content": "The wind closed it."}, thanks]
        free: Any = await client.responses.create(model="voxpop", input=unknown)
        assert free.store is False
        await place.delete("ben")
        got = await client.responses.retrieve(traced.id)
        assert "wind" not in got.to_json()
        items: list[Any] = [i async for i in client.responses.input_items.list(traced.id)]
        assert "wind" not in str(items)


async def test_a_compaction_is_gone_on_from_without_what_was_withdrawn(served: Serve, tmp_path: Path) -> None:
    engine = EchoEngine("Fine.")
    async with town(served, tmp_path, engine) as place, client_of(place.url) as client:
        tool: Any = [{"type": "x_search", "allowed_x_handles": ["ben.example"]}]
        first = await client.responses.create(model="voxpop", input=QUESTION, tools=tool)
        small = await client.responses.compact(model="voxpop", previous_response_id=first.id, input="And now?")
        item: Any = small.output[0]
        assert item.type == "compaction"
        assert "wind" not in item.encrypted_content
        after: Any = [item.model_dump(), {"role": "user", "content": "Thank you"}]
        made = await client.responses.create(model="voxpop", input=after)
        told = [m.content for m in engine.prompts[-1].messages]
        assert QUESTION in told
        assert any("wind" in text for text in told)
        await place.delete("ben")
        assert "Fine" not in (await client.responses.retrieve(made.id)).output_text
        await client.responses.create(model="voxpop", input=after)
        told = [m.content for m in engine.prompts[-1].messages]
        assert QUESTION in told
        assert not any("wind" in text for text in told)


async def test_tokens_of_an_input_are_counted(client: openai.AsyncOpenAI) -> None:
    counted = await client.responses.input_tokens.count(model="voxpop", input=QUESTION)
    assert counted.input_tokens > 0


def events_of(lines: Sequence[str]) -> list[str]:
    return [line.removeprefix("event: ") for line in lines if line.startswith("event: ")]


async def test_each_event_is_named_as_its_type(place: Town) -> None:
    async with httpx.AsyncClient(base_url=place.url, trust_env=False) as client:
        reply = await client.post("/v1/responses", json={"input": QUESTION, "stream": True, "tools": X})
    lines = reply.text.splitlines()
    data = [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: ")]
    assert events_of(lines) == [each["type"] for each in data]
    assert "[DONE]" not in reply.text


async def test_a_searched_word_is_that_of_the_question(served: Serve) -> None:
    async with said(served, Searching("rain oss"), Text("No.", kind="notice")) as (client, _):
        made: Any = await client.responses.create(model="voxpop", input="Hi", tools=X)
    assert json.loads(made.output[0].input) == {"query": "rain oss"}
    assert made.output[0].status == "completed"
