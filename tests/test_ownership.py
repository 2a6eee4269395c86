"""Two accounts on one server: what one asked and what stands for one is for the other as if it never was."""

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner

from conftest import Running
from test_assistant import BOARD, QUESTION, post
from test_reopening import World
from test_watches import BURNED, YES, following, said
from test_watches import place as watched
from voxpop.accounts import Account, Credential, Denied, Permit, Spent, Wanted
from voxpop.cli import program
from voxpop.desk import Desk
from voxpop.errors import UsageError
from voxpop.history import History
from voxpop.leaving import forget, forget_in
from voxpop.messages import Asker
from voxpop.posts import Upsert
from voxpop.store.local import LocalStore
from voxpop.watches import Watches

ELECTED = post(1, BOARD, "Mara Lind is elected Mayor of Oss.", 10)


@dataclass(frozen=True)
class Taken:
    """A permit of one account, for nothing."""

    asker: Asker
    headers: Mapping[str, str]

    async def settle(self, spent: Spent) -> int:
        return 0

    async def refund(self, why: str) -> None: ...


class Two:
    """A gate that knows ann and bob by their names, and a key of ann's that is for chat alone."""

    async def account(self, credential: Credential) -> Account:
        if credential.key == "narrow":
            return Account("ann", endpoints=frozenset({"chat"}))
        if credential.key not in ("ann", "bob"):
            raise Denied("Nobody is known by this key.", "Give another.", code="invalid_api_key")
        return Account(credential.key)

    async def permit(self, account: Account, wanted: Wanted) -> Permit:
        return Taken(Asker(account.id), {})


@dataclass
class Kept(Running):
    """A program with a history."""

    answers: Any = None


@dataclass
class Both:
    """The server of one folder, as each of the two sees it."""

    clients: dict[str, httpx.AsyncClient]
    history: History
    watches: Watches
    at: Any

    async def told(self, who: str, method: str, path: str, **more: Any) -> tuple[int, Any]:
        response = await self.clients[who].request(method, path, **more)
        return response.status_code, response.json()

    async def asked(self, who: str) -> str:
        body = {"model": "voxpop", "messages": [{"role": "user", "content": QUESTION}]}
        status, answer = await self.told(who, "POST", "/v1/chat/completions", json=body)
        assert status == 200, answer
        return str(answer["answer_id"])

    async def watched(self, who: str) -> str:
        status, watch = await self.told(who, "POST", "/v1/watches", json={"question": BURNED})
        assert status == 201, watch
        return str(watch["id"])


@pytest.fixture
async def both(tmp_path: Path, served: Any) -> AsyncIterator[Both]:
    folder = tmp_path / "answers"
    folder.mkdir()
    async with (
        LocalStore(folder) as store,
        History(folder, keep_days=30, clock=lambda: world.now) as history,
        watched(tmp_path / "watches", most=50, each=2) as at,
    ):
        world = World(store, folder, history)
        await world.apply(Upsert(ELECTED, "1"))
        await at.store.apply("test", [said(1, "ann", YES)])
        running = Kept(world.assistant, answers=world.answers)
        desk = Desk(world.assistant, Two())
        async with served(running, more=at.faces.routes(), desk=desk) as url:
            keys = ("ann", "bob", "narrow", "wrong")
            clients = {
                key: httpx.AsyncClient(base_url=url, trust_env=False, headers={"authorization": f"Bearer {key}"})
                for key in keys
            }
            yield Both(clients, history, at.watches, at)
            for client in clients.values():
                await client.aclose()


async def test_nobody_sees_opens_makes_again_or_removes_anothers_answer(both: Both) -> None:
    anns, bobs = await both.asked("ann"), await both.asked("bob")
    for who, own in (("ann", anns), ("bob", bobs)):
        _, listed = await both.told(who, "GET", "/v1/answers")
        assert [row["id"] for row in listed["data"]] == [own]
    for method, tail in (("GET", ""), ("DELETE", ""), ("POST", "/reproduce")):
        never = await both.told("bob", method, f"/v1/answers/{'f' * 16}{tail}")
        assert never[0] == 404
        status, error = await both.told("bob", method, f"/v1/answers/{anns}{tail}")
        assert (status, json.dumps(error).replace(anns, "f" * 16)) == (never[0], json.dumps(never[1]))
    assert (await both.told("ann", "POST", f"/v1/answers/{anns}/reproduce"))[1]["identical"] is True
    assert (await both.told("ann", "GET", f"/v1/answers/{anns}"))[1]["holds"] is True
    assert (await both.told("ann", "DELETE", f"/v1/answers/{anns}"))[0] == 200


