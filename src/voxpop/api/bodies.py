"""Read a JSON body; it refuses another type, more than a mebibyte, and a client that takes too long to send it."""

import asyncio
from collections.abc import Awaitable
from typing import Any, TypeVar

import orjson
from starlette.requests import Request

from voxpop.errors import UsageError

T = TypeVar("T")
MAX_BODY = 1 << 20
PATIENCE_S = 20.0
_DEEPEST = 128


async def read_json(request: Request, most: int = MAX_BODY) -> Any:
    """What a body of at most so many bytes says. Asking for JSON by its type keeps out strange pages' forms."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        what = f"The body's type is '{kind[:60]}'." if kind else "The body has no content type."
        raise UsageError(what, "Send it as application/json.", code="unsupported_media_type")
    body = await in_time(_bounded(request, most), PATIENCE_S)
    try:
        said = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise UsageError(f"The body is not JSON: {error}.", "Send a JSON object.", code="bad_json") from error
    check_depth(said)
    return said


def check_depth(value: Any) -> None:
    """Raises UsageError for what nests deeper than can be written again: orjson reads 1,024 levels, writes 254."""
    level = [value]
    for _ in range(_DEEPEST):
        level = [
            inner
            for outer in level
            if isinstance(outer, dict | list)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
        if not level:
            return
    raise UsageError(f"The body nests over {_DEEPEST} levels.", "Send a flatter one.")


async def in_time(reading: Awaitable[T], most_s: float) -> T:
    """What is read of a body. Raises UsageError where it is not there in time."""
    try:
        async with asyncio.timeout(most_s):
            return await reading
    except TimeoutError as error:
        what = f"The body did not arrive within {most_s:g} s."
        raise UsageError(what, "Send it at once.", code="too_slow") from error


async def _bounded(request: Request, most: int) -> bytes:
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > most:
            what = f"The body is over {most} bytes."
            raise UsageError(what, "Send a shorter conversation.", code="too_large")
    return bytes(body)
