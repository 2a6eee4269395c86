"""Work through the batches in the background: a few requests at once, each account in its turn, nothing twice.

A request that cannot be served yet (no allowance is left, the server is busy or about to end) goes back, and its
batch waits. It decides nothing of an answer: `serve` asks as any client would.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass
from typing import Any

import orjson

from voxpop.accounts import Account
from voxpop.batches import MOST, Batch, Line, Wish
from voxpop.batches.store import Batches
from voxpop.errors import UsageError, VoxpopError
from voxpop.files import LONGEST_S, File, Files
from voxpop.posts import Post

ENDPOINTS = ("/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/responses")
LONGEST_LINE = 1 << 20
_LOOK_S = 5.0
_LATER = (408, 429, 503)
_MOST_ERRORS = 100
_AT_ONCE = 500
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Served:
    """A response, the posts that it rests on, and in how many seconds to ask again where it is no answer yet."""

    status: int
    body: bytes
    posts: Sequence[Post] = ()
    again_s: float = 1.0


Serve = Callable[[Account, Line], Awaitable[Served]]


class Work:
    """Works until it is cancelled. `at_once`: how many requests are under way at most."""

    def __init__(self, batches: Batches, files: Files, *, at_once: int = 2) -> None:
        self._batches, self._files = batches, files
        self._at_once = at_once
        self._doing: set[asyncio.Task[None]] = set()
        self._not_before: dict[str, float] = {}
        self._last: dict[str, int] = {}  # by owner: when it had its last turn
        self._turn = 0

    async def run(self, serve: Serve) -> None:
        """Never ends by itself; `serve` asks one request."""
        await self._batches.begin()
        try:
            while True:
                self._batches.woken.clear()
                try:
                    await self._batches.drop()
                    busy = await self._round(serve)
                except VoxpopError as error:
                    _log.warning("Batches wait: %s", error.what)
                    busy = False
                if not busy:
                    with suppress(TimeoutError):
                        await asyncio.wait_for(self._batches.woken.wait(), self._wait_s())
        finally:
            for task in self._doing:
                task.cancel()
            await asyncio.gather(*self._doing, return_exceptions=True)

    async def _round(self, serve: Serve) -> bool:
        """Begin what there is room for; whether something was begun."""
        begun = False
        now = asyncio.get_running_loop().time()
        self._not_before = {id_: at for id_, at in self._not_before.items() if at > now}
        for batch in sorted(await self._batches.open_ones(), key=lambda b: self._last.get(b.owner, 0)):
            if batch.status == "validating":
                await self._read(batch)
                begun = True
            elif batch.status == "in_progress" and batch.id not in self._not_before:
                if len(self._doing) < self._at_once and (line := await self._batches.take(batch.id)):
                    self._turn += 1
                    self._last[batch.owner] = self._turn
                    task = asyncio.create_task(self._do(batch, line, serve))
                    self._doing.add(task)
                    task.add_done_callback(self._done)
                    begun = True
                elif batch.endpoint and not batch.counts.keys() & {"pending", "running"}:
                    await self._close(batch)
        return begun and len(self._doing) < self._at_once

    def _wait_s(self) -> float:
        """To when the first batch that waits may be asked again, or to the next look."""
        now = asyncio.get_running_loop().time()
        return min([_LOOK_S, *(at - now for at in self._not_before.values())])

    def _done(self, task: "asyncio.Task[None]") -> None:
        self._doing.discard(task)
        self._batches.woken.set()
        if not task.cancelled() and (error := task.exception()):
            _log.error("A request of a batch failed", exc_info=error)

    async def _do(self, batch: Batch, line: Line, serve: Serve) -> None:
        try:
            served = await serve(batch.account, line)
        except BaseException:
            await asyncio.shield(self._batches.put_back(line))
            raise
        if served.status in _LATER:
            self._not_before[batch.id] = asyncio.get_running_loop().time() + served.again_s
            await self._batches.put_back(line)
        else:
            await self._batches.finish(line, served.status, served.body, served.posts)

    async def _read(self, batch: Batch) -> None:
        """Take the requests of its file in, or say why none of them can be done."""
        await self._batches.clear(batch.id)
        errors: list[dict[str, Any]] = []
        wishes: list[Wish] = []
        number = 0
        try:
            async for number, text in lines(self._files.read(batch.owner, batch.input_file)):
                try:
                    wishes.append(wish(text, batch.endpoint))
                except UsageError as error:
                    errors.append({"code": error.code, "message": error.what, "line": number, "param": None})
                if number > MOST or len(errors) >= _MOST_ERRORS:
                    break
                if len(wishes) == _AT_ONCE and not errors:
                    await self._batches.add(batch, wishes)
                    wishes = []
            if number > MOST or not number:
                what = f"The file has no request, or over {MOST}."
                errors.append({"code": "bad_file", "message": what, "line": None, "param": None})
            if not errors:
                await self._batches.add(batch, wishes)
        except UsageError as error:
            errors.append({"code": error.code, "message": error.what, "line": None, "param": None})
        if errors:
            await self._batches.clear(batch.id)
            await self._batches.advance(batch.id, "failed", "failed_at", errors=errors)
        else:
            await self._batches.advance(batch.id, "in_progress", "in_progress_at")

    async def _close(self, batch: Batch) -> None:
        """All of it is over: name the files that show what came."""
        await self._batches.advance(batch.id, "completed", "completed_at", **await self.shown(batch))

    async def shown(self, batch: Batch) -> dict[str, str]:
        """The files of its results and of its errors, where there are any."""
        named = {}
        for kind, key in (("output", "output_file_id"), ("errors", "error_file_id")):
            size = sum([len(part) async for part in self.results(batch.owner, batch.id, kind)])
            if size:
                id_ = f"file-{batch.id.removeprefix('batch_')}{kind[0]}"
                now = self._batches.now()
                made = f"{batch.id}:{kind}"
                name = f"{batch.id}_{kind}.jsonl"
                file = File(id_, name, "batch_output", size, now, now + LONGEST_S, made)
                await self._files.note(batch.owner, file)
                named[key] = id_
        return named

    async def made(self, owner: str, file: File) -> AsyncIterator[bytes]:
        """The bytes of a file that a batch made. Raises UsageError where the batch is gone."""
        batch, _, kind = file.made_by.partition(":")
        async for part in self.results(owner, batch, kind):
            yield part

    async def results(self, owner: str, batch: str, kind: str) -> AsyncIterator[bytes]:
        """Lines as OpenAI has them; what rests on a post that is gone is told as an error."""
        await self._batches.get(owner, batch)
        async for line in self._batches.all_lines(batch):
            if (line.state == "succeeded") == (kind == "output"):
                yield orjson.dumps(told(line)) + b"\n"


def told(line: Line) -> dict[str, Any]:
    """A result as a line of OpenAI's output file."""
    said: dict[str, Any] = {"id": line.request_id, "custom_id": line.custom_id, "response": None, "error": None}
    if line.withdrawn:
        what = "A post on which this answer rested was deleted or edited. Ask again."
        return said | {"error": {"code": "post_gone", "message": what}}
    if line.result is None:
        what = "The batch was over before this request began."
        return said | {"error": {"code": "batch_over", "message": what}}
    body = orjson.loads(line.result)
    return said | {"response": {"status_code": line.status, "request_id": line.request_id, "body": body}}


