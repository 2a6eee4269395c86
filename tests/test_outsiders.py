"""What an outsider tries at the door: each of these once got further than it should, or broke the server."""

from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from conftest import Running, Script
from test_api_http import EVENTS, HELLO, Serve, client, get, raw
from voxpop.accounts import Limited, attempts, people
from voxpop.accounts.audit import By
from voxpop.accounts.people import Wish
from voxpop.api.guard import refused
from voxpop.errors import UsageError, VoxpopError
from voxpop.records import Database
from voxpop.times import iso, micros

BY = By("test", 1_800_000_000_000_000)
SECOND = b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


async def test_a_request_within_a_request_is_not_served(served: Serve) -> None:
    head = b"POST /api/answer HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    two = head + b"Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + SECOND
    twice = head + b"Content-Length: 0\r\nContent-Length: 5\r\n\r\n" + SECOND
    async with served(Running()) as url:
        for sent in (two, twice):
            answer = await raw(url, sent)
            assert answer.startswith(b"HTTP/1.1 400 ")
            assert answer.count(b"HTTP/1.1 ") == 1


async def test_a_host_is_a_name_and_a_port_and_nothing_else(served: Serve) -> None:
    async with served(Running()) as url:
        for host in (
            "evil.example@localhost",
            "localhost/x",
            "localhost?x",
            "localhost#x",
            "localhost:x",
            "local host",
        ):
            assert b" 200 " not in await raw(url, get("/healthz", Host=host)), host


async def test_a_browser_that_names_only_the_origin_is_heard(served: Serve) -> None:
    form = {"file": ("a.txt", b"text")}
    async with served(Running(Script(EVENTS))) as url, client(url) as http:
        for origin in ("https://evil.example", "null", "http://[", f"{url}.evil.example", "file://"):
            for sent in (
                http.post("/v1/files", files=form, headers={"origin": origin}),
                http.delete("/v1/answers/x", headers={"origin": origin}),
            ):
                response = await sent
                assert (response.status_code, response.json()["error"]["code"]) == (403, "wrong_site"), origin
            response = await http.post("/api/session", json={}, headers={"origin": origin})
            assert response.status_code == 403
        assert (await http.post("/v1/chat/completions", json=HELLO, headers={"origin": url})).status_code == 200


async def test_head_changes_nothing(served: Serve) -> None:
    async with served(Running()) as url, client(url) as http:
        for site in ("cross-site", ""):
            response = await http.request(
                "HEAD",
                "/api/session",
                json={"name": "a", "password": "b"},
                headers={"origin": "https://evil.example"} if not site else {},
            )
            assert response.status_code == 200
            assert "set-cookie" not in response.headers


async def test_what_a_path_allows_is_told_whole_and_no_path_stands_for_another(served: Serve) -> None:
    async with served(Running()) as url, client(url) as http:
        response = await http.request("TRACE", "/v1/answers/x")
        assert (response.status_code, response.headers["allow"]) == (405, "DELETE, GET, HEAD")
        for path in (
            "/v1/models/",
            "//v1/models",
            "/v1//models",
            "/api/session/",
            "/static/../v1/models",
            "/V1/models",
        ):
            assert b" 404 " in await raw(url, get(path, Host="localhost")), path


@pytest.mark.parametrize("field", ["metadata", "text", "tools", "messages", "é\\u0000"])
async def test_what_nests_too_deep_is_refused(served: Serve, field: str) -> None:
    deep = '{"a":' * 200 + "1" + "}" * 200
    sent = '{"input": "hi", "messages": [{"role": "user", "content": "hi"}], "' + field + '": ' + deep + "}"
    async with served(Running(Script(EVENTS))) as url, client(url) as http:
        for path in ("/v1/chat/completions", "/v1/responses", "/v1/messages"):
            response = await http.post(path, content=sent, headers={"content-type": "application/json"})
            assert response.status_code == 400, path


async def test_nobody_stands_for_another_by_a_name_like_their_id(database: Database) -> None:
    def work(session: Session) -> None:
        people.add_user(session, BY, Wish(name="root"))
        for number in range(8):  # whichever of two the database would find first
            ada = people.add_user(session, BY, Wish(name=f"ada{number}"))
            people.add_user(session, BY, Wish(name=ada.id))
            assert people.user(session, ada.id) is ada

    await database.run(work)


async def test_a_space_more_gives_no_more_tries(database: Database) -> None:
    names = ["ann", " ann", "ann ", "ANN", "ａｎｎ", "\tann", "ann\u3000"]

    def work(session: Session) -> None:
        for number in range(attempts.TOGETHER):
            attempts.count(session, BY.now, names[number % len(names)], "192.0.2.1")
        with pytest.raises(Limited):
            attempts.count(session, BY.now, " Ann  ", "192.0.2.1")

    await database.run(work)


async def test_a_text_that_no_database_holds_is_the_clients_fault(database: Database) -> None:
    if database.is_sqlite:
        pytest.skip("SQLite holds a NUL")
    with pytest.raises(UsageError, match="in no database"):
        await database.run(lambda s: s.execute(text("SELECT 1 WHERE 'a' = :said"), {"said": "a\0"}), write=False)


async def test_a_broken_database_is_not_described_to_strangers(tmp_path: Path) -> None:
    (tmp_path / "accounts.db").write_bytes(b"no database" * 1000)
    with pytest.raises(VoxpopError) as caught:
        async with Database.beside(tmp_path):
            pass
    assert str(tmp_path) in caught.value.what  # the operator reads where
    assert str(tmp_path).encode() not in refused(caught.value).body


def test_every_year_has_four_digits() -> None:
    assert iso(micros("0081-11-21")) == "0081-11-21T00:00:00.000Z"
