"""Several answers to one request at once: their events in the order in which they come, each with its number."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from typing import TypeVar

T = TypeVar("T")
_WAITING = 16  # events that are made and not yet taken


async def interleaved(streams: Sequence[AsyncIterator[T]]) -> AsyncIterator[tuple[int, T]]:
    """The items of all streams until all have ended; an error of one ends all. Closing it closes them."""
    if len(streams) == 1:
        async with aclosing(streams[0]) as alone:  # type: ignore[type-var]
            async for item in alone:
                yield 0, item
        return
    waiting: asyncio.Queue[tuple[int, T] | BaseException | None] = asyncio.Queue(_WAITING)

    async def pour(number: int, stream: AsyncIterator[T]) -> None:
        ended: BaseException | None = None
        try:
            async with aclosing(stream) as items:  # type: ignore[type-var]
                async for item in items:
                    await waiting.put((number, item))
        except Exception as error:  # it is raised where the items are taken
            ended = error
        await waiting.put(ended)

    tasks = [asyncio.create_task(pour(n, stream)) for n, stream in enumerate(streams)]
    try:
        left = len(tasks)
        while left:
            taken = await waiting.get()
            if isinstance(taken, BaseException):
                raise taken
            if taken is None:
                left -= 1
            else:
                yield taken
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
