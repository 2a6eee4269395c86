"""By which names the server is known, whose pages may ask, which proxies are believed; by default only loopback's.

Each is off until an operator names it: another name is refused as `Host`, no page of another site may ask, and what
a proxy says of a client is believed of a named proxy alone.
"""

import ipaddress
import re
from dataclasses import dataclass
from typing import Any

from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from voxpop.errors import UsageError

SAFE = ("GET", "HEAD", "OPTIONS")  # they change nothing (RFC 9110, 9.2.1)
_COUNTRY = re.compile(rb"[A-Za-z]{2}")
_HOST = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9._-]+))(?::[0-9]{1,5})?")  # RFC 9112, 3.2; no user, no path
_NAME = re.compile(r"(\*\.)?[a-z0-9]([a-z0-9.-]*[a-z0-9])?")
_ORIGIN = re.compile(r"https?://[a-z0-9.\[\]:-]+")


@dataclass(frozen=True, slots=True)
class Door:
    """`hosts`: names such as `ask.example.org` or `*.example.org`; `origins`: `https://app.example.org`.

    `proxies`: addresses or networks; `country`: the header in which they name its country. Raises UsageError.
    """

    hosts: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()
    proxies: tuple[str, ...] = ()
    country: str = ""

    def __post_init__(self) -> None:
        for host in self.hosts:
            if not _NAME.fullmatch(host):
                cure = "Give a name without a port, in small letters, such as ask.example.org or *.example.org."
                raise UsageError(f"server.trusted_hosts cannot have '{host}'.", cure)
        for origin in self.origins:
            if not _ORIGIN.fullmatch(origin):
                cure = "Give scheme and name, as a browser sends them, such as https://app.example.org."
                raise UsageError(f"server.cors_origins cannot have '{origin}'.", cure)
        for proxy in self.proxies:
            try:
                ipaddress.ip_network(proxy)
            except ValueError as error:
                cure = "Give an address or a network, such as 10.0.0.5 or 10.0.0.0/24."
                raise UsageError(f"server.proxies cannot have '{proxy}'.", cure) from error

    def knows(self, header: str) -> bool:
        """Whether the server is known by what a `Host` header says; the port does not matter."""
        told = _HOST.fullmatch(header)
        if not told:
            return False
        name = (told[1] or told[2]).lower()
        if any(name == h or (h[0] == "*" and name.endswith(h[1:])) for h in self.hosts):
            return True
        try:
            return name == "localhost" or ipaddress.ip_address(name).is_loopback
        except ValueError:
            return False


def is_ours(origin: str, host: str) -> bool:
    """Whether an `Origin` header names the very host that is asked; `null`, and what cannot be read, does not."""
    return origin in (f"http://{host}", f"https://{host}")


class Proxied:
    """ASGI middleware around everything: takes a client's address and country from a proxy that is believed."""

    def __init__(self, app: Any, door: Door) -> None:
        self._country = door.country.lower().encode()
        self._networks = [ipaddress.ip_network(p) for p in door.proxies]
        self._plain, self._behind = app, ProxyHeadersMiddleware(app, trusted_hosts=list(door.proxies))

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http" or not self._believes(scope.get("client")):
            await self._plain(scope, receive, send)
            return
        country = dict(scope["headers"]).get(self._country, b"")
        if self._country and _COUNTRY.fullmatch(country):
            scope.setdefault("state", {})["country"] = country.decode().upper()
        await self._behind(scope, receive, send)

    def _believes(self, client: Any) -> bool:
        try:
            peer = ipaddress.ip_address(client[0])
        except (TypeError, ValueError):
            return False
        return any(peer in network for network in self._networks)