async def lines(parts: AsyncIterator[bytes]) -> AsyncIterator[tuple[int, bytes]]:
    """(number from 1, text) of each line that is not empty. Raises UsageError for one that is too long."""
    rest, number = b"", 0
    async with aclosing(parts):  # type: ignore[type-var]
        async for part in parts:
            *whole, rest = (rest + part).split(b"\n")
            for text in whole:
                number += 1
                if text.strip():
                    yield number, text
            if len(rest) > LONGEST_LINE:
                raise UsageError(
                    f"Line {number + 1} has over {LONGEST_LINE} bytes.", "Shorten it.", code="too_long"
                )
    if rest.strip():
        yield number + 1, rest


def wish(text: bytes, endpoint: str) -> Wish:
    """A line of an input file: `custom_id`, `method`, `url` and `body`. Raises UsageError for any other."""
    try:
        said = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise UsageError("The line is not JSON.", "Give one object a line.", code="bad_json") from error
    body = said.get("body") if isinstance(said, dict) else None
    if not isinstance(body, dict) or body.get("stream"):
        raise UsageError("The line has no 'body' that can be asked (a batch streams nothing).", "Give one.")
    if said.get("method") != "POST" or said.get("url") != endpoint:
        raise UsageError(f"The line does not POST to {endpoint}, as its batch does.", "Give 'method' and 'url'.")
    return Wish(named(said.get("custom_id")), endpoint, orjson.dumps(body))


def named(id_: Any) -> str:
    """A client's own id of a request. Raises UsageError for one that cannot be kept."""
    if not isinstance(id_, str) or not 1 <= len(id_) <= 255 or not id_.isprintable():
        raise UsageError("A request has no id of its own.", "Give one of 1 to 255 characters.")
    if id_.encode("utf-8", "replace").decode() != id_:
        raise UsageError("A request's id is not Unicode text.", "Leave out lone surrogates.")
    return id_
