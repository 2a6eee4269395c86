"""Serve the night as a real Jetstream v1 on loopback, with the directories that name its accounts; no other API.

One port answers `/subscribe` (websocket), `/did:plc:…` (PLC directory), `/xrpc/app.bsky.actor.getProfiles` and
`/confirm/HANDLE` (what that domain would say at `/.well-known/atproto-did`).
After the night comes chatter without end, so that a stream never runs dry. Likes flow only where asked for.
"""

import asyncio
import time
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from http import HTTPStatus
from operator import attrgetter, itemgetter
from typing import NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

import orjson
import zstandard
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from voxpop.simulator import wire
from voxpop.simulator.records import EPOCH_US, POST, WorldEvent, moved
from voxpop.simulator.world import END, accounts, handle_at, night, reactions, rest_of_time

LOOKBACK_S = 36 * 3600
_SEQUENCE_LIMIT = 10**15
_QUIET_S = 10.0
_FIRST_SEQ = 31_000_000_000
_GARBAGE = ("{not json", '{"kind":"commit"}', "[]", '{"did":7,"time_us":"x","kind":"commit","commit":{}}')


@dataclass(slots=True)
class Faults:
    """What goes wrong on demand; tests change it while the server runs.

    A connection is cut after `drop_after` lines and goes silent after `silence_after`, each for the first `times`
    connections only. `garbage_every` slips in a broken line, `duplicate` sends each line twice, `clamp_s` shortens
    the lookback, `refuse` answers 503, `hang` never answers the handshake, `profiles_down` fails
    `getProfiles`. `claims` are handles that DID documents claim although their domain does not confirm them.
    """

    drop_after: int = 0
    silence_after: int = 0
    times: int = 1_000_000
    garbage_every: int = 0
    duplicate: bool = False
    clamp_s: float = LOOKBACK_S
    refuse: bool = False
    hang: bool = False
    profiles_down: bool = False
    claims: dict[str, str] = field(default_factory=dict)


class _Due(NamedTuple):
    """An event and the moment (microseconds) at which the relay sees it."""

    time_us: int
    event: WorldEvent


class _Wish(NamedTuple):
    """What a subscriber asked for; `start` is the index of its first event."""

    collections: tuple[str, ...]
    start: int
    compress: bool


@dataclass(slots=True)
class Seen:
    """What subscribers and askers did, for tests."""

    subscriptions: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)


