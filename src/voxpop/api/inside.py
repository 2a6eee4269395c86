"""Requests that the server makes of itself, for an account that is known already; they cross no network."""

import asyncio
from dataclasses import dataclass
from typing import Any

from voxpop.accounts import Account

ACCOUNT = "voxpop.account"  # a key of an ASGI scope: no byte from a network can set it


@dataclass(frozen=True, slots=True)
class Said:
    """A whole response."""

    status: int
    headers: dict[str, str]
    body: bytes


async def ask(app: Any, account: Account, path: str, body: bytes, id_: str) -> Said:
    """POST a JSON body to a route, through all that stands before it but the question who asks."""
    status, headers, parts = 500, {}, bytearray()
    unread = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> dict[str, Any]:
        if unread:
            return unread.pop()
        await asyncio.Event().wait()  # it never goes away; who stops it cancels the task
        raise AssertionError

    async def send(message: Any) -> None:
        nonlocal status, headers
        if message["type"] == "http.response.start":
            status = message["status"]
            headers = {k.decode("latin-1").lower(): v.decode("latin-1") for k, v in message["headers"]}
        else:
            parts.extend(message.get("body", b""))

    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [
            (b"host", b"localhost"),
            (b"content-type", b"application/json"),
            (b"x-request-id", id_.encode()),
        ],
        "client": None,
        "server": ("localhost", 80),
        "state": {},
        ACCOUNT: account,
    }
    await app(scope, receive, send)
    return Said(status, headers, bytes(parts))
