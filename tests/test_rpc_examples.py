"""xAI's example scripts, unedited, against the real program: what they print is checked, not their exit code.

They are in no package: VOXPOP_XAI_EXAMPLES names the folder `examples` of the repository of xai-sdk-python.
"""

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("grpc", reason="voxpop[grpc] is not installed")
pytest.importorskip("xai_sdk", reason="voxpop[grpc] is not installed")
pytest.importorskip("absl", reason="absl-py, which the examples use, is not installed")

from conftest import Program, environment

RUNNER = Path(__file__).parents[1] / "examples/clients/run_xai_example.py"
FOLDER = Path(os.environ.get("VOXPOP_XAI_EXAMPLES", ""))
LABEL = "Simulated stream: these posts are invented."
MADE = f"{LABEL}\nFrom the model, not from posts."

pytestmark = pytest.mark.skipif(
    not os.environ.get("VOXPOP_XAI_EXAMPLES"), reason="VOXPOP_XAI_EXAMPLES names no folder of xAI's examples"
)


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The real program, whose engine says back what it is told."""
    folder = tmp_path_factory.mktemp("examples")
    arguments = ("up", "--source", "simulated", "--engine", "echo", "--port", "0", "--data", str(folder))
    program = Program(folder / "log", *arguments, VOXPOP_SERVER_GRPC="on", VOXPOP_SERVER_GRPC_PORT="0")
    try:
        yield program.until(r"gRPC on (127\.0\.0\.1:\d+)")[1]
    finally:
        assert program.stop() == 0


@pytest.fixture(params=["sync", "aio"])
def run(request: pytest.FixtureRequest, host: str) -> Callable[..., str]:
    """What a script prints."""

    def ran(name: str, *arguments: str, said: str = "") -> str:
        script = FOLDER / request.param / f"{name}.py"
        done = subprocess.run(
            [sys.executable, str(RUNNER), host, str(script), *arguments],
            input=said,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            env=environment(XAI_API_KEY="any"),
        )
        assert done.returncode == 0, done.stderr[-2000:]
        return done.stdout

    return ran


def test_auth(run: Any) -> None:
    assert "api-key:model:*" in run("auth")


@pytest.mark.parametrize(("options", "times"), [((), 1), (("--stream",), 1), (("--n=2",), 2)])
def test_chat(run: Any, options: tuple[str, ...], times: int) -> None:
    said = run("chat", *options, said="Hello\nexit\n")
    assert said.count(f"{MADE}\nHello") >= times
    assert ("Total cost: $0.0000" in said) == (times == 1)


def test_chat_of_several_streamed(run: Any) -> None:
    said = run("chat", "--n=2", "--stream", said="Hello\nexit\n")
    assert f"(response 1): {MADE}\nHello" in said
    assert f"(response 2): {MADE}\nHello" in said


@pytest.mark.parametrize("options", [(), ("--stream",)])
def test_reasoning(run: Any, options: tuple[str, ...]) -> None:
    said = run("reasoning", *options, said="Hello\n")
    assert f"{MADE}\nHello" in said
    assert re.search(r"Completion Tokens: [1-9]", said)
    assert "Reasoning Tokens: 0" in said


def test_deferred_chat(run: Any) -> None:
    assert f"{MADE}\nHello" in run("deferred_chat", "--interval=50")


def test_stored_chat(run: Any) -> None:
    said = run("stored_chat")
    first, one, two = re.split(r"-{5,} (?:Original response|Thread one|Thread two) -{5,}", said)[1:]
    assert all(LABEL in part for part in (first, one, two))


def test_telemetry(run: Any) -> None:
    said = run("telemetry")
    assert '"gen_ai.response.finish_reasons"' in said
    assert re.search(r'"gen_ai.response.id": "chatcmpl-\w+"', said)


def test_tokenizer(run: Any) -> None:
    said = run("tokenizer", said="It rains in Rome\n")
    assert re.findall(r"Token Text: (.*)", said) == ["It", " rains", " in", " Rome"]


def test_models(run: Any) -> None:
    assert re.findall(r"Model name: (.*)", run("models", "--model-type=language"))[0] == "voxpop"
    assert "Model name: voxpop" in run("models", "--operation=get", "--model-type=language", "--model-name=grok-4")


def test_inline_files_chat(run: Any) -> None:
    said = run("inline_files_chat")
    assert "Please analyze this sales report" in said
    assert re.search(r"Tokens used: [1-9]\d\d", said), "the file was not read"


@pytest.mark.parametrize("options", [(), ("--stream",)])
def test_function_calling(run: Any, options: tuple[str, ...]) -> None:
    said = run("function_calling", *options, said="Hello\nexit\n")
    assert "Grok: " in said
    assert "Hello" in said


def test_server_side_tools(run: Any) -> None:
    said = run("server_side_tools")
    assert "Calling tool: web_search with arguments: " in said
    assert "Calling tool: x_keyword_search with arguments: " in said
    assert f"Final Response:\n{LABEL}" in said
    assert "'SERVER_SIDE_TOOL_X_SEARCH': 1" in said
    assert "covers all server-side tool calls" in said


def test_compaction(run: Any) -> None:
    said = run("compaction")
    assert "Dropped messages:   21" in said
    assert "--- Second follow-up ---" in said
    assert said.count(LABEL) == 2