class Jetstream:
    """The server. `start` returns the websocket address; `http_url` is the base of the directories."""

    def __init__(
        self,
        *,
        seed: int = 7,
        faults: Faults | None = None,
        dictionary: bytes | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.faults = faults or Faults()
        self.seen = Seen()
        self.url = self.http_url = ""
        self._seed, self._clock = seed, clock
        self._zstd = (
            zstandard.ZstdCompressor(dict_data=zstandard.ZstdCompressionDict(dictionary)) if dictionary else None
        )
        self._due: list[_Due] = []
        self._hours = 0
        self._origin = self._speed = 1.0
        self._elapsed, self._shift = 0.0, 0
        self._server: Server | None = None
        self._over = asyncio.Event()
        self._people = accounts(seed)

    async def start(
        self, *, host: str = "127.0.0.1", port: int = 0, elapsed: float = 7200.0, speed: float = 1.0
    ) -> str:
        """Serve a night that began `elapsed` seconds ago and goes on at `speed` times real time."""
        self._origin, self._elapsed, self._speed = self._clock(), elapsed, speed
        self._shift = self.time_of(0) - EPOCH_US
        self._due, self._hours = [], 0
        self._over.clear()
        self._schedule(_whole_night(self._seed))
        self._server = await serve(
            self._subscriber, host, port, process_request=self._answer, compression=None, ping_interval=None
        )
        port = self._server.sockets[0].getsockname()[1]
        self.http_url = f"http://{host}:{port}"
        self.url = f"ws://{host}:{port}/subscribe"
        return self.url

    async def stop(self) -> None:
        """Cut everybody off and free the port."""
        self._over.set()
        if self._server is not None:
            self._server.close(close_connections=True)
            await self._server.wait_closed()

    def time_of(self, at: float) -> int:
        """The moment (microseconds) at which the second `at` of the night is or was played."""
        ahead = at - self._elapsed
        return int((self._origin + (ahead if ahead <= 0 else ahead / self._speed)) * 1e6)

    def uri(self, event: WorldEvent) -> str:
        """The address of an event's post in this night: two runs never share one."""
        return f"at://{event.did}/{event.collection}/{moved(event.rkey, self._shift)}"

    def elapsed(self) -> float:
        """How many seconds of the night have passed by now."""
        return self._elapsed + max(self._clock() - self._origin, 0.0) * self._speed

    # -- the stream -----------------------------------------------------------------------------------------

    def _schedule(self, events: Iterable[WorldEvent]) -> None:
        last = self._due[-1].time_us if self._due else 0
        for event in events:
            last = max(self.time_of(event.at), last + 1)
            self._due.append(_Due(last, event))

    def _at(self, index: int) -> _Due:
        while index >= len(self._due):
            self._schedule(_without_silence(rest_of_time(self._seed, self._hours)))
            self._hours += 1
        return self._due[index]

    def _index(self, time_us: int) -> int:
        while self._due[-1].time_us < time_us:
            self._at(len(self._due))
        return bisect_left(self._due, time_us, key=itemgetter(0))

    def _start_index(self, cursor: str) -> int:
        now = int(self._clock() * 1e6)
        if not cursor:
            return self._index(now)
        asked = int(cursor)
        if asked < _SEQUENCE_LIMIT:
            return min(max(asked - _FIRST_SEQ, 0), self._index(now))
        oldest = now - int(self.faults.clamp_s * 1e6)
        return self._index(min(max(asked, oldest), now))

    def _wish(self, path: str) -> _Wish:
        query = parse_qs(urlsplit(path).query)
        collections = tuple(query.get("wantedCollections", ()))
        start = self._start_index(query.get("cursor", [""])[0])
        return _Wish(collections, start, query.get("compress", [""])[0] == "true")

    async def _subscriber(self, connection: ServerConnection) -> None:
        path = connection.request.path if connection.request else ""
        self.seen.subscriptions.append(path)
        try:
            await self._play(connection, self._wish(path), len(self.seen.subscriptions) <= self.faults.times)
        except ConnectionClosed:
            return

    async def _play(self, connection: ServerConnection, wish: _Wish, faulty: bool) -> None:
        faults, sent, index = self.faults, 0, wish.start
        while True:
            due = self._at(index)
            while (early := due.time_us / 1e6 - self._clock()) > 0:
                if await _closed(connection, min(early, 0.5)):
                    return
            if _wanted(due.event, wish.collections):
                for _ in range(2 if faults.duplicate else 1):
                    await self._send(
                        connection, wire.line(due.event, due.time_us, _FIRST_SEQ + index, self._shift), wish
                    )
                sent += 1
                if faults.garbage_every and sent % faults.garbage_every == 0:
                    await connection.send(_GARBAGE[sent // faults.garbage_every % len(_GARBAGE)])
                if faulty and sent == faults.drop_after:
                    connection.transport.abort()
                    return
                if faulty and sent == faults.silence_after:
                    await connection.wait_closed()
            index += 1

    async def _send(self, connection: ServerConnection, line: bytes, wish: _Wish) -> None:
        if wish.compress and self._zstd is not None:
            await connection.send(self._zstd.compress(line))
        else:
            await connection.send(line, text=True)

    # -- the directories ------------------------------------------------------------------------------------

    async def _answer(self, _: ServerConnection, request: Request) -> Response | None:
        parts = urlsplit(request.path)
        if parts.path == "/subscribe":
            return await self._admit(parts.query)
        self.seen.requests.append(request.path)
        if parts.path == "/xrpc/app.bsky.actor.getProfiles":
            return self._profiles(parse_qs(parts.query).get("actors", []))
        if parts.path.startswith("/confirm/"):
            return self._confirm(parts.path.removeprefix("/confirm/"))
        return self._document(unquote(parts.path[1:]))

    async def _admit(self, query: str) -> Response | None:
        if self.faults.hang:
            await self._over.wait()
        if self.faults.refuse:
            return _reply(HTTPStatus.SERVICE_UNAVAILABLE, b'{"error":"down"}')
        asked = parse_qs(query)
        if asked.get("compress") == ["true"] and self._zstd is None:
            return _reply(HTTPStatus.BAD_REQUEST, b'{"error":"this server was given no dictionary"}')
        if not asked.get("cursor", ["0"])[0].isdigit():
            return _reply(HTTPStatus.BAD_REQUEST, b'{"error":"cursor is not a number"}')
        return None

    def _handle(self, did: str) -> str:
        return handle_at(did, min(self.elapsed(), END), self._seed)

    def _profiles(self, dids: list[str]) -> Response:
        if self.faults.profiles_down:
            return _reply(HTTPStatus.SERVICE_UNAVAILABLE, b'{"error":"down"}')
        if not 1 <= len(dids) <= 25:
            return _reply(HTTPStatus.BAD_REQUEST, b'{"error":"InvalidRequest","message":"1 to 25 actors"}')
        people = [self._people[did] for did in dids if did in self._people]
        known = [wire.Profile(p.did, self._handle(p.did), p.name, p.bio, p.label, p.verified) for p in people]
        return _reply(HTTPStatus.OK, wire.profiles(known))

    def _document(self, did: str) -> Response:
        if did not in self._people:
            return _reply(HTTPStatus.NOT_FOUND, orjson.dumps({"message": f"DID not registered: {did}"}))
        return _reply(HTTPStatus.OK, wire.did_document(did, self.faults.claims.get(did) or self._handle(did)))

    def _confirm(self, handle: str) -> Response:
        """What a domain says under `/.well-known/atproto-did`."""
        owners = [did for did in self._people if self._handle(did) == handle]
        return _reply(HTTPStatus.OK if owners else HTTPStatus.NOT_FOUND, "".join(owners[:1]).encode())


@lru_cache(maxsize=2)
def _whole_night(seed: int) -> tuple[WorldEvent, ...]:
    return tuple(_without_silence(sorted(night(seed) + reactions(seed), key=attrgetter("at"))))


def _without_silence(events: list[WorldEvent]) -> Iterator[WorldEvent]:
    """The events, and a notice that some account is well wherever no post comes for ten seconds."""
    heard = events[0].at
    for event in events:
        if event.collection == POST:
            while event.at - heard > _QUIET_S:
                heard += _QUIET_S
                yield WorldEvent(heard, "account", event.did)
            heard = event.at
        yield event


async def _closed(connection: ServerConnection, within_s: float) -> bool:
    try:
        await asyncio.wait_for(connection.wait_closed(), within_s)
    except TimeoutError:
        return False
    return True


def _wanted(event: WorldEvent, collections: tuple[str, ...]) -> bool:
    if event.op in ("identity", "account") or not collections:
        return True
    return any(
        event.collection == c or (c.endswith(".*") and event.collection.startswith(c[:-1])) for c in collections
    )


def _reply(status: HTTPStatus, body: bytes) -> Response:
    headers = Headers({"Content-Type": "application/json", "Content-Length": str(len(body)), "Connection": "close"})
    return Response(status.value, status.phrase, headers, body)
