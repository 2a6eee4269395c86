"""Log lines: one form or the other, and in neither a key, a question or the text of a post."""

import json
import logging
import time
from pathlib import Path

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from conftest import Program, voxpop
from voxpop import logs
from voxpop.errors import UsageError

TEXT = "The zeppelin over Dornick is landing at the old harbour now."
QUESTION = "What do people say about the zeppelin?"
TOKEN = "AAAA-token-zq81-never-shown"


def record(
    name: str, message: str, *args: object, error: BaseException | None = None, **extra: object
) -> logging.LogRecord:
    info = (type(error), error, error.__traceback__) if error else None
    made = logging.LogRecord(name, logging.ERROR, __file__, 1, message, args, info)
    made.__dict__.update(extra)
    return made


def raised(error: Exception, cause: Exception | None = None) -> Exception:
    try:
        raise error from cause
    except Exception as caught:
        return caught


def test_a_real_run_logs_nothing_that_anybody_wrote_and_no_key(tmp_path: Path) -> None:
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    file = tmp_path / "posts.jsonl"
    row = {"id": "1", "platform": "x", "author": {"username": "a.example"}, "created_at": now, "text": TEXT}
    file.write_text(json.dumps(row) + "\n{broken " + TEXT + "\n")
    program = Program(
        tmp_path / "log", "up", "--source", f"replay:{file}", "--engine", "quote", "--port", "0",
        "--data", str(tmp_path / "data"), VOXPOP_WATCHING_LOG="json", VOXPOP_X_TOKEN=TOKEN, VOXPOP_OPENAI_KEY=TOKEN,
    )  # fmt: skip
    try:
        url = program.until(r"open (http://[\d.:]+)")[1]
        program.until("has ended after 1 posts")
        ask = {"messages": [{"role": "user", "content": QUESTION}]}
        headers = {"authorization": f"Bearer {TOKEN}"}
        assert "old harbour" in httpx.post(f"{url}/api/answer", json=ask, headers=headers, timeout=20).text
        httpx.post(f"{url}/v1/chat/completions", json={**ask, "temperature": QUESTION}, headers=headers)
    finally:
        program.stop()
    for private in ("zeppelin", "Where is", TOKEN, "a.example"):
        assert private not in program.said
    rows = [json.loads(line) for line in program.said.splitlines()]
    assert all({"time", "level", "logger", "message"} <= r.keys() for r in rows)
    (ended,) = (r for r in rows if "has ended" in r["message"])
    assert (ended["source"], ended["level"]) == ("replay:posts.jsonl", "info")


def test_a_crash_tells_its_kind_and_places_and_not_its_words() -> None:
    error = raised(KeyError(TEXT), ValueError(QUESTION))
    row = json.loads(logs.Json([]).format(record("voxpop.runner", "The source broke", error=error, source="x")))
    assert row["source"] == "x"
    assert row["level"] == "error"
    assert row["fault"].endswith("KeyError from ValueError")
    assert "test_logs.py" in row["fault"]
    assert TEXT not in json.dumps(row)
    assert QUESTION not in json.dumps(row)
    text = logs.Text([]).format(record("voxpop.runner", "The source broke", error=error, source="x"))
    assert text.startswith("x: The source broke\n")
    assert TEXT not in text


def test_a_strangers_message_is_cut_to_its_first_line() -> None:
    foreign = record("asyncio", "Task exception was never retrieved\nfuture: <Task exception=KeyError(%r)>", TEXT)
    assert json.loads(logs.Json([]).format(foreign))["message"] == "Task exception was never retrieved"


@given(st.text(min_size=6, max_size=40).filter(lambda s: s.strip() and not set(s) <= {"*"}))
def test_a_secret_is_masked_wherever_it_stands(secret: str) -> None:
    careful = logs.Json([secret])
    assert secret not in careful.masked(f"before {secret} after {secret}")


@pytest.mark.parametrize(
    "line", ["Authorization: Bearer abc.def-123", "GET /x?access_token=abc.def-123&y=1", "token=abc.def-123"]
)
def test_what_looks_like_a_key_is_masked_unasked(line: str) -> None:
    assert "abc.def-123" not in logs.Text([]).masked(line)


def test_what_the_program_says_stands_as_it_is() -> None:
    assert (
        logs.Text([]).format(record("voxpop", "voxpop: open http://127.0.0.1:1"))
        == "voxpop: open http://127.0.0.1:1"
    )


def test_an_unknown_form_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="text or json"):
        logs.begin("xml")
    done = voxpop("up", "--source", "bluesky", "--port", "0", "--data", str(tmp_path), VOXPOP_WATCHING_LOG="xml")
    assert done.returncode == 2
    assert "text or json" in done.stderr
