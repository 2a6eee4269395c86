"""The example programs of xAI's client, as they are, against the real program and its face."""

import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

pytest.importorskip("grpc", reason="voxpop[grpc] is not installed")
pytest.importorskip("xai_sdk", reason="voxpop[grpc] is not installed")

from conftest import Program, Running, Script, environment, voxpop
from rpc import beside
from test_rpc_door import Keys
from voxpop.messages import Call, Called, Done, Freshness, Text, Timings, Usage

CLIENTS = Path(__file__).parents[1] / "examples/clients"


def done(reason: Any = "stop") -> Done:
    return Done(reason, True, "quote", "regular", Usage(1, 1), Freshness(), Timings())


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The real program on the simulated stream, with posts."""
    folder = tmp_path_factory.mktemp("xai")
    arguments = ("up", "--source", "simulated", "--engine", "quote", "--port", "0", "--data", str(folder))
    program = Program(folder / "log", *arguments, VOXPOP_SERVER_GRPC="on", VOXPOP_SERVER_GRPC_PORT="0")
    try:
        host = program.until(r"gRPC on (127\.0\.0\.1:\d+)")[1]
        url = program.until(r"open (http://127\.0\.0\.1:\d+)")[1]
        threading.Event().wait(3)
        while httpx.get(f"{url}/readyz", trust_env=False).status_code != 200:
            threading.Event().wait(0.1)
        yield host
    finally:
        assert program.stop() == 0


@pytest.fixture(params=["sync", "async"])
def run(request: pytest.FixtureRequest) -> Callable[..., str]:
    """What a program prints."""

    def ran(host: str, *arguments: str) -> str:
        command = [sys.executable, str(CLIENTS / f"xai_sdk_{request.param}.py"), host, *arguments]
        ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=environment())
        assert ran.returncode == 0, ran.stderr
        return ran.stdout

    return ran


def test_plain_streamed_and_an_error(run: Any, host: str) -> None:
    said = run(host, "any", "plain", "streamed", "error")
    assert said.count("no ballot box burned") == 2
    assert "REASON_STOP" in said
    assert said.splitlines()[-1].startswith("NOT_FOUND No model 'no-model'. Choose one of: voxpop")


def test_a_live_search_within_bounds(run: Any, host: str) -> None:
    found, _, without = run(host, "any", "search").partition("without:")
    assert found.startswith("[[1]](")
    assert "@commission.tesmar.example: “Dornick, Mill Lane: no ballot box burned.” [[1]](" in found
    assert "{'SERVER_SIDE_TOOL_X_SEARCH': 1}" in found
    assert "@ulla.murmur.example" not in found
    assert "@commission.tesmar.example" not in without
    assert "@" in without


def test_a_call_of_a_function_and_an_answer_of_a_shape(run: Any, tmp_path: Path) -> None:
    script = Script([Called(Call("call_1", "weather", '{"city": "Rome"}')), done("tool_calls")])
    with beside(Running(script), tmp_path) as port:
        assert run(f"127.0.0.1:{port}", "any", "tool").startswith('weather {"city": "Rome"}\n')
        assert script.requests[-1].messages[-1].content == "It is sunny in Rome."
        script.events = [Text('{"city": "Rome", "celsius": 21}', kind="json"), done()]
        assert run(f"127.0.0.1:{port}", "any", "shape") == "Weather(city='Rome', celsius=21)\n"


def test_a_limit(run: Any, tmp_path: Path) -> None:
    with beside(Running(Script([done()])), tmp_path, gate=Keys()) as port:
        assert run(f"127.0.0.1:{port}", "spent", "limit") == "RESOURCE_EXHAUSTED again in 7 s\n"


class TestSettings:
    UP = ("up", "--source", "simulated", "--engine", "quote", "--port", "0", "--data")

    def test_off_is_off_and_a_taken_port_is_said(self, tmp_path: Path) -> None:
        with socket.socket() as door:
            door.bind(("127.0.0.1", 0))
            door.listen()
            taken = str(door.getsockname()[1])
            program = Program(tmp_path / "log", *self.UP, str(tmp_path / "a"), VOXPOP_SERVER_GRPC_PORT=taken)
            program.until("open http://")
            assert f"no gRPC. Port {taken} on 127.0.0.1 cannot be used for gRPC." in program.said
            assert ".cc:" not in program.said  # gRPC's own lines
            assert program.stop(signal.SIGTERM) == 0
            settings = {"VOXPOP_SERVER_GRPC": "on", "VOXPOP_SERVER_GRPC_PORT": taken}
            ended = voxpop(*self.UP, str(tmp_path / "b"), **settings)
            assert ended.returncode == 1
            assert f"Port {taken}" in ended.stderr + ended.stdout
        program = Program(tmp_path / "log", *self.UP, str(tmp_path / "a"), VOXPOP_SERVER_GRPC="off")
        program.until("open http://")
        assert "gRPC" not in program.said
        assert program.stop() == 0
        assert voxpop(*self.UP, str(tmp_path / "b"), VOXPOP_SERVER_GRPC="maybe").returncode == 2
