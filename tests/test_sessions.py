"""Signing in to the page: passwords, tries, sessions and their end, and that no other site's page can use them."""

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import argon2
import httpx
import pytest
from sqlalchemy import text

from conftest import CHEAP, Running
from voxpop.accounts import Denied, Limited, attempts, passwords, people
from voxpop.accounts.audit import By
from voxpop.accounts.people import Wish
from voxpop.accounts.sessions import Sessions
from voxpop.accounts.sign_in import SignIn, invite
from voxpop.accounts.tables import User
from voxpop.api.session import SessionFaces
from voxpop.desk import Desk
from voxpop.gate import AccountGate
from voxpop.records import Database

pytestmark = pytest.mark.usefixtures("cheap_hashes")
WORD = "correct horse battery"
HASHED = CHEAP.hash(WORD)
START = 1_800_000_000_000_000
S = 1_000_000


@dataclass
class Time:
    """A clock that is set by hand, in microseconds, and its seconds."""

    now: int = START

    def __call__(self) -> int:
        return self.now

    def seconds(self) -> float:
        return self.now / S

    def pass_s(self, seconds: float) -> None:
        self.now += int(seconds * S)


@dataclass
class Place:
    """A database with ann, an admin, and bob, and what signs them in."""

    database: Database
    time: Time
    sessions: Sessions
    sign_in: SignIn
    gate: AccountGate
    ids: dict[str, str]

    async def rows(self, table: str) -> list[Any]:
        return await self.database.run(lambda s: list(s.execute(text(f"SELECT * FROM {table}"))), write=False)


@pytest.fixture
async def place(database: Database) -> Place:
    time = Time()
    sessions = Sessions(database, time, lasts_s=3600, idle_s=600, ticks=time.seconds)
    sign_in = SignIn(database, sessions, time)
    gate = AccountGate(database, time, sessions=sessions, ticks=time.seconds)
    ids = {}
    for name in ("ann", "bob"):
        wish = Wish(name=name, email=f"{name}@example.org", password=HASHED)
        ids[name] = await database.run(lambda s, w=wish: people.add_user(s, By("test", time()), w).id)
    return Place(database, time, sessions, sign_in, gate, ids)


# -- sessions ------------------------------------------------------------------------------------------------------


async def test_a_session_is_its_users_and_kept_only_as_a_hash(place: Place) -> None:
    token = await place.sign_in.enter("ann", WORD, "192.0.2.1")
    assert len(token) == 43
    assert await place.sessions.user(token) == place.ids["ann"]
    kept = await place.rows("page_sessions")
    assert token.encode() not in b"".join(str(row).encode() for row in kept)
    for wrong in ("", "x", token[:-1], f"{token} ", token.swapcase()):
        assert await place.sessions.user(wrong) == ""


async def test_a_session_ends_when_it_is_not_used_and_at_its_time(place: Place) -> None:
    idle, used = [await place.sessions.open(place.ids["ann"]) for _ in range(2)]
    for _ in range(7):
        place.time.pass_s(500)
        assert await place.sessions.user(used) == place.ids["ann"]
    assert await place.sessions.user(idle) == ""
    place.time.pass_s(101)
    assert await place.sessions.user(used) == ""
    await place.sessions.open(place.ids["bob"])
    assert len(await place.rows("page_sessions")) == 1  # what is over is swept away


async def test_what_is_ended_is_refused_by_every_process_within_a_second(place: Place) -> None:
    other = Sessions(place.database, place.time, ticks=place.time.seconds)
    one, two, three = [await place.sessions.open(place.ids["ann"]) for _ in range(3)]
    bobs = await place.sessions.open(place.ids["bob"])
    for token in (one, two, three):
        assert await other.user(token) == await place.sessions.user(token) == place.ids["ann"]
    await place.sessions.end(one)
    assert await place.sessions.user(one) == ""
    place.time.pass_s(0.6)
    assert await other.user(one) == ""
    assert await other.user(two) == place.ids["ann"]
    await place.sessions.end_all(place.ids["ann"], but=three)
    place.time.pass_s(0.6)
    assert [await other.user(t) for t in (one, two, three, bobs)] == ["", "", place.ids["ann"], place.ids["bob"]]


async def test_one_user_has_at_most_fifty_sessions(place: Place) -> None:
    tokens = []
    for _ in range(52):
        place.time.pass_s(1)
        tokens.append(await place.sessions.open(place.ids["ann"]))
    assert len(await place.rows("page_sessions")) == 50
    assert await place.sessions.user(tokens[1]) == ""
    assert await place.sessions.user(tokens[2]) == place.ids["ann"]


