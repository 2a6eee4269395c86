"""Run long work on a thread and tell how far it is; when its caller is cancelled it stops at the next word."""

import asyncio
import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
# What is done, how much of it, out of how much (bytes, pages or posts).
Tell = Callable[[str, int, int], None]


class _Stopped(Exception):
    """The caller is gone."""


async def watched(work: Callable[[Tell], T], tell: Tell) -> T:
    """What `work` returns; it must call the `Tell` that it gets often, on its own thread."""
    stop = threading.Event()

    def told(what: str, done: int, total: int) -> None:
        if stop.is_set():
            raise _Stopped
        tell(what, done, total)

    running = asyncio.get_running_loop().run_in_executor(None, work, told)
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        stop.set()
        await asyncio.wait([running])
        running.exception()
        raise
