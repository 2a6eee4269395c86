"""Serve the night, or what a test says, as a real Mastodon server on loopback; nothing can be posted over the wire.

One port answers `/api/v2/instance`, `/api/v1/timelines/*` (`min_id`, `since_id`, `max_id`, `limit`, `Link`, rate
limits) and `/api/v1/streaming` by WebSocket and server-sent events; with `apart` streams have a port of their own.
"""

import argparse
import asyncio
import contextlib
import logging
import time
from bisect import insort
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import orjson
from websockets.http11 import Request
from websockets.server import ServerProtocol

from voxpop.simulator.mastodon_frames import beat, chunk, frame, garbage, reply
from voxpop.simulator.mastodon_wire import Toot, View, instance, iso, status, toot
from voxpop.simulator.records import POST
from voxpop.simulator.world import accounts, night

_WINDOW_S = 300.0
_QUIET = logging.getLogger("voxpop.simulator")
_QUIET.setLevel(logging.WARNING)


@dataclass(slots=True)
class Faults:
    """What goes wrong on demand; tests change it while the server runs.

    A stream is cut after `drop_after` events and goes silent after `silence_after`, for the first `times` streams
    only. `garbage_every` slips in a broken frame, `duplicate` sends each twice. `down` answers REST with 503,
    `no_streams` all streams, `no_websocket` and `no_events` one kind. `limit` is the requests of a window.
    `token` is the one that streams and lists ask for; with `rest_token` timelines ask for it too.
    """

    drop_after: int = 0
    silence_after: int = 0
    times: int = 1_000_000
    garbage_every: int = 0
    duplicate: bool = False
    down: bool = False
    no_streams: bool = False
    no_websocket: bool = False
    no_events: bool = False
    limit: int = 300
    token: str = ""
    rest_token: bool = False
    beat_s: float = 15.0


@dataclass(slots=True)
class Seen:
    """What clients did, for tests: paths of REST requests, and of streams with their kind."""

    requests: list[str] = field(default_factory=list)
    streams: list[str] = field(default_factory=list)


@dataclass(frozen=True, eq=False, slots=True)
class _Listener:
    """One open stream; its queue holds frames as (event, payload)."""

    stream: tuple[str, ...]
    queue: "asyncio.Queue[tuple[str, str]]"


