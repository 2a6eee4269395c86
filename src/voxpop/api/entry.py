"""Who sends a request: every route asks, but those that show nothing of anybody; the rest is the routes' matter.

A program is known by its key (`Authorization: Bearer`, or `x-api-key` as Anthropic's clients send it), a page by
its session's cookie. The account is in the request's state for whoever serves it.
"""

import re
import secrets
from http.cookies import CookieError, SimpleCookie
from typing import Any

from starlette.requests import HTTPConnection

from voxpop.accounts import Account, Credential
from voxpop.api.door import SAFE, is_ours
from voxpop.api.guard import refused
from voxpop.api.inside import ACCOUNT
from voxpop.desk import Desk
from voxpop.errors import UsageError, VoxpopError
from voxpop.meters import Requests

_SESSION = "voxpop_session"
PUBLIC = re.compile(r"/|/(answers|static)/.*|/(healthz|readyz|openapi\.json|reference)|/api/session(/.*)?")
# For these a key's scopes do not matter: what says nothing of anybody, and what is only had by an id that was given
# to the same account's answer.
_ANY_KEY = {"models", "language-models", "embedding-models", "image-generation-models"} | {
    "api-key",
    "limits",
    "streams",
}
_NAMED = {
    "/api/answer": "chat",
    "/api/live": "status",
    "/v1/documents/search": "files",
    "/v1/tokenize-text": "tokenize",
}
_ID = re.compile(rb"[\x21-\x7e]{1,128}")


class Entry:
    """ASGI middleware inside the guard: gives each request its id and its account."""

    def __init__(self, app: Any, desk: Desk, requests: Requests) -> None:
        self._app, self._desk, self._requests = app, desk, requests

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        given = headers.get(b"x-request-id", b"")
        named = b"request-id" if scope["path"].startswith("/v1/messages") else b"x-request-id"
        id_ = given if _ID.fullmatch(given) else f"req_{secrets.token_hex(12)}".encode()

        async def sent(message: Any) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (named, id_)]
                self._requests.count(endpoint_of(scope["path"]) or "other", message["status"])
            await send(message)

        state = scope.setdefault("state", {})
        state["request_id"] = id_.decode()
        state["account"] = scope.get(ACCOUNT, Account())
        state["desk"], state["let_in"] = self._desk, _anybody
        if ACCOUNT not in scope and not PUBLIC.fullmatch(scope["path"]):
            try:
                shown, endpoint = credential(scope), endpoint_of(scope["path"])

                async def let_in() -> Account:
                    account = await self._desk.gate.account(shown)
                    if endpoint:
                        account.check(endpoint)
                    return account

                state["account"], state["let_in"] = await let_in(), let_in
                if shown.session and not shown.key:  # a browser sends its cookie whoever made it ask
                    check_same_origin(scope)
            except VoxpopError as error:
                await refused(error, scope["path"])(scope, receive, sent)
                return
        await self._app(scope, receive, sent)


def endpoint_of(path: str) -> str:
    """By which name a key's scopes know a route: what follows `/v1/` or `/api/`; empty where any key will do."""
    first, _, rest = path.strip("/").partition("/")
    name = _NAMED.get(path) or (rest if first in ("v1", "api") else first).partition("/")[0]
    return "" if name in _ANY_KEY else name


def credential(scope: Any) -> Credential:
    """What a request says of who sends it."""
    headers = dict(scope["headers"])
    kind, _, key = headers.get(b"authorization", b"").decode("latin-1").partition(" ")
    key = key.strip() if kind.lower() == "bearer" else headers.get(b"x-api-key", b"").decode("latin-1")
    session = _cookie(headers.get(b"cookie", b"").decode("latin-1"), session_cookie(scope))
    return Credential(key=key, session=session, country=scope.get("state", {}).get("country", ""))


def session_cookie(scope: Any, name: str = _SESSION) -> str:
    """The name of a cookie of ours: over TLS one that only this very host can have set (RFC 6265bis, 4.1.3)."""
    return f"__Host-{name}" if scope["scheme"] == "https" else name


def check_same_origin(scope: Any) -> None:
    """Raises UsageError where a page of ours did not send what changes something; programs come by a key."""
    if scope["method"] in SAFE:
        return
    headers = {k: v.decode("latin-1") for k, v in scope["headers"]}
    site, origin = headers.get(b"sec-fetch-site"), headers.get(b"origin", "")
    if site != "same-origin" if site else not is_ours(origin, headers.get(b"host", "")):
        what = "This server's own page did not send this."
        raise UsageError(what, "Ask from the page, or with a key.", code="wrong_site")


def account_of(connection: HTTPConnection) -> Account:
    """Who sent it."""
    account: Account = connection.state.account
    return account


async def _anybody() -> Account:
    """Whoever is here for what is public, or asks from inside, stays."""
    return Account()


def _cookie(header: str, name: str) -> str:
    try:
        found = SimpleCookie(header).get(name)
    except CookieError:
        return ""
    return found.value if found else ""
