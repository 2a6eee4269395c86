"""The door of the HTTP face: it serves only loopback's own names, sends security headers, and shows no traceback.

A request under another Host, or sent by another site's page, is refused: no web page can rebind or post its way in.
"""

import ipaddress
import logging
from typing import Any
from urllib.parse import urlsplit

from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, Response

from voxpop.accounts import Limited
from voxpop.api import openai
from voxpop.api.streams import broken
from voxpop.errors import UsageError, VoxpopError

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
_STATUS = {
    "invalid_api_key": 401,
    "forbidden": 403,
    "model_not_found": 404,
    "not_found": 404,
    "answer_not_found": 404,
    "wrong_host": 403,
    "wrong_site": 403,
    "too_large": 413,
    "too_many_watches": 429,
    "too_slow": 408,
    "unsupported_media_type": 415,
    "internal_error": 500,
}


def refused(error: VoxpopError) -> Response:
    """An error as OpenAI's clients expect it, under the status that its code means."""
    status = _STATUS.get(error.code, 400 if isinstance(error, UsageError) else 503)
    headers = {"retry-after": "1"} if error.code == "too_busy" else None
    if isinstance(error, Limited):
        status, headers = 429, error.headers
    elif status == 401:
        headers = {"www-authenticate": "Bearer"}
    return JSONResponse(openai.error(error), status, headers)


class Guard:
    """ASGI middleware around everything."""

    def __init__(self, app: Any) -> None:
        self._app = app

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
            if stranger := _stranger(scope):
                await refused(stranger)(scope, receive, sent)
            else:
                await self._app(scope, receive, sent)
        except ClientDisconnect:
            _log.debug("A client went away before its answer.")
        except Exception:
            _log.exception("A request failed")
            if not begun:
                await refused(broken())(scope, receive, sent)


def _stranger(scope: Any) -> UsageError | None:
    headers = {k: v.decode("latin-1") for k, v in scope["headers"]}
    if not _is_loopback(headers.get(b"host", "")):
        what = f"This server is not known as '{headers.get(b'host', '')[:60]}'."
        return UsageError(what, "Use 127.0.0.1 or localhost as the Host.", code="wrong_host")
    # Where only the page comes of it, a link may lead here from anywhere.
    led = scope["path"] == "/" or (scope["path"].startswith("/answers/") and scope["method"] == "GET")
    if not led and headers.get(b"sec-fetch-site") in ("cross-site", "same-site"):
        return UsageError("Another site's page sent this.", "Ask from this server's own page.", code="wrong_site")
    return None


def _is_loopback(host: str) -> bool:
    try:
        name = urlsplit(f"//{host}").hostname or ""
        return name == "localhost" or ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
