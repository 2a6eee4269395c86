"""Read a Mastodon server's public posts live, reconnecting for ever; posts that are not for an index are not kept.

The stream brings posts as they are made, edited and deleted; REST fills the gap after a cut. A token, where the
server wants one, is in no address, no state and no error.
"""

import asyncio
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import aclosing
from dataclasses import replace
from typing import Any, NamedTuple, NoReturn

from voxpop.errors import UsageError, VoxpopError
from voxpop.posts import Event, Missed
from voxpop.sources.mastodon_gap import Bounds, Gap, Reach
from voxpop.sources.mastodon_server import TOKENS, Channel, Server, Unanswered, address, channel, token_of
from voxpop.sources.mastodon_status import Heard, Reading, made_at, read_event, read_status
from voxpop.sources.mastodon_stream import Frame, Transport, frames
from voxpop.sources.specs import Kind, Spec
from voxpop.times import MICROS

_WAITING = 1000
_TRANSPORTS: dict[str, tuple[Transport, ...]] = {"auto": ("ws", "sse"), "ws": ("ws",), "sse": ("sse",)}


class Patience(NamedTuple):
    """How long to wait for what, in seconds."""

    open_s: float = 10.0  # for the server to answer
    idle_s: float = 60.0  # for a sign of life; Mastodon gives one every 15 s, over WebSocket the library asks
    quiet_s: float = 300.0  # for an event, before the line is opened anew and the timeline looked at
    healthy_s: float = 60.0  # of listening, before earlier failures are forgotten
    first_wait_s: float = 0.5  # at most, before the second try
    longest_wait_s: float = 60.0  # at most, before any other


