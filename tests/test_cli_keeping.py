"""Forgetting, proving it, copying, mending: each command as a person runs it, beside a server and without."""

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner

from conftest import Program, environment, voxpop
from voxpop.cli import program
from voxpop.keeping import forgetting
from voxpop.posts import Author, Post, Upsert
from voxpop.store.local import LocalStore

SAID = {
    1: ("ada", "The Lantern Bridge is closed tonight."),
    2: ("bob", "Trams run again over the Lantern Bridge."),
    3: ("eve", "A heron walked into the harbour office."),
    4: ("ada", "The ferry to Dornick leaves at nine."),
}


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows = [
        {
            "id": str(n), "author": who, "created_at": f"2026-11-03T20:0{n}:00Z", "text": text, "platform": "x",
            "url": f"https://posts.example/{n}",
        }
        for n, (who, text) in SAID.items()
    ]  # fmt: skip
    path = tmp_path_factory.mktemp("recording") / "posts.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


@pytest.fixture(scope="module")
def filled(recording: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("filled") / "data"
    done = voxpop("ingest", "--source", f"replay:{recording}", "--data", str(folder))
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def data(filled: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(filled, tmp_path / "data"))


def run(*arguments: str | Path, code: int = 0, stdin: str = "") -> Any:
    """The JSON that a command prints."""
    done = CliRunner().invoke(program(), [*map(str, arguments), "--json"], input=stdin)
    assert done.exit_code == code, done.output
    assert done.stderr == ""
    return json.loads(done.stdout)


def ids(data: Path) -> list[str]:
    found = run("search", "bridge OR heron OR ferry", "--data", data)["posts"]
    return sorted(p["id"] for p in found)


# forget


def test_a_forgotten_post_is_nowhere_and_does_not_come_back(data: Path, recording: Path) -> None:
    text = SAID[1][1]
    found = run("audit", "--text", text, "--data", data, code=1)
    assert found["posts"] == [{"id": "x:1", "url": "https://posts.example/1"}]
    done = run("forget", "--post", "x:1", "--data", data)
    assert done == {"found": 1, "ids": ["x:1"], "said": ["Forgot 1 post."]}
    assert run("audit", "--text", text, "--data", data)["found"] == 0
    assert ids(data) == ["x:2", "x:3", "x:4"]
    copied = shutil.copy(recording, data.parent / "again.jsonl")
    row = run("ingest", "--source", f"replay:{copied}", "--data", data)["sources"][0]
    assert (row["refused"], row["unchanged"]) == (1, 3)
    assert run("audit", "--text", text, "--data", data)["found"] == 0


def test_an_author_and_a_time_are_forgotten(data: Path) -> None:
    done = run("forget", "--author", "@Ada", "--before", "2026-11-03T20:02:30Z", "--data", data)
    assert (done["found"], done["ids"]) == (3, ["x:1", "x:2", "x:4"])
    assert ids(data) == ["x:3"]
    for n in (1, 2, 4):
        assert run("audit", "--text", SAID[n][1], "--data", data)["found"] == 0


def test_a_post_that_is_not_here_is_refused_when_it_comes(data: Path, tmp_path: Path) -> None:
    assert run("forget", "--post", "x:9", "--data", data) == {"found": 0, "ids": [], "said": ["Forgot 0 posts."]}
    late = {"id": "9", "author": "zoe", "created_at": "2026-11-03T21:00:00Z", "text": "Too late.", "platform": "x"}
    (tmp_path / "late.jsonl").write_text(json.dumps(late) + "\n")
    row = run("ingest", "--source", f"replay:{tmp_path / 'late.jsonl'}", "--data", data)["sources"][0]
    assert (row["added"], row["refused"]) == (0, 1)


def test_a_post_is_forgotten_by_the_address_that_a_search_shows(data: Path) -> None:
    done = run("forget", "--post", "https://posts.example/1", "--data", data)
    assert (done["found"], done["ids"]) == (1, ["x:1"])
    done = run("forget", "--post", "https://twitter.com/bob/status/2?s=20", "--data", data)
    assert (done["found"], done["ids"]) == (1, ["x:2"])
    assert ids(data) == ["x:3", "x:4"]
    for unknown in ("https://posts.example/9", "x:99"):
        said = CliRunner().invoke(program(), ["forget", "--yes", "--post", unknown, "--data", str(data)]).output
        assert "No stored post has this id or address" in said
        assert "No search finds" not in said


async def test_an_address_on_bluesky_leads_to_its_post(tmp_path: Path) -> None:
    async with LocalStore(tmp_path) as store:
        ada = Author("did:plc:ada", "ada.example")
        post = Post("at://did:plc:ada/app.bsky.feed.post/3k", "bluesky", ada, "A text.", 1, 1)
        await store.apply("s", [Upsert(post, "1")])
    for who in ("ada.example", "did:plc:ada"):
        wanted = forgetting.Wanted((f"https://bsky.app/profile/{who}/post/3k",))
        assert forgetting.resolved(tmp_path, wanted).posts == (post.id,)


def test_what_each_option_finds_is_counted_apart(data: Path) -> None:
    asked = ["forget", "--author", "bob", "--before", "2026-11-03T20:01:30Z", "--data", str(data)]
    said = CliRunner().invoke(program(), asked, input="n\n").stderr
    assert "2 stored posts (1 of bob, 1 before 2026-11-03T20:01:30Z): x:1, x:2" in said


def test_it_asks_first_and_never_shows_a_text(data: Path) -> None:
    asked = ["forget", "--author", "ada", "--data", str(data)]
    done = CliRunner().invoke(program(), asked, input="n\n")
    assert done.exit_code == 1
    assert "2 stored posts: x:1, x:4" in done.stderr
    assert "Nothing was forgotten" in done.stderr
    assert len(ids(data)) == 4
    for arguments, answer in ((asked, "y\n"), (["forget", "--post", "x:2", "--yes", "--data", str(data)], "")):
        done = CliRunner().invoke(program(), arguments, input=answer)
        assert done.exit_code == 0
        assert "Lantern" not in done.output
    assert ids(data) == ["x:3"]


# audit


def test_an_audit_says_where_a_text_is(data: Path) -> None:
    text = SAID[3][1]
    (data / "voxpop.log").write_text(f"failed on {json.dumps(text)}\n")
    found = run("audit", "--text", "-", "--data", data, code=1, stdin=f"{text}\n")
    assert list(found) == ["found", "stray", "posts", "places", "coded", "files", "bytes", "skipped"]
    assert found["stray"] == 1
    kinds = {(p["in"], p["file"].rpartition("/")[2], p["post"]) for p in found["places"]}
    assert kinds == {("stray", "voxpop.log", None), ("post", "posts.db", "x:3")}
    done = CliRunner().invoke(program(), ["audit", "--text", text, "--data", str(data)])
    assert done.exit_code == 1
    assert "stray  voxpop.log: 1 times held by nobody, at byte 11" in done.stdout
    assert "live   x:3 https://posts.example/3" in done.stdout
    assert text not in done.output
    (data / "voxpop.log").unlink()
    done = CliRunner().invoke(program(), ["audit", "--text", "what nobody ever said", "--data", str(data)])
    assert (done.exit_code, done.stdout.strip().endswith("nowhere.")) == (0, True)


# backup, restore, verify, rebuild


def test_a_backup_comes_back_as_it_was(data: Path, tmp_path: Path, recording: Path) -> None:
    made = run("backup", tmp_path / "backup", "--data", data)
    assert list(made) == ["backup", "taken_at", "posts", "bytes", "records", "files", "took_s"]
    assert made["posts"] == 4
    back = run("restore", tmp_path / "backup", "--data", tmp_path / "new")
    assert back == {"data": str(tmp_path / "new"), "taken_at": made["taken_at"], "posts": 4}
    assert ids(tmp_path / "new") == ids(data)
    row = run("ingest", "--source", f"replay:{recording}", "--data", tmp_path / "new")["sources"][0]
    assert row["posts"] == 0  # the cursor came along
    verdict = run("verify", "--data", tmp_path / "new")
    assert verdict == {"posts": 4, "partitions": 1, "coded": 0, "faults": []}


def test_what_is_wrong_is_named_with_its_way_out(data: Path) -> None:
    partition = next((data / "partitions").iterdir())
    shutil.rmtree(partition / "index")
    verdict = run("verify", "--data", data, code=1)
    assert "is missing" in verdict["faults"][0]["what"]
    assert verdict["faults"][0]["cure"] == "Run: voxpop rebuild"
    assert "4 posts" in run("rebuild", "--data", data)["said"]
    assert run("verify", "--data", data)["faults"] == []
    for path in (partition / "index").glob("*.idx"):
        path.write_bytes(bytes([path.read_bytes()[0] ^ 1]) + path.read_bytes()[1:])
    verdict = run("verify", "--data", data, code=1)
    assert "the checksum of" in verdict["faults"][0]["what"]
    assert verdict["faults"][0]["cure"] == "Run: voxpop rebuild"
    run("rebuild", "--data", data)
    assert run("verify", "--data", data)["faults"] == []
    with (partition / "posts.db").open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * 4096)
    done = CliRunner().invoke(program(), ["verify", "--data", str(data)])
    assert done.exit_code == 1
    assert f"FAIL SQLite says of {partition / 'posts.db'}" in done.stdout
    assert f"move {partition} away" in done.stdout
    error = run("backup", data.parent / "copy", "--data", data, code=1)["error"]
    assert f"move {partition} away" in error["cure"]
    (data / "catalog.db").write_bytes(b"no database at all")
    error = run("verify", "--data", data, code=1)["error"]
    assert "catalog.db" in error["message"]
    assert "backup" in error["cure"]
    assert "come back" in error["cure"]
    (data / "catalog.db").unlink()
    for command in (["verify"], ["search", "x"], ["rebuild"], ["backup", data.parent / "copy"]):
        error = run(*command, "--data", data, code=1)["error"]
        assert "catalog.db is missing" in error["message"]


