"""Two accounts never see each other's anything: every route and method, with every kind of key that must not do.

The real program, with accounts, is asked at each of its own routes. A route that `ROUTES` does not name fails the
test: whoever adds one says here whose it is, and for what belongs to an account, how one of it is made.
"""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.routing import Mount, Route

from conftest import voxpop
from voxpop.accounts import keys, people
from voxpop.accounts.audit import By
from voxpop.accounts.keys import Scopes
from voxpop.accounts.people import Wish
from voxpop.records import Database

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
MARK = "xq-marked-by-ada-xq"  # stands in everything that Ada has: no other account may ever see it
ASKED = {"model": "voxpop", "messages": [{"role": "user", "content": f"Did a ballot box burn in Dornick? {MARK}"}]}
ITEM = {"model": "voxpop", "input": f"Did a ballot box burn in Dornick? {MARK}"}
TIERS = """
[tier.spent]
title = "Nothing is left of it"
[tier.spent.buckets.other]
requests_per_day = 0
"""
_S = 1_000_000

Params = dict[str, str]


@dataclass(frozen=True)
class Whose:
    """Whose a route is, and what a request to it says.

    `kind`: `public` needs no key; `sign-in` looks at no key but at a password or our cookie; `any` says nothing of
    anybody and takes every valid key; `asks` makes something for the one who asks; `own` serves what belongs to the
    asking account; `admin` is for admins. `make` makes one of Ada's things and gives what stands in the path;
    `body` is of the request, made of those values.
    """

    kind: str
    make: Callable[[httpx.Client], Params] | None = None
    body: Callable[[Params], Any] = lambda _: None


def a_key(client: httpx.Client) -> Params:
    return {"id": client.post("/v1/keys", json={"name": MARK}).raise_for_status().json()["id"]}


def an_answer(client: httpx.Client) -> Params:
    id_ = client.post("/v1/chat/completions", json=ASKED).raise_for_status().json()["answer_id"]
    assert id_
    return {"id": id_}


def a_watch(client: httpx.Client) -> Params:
    asked = {"question": f"Who won the election in Avalon? {MARK}"}
    return {"id": client.post("/v1/watches", json=asked).raise_for_status().json()["id"]}


def a_stream(client: httpx.Client) -> Params:
    asked, wish = {**ASKED, "stream": True}, {"x-voxpop-resume": "true"}
    with client.stream("POST", "/v1/chat/completions", json=asked, headers=wish) as answer:
        return {"id": answer.raise_for_status().headers["x-voxpop-stream"]}


def a_deferred(client: httpx.Client) -> Params:
    asked = {**ASKED, "deferred": True}
    return {"id": client.post("/v1/chat/completions", json=asked).raise_for_status().json()["request_id"]}


def a_file(client: httpx.Client) -> Params:
    sent = {"file": (f"{MARK}.txt", f"Nobody else reads {MARK}.".encode())}
    return {"id": client.post("/v1/files", files=sent).raise_for_status().json()["id"]}


def a_batch(client: httpx.Client) -> Params:
    made = client.post("/v1/batches", json={"name": MARK}).raise_for_status().json()
    client.post(f"/v1/batches/{made['id']}/requests", json=wished({})).raise_for_status()
    return {"id": made["id"]}


def wished(_: Params) -> Any:
    """One more request for a batch."""
    id_ = f"{MARK}-{time.monotonic_ns()}"
    return {"batch_requests": [{"batch_request_id": id_, "batch_request": {"chat_get_completion": ASKED}}]}


def a_response(client: httpx.Client) -> Params:
    return {"id": client.post("/v1/responses", json=ITEM).raise_for_status().json()["id"]}


def _asks(body: Any) -> Whose:
    return Whose("asks", body=lambda _: body)