class MastodonSource:
    """Posts, edits and deletes of one stream of one server.

    `target` is its host, or its http(s) address. `lag_s` is how far the last post's number lies behind our clock.
    """

    network = "mastodon"
    simulated = False

    def __init__(
        self,
        target: str,
        channel: Channel = Channel(),  # noqa: B008  a NamedTuple cannot change
        *,
        token: str = "",
        transport: str = "auto",
        unindexable: bool = False,
        lookback_s: float = 1800,
        patience: Patience = Patience(),  # noqa: B008
        bounds: Bounds = Bounds(),  # noqa: B008
        clock: Callable[[], float] = time.time,
    ) -> None:
        _, self.host = address(target)
        self.name = f"mastodon:{self.host}{channel.suffix}"
        self.dropped: Counter[str] = Counter()
        self.state = "not started"
        self.lag_s = 0.0
        self._target, self._channel, self._token = target, channel, token
        self._transports = _TRANSPORTS[transport]
        self._lookback_s, self._patience, self._bounds, self._clock = lookback_s, patience, bounds, clock
        self._reading = Reading(self.host, unindexable=unindexable)
        self._reach = Reach(None, self.name)

    async def events(self, after: str | None) -> AsyncIterator[Event]:
        """Events after the cursor, without end. Raises VoxpopError where the server wants a token."""
        self._reach = Reach(after, self.name)
        queue: asyncio.Queue[Event | Exception] = asyncio.Queue(_WAITING)
        task = asyncio.create_task(_guard(self._listen(queue), queue))
        try:
            while True:
                event = await queue.get()
                if isinstance(event, Exception):
                    raise event
                yield event
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            self.state = "stopped"

    # -- one connection after another -----------------------------------------------------------------------

    async def _listen(self, queue: asyncio.Queue[Event | Exception]) -> None:
        failures = turn = 0
        server = Server(self._target, self._token, timeout_s=self._patience.open_s, waiting=self._waits)
        async with server:
            while True:
                began = self._clock()
                try:
                    await self._connection(server, self._transports[turn % len(self._transports)], queue)
                except Unanswered as error:
                    if error.status == 401:
                        raise self._wants_token(error) from error
                    reason = str(error)
                self._reach.cut()
                healthy = self._clock() - began >= self._patience.healthy_s
                failures, turn = (0, turn) if healthy else (failures, turn + 1)
                ceiling = min(self._patience.longest_wait_s, self._patience.first_wait_s * 2 ** min(failures, 20))
                wait = random.uniform(0, ceiling)
                failures += 1
                self.dropped["connection lost"] += 1
                self.state = f"reconnecting in {wait:.1f} s: {self.host}: {reason}"
                await asyncio.sleep(wait)

    async def _connection(
        self, server: Server, transport: Transport, queue: asyncio.Queue[Event | Exception]
    ) -> NoReturn:
        """Listen until the line fails, which Unanswered tells; beside it, fill the gap before it."""
        self.state = f"connecting to {self.host}"
        about = await server.about()
        if about.domain != self._reading.domain:
            self._reading = Reading(self.host, about.domain, unindexable=self._reading.unindexable)
        line = frames(server, about.streaming, self._channel, transport, self._patience.idle_s)
        async with aclosing(line):
            await anext(line)
            filling = asyncio.create_task(self._fill(server, queue))
            try:
                while True:
                    try:
                        async with asyncio.timeout(self._patience.quiet_s):
                            frame = await self._event(line)
                    except TimeoutError:
                        raise Unanswered(f"no event for {self._patience.quiet_s:g} s") from None
                    await self._heard(frame, queue)
                    if filling.done():
                        filling.result()
            finally:
                filling.cancel()
                await asyncio.gather(filling, return_exceptions=True)

    @staticmethod
    async def _event(line: AsyncIterator[Frame]) -> Frame:
        """The next frame that is no mere beat."""
        async for frame in line:
            if frame.event or frame.reason:
                return frame
        raise Unanswered("the stream ended")

    async def _fill(self, server: Server, queue: asyncio.Queue[Event | Exception]) -> None:
        async def take(status: Any) -> None:
            await self._pass(read_status(status, self._now(), self._reading), queue, live=False)

        async def tell(missed: Missed) -> None:
            await queue.put(replace(missed, cursor=self._reach.cursor))

        self.state = f"connected to {self.host}, filling a gap"
        await Gap(server, self._channel, self._reach, self._bounds, take, tell).fill(self._now(), self._lookback_s)
        self.state = f"connected to {self.host}"

    # -- one event ------------------------------------------------------------------------------------------

    async def _heard(self, frame: Frame, queue: asyncio.Queue[Event | Exception]) -> None:
        if frame.reason:
            self.dropped[frame.reason] += 1
            return
        heard = read_event(frame.event, frame.payload, self._now(), self._reading)
        await self._pass(heard, queue, live=True)

    async def _pass(self, heard: Heard | str, queue: asyncio.Queue[Event | Exception], *, live: bool) -> None:
        if isinstance(heard, str):
            self.dropped[heard] += 1
            return
        now = self._now()
        if live:
            self._reach.came(heard.local, now)
            self.lag_s = max(now - (made_at(heard.local) or now), 0) / MICROS
        await queue.put(replace(heard.event, cursor=self._reach.cursor))

    def _now(self) -> int:
        return int(self._clock() * MICROS)

    def _waits(self, seconds: float) -> None:
        at_limit = f", waiting {seconds:.0f} s: its limit of requests is reached" if seconds else ", filling a gap"
        self.state = f"connected to {self.host}{at_limit}"

    def _wants_token(self, error: Unanswered) -> VoxpopError:
        what = "refuses its access token" if self._token else "streams only to those with an access token"
        return VoxpopError(
            f"{self.host} {what} ({error}).",
            f"Make one there under Preferences, Development, and set {TOKENS}={self.host}=TOKEN.",
            lasting=not self._token,
        )


async def _guard(work: Coroutine[None, None, None], queue: asyncio.Queue[Event | Exception]) -> None:
    """A fault must reach whoever reads the events, not end in silence."""
    try:
        await work
    except Exception as error:
        await queue.put(error)


def _check(spec: Spec) -> None:
    address(spec.target)
    channel(spec.options)
    for name, known in (("transport", tuple(_TRANSPORTS)), ("unindexable", ("yes", "no"))):
        if spec.options.get(name, known[0]) not in known:
            raise UsageError(f"{name}={spec.options[name]!r} is not possible.", f"Known: {', '.join(known)}.")


async def _open(spec: Spec, ways: Any) -> MastodonSource:
    _, host = address(spec.target)
    return MastodonSource(
        spec.target,
        channel(spec.options),
        token=token_of(ways.secret(TOKENS), host),
        transport=spec.options.get("transport", "auto"),
        unindexable=spec.options.get("unindexable") == "yes",
        lookback_s=ways.lookback_s,
    )


KIND = Kind(
    "a Mastodon server's public posts, live",
    "mastodon:HOST?stream=public",
    _open,
    "must",
    ("stream", "tag", "list", "transport", "unindexable"),
    _check,
)
