"""Clients of responses and messages, as small programs of their own, against a real store on loopback."""

import asyncio
import json
import os
import shutil
import sys
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest

from small_town import town
from voxpop.accounts import Account, Limited
from voxpop.engines.echo import EchoEngine
from voxpop.gate import OpenGate

Serve = Callable[..., AbstractAsyncContextManager[str]]
CLIENTS = Path(__file__).parent.parent / "examples" / "clients"
MODULES = Path(os.environ.get("VOXPOP_NODE_MODULES", CLIENTS / "node_modules"))
CALLS = '{"calls":[{"name":"weather","arguments":{"city":"Vesper"}}]}'


class Full(OpenGate):
    """Lets nobody ask."""

    async def permit(self, account: Account, wanted: Any) -> Any:
        raise Limited("Enough for now.", "Come back later.", {"retry-after": "7"})


async def told(*command: str | Path, **environment: str) -> Any:
    """What a program prints at its end, as JSON."""
    made = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, env={**os.environ, **environment}
    )
    out, _ = await asyncio.wait_for(made.communicate(), 60)
    assert made.returncode == 0
    return json.loads(out)


async def test_anthropics_client(served: Serve, tmp_path: Path) -> None:
    program = CLIENTS / "anthropic_sdk.py"
    async with town(served, tmp_path / "quote") as place:
        said = await told(sys.executable, program, place.url, "any", "plain", "stream", "search", "error")
    assert "Vesper bridge is closed" in said["plain"]
    assert said["plain"] == said["stream"]
    assert "[1]" in said["plain"]
    assert said["search"] == ["https://gazette.example/gazette/status/(1)"]
    assert (said["error"]["status"], said["error"]["type"]) == (404, "not_found_error")
    async with town(served, tmp_path / "calls", EchoEngine(CALLS)) as place:
        said = await told(sys.executable, program, place.url, "any", "tool")
    assert said["tool"] == {"stop_reason": "tool_use", "name": "weather", "input": {"city": "Vesper"}}
    async with town(served, tmp_path / "json", EchoEngine('{"closed":true}')) as place:
        said = await told(sys.executable, program, place.url, "any", "json")
    assert said["json"] == {"closed": True}
    async with town(served, tmp_path / "full", gate=Full()) as place:
        said = await told(sys.executable, program, place.url, "any", "limited")
    assert said["limited"] == {"status": 429, "type": "rate_limit_error", "after": "7"}


async def test_openais_client_on_responses(served: Serve, tmp_path: Path) -> None:
    program = CLIENTS / "openai_responses.py"
    async with town(served, tmp_path / "quote") as place:
        said = await told(sys.executable, program, f"{place.url}/v1", "any", "plain", "stream", "search", "error")
    assert "Vesper bridge is closed" in said["plain"]
    assert said["plain"] == said["stream"]
    ben = "https://town.example/ben/status/(1)"
    search = {part: dict(citations) for part, citations in said["search"].items()}
    assert {*search["mine"]} == {*search["without"]} == {ben}
    assert {*search["free"]} - {ben}
    assert search["early"] == {}
    assert search["mine"][ben] == "[[1]](https://town.example/ben/status/%281%29)"
    assert (said["error"]["status"], said["error"]["code"]) == (404, "model_not_found")
    async with town(served, tmp_path / "json", EchoEngine('{"bridge":"Vesper","closed":true}')) as place:
        said = await told(sys.executable, program, f"{place.url}/v1", "any", "parse")
    assert said["parse"] == {"bridge": "Vesper", "closed": True}
    async with town(served, tmp_path / "full", gate=Full()) as place:
        said = await told(sys.executable, program, f"{place.url}/v1", "any", "limited")
    assert (said["limited"]["status"], said["limited"]["after"]) == (429, "7")


@pytest.mark.skipif(not shutil.which("node"), reason="node is not installed")
@pytest.mark.skipif(not (MODULES / "@ai-sdk" / "xai").exists(), reason="run npm install in examples/clients")
async def test_vercels_ai_sdk(served: Serve, tmp_path: Path) -> None:
    program = tmp_path / "ai_sdk.mjs"  # node looks for packages beside the program
    program.write_text((CLIENTS / "ai_sdk.mjs").read_text("utf-8"), "utf-8")
    (tmp_path / "node_modules").symlink_to(MODULES)
    node = shutil.which("node") or "node"
    async with town(served, tmp_path / "quote") as place:
        at = f"{place.url}/v1"
        said = await told(node, program, at, "any", "plain", "stream", "search", "dates", "chat", "error")
    assert "Vesper bridge is closed" in said["plain"]["text"]
    assert said["stream"]["text"] in said["plain"]["text"]  # which had no tool, so that feeds were searched as well
    assert {*said["stream"]["sources"]} < {*said["plain"]["sources"]}
    assert said["search"]["sources"] == ["https://town.example/ben/status/(1)"]
    assert said["dates"]["sources"] == []
    assert "Vesper bridge is closed" in said["chat"]
    assert said["error"]["status"] == 404
    async with town(served, tmp_path / "calls", EchoEngine(CALLS)) as place:
        said = await told(node, program, f"{place.url}/v1", "any", "tool")
    assert said["tool"] == [["weather", {"city": "Vesper"}]]
    async with town(served, tmp_path / "json", EchoEngine('{"closed":true}')) as place:
        said = await told(node, program, f"{place.url}/v1", "any", "json")
    assert said["json"] == {"closed": True}
    async with town(served, tmp_path / "full", gate=Full()) as place:
        said = await told(node, program, f"{place.url}/v1", "any", "limited")
    assert (said["limited"]["status"], said["limited"]["after"]) == (429, "7")
