"""What was used, over HTTP and at the command line: one's own, an admin's view, CSV, a team's month."""

import csv
import io
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from starlette.routing import BaseRoute

from conftest import Running, Script, voxpop
from test_quotas import NOON, Clock, quotas, wanted
from voxpop.accounts import TICKS, Account, Credential, Denied, Spent
from voxpop.api.guard import refused
from voxpop.api.usage import UsageFaces
from voxpop.desk import Desk
from voxpop.errors import VoxpopError
from voxpop.messages import Done, Freshness, Text, Timings, Usage
from voxpop.quotas.permits import Quotas
from voxpop.quotas.telling import csv_text
from voxpop.records import Database

PRICED = "requests_per_day = 3\ntokens_per_month = 1000\n[price.'*']\nprompt = 1\ncompletion = 2"
PEOPLE = {
    "ann": Account("ann", "Ann", "news", "member", "t", key="k1"),
    "ben": Account("ben", "Ben", "news", "member", "t", key="k2"),
    "root": Account("root", "Root", "", "admin", "t", key="k3"),
    "narrow": Account("ann", "Ann", "news", "member", "t", key="k4", endpoints=frozenset({"chat"})),
}
SAID = [
    Text("Hello."),
    Done("stop", True, "echo", "regular", Usage(30, 20, 5, 0, 1.5), Freshness(), Timings()),
]


class ByName:
    """A gate at which the key is the name; permits are the real ones."""

    def __init__(self, server: Quotas) -> None:
        self.server = server

    async def account(self, credential: Credential) -> Account:
        if credential.key not in PEOPLE:
            raise Denied("Nobody.", "Give a key.", code="invalid_api_key")
        return PEOPLE[credential.key]

    async def permit(self, account: Account, wanted: Any) -> Any:
        return await self.server.permit(account, wanted)


Serve = Callable[..., AbstractAsyncContextManager[str]]


@pytest.fixture
async def client(served: Serve, database: Database) -> AsyncIterator[httpx.AsyncClient]:
    """A server with real quotas, in which Ann has asked once and Ben twice."""
    server = quotas(database, Clock(), PRICED)
    faces = UsageFaces(server)
    running = Running(Script(SAID))
    more: Sequence[BaseRoute] = faces.routes()
    desk = Desk(running.assistant, ByName(server))
    async with (
        served(running, desk=desk, more=more) as url,
        httpx.AsyncClient(base_url=url, trust_env=False) as http,
    ):
        for name in ("ann", "ben", "ben"):
            answer = await ask(http, name)
            assert answer.status_code == 200
        yield http


def by(name: str) -> dict[str, str]:
    return {"authorization": f"Bearer {name}"}


async def ask(http: httpx.AsyncClient, name: str) -> httpx.Response:
    body = {"model": "voxpop", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 90}
    return await http.post("/v1/chat/completions", json=body, headers=by(name))