PUBLIC, ANY, ADMIN, SIGN_IN = Whose("public"), Whose("any"), Whose("admin"), Whose("sign-in")
# One line for each method and path of the application.
ROUTES: dict[str, Whose] = {
    "GET /": PUBLIC,
    "GET /answers/{id}": PUBLIC,  # leads to the page, which then asks as its session
    "GET /healthz": PUBLIC,
    "GET /readyz": PUBLIC,
    "GET /openapi.json": PUBLIC,
    "GET /reference": PUBLIC,
    "GET /static": PUBLIC,
    # Who is not signed in signs in here; tests/test_sessions.py and test_oidc.py hold each of them.
    "GET /api/session": PUBLIC,
    "POST /api/session": SIGN_IN,
    "DELETE /api/session": SIGN_IN,
    "DELETE /api/session/all": SIGN_IN,
    "POST /api/session/password": SIGN_IN,
    "POST /api/session/sign-up": SIGN_IN,
    "GET /api/session/oidc": SIGN_IN,
    "GET /api/session/oidc/callback": SIGN_IN,
    "GET /metrics": ADMIN,
    "GET /api/status": Whose("asks"),
    "GET /api/live": Whose("asks"),
    "POST /api/answer": _asks(ASKED),
    "GET /v1/models": ANY,
    "GET /v1/language-models": ANY,
    "GET /v1/language-models/{name}": ANY,
    "GET /v1/embedding-models": ANY,
    "GET /v1/embedding-models/{name}": ANY,
    "GET /v1/image-generation-models": ANY,
    "GET /v1/image-generation-models/{name}": ANY,
    "POST /v1/tokenize-text": _asks({"model": "voxpop", "text": "Hello"}),
    "POST /v1/images/generations": _asks({"model": "voxpop", "prompt": "a cat"}),
    "POST /v1/images/edits": _asks({"model": "voxpop", "prompt": "a cat"}),
    "POST /v1/embeddings": _asks({"model": "voxpop-embed-1", "input": "Hello"}),
    "POST /v1/completions": _asks({"model": "voxpop", "prompt": "Hello"}),
    "GET /v1/chat/deferred-completion/{id}": Whose("own", a_deferred),
    "POST /v1/files": Whose("asks"),
    "GET /v1/files": Whose("own", a_file),
    "GET /v1/files/{id}": Whose("own", a_file),
    "DELETE /v1/files/{id}": Whose("own", a_file),
    "GET /v1/files/{id}/content": Whose("own", a_file),
    "POST /v1/documents/search": _asks({"query": "reads"}),
    "POST /v1/batches": _asks({"name": "mine"}),
    "GET /v1/batches": Whose("own", a_batch),
    "GET /v1/batches/{id}": Whose("own", a_batch),
    "POST /v1/batches/{id}:cancel": Whose("own", a_batch),
    "POST /v1/batches/{id}/cancel": Whose("own", a_batch),
    "POST /v1/batches/{id}/requests": Whose("own", a_batch, wished),
    "GET /v1/batches/{id}/requests": Whose("own", a_batch),
    "GET /v1/batches/{id}/results": Whose("own", a_batch),
    "GET /v1/limits": ANY,
    "GET /v1/usage": Whose("asks"),
    "GET /v1/usage/statement": ADMIN,
    "GET /v1/models/{name}": ANY,
    "POST /v1/chat/completions": _asks(ASKED),
    "POST /v1/responses": _asks(ITEM),
    "POST /v1/responses/compact": _asks(ITEM),
    "POST /v1/responses/input_tokens": _asks(ITEM),
    "GET /v1/responses/{id}": Whose("own", a_response),
    "DELETE /v1/responses/{id}": Whose("own", a_response),
    "GET /v1/responses/{id}/input_items": Whose("own", a_response),
    "POST /v1/responses/{id}/cancel": Whose("own", a_response, lambda _: {}),
    "POST /v1/messages": _asks({**ASKED, "max_tokens": 100}),
    "POST /v1/messages/count_tokens": _asks(ASKED),
    "GET /v1/answers": Whose("own", an_answer),
    "GET /v1/answers/{id}": Whose("own", an_answer),
    "DELETE /v1/answers/{id}": Whose("own", an_answer),
    "POST /v1/answers/{id}/reproduce": Whose("own", an_answer),
    "POST /v1/watches": _asks({"question": "Who won the election?"}),
    "GET /v1/watches": Whose("own", a_watch),
    "GET /v1/watches/{id}": Whose("own", a_watch),
    "DELETE /v1/watches/{id}": Whose("own", a_watch),
    "GET /v1/watches/{id}/events": Whose("own", a_watch),
    "GET /v1/streams/{id}": Whose("own", a_stream),
    "DELETE /v1/streams/{id}": Whose("own", a_stream),
    "GET /v1/api-key": ANY,
    "POST /v1/keys": _asks({"name": "mine"}),
    "GET /v1/keys": Whose("own", a_key),
    "GET /v1/keys/{id}": Whose("own", a_key),
    "DELETE /v1/keys/{id}": Whose("own", a_key),
    "POST /v1/keys/{id}/rotate": Whose("own", a_key, lambda _: {}),
    "GET /v1/admin/keys": ADMIN,
    "POST /v1/admin/keys": ADMIN,
    "GET /v1/admin/keys/{id}": ADMIN,
    "DELETE /v1/admin/keys/{id}": ADMIN,
    "POST /v1/admin/keys/{id}/rotate": ADMIN,
    "GET /v1/admin/users": ADMIN,
    "POST /v1/admin/users": ADMIN,
    "GET /v1/admin/users/{id}": ADMIN,
    "PATCH /v1/admin/users/{id}": ADMIN,
    "DELETE /v1/admin/users/{id}": ADMIN,
    "GET /v1/admin/teams": ADMIN,
    "POST /v1/admin/teams": ADMIN,
    "GET /v1/admin/teams/{id}": ADMIN,
    "PATCH /v1/admin/teams/{id}": ADMIN,
    "DELETE /v1/admin/teams/{id}": ADMIN,
    "GET /v1/admin/audit": ADMIN,
}
FREE_OF_SCOPES = ("/v1/streams/",)  # had only by an id that the same account was given


