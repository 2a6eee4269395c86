"""Read a JSON body; it refuses another type, more than a mebibyte, and a client that takes too long to send it."""

import asyncio
from typing import Any

import orjson
from starlette.requests import Request

from voxpop.errors import UsageError

MAX_BODY = 1 << 20
_PATIENCE_S = 20.0


async def read_json(request: Request) -> Any:
    """What the body says. Asking for JSON by its type keeps forms of strange web pages out."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        what = f"The body's type is '{kind[:60]}'." if kind else "The body has no content type."
        raise UsageError(what, "Send it as application/json.", code="unsupported_media_type")
    try:
        async with asyncio.timeout(_PATIENCE_S):
            body = await _bounded(request)
    except TimeoutError as error:
        what = f"The body did not arrive within {_PATIENCE_S:g} s."
        raise UsageError(what, "Send it at once.", code="too_slow") from error
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise UsageError(f"The body is not JSON: {error}.", "Send a JSON object.", code="bad_json") from error


async def _bounded(request: Request) -> bytes:
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > MAX_BODY:
            what = f"The body is over {MAX_BODY} bytes."
            raise UsageError(what, "Send a shorter conversation.", code="too_large")
    return bytes(body)
