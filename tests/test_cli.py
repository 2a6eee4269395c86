"""Every command as a person runs it: what it prints, its JSON to the last key, its errors and its exit codes.

Most are run as processes of their own; where many cases of one kind are tried, in this one.
"""

import asyncio
import json
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from conftest import Program, Up, environment, voxpop
from voxpop.cli import program

ROWS = (
    ("1", "ada", "2026-11-03T20:00:00Z", "The Lantern Bridge is closed tonight.", "https://posts.example/1"),
    ("2", "bob", "2026-11-03T20:10:00Z", "Trams run again over the Lantern Bridge.", ""),
    ("3", "eve", "2026-11-03T20:20:00Z", "\x1b[31mLantern Bridge\u202e, in red.", ""),
)
THEN = "2026-11-03T20:30:00Z"


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    keys = ("id", "author", "created_at", "text", "url")
    lines = [json.dumps(dict(zip(keys, row, strict=True)) | {"platform": "x"}) for row in ROWS]
    path = tmp_path_factory.mktemp("recording") / "posts.jsonl"
    path.write_text("\n".join([*lines, '{"id": "4"}', "not JSON"]) + "\n", "utf-8")
    return path


@pytest.fixture(scope="module")
def data(recording: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = str(tmp_path_factory.mktemp("data"))
    done = voxpop("ingest", "--source", f"replay:{recording}", "--data", folder, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    row = json.loads(done.stdout)["sources"][0]
    assert row.pop("took_s") >= 0
    assert row.pop("posts_per_s") > 0
    assert re.fullmatch(r"\d+@[0-9a-f]{12}", row.pop("cursor"))
    counts = {"added": 3, "edited": 0, "deleted": 0, "unchanged": 0, "refused": 0}
    dropped = {"no text": 1, "not JSON": 1}
    assert row == {"source": "replay:posts.jsonl", "posts": 3, "dropped": dropped, **counts}
    return folder


def said(*arguments: str) -> Any:
    done = voxpop(*arguments, "--json")
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return json.loads(done.stdout)


# ingest


def test_ingesting_again_stores_nothing_twice(recording: Path, data: str) -> None:
    done = voxpop("ingest", "--source", f"replay:{recording}", "--data", data)
    assert done.returncode == 0
    assert "replay:posts.jsonl: 0 posts" in done.stdout
    assert len(said("search", "lantern bridge", "--data", data)["posts"]) == 3


@pytest.mark.parametrize(("number", "times"), [(signal.SIGINT, 1), (signal.SIGTERM, 1), (signal.SIGINT, 2)])
def test_an_interrupted_ingest_has_stored_what_it_read(tmp_path: Path, number: int, times: int) -> None:
    row = (
        '{"id":"%d","platform":"x","author":"a","created_at":"2026-11-03T20:%02d:%02dZ","text":"Tram number %d."}\n'
    )
    path = tmp_path / "slow.jsonl"
    path.write_text("".join(row % (n, n // 60, n % 60, n) for n in range(600)), "utf-8")
    running = Program(
        tmp_path / "log", "ingest", "--source", f"replay:{path}?speed=20", "--data", str(tmp_path / "data")
    )
    running.until(r"[1-9]\d* posts")
    for _ in range(times - 1):
        running.process.send_signal(number)
        time.sleep(0.02)
    assert running.stop(number) == 130
    assert "Traceback" not in running.said
    assert re.search(r"replay:slow\.jsonl: \d+ posts in .* added, .*; cursor \d+@", running.said)
    told = int(re.findall(r"(\d+) posts", running.said)[-1])
    checks = said("doctor", "--source", "simulated", "--port", "0", "--data", str(tmp_path / "data"))["checks"]
    stored = int(re.match(r"(\d+) posts", next(c["said"] for c in checks if c["link"] == "index"))[1])  # type: ignore[index]
    assert told <= stored < 600


def test_each_source_has_its_own_rate_and_all_have_a_total(recording: Path, tmp_path: Path) -> None:
    other = tmp_path / "posts.jsonl"
    other.write_bytes(recording.read_bytes())
    done = voxpop("ingest", "--source", f"replay:{recording}", "--source", f"replay:{other}?speed=600", "--data",
                  str(tmp_path / "data"))  # fmt: skip
    took = [float(t) for t in re.findall(r"/posts\.jsonl: 3 posts in ([\d.]+) s", done.stdout)]
    assert took[0] < 1.5 < took[1]
    assert re.search(r"2 sources: 6 posts in \d", done.stdout)


def test_an_ingest_says_why_nothing_comes(tmp_path: Path) -> None:
    running = Program(tmp_path / "log", "ingest", "--source", "bluesky:ws://127.0.0.1:1/s", "--data", str(tmp_path))
    running.until(r"bluesky:127\.0\.0\.1:1: reconnecting in ")
    assert running.stop() == 130
    assert "bluesky:127.0.0.1:1: 0 posts in " in running.said


# search


def test_search_prints_its_contract(data: str) -> None:
    found = said("search", "lantern closed", "--as-of", THEN, "--data", data)
    assert list(found) == ["posts", "took_ms"]
    first = found["posts"][0]
    assert isinstance(first.pop("score"), float)
    assert first == {
        "id": "x:1",
        "network": "x",
        "author": {"handle": "ada", "name": ""},
        "created_at": "2026-11-03T20:00:00.000Z",
        "witnessed_at": "2026-11-03T20:00:00.000Z",
        "text": "The Lantern Bridge is closed tonight.",
        "url": "https://posts.example/1",
        "duplicates": 1,
        "independent_authors": 1,
    }


def test_search_keeps_its_bounds(data: str) -> None:
    def ids(*arguments: str) -> list[str]:
        done = CliRunner().invoke(program(), ["search", "bridge", "--data", data, "--json", *arguments])
        return sorted(p["id"] for p in json.loads(done.stdout)["posts"])

    assert ids("--as-of", "2026-11-03T20:10:00Z") == ["x:1", "x:2"]
    assert ids("--since", "2026-11-03T20:05:00Z", "--until", "2026-11-03T20:15:00Z") == ["x:2"]
    assert ids("--from", "ada", "--from", "bob") == ["x:1", "x:2"]
    assert len(ids("--limit", "1")) == 1


def test_a_terminal_that_lacks_a_character_shows_another(data: str) -> None:
    question = ["ask", "Is the Lantern Bridge closed?", "--engine", "quote", "--data", data, "--as-of", THEN]
    latin = environment(PYTHONIOENCODING="latin-1", PYTHONUTF8="0")
    done = subprocess.run(
        [sys.executable, "-m", "voxpop.cli", *question], capture_output=True, check=True, env=latin
    )
    assert b"@ada says: ?The Lantern Bridge is closed tonight.? [" in done.stdout


def test_a_post_cannot_steer_the_terminal(data: str) -> None:
    done = voxpop("search", "bridge", "--data", data)
    assert "[31mLantern Bridge, in red." in done.stdout
    assert "\x1b" not in done.stdout + done.stderr
    assert "\u202e" not in done.stdout
    done = voxpop("ask", "Is the Lantern Bridge red?", "--engine", "quote", "--as-of", THEN, "--data", data)
    assert done.returncode == 0
    assert "\x1b" not in done.stdout + done.stderr
    assert "\u202e" not in done.stdout


# ask


def test_ask_prints_its_contract(data: str) -> None:
    question = ("ask", "Is the Lantern Bridge closed?", "--engine", "quote", "--data", data)
    answer = said(*question, "--as-of", "2026-11-03T20:05:00Z", "--voice", "fun")
    assert list(answer) == [
        "answer",
        "answerable",
        "sentences",
        "quip",
        "citations",
        "withheld",
        "freshness",
        "receipt",
        "engine",
        "voice",
        "usage",
        "timings",
        "id",
    ]
    assert answer["answerable"] is True
    assert answer["sentences"] == [{"text": "@ada says: “The Lantern Bridge is closed tonight.”", "citations": [1]}]
    assert answer["sentences"][0]["text"] + " [1]" in answer["answer"]
    assert answer["quip"]
    assert answer["citations"] == [
        {
            "n": 1,
            "id": "x:1",
            "author": {"handle": "ada", "name": ""},
            "url": "https://posts.example/1",
            "created_at": "2026-11-03T20:00:00.000Z",
            "witnessed_at": "2026-11-03T20:00:00.000Z",
            "text": "The Lantern Bridge is closed tonight.",
        }
    ]
    assert answer["withheld"] == []
    at = "2026-11-03T20:00:00.000Z"
    fresh = answer["freshness"]
    assert (fresh["newest"], fresh["oldest"], fresh["gaps"]) == (at, at, [])
    assert (fresh["stream_lag_s"], fresh["behind_s"], fresh["simulated"]) == (None, None, False)
    rests = answer["receipt"]
    assert rests.pop("searched")[0] == "the question's words and their kin: lantern bridge closed"
    assert rests == {"posts": 1, "independent_authors": 1, "sources_down": [], "result": ""}
    assert (answer["engine"], answer["voice"]) == ("quote", "fun")
    assert set(answer["usage"]) == {"prompt_tokens", "completion_tokens"}
    assert set(answer["timings"]) == {"search_ms", "first_sentence_ms", "total_ms"}
    assert answer["timings"]["total_ms"] >= answer["timings"]["search_ms"] > 0


def test_ask_of_what_nobody_said_is_not_answerable(data: str) -> None:
    answer = said("ask", "Who won the regatta?", "--engine", "quote", "--data", data)
    assert (answer["answerable"], answer["sentences"], answer["citations"]) == (False, [], [])
    assert answer["answer"]


def test_ask_for_people_shows_posts_and_their_age(data: str) -> None:
    done = voxpop(
        "ask",
        "Is the Lantern Bridge closed?",
        "--engine",
        "quote",
        "--data",
        data,
        "--as-of",
        "2026-11-03T20:05:00Z",
    )
    assert "@ada says: “The Lantern Bridge is closed tonight.” [1]" in done.stdout
    assert "[1] @ada on x, 2026-11-03T20:00:00Z (5 min ago)\n    https://posts.example/1" in done.stdout
    assert "newest evidence 5 min ago" in done.stdout
    assert "engine quote" in done.stdout


def test_ask_while_the_program_runs_on_the_same_folder(up: Up) -> None:
    answer = said(
        "ask", "Did a ballot box burn in Dornick?", "--engine", "quote", "--data", str(up.data / "simulated")
    )
    assert answer["answerable"] is True
    assert "Simulated stream" in answer["answer"]


# sources, voices, models


def test_sources_and_voices_are_listed(data: str, tmp_path: Path) -> None:
    rows = {r["source"]: r for r in said("sources", "--data", data)["sources"]}
    assert {"auto", "bluesky", "rss", "simulated", "replay", "replay:posts.jsonl"} <= set(rows)
    assert "@" in rows["replay:posts.jsonl"]["cursor"]
    assert rows["auto"]["configured"] is True
    assert "cursor" in voxpop("sources", "--data", data).stdout
    (tmp_path / "voices").mkdir()
    (tmp_path / "voices" / "pirate.md").write_text("---\ntitle: Pirate\n---\nSpeak like a pirate.\n", "utf-8")
    names = [v["name"] for v in said("voices", "--data", str(tmp_path))["voices"]]
    assert names == ["regular", "fun", "pirate"]
    assert voxpop("voices").stdout.startswith("regular")
    assert said("models", "list", "--data", data)["models"]


# Failing


@pytest.mark.parametrize(
    ("arguments", "code", "what", "cure"),
    [
        (("ingest", "--source", "replay:nope.jsonl"), 1, "nope.jsonl", "path"),
        (("ingest", "--source", "nope"), 2, "nope", "Known: auto"),
        (("ingest", "--source", "replay"), 2, "replay", "replay:PATH"),
        (("search", "x"), 1, "holds no posts", "voxpop ingest"),
        (("ask", "x"), 1, "holds no posts", "voxpop ingest"),
        (("ask", "x", "--as-of", "soon"), 2, "--as-of cannot be 'soon'", "ISO 8601"),
        (("search", "x", "--as-of", "soon"), 2, "--as-of cannot be 'soon'", "ISO 8601"),
        (("search", "x", "--since", "-99999999999999w"), 2, "--since", "ISO 8601"),
        (("ask", "x", "--engine", "gpt"), 2, "gpt", "Choose one of"),
        (("ask", " "), 2, "empty", "Ask something"),
        (("ask", "x" * 4_001), 2, "over 4000 characters", "shorter"),
        (("demo", "--voice", "opera"), 2, "opera", "Choose one of: regular, fun"),
    ],
)
def test_a_failure_is_one_line_with_what_value_and_cure(
    tmp_path: Path, arguments: tuple[str, ...], code: int, what: str, cure: str
) -> None:
    folder = () if arguments[0] == "demo" else ("--data", str(tmp_path / "none"))
    done = CliRunner().invoke(program(), [*arguments, *folder, "--json"])
    assert done.exit_code == code, done.output
    error = json.loads(done.stdout)["error"]
    assert set(error) == {"message", "cure", "code"}
    assert what in error["message"]
    assert cure in error["cure"]
    assert not (tmp_path / "none").exists()


def test_for_people_too_a_failure_is_one_line(tmp_path: Path) -> None:
    done = voxpop("search", "x", "--data", str(tmp_path / "none"))
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert done.stderr.startswith("voxpop: ")


def test_a_setting_that_is_not_known_refuses_to_start(tmp_path: Path) -> None:
    done = voxpop("voices", VOXPOP_SERVER_PROT="1")
    assert done.returncode == 2
    assert "Did you mean 'server.port'?" in done.stderr
    file = tmp_path / "voxpop.toml"
    file.write_text("[server]\nport = 'x'\n")
    done = voxpop("--config", str(file), "voices", "--json")
    assert done.returncode == 2
    assert "server.port" in json.loads(done.stdout)["error"]["message"]


# up


def test_a_port_that_is_taken_and_a_host_that_is_open(recording: Path, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        source = ("--source", f"replay:{recording}", "--engine", "quote", "--data", str(tmp_path))
        done = voxpop("up", *source, "--port", port)
    assert done.returncode == 1
    assert f"Port {port} on 127.0.0.1 cannot be used" in done.stderr
    assert "--port" in done.stderr
    for host in ("0.0.0.0", "192.168.1.7", "::", "example.com"):
        done = voxpop("up", *source, "--port", "0", "--host", host)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1)
        assert f"Will not listen on {host}" in done.stderr
    assert voxpop("up", "--port", "70000").returncode == 2


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.7", "example.com", "localhost.example.com", ""])
def test_only_loopback_is_listened_on(host: str) -> None:
    from voxpop.app import serve
    from voxpop.config import Config, Server, Sources
    from voxpop.errors import UsageError

    nowhere = Config(server=Server(host=host), sources=Sources(use=()))
    with pytest.raises(UsageError, match="Will not listen"):
        asyncio.run(asyncio.wait_for(serve(nowhere, lambda line: None), 0.5))


@pytest.mark.parametrize(("number", "times"), [(signal.SIGINT, 1), (signal.SIGTERM, 1), (signal.SIGINT, 2)])
def test_up_ends_cleanly_and_keeps_every_post(recording: Path, tmp_path: Path, number: int, times: int) -> None:
    arguments = (
        "up",
        "--source",
        f"replay:{recording}",
        "--engine",
        "quote",
        "--port",
        "0",
        "--data",
        str(tmp_path),
    )
    running = Program(tmp_path / "log", *arguments)
    running.until("ended after 3 posts")
    second = voxpop(*arguments)
    assert second.returncode == 1
    assert str(tmp_path) in second.stderr
    assert "Traceback" not in second.stderr
    began = time.monotonic()
    for _ in range(times - 1):
        running.process.send_signal(number)
        time.sleep(0.02)
    assert running.stop(number) in (0, 130)
    assert time.monotonic() - began < 5
    assert "Traceback" not in running.said
    assert len(said("search", "bridge", "--data", str(tmp_path))["posts"]) == 3
    checks = said("doctor", "--source", f"replay:{recording}", "--port", "0", "--data", str(tmp_path))["checks"]
    index = next(c for c in checks if c["link"] == "index")
    assert index["state"] == "ok"
    assert "3 posts" in index["said"]


def test_a_second_night_on_the_same_folder_leaves_the_first_alone(up: Up) -> None:
    second = voxpop("up", "--source", "simulated", "--engine", "quote", "--port", "0", "--data", str(up.data))
    assert second.returncode == 1
    assert str(up.data) in second.stderr
    assert said("search", "Dornick", "--data", str(up.data / "simulated"))["posts"]


def test_the_bound_on_streams_is_a_setting(recording: Path, tmp_path: Path) -> None:
    running = Program(
        tmp_path / "log", "up", "--source", f"replay:{recording}", "--engine", "quote", "--port", "0",
        "--data", str(tmp_path), VOXPOP_SERVER_STREAMS="1",
    )  # fmt: skip
    try:
        port = int(running.until(r"open http://127\.0\.0\.1:(\d+)")[1])
        request = b"GET /api/live HTTP/1.1\r\nHost: localhost\r\n\r\n"
        with (
            socket.create_connection(("127.0.0.1", port), timeout=10) as one,
            socket.create_connection(("127.0.0.1", port), timeout=10) as two,
        ):
            one.sendall(request)
            assert b" 200 " in one.recv(4096)
            two.sendall(request)
            assert b" 503 " in two.recv(4096)
    finally:
        running.stop()


def test_up_ends_while_a_page_is_open(recording: Path, tmp_path: Path) -> None:
    running = Program(
        tmp_path / "log", "up", "--source", f"replay:{recording}", "--engine", "quote", "--port", "0",
        "--data", str(tmp_path),
    )  # fmt: skip
    port = int(running.until(r"open http://127\.0\.0\.1:(\d+)")[1])
    with socket.create_connection(("127.0.0.1", port), timeout=10) as page:
        page.sendall(b"GET /api/live HTTP/1.1\r\nHost: localhost\r\n\r\n")
        while b"event: live" not in page.recv(4096):
            pass
        assert running.stop(within_s=6) in (0, 130)
    assert "Traceback" not in running.said


# Help


def test_help_imports_no_index_and_no_server() -> None:
    code = "import sys; from voxpop.cli import program; program(); print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment()
    )
    assert not {"tantivy", "uvicorn", "starlette", "voxpop.app", "voxpop.service"} & set(done.stdout.split())


COMMANDS = ["up", "ingest", "search", "ask", "sources", "voices", "doctor", "demo", "models"]
COMMANDS += ["forget", "audit", "backup", "restore", "rebuild", "verify", "x", "policy"]
COMMANDS += ["answers", "reproduce", "eval", "watch", "users", "teams", "keys", "tiers", "usage", "weights"]


def test_every_help_holds_an_example() -> None:
    def walk(command: click.Command, path: tuple[str, ...]) -> None:
        assert "Example: voxpop" in (command.help or ""), path
        if isinstance(command, click.Group):
            for name, inner in command.commands.items():
                walk(inner, (*path, name))

    walk(program(), ())
    assert set(program().commands) == set(COMMANDS)


def test_help_comes_at_once() -> None:
    best = 9.0
    for _ in range(5):
        began = time.monotonic()
        done = voxpop("--help")
        best = min(best, time.monotonic() - began)
        assert done.returncode == 0
        if best < 0.5:
            break
    assert all(name in done.stdout for name in COMMANDS)
    assert best < 0.5
    assert voxpop("--version").stdout.startswith("voxpop, version ")
