"""No quota is passed by: every route is metered, or says here why it is free; somebody with nothing left asks each.

The real program is asked at each of its own routes by an account whose tier has no request left of anything.
"""

import pytest

from test_isolation import ROUTES, House, ask, filled, house, kinds

__all__ = ["house"]
METERED = {
    "POST /api/answer": "chat",
    "POST /v1/chat/completions": "chat",
    "POST /v1/completions": "chat",
    "POST /v1/responses": "chat",
    "POST /v1/messages": "chat",
    "POST /v1/answers/{id}/reproduce": "chat",
    "POST /v1/embeddings": "embeddings",
    "GET /v1/answers/{id}": "search",
    "POST /v1/watches": "search",
    "POST /v1/tokenize-text": "tokens",
    "POST /v1/responses/compact": "tokens",
    "POST /v1/responses/input_tokens": "tokens",
    "POST /v1/messages/count_tokens": "tokens",
    "POST /v1/files": "files",
    "GET /v1/files/{id}/content": "files",
    "POST /v1/documents/search": "files",
}
STATIC = "a file, or a few words that are the same for everybody"
TRIES = "counted by its own limit on tries"
ROW = "reads or removes a row of one's own, which was metered as it was made; pages are bounded"
BOUND = "how many there may be is bounded for each account"
HEAD = "the same for everybody, read once for all; open ones are bounded in number"
TOLD = "who has nothing left must be able to see that"
ADMIN = "admins alone"
FREE = {
    "GET /": STATIC,
    "GET /answers/{id}": STATIC,
    "GET /healthz": STATIC,
    "GET /readyz": STATIC,
    "GET /openapi.json": STATIC,
    "GET /reference": STATIC,
    "GET /static": STATIC,
    "GET /api/session": "looks at one row, as every request does to know who asks",
    "POST /api/session": TRIES,
    "DELETE /api/session": "ends a session",
    "DELETE /api/session/all": "ends sessions",
    "POST /api/session/password": TRIES,
    "POST /api/session/sign-up": TRIES,
    "GET /api/session/oidc": "leads to the provider",
    "GET /api/session/oidc/callback": "only with what the provider gave, once",
    "GET /metrics": HEAD,
    "GET /api/status": HEAD,
    "GET /api/live": HEAD,
    "GET /v1/models": STATIC,
    "GET /v1/models/{name}": STATIC,
    "GET /v1/language-models": STATIC,
    "GET /v1/language-models/{name}": STATIC,
    "GET /v1/embedding-models": STATIC,
    "GET /v1/embedding-models/{name}": STATIC,
    "GET /v1/image-generation-models": STATIC,
    "GET /v1/image-generation-models/{name}": STATIC,
    "POST /v1/images/generations": "makes nothing: 501",
    "POST /v1/images/edits": "makes nothing: 501",
    "GET /v1/chat/deferred-completion/{id}": ROW,
    "GET /v1/files": ROW,
    "GET /v1/files/{id}": ROW,
    "DELETE /v1/files/{id}": ROW,
    "POST /v1/batches": "each of its requests is metered when it is run",
    "POST /v1/batches/{id}/requests": "each of them is metered when it is run",
    "GET /v1/batches": ROW,
    "GET /v1/batches/{id}": ROW,
    "POST /v1/batches/{id}:cancel": ROW,
    "POST /v1/batches/{id}/cancel": ROW,
    "GET /v1/batches/{id}/requests": ROW,
    "GET /v1/batches/{id}/results": ROW,
    "GET /v1/limits": TOLD,
    "GET /v1/usage": TOLD,
    "GET /v1/usage/statement": ADMIN,
    "GET /v1/responses/{id}": ROW,
    "DELETE /v1/responses/{id}": ROW,
    "GET /v1/responses/{id}/input_items": ROW,
    "POST /v1/responses/{id}/cancel": ROW,
    "GET /v1/answers": ROW,
    "DELETE /v1/answers/{id}": ROW,
    "GET /v1/watches": ROW,
    "GET /v1/watches/{id}": ROW,
    "DELETE /v1/watches/{id}": ROW,
    "GET /v1/watches/{id}/events": "tells what is found for all; open ones are bounded in number",
    "GET /v1/streams/{id}": ROW,
    "DELETE /v1/streams/{id}": ROW,
    "GET /v1/api-key": STATIC,
    "POST /v1/keys": BOUND,
    "GET /v1/keys": ROW,
    "GET /v1/keys/{id}": ROW,
    "DELETE /v1/keys/{id}": ROW,
    "POST /v1/keys/{id}/rotate": ROW,
    **{route: ADMIN for route in ROUTES if "/v1/admin/" in route},
}


def test_every_route_is_metered_or_says_why_not() -> None:
    assert ROUTES.keys() - METERED.keys() - FREE.keys() == set(), "say whether it is metered"
    assert (METERED.keys() | FREE.keys()) - ROUTES.keys() == set()
    assert not METERED.keys() & FREE.keys()


@pytest.mark.parametrize("route", sorted(METERED))
def test_who_has_nothing_left_gets_nothing_metered(house: House, route: str) -> None:
    method, _, path = route.partition(" ")
    with house.client(house.good["spent"]) as client:
        response = ask(client, method, filled(path, {}), ROUTES[route].body({}))
    assert (response.status_code, response.json()["error"]["code"]) == (429, "rate_limited"), response.text
    assert METERED[route] in response.json()["error"]["message"]


def test_who_has_nothing_left_still_gets_what_is_free(house: House) -> None:
    every = kinds(house, "public", "sign-in", "any", "asks", "own", "admin")
    with house.client(house.good["spent"]) as client:
        for method, path, whose in every:
            if f"{method} {path}" in FREE:
                response = ask(client, method, filled(path, {}), whose.body({}))
                assert response.status_code != 429, f"{method} {path}: {response.text}"


@pytest.mark.parametrize("route", ["GET /v1/answers/{id}", "POST /v1/answers/{id}/reproduce"])
def test_what_is_metered_is_settled_and_given_back_where_it_fails(house: House, route: str) -> None:
    whose, (method, _, path) = ROUTES[route], route.partition(" ")

    def told(client: object) -> tuple[int, int]:
        rows = client.get("/v1/usage").raise_for_status().json()["data"]  # type: ignore[attr-defined]
        return sum(r["requests"] for r in rows), sum(r["searches"] for r in rows)

    with house.client(house.good["ada"]) as ada:
        assert whose.make
        params = whose.make(ada)
        before = told(ada)
        assert ask(ada, method, filled(path, params)).status_code == 200
        after = told(ada)
        assert ask(ada, method, filled(path, {"id": "0" * 16})).status_code == 404
        assert after == (before[0] + 1, before[1] + (method == "GET"))
        assert told(ada) == after
