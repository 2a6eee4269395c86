"""Ask one Mastodon server over REST, within its limits; it sends its token to no other and writes it nowhere.

300 requests in five minutes is what Mastodon allows an address (docs.joinmastodon.org/api/rate-limits); what a
server says of its own limit, or with 429, goes before that. Every answer is bounded in size and time.
"""

import asyncio
import re
import time
from collections import deque
from collections.abc import Callable, Mapping
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import Any, NamedTuple
from urllib.parse import quote, urlsplit
from weakref import WeakValueDictionary

import httpx
import orjson

from voxpop.errors import UsageError
from voxpop.sources.timestamps import timestamp
from voxpop.times import MICROS

MAX_ANSWER = 16 << 20
PAGE = 40
TOKENS = "VOXPOP_MASTODON_TOKENS"
_WINDOW_S, _LIMIT, _LONGEST_BLOCK_S = 300.0, 300, 3600.0
_HOST = re.compile(r"(?:[a-z0-9-]+\.)*[a-z0-9-]+(?::\d{1,5})?|\[[0-9a-f:]+\](?::\d{1,5})?").fullmatch
_STREAMS = ("public", "public:remote", "public:local", "hashtag", "list")


class Unanswered(Exception):
    """A server gave no answer of use. `status` is its HTTP status, 0 where there was none."""

    def __init__(self, why: str, status: int = 0) -> None:
        super().__init__(why)
        self.status = status

    @property
    def lasting(self) -> bool:
        """Whether asking the same again is of no use."""
        return self.status in (400, 401, 403, 404, 405, 410, 422)


class Channel(NamedTuple):
    """What is listened to: one of Mastodon's streams, and the tag or the list's number where it has one."""

    stream: str = "public"
    of: str = ""

    @property
    def suffix(self) -> str:
        """What a source's name says of it: nothing for `public`."""
        return "" if self.stream == "public" else f"/{self.stream}{'/' if self.of else ''}{self.of}"

    def query(self) -> dict[str, str]:
        """The parameters of the WebSocket's address."""
        return {"stream": self.stream} | self._of()

    def events(self) -> tuple[str, dict[str, str]]:
        """Path and parameters of the server-sent events."""
        return f"/api/v1/streaming/{self.stream.replace(':', '/')}", self._of()

    def timeline(self) -> tuple[str, dict[str, str]]:
        """Path and parameters of the REST timeline that holds the same posts."""
        if self.of:
            kind = "tag" if self.stream == "hashtag" else "list"
            return f"/api/v1/timelines/{kind}/{quote(self.of, safe='')}", {}
        side = self.stream.partition(":")[2]
        return "/api/v1/timelines/public", {side: "true"} if side else {}

    def _of(self) -> dict[str, str]:
        return {"hashtag": {"tag": self.of}, "list": {"list": self.of}}.get(self.stream, {})


def channel(options: Mapping[str, str]) -> Channel:
    """The channel that a spec's options name; UsageError where they name none."""
    stream, tag, list_ = options.get("stream", ""), options.get("tag", "").lstrip("#"), options.get("list", "")
    stream = stream or ("hashtag" if tag else "list" if list_ else "public")
    if stream not in _STREAMS:
        raise UsageError(f"Mastodon has no stream {stream!r}.", f"Known: {', '.join(_STREAMS)}.")
    for name, value, wanted in (("tag", tag, "hashtag"), ("list", list_, "list")):
        if (stream == wanted) != bool(value):
            raise UsageError(
                f"Stream {stream!r} and {name}={value!r} do not go together.",
                f"Write stream={wanted}&{name}=…, or leave both out.",
            )
    of = tag or list_
    if of and not re.fullmatch(r"\w{1,128}", of):
        raise UsageError(f"{of!r} is no tag and no list's number.", "Write tag=voices or list=12.")
    return Channel(stream, of)


def address(target: str) -> tuple[str, str]:
    """The base address (https, unless the target says otherwise) and the host of a spec's target."""
    parts = urlsplit(target if "://" in target else f"https://{target}")
    host = parts.netloc.lower()
    secure = {"https": True, "wss": True, "http": False, "ws": False}.get(parts.scheme)
    if secure is None or not _HOST(host) or parts.path.strip("/") or parts.query or parts.fragment:
        raise UsageError(f"Mastodon server {target!r} is no host.", "Write it as mastodon:mastodon.social.")
    return f"{'https' if secure else 'http'}://{host}", host


def token_of(tokens: str, host: str) -> str:
    """The access token of a host in `HOST=TOKEN,HOST=TOKEN`; empty where there is none.

    Raises UsageError for a text of another shape, without repeating it.
    """
    for entry in filter(None, (part.strip() for part in tokens.split(","))):
        name, equals, token = entry.partition("=")
        if not equals or not re.fullmatch(r"[!-~]+", token):
            raise UsageError(f"{TOKENS} cannot be read.", "Write it as mastodon.social=TOKEN,other.example=TOKEN.")
        if name.strip().lower() == host:
            return token
    return ""


