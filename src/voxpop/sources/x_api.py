"""Speak HTTP to X's API v2 with a bearer token; it retries nothing, and what X refuses is a `Refused` in X's words.

Everything is bounded: the time of each answer, its bytes, the length of a line of the stream. The token is in one
header and in no message.
"""

import time
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import httpx
import orjson

from voxpop.errors import UsageError, VoxpopError
from voxpop.sources.x_wire import Problem, problem

TOKEN = "VOXPOP_X_TOKEN"  # noqa: S105  the name of the variable
MAX_ANSWER = 16 << 20
MAX_LINE = 1 << 20
MAX_WORDS = 1 << 16
Params = Mapping[str, str]


class Refused(Exception):
    """X did not do what was asked.

    `kind` is `network` (no answer, or half of one), `busy` (5xx), `limited` (429), `capped` (the account's own cap
    or credit is used up), `denied` (401), `forbidden` (403) or `invalid`. `wait_s` is how long X asks to
    wait, where it says so. `sent` says whether X may have done, and charged for, what was asked.
    """

    def __init__(self, kind: str, said: str, *, wait_s: float | None = None, sent: bool = False) -> None:
        super().__init__(said)
        self.kind, self.wait_s, self.sent = kind, wait_s, sent


class Timeouts(NamedTuple):
    """How long to wait for what, in seconds. X gives a sign of life every 20 seconds."""

    connect_s: float = 10.0
    answer_s: float = 30.0
    idle_s: float = 21.0


class Api:
    """One connection pool to one host; close it with `aclose`."""

    def __init__(
        self,
        host: str,
        token: str,
        *,
        timeouts: Timeouts = Timeouts(),  # noqa: B008  a NamedTuple cannot change
        clock: Callable[[], float] = time.time,
    ) -> None:
        if not token:
            raise VoxpopError(
                f"The source 'x' needs a bearer token of X's API, and {TOKEN} is not set.",
                f"Make one at console.x.com and set it: export {TOKEN}=… (docs/x.md).",
            )
        if not (token.isascii() and token.isprintable() and " " not in token):
            raise VoxpopError(f"{TOKEN} is no bearer token.", "Copy it again, without quotes or spaces.")
        if not host.startswith(("https://", "http://127.0.0.1", "http://localhost", "http://[::1]")):
            raise UsageError(f"The setting 'x.host' cannot be {host!r}.", "A token travels by https:// only.")
        self._timeouts, self._clock = timeouts, clock
        self._client = httpx.AsyncClient(
            base_url=host,
            # Nothing packed: an answer is then as long as its bytes.
            headers={"Authorization": f"Bearer {token}", "Accept-Encoding": "identity", "User-Agent": "voxpop"},
            timeout=httpx.Timeout(timeouts.answer_s, connect=timeouts.connect_s),
            follow_redirects=False,
        )

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def get(self, path: str, params: Params) -> bytes:
        """The body of a 200. Raises Refused."""
        return (await self._ask("GET", path, params))[1]

    async def post(self, path: str, params: Params, body: Any) -> tuple[int, bytes]:
        """Status and body of an answer that X may have refused in part (200, 201, 400). Raises Refused."""
        return await self._ask("POST", path, params, orjson.dumps(body))

    @asynccontextmanager
    async def stream(self, path: str, params: Params) -> AsyncGenerator[AsyncGenerator[bytes | None, None], None]:
        """Lines without their ends; empty for a sign of life, None for one that was too long. Raises Refused."""
        timeouts = self._timeouts
        limits = httpx.Timeout(timeouts.answer_s, connect=timeouts.connect_s, read=timeouts.idle_s)
        try:
            async with self._client.stream("GET", path, params=dict(params), timeout=limits) as response:
                if response.status_code != 200:
                    raise self._refusal(response, await _bounded(response, MAX_WORDS))
                yield _lines(response)
        except httpx.HTTPError as error:
            raise _unreached(error) from error

    async def _ask(self, method: str, path: str, params: Params, content: bytes | None = None) -> tuple[int, bytes]:
        headers = {"Content-Type": "application/json"} if content is not None else None
        try:
            async with self._client.stream(
                method, path, params=dict(params), content=content, headers=headers
            ) as response:
                body = await _bounded(response, MAX_ANSWER)
        except httpx.HTTPError as error:
            raise _unreached(error) from error
        fine = response.status_code in ((200,) if method == "GET" else (200, 201, 400))
        if not fine:
            raise self._refusal(response, body)
        return response.status_code, body

    def _refusal(self, response: httpx.Response, body: bytes) -> Refused:
        status, found = response.status_code, _words(body)
        said = f"{status}: {found}" if str(found) else f"status {status}"
        if status == 402 or found.kind in ("usage-capped", "credits-depleted"):
            return Refused("capped", said)
        if status in (420, 429):
            return Refused("limited", said, wait_s=self._until_reset(response))
        if status in (401, 403):
            return Refused("denied" if status == 401 else "forbidden", said)
        return Refused("busy" if status >= 500 else "invalid", said)

    def _until_reset(self, response: httpx.Response) -> float | None:
        """Seconds until the window opens; None where X gives no time, or says that there is room left in it."""
        reset, left = (response.headers.get(f"x-rate-limit-{name}", "") for name in ("reset", "remaining"))
        if not (reset.isascii() and reset.isdigit() and len(reset) <= 12) or left not in ("", "0"):
            return None
        return min(max(int(reset) - self._clock(), 0.0) + 1.0, 24 * 3600.0)


async def _bounded(response: httpx.Response, most: int) -> bytes:
    body = bytearray()
    async for chunk in response.aiter_raw():
        body += chunk
        if len(body) > most:
            raise Refused("busy", f"an answer of over {most} bytes", sent=True)
    return bytes(body)


async def _lines(response: httpx.Response) -> AsyncGenerator[bytes | None, None]:
    rest, skipping = bytearray(), False
    async for chunk in response.aiter_raw():
        *lines, tail = chunk.split(b"\n")
        for line in lines:
            rest += line
            if not skipping:
                yield bytes(rest).rstrip(b"\r")
            rest.clear()
            skipping = False
        rest += tail
        if len(rest) > MAX_LINE:
            rest.clear()
            if not skipping:
                skipping = True
                yield None


def _words(body: bytes) -> Problem:
    try:
        said = orjson.loads(body)
    except orjson.JSONDecodeError:
        said = {}
    if type(said) is not dict:
        said = {}
    errors = said.get("errors")
    first = errors[0] if type(errors) is list and errors and type(errors[0]) is dict else {}
    whole, part = problem(said), problem(first)
    return Problem(whole.kind or part.kind, whole.title or part.title, part.detail or whole.detail, part.value)


def _unreached(error: httpx.HTTPError) -> Refused:
    never = isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout)
    words = " ".join(str(error).split())[:120]
    return Refused("network", words or type(error).__name__, sent=not never)