@dataclass
class House:
    """The running program, and keys of people in it."""

    url: str
    app: Any
    data: Path
    good: dict[str, str]
    """Keys that are valid: `admin`, `ada` and `bob`, who are members, and two of Bob's for less."""
    bad: dict[str, str] = field(default_factory=dict)
    """By why nobody is let in with it."""
    rpc: str = ""
    """Where gRPC is served; empty where it is not installed."""

    def client(self, key: str = "") -> httpx.Client:
        headers = {"authorization": f"Bearer {key}"} if key else {}
        return httpx.Client(base_url=self.url, headers=headers, trust_env=False, timeout=30)


async def settle(data: Path) -> tuple[dict[str, str], dict[str, str]]:
    """People and keys; those that must not do are spoiled in each way that there is."""
    async with Database.beside(data) as database:
        now = time.time_ns() // 1000
        by, future = By("test", now), now + 3600 * _S

        def work(session: Any) -> tuple[dict[str, str], dict[str, str]]:
            def add(name: str, rank: str = "member") -> Any:
                return people.add_user(session, by, Wish(name=name, rank=rank, tier="local"))

            def key(owner: Any, **scopes: Any) -> tuple[Any, str]:
                return keys.create(session, by, owner, "k", Scopes(**scopes))

            users = {"admin": add("root", "admin"), "ada": add("ada"), "bob": add("bob")}
            good = {name: key(user)[1] for name, user in users.items()}
            good["narrow"] = key(users["bob"], endpoints=["nothing"])[1]
            good["metrics"] = key(users["admin"], endpoints=["metrics"])[1]
            good["bob's metrics"] = key(users["bob"], endpoints=["metrics"])[1]
            good["other model"] = key(users["bob"], models=["another"])[1]
            expired, bad = By("test", now - 3600 * _S), {}
            bad["expired"] = keys.create(session, expired, users["bob"], "k", Scopes(expires_at=now - _S))[1]
            gone, bad["revoked"] = key(users["bob"], expires_at=future)
            keys.revoke(session, by, gone)
            turned, bad["rotated away"] = key(users["bob"])
            keys.rotate(session, by, turned)
            # Whose tier has nothing of anything: tests/test_metering.py asks every route as them.
            spent = people.add_user(session, by, Wish(name="dan", rank="admin", tier="spent"))
            good["spent"] = key(spent)[1]
            disabled, removed = add("eve"), add("mallory")
            bad["of a disabled user"], bad["of a removed user"] = key(disabled)[1], key(removed)[1]
            people.change_user(session, by, disabled, Wish(disabled=True))
            people.remove_user(session, by, removed)
            return good, bad

        good, bad = await database.run(work)
    own = good["bob"]
    bad |= {"missing": "", "unknown": f"vx-aaaaaaaa-{own[12:]}", "another's prefix": good["ada"][:12] + own[12:]}
    return good, bad


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    from voxpop import app
    from voxpop.api import serving
    from voxpop.config import Accounts, Config, EngineChoice, Server, Sources, Storage

    data = tmp_path_factory.mktemp("house")
    (data / "tiers.toml").write_text(TIERS)
    good, bad = asyncio.run(settle(data))
    built: dict[str, Any] = {}
    with pytest.MonkeyPatch.context() as patch:
        make, run = serving.application, serving.server_of

        def application(*given: Any, **options: Any) -> Any:
            built["app"] = make(*given, **options)
            return built["app"]

        def server_of(*given: Any, **options: Any) -> Any:
            built["server"] = run(*given, **options)
            return built["server"]

        patch.setattr(serving, "application", application)
        patch.setattr(serving, "server_of", server_of)
        said: list[str] = []
        config = Config(
            server=Server(port=0, grpc_port=0, drain_s=0.1),
            storage=Storage(data=str(data)),
            sources=Sources(use=("simulated",)),
            engine=EngineChoice(use="quote"),
            accounts=Accounts(tiers=str(data / "tiers.toml")),
        )
        thread = threading.Thread(target=lambda: asyncio.run(app.serve(config, said.append)))
        thread.start()
        try:
            end = time.monotonic() + 30
            while not (opened := [s for s in said if "open http" in s]) and time.monotonic() < end:
                time.sleep(0.05)
            rpc = next((s.rpartition(" ")[2] for s in said if "gRPC on " in s), "")
            house = House(opened[0].split()[2], built["app"], data, good, bad, rpc)
            with house.client(good["admin"]) as client:
                before = -1
                while (posts := client.get("/api/status").json()["posts"]) > before or not posts:
                    before = posts
                    time.sleep(0.5)
            yield house
        finally:
            if "server" in built:
                built["server"].should_exit = True
            thread.join(30)


