"""The programs of examples/clients, unmodified, against a real server: what they print is what is checked."""

import asyncio
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest

from conftest import Program, environment, talking, voxpop
from voxpop.engines.echo import EchoEngine

CLIENTS = Path(__file__).parent.parent / "examples" / "clients"
# litellm and langchain want an older openai: `make test` gives them an environment of their own.
OTHER = Path(os.environ.get("VOXPOP_CLIENTS", Path(sys.prefix) / "clients")) / "bin" / "python"
ANSWERS = (
    '{"calls":[{"name":"weather","arguments":{"city":"Oss"}}]}',
    '{"calls":[]}',
    "It is 12 degrees.",
    '{"city":"Oss","degrees":12}',
)
TIGHT = """
[tier.shut]
title = "One question a month"
[tier.shut.buckets.chat]
requests_per_month = 1
"""


def python(name: str) -> list[str]:
    return [sys.executable, str(CLIENTS / name)]


def other(name: str) -> list[str]:
    if not OTHER.exists():
        pytest.skip(f"no environment of older clients in {OTHER.parent.parent}: run 'make test'")
    return [str(OTHER), str(CLIENTS / name)]


def node(name: str) -> list[str]:
    if not shutil.which("node") or not (CLIENTS / "node_modules").is_dir():
        pytest.skip("no Node, or no packages in examples/clients: run 'npm ci --prefix examples/clients'")
    return ["node", str(CLIENTS / name)]


def curl(name: str) -> list[str]:
    if not shutil.which("curl"):
        pytest.skip("no curl")
    return ["sh", str(CLIENTS / name)]


class Team:
    """A server with accounts on the simulated stream: a key that may ask, and one that may do so once."""

    def __init__(self, folder: Path) -> None:
        (folder / "tiers.toml").write_text(TIGHT, "utf-8")
        tiers = {"VOXPOP_ACCOUNTS_TIERS": str(folder / "tiers.toml")}
        self.key, self.tight = (
            self._key(folder, name, tier) for name, tier in (("ada", "premium_plus"), ("ben", "shut"))
        )
        command = ("up", "--source", "simulated", "--engine", "quote", "--port", "0", "--data", str(folder))
        self.program = Program(folder / "log", *command, **tiers)
        self.url = self.program.until(r"open (http://127\.0\.0\.1:\d+)")[1]

    @staticmethod
    def _key(folder: Path, name: str, tier: str) -> str:
        tiers = {"VOXPOP_ACCOUNTS_TIERS": str(folder / "tiers.toml")}
        made = voxpop("users", "add", name, "--tier", tier, "--data", str(folder), **tiers)
        assert made.returncode == 0, made.stderr
        made = voxpop("keys", "create", name, "--data", str(folder), "--json")
        assert made.returncode == 0, made.stderr
        key: str = json.loads(made.stdout)["key"]
        return key

    async def ready(self) -> None:
        async with httpx.AsyncClient(base_url=self.url, trust_env=False) as http:
            for _ in range(400):
                if (await http.get("/readyz")).status_code == 200:
                    break
                await asyncio.sleep(0.05)


@pytest.fixture(scope="module")
def team(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Team]:
    running = Team(tmp_path_factory.mktemp("team"))
    try:
        asyncio.run(running.ready())
        yield running
    finally:
        running.program.stop()


def told(command: Sequence[str], url: str, key: str, *parts: str) -> dict[str, Any]:
    """What a program prints: the name of each part and, as JSON, what came of it."""
    extra = {"OPENAI_BASE_URL": f"{url}/v1", "OPENAI_API_KEY": key, "NO_PROXY": "127.0.0.1"}
    ran = subprocess.run(
        [*command, *parts], capture_output=True, text=True, timeout=60, check=False, env=environment(**extra)
    )
    assert ran.returncode == 0, ran.stderr[-3000:]
    lines = [line.partition(" ") for line in ran.stdout.splitlines()]
    return {name: json.loads(said) for name, _, said in lines if name in parts or not parts}


Command = Callable[[str], list[str]]
FAMILY: list[tuple[Command, str]] = [
    (python, "openai_python.py"),
    (python, "openai_python_async.py"),
    (node, "openai_node.mjs"),
    (other, "langchain_chat.py"),
    (other, "litellm_chat.py"),
]


@pytest.mark.parametrize(("runs", "name"), FAMILY)
def test_questions_are_answered_searched_and_refused(team: Team, runs: Command, name: str) -> None:
    said = told(runs(name), team.url, team.key, "plain", "stream", "search", "error")
    for part in ("plain", "stream"):
        for text in said[part] if isinstance(said[part], list) else [said[part]]:
            assert "Dornick" in text
            assert "[1]" in text
    search = said["search"]
    assert search["citations"]
    assert not search["early"]
    if "handle" in search:
        assert search["mine"]
        assert all(title.startswith(f"{search['handle']},") for title in search["mine"])
        assert not any(title.startswith(f"{search['handle']},") for title in search["others"])
    assert not search.get("feeds")
    assert said["error"] in ([404, "model_not_found"], [404, "404"], 404)


