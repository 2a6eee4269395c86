"""Answers on their way to a client: bounded in number, stopped when it goes; a failure is told in their frames.

Closing a stream closes the events that it renders, and so stops the engine; only a client that asked to resume its
answer leaves it running. A stream that is no answer has no end of its own: it ends when the server drains.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, aclosing
from typing import Any, TypeVar

from sse_starlette import EventSourceResponse, ServerSentEvent
from sse_starlette.sse import SendTimeoutError
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from voxpop.accounts import Denied
from voxpop.api.draining import until_draining
from voxpop.api.resuming import NAMES, Kept, wants
from voxpop.desk import Turn
from voxpop.errors import VoxpopError
from voxpop.places import Places
from voxpop.reach import outward

T = TypeVar("T")
Frame = dict[str, str]
_log = logging.getLogger(__name__)
_BEAT_S = 15.0
_LOOK_S = 2.0
_UNREAD_S = 30.0


async def unless_gone(request: Request, work: Awaitable[T]) -> T:
    """What `work` gives. It is cancelled, and ClientDisconnect raised, when the client goes away first."""
    doing = asyncio.ensure_future(work)
    going = asyncio.create_task(_gone(request))
    try:
        await asyncio.wait({doing, going}, return_when=asyncio.FIRST_COMPLETED)
        if doing.done():
            return doing.result()
        raise ClientDisconnect
    finally:
        for task in (doing, going):
            task.cancel()
        await asyncio.gather(doing, going, return_exceptions=True)


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def stream(
    request: Request,
    events: AsyncIterator[Frame],
    places: Places,
    failed: Callable[[VoxpopError], Frame],
    turn: Turn | None = None,
) -> Response:
    """Server-sent events. An error before the first event is raised; a later one is sent as `failed` frames it.

    What was set aside for a `turn` is given back where none of its answers was begun.
    """
    async with AsyncExitStack() as kept:
        if turn:
            kept.push_async_callback(turn.close)
        kept.enter_context(places.held())
        await kept.enter_async_context(aclosing(events))  # type: ignore[type-var]
        first = await unless_gone(request, anext(events))
        frames = _to_the_end(first, events, failed, request.state.request_id)
        if turn is None:
            frames = _while_let_in(until_draining(frames, request.app.state.drain), request, failed)
            return _Stream(frames, kept.pop_all(), {})
        resumable = request.app.state.resumable if wants(request.headers) else None
        if resumable and (one := resumable.begin(request.state.account, turn, frames, kept, failed)):
            return resumed(request, one, 0, turn.headers)
        return _Stream(frames, kept.pop_all(), turn.headers)
    raise AssertionError  # the stack swallows nothing


def resumed(request: Request, one: Kept, after: int, headers: Mapping[str, str]) -> Response:
    """What came of an answer after the event of this number, and what comes."""
    frames = _while_let_in(one.read(after), request, one.failed)
    return _Stream(frames, AsyncExitStack(), {**headers, NAMES: one.id})


async def _while_let_in(
    frames: AsyncIterator[Frame], request: Request, failed: Callable[[VoxpopError], Frame]
) -> AsyncIterator[Frame]:
    """The frames, until they end or their reader's key or session does; that is told as `failed` frames it."""
    clock = asyncio.get_running_loop().time
    coming, look = asyncio.ensure_future(anext(frames, None)), clock() + _LOOK_S
    try:
        while True:
            await asyncio.wait({coming}, timeout=max(0.0, look - clock()))
            if clock() >= look:
                try:
                    await request.state.let_in()
                except Denied as error:
                    yield failed(error)
                    return
                except VoxpopError as error:
                    _log.warning("Who reads a stream could not be asked again: %s", error.what)
                look = clock() + _LOOK_S
            if coming.done():
                if (frame := coming.result()) is None:
                    return
                yield frame
                coming = asyncio.ensure_future(anext(frames, None))
    finally:
        coming.cancel()
        await asyncio.gather(coming, return_exceptions=True)


async def _to_the_end(
    first: Frame, events: AsyncIterator[Frame], failed: Callable[[VoxpopError], Frame], id_: str
) -> AsyncIterator[Frame]:
    yield first
    try:
        async for event in events:
            yield event
    except VoxpopError as error:
        yield failed(outward(error))
    except Exception:
        _log.exception("An answer broke off (%s)", id_)
        yield failed(broken())


def broken() -> VoxpopError:
    """What a client is told of a fault of ours; the log knows more."""
    return VoxpopError("The server failed.", "Look into its log.", code="internal_error")


class _Stream(EventSourceResponse):
    """Holds what was opened for it until it has ended; a client that reads nothing for long is left."""

    def __init__(self, frames: AsyncIterator[Frame], kept: AsyncExitStack, headers: Mapping[str, str]) -> None:
        super().__init__(
            frames,
            headers={"Cache-Control": "no-store", **headers},
            ping=_BEAT_S,
            ping_message_factory=lambda: ServerSentEvent(comment="still here", sep="\n"),
            sep="\n",
            send_timeout=_UNREAD_S,
        )
        self._kept = kept

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async with self._kept:
            try:
                await super().__call__(scope, receive, send)
            except SendTimeoutError as error:
                raise ClientDisconnect from error
