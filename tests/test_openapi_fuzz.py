"""schemathesis against a real server: whatever it sends there is no failure, and each answer is as described.

A few seconds of what docs/api.md says how to run for long. Left out: `/api/live` and a watch's events, which have
no end; pictures, whose 501 is meant; `{id}:cancel`, which by GET is a batch of that id; and the checks of what
schemathesis thinks should be taken or refused, for which the server is on purpose more lenient than described.
"""

import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import httpx
import pytest

pytest.importorskip("schemathesis", reason="'schemathesis' is not installed")

LASTS_S = 10
ENDLESS = ("/api/live", "/v1/watches/{id}/events")
MEANT = ("/v1/images/generations", "/v1/images/edits", "/v1/batches/{id}:cancel")
LENIENT = "positive_data_acceptance,negative_data_rejection,object_level_authorization"


def free_port() -> int:
    with closing(socket.socket()) as door:
        door.bind(("127.0.0.1", 0))
        return int(door.getsockname()[1])


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    data, port = tmp_path_factory.mktemp("fuzzed"), free_port()
    (data / "voxpop.toml").write_text("[server]\ngrpc_port = 0\n")
    command = [sys.executable, "-m", "voxpop.cli", "up", "--source", "simulated", "--engine", "quote"]
    command += ["--port", str(port), "--data", str(data)]
    with (data / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=data, stdout=log, stderr=log)
    url = f"http://127.0.0.1:{port}"
    try:
        end = time.monotonic() + 60
        while True:
            try:
                if httpx.get(f"{url}/readyz", trust_env=False).status_code == 200:
                    break
            except httpx.TransportError:
                pass
            if process.poll() is not None or time.monotonic() > end:
                pytest.fail((data / "log").read_text())
            time.sleep(0.1)
        yield url
        assert "A request failed" not in (data / "log").read_text()
    finally:
        process.terminate()
        process.wait(10)


def test_schemathesis_finds_no_failure_and_no_breach(server: str, tmp_path: Path) -> None:
    said = tmp_path / "report.json"
    command = [sys.executable, "-m", "schemathesis.cli", "run", f"{server}/openapi.json"]
    command += ["--max-time", str(LASTS_S), "--seed", "5", "--checks", "all", "--exclude-checks", LENIENT]
    command += ["--no-color", "--continue-on-failure", "--request-timeout", "20", "--generation-database", "none"]
    command += ["--report", "json", "--report-json-path", str(said)]
    for path in (*ENDLESS, *MEANT):
        command += ["--exclude-path", path]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    assert json.loads(said.read_text())["test_cases"]["generated"] > 500
