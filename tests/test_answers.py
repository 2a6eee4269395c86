"""Kept answers as a person meets them: the commands as processes, and the routes of the running program."""

import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner

from conftest import Up, voxpop
from voxpop.cli import program

SAID = "The Lantern Bridge is closed tonight."
QUESTION = "Is the Lantern Bridge closed?"
ROWS = (
    ("1", "ada", "2026-11-03T20:00:00Z", SAID),
    ("2", "bob", "2026-11-03T20:10:00Z", "Trams run again over the other side of the river."),
)


def run(*arguments: str, code: int = 0) -> Any:
    """A command in this process: to start one takes longer than to do it."""
    done = CliRunner().invoke(program(), [*arguments, "--json"])
    assert done.exit_code == code, done.output
    return json.loads(done.stdout)


def process(*arguments: str, code: int = 0) -> Any:
    done = voxpop(*arguments, "--json")
    assert (done.returncode, done.stderr) == (code, "")
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("answers")
    keys = ("id", "author", "created_at", "text")
    lines = [json.dumps(dict(zip(keys, row, strict=True)) | {"platform": "x"}) for row in ROWS]
    (folder / "posts.jsonl").write_text("\n".join(lines) + "\n", "utf-8")
    data = str(folder / "data")
    run("ingest", "--source", f"replay:{folder / 'posts.jsonl'}", "--data", data)
    return data


def test_the_life_of_an_answer(data: str, tmp_path: Path) -> None:
    asked = process("ask", QUESTION, "--engine", "quote", "--data", data)
    id_ = asked["id"]
    assert id_
    (row,) = run("answers", "--data", data)["data"]
    assert (row["id"], row["question"], row["engine"], row["voice"]) == (id_, QUESTION, "quote", "regular")
    shown = run("answers", "show", id_, "--data", data)
    assert shown["holds"] is True
    assert [t["text"] for t in shown["texts"] if t["kind"] == "sentence"] == [s["text"] for s in asked["sentences"]]
    assert shown["done"]["receipt"] == asked["receipt"]
    assert process("reproduce", id_, "--data", data)["identical"] is True

    assert run("audit", "--text", QUESTION, "--data", data, code=1)["stray"] == 0, "a live row holds the question"
    run("backup", str(tmp_path / "backup"), "--data", data)
    run("restore", str(tmp_path / "backup"), "--data", str(tmp_path / "back"))
    assert (tmp_path / "back/answers.db").is_file()
    assert run("verify", "--data", str(tmp_path / "back"))["faults"] == []
    assert run("reproduce", id_, "--data", str(tmp_path / "back"))["identical"] is True

    run("forget", "--post", "x:1", "--yes", "--data", data)
    assert run("audit", "--text", SAID, "--data", data)["found"] == 0
    after = run("answers", "show", id_, "--data", data, code=1)
    gone = {"state": "gone", "why_not": "the post [1] (x:1) is gone", "by": None, "text": None, "citations": [1]}
    assert [t for t in after["texts"] if t["state"] != "holds"] == [{"kind": "sentence", **gone}]
    assert (after["holds"], after["done"], after["citations"]) == (False, None, [])
    assert after["missing"] == [{"n": 1, "id": "x:1", "how": "deleted"}]
    people = CliRunner().invoke(program(), ["answers", "show", id_, "--data", data])
    assert (people.exit_code, "is gone" in people.stdout, "Bridge is" in people.stdout) == (1, True, False)
    again = CliRunner().invoke(program(), ["reproduce", id_, "--data", data])
    assert (again.exit_code, again.stdout) == (1, "cannot be compared\nthe post x:1 is gone\n")
    assert run("answers", "remove", id_, "--data", data) == {"removed": [id_]}
    assert run("answers", "--data", data)["data"] == []
    missing = run("answers", "show", id_, "--data", data, code=2)["error"]
    assert (missing["code"], missing["cure"]) == ("answer_not_found", "See: voxpop answers")


def test_answers_can_be_left_unkept(data: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VOXPOP_ANSWERS_KEEP_DAYS", "0")
    assert run("ask", QUESTION, "--engine", "quote", "--data", data)["id"] == ""


def test_an_option_before_the_command_is_refused(data: str) -> None:
    done = CliRunner().invoke(program(), ["answers", "--data", data, "show", "x"])
    assert (done.exit_code, "at the end of the line" in done.output) == (2, True)


def test_the_running_program_keeps_opens_and_makes_again(up: Up) -> None:
    with httpx.Client(base_url=up.url, trust_env=False, timeout=20) as client:
        body = {"messages": [{"role": "user", "content": "Did a ballot box burn in Dornick?"}]}
        answer = client.post("/v1/chat/completions", json=body).json()
        id_ = answer["answer_id"]
        rows = client.get("/v1/answers", params={"limit": 1}).json()
        assert (rows["object"], [r["id"] for r in rows["data"]]) == ("list", [id_])
        opened = client.get(f"/v1/answers/{id_}").json()
        assert opened["question"] == "Did a ballot box burn in Dornick?"
        assert opened["holds"], opened
        said = [t["text"] for t in opened["texts"] if t["kind"] == "sentence"]
        assert said
        assert all(text in answer["choices"][0]["message"]["content"] for text in said)
        assert opened["done"]["receipt"] == answer["receipt"]
        assert [c["url"] or c["id"] for c in opened["citations"]] == answer["citations"]
        made = client.post(f"/v1/answers/{id_}/reproduce").json()
        assert made == {"object": "reproduction", "identical": True, "why": [], "diff": []}
        assert client.delete(f"/v1/answers/{id_}").json() == {"id": id_, "object": "answer", "deleted": True}
        gone = client.get(f"/v1/answers/{id_}")
        assert (gone.status_code, gone.json()["error"]["code"]) == (404, "answer_not_found")
        bad = client.get("/v1/answers", params={"limit": "-1"})
        assert (bad.status_code, "'limit' cannot be" in bad.json()["error"]["message"]) == (400, True)
        site = {"sec-fetch-site": "cross-site"}
        assert client.delete(f"/v1/answers/{id_}", headers=site).status_code == 403
    assert (up.data / "simulated/answers.db").stat().st_mode & 0o077 == 0
