"""Serve a flood as a Jetstream v1 on loopback at an exact rate, and go wrong on request; it keeps nothing it sent.

One port answers `/subscribe` (websocket) and `/sent`, which says in JSON what the stream is made of and how much of
it is over: with it a test can tell what must have been stored. A subscriber that reads slowly is waited for: it
gets every event, later. A process of its own runs it with `python -m voxpop.simulator firehose`.
"""

import argparse
import asyncio
import contextlib
import gc
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from http import HTTPStatus
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

import orjson
from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.server import ServerProtocol

from voxpop.simulator.flood import Flood, Mix, Row, framed, invented, recording

LOOKBACK_S = 36 * 3600.0
_TICK_S = 0.005
_CHUNK = 400
_SUBSCRIBED = "/subscribe"
_FUTURE = b'{"did":"did:plc:%b","time_us":253402300799000000,"kind":"commit","commit":{"rev":"3k","operation":' % (
    b"f" * 24
)
_FUTURE += b'"create","collection":"app.bsky.feed.post","rkey":"3k","record":{"text":"tomorrow"},"cid":"b"}}'


@dataclass(slots=True)
class Harm:
    """What goes wrong, and for every how many frames of a connection (0: never); tests change it while it runs.

    `broken` slips in a line that is no JSON, `bytes` one that is no UTF-8, `future` one of the year 9999, `huge`
    one of `huge_bytes`. `repeat` sends what was just sent (up to 400 events) a second time, `swap` sends such a
    piece backwards. `cut` ends the connection, `hang` leaves it open without a word. `refuse` answers 503.
    `garbage` sends nothing but broken lines, as fast as they are taken. `clamp_s` is how far back the stream can be
    had.
    """

    broken: int = 0
    bytes: int = 0
    future: int = 0
    huge: int = 0
    huge_bytes: int = 10_000_000
    repeat: int = 0
    swap: int = 0
    cut: int = 0
    hang: int = 0
    refuse: bool = False
    garbage: bool = False
    clamp_s: float = LOOKBACK_S


class _Wish(NamedTuple):
    """What a subscriber asked for: kinds of event, and the number of the first one."""

    kinds: frozenset[str]
    start: int


