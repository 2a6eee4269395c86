"""Traces of the real program, taken by a small OTLP/HTTP receiver; off, they need no package and cost nothing."""

import gzip
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from conftest import Program, environment, voxpop
from voxpop import tracing
from voxpop.errors import UsageError

proto = pytest.importorskip("opentelemetry.proto.collector.trace.v1.trace_service_pb2", reason="no voxpop[traces]")
TEXT = "The zeppelin over Dornick is landing at the old harbour now."
QUESTION = "What do people say about the zeppelin?"
HANDLE = "wernher.example"
KEY = "key-zq81-never-shown"


class Receiver(ThreadingHTTPServer):
    """Takes OTLP spans, as a collector does: <https://opentelemetry.io/docs/specs/otlp/#otlphttp>."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Taking)
        self.spans: list[Any] = []
        self.paths: set[str] = set()
        self.bytes = b""


class _Taking(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        request = proto.ExportTraceServiceRequest.FromString(body)
        self.server.bytes += body
        self.server.paths.add(self.path)
        self.server.spans += [s for r in request.resource_spans for p in r.scope_spans for s in p.spans]
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    server = Receiver()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


def recording(folder: Path) -> Path:
    file = folder / "posts.jsonl"
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    row = {"id": "1", "platform": "x", "author": {"username": HANDLE}, "created_at": now, "text": TEXT}
    file.write_text(json.dumps(row) + "\n")
    return file


def test_an_answer_and_a_batch_are_traced_without_what_anybody_wrote(tmp_path: Path, receiver: Receiver) -> None:
    address = f"http://127.0.0.1:{receiver.server_port}"
    program = Program(
        tmp_path / "log", "up", "--source", f"replay:{recording(tmp_path)}", "--engine", "quote", "--port", "0",
        "--data", str(tmp_path / "data"), VOXPOP_WATCHING_TRACES=address, VOXPOP_OPENAI_KEY=KEY,
    )  # fmt: skip
    try:
        url = program.until(r"open (http://\S+)")[1]
        program.until("has ended after")
        answer = httpx.post(
            f"{url}/api/answer", json={"messages": [{"role": "user", "content": QUESTION}]}, timeout=20
        )
        assert "old harbour" in answer.text
    finally:
        program.stop()
    assert receiver.paths == {"/v1/traces"}
    spans = {s.name: s for s in receiver.spans}
    assert {"answer", "search", "weigh", "generate", "verify", "batch", "apply"} <= spans.keys()
    for child, parent in [*((step, "answer") for step in ("search", "weigh", "generate")), ("apply", "batch")]:
        assert spans[child].parent_span_id == spans[parent].span_id, child
        assert spans[parent].start_time_unix_nano <= spans[child].start_time_unix_nano
        assert spans[child].end_time_unix_nano <= spans[parent].end_time_unix_nano
    assert {a.key: a.value.string_value for a in spans["answer"].attributes}["engine"] == "quote"
    for private in (TEXT, "zeppelin", QUESTION, HANDLE, KEY):
        assert private.encode() not in receiver.bytes


def test_a_receiver_that_is_away_holds_nothing_up(tmp_path: Path) -> None:
    program = Program(
        tmp_path / "log", "up", "--source", f"replay:{recording(tmp_path)}", "--engine", "quote", "--port", "0",
        "--data", str(tmp_path / "data"), VOXPOP_WATCHING_TRACES="http://127.0.0.1:1",
    )  # fmt: skip
    program.until("has ended after")
    began = time.monotonic()
    assert program.stop() == 0
    assert time.monotonic() - began < 9


def test_off_is_free_and_imports_nothing() -> None:
    script = (
        "import sys; from voxpop import tracing, assistant, ingest\n"
        "with tracing.span('a', kind='x') as inside: assert inside is None\n"
        "assert not [m for m in sys.modules if m.startswith('opentelemetry')]"
    )
    subprocess.run([sys.executable, "-c", script], check=True, env=environment(), timeout=30)


def test_a_missing_package_and_a_wrong_address_name_the_cure(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="http://host:4318"):
        tracing.begin("localhost:4318")
    blocked = tmp_path / "opentelemetry"
    blocked.mkdir()
    (blocked / "__init__.py").write_text("raise ImportError('not here')")
    done = voxpop(
        "up", "--source", f"replay:{recording(tmp_path)}", "--port", "0", "--data", str(tmp_path / "data"),
        VOXPOP_WATCHING_TRACES="http://127.0.0.1:4318", PYTHONPATH=str(tmp_path),
    )  # fmt: skip
    assert done.returncode == 1
    assert "pip install 'voxpop[traces]'" in done.stderr


def test_a_step_that_fails_tells_only_the_kind_of_its_error(receiver: Receiver) -> None:
    end = tracing.begin(f"http://127.0.0.1:{receiver.server_port}/v1/traces")
    try:
        with pytest.raises(KeyError), tracing.span("outer") as outer, tracing.span("inner", outer):
            raise KeyError(TEXT)
    finally:
        end()
    assert {s.name: s.status.message for s in receiver.spans} == {"outer": "KeyError", "inner": "KeyError"}
    assert TEXT.encode() not in receiver.bytes
    with tracing.span("after") as nothing:
        assert nothing is None