def routes(app: Any) -> list[tuple[str, str]]:
    """(method, path) of each route, HEAD with GET."""
    found = []
    for route in app.routes:
        assert isinstance(route, Route | Mount)
        methods = (route.methods or set()) - {"HEAD"} if isinstance(route, Route) else {"GET"}
        found += [(method, route.path) for method in sorted(methods)]
    return found


def filled(path: str, params: Params) -> str:
    for name, value in params.items():
        path = path.replace(f"{{{name}}}", value).replace(f"{{{name}:path}}", value)
    return path.replace("{id}", "x").replace("{name}", "voxpop") + ("/x.js" if path == "/static" else "")


def ask(client: httpx.Client, method: str, path: str, body: Any = None) -> httpx.Response:
    """A request; of a stream only the first part is read."""
    with client.stream(method, path, json=body) as response:
        text = b""
        for part in response.iter_bytes():
            text += part
            if "event-stream" in response.headers.get("content-type", ""):
                break
        response._content = text
    return response


def kinds(house: House, *wanted: str) -> list[tuple[str, str, Whose]]:
    rows = [(m, p, ROUTES[f"{m} {p}"]) for m, p in routes(house.app) if f"{m} {p}" in ROUTES]
    return [row for row in rows if row[2].kind in wanted]


def test_every_route_is_classified_and_no_other_is(house: House) -> None:
    served = {f"{method} {path}" for method, path in routes(house.app)}
    assert served - ROUTES.keys() == set(), "say in ROUTES whose this is"
    assert ROUTES.keys() - served == set(), "ROUTES names what is not served"


def test_nobody_comes_in_with_a_key_that_will_not_do(house: House) -> None:
    for why, key in house.bad.items():
        with house.client(key) as client:
            for method, path, _ in kinds(house, "any", "asks", "own", "admin"):
                response = client.request(method, filled(path, {}), json={})
                assert response.status_code == 401, f"{method} {path} with a key that is {why}"
                assert response.headers["www-authenticate"] == "Bearer"
                assert response.json()["error"]["code"] == "invalid_api_key"


def test_nobody_comes_in_by_another_method_or_a_key_of_another_form(house: House) -> None:
    own = house.good["bob"]
    with house.client() as client:
        for path in sorted({p for _, p, _ in kinds(house, "any", "asks", "own", "admin")}):
            for method in METHODS:
                assert client.request(method, filled(path, {})).status_code == 401, f"{method} {path}"
        assert client.get("/v1/no-such-route").status_code == 401
        for key in (
            "any",
            own + "A",
            own[:-1],
            own.upper(),
            f"{own} {own}",
            own.replace("-", "_", 1),
            "vx-",
            "é" * 55,
        ):
            headers = {"authorization": f"Bearer {key}".encode()}
            assert client.get("/v1/models", headers=headers).status_code == 401, key


