"""Signing in and out for the page: JSON and one cookie; it decides nothing, and another site's page is refused.

The cookie is HttpOnly and SameSite=Strict: no script reads it, no other site's page makes a browser send it. Over
TLS it is named with `__Host-`, so that no neighbour's name under the same domain can set one.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

import orjson
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from voxpop.accounts import Account, Credential, Denied, Gate
from voxpop.accounts.linked import Admitted, Began, user_of
from voxpop.accounts.sign_in import SignIn
from voxpop.api.bodies import read_json
from voxpop.api.door import SAFE
from voxpop.api.entry import check_same_origin, credential, session_cookie
from voxpop.api.fields import refuse, told
from voxpop.errors import UsageError, VoxpopError

if TYPE_CHECKING:  # it needs packages that only a server with a provider has
    from voxpop.accounts.oidc import Provider

_BEGUN = "voxpop_begun"
_BEGUN_S = 600
_CALLBACK = "/api/session/oidc/callback"


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """Sign-in by a provider, under the title that its button has, and who may come in by it."""

    provider: "Provider"
    title: str
    admitted: Admitted


@dataclass(frozen=True, slots=True)
class SessionFaces:
    """The handlers; without `sign_in` there is nobody who could, and the page is for whoever reaches it."""

    gate: Gate
    sign_in: SignIn | None = None
    elsewhere: Elsewhere | None = None

    def routes(self) -> list[Route]:
        """Where they are served."""
        return [
            Route("/api/session", self.one, methods=["GET", "POST", "DELETE"]),
            Route("/api/session/all", self.end_all, methods=["DELETE"]),
            Route("/api/session/password", self.password, methods=["POST"]),
            Route("/api/session/sign-up", self.sign_up, methods=["POST"]),
            Route("/api/session/oidc", self.begin, methods=["GET"]),
            Route(_CALLBACK, self.finish, methods=["GET"]),
        ]

    async def one(self, request: Request) -> Response:
        if request.method in SAFE:  # HEAD too, which is let in from anywhere
            return JSONResponse(self._told(await self._account(request)))
        check_same_origin(request.scope)
        if request.method == "DELETE":
            if self.sign_in:
                await self.sign_in.sessions.end(_sent(request).session)
            return self._without_cookie(request, JSONResponse(self._told(None)))
        name, password = _texts(await read_json(request), "name", "password")
        return await self._entered(request, await self._in().enter(name, password, _address(request)))

    async def sign_up(self, request: Request) -> Response:
        check_same_origin(request.scope)
        name, password, invitation = _texts(await read_json(request), "name", "password", invitation="")
        token = await self._in().join(name, password, _address(request), invitation)
        return await self._entered(request, token)

    async def password(self, request: Request) -> Response:
        check_same_origin(request.scope)
        old, new = _texts(await read_json(request), "password", "new")
        account, kept = await self._signed_in(request), _sent(request).session
        await self._in().change(account.id, old, new, _address(request), but=kept)
        return JSONResponse(self._told(account))

    async def end_all(self, request: Request) -> Response:
        check_same_origin(request.scope)
        account = await self._signed_in(request)
        await self._in().sessions.end_all(account.id)
        return self._without_cookie(request, JSONResponse(self._told(None)))

    # by a provider

    async def begin(self, request: Request) -> Response:
        elsewhere = self._elsewhere()
        began = await elsewhere.provider.begin(_back(request))
        response = RedirectResponse(began.url, 303)
        kept = orjson.dumps([began.state, began.nonce, began.verifier]).decode()
        # The provider's page leads back here, so this one cannot be Strict; it is worth nothing by itself.
        _set(request, response, _BEGUN, quote(kept), _BEGUN_S, "lax")
        return response

    async def finish(self, request: Request) -> Response:
        elsewhere, sign_in = self._elsewhere(), self._in()
        try:
            began = _began(request.cookies.get(session_cookie(request.scope, _BEGUN), ""))
            identity = await elsewhere.provider.finish(began, request.query_params, _back(request))
            now = sign_in.clock()
            id_ = await sign_in.database.run(lambda s: user_of(s, identity, elsewhere.admitted, now))
        except VoxpopError as error:  # a person looks at this: the page says it
            response = RedirectResponse(f"/?sign_in={quote(error.what)}", 303)
        else:
            response = RedirectResponse("/", 303)
            _set_session(request, response, await sign_in.sessions.open(id_), sign_in)
        _set(request, response, _BEGUN, "", 0, "lax")
        return response

    # what they share

    async def _entered(self, request: Request, token: str) -> Response:
        account = await self.gate.account(Credential(session=token))
        response = JSONResponse(self._told(account))
        _set_session(request, response, token, self._in())
        return response

    async def _account(self, request: Request) -> Account | None:
        try:
            return await self.gate.account(_sent(request))
        except Denied:
            return None

    async def _signed_in(self, request: Request) -> Account:
        account = await self.gate.account(Credential(session=_sent(request).session))
        if not account.id:
            raise _nobody()
        return account

    def _in(self) -> SignIn:
        if self.sign_in is None:
            raise _nobody()
        return self.sign_in

    def _elsewhere(self) -> Elsewhere:
        if self.elsewhere is None:
            what = "No provider of identities is configured here."
            raise UsageError(what, "See docs/signing-in.md.", code="not_found")
        return self.elsewhere

    def _told(self, account: Account | None) -> dict[str, Any]:
        """Who it is; `user` null with `open` false: somebody has to sign in."""
        user = None
        if account and account.id:
            user = {"id": account.id, "name": account.name, "rank": account.rank, "tier": account.tier}
        return {
            "object": "session",
            "open": bool(account) and user is None,
            "user": user,
            "sign_up": self.sign_in.sign_up if self.sign_in else "off",
            "provider": self.elsewhere.title if self.elsewhere else None,
        }

    def _without_cookie(self, request: Request, response: Response) -> Response:
        _set(request, response, None, "", 0, "strict")
        return response


def _nobody() -> Denied:
    cure = "Make an account on the server first: voxpop users add NAME --admin"
    return Denied("Nobody can sign in here: there are no accounts.", cure, code="forbidden")


def _sent(request: Request) -> Credential:
    return credential(request.scope)


def _address(request: Request) -> str:
    return request.client.host if request.client else ""


def _back(request: Request) -> str:
    """Our own address for the provider; the guard has checked the Host."""
    return f"{request.url.scheme}://{request.headers['host']}{_CALLBACK}"


def _began(cookie: str) -> Began:
    try:
        state, nonce, verifier = orjson.loads(unquote(cookie))
        return Began("", str(state), str(nonce), str(verifier))
    except ValueError as error:
        what = "The sign-in failed: it was not begun in this browser, or too long ago."
        raise Denied(what, "Begin again.", code="bad_sign_in") from error


def _set_session(request: Request, response: Response, token: str, sign_in: SignIn) -> None:
    _set(request, response, None, token, int(sign_in.sessions.lasts_s), "strict")


def _set(request: Request, response: Response, name: str | None, value: str, age_s: int, site: Any) -> None:
    """Set a cookie of ours, by default the session's; `age_s` 0 removes it."""
    name = session_cookie(request.scope, name) if name else session_cookie(request.scope)
    secure = request.scope["scheme"] == "https"
    response.set_cookie(name, value, max_age=age_s, path="/", secure=secure, httponly=True, samesite=site)


def _texts(body: Any, *names: str, **optional: str) -> list[str]:
    """These fields of a body, each text. Raises FieldError for one that is not, and for any other field."""
    if not isinstance(body, dict):
        raise UsageError("The body is not a JSON object.", f"Send: {', '.join(names)}.")
    for name in body:
        if name not in names and name not in optional:
            refuse(name[:60], f"No field {told(name)}.", f"Send only: {', '.join([*names, *optional])}.")
    found = [body.get(name, optional.get(name)) for name in [*names, *optional]]
    for name, value in zip([*names, *optional], found, strict=True):
        if not isinstance(value, str) or len(value) > 1000:
            refuse(name, f"'{name}' cannot be that.", "Give a text.")
    return [str(value) for value in found]
