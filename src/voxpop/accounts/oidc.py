"""Sign-in by a provider of identities: the code flow with PKCE, state and nonce; what is not all right is refused.

https://openid.net/specs/openid-connect-core-1_0.html (3.1), openid-connect-discovery-1_0, RFC 7636, RFC 9207. Only
signatures by a private key are believed, never `none` and never one by the client's own secret.
"""

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from hmac import compare_digest
from typing import Any
from urllib.parse import quote, urlsplit

import httpx
import orjson
from authlib.common.errors import AuthlibBaseError
from authlib.oauth2.rfc6749.parameters import prepare_grant_uri
from authlib.oauth2.rfc7636 import create_s256_code_challenge
from authlib.oidc.core import CodeIDToken
from joserfc import jwt
from joserfc.errors import InvalidKeyIdError, JoseError
from joserfc.jwk import KeySet

from voxpop.accounts import Denied
from voxpop.accounts.linked import Began, Identity
from voxpop.accounts.people import Wish
from voxpop.errors import UsageError, VoxpopError

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512")
_PATIENCE_S = 10.0
_MOST_BYTES = 1 << 18
_FRESH_S = 3600.0
_AGAIN_S = 60.0  # for a key that is not known the keys are fetched anew, at most once a minute
_LEEWAY_S = 60
_FIELDS = ("tier", "team", "rank")


@dataclass(frozen=True, slots=True)
class Rule:
    """Who has a claim of this value (or in whose list it is) gets this tier, team or rank."""

    claim: str
    value: str
    field: str
    given: str


