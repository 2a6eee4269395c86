"""Serve the night's institutions and press as news feeds on loopback, in all four formats; it serves nothing else.

`/night/NAME.FORMAT` is what NAME has published so far, `/many/N.FORMAT` one of any number of small feeds. What a
test says of a path in `troubles` happens to whoever asks for it.
"""

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from email.utils import formatdate
from hashlib import sha256
from html import escape

from voxpop.simulator.feed_wire import FORMATS, Channel, Item
from voxpop.simulator.night_cast import CAST
from voxpop.simulator.records import did
from voxpop.simulator.world import night

_SHOWN = 20
_PUBLISHERS = ("authority", "service", "press")


@dataclass(frozen=True, slots=True)
class Trouble:
    """What goes wrong with one path: another status, more headers, another body, a wait, or silence."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | None = None
    wait_s: float = 0.0
    hang: bool = False


@dataclass(slots=True)
class Asked:
    """What readers did: (path, headers) of each request, how many answers said "not changed", and how many requests
    were under way at once at the most."""

    requests: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    unchanged: int = 0
    at_once: int = 0
    now: int = 0

    def paths(self) -> Counter[str]:
        """How often each path was asked for."""
        return Counter(path for path, _ in self.requests)


class FeedServer:
    """An HTTP/1.1 server of feeds; without `validators` no ETag and Last-Modified, `wait_s` slows all down."""

    def __init__(self, seed: int = 7, *, clock: Callable[[], float] = time.time) -> None:
        self.troubles: dict[str, Trouble] = {}
        self.items: dict[str, list[Item]] = {}
        self.asked = Asked()
        self.validators = True
        self.wait_s = 0.0
        self.url = ""
        self._seed, self._clock = seed, clock
        self._began = 0.0
        self._elapsed, self._speed = 0.0, 1.0
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.Task[None]] = set()

    async def start(self, port: int = 0, elapsed: float = 7200.0, speed: float = 1.0) -> str:
        """Listen on 127.0.0.1; the night is `elapsed` seconds old. Returns the base address."""
        self._began, self._elapsed, self._speed = self._clock(), elapsed, speed
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", port, backlog=512)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self.url

    async def stop(self) -> None:
        """Close the port and what is open."""
        if self._server is not None:
            self._server.close()
        for task in self._open:
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)

    def press(self, form: str = "rss") -> dict[str, str]:
        """The address of each publisher's feed, by the publisher's name in the cast."""
        return {
            name: f"{self.url}/night/{name}.{form}" for name, actor in CAST.items() if actor.role in _PUBLISHERS
        }

    # -- HTTP -----------------------------------------------------------------------------------------------

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._open.add(task)
            task.add_done_callback(self._open.discard)
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while True:
                request = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
                headers = dict(line.lower().split(": ", 1) for line in request[1:] if ": " in line)
                await self._reply(writer, request[0].split()[1], headers)
        writer.close()

    async def _reply(self, writer: asyncio.StreamWriter, path: str, headers: dict[str, str]) -> None:
        asked, trouble = self.asked, self.troubles.get(path, Trouble())
        asked.requests.append((path, headers))
        asked.now += 1
        asked.at_once = max(asked.at_once, asked.now)
        try:
            if wait_s := trouble.wait_s or self.wait_s:
                await asyncio.sleep(wait_s)
            if trouble.hang:
                await asyncio.Event().wait()
            status, said, body = self._answer(path, headers, trouble)
        finally:
            asked.now -= 1
        lines = [f"HTTP/1.1 {status} Said", f"Content-Length: {len(body)}", *(f"{k}: {v}" for k, v in said.items())]
        writer.write("\r\n".join([*lines, "", ""]).encode("latin-1") + body)
        await writer.drain()

    def _answer(self, path: str, headers: dict[str, str], trouble: Trouble) -> tuple[int, dict[str, str], bytes]:
        if trouble.status != 200 or trouble.body is not None:
            return trouble.status, trouble.headers, trouble.body or b""
        name, _, form = path.partition("?")[0].rpartition(".")
        channel = self._channel(path, name.strip("/")) if form in FORMATS else None
        if channel is None:
            return 404, {}, b"no such feed"
        write, content_type = FORMATS[form]
        body = write(channel)
        newest = formatdate(max((i.updated for i in channel.items), default=0), usegmt=True)
        marks = {"ETag": f'"{sha256(body).hexdigest()[:16]}"', "Last-Modified": newest}
        said = {"Content-Type": content_type, **(marks if self.validators else {}), **trouble.headers}
        if self.validators and self._same(headers, marks):
            self.asked.unchanged += 1
            return 304, said, b""
        return 200, said, body

    @staticmethod
    def _same(headers: dict[str, str], marks: dict[str, str]) -> bool:
        """RFC 9110, 13.2.2: If-Modified-Since counts only without If-None-Match."""
        if etag := headers.get("if-none-match"):
            return etag == marks["ETag"]
        return headers.get("if-modified-since") == marks["Last-Modified"].lower()

    # -- what stands in the feeds ---------------------------------------------------------------------------

    def _channel(self, path: str, name: str) -> Channel | None:
        kind, _, key = name.partition("/")
        if name in self.items:
            return Channel(self.url + path, f"{self.url}/", name, "en", self.items[name])
        if kind == "many" and key.isdigit():
            return Channel(self.url + path, f"{self.url}/many/{key}", f"Gazette {key}", "en", self._small(int(key)))
        if kind == "night" and key in CAST and CAST[key].role in _PUBLISHERS:
            actor = CAST[key]
            return Channel(self.url + path, f"{self.url}/night/{key}", actor.name, actor.lang, self._published(key))
        return None

    def _small(self, number: int) -> list[Item]:
        at = self._began - 600
        return [
            Item(
                f"tag:gazette{number},{n}",
                f"{self.url}/many/{number}/{n}",
                f"Gazette {number}: notice {n}",
                f"<p>Notice {n} of the town of Number {number}.</p>",
                at - n,
                at - n,
            )
            for n in range(2)
        ]

    def _published(self, key: str) -> list[Item]:
        """The publisher's posts of the night so far, as news: an edit changes an entry, a deletion removes it."""
        now = self._elapsed + (self._clock() - self._began) * self._speed
        who, items = did(key), dict[str, Item]()
        for event in night(self._seed):
            if event.at > now:
                break
            if event.did != who or event.op not in ("create", "update", "delete"):
                continue
            at = self._began + (event.at - self._elapsed) / self._speed
            if event.op == "delete":
                items.pop(event.rkey, None)
            else:
                first, url = items.get(event.rkey), f"{self.url}/night/{key}/{event.rkey}"
                items[event.rkey] = _item(event.rkey, url, event.text, first.published if first else at, at)
        return sorted(items.values(), key=lambda item: -item.published)[:_SHOWN]


def _item(id_: str, url: str, text: str, published: float, updated: float) -> Item:
    """A post as an entry: its first line is the title."""
    title, _, rest = text.partition("\n")
    return Item(f"tag:{id_}", url, title, f"<p>{escape(rest or title)}</p>", published, updated)
