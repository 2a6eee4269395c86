"""The gate: who comes in by a key, for how long it is remembered, and how soon a revocation is felt."""

import asyncio
import subprocess
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner
from sqlalchemy.orm import Session

from conftest import Program, environment, voxpop
from voxpop.accounts import Account, Credential, Denied, audit, keys, people
from voxpop.accounts.audit import By
from voxpop.accounts.keys import Scopes
from voxpop.accounts.people import Wish
from voxpop.accounts.tables import Key
from voxpop.cli import program
from voxpop.gate import LASTS_S, AccountGate
from voxpop.records import Database

S = 1_000_000
NOW = 1_800_000_000 * S
BY = By("cli:test", NOW)


@dataclass
class Time:
    now: int = NOW
    ticks: float = 0.0

    def wait(self, seconds: float) -> None:
        self.now += round(seconds * S)
        self.ticks += seconds


@dataclass
class Counted:
    """The real database, and how often it was asked."""

    database: Database
    reads: int = 0
    slow_s: float = 0.0

    async def run(self, work: Any, *, write: bool = True) -> Any:
        self.reads += not write
        await asyncio.sleep(self.slow_s)
        return await self.database.run(work, write=write)


@dataclass
class Known:
    """A gate over a database with one user and one key."""

    gate: AccountGate
    counted: Counted
    time: Time = field(default_factory=Time)
    key: str = ""
    id: str = ""

    async def comes(self, key: str = "", **said: str) -> Account:
        return await self.gate.account(Credential(key=key or self.key, **said))


async def opened(database: Database, **scopes: Any) -> Known:
    def work(session: Session) -> tuple[str, str]:
        made, clear = keys.create(
            session, BY, people.add_user(session, BY, Wish(name="ada")), "k", Scopes(**scopes)
        )
        return made.id, clear

    id_, clear = await database.run(work)
    at, counted = Time(), Counted(database)
    gate = AccountGate(counted, lambda: at.now, ticks=lambda: at.ticks)  # type: ignore[arg-type]
    return Known(gate, counted, at, clear, id_)


async def test_without_a_user_everybody_on_loopback_is_the_one_user(database: Database) -> None:
    at = Time()
    gate = AccountGate(database, lambda: at.now, ticks=lambda: at.ticks)
    for credential in (Credential(), Credential(key="any"), Credential(session="x"), Credential(country="NZ")):
        assert await gate.account(credential) == Account(country=credential.country)
    await database.run(lambda s: people.add_user(s, BY, Wish(name="ada")))
    at.wait(LASTS_S + 0.01)
    for credential in (Credential(), Credential(key="any"), Credential(session="x")):
        with pytest.raises(Denied) as caught:
            await gate.account(credential)
        assert caught.value.code == "invalid_api_key"
        assert caught.value.cure


async def test_without_a_user_nobody_comes_from_outside(database: Database) -> None:
    gate = AccountGate(database, lambda: NOW, open_here=False)
    with pytest.raises(Denied, match="no accounts yet"):
        await gate.account(Credential(key="any"))


async def test_a_key_is_looked_up_at_most_twice_a_second_however_often_it_comes(database: Database) -> None:
    known = await opened(database)
    account = await known.comes()
    assert (account.name, account.key, account.rank) == ("ada", known.id, "admin")
    before = known.counted.reads
    for _ in range(100):
        assert await known.comes() == account
    assert known.counted.reads == before
    known.counted.slow_s = 0.01
    known.time.wait(LASTS_S + 0.01)
    assert await asyncio.gather(*(known.comes() for _ in range(50))) == [account] * 50
    assert known.counted.reads == before + 1


async def test_that_one_who_waits_goes_away_stops_no_other(database: Database) -> None:
    known = await opened(database)
    await known.comes()
    known.time.wait(1)
    known.counted.slow_s = 0.05
    first, second = asyncio.create_task(known.comes()), asyncio.create_task(known.comes())
    await asyncio.sleep(0.01)
    first.cancel()
    assert (await second).name == "ada"


