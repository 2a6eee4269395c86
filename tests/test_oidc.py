"""Signing in by a provider of identities, against a real one on loopback: what is right comes in, nothing else."""

import base64
import hmac
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from joserfc import jwt
from joserfc.jwk import OctKey, RSAKey

from conftest import Running
from provider import CLIENT, SECRET, Provider, fresh_keys, path_of
from test_sessions import HASHED, Time
from voxpop.accounts import people
from voxpop.accounts.audit import By
from voxpop.accounts.linked import Admitted
from voxpop.accounts.oidc import Provider as Relying
from voxpop.accounts.oidc import rules
from voxpop.accounts.people import Wish
from voxpop.accounts.sessions import Sessions
from voxpop.accounts.sign_in import SignIn
from voxpop.accounts.tables import User
from voxpop.api.session import Elsewhere, SessionFaces
from voxpop.desk import Desk
from voxpop.errors import UsageError, VoxpopError
from voxpop.gate import AccountGate
from voxpop.records import Database

CLEO = {"sub": "s-1", "preferred_username": "cleo", "email": "Cleo@Example.org", "email_verified": True}


ALL = Admitted()


@dataclass
class Place:
    """Our server beside the provider, and a browser in front of both."""

    provider: Provider
    relying: Relying
    database: Database
    browser: httpx.AsyncClient
    time: Time

    async def begin(self) -> str:
        """To the provider and back: the address of ours that it leads to."""
        sent = await self.browser.get("/api/session/oidc")
        assert sent.status_code == 303, sent.text
        there = await self.browser.get(sent.headers["location"])
        return path_of(there.headers["location"])

    async def finish(self, back: str) -> str:
        """Where our server leads then: `/`, or with what went wrong."""
        done = await self.browser.get(back, headers={"sec-fetch-site": "cross-site"})
        assert done.status_code == 303, done.text
        return str(done.headers["location"])

    async def enter(self) -> str:
        return await self.finish(await self.begin())

    async def user(self) -> Any:
        return (await self.browser.get("/api/session")).json()["user"]

    async def kept(self, name: str) -> User:
        return await self.database.run(lambda s: people.user(s, name), write=False)


@asynccontextmanager
async def opened(
    database: Database,
    served: Any,
    admitted: Admitted = ALL,
    claims: tuple[str, ...] = (),
    **more: Any,
) -> AsyncIterator[Place]:
    async with Provider(dict(CLEO), **more).open() as provider:
        time = Time(time_now())
        sessions = Sessions(database, time, ticks=time.seconds)
        gate = AccountGate(database, time, sessions=sessions, ticks=time.seconds)
        relying = Relying(provider.issuer, CLIENT, SECRET, clock=time, ticks=time.seconds, rules=rules(claims))
        faces = SessionFaces(gate, SignIn(database, sessions, time), Elsewhere(relying, "Example", admitted))
        wish = Wish(name="ann", email="ann@example.org", password=HASHED)
        await database.run(lambda s: people.add_user(s, By("test", time()), wish))
        running = Running()
        async with (
            served(running, desk=Desk(running.assistant, gate), session=faces) as url,
            httpx.AsyncClient(base_url=url, trust_env=False) as browser,
        ):
            yield Place(provider, relying, database, browser, time)


def time_now() -> int:
    return time.time_ns() // 1000


@pytest.fixture
async def place(database: Database, served: Any) -> AsyncIterator[Place]:
    async with opened(database, served) as place:
        yield place


@pytest.mark.parametrize("alg", ["RS256", "ES256"])
async def test_somebody_new_signs_in_and_is_known_again(database: Database, served: Any, alg: str) -> None:
    async with opened(database, served, alg=alg) as place:
        assert (await place.browser.get("/api/session")).json()["provider"] == "Example"
        assert await place.user() is None
        assert await place.enter() == "/"
        first = await place.user()
        assert (first["name"], first["rank"]) == ("cleo", "member")
        assert (await place.kept("cleo")).email == "cleo@example.org"
        cookie = place.browser.cookies["voxpop_session"]
        place.provider.claims["preferred_username"] = "renamed"
        assert await place.enter() == "/"
        assert (await place.user())["id"] == first["id"]
        assert place.browser.cookies["voxpop_session"] != cookie  # another session, never one brought along
        assert "voxpop_begun" not in place.browser.cookies


def unsigned(provider: Provider, claims: dict[str, Any]) -> str:
    parts = [json.dumps(part).encode() for part in ({"alg": "none", "typ": "JWT"}, claims)]
    return ".".join(encoded(p) for p in parts) + "."


def encoded(part: bytes) -> str:
    return base64.urlsafe_b64encode(part).decode().rstrip("=")


def by_the_secret(provider: Provider, claims: dict[str, Any]) -> str:
    return jwt.encode({"alg": "HS256"}, claims, OctKey.import_key(SECRET.ljust(32, "x")))