def test_another_header_and_a_session_open_nothing_either(house: House) -> None:
    with house.client() as client:
        for headers in (
            {"x-api-key": house.bad["revoked"]},
            {"authorization": f"Basic {house.good['ada']}"},
            {"cookie": f"voxpop_session={house.good['ada']}"},
            {"cookie": "voxpop_session=" + "0" * 64},
        ):
            for method, path, _ in kinds(house, "own", "admin"):
                assert client.request(method, filled(path, {}), headers=headers).status_code == 401, headers


def test_a_public_route_asks_for_no_key_and_tells_nothing(house: House) -> None:
    with house.client(house.good["ada"]) as ada:
        an_answer(ada)
    with house.client() as client:
        for method, path, _ in kinds(house, "public"):
            response = client.request(method, filled(path, {}))
            assert response.status_code != 401 or path.startswith("/api/session/")
            assert MARK not in response.text, path


def test_a_narrower_key_opens_only_what_says_nothing_of_anybody(house: House) -> None:
    with house.client(house.good["narrow"]) as client:
        for method, path, whose in kinds(house, "any", "asks", "own", "admin"):
            if path.startswith(FREE_OF_SCOPES):
                continue
            response = ask(client, method, filled(path, {}), whose.body({}))
            if whose.kind == "any":
                assert response.status_code in (200, 404), f"{method} {path}"
            else:
                assert response.status_code == 403, f"{method} {path}"
                assert response.json()["error"]["code"] == "forbidden"


def test_a_key_for_another_model_asks_nothing(house: House) -> None:
    with house.client(house.good["other model"]) as client:
        for method, path, whose in kinds(house, "asks"):
            if "model" in (whose.body({}) or {}):
                response = ask(client, method, path, whose.body({}))
                unserved = response.status_code == 501
                assert unserved or (response.status_code, response.json()["error"]["code"]) == (403, "forbidden"), (
                    path
                )


def test_only_an_admin_sees_what_admins_do(house: House) -> None:
    with house.client(house.good["ada"]) as client:
        for method, path, _ in kinds(house, "admin"):
            response = ask(client, method, filled(path, {}), {} if method in ("POST", "PATCH") else None)
            assert response.status_code == 403, f"{method} {path}"
    with house.client(house.good["admin"]) as client:
        assert {u["name"] for u in client.get("/v1/admin/users").json()["data"]} == {
            "root",
            "ada",
            "bob",
            "dan",
            "eve",
        }


def test_only_an_admins_key_scrapes_and_it_may_be_for_that_alone(house: House) -> None:
    for name, status in (("metrics", 200), ("admin", 200), ("bob's metrics", 403), ("bob", 403)):
        with house.client(house.good[name]) as client:
            assert client.get("/metrics").status_code == status, name
    with house.client(house.good["metrics"]) as client:
        assert client.get("/v1/admin/users").status_code == 403


def test_nobody_sees_or_touches_what_is_anothers(house: House) -> None:
    """With Ada's own ids Bob finds nothing, and Ada finds hers as it was."""
    with house.client(house.good["ada"]) as ada, house.client(house.good["bob"]) as bob:
        for method, path, whose in kinds(house, "own"):
            assert whose.make, f"{method} {path}: say in ROUTES how one is made"
            params = whose.make(ada)
            response = ask(bob, method, filled(path, params), whose.body(params))
            if "{" in path:
                assert response.status_code == 404, f"{method} {path}: {response.text}"
            else:
                assert response.status_code == 200, f"{method} {path}: {response.text}"
                assert not any(v in response.text for v in params.values()), f"{method} {path}"
            assert MARK not in response.text, f"{method} {path}"
            again = ask(ada, method, filled(path, params), whose.body(params))
            assert again.status_code in (200, 202), f"{method} {path}: {again.text}"
            assert "{" in path or all(v in again.text for v in params.values()), (
                f"{method} {path}: hers is not there"
            )


def test_nobody_is_put_in_a_tier_that_does_not_exist(house: House) -> None:
    with house.client(house.good["admin"]) as client:
        for method, path in (
            ("POST", "/v1/admin/users"),
            ("PATCH", "/v1/admin/users/bob"),
            ("POST", "/v1/admin/teams"),
        ):
            body = {"tier": "golden"} | ({"name": "new"} if method == "POST" else {})
            response = client.request(method, path, json=body)
            assert (response.status_code, response.json()["error"]["code"]) == (400, "unknown_tier"), path


