"""Tell flips to webhooks as Standard Webhooks has it: signed, tried again for a day; never to a private address.

https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md. A receiver may hear of a
flip more than once, always under the same `webhook-id`.
"""

import asyncio
import base64
import hashlib
import hmac
import ipaddress
import logging
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from urllib.parse import urlsplit

import httpx

from voxpop.errors import UsageError, VoxpopError
from voxpop.times import MICROS
from voxpop.watches import Told, Watch, Watches

_log = logging.getLogger(__name__)
LONGEST_URL = 2000
WAITS_S = (5, 30, 120, 600, 1800, 3600, 7200, 14400, 28800, 28800)  # 24 hours in all
_PATIENCE_S = 10.0
_AT_ONCE = 8
_LOOK_S = 5.0
_GONE = 410
Body = Callable[[Watch, Told], Awaitable[bytes]]


def signature(secret: str, id_: str, timestamp: int, body: bytes) -> str:
    """The `webhook-signature` of a body: `v1,` and the base64 of the HMAC-SHA256 of `id.timestamp.body`."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signed = f"{id_}.{timestamp}.".encode() + body
    return f"v1,{base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()}"


def checked(url: str, *, private: bool) -> str:
    """An address that may be posted to, as far as its text tells. Raises UsageError for another."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        host, port, parts = "", None, urlsplit("")
    fit = parts.scheme in ("http", "https") and host and len(url) <= LONGEST_URL and port != 0
    if not fit or "@" in parts.netloc or not url.isprintable() or " " in url:
        cure = "Give one such as https://example.org/hook, without a name or password in it."
        raise UsageError(f"The webhook cannot be '{url[:80]}'.", cure, code="bad_webhook")
    with suppress(ValueError):
        _refuse_private(ipaddress.ip_address(host), private)
    return url


def _refuse_private(address: ipaddress.IPv4Address | ipaddress.IPv6Address, private: bool) -> None:
    inner = getattr(address, "ipv4_mapped", None) or getattr(address, "sixtofour", None) or address
    if private or (inner.is_global and not inner.is_multicast and address.is_global):
        return
    cure = "Give a public one, or set watching.webhooks_private where only you can add watches."
    raise UsageError(f"The webhook's address {address} is a private one.", cure, code="bad_webhook")


async def resolved(host: str, port: int, *, private: bool) -> str:
    """The address to connect to, looked up once. Raises UsageError where it, or another of the name, is private."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = [ipaddress.ip_address(row[4][0]) for row in found]
    for address in addresses:
        _refuse_private(address, private)
    return str(addresses[0])


class Courier:
    """Tells the webhooks of `watches` what flipped, each watch's flips in their order.

    `body` writes what is told. An answer of 2xx ends it; redirects are not followed, what is answered is not read.
    `clock` gives microseconds of UTC. `private` lets private addresses be posted to.
    """

    def __init__(self, watches: Watches, body: Body, *, clock: Callable[[], int], private: bool = False) -> None:
        self._watches, self._body, self._clock, self._private = watches, body, clock, private
        self._busy: dict[str, asyncio.Task[None]] = {}

    async def run(self) -> None:
        """Tell, and try again, until cancelled; what fails stops nothing else."""
        async with httpx.AsyncClient(timeout=_PATIENCE_S, trust_env=False, follow_redirects=False) as client:
            try:
                while True:
                    news = self._watches.next_change()
                    wait = _LOOK_S
                    try:
                        wait = await self._round(client)
                    except VoxpopError as error:
                        _log.error("%s", error)
                    with suppress(TimeoutError):
                        await asyncio.wait_for(self._wake(news), wait)
            finally:
                for task in self._busy.values():
                    task.cancel()
                await asyncio.gather(*self._busy.values(), return_exceptions=True)

    async def _wake(self, news: asyncio.Event) -> None:
        waiting = [asyncio.ensure_future(news.wait()), *self._busy.values()]
        try:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting[0].cancel()

    async def _round(self, client: httpx.AsyncClient) -> float:
        self._busy = {id_: task for id_, task in self._busy.items() if not task.done()}
        for watch, told in await self._watches.due(self._clock(), self._busy):
            if len(self._busy) < _AT_ONCE:
                self._busy[watch.id] = asyncio.create_task(self._tell(client, watch, told))
        due = await self._watches.next_due()
        return _LOOK_S if due is None else min(_LOOK_S, max(0.05, (due - self._clock()) / MICROS))

    async def _tell(self, client: httpx.AsyncClient, watch: Watch, told: Told) -> None:
        """One try, and what is to become of the flip."""
        try:
            status = await self._post(client, watch, told)
            why = f"answered {status}"
        except UsageError as error:
            status, why = _GONE, str(error)
        except (httpx.HTTPError, httpx.InvalidURL, OSError, TimeoutError, ValueError) as error:
            status, why = 0, type(error).__name__
        done = 200 <= status < 300
        over = done or status == _GONE or told.tries >= len(WAITS_S)
        due = None if over else self._clock() + WAITS_S[told.tries] * MICROS
        if not done:
            left = "given up" if over else f"tried again in {WAITS_S[told.tries]} s"
            _log.warning("a webhook was not told: %s; %s", why, left, extra={"watch": watch.id})
        with suppress(VoxpopError):  # the disk is full: it is told again, under the same id
            await self._watches.tried(told, due)

    async def _post(self, client: httpx.AsyncClient, watch: Watch, told: Told) -> int:
        url = httpx.URL(checked(watch.url, private=self._private))
        body, now = await self._body(watch, told), self._clock() // MICROS
        headers = {
            "host": url.netloc.decode("ascii"),
            "content-type": "application/json",
            "user-agent": "voxpop",
            "webhook-id": told.id,
            "webhook-timestamp": str(now),
            "webhook-signature": signature(watch.secret, told.id, now, body),
        }
        async with asyncio.timeout(_PATIENCE_S):
            port = url.port or (443 if url.scheme == "https" else 80)
            address = await resolved(url.host, port, private=self._private)
            # Connected to the very address that was checked: a name could lead elsewhere when asked again.
            there = url.copy_with(host=address)
            request = client.build_request(
                "POST", there, content=body, headers=headers, extensions={"sni_hostname": url.host}
            )
            response = await client.send(request, stream=True)
            await response.aclose()
            return response.status_code