def by_the_public_key(provider: Provider, claims: dict[str, Any]) -> str:
    """The old confusion: an HMAC whose key is the provider's public one."""
    key = provider.keys["RS256"]  # by hand: the library will not do it
    parts = [json.dumps(part).encode() for part in ({"alg": "HS256", "kid": key.kid}, claims)]
    said = ".".join(encoded(p) for p in parts)
    return f"{said}.{encoded(hmac.digest(key.as_pem(private=False), said.encode(), 'sha256'))}"


def by_another(provider: Provider, claims: dict[str, Any]) -> str:
    kid = provider.keys["RS256"].kid
    return jwt.encode({"alg": "RS256", "kid": kid}, claims, RSAKey.generate_key(2048))


def by_a_key_that_it_brings(provider: Provider, claims: dict[str, Any]) -> str:
    key = RSAKey.generate_key(2048, parameters={"kid": "mine"})
    return jwt.encode({"alg": "RS256", "kid": "mine", "jwk": key.as_dict(private=False)}, claims, key)


def tampered(provider: Provider, claims: dict[str, Any]) -> str:
    key = provider.keys["RS256"]
    head, _, mac = jwt.encode({"alg": "RS256", "kid": key.kid}, claims, key).split(".")
    return f"{head}.{encoded(json.dumps({**claims, 'sub': 's-2'}).encode())}.{mac}"


@pytest.mark.parametrize(
    "sign", [unsigned, by_the_secret, by_the_public_key, by_another, by_a_key_that_it_brings, tampered]
)
async def test_a_token_that_the_provider_did_not_sign_is_refused(
    place: Place, sign: Callable[[Provider, dict[str, Any]], str]
) -> None:
    place.provider.sign = sign
    assert "sign_in=The%20sign-in%20failed" in await place.enter()
    assert await place.user() is None


def without(name: str) -> Callable[[dict[str, Any]], None]:
    def forge(claims: dict[str, Any]) -> None:
        del claims[name]

    return forge


WRONG: dict[str, Callable[[dict[str, Any]], None]] = {
    "another nonce": lambda c: c.update(nonce="another"),
    "no nonce": without("nonce"),
    "another issuer": lambda c: c.update(iss="https://evil.example"),
    "no issuer": without("iss"),
    "for another client": lambda c: c.update(aud="another"),
    "for another client too, by its word": lambda c: c.update(aud=[CLIENT, "another"], azp="another"),
    "for another client, asked by this one": lambda c: c.update(aud="another", azp=CLIENT),
    "for nobody": without("aud"),
    "expired": lambda c: c.update(iat=c["iat"] - 900, exp=c["iat"] - 600),
    "for ever": without("exp"),
    "of tomorrow": lambda c: c.update(iat=c["iat"] + 86_400, exp=c["iat"] + 90_000),
    "of nobody": without("sub"),
    "of a number": lambda c: c.update(sub=5),
    "of an empty name": lambda c: c.update(sub=""),
    "of another access token": lambda c: c.update(at_hash="AAAAAAAAAAAAAAAAAAAAAA"),
}


@pytest.mark.parametrize("name", WRONG)
async def test_a_token_that_says_what_is_wrong_is_refused(place: Place, name: str) -> None:
    place.provider.forge = WRONG[name]
    assert "sign_in=The%20sign-in%20failed" in await place.enter()
    assert await place.user() is None


async def test_only_the_browser_that_began_can_finish(place: Place) -> None:
    back = await place.begin()
    place.browser.cookies.clear()  # another browser is led to the attacker's callback
    assert "not%20begun%20in%20this%20browser" in await place.finish(back)
    mine = await place.begin()
    await place.begin()
    assert "sign_in=" in await place.finish(mine)  # a second sign-in took its place
    changed = (await place.begin()).replace("state=", "state=x")
    assert "sign_in=" in await place.finish(changed)
    assert await place.user() is None


@pytest.mark.parametrize(
    ("old", "new"),
    [("code=", "kode="), ("code=", "error=access_denied&code="), ("iss=http", "iss=https"), ("code=", "code=x")],
)
async def test_what_comes_back_changed_is_refused(place: Place, old: str, new: str) -> None:
    assert "sign_in=" in await place.finish((await place.begin()).replace(old, new))
    assert await place.user() is None


async def test_a_code_is_good_once(place: Place) -> None:
    back = await place.begin()
    cookie = place.browser.cookies["voxpop_begun"]
    assert await place.finish(back) == "/"
    place.browser.cookies.clear()
    place.browser.cookies.set("voxpop_begun", cookie)
    assert "sign_in=" in await place.finish(back)


async def test_new_keys_of_the_provider_are_fetched_but_not_for_every_stranger(place: Place) -> None:
    assert await place.enter() == "/"
    place.provider.keys = fresh_keys()
    place.time.pass_s(61)
    assert await place.enter() == "/"
    before = place.provider.asked.count("jwks")
    place.provider.sign = by_a_key_that_it_brings
    for _ in range(3):
        assert "sign_in=" in await place.enter()
    assert place.provider.asked.count("jwks") == before
    assert place.provider.asked.count("about") == 1