# the same over gRPC: every method of every service of xAI's proto, served or not


@pytest.fixture(scope="module")
def channel(house: House) -> Iterator[Any]:
    grpc = pytest.importorskip("grpc", reason="voxpop[grpc] is not installed")
    pytest.importorskip("xai_sdk", reason="voxpop[grpc] is not installed")
    assert house.rpc, "it is installed and not served"
    with grpc.insecure_channel(house.rpc) as channel:
        yield channel


def rpc_methods() -> list[Any]:
    from test_rpc_fuzz import METHODS

    return METHODS


def call(channel: Any, method: Any, key: str, **given: Any) -> tuple[str, str, Any]:
    """The status by name (`OK` where it was answered), its details, and the first message of the answer."""
    import grpc
    from google.protobuf.message_factory import GetMessageClass

    path = f"/{method.containing_service.full_name}/{method.name}"
    ways = ["stream" if streams else "unary" for streams in (method.client_streaming, method.server_streaming)]
    sent = GetMessageClass(method.input_type)(**given)
    made = getattr(channel, "_".join(ways))(
        path, lambda m: m.SerializeToString(), GetMessageClass(method.output_type).FromString
    )
    headers = [("authorization", f"Bearer {key}")] if key else []
    try:
        answer = made(iter([sent]) if method.client_streaming else sent, metadata=headers, timeout=20)
        first = next(iter(answer), None) if method.server_streaming else answer
        if method.server_streaming:
            answer.cancel()
        return "OK", "", first
    except grpc.RpcError as error:
        return error.code().name, error.details(), None


def test_no_method_lets_in_a_key_that_will_not_do(house: House, channel: Any) -> None:
    for why, key in house.bad.items():
        for method in rpc_methods():
            assert call(channel, method, key)[0] == "UNAUTHENTICATED", f"{method.full_name}: {why}"


OF_NOBODY = {"Auth", "Models"}  # services that say nothing of anybody: they take every key that is valid


def rpc_asked(method: Any) -> dict[str, Any]:
    """What makes a call of a method one that would be answered, were the key for it."""
    from xai_sdk.chat import user

    said = [user(f"Did a ballot box burn in Dornick? {MARK}")]
    asked: dict[str, dict[str, Any]] = {
        "GetCompletion": {"model": "voxpop", "messages": said},
        "GetCompletionChunk": {"model": "voxpop", "messages": said},
        "StartDeferredCompletion": {"model": "voxpop", "messages": said},
        "CompactContext": {"model": "voxpop"},
        "SampleText": {"model": "voxpop", "prompt": ["Hello"]},
        "SampleTextStreaming": {"model": "voxpop", "prompt": ["Hello"]},
        "TokenizeText": {"model": "voxpop", "text": "Hello"},
        "Embed": {"model": "voxpop-embed-1", "input": [{"string": "Hello"}]},
        "Search": {"query": "reads"},
    }
    return asked.get(method.name, {})


def test_a_narrower_key_calls_only_what_says_nothing_of_anybody(house: House, channel: Any) -> None:
    for key in ("narrow", "ada"):
        for method in rpc_methods():
            if method.containing_service.name in OF_NOBODY:
                continue
            code, said, _ = call(channel, method, house.good[key], **rpc_asked(method))
            if key == "narrow":
                assert code in ("PERMISSION_DENIED", "UNIMPLEMENTED"), f"{method.full_name}: {code} {said}"
            else:
                assert code not in ("PERMISSION_DENIED", "UNAUTHENTICATED"), f"{method.full_name}: {code} {said}"


def test_a_key_for_another_model_calls_no_model(house: House, channel: Any) -> None:
    for method in rpc_methods():
        if "model" in rpc_asked(method):
            code, said, _ = call(channel, method, house.good["other model"], **rpc_asked(method))
            assert code == "PERMISSION_DENIED", f"{method.full_name}: {code} {said}"