class TestOverHTTP:
    async def test_limits_are_shown_in_heads_and_by_themselves(self, client: httpx.AsyncClient) -> None:
        answer = await ask(client, "ann")
        assert answer.headers["x-ratelimit-remaining-requests"] == "1"
        shown = (await client.get("/v1/limits", headers=by("narrow"))).json()
        assert (shown["object"], shown["tier"], shown["waiting"]) == ("limits", {"name": "t", "title": "t"}, None)
        (chat,) = shown["buckets"]
        day, month = chat["limits"]
        assert (day["name"], day["limit"], day["used"], day["left"]) == ("requests_per_day", 3, 2, 1)
        assert (day["resets_at"], day["resets_in_s"]) == ("2026-11-23T00:00:00.000Z", 43_200.0)
        assert month["used"] == 100

    async def test_the_limit_is_a_429_that_says_when(self, client: httpx.AsyncClient) -> None:
        await ask(client, "ben")
        answer = await ask(client, "ben")
        assert answer.status_code == 429
        error = answer.json()["error"]
        assert error["type"] == "rate_limit_error"
        assert "3 requests a day" in error["message"]
        assert "2026-11-23T00:00:00" in error["cure"]
        assert answer.headers["retry-after"] == "43200"
        assert answer.headers["x-ratelimit-remaining-requests"] == "0"

    async def test_everybody_sees_their_own(self, client: httpx.AsyncClient) -> None:
        mine = (await client.get("/v1/usage", params={"group_by": "model,key"}, headers=by("ann"))).json()
        assert mine["start"] == "2026-11-01T00:00:00.000Z"
        (row,) = mine["data"]
        assert (row["model"], row["key"], row["requests"], row["answers"]) == ("voxpop", "k1", 1, 1)
        assert (row["prompt_tokens"], row["completion_tokens"], row["cached_tokens"]) == (30, 20, 5)
        assert row["engine_s"] == 1.5
        assert row["cost_in_usd_ticks"] == round((30 * 1e-6 + 20 * 2e-6) * TICKS)
        assert {n: row[n] for n in mine["total"]} == mine["total"]
        day = (await client.get("/v1/usage", headers=by("ann"))).json()["data"][0]["day"]
        assert day == "2026-11-22"

    @pytest.mark.parametrize("query", ["account=ben", "account=all", "team=news", "team="])
    async def test_nobody_else_s(self, client: httpx.AsyncClient, query: str) -> None:
        for path in (f"/v1/usage?{query}", "/v1/usage/statement?team=news"):
            answer = await client.get(path, headers=by("ann"))
            assert (answer.status_code, answer.json()["error"]["code"]) == (403, "forbidden")

    async def test_a_key_for_chat_alone_sees_no_usage(self, client: httpx.AsyncClient) -> None:
        assert (await client.get("/v1/usage", headers=by("narrow"))).status_code == 403
        assert (await client.get("/v1/limits")).status_code == 401

    async def test_an_admin_sees_all(self, client: httpx.AsyncClient) -> None:
        for query, requests in [("account=all", 3), ("account=ben", 2), ("team=news", 3), ("", 0), ("team=", 0)]:
            shown = (await client.get(f"/v1/usage?{query}", headers=by("root"))).json()
            assert shown["total"]["requests"] == requests, query
        both = await client.get(
            "/v1/usage?account=all&group_by=account&end=2026-11-22T12:00:00Z", headers=by("root")
        )
        assert both.json()["data"] == []

    async def test_csv_by_its_type_or_by_name(self, client: httpx.AsyncClient) -> None:
        for given in ({"params": {"format": "csv"}}, {"headers": {**by("ann"), "accept": "text/csv"}}):
            answer = await client.get("/v1/usage", **{"headers": by("ann"), **given})  # type: ignore[arg-type]
            assert answer.headers["content-type"].startswith("text/csv")
            (row,) = csv.DictReader(io.StringIO(answer.text))
            assert (row["day"], row["prompt_tokens"]) == ("2026-11-22", "30")

    @pytest.mark.parametrize(
        ("query", "said"),
        [
            ("group_by=modle", "'model'"),
            ("starts=1", "'start'"),
            ("start=soon", "ISO 8601"),
            ("start=9999-12-31&end=2026-01-01", "earlier"),
            ("start=-99999999999d", "ISO 8601"),
            ("format=xml", "csv or json"),
        ],
    )
    async def test_what_cannot_be_asked_says_what_can(
        self, client: httpx.AsyncClient, query: str, said: str
    ) -> None:
        answer = await client.get(f"/v1/usage?{query}", headers=by("ann"))
        assert answer.status_code == 400
        assert said in str(answer.json()["error"])

    async def test_a_month_of_nobody_s_team(self, client: httpx.AsyncClient) -> None:
        shown = (await client.get("/v1/usage/statement?month=2026-11&team=", headers=by("root"))).json()
        assert (shown["month"], shown["data"], shown["total"]["requests"]) == ("2026-11", [], 0)
        assert (await client.get("/v1/usage/statement?team=none", headers=by("root"))).status_code == 404
        assert (await client.get("/v1/usage/statement?month=13", headers=by("root"))).status_code == 400


def test_no_cell_is_a_formula() -> None:
    text = csv_text([{"model": '=HYPERLINK("x")', "n": -1}, {"model": "a,b", "n": 2}], ("model",))
    assert text.splitlines() == ["model,n", '"\'=HYPERLINK(""x"")",-1', '"a,b",2']