async def test_nobody_sees_follows_or_ends_anothers_watch(both: Both) -> None:
    anns, bobs = await both.watched("ann"), await both.watched("bob")
    for who, own in (("ann", anns), ("bob", bobs)):
        _, listed = await both.told(who, "GET", "/v1/watches")
        assert [row["id"] for row in listed["data"]] == [own]
    for method, tail in (("GET", ""), ("DELETE", ""), ("GET", "/events")):
        never = await both.told("bob", method, f"/v1/watches/watch_never{tail}")
        assert never[0] == 404
        status, error = await both.told("bob", method, f"/v1/watches/{anns}{tail}")
        assert (status, json.dumps(error).replace(anns, "watch_never")) == (never[0], json.dumps(never[1]))
    async with following(both.clients["ann"], anns) as events:
        assert (await events.next())["event"] == "position"
        assert (await both.told("ann", "DELETE", f"/v1/watches/{anns}"))[0] == 200
        assert (await events.next())["event"] == "end"


async def test_one_accounts_watches_leave_room_for_the_others(both: Both) -> None:
    for _ in range(2):
        await both.watched("ann")
    status, error = await both.told("ann", "POST", "/v1/watches", json={"question": BURNED})
    assert (status, error["error"]["code"]) == (429, "too_many_watches")
    assert "You have 2 watches" in error["error"]["message"]
    await both.watched("bob")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/answers"),
        ("GET", "/v1/answers/x"),
        ("DELETE", "/v1/answers/x"),
        ("POST", "/v1/answers/x/reproduce"),
        ("GET", "/v1/watches"),
        ("POST", "/v1/watches"),
        ("GET", "/v1/watches/x"),
        ("DELETE", "/v1/watches/x"),
        ("GET", "/v1/watches/x/events"),
    ],
)
async def test_a_wrong_key_and_a_key_for_something_else_are_refused(both: Both, method: str, path: str) -> None:
    for key, status, code in (("wrong", 401, "invalid_api_key"), ("narrow", 403, "forbidden")):
        told = await both.told(key, method, path, json={"question": BURNED})
        assert (told[0], told[1]["error"]["code"]) == (status, code)


async def test_whoever_leaves_takes_all_along(both: Both) -> None:
    for who in ("ann", "bob"):
        await both.asked(who)
        await both.watched(who)
    await forget("ann", both.history, both.watches)
    await forget("", both.history, both.watches)
    assert (await both.told("ann", "GET", "/v1/answers"))[1]["data"] == []
    assert (await both.told("ann", "GET", "/v1/watches"))[1]["data"] == []
    assert len((await both.told("bob", "GET", "/v1/answers"))[1]["data"]) == 1
    assert [watch.owner for watch in await both.watches.all()] == ["bob"]


async def test_whoever_leaves_while_no_server_runs_too(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "simulated"):
        async with watched(folder) as at:
            for owner in ("ann", "bob", ""):
                held = await at.faces.look.stand(await at.faces.look.ask(BURNED, at.time[0]))
                more: dict[str, Any] = {"now": at.time[0], "lasts_s": 60, "url": "", "position": held}
                await at.watches.add(BURNED, owner=owner, **more)
    await forget_in(tmp_path, "ann")
    await forget_in(tmp_path, "")
    for folder in (tmp_path, tmp_path / "simulated"):
        async with Watches(folder) as watches:
            assert {watch.owner for watch in await watches.all()} == {"bob", ""}


async def test_watches_of_before_there_were_accounts_are_taken_over(tmp_path: Path) -> None:
    async with watched(tmp_path) as at:
        id_ = await at.add()
    with closing(sqlite3.connect(tmp_path / "watches.db")) as con:
        con.execute("ALTER TABLE watches DROP COLUMN owner")
        con.commit()
    async with Watches(tmp_path) as watches:
        assert (await watches.one(id_)).owner == ""
        with pytest.raises(UsageError):
            await watches.one(id_, owner="ann")


async def _asked_by_ann(tmp_path: Path) -> str:
    async with LocalStore(tmp_path) as store, History(tmp_path, keep_days=36_000, clock=lambda: 0) as history:
        world = World(store, tmp_path, history)
        await world.apply(Upsert(ELECTED, "1"))
        id_ = await world.asked(QUESTION, asker=Asker("user_ann"))
        await history.listed()
        return id_


def test_the_operators_command_shows_all_and_says_whose(tmp_path: Path) -> None:
    id_ = asyncio.run(_asked_by_ann(tmp_path))
    shown = CliRunner().invoke(program(), ["answers", "--data", str(tmp_path)])
    assert f"{id_}  " in shown.output
    assert "(asked by user_ann)" in shown.output
    removed = CliRunner().invoke(program(), ["answers", "remove", id_, "--data", str(tmp_path)])
    assert removed.exit_code == 0, removed.output
