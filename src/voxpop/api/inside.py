"""Requests that the server makes of itself, for an account that is known already; they cross no network."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from voxpop.accounts import Account, Denied
from voxpop.api.guard import refused
from voxpop.batches import Line
from voxpop.batches.work import Serve, Served
from voxpop.desk import BEHIND, Behind
from voxpop.errors import VoxpopError
from voxpop.posts import Post

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

    sent = {"host": "localhost", "content-type": "application/json", "x-request-id": id_}
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
        "headers": [(k.encode(), v.encode()) for k, v in sent.items()],
        "client": None,
        "server": ("localhost", 80),
        "state": {},
        ACCOUNT: account,
    }
    await app(scope, receive, send)
    return Said(status, headers, bytes(parts))


Other = Callable[[Account, bytes, str], Awaitable[tuple[bytes, Sequence[Post]]]]
"""Answers the body of a request, for an account and under an id, with what it rests on; raises VoxpopError."""


def behind(
    app: Any, still: Callable[[Account], Awaitable[Account]], others: Mapping[str, Other] | None = None
) -> Serve:
    """How a batch's request is served: behind everybody who waits. `still` gives its account as it is now, or
    raises Denied: a key that was revoked asks nothing more. `others` serve routes that are not the application's.
    """

    async def serve(account: Account, line: Line) -> Served:
        try:
            account = await still(account)
        except Denied as error:
            return Served(401, bytes(refused(error).body))
        how = Behind()
        token = BEHIND.set(how)
        try:
            if other := (others or {}).get(line.endpoint):
                said, posts = await _ask_other(other, account, line)
                how.cited.extend(posts)
            else:
                said = await ask(app, account, line.endpoint, line.body, line.request_id)
        finally:
            BEHIND.reset(token)
        again_s = said.headers.get("retry-after", "")
        return Served(said.status, said.body, how.cited, float(again_s) if again_s.isdigit() else 1.0)

    return serve


async def _ask_other(other: Other, account: Account, line: Line) -> tuple[Said, Sequence[Post]]:
    try:
        body, posts = await other(account, line.body, line.request_id)
    except VoxpopError as error:
        response = refused(error)
        return Said(response.status_code, dict(response.headers), bytes(response.body)), ()
    return Said(200, {}, body), posts