class Firehose:
    """The server. The stream began `elapsed` seconds before the start; it ends after `count` events (0: never)."""

    def __init__(
        self,
        rows: Sequence[Row] = (),
        *,
        rate: float = 1000.0,
        mix: Mix = Mix(),  # noqa: B008
        count: int = 0,
        harm: Harm | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.harm = harm or Harm()
        self.url = self.http_url = ""
        self.connections = self.frames = 0
        self._rows, self._rate, self._mix, self._count, self._clock = rows or invented(), rate, mix, count, clock
        self._server: asyncio.Server | None = None
        self._talks: set[asyncio.Task[None]] = set()

    async def start(self, *, host: str = "127.0.0.1", port: int = 0, elapsed: float = 0.0) -> str:
        """Begin the stream and answer; returns the websocket address."""
        self.flood = Flood(self._rows, self._rate, 0, self._mix)
        self.flood.origin_us = int((self._clock() - elapsed) * 1e6)  # now: cutting a recording takes seconds
        self._server = await asyncio.start_server(self._talk, host, port)
        port = self._server.sockets[0].getsockname()[1]
        self.http_url = f"http://{host}:{port}"
        self.url = f"ws://{host}:{port}{_SUBSCRIBED}"
        return self.url

    async def stop(self) -> None:
        """Cut everybody off and free the port."""
        if self._server is not None:
            self._server.close()
        for talk in list(self._talks):
            talk.cancel()
        await asyncio.gather(*self._talks, return_exceptions=True)

    def over(self) -> int:
        """How many events have happened by now."""
        happened = self.flood.first_after(int(self._clock() * 1e6))
        return min(happened, self._count) if self._count else happened

    def sent(self) -> dict[str, Any]:
        """What `/sent` says: of what the stream is made, what of it is over, and what was written to sockets."""
        return {
            "origin_us": self.flood.origin_us, "rate": self._rate, "mix": asdict(self._mix),
            "rows": len(self._rows), "events": (over := self.over()), "kinds": self.flood.counts(over),
            "connections": self.connections, "frames": self.frames, "cpu_s": time.process_time(),
        }  # fmt: skip

    # -- one connection -------------------------------------------------------------------------------------

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if task := asyncio.current_task():
            self._talks.add(task)
            task.add_done_callback(self._talks.discard)
        protocol = ServerProtocol(max_size=1 << 16)
        try:
            while not (events := protocol.events_received()):
                if not await _hear(protocol, reader, writer):
                    return
            if isinstance(request := events[0], Request) and self._admit(protocol, request):
                await _flush(protocol, writer)
                await self._converse(protocol, reader, writer, self._wish(request.path))
            else:
                await _flush(protocol, writer)
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    def _admit(self, protocol: ServerProtocol, request: Request) -> bool:
        path = urlsplit(request.path).path
        if path != _SUBSCRIBED:
            text = orjson.dumps(self.sent()).decode() if path == "/sent" else "no such thing"
            protocol.send_response(
                protocol.reject(HTTPStatus.OK if path == "/sent" else HTTPStatus.NOT_FOUND, text)
            )
            return False
        if self.harm.refuse:
            protocol.send_response(protocol.reject(HTTPStatus.SERVICE_UNAVAILABLE, "down"))
            return False
        protocol.send_response(protocol.accept(request))
        return True

    def _wish(self, path: str) -> _Wish:
        query = parse_qs(urlsplit(path).query)
        now = int(self._clock() * 1e6)
        asked = int(query.get("cursor", [str(now)])[0])
        oldest = now - int(self.harm.clamp_s * 1e6)
        return _Wish(
            self.flood.wanted(query.get("wantedCollections", ())),
            self.flood.first_after(min(max(asked, oldest), now)),
        )

    async def _converse(
        self, protocol: ServerProtocol, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, wish: _Wish
    ) -> None:
        self.connections += 1
        playing = asyncio.create_task(self._garbage(writer) if self.harm.garbage else self._play(writer, wish))
        try:
            while not playing.done():
                hearing = asyncio.create_task(_hear(protocol, reader, writer))
                await asyncio.wait((playing, hearing), return_when=asyncio.FIRST_COMPLETED)
                if not hearing.done():
                    hearing.cancel()
                elif not hearing.result():
                    return
        finally:
            playing.cancel()
            await asyncio.gather(playing, return_exceptions=True)
            writer.transport.abort()  # who goes while much is on its way to them would read it all first

    async def _play(self, writer: asyncio.StreamWriter, wish: _Wish) -> None:
        n, sent, harm = wish.start, 0, self.harm
        while True:
            stop = min(self.over(), n + _CHUNK)
            if stop <= n:
                await asyncio.sleep(_TICK_S)
                continue
            frames = list(self.flood.frames(n, stop, wish.kinds))
            n, before, sent = stop, sent, sent + len(frames)
            self.frames += len(frames)
            writer.write(b"".join(self._harmed(frames, before, sent)))
            await writer.drain()
            if _comes(harm.cut, before, sent):
                writer.transport.abort()
                return
            if _comes(harm.hang, before, sent):
                await asyncio.sleep(3600)

    def _harmed(self, frames: list[bytes], before: int, sent: int) -> list[bytes]:
        """Frames number `before` to `sent` of a connection, with what goes wrong among them."""
        harm = self.harm
        if _comes(harm.swap, before, sent):
            frames = frames[::-1]
        if _comes(harm.repeat, before, sent):
            frames = frames * 2
        for every, line in (
            (harm.broken, b'{"did":"did:plc:aaaa, not json'),
            (harm.bytes, b'{"did":"\xff\xfe\xc3","time_us":1}'),
            (harm.future, _FUTURE),
        ):
            frames += [framed(line)] * _comes(every, before, sent)
        if _comes(harm.huge, before, sent):
            frames.append(framed(b'{"text":"%b"}' % (b"x" * harm.huge_bytes)))
        return frames

    async def _garbage(self, writer: asyncio.StreamWriter) -> None:
        block = framed(b"{not json") * 2000 + framed(b"[1,2,3]") * 2000
        while True:
            writer.write(block)
            await writer.drain()
            await asyncio.sleep(0)


def _comes(every: int, before: int, sent: int) -> int:
    """How often a thing that happens for every so many frames happens among these."""
    return sent // every - before // every if every else 0


async def _hear(protocol: ServerProtocol, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    """Take what the other side says and answer its pings; False once it is gone."""
    data = await reader.read(1 << 16)
    if data:
        protocol.receive_data(data)
    else:
        protocol.receive_eof()
    said = protocol.events_received() if protocol.handshake_exc is None and protocol.state.value else []
    await _flush(protocol, writer)
    return bool(data) and not any(isinstance(e, Frame) and e.opcode is Opcode.CLOSE for e in said)


async def _flush(protocol: ServerProtocol, writer: asyncio.StreamWriter) -> None:
    for data in protocol.data_to_send():
        if data:
            writer.write(data)
    await writer.drain()


# -- a process of its own -------------------------------------------------------------------------------------


async def _serve(options: argparse.Namespace) -> None:
    rows = recording(Path(options.posts), options.rows) if options.posts else invented()
    mix = Mix(**{f.name: getattr(options, f.name) for f in fields(Mix)})
    harm = Harm(**{f.name: getattr(options, "harm_" + f.name) for f in fields(Harm)})
    server = Firehose(rows, rate=options.rate, mix=mix, count=options.count, harm=harm)
    await server.start(port=options.port, elapsed=options.elapsed)
    gc.freeze()
    stopped = asyncio.Event()
    for name in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(name, stopped.set)
    print(orjson.dumps({"url": server.url, "sent": server.http_url + "/sent"}).decode(), flush=True)
    await stopped.wait()
    await server.stop()


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the options and serve until interrupted; the first line printed is JSON with the addresses."""
    parser = argparse.ArgumentParser(prog="python -m voxpop.simulator firehose", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="port on 127.0.0.1; 0 takes a free one")
    parser.add_argument("--rate", type=float, default=1000.0, help="events a second")
    parser.add_argument("--posts", default="", help="a .jsonl.zst recording; none: the simulated night's posts")
    parser.add_argument("--rows", type=int, default=0, help="how many of its posts at most; 0: all")
    parser.add_argument("--elapsed", type=float, default=0.0, help="how long ago the stream began, in seconds")
    parser.add_argument("--count", type=int, default=0, help="how many events there are; 0: without end")
    for share in fields(Mix):
        parser.add_argument(f"--{share.name}", type=float, default=0.0, help=f"share of {share.name} events")
    for harm in fields(Harm):
        if isinstance(harm.default, bool):
            parser.add_argument(f"--harm-{harm.name}", action="store_true")
        else:
            kind = type(harm.default)
            parser.add_argument(f"--harm-{harm.name.replace('_', '-')}", type=kind, default=harm.default)
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_serve(parser.parse_args(arguments)))
