"""HTTP/1.1 and the problem objects of the made-up X: just what its endpoints need, read and written as bytes."""

import asyncio
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

import orjson

from voxpop.simulator.x_posts import Object

PROBLEMS = "https://api.twitter.com/2/problems/"
_REASONS = {200: "OK", 201: "Created", 400: "Bad Request", 401: "Unauthorized", 403: "Forbidden"}
_REASONS |= {404: "Not Found", 429: "Too Many Requests", 503: "Service Unavailable"}


class Request(NamedTuple):
    """A request with its whole body."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes

    def listed(self, name: str) -> list[str]:
        """A parameter that is a list."""
        return [v for v in self.query.get(name, "").split(",") if v]


async def read_request(reader: asyncio.StreamReader) -> Request | None:
    """The next request of a connection; None at its end."""
    line = await reader.readline()
    if not line:
        return None
    method, target, _ = line.decode("latin-1").split(" ")
    headers: dict[str, str] = {}
    while (header := await reader.readline()) not in (b"\r\n", b""):
        name, _, value = header.decode("latin-1").partition(":")
        headers[name.strip().lower()] = value.strip()
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    parts = urlsplit(target)
    return Request(method, parts.path, {k: v[0] for k, v in parse_qs(parts.query).items()}, headers, body)


def head(status: int, headers: dict[str, str]) -> bytes:
    """Status line and headers."""
    lines = [f"HTTP/1.1 {status} {_REASONS.get(status, 'Error')}", "content-type: application/json; charset=utf-8"]
    return "\r\n".join([*lines, *(f"{k}: {v}" for k, v in headers.items()), "", ""]).encode("latin-1")


def send(writer: asyncio.StreamWriter, status: int, body: Any, headers: dict[str, str] | None = None) -> None:
    """An answer with its length."""
    content = body if isinstance(body, bytes) else orjson.dumps(body)
    writer.write(head(status, {**(headers or {}), "Content-Length": str(len(content))}) + content)


def problem(kind: str, title: str, detail: str) -> Object:
    """RFC 7807, as X writes it."""
    return {"title": title, "detail": detail, "type": kind}


def invalid(parameter: str, said: str) -> Object:
    """A parameter that X refuses."""
    body = problem(PROBLEMS + "invalid-request", "Invalid Request", "One or more parameters was invalid.")
    return {"errors": [{"parameters": {parameter: []}, "message": said}], **body}


def not_found(id_: str, parameter: str) -> Object:
    """A partial error: a post that is not there."""
    return {
        "value": id_, "detail": f"Could not find tweet with {parameter}: [{id_}].", "title": "Not Found Error",
        "resource_type": "tweet", "parameter": parameter, "resource_id": id_,
        "type": PROBLEMS + "resource-not-found",
    }  # fmt: skip
