"""Serves a request that is sent again with the same `Idempotency-Key` once: the same answer, metered once.

An answer so asked for does not stop with its client, for the client has said that it will come again. One that was
streamed is given again whole, at once. What rests on a post that is gone by then is not given again.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import orjson

from voxpop.accounts import Account
from voxpop.api.bodies import MAX_BODY, PATIENCE_S, in_time
from voxpop.api.guard import refused
from voxpop.desk import Turn, admitted
from voxpop.errors import UsageError, VoxpopError
from voxpop.posts import Post
from voxpop.quotas import repeats
from voxpop.quotas.permits import Quotas
from voxpop.quotas.repeats import Asked
from voxpop.sealed import Shut, opened, shut

Posts = Callable[[Sequence[str]], Awaitable[list[Post]]]
# Where an answer rests on what its turns cited, or on nothing of anybody.
SERVED = re.compile(
    r"/api/answer|/v1/(chat/completions|completions|complete|responses|messages|embeddings|batches)"
)
_KEY = re.compile(rb"[\x20-\x7e]{1,255}")
_LONGEST = 4 << 20  # bytes of an answer that is kept
_KEPT = (b"content-type", b"cache-control")


class Repeating:
    """ASGI middleware inside the entry."""

    def __init__(self, app: Any, quotas: Quotas, posts: Posts) -> None:
        self._app, self._quotas, self._posts = app, quotas, posts

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        key = dict(scope.get("headers", ())).get(b"idempotency-key")
        if scope["type"] != "http" or scope["method"] != "POST" or key is None:
            await self._app(scope, receive, send)
            return
        try:
            await self._once(scope, receive, send, key)
        except VoxpopError as error:
            response = refused(error, scope["path"])
            if error.code == "repeat_of_another":
                response.headers["x-should-retry"] = "false"
            await response(scope, receive, send)

    async def _once(self, scope: Any, receive: Any, send: Any, key: bytes) -> None:
        if not SERVED.fullmatch(scope["path"]):
            what = f"'Idempotency-Key' is not served at {scope['path'][:100]}."
            raise UsageError(what, "Leave it out.")
        if not _KEY.fullmatch(key):
            raise UsageError("The 'Idempotency-Key' cannot be used.", "Give 1 to 255 characters of ASCII.")
        body = await in_time(_whole(receive), PATIENCE_S)
        account: Account = scope["state"]["account"]
        asked = Asked.of(account.id, key.decode(), scope["path"].encode(), scope["query_string"], body)
        quotas, now = self._quotas, self._quotas.clock()
        state, sealed = await quotas.writer.do(asked.account, lambda s: repeats.begin(s, asked, quotas.server, now))
        if state == "done":
            await self._again(sealed, send)
        elif state == "another":
            what = "This 'Idempotency-Key' was given with another request."
            raise UsageError(what, "Give every request a key of its own.", code="repeat_of_another")
        elif state == "under way":
            what = "The request with this 'Idempotency-Key' is under way."
            raise UsageError(what, "Ask again in a moment.", code="repeat_under_way")
        else:
            await self._serve(scope, body, send, asked)

    async def _serve(self, scope: Any, body: bytes, send: Any, asked: Asked) -> None:
        quotas, answer = self._quotas, _Answer(send)
        quotas.open += 1  # it beats for what is under way
        turns: list[Turn] = []
        noted = admitted.set(turns)
        try:
            await self._app(scope, _said(body), answer.send)
        finally:
            admitted.reset(noted)
            cited = [post for turn in turns for post in turn.cited]
            kept = shut(answer.packed(), cited).pack() if answer.is_kept else b""
            writing = quotas.writer.begin(asked.account, lambda s: repeats.end(s, asked, quotas.server, kept))
            writing.add_done_callback(lambda _: setattr(quotas, "open", quotas.open - 1))
            await asyncio.shield(writing)
        await answer.finish()

    async def _again(self, sealed: bytes, send: Any) -> None:
        value = Shut.unpack(sealed)
        data = opened(value, await self._posts(value.ids) if value.ids else [])
        if data is None:
            what = "The answer to this 'Idempotency-Key' rested on a post that is gone."
            raise UsageError(what, "Ask anew, with another key.", code="withdrawn")
        head, _, body = data.partition(b"\n")
        said = orjson.loads(head)
        headers = [(k.encode(), v.encode()) for k, v in said["headers"]]
        headers += [(b"idempotent-replayed", b"true"), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": said["status"], "headers": headers})
        await send({"type": "http.response.body", "body": body})


class _Answer:
    """An answer on its way, with a copy; its last piece is sent once the copy is kept."""

    def __init__(self, send: Any) -> None:
        self._send = send
        self._start: Any = {}
        self._body = bytearray()
        self._last: Any = None

    async def send(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            self._start = message
        elif message["type"] == "http.response.body":
            if len(self._body) <= _LONGEST:
                self._body += message.get("body", b"")
            if not message.get("more_body", False):
                self._last = message
                return
        await self._send(message)

    async def finish(self) -> None:
        """Send what was held back."""
        if self._last:
            await self._send(self._last)

    @property
    def is_kept(self) -> bool:
        """Whether it is whole, was no failure, and not too long."""
        good = 200 <= self._start.get("status", 0) < 300
        return good and self._last is not None and len(self._body) <= _LONGEST

    def packed(self) -> bytes:
        """All of it but the headers that belong to one request."""
        headers = [
            (k.decode("latin-1"), v.decode("latin-1")) for k, v in self._start["headers"] if k.lower() in _KEPT
        ]
        head = orjson.dumps({"status": self._start["status"], "headers": headers})
        return head + b"\n" + bytes(self._body)


def _said(body: bytes) -> Callable[[], Awaitable[Any]]:
    """The body for whoever serves it; after it the client is never gone."""
    told = False

    async def receive() -> Any:
        nonlocal told
        if told:
            await asyncio.Event().wait()
        told = True
        return {"type": "http.request", "body": body, "more_body": False}

    return receive


async def _whole(receive: Any) -> bytes:
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise UsageError("The client left before its request was whole.", "Send it again.")
        body += message.get("body", b"")
        if len(body) > MAX_BODY:
            what = f"The body is over {MAX_BODY} bytes."
            raise UsageError(what, "Send a shorter one, or leave out 'Idempotency-Key'.", code="too_large")
        if not message.get("more_body", False):
            return bytes(body)
