"""API keys over HTTP: one's own under `/v1/keys`, everybody's under `/v1/admin/keys`.

A secret is in one response only. Nobody but an admin sees or touches a key of somebody else, and no key makes a
wider one than itself.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from voxpop.accounts import Account, Denied, keys, people, secret
from voxpop.accounts.audit import By
from voxpop.accounts.keys import Scopes
from voxpop.accounts.tables import Key
from voxpop.api.bodies import read_json
from voxpop.api.entry import account_of
from voxpop.api.fields import number, only, refuse, text, told
from voxpop.records import Database
from voxpop.times import iso, micros

_FIELDS = ("name", "models", "endpoints", "expires_at", "expires_in")
_S = 1_000_000
_LONGEST_S = 10 * 366 * 86_400
_LONGEST_GRACE_S = 30 * 86_400


@dataclass(frozen=True, slots=True)
class KeyFaces:
    """The handlers; `clock` is in microseconds of UTC."""

    database: Database
    clock: Callable[[], int]

    def routes(self) -> list[Route]:
        """Where they are served."""
        rows = [Route("/v1/api-key", self.current, methods=["GET"])]
        for root in ("/v1/keys", "/v1/admin/keys"):
            rows += [
                Route(root, self.create, methods=["POST"]),
                Route(root, self.list, methods=["GET"]),
                Route(f"{root}/{{id}}", self.one, methods=["GET"]),
                Route(f"{root}/{{id}}", self.revoke, methods=["DELETE"]),
                Route(f"{root}/{{id}}/rotate", self.rotate, methods=["POST"]),
            ]
        return rows

    async def current(self, request: Request) -> Response:
        """The key of this request, in xAI's shape."""
        account = account_of(request)
        shown = await self.database.run(lambda s: keys.information(s, account), write=False)
        return JSONResponse(shown)

    async def create(self, request: Request) -> Response:
        asker = _Asker.of(request)
        body = only(await read_json(request), (*_FIELDS, "user") if asker.is_admin else _FIELDS)
        by = By.account(asker.account, self.clock())
        name, scopes = text(body, "name"), _scopes(body, by.now)
        whose = text(body, "user", asker.account.id)

        def work(session: Session) -> dict[str, Any]:
            owner = people.user(session, whose)
            made, clear = keys.create(session, by, owner, name, scopes, within=asker.within)
            return {**described(made), "key": clear}

        return JSONResponse(await self.database.run(work), 201)

    async def list(self, request: Request) -> Response:
        asker = _Asker.of(request)
        whose = request.query_params.get("user", "") if asker.is_admin else asker.account.id

        def work(session: Session) -> list[dict[str, Any]]:
            owner = people.user(session, whose) if whose else None
            return [described(k) for k in keys.keys(session, owner)]

        return JSONResponse({"object": "list", "data": await self.database.run(work, write=False)})

    async def one(self, request: Request) -> Response:
        asker, id_ = _Asker.of(request), request.path_params["id"]
        return JSONResponse(
            await self.database.run(lambda s: described(keys.key(s, id_, asker.owner)), write=False)
        )

    async def revoke(self, request: Request) -> Response:
        asker, id_ = _Asker.of(request), request.path_params["id"]
        by = By.account(asker.account, self.clock())

        def work(session: Session) -> dict[str, Any]:
            key = keys.key(session, id_, asker.owner)
            keys.revoke(session, by, key, within=asker.within)
            return described(key)

        return JSONResponse(await self.database.run(work))

    async def rotate(self, request: Request) -> Response:
        asker, id_ = _Asker.of(request), request.path_params["id"]
        body = only(await read_json(request), ("grace_s",))
        grace_s = number(body, "grace_s", 0.0, 0, _LONGEST_GRACE_S)
        by = By.account(asker.account, self.clock())

        def work(session: Session) -> dict[str, Any]:
            key = keys.key(session, id_, asker.owner)
            clear = keys.rotate(session, by, key, grace_s=grace_s, within=asker.within)
            return {**described(key), "key": clear}

        return JSONResponse(await self.database.run(work))


@dataclass(frozen=True, slots=True)
class _Asker:
    """Who asks, and over whose keys it may rule."""

    account: Account
    is_admin: bool

    @classmethod
    def of(cls, request: Request) -> "_Asker":
        """Raises Denied where it is nobody, or no admin where only they may come."""
        if request.url.path.startswith("/v1/admin/"):
            return cls(admin_of(request), True)
        account = account_of(request)
        if not account.id:
            raise no_accounts()
        return cls(account, False)

    @property
    def owner(self) -> str:
        """Whose keys they are: its own; empty, everybody's, for an admin."""
        return "" if self.is_admin else self.account.id

    @property
    def within(self) -> str:
        """The key that it cannot exceed."""
        return "" if self.is_admin else self.account.key


def admin_of(request: Request) -> Account:
    """Who sent it. Raises Denied for who is no admin."""
    account = account_of(request)
    if not account.id:
        raise no_accounts()
    if account.rank != "admin":
        raise Denied("Only an admin may do this.", "Ask one.", code="forbidden")
    return account


def no_accounts() -> Denied:
    """Nobody makes the first account over HTTP: any program of this machine could."""
    cure = "Make the first one on the server: voxpop users add NAME --admin"
    return Denied("There are no accounts yet.", cure, code="forbidden")


def described(key: Key) -> dict[str, Any]:
    """A key as it is shown: never its secret; `redacted` is of the newest."""
    return {
        "id": key.id,
        "object": "api_key",
        "name": key.name,
        "redacted": secret.redacted(key.secrets[-1].prefix) if key.secrets else "",
        "user_id": key.user_id,
        "models": key.models,
        "endpoints": key.endpoints,
        "created_at": iso(key.created_at),
        "changed_at": iso(key.changed_at),
        "changed_by": key.changed_by,
        "expires_at": moment(key.expires_at),
        "revoked_at": moment(key.revoked_at),
        "used_at": moment(key.used_at),
        "secrets": [
            {"prefix": s.prefix, "created_at": iso(s.created_at), "until": moment(s.until)} for s in key.secrets
        ],
    }


def moment(at: int | None) -> str | None:
    """A time as RFC 3339, or nothing."""
    return None if at is None else iso(at)


def _scopes(body: Mapping[str, Any], now: int) -> Scopes:
    expires_at = None
    if body.get("expires_at") is not None:
        try:
            expires_at = micros(text(body, "expires_at"))
        except (ValueError, OverflowError):
            cure = "Give an ISO 8601 time such as 2030-01-01T00:00:00Z."
            refuse("expires_at", f"'expires_at' cannot be {told(body['expires_at'])}.", cure)
    elif (lasts_s := number(body, "expires_in", 0, 0, _LONGEST_S)) > 0:
        expires_at = now + lasts_s * _S
    return Scopes(models=_names(body, "models"), endpoints=_names(body, "endpoints"), expires_at=expires_at)


def _names(body: Mapping[str, Any], name: str) -> list[str]:
    value = body.get(name, ["*"])
    if not isinstance(value, list) or not all(isinstance(v, str) for v in value):
        refuse(name, f"'{name}' cannot be {told(value)}.", 'Give a list of names, such as ["chat"], or ["*"].')
    return value
