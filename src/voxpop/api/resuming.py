"""Answers that outlive a dropped connection: what was sent is kept for minutes, for its own account, and no longer.

Only a client that asks for it (`x-voxpop-resume: true`) gets one: for every other, going away stops the engine.
What rests on a post that was deleted or edited meanwhile is not sent again. All is in this process's memory alone.
"""

import asyncio
import secrets
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, suppress
from typing import Any

from voxpop.accounts import Account
from voxpop.desk import Turn
from voxpop.errors import UsageError, VoxpopError
from voxpop.posts import Post

Frame = dict[str, str]
Posts = Callable[[Sequence[str]], Awaitable[list[Post]]]
ASKS = "x-voxpop-resume"
NAMES = "x-voxpop-stream"
KEPT_S = 300.0
_MOST = 1000
_MOST_OF_ONE = 64  # of one account
_LONGEST = 1 << 20  # bytes of one answer's frames
_BYTES = 256 << 20


class Kept:
    """One answer, made whether or not somebody reads it; frames are numbered from 1.

    Of a long one the oldest frames are let go. The last who came to read it is its only reader.
    """

    def __init__(self, id_: str, owner: str, turn: Turn, failed: Callable[[VoxpopError], Frame]) -> None:
        self.id, self.owner, self.turn = id_, owner, turn
        self.bytes = self.dropped = self.readers = 0
        self.ended = False
        self.left = asyncio.get_running_loop().time()
        self.failed = failed
        self._frames: deque[tuple[Frame, int]] = deque()  # each with how many posts had been cited by then
        self._changed = asyncio.Event()
        self._reader = 0
        self._task: asyncio.Task[None] | None = None

    def begin(self, frames: AsyncIterator[Frame], kept: AsyncExitStack) -> None:
        """Make the answer; what it holds is given back at its end."""
        self._task = asyncio.create_task(self._make(frames, kept))

    async def _make(self, frames: AsyncIterator[Frame], kept: AsyncExitStack) -> None:
        try:
            async with kept:
                async for frame in frames:
                    self._add(frame)
        finally:
            self.ended = True
            self._tell()

    def _add(self, frame: Frame) -> None:
        self._frames.append((frame, len(self.turn.cited)))
        self.bytes += _size(frame)
        while self.bytes > _LONGEST:
            self.bytes -= _size(self._frames.popleft()[0])
            self.dropped += 1
        self._tell()

    def _tell(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def read(self, after: int = 0) -> AsyncIterator[Frame]:
        """The frames after the one of this number, then those to come."""
        self._reader += 1
        self.readers += 1
        mine, at = self._reader, after
        try:
            while mine == self._reader:
                if at < self.dropped:
                    what = f"What came after event {at} is not kept any more."
                    yield self.failed(UsageError(what, "Ask again.", code="stream_gone"))
                    return
                if at < self.dropped + len(self._frames):
                    at += 1
                    yield {"id": str(at), **self._frames[at - self.dropped - 1][0]}
                elif self.ended:
                    return
                else:
                    await self._changed.wait()
        finally:
            self.readers -= 1
            self.left = asyncio.get_running_loop().time()

    async def forget_deleted(self, posts: Posts) -> None:
        """Where a cited post is not there as it was: let go what rests on it, and end with an error."""
        cited = list(self.turn.cited)
        texts = {p.id: p.text for p in await posts([p.id for p in cited])}
        gone = next((n for n, p in enumerate(cited) if texts.get(p.id) != p.text), None)
        if gone is None:
            return
        await self.stop()
        while self._frames and self._frames[-1][1] > gone:
            self.bytes -= _size(self._frames.pop()[0])
        what = "A post on which this answer rests was deleted or edited meanwhile."
        self._frames.append((self.failed(VoxpopError(what, "Ask again.", code="post_gone")), 0))
        self._tell()

    async def stop(self) -> None:
        """End the making of it; what came stays readable."""
        if self._task:
            self._task.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await self._task


class Resumable:
    """The answers that can be resumed, bounded in number, in bytes and for each account."""

    def __init__(self, posts: Posts) -> None:
        self._posts = posts
        self._kept: dict[str, Kept] = {}
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._ending: set[asyncio.Task[None]] = set()

    def begin(
        self,
        account: Account,
        turn: Turn,
        frames: AsyncIterator[Frame],
        kept: AsyncExitStack,
        failed: Callable[[VoxpopError], Frame],
    ) -> Kept | None:
        """Make the answer apart from who reads it; None, and nothing begun, where there is no room for it."""
        if not self._has_room(account.id):
            return None
        one = Kept(f"strm_{secrets.token_urlsafe(18)}", account.id, turn, failed)
        self._kept[one.id] = one
        one.begin(frames, kept.pop_all())
        self._look(one.id, KEPT_S)
        return one

    async def resume(self, id_: str, account: Account) -> Kept:
        """One of the account's own, without what must not be shown again. Raises UsageError, Denied."""
        one = self._own(id_, account)
        account.check(one.turn.endpoint, one.turn.model)
        await one.forget_deleted(self._posts)
        return one

    async def stop(self, id_: str, account: Account) -> None:
        """End one of the account's own and forget it. Raises UsageError."""
        one = self._own(id_, account)
        self._forget(one.id)
        await one.stop()

    async def close(self) -> None:
        """Stop all."""
        for id_, one in list(self._kept.items()):
            self._forget(id_)
            await one.stop()

    def _own(self, id_: str, account: Account) -> Kept:
        one = self._kept.get(id_)
        if one is None or one.owner != account.id:
            what = f"There is no stream '{id_[:60]}' to resume."
            cure = f"A stream is kept for {KEPT_S:g} s, for the account that asked. Ask again."
            raise UsageError(what, cure, code="stream_not_found")
        return one

    def _has_room(self, owner: str) -> bool:
        """Whether one more may be kept; of those that have ended the oldest give way."""
        while True:
            own = [k for k in self._kept.values() if k.owner == owner]
            if len(own) >= _MOST_OF_ONE:
                crowd = own
            elif len(self._kept) >= _MOST or self._bytes() + _LONGEST > _BYTES:
                crowd = list(self._kept.values())
            else:
                return True
            oldest = next((k for k in crowd if k.ended and not k.readers), None)
            if oldest is None:
                return False
            self._forget(oldest.id)

    def _bytes(self) -> int:
        """What they hold, or may come to hold."""
        return sum(k.bytes if k.ended else _LONGEST for k in self._kept.values())

    def _look(self, id_: str, in_s: float) -> None:
        self._timers[id_] = asyncio.get_running_loop().call_later(in_s, self._expire, id_)

    def _expire(self, id_: str) -> None:
        """It is over five minutes after its last reader left, also where it is not whole by then."""
        one = self._kept[id_]
        left_s = one.left + KEPT_S - asyncio.get_running_loop().time()
        if one.readers or left_s > 0:
            self._look(id_, KEPT_S if one.readers else left_s)
            return
        self._forget(id_)
        ending = asyncio.create_task(one.stop())
        self._ending.add(ending)
        ending.add_done_callback(self._ending.discard)

    def _forget(self, id_: str) -> None:
        self._kept.pop(id_, None)
        if timer := self._timers.pop(id_, None):
            timer.cancel()


def wants(headers: Any) -> bool:
    """Whether a request asks that its answer can be resumed."""
    return str(headers.get(ASKS, "")).lower() in ("true", "1")


def _size(frame: Frame) -> int:
    return sum(len(v) for v in frame.values()) + 64
