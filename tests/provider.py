"""A provider of identities on loopback, by OpenID Connect: it signs in whoever comes, and lies when told to."""

import base64
import hashlib
import secrets
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cache
from itertools import cycle
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import uvicorn
from joserfc import jwt
from joserfc.jwk import ECKey, KeySet, RSAKey
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from voxpop.api.serving import listen

CLIENT, SECRET = "voxpop", "provider-secret"
Keys = dict[str, Any]


@cache
def _turns() -> Iterator[dict[str, Any]]:
    """RSA keys in turn: a few suffice for all tests, and each takes a processor as long as some tests do."""
    return cycle([RSAKey.generate_key(2048).as_dict(private=True) for _ in range(4)])


def fresh_keys() -> Keys:
    """Other ones than before, under names that no key had."""
    return {
        "RS256": RSAKey.import_key({**next(_turns()), "kid": f"rsa-{secrets.token_hex(4)}"}),
        "ES256": ECKey.generate_key("P-256", parameters={"kid": f"ec-{secrets.token_hex(4)}"}),
    }


@dataclass
class Provider:
    """`claims` are those of who signs in; `forge` may change an ID token's claims, `sign` how it is signed."""

    claims: dict[str, Any] = field(default_factory=dict)
    alg: str = "RS256"
    keys: Keys = field(default_factory=fresh_keys)
    forge: Callable[[dict[str, Any]], None] = lambda _: None
    sign: Callable[["Provider", dict[str, Any]], str] | None = None
    issuer: str = ""
    asked: list[str] = field(default_factory=list)
    codes: dict[str, dict[str, str]] = field(default_factory=dict)

    def about(self) -> dict[str, Any]:
        return {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "jwks_uri": f"{self.issuer}/jwks",
            "id_token_signing_alg_values_supported": ["RS256", "ES256", "HS256", "none"],
        }

    async def _about(self, request: Request) -> Response:
        self.asked.append("about")
        return JSONResponse(self.about())

    async def _authorize(self, request: Request) -> Response:
        given = dict(request.query_params)
        assert (given["client_id"], given["response_type"]) == (CLIENT, "code")
        assert given["code_challenge_method"] == "S256"
        assert "openid" in given["scope"].split()
        code = secrets.token_urlsafe(16)
        self.codes[code] = given
        back = urlencode({"code": code, "state": given["state"], "iss": self.issuer})
        return RedirectResponse(f"{given['redirect_uri']}?{back}", 302)

    async def _token(self, request: Request) -> Response:
        form = {k: v[0] for k, v in parse_qs((await request.body()).decode()).items()}
        login = base64.b64decode(request.headers.get("authorization", "Basic ").split()[-1]).decode()
        begun = self.codes.pop(form.get("code", ""), None)
        proof = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        challenge = base64.urlsafe_b64encode(proof).decode().rstrip("=")
        right = begun and challenge == begun["code_challenge"] and form["redirect_uri"] == begun["redirect_uri"]
        if not right or begun is None or login != f"{CLIENT}:{SECRET}":
            return JSONResponse({"error": "invalid_grant"}, 400)
        access = secrets.token_urlsafe(16)
        return JSONResponse(
            {"access_token": access, "token_type": "Bearer", "id_token": self.id_token(begun["nonce"])}
        )

    def id_token(self, nonce: str) -> str:
        now = int(time.time())
        claims = {"iss": self.issuer, "aud": CLIENT, "iat": now, "exp": now + 300, "nonce": nonce, **self.claims}
        self.forge(claims)
        if self.sign:
            return self.sign(self, claims)
        key = self.keys[self.alg]
        return jwt.encode({"alg": self.alg, "kid": key.kid}, claims, key)

    async def _jwks(self, request: Request) -> Response:
        self.asked.append("jwks")
        return JSONResponse(KeySet(list(self.keys.values())).as_dict(private=False))

    @asynccontextmanager
    async def open(self) -> AsyncIterator["Provider"]:
        app = Starlette(
            routes=[
                Route("/.well-known/openid-configuration", self._about),
                Route("/authorize", self._authorize),
                Route("/token", self._token, methods=["POST"]),
                Route("/jwks", self._jwks),
            ]
        )
        import asyncio

        door = listen("127.0.0.1", 0)
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, log_level="warning"))
        self.issuer = f"http://127.0.0.1:{door.getsockname()[1]}"
        task = asyncio.create_task(server.serve(sockets=[door]))
        try:
            yield self
        finally:
            server.should_exit = True
            await task
            door.close()


def path_of(url: str) -> str:
    """What of an address is asked of its server."""
    parts = urlsplit(url)
    return f"{parts.path}?{parts.query}"