async def test_an_expiry_is_felt_at_once_also_while_the_key_is_remembered(database: Database) -> None:
    known = await opened(database, expires_at=NOW + S)
    await known.comes()
    known.time.now += S
    with pytest.raises(Denied, match="expired"):
        await known.comes()


async def test_whatever_ends_a_key_is_felt_when_it_is_no_longer_remembered(database: Database) -> None:
    known = await opened(database)

    def key(session: Session) -> Key:
        return keys.key(session, known.id)

    def spare(session: Session) -> None:
        people.add_user(session, BY, Wish(name="spare", rank="admin"))

    await database.run(spare)
    for end, again in (
        (lambda s: people.change_user(s, BY, key(s).user, Wish(disabled=True)), "disabled"),
        (lambda s: people.change_user(s, BY, key(s).user, Wish(disabled=False)), ""),
        (lambda s: keys.revoke(s, BY, key(s)), "revoked"),
        (lambda s: people.remove_user(s, BY, key(s).user), "not known"),
    ):
        await database.run(end)
        known.time.wait(LASTS_S + 0.01)
        if again:
            with pytest.raises(Denied, match=again):
                await known.comes()
        else:
            assert (await known.comes()).key == known.id


async def test_a_session_is_its_user_and_asked_each_time(database: Database) -> None:
    known = await opened(database)
    ada = await database.run(lambda s: people.user(s, "ada").id)

    users = {"token": ada}

    class Sessions:
        async def user(self, token: str) -> str:
            return users.get(token, "")

    known.gate.sessions = Sessions()
    account = await known.gate.account(Credential(session="token", country="NZ"))
    assert (account.id, account.key, account.country) == (ada, "", "NZ")
    with pytest.raises(Denied):
        await known.gate.account(Credential(session="other"))
    users.clear()
    with pytest.raises(Denied):  # ended: at once, though the user is remembered
        await known.gate.account(Credential(session="token"))


async def test_who_has_a_good_key_comes_in_though_its_use_cannot_be_noted(tmp_path: Path) -> None:
    async with Database.beside(tmp_path) as database:
        known = await opened(database)
        await database.run(lambda s: s.connection().exec_driver_sql(
            "CREATE TRIGGER no_use BEFORE UPDATE ON api_keys BEGIN SELECT RAISE(ABORT, 'full'); END"
        ))  # fmt: skip
        assert (await known.comes()).name == "ada"


_SERVER = """
import asyncio, sys
sys.path.insert(0, sys.argv[2])
from conftest import Running
from voxpop.api.http import application
from voxpop.api.serving import listen, server_of
from voxpop.desk import Desk
from voxpop.gate import AccountGate
from voxpop.records import Database
from voxpop.service import clock

async def main():
    async with Database(sys.argv[1]) as database:
        running, door = Running(), listen("127.0.0.1", 0)
        app = application(running, desk=Desk(running.assistant, AccountGate(database, clock)))
        print("port", door.getsockname()[1], flush=True)
        await server_of(app).serve(sockets=[door])
asyncio.run(main())
"""


