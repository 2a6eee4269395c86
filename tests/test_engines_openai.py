"""An OpenAI-compatible server as an engine: a real one on loopback that says what each test tells it."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from voxpop.engines.openai import OpenAIEngine
from voxpop.errors import VoxpopError
from voxpop.messages import Delta, Message, Prompt, Sampling

PROMPT = Prompt(
    (Message("system", "be"), Message("user", "hi")),
    grammar='root ::= "a"',
    sampling=Sampling(max_tokens=7, stop=("END",)),
)


def chunk(text: str) -> str:
    return "data: " + json.dumps({"choices": [{"delta": {"content": text}}]})


USAGE = "data: " + json.dumps({"choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 2}})


@dataclass
class Server:
    """Answers each request with `status` and `lines`; `seen` holds what it was sent, `left` whether it was left."""

    lines: list[str]
    status: str = "200 OK"
    hang: bool = False
    cut: bool = False
    seen: list[dict[str, Any]] = field(default_factory=list)
    heads: list[str] = field(default_factory=list)
    left: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        length = next(int(h.split(":")[1]) for h in head.splitlines() if h.lower().startswith("content-length"))
        self.heads.append(head)
        self.seen.append(json.loads(await reader.readexactly(length)))
        writer.write(f"HTTP/1.1 {self.status}\r\ntransfer-encoding: chunked\r\n\r\n".encode())
        for line in self.lines:
            data = f"{line}\n\n".encode()
            writer.write(b"%x\r\n%s\r\n" % (len(data), data))
            await writer.drain()
        if self.hang:
            await reader.read()
            self.left.set()
        elif not self.cut:
            writer.write(b"0\r\n\r\n")
            await writer.drain()
        writer.close()


@asynccontextmanager
async def serving(server: Server) -> AsyncIterator[str]:
    listening = await asyncio.start_server(server, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/v1"
    finally:
        listening.close()


async def said(server: Server, make: Callable[[str], OpenAIEngine], **more: Any) -> list[Delta]:
    async with serving(server) as url:
        return [d async for d in make(url).generate(PROMPT, **more)]


def plain(url: str) -> OpenAIEngine:
    return OpenAIEngine(url + "/", "m", "secret-key")


async def test_it_streams_text_and_usage() -> None:
    server = Server([chunk("Hel"), ": comment", chunk("lo"), USAGE, "data: [DONE]"])
    found = await said(server, plain)
    assert [d.text for d in found] == ["Hel", "lo", ""]
    assert found[-1].usage is not None
    assert found[-1].usage.prompt_tokens == 5
    assert server.heads[0].startswith("POST /v1/chat/completions ")
    assert "authorization: bearer secret-key" in server.heads[0].lower()
    assert server.seen == [
        {
            "model": "m",
            "messages": [{"role": "system", "content": "be"}, {"role": "user", "content": "hi"}],
            "max_tokens": 7,
            "temperature": 0.0,
            "seed": 0,
            "stream": True,
            "stream_options": {"include_usage": True},
            "stop": ["END"],
        }
    ]


async def test_a_grammar_and_a_schema_go_where_the_server_takes_them() -> None:
    server = Server([USAGE])
    await said(server, lambda url: OpenAIEngine(url, "m", grammar_field="grammar"), schema={"type": "object"})
    assert server.seen[0]["grammar"] == 'root ::= "a"'
    assert server.seen[0]["response_format"]["json_schema"]["schema"] == {"type": "object"}
    assert "authorization" not in server.heads[0].lower()


@pytest.mark.parametrize(
    "line",
    [
        "data: {not json",
        "data: []",
        "data: 3",
        "data: {}",
        'data: {"choices": []}',
        'data: {"choices": [{"delta": null}]}',
        'data: {"choices": [{"delta": {"content": null}}]}',
        'data: {"choices": 3}',
        'data: {"choices": [], "usage": {"prompt_tokens": "x"}}',
        "event: ping",
        "data: " + "x" * (1 << 20),
    ],
)
async def test_a_broken_line_is_passed_over(line: str) -> None:
    assert [d.text for d in await said(Server([line, chunk("ok")]), plain)] == ["ok"]


@pytest.mark.parametrize(
    ("server", "code", "what"),
    [
        (Server(["no such model"], "404 Not Found"), "engine_refused", "refused with 404: no such model"),
        (Server(["bad key"], "401 Unauthorized"), "engine_refused", "refused with 401"),
        (Server([chunk("a"), 'data: {"error": {"message": "out of memory"}}']), "engine_failed", "out of memory"),
        (Server([chunk("a")], cut=True), "engine_unreachable", "did not answer"),
    ],
)
async def test_a_failure_is_told(server: Server, code: str, what: str) -> None:
    with pytest.raises(VoxpopError) as error:
        await said(server, plain)
    assert error.value.code == code
    assert what in error.value.what
    assert "secret-key" not in str(error.value)
    assert error.value.cure


async def test_no_server_is_told() -> None:
    async with serving(Server([])) as url:
        pass
    with pytest.raises(VoxpopError, match="did not answer"):
        [d async for d in plain(url).generate(PROMPT)]


def test_a_url_that_is_none_is_refused() -> None:
    with pytest.raises(VoxpopError, match=r"not http\(s\)"):
        OpenAIEngine("file:///etc", "m")


async def test_closing_the_stream_leaves_the_server() -> None:
    server = Server([chunk("a"), chunk("b")], hang=True)
    async with serving(server) as url:
        async with aclosing(plain(url).generate(PROMPT)) as stream:  # type: ignore[type-var]
            assert (await anext(stream)).text == "a"
        await asyncio.wait_for(server.left.wait(), 5)


def test_it_estimates_tokens_and_says_what_it_is() -> None:
    engine = OpenAIEngine("http://127.0.0.1:1", "m")
    assert (engine.count("12345678"), engine.count("東京都"), engine.count("")) == (2, 3, 1)
    assert (engine.describe().model, engine.describe().converses) == ("m", True)
