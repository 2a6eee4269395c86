"""Listen to a Mastodon server's stream, by WebSocket or server-sent events, until it fails; every frame is bounded.

The token goes in the `Authorization` header, never in the address, and the library's own log of headers is off.
Protocol: docs.joinmastodon.org/methods/streaming.
"""

import logging
from collections.abc import AsyncGenerator, Iterator
from typing import Literal, NamedTuple
from urllib.parse import urlencode

import httpx
import orjson
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

from voxpop.sources.mastodon_server import Channel, Server, Unanswered, bounded, http_reason, said_by

MAX_FRAME = 1 << 20
_TOO_BIG = "a frame over 1 MiB"
Transport = Literal["ws", "sse"]
_quiet = logging.getLogger("voxpop.mastodon.handshake")
_quiet.setLevel(logging.WARNING)  # at DEBUG the library writes each header of the handshake, the token with them


class Frame(NamedTuple):
    """One event of a stream as it came; `reason` says why it cannot be read, and a frame without both is a beat."""

    event: str = ""
    payload: str | bytes = ""
    reason: str = ""


async def frames(
    server: Server, streaming: str, channel: Channel, transport: Transport, idle_s: float
) -> AsyncGenerator[Frame]:
    """First a beat when the line is open, then every event. Ends or raises Unanswered when the line does."""
    source = (
        _by_websocket(server, streaming, channel)
        if transport == "ws"
        else _by_events(server, streaming, channel, idle_s)
    )
    try:
        async for frame in source:
            yield frame
    except (OSError, TimeoutError, httpx.HTTPError, WebSocketException, ValueError) as error:
        raise Unanswered(said_by(error)) from error
    finally:
        await source.aclose()


async def _by_websocket(server: Server, streaming: str, channel: Channel) -> AsyncGenerator[Frame]:
    url = f"{streaming.replace('http', 'ws', 1)}/api/v1/streaming?{urlencode(channel.query())}"
    headers = {"Authorization": f"Bearer {server.token}"} if server.token else {}
    try:
        async with connect(
            url,
            additional_headers=headers,
            user_agent_header="voxpop",
            logger=_quiet,
            open_timeout=server.timeout_s,
            ping_interval=20,
            ping_timeout=20,
            close_timeout=0.2,
            max_size=MAX_FRAME,
            max_queue=256,
            compression=None,
        ) as socket:
            yield Frame()
            while True:
                yield read_frame(await socket.recv(decode=False))
    except InvalidStatus as error:
        response = error.response
        said = response.headers.get("X-Error-Message", "")[:120]
        reason = http_reason(response.status_code, orjson.dumps({"error": said}))
        raise Unanswered(reason, response.status_code) from error
    except ConnectionClosed as error:
        too_big = error.sent is not None and error.sent.code == 1009
        raise Unanswered(_TOO_BIG if too_big else said_by(error)) from error


def read_frame(raw: bytes) -> Frame:
    """A WebSocket message. An error that the server tells is raised as Unanswered."""
    try:
        message = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return Frame(reason="not JSON")
    if type(message) is not dict:
        return Frame(reason="not an object")
    if "error" in message:
        status = message.get("status")
        raise Unanswered(
            http_reason(status if type(status) is int else 0, raw), status if type(status) is int else 0
        )
    event, payload = message.get("event"), message.get("payload", "")
    if type(event) is not str or type(payload) is not str:
        return Frame(reason="no event")
    return Frame(event, payload)


async def _by_events(server: Server, streaming: str, channel: Channel, idle_s: float) -> AsyncGenerator[Frame]:
    path, params = channel.events()
    patience = httpx.Timeout(server.timeout_s, read=idle_s)
    plain = {"Accept-Encoding": "identity", "Accept": "text/event-stream"}
    async with server.client.stream(
        "GET", streaming + path, params=params, timeout=patience, headers=plain
    ) as response:
        if response.status_code != httpx.codes.OK:
            reason = http_reason(response.status_code, await bounded(response, MAX_FRAME))
            raise Unanswered(reason, response.status_code)
        if not response.headers.get("content-type", "").startswith("text/event-stream"):
            raise Unanswered("its answer is no event stream", 404)
        yield Frame()
        lines = Lines()
        async for chunk in response.aiter_bytes():
            for frame in lines.read(chunk):
                yield frame
    raise Unanswered("the stream ended")


class Lines:
    """Server-sent events (WHATWG HTML 9.2, lines ending in LF or CRLF) out of bytes as they come.

    An event over 1 MiB is passed over, and told.
    """

    def __init__(self) -> None:
        self._rest = bytearray()
        self._skipping = False
        self._event, self._data = "", list[bytes]()
        self._size = 0

    def read(self, chunk: bytes) -> Iterator[Frame]:
        """The frames that these bytes complete; a comment line is a beat."""
        *whole, last = chunk.split(b"\n")
        for piece in whole:
            line = bytes(self._rest) + piece if self._rest else piece
            self._rest.clear()
            if self._skipping or len(line) > MAX_FRAME:
                self._skipping = False
                yield Frame(reason=_TOO_BIG)
            else:
                yield from self._line(line.removesuffix(b"\r"))
        if self._skipping or len(self._rest) + len(last) > MAX_FRAME:
            self._skipping = True
            self._rest.clear()
        else:
            self._rest += last

    def _line(self, line: bytes) -> Iterator[Frame]:
        if not line:
            if self._size > MAX_FRAME:
                yield Frame(reason=_TOO_BIG)
            elif self._event and self._data:
                yield Frame(self._event, b"\n".join(self._data))
            self._event, self._size = "", 0
            self._data.clear()
            return
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if not name:
            yield Frame()
        elif name == b"event":
            self._event = value[:64].decode("utf-8", "replace")
        elif name == b"data":
            self._size += len(value) + 1
            if self._size <= MAX_FRAME:
                self._data.append(value)
