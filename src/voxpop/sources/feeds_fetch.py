"""Fetch a feed over http(s), conditionally and bounded in time, size and redirects; it reads no body."""

import asyncio
import zlib
from datetime import UTC
from email.utils import formatdate, parsedate_to_datetime
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import NamedTuple
from urllib.parse import urljoin, urlsplit

import httpx

from voxpop.sources.feeds_pace import FeedSettings

_REDIRECTS = 5
_FOR_EVER = frozenset({301, 308})
_MOVED = _FOR_EVER | {302, 303, 307}
_STATUSES = frozenset(int(code) for code in httpx.codes)
_MAX_MARK, _MAX_URL = 512, 4096
ACCEPT = (
    "application/atom+xml, application/rss+xml, application/feed+json, application/rdf+xml;q=0.9, "
    "application/xml;q=0.8, text/xml;q=0.8, application/json;q=0.7, */*;q=0.1"
)


class Marks(NamedTuple):
    """What a server gave to tell whether a feed has changed: its ETag, and Last-Modified in Unix seconds."""

    etag: str = ""
    modified: int = 0


class Answer(NamedTuple):
    """What a server said. `trouble` is the reason why there is no feed, empty for a body or for "not changed".

    `moved` is where the feed lives from now on; `pause_s` is how long the answer stays fresh, or when to come back.
    """

    trouble: str = ""
    changed: bool = False
    gone: bool = False
    body: bytes = b""
    content_type: str = ""
    url: str = ""
    moved: str = ""
    marks: Marks = Marks()
    pause_s: float = 0.0


def client(settings: FeedSettings) -> httpx.AsyncClient:
    """A client for many hosts: no cookies, few idle connections, no redirects of its own."""
    lanes = settings.at_once + settings.suspects
    return httpx.AsyncClient(
        headers={"User-Agent": "voxpop (feed reader)", "Accept": ACCEPT, "Accept-Encoding": "gzip"},
        timeout=httpx.Timeout(settings.silent_s, connect=settings.connect_s, pool=None),
        limits=httpx.Limits(max_connections=lanes, max_keepalive_connections=lanes, keepalive_expiry=5.0),
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
        follow_redirects=False,
    )


async def fetch(over: httpx.AsyncClient, url: str, marks: Marks, settings: FeedSettings, now_s: float) -> Answer:
    """Ask for a feed. Whatever goes wrong on the way is the answer's `trouble`, in few different words."""
    try:
        async with asyncio.timeout(settings.whole_s):
            return await _followed(over, url, marks, settings, now_s)
    except (TimeoutError, httpx.TimeoutException):
        return Answer("timed out")
    except httpx.ConnectError:
        return Answer("no connection")
    except (httpx.HTTPError, httpx.StreamError, httpx.InvalidURL, OSError):
        return Answer("connection broke")
    except (ValueError, UnicodeError):
        return Answer("bad address")


async def _followed(
    over: httpx.AsyncClient, url: str, marks: Marks, settings: FeedSettings, now_s: float
) -> Answer:
    moved, at = "", url
    lasting = True
    headers = _conditions(marks)
    for _ in range(_REDIRECTS + 1):
        async with over.stream("GET", at, headers=headers) as response:
            if response.status_code not in _MOVED:
                return (await _answer(response, settings, now_s))._replace(url=at, moved=moved)
            target = urljoin(at, response.headers.get("location", ""))
            if trouble := _refused(at, target):
                return Answer(trouble)
            lasting = lasting and response.status_code in _FOR_EVER
            at, moved = target, target if lasting else moved
    return Answer("too many redirects")


def _refused(at: str, target: str) -> str:
    """An address that only looks like the web is not followed, nor one that gives up encryption."""
    parts = urlsplit(target)
    if parts.scheme not in ("http", "https") or not parts.hostname or len(target) > _MAX_URL:
        return "redirect to no web address"
    if urlsplit(at).scheme == "https" and parts.scheme == "http":
        return "redirect from https to http"
    return ""


async def _answer(response: httpx.Response, settings: FeedSettings, now_s: float) -> Answer:
    status = response.status_code
    if status == httpx.codes.NOT_MODIFIED:
        return Answer(pause_s=_fresh_s(response))
    if status != httpx.codes.OK:
        known = f"HTTP {status}" if status in _STATUSES else "HTTP, but no status"
        return Answer(known, gone=status == httpx.codes.GONE, pause_s=_retry_s(response, now_s))
    body = await _body(response, settings.max_bytes)
    if isinstance(body, str):
        return Answer(body)
    return Answer(
        changed=True,
        body=body,
        content_type=response.headers.get("content-type", "")[:_MAX_MARK],
        marks=_marks(response),
        pause_s=_fresh_s(response),
    )


async def _body(response: httpx.Response, most: int) -> bytes | str:
    """The body, unpacked here and not by httpx: a bomb of a few kilobytes must not grow beyond `most` first."""
    encoding = response.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("identity", "", "gzip", "x-gzip"):
        return "unknown content encoding"
    unpack = zlib.decompressobj(zlib.MAX_WBITS | 16) if "gzip" in encoding else None
    body = bytearray()
    try:
        async for piece in response.aiter_raw(65_536):
            body += unpack.decompress(piece, most + 1 - len(body)) if unpack else piece
            if len(body) > most:
                return "too large"
    except zlib.error:
        return "bad compression"
    if unpack and not unpack.eof:
        return "bad compression"
    return bytes(body)


def _conditions(marks: Marks) -> dict[str, str]:
    headers = {"If-None-Match": marks.etag} if marks.etag else {}
    return headers | ({"If-Modified-Since": formatdate(marks.modified, usegmt=True)} if marks.modified else {})


def _marks(response: httpx.Response) -> Marks:
    etag = response.headers.get("etag", "")
    printable = etag.isascii() and etag.isprintable() and len(etag) <= _MAX_MARK
    return Marks(etag if printable else "", max(int(_date_s(response.headers.get("last-modified", ""))), 0))


def _fresh_s(response: httpx.Response) -> float:
    for part in response.headers.get("cache-control", "")[:_MAX_MARK].lower().split(","):
        name, _, value = part.strip().partition("=")
        if name == "max-age":
            return _seconds(value.strip('" '))
    return 0.0


def _retry_s(response: httpx.Response, now_s: float) -> float:
    """RFC 9110, 10.2.3: whole seconds, or a date."""
    value = response.headers.get("retry-after", "").strip()
    if value.isascii() and value.isdigit():
        return _seconds(value)
    at_s = _date_s(value)
    return max(at_s - now_s, 0.0) if at_s else 0.0


def _seconds(value: str) -> float:
    return float(value[:9]) if value.isascii() and value.isdigit() else 0.0


def _date_s(value: str) -> float:
    try:
        moment = parsedate_to_datetime(value[:64])
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, TypeError, IndexError, OverflowError):
        return 0.0
