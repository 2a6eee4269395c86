"""Frame what a simulated Mastodon server sends, as HTTP answers, server-sent events or messages; no sockets."""

from typing import Any

import orjson
from websockets.server import ServerProtocol

_GARBAGE = (
    b"{not json",
    b"[]",
    b'{"event":7}',
    b"\xff\xfe{",
    b'{"stream":["public"],"event":"update","payload":"{"}',
)
_REASONS = {200: "OK", 401: "Unauthorized", 404: "Not Found", 429: "Too Many Requests", 503: "Service Unavailable"}


def frame(stream: tuple[str, ...], event: str, payload: str, protocol: ServerProtocol | None) -> bytes:
    """One event, as server-sent where there is no WebSocket."""
    if protocol is None:
        return chunk(f"event: {event}\ndata: {payload}\n\n".encode())
    protocol.send_text(orjson.dumps({"stream": stream, "event": event, "payload": payload}))
    return b"".join(protocol.data_to_send())


def garbage(turn: int, protocol: ServerProtocol | None) -> bytes:
    """A broken frame; each turn another."""
    broken = _GARBAGE[turn % len(_GARBAGE)]
    if protocol is None:
        return chunk(b"event: update\ndata: " + broken + b"\n\n")
    protocol.send_text(broken)
    return b"".join(protocol.data_to_send())


def beat(protocol: ServerProtocol | None) -> bytes:
    """A sign of life."""
    if protocol is None:
        return chunk(b":thump\n")
    protocol.send_ping(b"")
    return b"".join(protocol.data_to_send())


def chunk(data: bytes) -> bytes:
    """A chunk of an HTTP body of unknown length."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def reply(code: int, body: Any, headers: dict[str, str]) -> bytes:
    """A whole HTTP answer; a body that is not bytes is JSON."""
    data = body if isinstance(body, bytes) else orjson.dumps(body)
    lines = [f"HTTP/1.1 {code} {_REASONS[code]}", "Content-Type: application/json; charset=utf-8"]
    lines += [f"Content-Length: {len(data)}", "Connection: close", *(f"{k}: {v}" for k, v in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode() + data