# -- passwords -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "word"), [("ann", "wrong"), ("nobody", WORD), ("", ""), ("ann", ""), ("ann", "x" * 5000)]
)
async def test_a_wrong_password_and_an_unknown_name_are_told_alike(place: Place, name: str, word: str) -> None:
    with pytest.raises(Denied, match="The name or the password is not right") as refused:
        await place.sign_in.enter(name, word, "192.0.2.1")
    assert refused.value.code == "bad_sign_in"
    assert await place.rows("page_sessions") == []


async def test_the_password_of_an_unknown_name_is_hashed_too(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    hashed: list[str] = []
    whole = passwords.matches
    monkeypatch.setattr(passwords, "matches", lambda kept, word: (hashed.append(kept), whole(kept, word))[1])
    for name in ("ann", "nobody"):
        with pytest.raises(Denied):
            await place.sign_in.enter(name, "wrong password", "192.0.2.1")
    assert hashed == [HASHED, ""]  # and `matches` hashes in both cases: tests of passwords


async def test_a_disabled_user_cannot_come_in_nor_stay(place: Place) -> None:
    token = await place.sign_in.enter("bob", WORD, "192.0.2.1")

    def disable(session: Any) -> None:
        people.change_user(session, By("test", 0), people.user(session, "bob"), Wish(disabled=True))

    from voxpop.accounts import Credential

    assert (await place.gate.account(Credential(session=token))).name == "bob"
    await place.database.run(disable)
    place.time.pass_s(0.6)
    with pytest.raises(Denied):
        await place.gate.account(Credential(session=token))
    with pytest.raises(Denied, match="not right"):
        await place.sign_in.enter("bob", WORD, "192.0.2.1")


async def test_a_hash_of_weaker_parameters_is_made_anew(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passwords, "_hasher", argon2.PasswordHasher())
    weak = argon2.PasswordHasher(time_cost=1, memory_cost=8192, parallelism=1).hash(WORD)

    def weaken(session: Any) -> None:
        session.get(User, place.ids["ann"]).password = weak

    await place.database.run(weaken)
    await place.sign_in.enter("ann", WORD, "192.0.2.1")
    kept = await place.database.run(lambda s: s.get(User, place.ids["ann"]).password, write=False)
    assert kept != weak
    assert not passwords.stale(kept)
    assert passwords.matches(kept, WORD)


async def test_another_password_ends_the_other_sessions(place: Place) -> None:
    here, there = [await place.sign_in.enter("ann", WORD, "192.0.2.1") for _ in range(2)]
    with pytest.raises(Denied, match="not right"):
        await place.sign_in.change(place.ids["ann"], "wrong", "four other words here", "192.0.2.1", but=here)
    await place.sign_in.change(place.ids["ann"], WORD, "four other words here", "192.0.2.1", but=here)
    place.time.pass_s(0.6)
    assert [await place.sessions.user(t) for t in (here, there)] == [place.ids["ann"], ""]
    with pytest.raises(Denied):
        await place.sign_in.enter("ann", WORD, "192.0.2.1")
    assert await place.sign_in.enter("ann@example.org", "four other words here", "192.0.2.1")


# -- tries ---------------------------------------------------------------------------------------------------------


async def test_too_many_tries_are_refused_before_the_password_is_looked_at(place: Place) -> None:
    for _ in range(attempts.TOGETHER):
        with pytest.raises(Denied):
            await place.sign_in.enter("ann", "wrong password", "192.0.2.1")
    with pytest.raises(Limited, match="Too many tries") as refused:
        await place.sign_in.enter("ANN", WORD, "192.0.2.1")
    assert 890 <= int(refused.value.headers["retry-after"]) <= 900
    assert "15 minutes" in refused.value.cure
    assert await place.sign_in.enter("ann", WORD, "198.51.100.7")  # from elsewhere she is not locked out
    assert await place.sign_in.enter("bob", WORD, "192.0.2.1")
    place.time.pass_s(901)
    assert await place.sign_in.enter("ann", WORD, "192.0.2.1")
    assert b"ann" not in b"".join(str(row).encode() for row in await place.rows("sign_in_attempts"))


async def test_who_comes_in_has_all_tries_again(place: Place) -> None:
    for _ in range(attempts.TOGETHER - 1):
        with pytest.raises(Denied):
            await place.sign_in.enter("ann", "wrong password", "192.0.2.1")
    await place.sign_in.enter("ann", WORD, "192.0.2.1")
    for _ in range(attempts.TOGETHER):
        with pytest.raises(Denied):
            await place.sign_in.enter("ann", "wrong password", "192.0.2.1")


async def test_tries_of_a_network_and_of_a_name_are_bounded_too(place: Place) -> None:
    async def tried(name: str, address: str) -> None:
        await place.database.run(lambda s: attempts.count(s, place.time(), name, address))

    for number in range(attempts.OF_ADDRESS):
        await tried(f"user{number}", f"2001:db8:1:2::{number:x}")
    with pytest.raises(Limited):
        await tried("another", "2001:db8:1:2:ffff::1")
    await tried("another", "2001:db8:1:3::1")
    for number in range(attempts.OF_NAME):
        await tried("ann", f"10.1.{number}.1")
    with pytest.raises(Limited):
        await tried("ann", "10.2.0.1")


async def test_tries_at_once_are_all_counted(place: Place) -> None:
    tries = [place.sign_in.enter("ann", "wrong password", "192.0.2.1") for _ in range(attempts.TOGETHER + 4)]
    done = await asyncio.gather(*tries, return_exceptions=True)
    assert sum(isinstance(d, Limited) for d in done) == 4


async def test_a_clock_that_was_set_back_locks_nobody_out(place: Place) -> None:
    place.time.pass_s(86_400)
    for _ in range(attempts.TOGETHER):
        await place.database.run(lambda s: attempts.count(s, place.time(), "ann", "192.0.2.1"))
    place.time.pass_s(-86_400)
    assert await place.sign_in.enter("ann", WORD, "192.0.2.1")


# -- signing up ----------------------------------------------------------------------------------------------------


async def test_nobody_signs_up_where_that_is_off(place: Place) -> None:
    with pytest.raises(Denied, match="Nobody can sign up"):
        await place.sign_in.join("cleo", WORD, "192.0.2.1")


async def test_who_signs_up_is_a_member_of_the_default_tier(place: Place) -> None:
    place.sign_in.sign_up = "open"
    token = await place.sign_in.join("cleo", WORD, "192.0.2.1")
    id_ = await place.sessions.user(token)
    user = await place.database.run(lambda s: s.get(User, id_), write=False)
    assert (user.name, user.rank, user.tier) == ("cleo", "member", "")
    with pytest.raises(Exception, match="is taken"):
        await place.sign_in.join("Ann", WORD, "192.0.2.1")
    with pytest.raises(Exception, match="10 to 1000"):
        await place.sign_in.join("dora", "short", "192.0.2.1")


async def test_an_invitation_lets_one_in_once_and_for_a_time(place: Place) -> None:
    place.sign_in.sign_up = "invited"
    by = By("test", place.time())
    one, late = [await place.database.run(lambda s: invite(s, by, tier="premium")) for _ in range(2)]
    for wrong in ("", "x", late[:-1]):
        with pytest.raises(Denied, match="invitation"):
            await place.sign_in.join("cleo", WORD, "192.0.2.1", wrong)
    with pytest.raises(Exception, match="is taken"):  # a name that is taken uses nothing up
        await place.sign_in.join("ann", WORD, "192.0.2.1", one)
    token = await place.sign_in.join("cleo", WORD, "192.0.2.1", one)
    id_ = await place.sessions.user(token)
    user = await place.database.run(lambda s: s.get(User, id_), write=False)
    assert user.tier == "premium"
    with pytest.raises(Denied, match="invitation"):
        await place.sign_in.join("dora", WORD, "192.0.2.1", one)
    place.time.pass_s(8 * 86_400)
    with pytest.raises(Denied, match="invitation"):
        await place.sign_in.join("dora", WORD, "192.0.2.1", late)


# -- over HTTP -----------------------------------------------------------------------------------------------------

SAME = {"sec-fetch-site": "same-origin"}


@pytest.fixture
async def client(place: Place, served: Any) -> AsyncIterator[httpx.AsyncClient]:
    running = Running()
    faces = SessionFaces(place.gate, place.sign_in)
    async with (
        served(running, desk=Desk(running.assistant, place.gate), session=faces) as url,
        httpx.AsyncClient(base_url=url, trust_env=False, headers=SAME) as client,
    ):
        yield client


ANN = {"name": "ann", "password": WORD}


async def test_a_page_signs_in_asks_and_signs_out(place: Place, client: httpx.AsyncClient) -> None:
    nobody = (await client.get("/api/session")).json()
    assert nobody == {"object": "session", "open": False, "user": None, "sign_up": "off", "provider": None}
    assert (await client.get("/api/status")).status_code == 401
    entered = await client.post("/api/session", json=ANN)
    user = {"id": place.ids["ann"], "name": "ann", "rank": "admin", "tier": ""}
    assert (entered.status_code, entered.json()["user"]) == (200, user)
    cookie = entered.headers["set-cookie"]
    assert re.fullmatch(
        r"voxpop_session=[A-Za-z0-9_-]{43}; HttpOnly; Max-Age=3600; Path=/; SameSite=strict", cookie
    ), cookie
    assert WORD not in entered.text
    assert (await client.get("/api/session")).json()["user"] == user
    assert (await client.get("/api/status")).status_code == 200
    token = client.cookies["voxpop_session"]
    gone = await client.delete("/api/session")
    assert 'voxpop_session=""' in gone.headers["set-cookie"]
    client.cookies.set("voxpop_session", token)
    assert (await client.get("/api/status")).status_code == 401


async def test_signing_out_everywhere_ends_the_other_pages(place: Place, client: httpx.AsyncClient) -> None:
    await client.post("/api/session", json=ANN)
    elsewhere = await place.sign_in.enter("ann", WORD, "192.0.2.1")
    assert (await client.delete("/api/session/all")).status_code == 200
    place.time.pass_s(0.6)
    assert await place.sessions.user(elsewhere) == ""
    assert (await client.delete("/api/session/all")).status_code == 401


async def test_what_is_wrong_is_told_and_sets_no_cookie(client: httpx.AsyncClient) -> None:
    for body, status, code in (
        ({"name": "ann", "password": "wrong"}, 401, "bad_sign_in"),
        ({"name": "ann"}, 400, "bad_usage"),
        ({"name": 3, "password": WORD}, 400, "bad_usage"),
        ({**ANN, "rank": "admin"}, 400, "bad_usage"),
        ([], 400, "bad_usage"),
    ):
        refused = await client.post("/api/session", json=body)
        assert (refused.status_code, refused.json()["error"]["code"]) == (status, code), body
        assert "set-cookie" not in refused.headers
    assert (await client.post("/api/session/password", json={"password": WORD, "new": "x"})).status_code == 401
    assert (await client.post("/api/session/sign-up", json=ANN)).status_code == 403
    assert (await client.get("/api/session/oidc")).status_code == 404


FOREIGN = [
    {"sec-fetch-site": "cross-site"},
    {"sec-fetch-site": "same-site"},
    {"sec-fetch-site": "none"},
    {"sec-fetch-site": "", "origin": "https://evil.example"},
    {"sec-fetch-site": "", "origin": "null"},
    {"sec-fetch-site": ""},
]


@pytest.mark.parametrize("headers", FOREIGN)
async def test_a_cookie_changes_nothing_for_another_sites_page(
    client: httpx.AsyncClient, headers: dict[str, str]
) -> None:
    await client.post("/api/session", json=ANN)
    host = {"content-type": "application/json"}
    for method, path in (
        ("POST", "/v1/chat/completions"),
        ("POST", "/api/answer"),
        ("DELETE", "/v1/answers/x"),
        ("POST", "/api/session"),
        ("DELETE", "/api/session"),
        ("DELETE", "/api/session/all"),
        ("POST", "/api/session/password"),
    ):
        sent = client.build_request(method, path, headers=host, content=b"{}")
        del sent.headers["sec-fetch-site"]
        sent.headers.update({k: v for k, v in headers.items() if v})
        refused = await client.send(sent)
        assert (refused.status_code, refused.json()["error"]["code"]) == (403, "wrong_site"), path
    assert (await client.get("/api/session")).json()["user"]["name"] == "ann"


async def test_an_old_browser_is_known_by_its_origin(client: httpx.AsyncClient) -> None:
    sent = client.build_request("POST", "/api/session", json=ANN)
    del sent.headers["sec-fetch-site"]
    sent.headers["origin"] = str(client.base_url).rstrip("/")
    assert (await client.send(sent)).status_code == 200


async def test_over_tls_the_cookie_is_secure_and_this_hosts_alone(place: Place, served: Any) -> None:
    from voxpop.api.door import Door

    running, faces = Running(), SessionFaces(place.gate, place.sign_in)
    door = Door(hosts=("ask.example.org",), proxies=("127.0.0.1",))
    desk = Desk(running.assistant, place.gate)
    behind = {"host": "ask.example.org", "x-forwarded-proto": "https", **SAME}
    async with (
        served(running, desk=desk, session=faces, door=door) as url,
        httpx.AsyncClient(base_url=url, trust_env=False, headers=behind) as client,
    ):
        cookie = (await client.post("/api/session", json=ANN)).headers["set-cookie"]
        assert cookie.startswith("__Host-voxpop_session=")
        assert "; Secure" in cookie
        token = cookie.partition("=")[2].partition(";")[0]
        client.cookies.clear()
        for name, user in (("__Host-voxpop_session", "ann"), ("voxpop_session", None)):
            told = (await client.get("/api/session", headers={"cookie": f"{name}={token}"})).json()
            assert (told["user"] or {}).get("name") == user


async def test_without_accounts_the_page_is_open_and_nobody_can_sign_in(served: Any) -> None:
    async with (
        served(Running()) as url,
        httpx.AsyncClient(base_url=url, trust_env=False, headers=SAME) as client,
    ):
        told = (await client.get("/api/session")).json()
        assert (told["open"], told["user"]) == (True, None)
        refused = await client.post("/api/session", json=ANN)
        assert (refused.status_code, refused.json()["error"]["code"]) == (403, "forbidden")
        assert (await client.delete("/api/session")).status_code == 200