def test_where_only_the_simulated_night_is_each_command_says_so(data: Path, tmp_path: Path) -> None:
    (tmp_path / "all").mkdir()
    shutil.move(data, tmp_path / "all" / "simulated")
    backup, forget = ["backup", tmp_path / "copy"], ["forget", "--post", "x:1"]
    for command in (["verify"], ["search", "x"], ["rebuild"], backup, forget):
        error = run(*command, "--data", tmp_path / "all", code=1)["error"]
        assert error["cure"] == f"Name it with: --data {tmp_path / 'all' / 'simulated'}"


# beside a server


@pytest.fixture
def served(data: Path, tmp_path: Path, recording: Path) -> Iterator[httpx.Client]:
    """A running server on the folder."""
    running = Program(
        tmp_path / "log",
        "up",
        "--source",
        f"replay:{recording}",
        "--engine",
        "quote",
        "--port",
        "0",
        "--data",
        str(data),
    )
    try:
        url = running.until(r"open (http://127\.0\.0\.1:\d+)")[1]
        with httpx.Client(base_url=url, trust_env=False) as client:
            yield client
        assert running.process.poll() is None
        assert running.stop() in (0, 130)
        assert "Traceback" not in running.said
    finally:
        running.stop()


def test_everything_works_beside_a_server(served: httpx.Client, data: Path, tmp_path: Path) -> None:
    text = SAID[2][1]
    assert served.get("/api/status").json()["posts"] == 4
    asked = ("--source", "simulated", "--port", str(served.base_url.port), "--data", data)
    checks = {c["link"]: c for c in run("doctor", *asked)["checks"]}
    assert (checks["port"]["state"], checks["index"]["state"]) == ("ok", "ok")
    assert "voxpop is running there" in checks["port"]["said"]
    assert run("backup", tmp_path / "before", "--data", data)["posts"] == 4
    assert run("forget", "--post", "x:2", "--data", data)["said"] == ["Forgot 1 post."]
    assert run("audit", "--text", text, "--data", data)["found"] == 0
    assert "3 posts" in run("rebuild", "--data", data)["said"]
    assert run("verify", "--data", data) == {"posts": 3, "partitions": 1, "coded": 0, "faults": []}
    assert run("backup", tmp_path / "after", "--data", data)["posts"] == 3
    assert run("audit", "--text", text, "--data", tmp_path / "after")["found"] == 0
    assert run("restore", tmp_path / "after", "--data", data, code=2)["error"]["cure"].startswith("Stop voxpop")
    assert ids(data) == ["x:1", "x:3", "x:4"]
    run("restore", tmp_path / "before", "--data", tmp_path / "back")
    assert ids(tmp_path / "back") == ["x:1", "x:2", "x:3", "x:4"]  # a backup keeps what it kept


