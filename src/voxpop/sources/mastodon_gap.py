"""Know how far a timeline was given, and fetch over REST what a stream missed; what cannot be had is said.

A cursor is `NUMBER@MICROS`: the server's number of the post up to which all was given, and when that was. While a
gap is being filled the cursor stays at the filling, so that a crash amid it loses nothing that came live beside it.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from voxpop.errors import VoxpopError
from voxpop.posts import Missed
from voxpop.sources.mastodon_server import Channel, Server, Unanswered
from voxpop.sources.mastodon_status import believable, local_id, made_at, number_at, order
from voxpop.times import MICROS

_CURSOR = re.compile(r"([0-9A-Za-z_-]{1,64})@(\d{1,17})").fullmatch


class Bounds(NamedTuple):
    """How much is filled: `overlap_s` is what the fill goes back before the last post, since some come late."""

    overlap_s: float = 30.0
    longest_s: float = 24 * 3600.0
    pages: int = 1000
    tries: int = 6
    first_wait_s: float = 1.0


class Reach:
    """How far everything was given: up to `number`, at our time `at`; `live` is the latest that came since."""

    def __init__(self, after: str | None, name: str) -> None:
        match = _CURSOR(after or "")
        if after and not match:
            raise VoxpopError(
                f"The cursor {after!r} of source {name!r} names no post.",
                "Remove that source's cursor from the store; it then begins at its look-back.",
                lasting=True,
            )
        self.number, self.at = (match[1], int(match[2])) if match else ("", 0)
        self.live = ""
        self.filling = True

    @property
    def cursor(self) -> str:
        """What to go on from; empty while nothing is known."""
        return f"{self.number}@{self.at}" if self.number else ""

    @property
    def when(self) -> int:
        """The moment (microseconds) up to which all was given: by the number, where it tells one."""
        return made_at(self.number) or self.at

    def came(self, local: str, now: int) -> None:
        """A post came live."""
        if local and believable(local, now) and order(local) > order(self.live):
            self.live = local
        if not self.filling:
            self.given(self.live, now)

    def given(self, local: str, now: int) -> None:
        """All up to this post was given."""
        if local and believable(local, now) and order(local) >= order(self.number):
            self.number, self.at = local, now

    def cut(self) -> None:
        """The line is down: from here on there is a gap."""
        self.live, self.filling = "", True

    def whole(self, now: int) -> None:
        """The gap is filled, or given up: what came live since is the newest."""
        self.filling = False
        self.given(self.live, now)


class Gap:
    """Fetches what lies between the reach and the live line, oldest first, 40 posts a request.

    `take` gets each status and gives what is to be told of it on; `tell` gets what could not be had.
    """

    def __init__(
        self,
        server: Server,
        channel: Channel,
        reach: Reach,
        bounds: Bounds,
        take: Callable[[Any], Awaitable[None]],
        tell: Callable[[Missed], Awaitable[None]],
    ) -> None:
        self._server, self._channel, self._reach, self._bounds = server, channel, reach, bounds
        self._take, self._tell = take, tell

    async def fill(self, now: int, lookback_s: float) -> None:
        """Fill up to `now` (microseconds), the moment at which the line opened."""
        try:
            await self._fill(now, lookback_s)
        except Unanswered as error:
            await self._missed(self._reach.when, now, str(error))
        self._reach.whole(now)

    async def _fill(self, now: int, lookback_s: float) -> None:
        reach, bounds = self._reach, self._bounds
        if reach.number:
            begin = self._begin()
        else:
            begin = await self._newest(now, lookback_s)
        oldest = now - int(bounds.longest_s * MICROS)
        made = made_at(begin)
        if made is not None and made < oldest:
            await self._missed(made, oldest, f"more than {bounds.longest_s / 3600:g} hours")
            begin = number_at(oldest)
        for _ in range(bounds.pages if begin else 0):
            page = await self._page(min_id=begin)
            newest = max((local_id(s) for s in page), key=order, default="")
            if not newest or order(newest) <= order(begin):
                return
            await self._give(page, now)
            begin = newest
            if order(newest) >= order(reach.live or newest + "0"):
                return
        if begin:
            await self._missed(reach.when, now, f"more than {bounds.pages} pages of posts")

    def _begin(self) -> str:
        """A little before the last post: some come late, and numbers of one millisecond have no order."""
        made = made_at(self._reach.number)
        if made is None:
            return self._reach.number
        return number_at(made - int(self._bounds.overlap_s * MICROS))

    async def _newest(self, now: int, lookback_s: float) -> str:
        """A first page, so that there is something at once; where to go on from, where the numbers tell a time."""
        page = await self._page()
        if any(made_at(local_id(status)) is not None for status in page) and lookback_s > 0:
            for status in reversed(page):
                await self._take(status)
            return number_at(now - int(lookback_s * MICROS))
        await self._give(page, now)
        return ""

    async def _give(self, page: list[Any], now: int) -> None:
        for status in sorted(page, key=lambda s: order(local_id(s))):
            await self._take(status)
            self._reach.given(local_id(status), now)

    async def _page(self, **bounds: str) -> list[Any]:
        """One page, asked for again while the server is in trouble, but not for ever."""
        for tried in range(self._bounds.tries):
            try:
                return await self._server.timeline(self._channel, **bounds)
            except Unanswered as error:
                if error.lasting or tried == self._bounds.tries - 1:
                    raise
                await asyncio.sleep(self._bounds.first_wait_s * 2**tried)
        raise Unanswered("no try was allowed")

    async def _missed(self, since: int, until: int, why: str) -> None:
        """Nothing is missed where nothing was ever given: a first start promises no past."""
        if self._reach.number and since < until:
            await self._tell(Missed(since, until, f"{self._server.host}: {why}"))