@pytest.mark.parametrize(("runs", "name"), FAMILY)
def test_a_limit_is_the_clients_own_error(team: Team, runs: Command, name: str) -> None:
    assert told(runs(name), team.url, team.tight, "limit")["limit"] in ([429, True], 429)


@pytest.mark.parametrize(("runs", "name"), FAMILY)
async def test_functions_are_called_and_shapes_are_held(served: Any, runs: Command, name: str) -> None:
    command = runs(name)
    async with served(talking(EchoEngine(texts=ANSWERS))) as url:
        said = await asyncio.to_thread(told, command, url, "any", "tool", "shape")
    assert said["tool"][:2] == ["weather", {"city": "Oss"}]
    assert said["tool"][2].strip() == "It is 12 degrees."
    assert said["shape"] == {"city": "Oss", "degrees": 12}


def test_the_asynchronous_client_streams_answers_side_by_side(team: Team) -> None:
    said = told(python("openai_python_async.py"), team.url, team.key, "plain", "stream")
    assert all("Dornick" in text for text in said["plain"])
    assert said["stream"][0] == said["stream"][1]
    assert "Dornick" in said["stream"][0]


def shown(command: Sequence[str], url: str, key: str, *parts: str, **more: str) -> dict[str, str]:
    extra = {"OPENAI_BASE_URL": f"{url}/v1", "OPENAI_API_KEY": key, "NO_PROXY": "127.0.0.1"} | more
    ran = subprocess.run(
        [*command, *parts], capture_output=True, text=True, timeout=60, check=False, env=environment(**extra)
    )
    assert ran.returncode == 0, ran.stderr[-3000:]
    sections = ran.stdout.split("== ")[1:]
    return {name: text.strip() for name, _, text in (s.partition("\n") for s in sections)}


async def test_curl_alone_will_do(team: Team, served: Any) -> None:
    command = curl("curl.sh")
    said = await asyncio.to_thread(shown, command, team.url, team.key, "plain", "stream", "search", "error")
    plain = json.loads(said["plain"])
    assert "Dornick" in plain["choices"][0]["message"]["content"]
    assert plain["citations"]
    assert said["stream"].startswith("data: {")
    assert said["stream"].endswith("data: [DONE]")
    assert json.loads(said["search"])["citations"] == []
    body, _, status = said["error"].rpartition("\n")
    assert (json.loads(body)["error"]["code"], status) == ("model_not_found", "404")
    limit = (await asyncio.to_thread(shown, command, team.url, team.tight, "limit"))["limit"]
    assert json.loads(limit.rpartition("\n")[0])["error"]["type"] == "rate_limit_error"
    assert limit.rpartition("\n")[2].split()[0] == "429"
    async with served(talking(EchoEngine(texts=[ANSWERS[0], ANSWERS[3]]))) as url:
        said = await asyncio.to_thread(shown, command, url, "any", "tool", "shape")
    call = json.loads(said["tool"])["choices"][0]["message"]["tool_calls"][0]
    assert call["function"] == {"name": "weather", "arguments": '{"city":"Oss"}'}
    assert json.loads(json.loads(said["shape"])["choices"][0]["message"]["content"]) == {
        "city": "Oss",
        "degrees": 12,
    }


async def test_llm_asks_by_its_openai_plugin(team: Team, served: Any) -> None:
    command, more = ["sh", str(CLIENTS / "llm.sh")], {"LLM": f"{sys.executable} -m llm"}
    said = await asyncio.to_thread(shown, command, team.url, team.key, "plain", "stream", "error", **more)
    assert "Dornick" in said["plain"]
    assert said["plain"] == said["stream"]
    assert "No model 'no-such-model'" in said["error"]
    assert said["error"].endswith("exit 1")
    limit = (await asyncio.to_thread(shown, command, team.url, team.tight, "limit", **more))["limit"]
    assert "429" in limit
    assert limit.endswith("exit 1")
    async with served(talking(EchoEngine(texts=ANSWERS))) as url:
        said = await asyncio.to_thread(shown, command, url, "any", "tool", "shape", **more)
    assert "weather({'city': 'Oss'})" in said["tool"]
    assert "12 degrees in Oss" in said["tool"]
    assert said["tool"].endswith("It is 12 degrees.")
    assert json.loads(said["shape"]) == {"city": "Oss", "degrees": 12}