class Budget:
    """How many requests a server still takes from this address; shared by all sources of one server."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._spent: deque[float] = deque(maxlen=_LIMIT)
        self._closed_until = 0.0

    def wait_s(self) -> float:
        """Seconds until the next request may be made."""
        now = self._clock()
        full = self._spent[0] + _WINDOW_S if len(self._spent) == _LIMIT else 0.0
        return max(full - now, self._closed_until - now, 0.0)

    def spend(self) -> None:
        """One request is being made."""
        self._spent.append(self._clock())

    def told(self, headers: Mapping[str, str], status: int) -> None:
        """What the server says of its limits: `X-RateLimit-*`, and `Retry-After` with 429."""
        wait = 0.0
        if status == httpx.codes.TOO_MANY_REQUESTS:
            wait = _delay(headers.get("retry-after", ""), headers) or _until_reset(headers) or _WINDOW_S
        elif headers.get("x-ratelimit-remaining") == "0":
            wait = _until_reset(headers)
        self._closed_until = max(self._closed_until, self._clock() + min(wait, _LONGEST_BLOCK_S))


_budgets: WeakValueDictionary[str, Budget] = WeakValueDictionary()


def budget_of(base: str) -> Budget:
    """The one budget of a server: its limit counts an address, not a source."""
    return _budgets.setdefault(base, Budget())


class About(NamedTuple):
    """What a server says of itself: its domain in handles, and where it streams from (https or http)."""

    domain: str
    streaming: str


class Server:
    """One server, asked over REST. Use it as an async context; `waiting` hears of waits for the limit (seconds)."""

    def __init__(
        self,
        target: str,
        token: str = "",
        *,
        timeout_s: float = 10.0,
        waiting: Callable[[float], None] | None = None,
    ) -> None:
        self.base, self.host = address(target)
        self.token, self.timeout_s, self._waiting = token, timeout_s, waiting
        self._budget = budget_of(self.base)
        headers = {"User-Agent": "voxpop", **({"Authorization": f"Bearer {token}"} if token else {})}
        self.client = httpx.AsyncClient(headers=headers, timeout=timeout_s, follow_redirects=False)

    async def __aenter__(self) -> "Server":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.client.aclose()

    async def about(self) -> About:
        """Its domain and its streaming address; its own host for both where it does not say (before 4.0)."""
        try:
            said = await self.get("/api/v2/instance", {})
        except Unanswered as error:
            if not error.lasting:
                raise
            said = None
        get = said.get if type(said) is dict else {}.get
        configuration = get("configuration")
        urls = configuration.get("urls") if type(configuration) is dict else None
        return About(self._domain(get("domain")), self._streaming(urls.get("streaming") if urls else None))

    async def timeline(self, channel: Channel, **bounds: str) -> list[Any]:
        """One page of the channel's timeline, newest first; bounds are Mastodon's `min_id`, `max_id`, `limit`."""
        path, params = channel.timeline()
        page = await self.get(path, params | {"limit": str(PAGE)} | bounds)
        if type(page) is not list:
            raise Unanswered("its timeline is no list")
        return page

    async def get(self, path: str, params: Mapping[str, str]) -> Any:
        """The JSON at a path, in its turn. Raises Unanswered."""
        await self._turn()
        try:
            async with (
                asyncio.timeout(3 * self.timeout_s),
                self.client.stream("GET", self.base + path, params=params) as response,
            ):
                self._budget.told(response.headers, response.status_code)
                body = await bounded(response, MAX_ANSWER)
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as error:
            raise Unanswered(said_by(error)) from error
        if response.status_code != httpx.codes.OK:
            raise Unanswered(http_reason(response.status_code, body), response.status_code)
        try:
            return orjson.loads(body)
        except orjson.JSONDecodeError as error:
            raise Unanswered("its answer is not JSON") from error

    async def _turn(self) -> None:
        waited = False
        while (wait := self._budget.wait_s()) > 0:
            waited = True
            if self._waiting:
                self._waiting(wait)
            await asyncio.sleep(wait)
        if waited and self._waiting:
            self._waiting(0.0)
        self._budget.spend()

    def _domain(self, value: object) -> str:
        return value.lower() if type(value) is str and _HOST(value.lower()) else self.host

    def _streaming(self, value: object) -> str:
        """Its streaming address; never a plain one for a server that is asked over TLS: the token goes there."""
        try:
            parts = urlsplit(value) if type(value) is str and len(value) < 300 else None
        except ValueError:  # such as a bracket that nothing closes
            parts = None
        if parts is None or not _HOST(parts.netloc.lower()):
            return self.base
        secure = parts.scheme in ("wss", "https") or self.base.startswith("https:")
        return f"{'https' if secure else 'http'}://{parts.netloc.lower()}"


async def bounded(response: httpx.Response, limit: int) -> bytes:
    """The body of a response. Raises Unanswered where it is longer than that."""
    body = bytearray()
    async for chunk in response.aiter_bytes():
        body += chunk
        if len(body) > limit:
            raise Unanswered(f"its answer is over {limit >> 20} MiB")
    return bytes(body)


def http_reason(status: int, body: bytes | str = b"") -> str:
    """An HTTP status and what the server says about it."""
    try:
        said = orjson.loads(body).get("error", "")
    except (orjson.JSONDecodeError, AttributeError):
        said = ""
    words = " ".join(str(said).split())[:120]
    return f"HTTP {status}{': ' if words else ''}{words}"


def said_by(error: BaseException) -> str:
    """A fault of the network in a few words."""
    return " ".join(str(error).split())[:120] or type(error).__name__


def _until_reset(headers: Mapping[str, str]) -> float:
    try:
        return max(timestamp(headers.get("x-ratelimit-reset", "")) / MICROS - _now(headers), 0.0)
    except (ValueError, OverflowError):
        return _WINDOW_S


def _delay(text: str, headers: Mapping[str, str]) -> float:
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        return max(parsedate_to_datetime(text).timestamp() - _now(headers), 0.0)
    except (ValueError, TypeError, OverflowError):
        return 0.0


def _now(headers: Mapping[str, str]) -> float:
    """The server's clock, by which it names its times; ours where it does not tell."""
    try:
        return parsedate_to_datetime(headers.get("date", "")).timestamp()
    except (ValueError, TypeError, OverflowError):
        return time.time()