async def test_a_verified_address_finds_who_has_it_and_another_does_not(place: Place) -> None:
    place.provider.claims = {"sub": "s-9", "name": "Ann E.", "email": "ann@example.org", "email_verified": False}
    assert await place.enter() == "/"
    assert (await place.user())["name"] == "Ann E."
    place.provider.claims = {"sub": "s-8", "name": "Ann E.", "email": "ann@example.org", "email_verified": True}
    assert await place.enter() == "/"
    assert ((await place.user())["name"], (await place.user())["rank"]) == ("ann", "admin")
    # The address was given to somebody else there: another subject is another person.
    place.provider.claims = {"sub": "s-7", "name": "Ann E.", "email": "ann@example.org", "email_verified": True}
    assert await place.enter() == "/"
    assert ((await place.user())["name"], (await place.user())["rank"]) == ("Ann E. 2", "member")


async def test_only_admitted_domains_come_in_and_only_verified(database: Database, served: Any) -> None:
    async with opened(database, served, Admitted(domains=("example.org",))) as place:
        for changed in ({"email_verified": False}, {"email": "cleo@example.org.evil.example"}, {"email": None}):
            place.provider.claims = {**CLEO, **changed}
            assert "sign_in=" in await place.enter()
        place.provider.claims = dict(CLEO)
        assert await place.enter() == "/"


async def test_somebody_new_stays_out_where_nobody_is_added(database: Database, served: Any) -> None:
    async with opened(database, served, Admitted(add=False)) as place:
        assert "Nobody%20here%20is%20known" in await place.enter()
        place.provider.claims |= {"email": "ann@example.org"}
        assert await place.enter() == "/"


async def test_claims_give_a_tier_a_team_and_a_rank_and_take_them_again(database: Database, served: Any) -> None:
    lines = ("groups=ops rank=admin tier=premium_plus", "groups=staff tier=premium team=News")
    await database.run(lambda s: people.add_team(s, By("test", 0), "News"))
    async with opened(database, served, claims=lines) as place:
        for groups, rank, tier, team in (
            (["staff"], "member", "premium", "News"),
            (["staff", "ops"], "admin", "premium_plus", "News"),
            ([], "member", "", None),
            ("ops", "admin", "premium_plus", None),
        ):
            place.provider.claims["groups"] = groups
            assert await place.enter() == "/"
            user = await place.kept("cleo")
            assert (user.rank, user.tier, user.team and user.team.name) == (rank, tier, team)


async def test_a_removed_user_is_new_and_a_disabled_one_stays_out(place: Place) -> None:
    assert await place.enter() == "/"
    first = (await place.user())["id"]

    def remove(session: Any) -> None:
        people.remove_user(session, By("test", 0), people.user(session, "cleo"))

    def disable(session: Any) -> None:
        people.change_user(session, By("test", 0), people.user(session, "cleo"), Wish(disabled=True))

    await place.database.run(remove)
    place.time.pass_s(1)
    assert await place.user() is None
    assert await place.enter() == "/"
    assert (await place.user())["id"] != first
    await place.database.run(disable)
    assert "disabled" in await place.enter()


async def test_a_provider_that_fails_is_named(place: Place) -> None:
    relying = place.relying
    for issuer, code in (
        ("http://127.0.0.1:9", "provider_failed"),
        ("http://provider.example", "bad_issuer"),
        (f"{place.provider.issuer}/", "bad_issuer"),  # it calls itself otherwise
    ):
        other = Relying(issuer, CLIENT, SECRET, clock=relying.clock, ticks=relying.ticks)
        with pytest.raises(VoxpopError) as failed:
            await other.begin("http://127.0.0.1/back")
        assert failed.value.code == code
        assert SECRET not in repr(other) + str(failed.value)


@pytest.mark.parametrize(
    "line", ["", "groups", "groups=staff", "=x tier=a", "groups=staff tier=", "groups=staff key=x"]
)
def test_a_rule_that_says_nothing_is_refused(line: str) -> None:
    with pytest.raises(UsageError, match="oidc_claims"):
        rules([line])


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda s: st.lists(s) | st.dictionaries(st.text(), s),
)
NAMES = ("sub", "email", "email_verified", "preferred_username", "name", "groups")


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(st.sampled_from(NAMES), JSON))
def test_whatever_claims_say_it_is_an_identity_or_refused(claims: dict[str, Any]) -> None:
    nobody: Any = None
    relying = Relying("https://p.example", CLIENT, "", clock=nobody, ticks=nobody, rules=rules(["groups=a tier=b"]))
    try:
        identity = relying._identity(claims)
    except UsageError:
        return
    assert 0 < len(identity.subject) <= 255
    assert not identity.email or claims["email_verified"] in (True, "true")