def serving(url: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", _SERVER, url, str(Path(__file__).parent)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment())


async def test_a_revocation_is_felt_within_a_second_in_every_process(database_url: str) -> None:
    with ExitStack() as stack:
        children = [serving(database_url) for _ in range(2)]
        stack.callback(lambda: [(c.kill(), c.wait(), c.stdout and c.stdout.close()) for c in children])
        async with Database(database_url) as database:
            known = await opened(database)
            clients = []
            for child in children:
                assert child.stdout
                url = f"http://127.0.0.1:{child.stdout.readline().split()[1]}"
                headers = {"authorization": f"Bearer {known.key}"}
                clients.append(stack.enter_context(httpx.Client(base_url=url, headers=headers, trust_env=False)))
            end = time.monotonic() + 0.8
            while time.monotonic() < end:  # in use, so remembered, in both
                assert [c.get("/v1/models").status_code for c in clients] == [200, 200]
            await database.run(lambda s: keys.revoke(s, BY, keys.key(s, known.id)))
            revoked = time.monotonic()
            took = []
            for client in clients:
                while client.get("/v1/models").status_code == 200:
                    assert time.monotonic() - revoked < 5
                took.append(time.monotonic() - revoked)
            assert max(took) < 1


# The whole program


def command(*arguments: str, **environment: str) -> Any:
    """A command of the command line, in this process."""
    return CliRunner(env=environment).invoke(program(), arguments)


def test_a_server_and_the_command_line_share_accounts_and_no_secret_is_written_anywhere(tmp_path: Path) -> None:
    at = ("--data", str(tmp_path))
    assert command("users", "add", "ada", "--admin", *at).exit_code == 0
    made = command("keys", "create", "ada", "--name", "laptop", *at)
    key = made.stdout.strip()
    assert (len(key), key[:3]) == (55, "vx-")
    assert key[12:] not in made.stderr
    log = tmp_path / "log.txt"
    running = Program(
        log, "up", "--source", "simulated", "--engine", "quote", "--port", "0", *at, VOXPOP_WATCHING_LOG="json"
    )
    secrets = [key]
    try:
        url = running.until(r"open (http://127\.0\.0\.1:\d+)")[1]
        with httpx.Client(base_url=url, trust_env=False, headers={"authorization": f"Bearer {key}"}) as client:
            assert client.get("/v1/api-key").json()["name"] == "laptop"
            second = client.post("/v1/keys", json={"name": "second"}).json()["key"]
            turned = client.post(f"/v1/keys/{second[:11]}/rotate", json={}).json()["key"]
            secrets += [second, turned, "vx-aaaaaaaa-" + "S3cret" * 7 + "x"]
            for secret in secrets:
                client.get(f"/v1/keys/{secret}")
                client.get("/v1/models", params={"key": secret}, headers={"x-api-key": secret})
                client.get("/v1/models", headers={"authorization": f"Bearer {secret}"})
                client.post("/v1/keys", json={"name": secret + "\0"})
                client.patch("/v1/admin/users/ada", json={"password": secret})
            assert command("keys", "revoke", key[:11], *at).exit_code == 0
            time.sleep(LASTS_S + 0.1)
            assert client.get("/v1/api-key").status_code == 401
    finally:
        running.stop()
    said = command("users", "log", "--json", *at).stdout
    held = b"".join(p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()) + said.encode()
    assert [s for s in secrets if s[12:].encode() in held] == []
    assert '"key.revoke"' in said


def test_nothing_listens_beyond_loopback_before_there_is_a_user(tmp_path: Path) -> None:
    up = ("up", "--source", "simulated", "--engine", "quote", "--port", "0", "--data", str(tmp_path))
    refused = voxpop(*up, "--host", "0.0.0.0")
    named = voxpop(*up, VOXPOP_SERVER_TRUSTED_HOSTS="ask.example.org", timeout=20)
    assert refused.returncode == named.returncode == 2
    for said in (refused.stderr, named.stderr):
        assert "voxpop users add" in said
        assert "voxpop keys create" in said
    assert command("users", "add", "ada", "--data", str(tmp_path)).exit_code == 0
    running = Program(tmp_path / "log", *up, "--host", "0.0.0.0")
    try:
        port = running.until(r"open http://0\.0\.0\.0:(\d+)")[1]
        answer = httpx.get(f"http://127.0.0.1:{port}/v1/models", trust_env=False)
        assert (answer.status_code, answer.json()["error"]["code"]) == (401, "invalid_api_key")
    finally:
        running.stop()


async def test_the_audit_log_says_who_did_it_over_http(tmp_path: Path) -> None:
    async with Database.beside(tmp_path) as database:
        known = await opened(database)
        account = await known.comes()
        by = By.account(account, NOW)
        await database.run(lambda s: people.add_team(s, by, "t"))
        line = (await database.run(lambda s: audit.acts(s, limit=1)))[0]
        assert line.by == f"{account.id} {known.id}"