class Mastodon:
    """The server. `start` returns its address; `post`, `edit` and `delete` make things happen at once."""

    def __init__(
        self,
        domain: str = "murmur.example",
        *,
        seed: int = 7,
        apart: bool = False,
        faults: Faults | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.faults, self.seen, self.url = faults or Faults(), Seen(), ""
        self.lists: dict[str, set[str]] = {}
        self._domain, self._seed, self._apart, self._clock = domain, seed, apart, clock
        self._toots: dict[str, Toot] = {}
        self._view = View(domain, self._toots)
        self._order: list[tuple[int, str]] = []
        self._listeners: set[_Listener] = set()
        self._servers: list[asyncio.Server] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._window = (0.0, 0)
        self._streaming = ""

    async def start(self, *, port: int = 0, elapsed: float | None = None, speed: float = 1.0) -> str:
        """Serve; with `elapsed` also a night that began so many seconds ago and goes on at `speed`."""
        for _ in range(2 if self._apart else 1):
            self._servers.append(await asyncio.start_server(self._guest, "127.0.0.1", port, limit=1 << 16))
            port = 0
        ports = [server.sockets[0].getsockname()[1] for server in self._servers]
        self.url, self._streaming = f"http://127.0.0.1:{ports[0]}", f"ws://127.0.0.1:{ports[-1]}"
        if elapsed is not None:
            self._run(self._play(elapsed, speed))
        return self.url

    async def stop(self) -> None:
        """Cut everybody off and free the ports."""
        for server in self._servers:
            server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for server in self._servers:
            await server.wait_closed()
        self._servers.clear()

    # -- what happens ---------------------------------------------------------------------------------------

    def post(self, key: str, text: str, who: str = "ana@murmur.example", **more: Any) -> dict[str, Any]:
        """A post, at once; the same key and author on another server is the same post. Gives its status."""
        user, _, home = who.partition("@")
        return self.carry(Toot(key, user, home, more.pop("at", None) or int(self._clock() * 1e6), text, **more))

    def carry(self, toot: Toot) -> dict[str, Any]:
        """A post reaches this server."""
        self._toots[toot.key] = toot
        insort(self._order, (int(self._view.local(toot)), toot.key))
        self._tell("update", toot)
        return status(toot, self._view)

    def edit(self, key: str, text: str, **changes: Any) -> None:
        """Its author changes a post."""
        toot = self._toots[key]
        toot.text, toot.edited = text, int(self._clock() * 1e6)
        toot.changes = toot.changes | changes
        self._tell("status.update", toot)

    def delete(self, key: str) -> None:
        """A post is gone."""
        toot = self._toots.pop(key)
        self._order.remove((int(self._view.local(toot)), key))
        self._tell("delete", toot)

    def say(self, event: str, payload: str) -> None:
        """Any event, as it is, on every stream."""
        for listener in self._listeners:
            listener.queue.put_nowait((event, payload))

    def _tell(self, event: str, toot: Toot) -> None:
        payload = self._view.local(toot) if event == "delete" else orjson.dumps(status(toot, self._view)).decode()
        for listener in self._listeners:
            if self._carries(listener.stream, toot):
                listener.queue.put_nowait((event, payload))

    def _carries(self, stream: tuple[str, ...], toot: Toot) -> bool:
        if toot.changes.get("visibility", "public") != "public" and stream[0] != "list":
            return False
        if stream[0] == "hashtag":
            return f"#{stream[1]}".lower() in toot.text.lower().split()
        if stream[0] == "list":
            return f"{toot.user}@{toot.home}" in self.lists.get(stream[1], ())
        side = stream[0].partition(":")[2]
        return not side or (side == "local") == (toot.home == self._domain)

    async def _play(self, elapsed: float, speed: float) -> None:
        began, people = self._clock(), accounts(self._seed)
        for event in night(self._seed):
            at = began + (event.at - elapsed) / (speed if event.at > elapsed else 1.0)
            if (early := at - self._clock()) > 0:
                await asyncio.sleep(early)
            person = people[event.did]
            if event.op == "account":
                gone = [key for key in self._toots if key.startswith(f"at://{event.did}/")]
            else:
                gone = [event.uri] if event.op == "delete" and event.uri in self._toots else []
            for key in gone:
                self.delete(key)
            if event.collection == POST and event.op == "create":
                self.carry(toot(event, person.handle, person.name, int(at * 1e6)))
            elif event.op == "update" and event.uri in self._toots:
                self.edit(event.uri, event.text)

    # -- the wire -------------------------------------------------------------------------------------------

    def _run(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _guest(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._run(self._serve(reader, writer))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        protocol = ServerProtocol(logger=_QUIET)
        try:
            protocol.receive_data(await reader.readuntil(b"\r\n\r\n"))
            request = protocol.events_received()[0]
            assert isinstance(request, Request)  # noqa: S101  the first thing that a client sends
            parts = urlsplit(request.path)
            query = {name: values[0] for name, values in parse_qs(parts.query).items()}
            if parts.path.startswith("/api/v1/streaming") and not parts.path.endswith("/health"):
                await self._stream(reader, writer, protocol, request)
            else:
                self.seen.requests.append(request.path)
                writer.write(self._rest(parts.path, query, request.headers.get("Authorization", "")))
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError, IndexError):
            pass  # the client went away
        finally:
            writer.close()

    def _rest(self, path: str, query: dict[str, str], authorization: str) -> bytes:
        limits, allowed = self._limits()
        if self.faults.down:
            return reply(503, {"error": "down"}, limits)
        if not allowed:
            return reply(429, {"error": "Too many requests"}, limits)
        if path.rstrip("/") == "/api/v2/instance":
            return reply(200, instance(self._domain, self.url, self._streaming), limits)
        if path.rstrip("/") == "/api/v1/instance":
            about = {"uri": self._domain, "title": "Murmur", "version": "4.6.4"}
            return reply(200, about | {"urls": {"streaming_api": self._streaming}}, limits)
        if path.startswith("/api/v1/timelines/"):
            kind, _, of = path.removeprefix("/api/v1/timelines/").partition("/")
            wanted = self.faults.token if kind == "list" or self.faults.rest_token else ""
            if wanted and authorization != f"Bearer {wanted}":
                return reply(401, {"error": "This method requires an authenticated user"}, limits)
            return self._timeline(path, _stream_of(kind, of, query), query, limits)
        return reply(404, {"error": "Record not found"}, limits)

    def _timeline(self, path: str, stream: tuple[str, ...], query: dict[str, str], limits: dict[str, str]) -> bytes:
        size = min(int(query.get("limit", 20)), 40)
        low = max(int(query.get("min_id", 0)), int(query.get("since_id", 0)))
        high = int(query.get("max_id", 1 << 63))
        found = [
            (n, key)
            for n, key in self._order
            if low < n < high and key in self._toots and self._carries(stream, self._toots[key])
        ]
        page = (found[:size] if "min_id" in query else found[-size:])[::-1]
        if page:
            address = f"{self.url}{path}?limit={size}"
            older, newer = f'<{address}&max_id={page[-1][0]}>; rel="next"', f"<{address}&min_id={page[0][0]}>"
            limits["Link"] = f'{older}, {newer}; rel="prev"'
        return reply(200, [status(self._toots[key], self._view) for _, key in page], limits)

    def _limits(self) -> tuple[dict[str, str], bool]:
        now = self._clock()
        began, used = self._window
        began, used = (now, 1) if now - began >= _WINDOW_S else (began, used + 1)
        self._window = (began, used)
        left = self.faults.limit - used
        headers = {
            "Date": format_datetime(datetime.fromtimestamp(now, UTC), usegmt=True),
            "X-RateLimit-Limit": str(self.faults.limit),
            "X-RateLimit-Remaining": str(max(left, 0)),
            "X-RateLimit-Reset": iso(int((began + _WINDOW_S) * 1e6)),
        }
        return headers, left >= 0

    def forgive(self) -> None:
        """A new window of requests begins."""
        self._window = (0.0, 0)

    async def _stream(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, protocol: ServerProtocol, request: Request
    ) -> None:
        websocket = "Upgrade" in request.headers
        self.seen.streams.append(f"{'ws' if websocket else 'sse'} {request.path}")
        faulty = len(self.seen.streams) <= self.faults.times
        if refusal := self._refusal(request, websocket):
            writer.write(refusal)
            await writer.drain()
            return
        stream = _asked(request.path, websocket)
        if websocket:
            protocol.send_response(protocol.accept(request))
            writer.write(b"".join(protocol.data_to_send()))
        else:
            head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
            writer.write(head.encode() + chunk(b":)\n"))
        listener = _Listener(stream, asyncio.Queue())
        self._listeners.add(listener)
        hearing = asyncio.create_task(_hear(reader, writer, protocol if websocket else None))
        try:
            await self._send(listener, writer, protocol if websocket else None, hearing, faulty)
        finally:
            self._listeners.discard(listener)
            hearing.cancel()
            await asyncio.gather(hearing, return_exceptions=True)

    def _refusal(self, request: Request, websocket: bool) -> bytes:
        faults = self.faults
        if faults.no_streams or (faults.no_websocket if websocket else faults.no_events):
            return reply(503, {"error": "down"}, {})
        given = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if not faults.token or given == faults.token:
            return b""
        why = "Invalid access token" if given else "Missing access token"
        return reply(401, b"" if websocket else {"error": why}, {"X-Error-Message": why} if websocket else {})

    async def _send(
        self,
        listener: _Listener,
        writer: asyncio.StreamWriter,
        protocol: ServerProtocol | None,
        hearing: "asyncio.Task[None]",
        faulty: bool,
    ) -> None:
        faults, sent = self.faults, 0
        while not hearing.done():
            getting = asyncio.create_task(listener.queue.get())
            await asyncio.wait((getting, hearing), timeout=faults.beat_s, return_when=asyncio.FIRST_COMPLETED)
            if not getting.done():
                getting.cancel()
                writer.write(beat(protocol))
                continue
            event, payload = getting.result()
            whole = frame(listener.stream, event, payload, protocol)
            sent += 1
            if faults.garbage_every and sent % faults.garbage_every == 0:
                whole += garbage(sent // faults.garbage_every, protocol)
            writer.write(whole + (frame(listener.stream, event, payload, protocol) if faults.duplicate else b""))
            await writer.drain()
            if faulty and sent == faults.drop_after:
                writer.transport.abort()
                return
            if faulty and sent == faults.silence_after:
                await hearing


async def _hear(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, protocol: ServerProtocol | None
) -> None:
    """Answer the client's pings until it goes."""
    with contextlib.suppress(OSError):
        while data := await reader.read(1 << 16):
            if protocol is not None:
                protocol.receive_data(data)
                writer.write(b"".join(protocol.data_to_send()))
                if protocol.close_expected():
                    return


def _asked(path: str, websocket: bool) -> tuple[str, ...]:
    """The stream that an address names."""
    parts = urlsplit(path)
    query = {name: values[0] for name, values in parse_qs(parts.query).items()}
    stream = parts.path.removeprefix("/api/v1/streaming").strip("/").replace("/", ":")
    stream = query.get("stream", "public") if websocket else stream
    of = query.get({"hashtag": "tag", "list": "list"}.get(stream, ""))
    return (stream, of) if of else (stream,)


def _stream_of(kind: str, of: str, query: dict[str, str]) -> tuple[str, ...]:
    """The stream whose posts a timeline holds."""
    if kind in ("tag", "list"):
        return ("hashtag" if kind == "tag" else "list", unquote(of))
    side = next((s for s in ("local", "remote") if query.get(s, "0").lower() not in ("0", "false", "")), "")
    return (f"public:{side}" if side else "public",)


async def _forever(options: argparse.Namespace) -> None:
    server = Mastodon(options.domain, seed=options.seed)
    url = await server.start(port=options.port, elapsed=options.elapsed, speed=options.speed)
    print(f"Mastodon at {url}: read it with 'mastodon:{url}'; a made-up night, {options.elapsed / 3600:g} h old.")
    try:
        await asyncio.Event().wait()
    finally:
        await server.stop()


def main() -> None:
    """Read the options and serve."""
    parser = argparse.ArgumentParser(prog="python -m voxpop.simulator.mastodon", description=__doc__)
    parser.add_argument("--port", type=int, default=8766, help="port on 127.0.0.1; 0 takes a free one")
    parser.add_argument("--domain", default="murmur.example", help="whose server it is")
    parser.add_argument("--seed", type=int, default=7, help="which night")
    parser.add_argument("--speed", type=float, default=1.0, help="seconds of the night in a second")
    parser.add_argument("--elapsed", type=float, default=7200.0, help="how old the night is, in seconds")
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_forever(parser.parse_args()))


if __name__ == "__main__":
    main()
