"""The guard of the HTTP face: it serves only names that it knows, sends security headers, and shows no traceback.

A request under another Host, or sent by another site's page, is refused: no web page can rebind or post its way in.
"""

import logging
import re
from typing import Any

from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, Response

from voxpop.accounts import Limited
from voxpop.api import messages_made, openai
from voxpop.api.door import SAFE, Door, is_ours
from voxpop.api.draining import Drain
from voxpop.api.streams import broken
from voxpop.errors import UsageError, VoxpopError
from voxpop.reach import outward

_log = logging.getLogger(__name__)
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; "
    "form-action 'self'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)
_HEADERS = {
    "content-security-policy": _POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-cache",
}
_LAST = ("draining", "two_lengths")  # a draining server's client is sent to another then
_LED = re.compile(r"/answers/|/api/session/oidc/callback$")
_STATUS = {
    "bad_sign_in": 401,
    "invalid_api_key": 401,
    "forbidden": 403,
    "model_not_found": 404,
    "not_found": 404,
    "answer_not_found": 404,
    "stream_not_found": 404,
    "file_not_found": 404,
    "batch_not_found": 404,
    "answer_too_slow": 504,
    "no_embeddings": 501,
    "wrong_host": 403,
    "wrong_site": 403,
    "repeat_of_another": 409,
    "repeat_under_way": 409,
    "taken": 409,
    "has_members": 409,
    "no_admin": 409,
    "revoked": 409,
    "too_many_keys": 409,
    "too_large": 413,
    "too_many_watches": 429,
    "too_slow": 408,
    "unsupported_media_type": 415,
    "deferred_lost": 410,
    "withdrawn": 410,
    "not_implemented": 501,
    "internal_error": 500,
}


def refused(error: VoxpopError, path: str = "") -> Response:
    """An error as the clients of that path expect it (OpenAI's, Anthropic's), under the status of its code."""
    error = outward(error)
    status = _STATUS.get(error.code, 400 if isinstance(error, UsageError) else 503)
    headers = {"retry-after": "1"} if error.code in ("too_busy", "draining", "repeat_under_way") else {}
    if error.code in _LAST:
        headers["connection"] = "close"
    if isinstance(error, Limited):
        status, headers = 429, error.headers
    elif status == 401:
        headers = {"www-authenticate": "Bearer"}
    anthropic = path.startswith("/v1/messages")
    said = messages_made.error(error, status) if anthropic else openai.error(error)
    return JSONResponse(said, status, headers)


class Guard:
    """ASGI middleware around everything."""

    def __init__(self, app: Any, door: Door, drain: Drain) -> None:
        self._app, self._door, self._drain = app, door, drain

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun = False

        async def sent(message: Any) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                given = {k.lower() for k, _ in message["headers"]}
                extra = [(k.encode(), v.encode()) for k, v in _HEADERS.items()]
                message["headers"] = [*message["headers"], *((k, v) for k, v in extra if k not in given)]
            await send(message)

        try:
            if stranger := self._stranger(scope):
                await refused(stranger, scope["path"])(scope, receive, sent)
            else:
                await self._app(scope, receive, sent)
        except ClientDisconnect:
            _log.debug("A client went away before its answer.")
        except Exception:
            id_ = scope.get("state", {}).get("request_id", "")
            _log.exception("A request failed (%s)", id_)
            if not begun:
                response = refused(broken(), scope["path"])
                response.headers["x-request-id"] = id_
                await response(scope, receive, sent)

    def _stranger(self, scope: Any) -> VoxpopError | None:
        headers = {k: v.decode("latin-1") for k, v in scope["headers"]}
        if b"content-length" in headers and b"transfer-encoding" in headers:
            # A proxy that goes by the other one would take the rest for a request of somebody else (RFC 9112, 6.1).
            return UsageError("The request tells its length twice.", "Send one of them.", code="two_lengths")
        host = headers.get(b"host", "")
        if not self._door.knows(host):
            what = f"This server is not known as '{host[:60]}'."
            cure = "Use 127.0.0.1 or localhost as the Host, or add the name to server.trusted_hosts."
            return UsageError(what, cure, code="wrong_host")
        # Where only the page comes of it, a link may lead here from anywhere.
        led = scope["path"] == "/" or (_LED.match(scope["path"]) and scope["method"] == "GET")
        site, origin = headers.get(b"sec-fetch-site", ""), headers.get(b"origin", "")
        foreign = site in ("cross-site", "same-site")
        if not site and origin and scope["method"] not in SAFE:
            foreign = not is_ours(origin, host)  # to a name without TLS browsers say no more than this
        if foreign and not led and origin not in self._door.origins:
            cure = "Ask from this server's own page, or add that site to server.cors_origins."
            return UsageError("Another site's page sent this.", cure, code="wrong_site")
        return self._drain.refused(scope["method"])