def test_an_id_of_anothers_is_not_found_by_any_method(house: House, channel: Any) -> None:
    methods = {m.name: m for m in rpc_methods() if m.containing_service.name in ("Chat", "Files")}
    ada, bob = house.good["ada"], house.good["bob"]
    with house.client(ada) as client:
        file = a_file(client)["id"]
    asked = rpc_asked(methods["GetCompletion"])
    stored = call(channel, methods["GetCompletion"], ada, store_messages=True, **asked)[2].id
    later = call(channel, methods["StartDeferredCompletion"], ada, **asked)[2].request_id
    hers: list[tuple[str, dict[str, Any]]] = [
        ("GetStoredCompletion", {"response_id": stored}),
        ("DeleteStoredCompletion", {"response_id": stored}),
        ("GetCompletion", {**asked, "previous_response_id": stored}),
        ("GetCompletionChunk", {**asked, "previous_response_id": stored}),
        ("GetDeferredCompletion", {"request_id": later}),
        ("RetrieveFile", {"file_id": file}),
        ("RetrieveFileContent", {"file_id": file}),
        ("DeleteFile", {"file_id": file}),
    ]
    for name, given in hers:
        code, said, _ = call(channel, methods[name], bob, **given)
        assert code == "NOT_FOUND", f"{name}: {code} {said}"
    assert file not in str(call(channel, methods["ListFiles"], bob)[2])
    assert file in str(call(channel, methods["ListFiles"], ada)[2])
    order = sorted(hers, key=lambda one: one[0].startswith("Delete"))  # what removes comes last
    for name, given in order:
        code, said, _ = call(channel, methods[name], ada, **given)
        assert code == "OK", f"{name}: {code} {said}"


# and by the commands that speak to a running server


def test_a_command_comes_by_a_key_or_is_told_that_it_needs_one(house: House) -> None:
    port = house.url.rpartition(":")[2]
    for command, endpoint in ((["watch", "--list"], "watches"), (["sources", "--watch"], "status")):
        asked = [*command, "--port", port, "--json"]
        for key, said in (
            ({}, "The running server has accounts."),
            ({"VOXPOP_KEY": house.bad["revoked"]}, "does not know this key"),
            ({"VOXPOP_KEY": house.good["narrow"]}, f"endpoint '{endpoint}'"),
        ):
            done = voxpop(*asked, **key)
            assert done.returncode == 2, done.stderr
            assert said in done.stdout
            assert "vx-" not in done.stdout + done.stderr
    port_, key_ = ("--port", port), ("--key", house.good["ada"])
    assert '"watches"' in voxpop("watch", "--list", *port_, *key_, "--json").stdout


def read_to_the_end(house: House, path: str, ended: dict[str, float], **headers: str) -> threading.Thread:
    """Read a stream on a thread of its own; `ended` tells when it was over, once its first event was there."""
    begun = threading.Event()

    def work() -> None:
        with house.client() as client, client.stream("GET", path, headers=headers) as answer:
            assert answer.status_code == 200
            for line in answer.iter_lines():
                begun.set()
                if line.startswith("data:") and '"invalid_api_key"' in line:
                    ended[path] = time.monotonic()

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    assert begun.wait(10)
    return thread


@pytest.mark.parametrize("by", ["key", "session"])
def test_an_open_stream_ends_with_what_opened_it(house: House, by: str) -> None:
    ended: dict[str, float] = {}
    with house.client(house.good["admin"]) as admin, house.client() as own:
        word = "correct horse battery"
        user = {"name": f"fay-{by}", "tier": "premium", "password": word}
        admin.post("/v1/admin/users", json=user).raise_for_status()
        page = {"sec-fetch-site": "same-origin"}
        own.post("/api/session", json={"name": user["name"], "password": word}, headers=page).raise_for_status()
        shown = {"cookie": "; ".join(f"{k}={v}" for k, v in own.cookies.items())}
        made = own.post("/v1/keys", json={"name": "k"}, headers=page).raise_for_status().json()
        watch = own.post("/v1/watches", json={"question": "Who won?"}, headers=page).raise_for_status().json()
        if by == "key":
            shown = {"authorization": f"Bearer {made['key']}"}
        paths = ["/api/live", f"/v1/watches/{watch['id']}/events"]
        threads = [read_to_the_end(house, path, ended, **shown) for path in paths]
        if by == "key":
            own.delete(f"/v1/keys/{made['id']}", headers=page).raise_for_status()
        else:
            own.delete("/api/session/all", headers=page).raise_for_status()
        revoked = time.monotonic()
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()
    assert ended.keys() == set(paths)
    assert all(at - revoked < 6 for at in ended.values())