@dataclass(slots=True)
class Provider:
    """A provider; `client` and `secret` are what it calls us. `ticks` never goes back, `clock` is in µs of UTC."""

    issuer: str
    client: str
    secret: str = field(repr=False)
    clock: Callable[[], int]
    ticks: Callable[[], float]
    rules: Sequence[Rule] = ()
    _about: dict[str, Any] = field(default_factory=dict)
    _keys: Any = None
    _about_at: float = float("-inf")
    _keys_at: float = float("-inf")

    async def begin(self, back: str) -> Began:
        """Begin to sign in; `back` is the address of ours that the provider leads back to. Raises VoxpopError."""
        about = await self._metadata()
        began = Began("", *(secrets.token_urlsafe(32) for _ in range(3)))
        url = prepare_grant_uri(
            about["authorization_endpoint"],
            client_id=self.client,
            response_type="code",
            redirect_uri=back,
            scope="openid profile email",
            state=began.state,
            nonce=began.nonce,
            code_challenge=create_s256_code_challenge(began.verifier),
            code_challenge_method="S256",
        )
        return Began(url, began.state, began.nonce, began.verifier)

    async def finish(self, began: Began, brought: Mapping[str, str], back: str) -> Identity:
        """Who came back. Raises Denied where it is not wholly right, VoxpopError where the provider fails."""
        if not compare_digest(began.state.encode(), brought.get("state", "").encode("utf-8", "replace")):
            raise _denied("it was not begun in this browser, or too long ago")
        if "error" in brought:
            raise _denied(f"the provider says {brought['error'][:60]!r}")
        if brought.get("iss", self.issuer) != self.issuer:
            raise _denied("another provider answered")
        if not brought.get("code"):
            raise _denied("the provider gave no code")
        token = await self._token(brought["code"], began.verifier, back)
        return self._identity(await self._claims(token, began.nonce))

    async def _token(self, code: str, verifier: str, back: str) -> dict[str, Any]:
        about = await self._metadata()
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": back, "code_verifier": verifier}
        methods = about.get("token_endpoint_auth_methods_supported", ["client_secret_basic"])
        basic = bool(self.secret) and "client_secret_basic" in methods
        if not basic:
            form |= {"client_id": self.client} | ({"client_secret": self.secret} if self.secret else {})
        login = httpx.BasicAuth(quote(self.client, safe=""), quote(self.secret, safe="")) if basic else None
        return await self._asked("POST", about["token_endpoint"], data=form, auth=login)

    async def _claims(self, token: Mapping[str, Any], nonce: str) -> Mapping[str, Any]:
        """The claims of an ID token, verified as Core 3.1.3.7 has it. Raises Denied."""
        encoded = token.get("id_token")
        if not isinstance(encoded, str):
            raise _denied("the provider gave no ID token")
        try:
            try:
                decoded = jwt.decode(encoded, await self._key_set(), algorithms=ALGORITHMS)
            except InvalidKeyIdError:
                decoded = jwt.decode(encoded, await self._key_set(again=True), algorithms=ALGORITHMS)
            must = {
                "iss": {"essential": True, "value": self.issuer},
                "aud": {"essential": True, "value": self.client},
                "nonce": {"essential": True, "value": nonce},
            }
            params = {"nonce": nonce, "client_id": self.client, "access_token": token.get("access_token")}
            claims = CodeIDToken(decoded.claims, decoded.header, must, params)
            claims.validate(now=self.clock() // 1_000_000, leeway=_LEEWAY_S)
        except (JoseError, AuthlibBaseError, ValueError, TypeError, KeyError) as error:
            raise _denied(f"the ID token is not right ({type(error).__name__})") from error
        return dict(claims)

    def _identity(self, claims: Mapping[str, Any]) -> Identity:
        subject, email = claims.get("sub"), claims.get("email")
        if not isinstance(subject, str) or not 0 < len(subject) <= 255:
            raise _denied("the ID token names nobody")
        verified = claims.get("email_verified") in (True, "true") and isinstance(email, str)
        names = (claims.get(name) for name in ("preferred_username", "name", "nickname", "email"))
        name = next((n for n in names if isinstance(n, str) and n.strip()), "user").partition("@")[0]
        mail = str(email).strip().lower() if verified else ""
        return Identity(self.issuer, subject, name, mail, self._wish(claims))

    def _wish(self, claims: Mapping[str, Any]) -> Wish:
        """What the claims give. A field with rules of which none is met is as that of anybody."""
        given = {rule.field: "member" if rule.field == "rank" else "" for rule in self.rules}
        for rule in reversed(self.rules):  # the first rule that is met wins
            held = claims.get(rule.claim)
            if rule.value in (held if isinstance(held, list) else [held]):
                given[rule.field] = rule.given
        return Wish(**given)  # type: ignore[arg-type]

    # what the provider says of itself

    async def _metadata(self) -> dict[str, Any]:
        if self.ticks() - self._about_at < _FRESH_S:
            return self._about
        about = await self._asked("GET", f"{self.issuer.rstrip('/')}/.well-known/openid-configuration")
        if about.get("issuer") != self.issuer:
            what = f"The provider calls itself {str(about.get('issuer'))[:80]!r}, not {self.issuer!r}."
            raise VoxpopError(
                what, "Set accounts.oidc_issuer to what it says, letter by letter.", code="bad_issuer"
            )
        for name in ("authorization_endpoint", "token_endpoint", "jwks_uri"):
            _check_address(str(about.get(name, "")))
        self._about, self._about_at = about, self.ticks()
        return about

    async def _key_set(self, *, again: bool = False) -> Any:
        age = self.ticks() - self._keys_at
        if self._keys is None or age > _FRESH_S or (again and age > _AGAIN_S):
            about = await self._metadata()
            said = await self._asked("GET", about["jwks_uri"])
            keys = [k for k in said.get("keys", []) if isinstance(k, dict) and k.get("use", "sig") == "sig"]
            known = [k for k in keys if k.get("kty") in ("RSA", "EC")]
            self._keys, self._keys_at = KeySet.import_key_set({"keys": known}), self.ticks()
        return self._keys

    async def _asked(self, method: str, url: str, **more: Any) -> dict[str, Any]:
        """What an address of the provider says, an object of JSON. Raises VoxpopError, or Denied for a code."""
        _check_address(url)
        body = bytearray()
        try:
            async with (
                httpx.AsyncClient(timeout=_PATIENCE_S, follow_redirects=False) as client,
                client.stream(method, url, headers={"accept": "application/json"}, **more) as response,
            ):
                async for part in response.aiter_bytes():
                    body += part
                    if len(body) > _MOST_BYTES:
                        raise ValueError("too much")
            said = orjson.loads(body)
        except (httpx.HTTPError, ValueError) as error:
            raise _failed(self.issuer, type(error).__name__) from error
        if response.status_code == 400 and method == "POST":
            raise _denied("the provider refused the code")
        if response.status_code != 200 or not isinstance(said, dict):
            raise _failed(self.issuer, f"HTTP {response.status_code}")
        return said


def rules(lines: Sequence[str]) -> tuple[Rule, ...]:
    """Rules such as `groups=staff tier=premium team=News`, the first that is met first. Raises UsageError."""
    found = list[Rule]()
    for line in lines:
        (claim, _, value), *gifts = (part.partition("=") for part in line.split() or [""])
        if not claim or not value or not gifts or any(f not in _FIELDS or not given for f, _, given in gifts):
            cure = "Write such as: groups=staff tier=premium team=News rank=admin"
            raise UsageError(f"accounts.oidc_claims cannot have '{line[:80]}'.", cure)
        found += [Rule(claim, value, name, given) for name, _, given in gifts]
    return tuple(found)


def _check_address(url: str) -> None:
    """Codes and keys travel there: only by TLS, but for this machine itself. Raises VoxpopError."""
    parts = urlsplit(url)
    local = parts.hostname in ("127.0.0.1", "::1", "localhost")
    if not parts.hostname or not (parts.scheme == "https" or (parts.scheme == "http" and local)):
        what = f"The provider's address '{url[:80]}' is not https."
        raise VoxpopError(what, "Use one that is.", code="bad_issuer")


def _denied(why: str) -> Denied:
    return Denied(f"The sign-in failed: {why}.", "Begin again.", code="bad_sign_in")


def _failed(issuer: str, why: str) -> VoxpopError:
    what = f"The provider of identities {issuer} failed: {why}."
    return VoxpopError(what, "Try again later, or sign in with a password.", code="provider_failed")
