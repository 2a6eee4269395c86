"""`voxpop sources --watch` beside a real server: a table on a terminal, plain lines and JSON elsewhere."""

import json
import os
import pty
import re
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from conftest import Program, Up, environment, voxpop
from voxpop.posts import Missed, Spent
from voxpop.service import clock
from voxpop.store.local import LocalStore
from voxpop.times import MICROS

HOUR = 3600 * MICROS


def port_of(up: Up) -> str:
    return up.url.rpartition(":")[2]


def test_watching_a_terminal_redraws_it_and_ends_clean(up: Up) -> None:
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "voxpop.cli", "sources", "--watch", "--port", port_of(up)]
    process = subprocess.Popen(command, stdout=theirs, stderr=theirs, env=environment(COLUMNS="100", LINES="30"))
    os.close(theirs)
    seen, end = b"", time.monotonic() + 20
    while seen.count(b"SOURCE") < 2 and time.monotonic() < end:
        if select.select([ours], [], [], 0.2)[0]:
            seen += os.read(ours, 65536)
    process.send_signal(signal.SIGINT)
    code = process.wait(10)
    while select.select([ours], [], [], 0.2)[0]:
        try:
            seen += os.read(ours, 65536)
        except OSError:  # the other end is closed
            break
    os.close(ours)
    text = seen.decode()
    assert code == 130
    assert text.endswith("\x1b[?25h"), "the cursor is back"
    assert "Traceback" not in text
    assert re.search(r"\x1b\[\d+F\x1b\[J", text), "drawn over"
    last = text.split("\x1b[J")[-1].replace("\x1b[?25h", "").splitlines()
    assert last[0].startswith("SOURCE           STATE         EVENTS/S POSTS/S      LAG")
    assert re.match(r"simulated +connected +[\d.,k]+ +[\d.]+ +\d", last[1])
    assert re.search(r"\d posts · .*tail \d.* memory · \S+ searches/s", last[2])
    assert max(map(len, last)) <= 100


@pytest.mark.parametrize("as_json", [True, False])
def test_watching_into_a_pipe_gives_lines(up: Up, tmp_path: Path, as_json: bool) -> None:
    more = ["--json"] if as_json else []
    program = Program(tmp_path / "out", "sources", "--watch", "--port", port_of(up), *more)
    program.until(r"(?s)(\n.*){4}" if not as_json else r"\}\n.*\}\n")
    assert program.stop() == 130
    assert "\x1b" not in program.said
    if as_json:
        first, second = (json.loads(line) for line in program.said.splitlines()[:2])
        assert first["sources"][0]["posts_per_s"] is None
        assert second["sources"][0]["posts_per_s"] >= 0
        assert {"state", "ok", "lag_s", "behind_s", "queue", "dropped", "shed", "spend"} <= second["sources"][
            0
        ].keys()
        assert second["process"]["memory_bytes"] > 1e6
        assert second["store"]["tail"] >= 0
        assert len(second["last_hour"]) == 60


def test_no_server_is_said_with_the_cure() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        done = voxpop("sources", "--watch", "--port", str(free.getsockname()[1]))
    assert done.returncode == 1
    assert "No voxpop answers at http://127.0.0.1:" in done.stderr
    assert "voxpop up" in done.stderr
    assert done.stdout == ""


def test_a_server_that_is_begun_anew_is_waited_for(tmp_path: Path) -> None:
    status = {"posts": 3, "sources": [], "store": {}, "process": {"uptime_s": 1.0, "searches": 0}}

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps(status).encode())

        def log_message(self, *_: object) -> None:
            pass

    def begin(port: int) -> HTTPServer:
        server = HTTPServer(("127.0.0.1", port), Answers)
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        return server

    server = begin(0)
    port = server.server_port
    program = Program(tmp_path / "out", "sources", "--watch", "--port", str(port))
    try:
        program.until("3 posts")
        server.shutdown()
        server.server_close()
        program.until(r"No voxpop answers at .*Waiting for it\.")
        status["posts"] = 4
        server = begin(port)
        program.until("4 posts")
    finally:
        assert program.stop() == 130
        server.shutdown()
        server.server_close()
    assert program.said.count("Waiting for it") == 1


def test_ingest_draws_the_same_table_on_a_terminal(tmp_path: Path) -> None:
    file = tmp_path / "posts.jsonl"
    rows = (
        {"id": str(n), "platform": "x", "author": {"username": "a"}, "created_at": f"2026-11-03T20:00:0{n}Z",
         "text": f"Tram {n} is late."} for n in range(3)
    )  # fmt: skip
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    ours, theirs = pty.openpty()
    ingest = ["ingest", "--source", f"replay:{file}?speed=1", "--data", str(tmp_path)]
    command = [sys.executable, "-m", "voxpop.cli", *ingest]
    size = environment(COLUMNS="100", LINES="30")
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=theirs, env=size)
    os.close(theirs)
    out, _ = process.communicate(timeout=20)
    seen = b""
    while select.select([ours], [], [], 0.2)[0]:
        try:
            seen += os.read(ours, 65536)
        except OSError:
            break
    os.close(ours)
    assert b"SOURCE" in seen
    assert b"replaying" in seen
    assert seen.endswith(b"\x1b[?25h")
    assert b"3 posts in" in out


async def test_what_was_spent_and_what_is_missing_stands_in_the_list(tmp_path: Path) -> None:
    now = clock()
    async with LocalStore(tmp_path) as store:
        await store.apply(
            "x", [Spent(now, 300, 1_500_000, "c1"), Missed(now - 9 * HOUR, now - 8 * HOUR, "asleep", "c2")]
        )
        await store.apply("x", [Missed(now - 90 * HOUR, now - 80 * HOUR, "long ago", "c3")])
    done = voxpop("sources", "--data", str(tmp_path))
    assert "$1.50 for 300 reads this month" in done.stdout
    assert re.search(r"nothing from \S+Z to \S+Z: asleep", done.stdout)
    assert "long ago" not in done.stdout
    rows = json.loads(voxpop("sources", "--json", "--data", str(tmp_path)).stdout)["sources"]
    (row,) = (r for r in rows if r["about"] == "stored")
    assert (row["spent_usd"], row["reads"], [g["why"] for g in row["gaps"]]) == (1.5, 300, ["asleep"])
