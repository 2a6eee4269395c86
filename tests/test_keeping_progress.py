"""Long work is told of as it goes, and ends when whoever asked for it is gone."""

import asyncio
import threading
import time

import pytest

from voxpop.errors import VoxpopError
from voxpop.keeping.progress import Tell, watched


def counting(told: Tell) -> str:
    for n in range(3):
        told("counting", n, 3)
    return "counted"


async def test_it_tells_and_returns() -> None:
    heard: list[tuple[str, int, int]] = []
    assert await watched(counting, lambda *said: heard.append(said)) == "counted"
    assert heard == [("counting", n, 3) for n in range(3)]


async def test_its_error_is_the_callers() -> None:
    def failing(_: Tell) -> None:
        raise VoxpopError("The disk is full.")

    with pytest.raises(VoxpopError, match="full"):
        await watched(failing, lambda *_: None)


async def test_it_ends_when_the_caller_is_cancelled() -> None:
    begun, ended = threading.Event(), threading.Event()

    def endless(told: Tell) -> None:
        try:
            while True:
                told("waiting", 0, 1)
                begun.set()
                time.sleep(0.005)
        finally:
            ended.set()

    waiting = asyncio.create_task(watched(endless, lambda *_: None))
    assert await asyncio.to_thread(begun.wait, 5)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(waiting, 5)
    assert ended.is_set()
