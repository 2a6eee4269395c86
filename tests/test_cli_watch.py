"""`voxpop watch` as a person runs it: beside a server, and by itself over the data folder."""

import asyncio
import json
import signal
import time
from pathlib import Path

import httpx

from conftest import Program, Up, voxpop
from voxpop.posts import Author, Post, Upsert
from voxpop.store.local import LocalStore
from voxpop.times import MICROS

NOBODY = "1"  # a port at which nothing listens


def port_of(up: Up) -> str:
    return up.url.rpartition(":")[2]


def said(number: int, text: str) -> Upsert:
    at = time.time_ns() // 1000 - 60 * MICROS + number * MICROS
    return Upsert(
        Post(f"at://{number}", "test", Author("did:ann", "ann.example", "Ann"), text, at, at), str(number)
    )


async def keep(folder: Path, *events: Upsert) -> None:
    async with LocalStore(folder) as store:
        await store.apply("test", events)


def test_a_question_is_followed_at_the_server_and_ends_with_the_command(up: Up, tmp_path: Path) -> None:
    program = Program(tmp_path / "log", "watch", "Who won the presidential election?", "--port", port_of(up))
    try:
        program.until("Now: (not declared|declared)")
        listed = voxpop("watch", "--list", "--json", "--port", port_of(up))
        assert [w["question"] for w in json.loads(listed.stdout)["watches"]] == [
            "Who won the presidential election?"
        ]
    finally:
        assert program.stop(signal.SIGINT) == 130
    assert "Traceback" not in program.said
    assert httpx.get(f"{up.url}/v1/watches", trust_env=False).json()["data"] == []


def test_a_webhook_is_added_listed_and_stopped(up: Up) -> None:
    port = port_of(up)
    private = voxpop("watch", "Who won?", "--webhook", "http://127.0.0.1:9/", "--port", port)
    assert (private.returncode, "is a private one" in private.stderr) == (2, True)
    added = voxpop(
        "watch", "Who won the election?", "--webhook", "https://hook.example/x", "--port", port, "--json"
    )
    watch = json.loads(added.stdout)
    assert watch["webhook"]["secret"].startswith("whsec_")
    listed = voxpop("watch", "--list", "--port", port)
    assert f"{watch['id']} 0 flips" in listed.stdout
    assert "whsec_" not in listed.stdout
    assert voxpop("watch", "--stop", watch["id"], "--port", port).stdout == f"{watch['id']} has ended.\n"
    again = voxpop("watch", "--stop", watch["id"], "--port", port)
    assert (again.returncode, "There is no watch" in again.stderr) == (2, True)


def test_without_a_server_the_data_folder_is_watched(tmp_path: Path) -> None:
    data = tmp_path / "data"
    asyncio.run(keep(data, said(1, "A ballot box burned in Dornick.")))
    arguments = (
        "watch",
        "Did a ballot box burn in Dornick?",
        "--once",
        "--json",
        "--port",
        NOBODY,
        "--data",
        str(data),
    )
    program = Program(tmp_path / "log", *arguments)
    try:
        program.until('"event":"position"')
        asyncio.run(keep(data, said(2, "I was wrong: no ballot box burned in Dornick.")))
        program.until('"event":"flip"')
        assert program.process.wait(10) == 0
    finally:
        program.stop()
    first, flip = (json.loads(line) for line in program.said.splitlines())
    assert first["position"]["stance"] == "yes"
    assert (flip["why"], flip["after"]["stance"]) == ("denied", "no")
    assert [(p["id"], p["author"]["handle"]) for p in flip["posts"]] == [("at://2", "ann.example")]


def test_what_cannot_be_done_is_said_in_a_line(tmp_path: Path) -> None:
    for arguments, code, words in (
        ((), 2, "One of a question, --list and --stop is needed"),
        (("--list", "--port", NOBODY), 1, "No voxpop answers at"),
        (("Who won?", "--port", NOBODY, "--data", str(tmp_path)), 1, "there are no posts in"),
    ):
        done = voxpop("watch", *arguments)
        assert (done.returncode, words in done.stderr, done.stdout) == (code, True, ""), done.stderr
