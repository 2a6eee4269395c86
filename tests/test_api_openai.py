"""OpenAI's own client, unmodified, against the real program and against the face alone."""

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import openai
import pytest

from conftest import Running, Script, Up, talking
from voxpop.engines.echo import EchoEngine
from voxpop.errors import VoxpopError

QUESTION: list[Any] = [{"role": "user", "content": "Did a ballot box burn in Dornick?"}]
HELLO: list[Any] = [{"role": "user", "content": "Hello"}]


@pytest.fixture
def client(up: Up) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{up.url}/v1", api_key="any", max_retries=0) as client:
        yield client


def test_a_plain_answer_cites_posts_at_the_right_places(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(model="voxpop", messages=QUESTION)
    choice = answer.choices[0]
    assert (choice.finish_reason, choice.message.role, answer.object) == ("stop", "assistant", "chat.completion")
    content, notes = choice.message.content or "", choice.message.annotations or []
    assert "Dornick" in content
    assert "Simulated stream" in content
    assert notes
    for n, note in enumerate(notes, 1):
        link = note.url_citation
        assert content[link.start_index : link.end_index] == f"[{n}]"
        assert link.title.startswith("@")
    extra = answer.model_extra or {}
    assert extra["citations"] == [note.url_citation.url for note in notes]
    assert extra["freshness"]["simulated"] is True
    assert (extra["answerable"], extra["engine"]) == (True, "quote")
    rests = extra["receipt"]
    assert rests["searched"]
    assert rests["posts"] >= rests["independent_authors"] >= 1
    assert rests["posts"] >= len(notes)
    assert (rests["sources_down"], rests["result"]) == ([], "")
    assert answer.usage
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens > 0


def test_a_streamed_answer_is_the_plain_one(client: openai.OpenAI) -> None:
    plain = client.chat.completions.create(model="voxpop-fun", messages=QUESTION)
    with client.chat.completions.create(
        model="voxpop-fun", messages=QUESTION, stream=True, stream_options={"include_usage": True}
    ) as stream:
        chunks = list(stream)
    assert len({c.id for c in chunks}) == 1
    assert chunks[0].choices[0].delta.role == "assistant"
    assert (
        "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == plain.choices[0].message.content
    )
    notes = [n for c in chunks if c.choices for n in (c.choices[0].delta.model_extra or {}).get("annotations", ())]
    assert [n.pop("index") for n in notes] == list(range(len(notes)))
    assert notes == [n.model_dump() for n in plain.choices[0].message.annotations or []]
    *_, last, usage = chunks
    assert last.choices[0].finish_reason == "stop"
    assert (last.model_extra or {})["citations"] == (plain.model_extra or {})["citations"]
    assert (last.model_extra or {})["receipt"].keys() == (plain.model_extra or {})["receipt"].keys()
    assert usage.choices == []
    assert usage.usage == plain.usage


def test_no_usage_comes_unasked(client: openai.OpenAI) -> None:
    with client.chat.completions.create(model="voxpop", messages=QUESTION, stream=True) as stream:
        assert all(c.usage is None and c.choices for c in stream)


def test_the_sdks_own_stream_reader_takes_it(client: openai.OpenAI) -> None:
    with client.chat.completions.stream(model="voxpop", messages=QUESTION) as stream:
        stream.until_done()
        message: Any = stream.get_final_completion().choices[0].message
    assert "Dornick" in message.content
    for n, note in enumerate(message.annotations, 1):
        link = note["url_citation"] if isinstance(note, dict) else note.url_citation.model_dump()
        assert message.content[link["start_index"] : link["end_index"]] == f"[{n}]"


def test_models_are_listed_and_retrieved(client: openai.OpenAI) -> None:
    names = [m.id for m in client.models.list()]
    assert names == ["voxpop", "voxpop-regular", "voxpop-fun"]
    assert client.models.retrieve("voxpop-fun").owned_by == "voxpop"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("llama-9")


def test_an_earlier_moment_can_be_asked_for(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(
        model="voxpop", messages=QUESTION, extra_body={"as_of": "2001-01-01T00:00:00Z", "voice": "fun"}
    )
    assert (answer.model_extra or {})["answerable"] is False


def test_errors_are_the_sdks_own(client: openai.OpenAI) -> None:
    def ask(**fields: Any) -> Any:
        return client.chat.completions.create(**{"model": "voxpop", "messages": QUESTION} | fields)

    with pytest.raises(openai.NotFoundError) as missing:
        ask(model="llama-9")
    assert (missing.value.code, missing.value.param) == ("model_not_found", "model")
    with pytest.raises(openai.BadRequestError) as refused:
        ask(modalities=["text", "audio"])
    assert (refused.value.code, refused.value.param) == ("unsupported", "modalities")
    body: Any = refused.value.body
    assert body["cure"] == "Ask for text."
    with pytest.raises(openai.APIStatusError) as large:
        ask(messages=[{"role": "user", "content": "x" * (1 << 20)}])
    assert large.value.status_code == 413
    with pytest.raises(openai.APIStatusError) as form:
        client.post(
            "/chat/completions", content=b"a=b", cast_to=object, options={"headers": {"Content-Type": "text/plain"}}
        )
    assert form.value.status_code == 415


async def test_an_engine_that_is_gone_is_a_server_error(served: Callable[..., Any]) -> None:
    gone = VoxpopError("The engine is gone.", "Start it.", code="engine_unreachable")
    async with (
        served(Running(Script([gone]))) as url,
        openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="any", max_retries=0) as client,
    ):
        for stream in (False, True):
            with pytest.raises(openai.InternalServerError) as caught:
                await client.chat.completions.create(model="voxpop", messages=HELLO, stream=stream)
            assert (caught.value.status_code, caught.value.code) == (503, "engine_unreachable")


async def test_the_async_client_streams_and_its_leaving_stops_the_engine(served: Callable[..., Any]) -> None:
    engine = EchoEngine("word " * 1000, pause_s=0.01)
    async with (
        served(talking(engine)) as url,
        openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="any", max_retries=0) as client,
    ):
        stream = await client.chat.completions.create(model="voxpop", messages=HELLO, stream=True)
        async for chunk in stream:
            if "word" in (chunk.choices[0].delta.content or ""):
                break
        await stream.close()
        await asyncio.sleep(0.3)
        made = engine.words_made
        await asyncio.sleep(0.3)
        assert 0 < made == engine.words_made < 1000


async def test_a_model_writes_to_the_end(served: Callable[..., Any]) -> None:
    async with (
        served(talking(EchoEngine("hello there"))) as url,
        openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="any", max_retries=0) as client,
    ):
        answer = await client.chat.completions.create(model="voxpop", messages=HELLO)
    assert (answer.choices[0].message.content or "").strip().endswith("hello there")
    assert answer.choices[0].message.annotations == []
