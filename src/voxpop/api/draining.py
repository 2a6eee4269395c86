"""The end of a server: it takes no new work, lets what is under way end, and cuts off what cannot in time."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, TypeVar

from voxpop.errors import VoxpopError

T = TypeVar("T")
_TAKES_WORK = {"POST", "PUT", "PATCH"}


class Drain:
    """Whether the server drains. Until it ends it still listens, so that a reader can come back to its answer."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()

    def refused(self, method: str) -> VoxpopError | None:
        """Why a request is not taken; None where it is."""
        if not self.begun.is_set() or method not in _TAKES_WORK:
            return None
        cure = "Ask again in a moment: another server, or this one started anew, will answer."
        return VoxpopError("The server is about to end and takes no more requests.", cure, code="draining")


async def until_draining(items: AsyncIterator[T], drain: Drain) -> AsyncIterator[T]:
    """The items, until they end or the server drains. What gives them is closed by who opened it."""
    over = asyncio.ensure_future(drain.begun.wait())
    coming: asyncio.Future[Any] = over
    try:
        while True:
            coming = asyncio.ensure_future(anext(items, _END))
            await asyncio.wait({coming, over}, return_when=asyncio.FIRST_COMPLETED)
            if not coming.done() or (item := coming.result()) is _END:
                return
            yield item
    finally:
        for task in (coming, over):
            task.cancel()
        await asyncio.gather(coming, over, return_exceptions=True)


_END = object()