def test_while_a_stream_comes_in(tmp_path: Path) -> None:
    arguments = ("up", "--source", "simulated", "--engine", "quote", "--port", "0", "--data", str(tmp_path / "up"))
    running = Program(tmp_path / "log", *arguments)
    try:
        url = running.until(r"open (http://127\.0\.0\.1:\d+)")[1]
        data = tmp_path / "up" / "simulated"
        with httpx.Client(base_url=url, trust_env=False) as client:
            while client.get("/readyz").status_code != 200:
                time.sleep(0.05)
        posts = run("search", "Dornick", "--data", data, "--limit", "50")["posts"]
        found = next(p for p in posts if p["author"]["handle"])  # some handles have not come yet
        done = run("forget", "--author", found["author"]["handle"], "--data", data)
        assert done["found"] >= 1
        assert found["text"] not in str(run("search", "Dornick", "--data", data, "--limit", "200"))
        verdict = run("verify", "--data", data)
        assert verdict["faults"] == []
        made = run("backup", tmp_path / "backup", "--data", data)
        assert run("rebuild", "--data", data)["took_s"] >= 0
        assert run("restore", tmp_path / "backup", "--data", tmp_path / "back")["posts"] == made["posts"]
        assert run("verify", "--data", tmp_path / "back")["faults"] == []
        assert running.process.poll() is None
        assert running.stop() in (0, 130)
        assert "Traceback" not in running.said
    finally:
        running.stop()