class TestAtTheCommandLine:
    @pytest.fixture
    async def folder(self, tmp_path: Path) -> Path:
        """A data folder in which the one user of a machine without accounts has asked."""
        async with Database.beside(tmp_path) as database:
            server = quotas(database, Clock(NOON))
            await (await server.permit(Account(), wanted())).settle(Spent(70, 30, answers=1, searches=2))
        return tmp_path

    async def test_usage_is_drawn_and_told(self, folder: Path) -> None:
        at = ("--data", str(folder))
        told = json.loads(voxpop("usage", *at, "--start", "2026-11-22", "--end", "2026-11-23", "--json").stdout)
        assert (told["data"][0]["day"], told["total"]["searches"]) == ("2026-11-22", 2)
        drawn = voxpop("usage", *at, "--start", "2026-11-22", "--end", "2026-11-23").stdout
        assert "█" * 24 in drawn
        assert "100 tokens" in drawn
        assert "voxpop" in voxpop("usage", "statement", "--month", "2026-11", *at).stdout
        assert "no limit" in voxpop("usage", "limits", *at).stdout
        assert voxpop("usage", "check", *at).returncode == 0

    async def test_a_total_that_is_not_the_ledger_s_is_found(self, folder: Path) -> None:
        from sqlalchemy import text

        async with Database.beside(folder) as database:
            await database.run(lambda s: s.execute(text("UPDATE usage_totals SET tokens = tokens + 5")))
        done = voxpop("usage", "check", "--data", str(folder))
        assert done.returncode == 1
        assert "+5 tokens" in done.stdout

    async def test_tiers_are_shown_and_a_file_is_tried(self, tmp_path: Path) -> None:
        file = tmp_path / "own.toml"
        file.write_text(
            "[tier.gold]\n[tier.gold.buckets.chat]\nrequests_per_day = 7\n[tier.gold.rollout]\nshare = 0.5\n"
        )
        assert "new: gold" in voxpop("tiers", "check", str(file)).stdout
        shown = voxpop("tiers", "show", "gold", VOXPOP_ACCOUNTS_TIERS=str(file)).stdout
        assert "7 requests per day" in shown
        assert "share 0.5" in shown
        file.write_text("[tier.gold]\nmodel = 1\n")
        refused = voxpop("tiers", "check", str(file))
        assert refused.returncode == 2
        assert "Did you mean 'models'?" in refused.stderr


async def test_a_failure_behind_the_server_is_no_strangers_matter(served: Serve, tmp_path: Path) -> None:
    async with Database.beside(tmp_path) as records:
        server = quotas(records, Clock(), PRICED)
        running = Running(Script(SAID))
        desk = Desk(running.assistant, ByName(server))
        async with (
            served(running, desk=desk, more=UsageFaces(server).routes(), quotas=server) as url,
            httpx.AsyncClient(base_url=url, trust_env=False) as http,
        ):
            assert (await http.get("/readyz")).status_code == 200
            records.reach.failed("The database /srv/secret failed: disk.")
            ready = await http.get("/readyz")
            assert (ready.status_code, ready.json()) == (
                503,
                {"status": "the database of accounts does not answer"},
            )
            assert (await http.get("/v1/limits", headers=by("ann"))).status_code == 200
            assert (await http.get("/readyz")).status_code == 200
    refusal = refused(VoxpopError("The database /srv/secret failed.", "Mend it.", code="records_failed"))
    assert refusal.status_code == 503
    error = orjson.loads(refusal.body)["error"]
    assert (error["message"], error["code"]) == ("Usage cannot be counted now.", "records_failed")
    assert "tell this server's admin" in error["cure"]


async def test_csv_without_rows_has_all_columns_and_names_stand_beside_ids(client: httpx.AsyncClient) -> None:
    asked = {"format": "csv", "group_by": "account", "start": "2020-01-01", "end": "2020-01-02", "account": "all"}
    nothing = (await client.get("/v1/usage", params=asked, headers=by("root"))).text.splitlines()
    del asked["start"], asked["end"]
    some = (await client.get("/v1/usage", params=asked, headers=by("root"))).text.splitlines()
    assert nothing == some[:1]
    assert nothing[0].startswith("account,account_name,requests,answers,prompt_tokens")
    assert len(some) == 3