# failing


@pytest.mark.parametrize(
    ("arguments", "code", "what", "cure"),
    [
        (("forget",), 2, "Nothing is named", "--post"),
        (("forget", "--post", "nonsense"), 1, "'nonsense' is no post's id", "voxpop search"),
        (("forget", "--before", "soon"), 2, "--before cannot be 'soon'", "ISO 8601"),
        (("forget", "--post", "x:1", "--data", "NONE"), 1, "holds no posts", "--data"),
        (("forget", "--author", "nobody"), 1, "handle 'nobody'", "id"),
        (("audit", "--text", "abc"), 2, "too short", "few words"),
        (("audit", "--text", "a few words", "--data", "NONE"), 1, "no data folder", "--data"),
        (("backup", "NONE", "--data", "NONE"), 1, "holds no posts", "--data"),
        (("restore", "NONE", "--data", "NONE2"), 1, "not a whole backup", "another backup"),
        (("verify", "--data", "NONE"), 1, "holds no posts", "--data"),
        (("rebuild", "--data", "NONE"), 1, "holds no posts", "--data"),
    ],
)
def test_a_failure_says_what_and_the_cure(
    filled: Path, tmp_path: Path, arguments: tuple[str, ...], code: int, what: str, cure: str
) -> None:
    given = [str(tmp_path / a) if a.startswith("NONE") else a for a in arguments]
    error = run(*given, *(() if "--data" in given else ("--data", filled)), code=code)["error"]
    assert what in error["message"]
    assert cure in error["cure"]
    assert not list(tmp_path.iterdir())


def test_a_text_need_not_stand_on_the_command_line(filled: Path) -> None:
    command = [sys.executable, "-m", "voxpop.cli", "audit", "--text", "-", "--data", str(filled)]
    done = subprocess.run(
        command, input=SAID[4][1].encode(), capture_output=True, check=False, timeout=30, env=environment()
    )
    assert done.returncode == 1
    assert b"live   x:4" in done.stdout
