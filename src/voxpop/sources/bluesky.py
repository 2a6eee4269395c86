"""Read Bluesky's public posts live from Jetstream, reconnecting for ever; a bad line is counted, never raised."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlencode, urlsplit

import zstandard
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

from voxpop.errors import UsageError, VoxpopError
from voxpop.posts import Author, Event, Renamed
from voxpop.sources.handles import NO_HANDLE, PUBLIC, Directories, Handles
from voxpop.sources.jetstream import POST, Reading, read_line
from voxpop.times import MICROS

DEFAULT_HOSTS = (
    "wss://jetstream2.us-east.bsky.network/subscribe",
    "wss://jetstream1.us-east.bsky.network/subscribe",
    "wss://jetstream1.us-west.bsky.network/subscribe",
    "wss://jetstream2.us-west.bsky.network/subscribe",
)
MAX_FRAME = 1 << 20
_WAITING = 1000


class Patience(NamedTuple):
    """How long to wait for what, in seconds."""

    open_s: float = 10.0  # for a host to answer
    idle_s: float = 30.0  # for any event, before the line counts as dead
    healthy_s: float = 60.0  # of reading, before earlier failures are forgotten
    first_wait_s: float = 0.5  # at most, before the second try
    longest_wait_s: float = 60.0  # at most, before any other
    overlap_s: float = 5.0  # to go back after a cut
    gap_s: float = 120.0  # between what was asked for and what came, before it counts as missing


class BlueskySource:
    """Posts, edits, deletes, departed accounts and handles, from one Jetstream host after another.

    Without a stored cursor it begins `lookback_s` ago, so that there is something to answer at once. `gap_s` is how
    many seconds the host could not give back, because it keeps less than was asked for; it answers such a cursor
    without a word. `lag_s` is how far the last event lies behind our clock. Compressed frames need Jetstream's own
    zstd dictionary, which does not come with voxpop: give the path of your copy. `directories` None looks no
    handle up, and then an account's own claim is all that is known of its handle.
    """

    def __init__(
        self,
        hosts: Sequence[str] = DEFAULT_HOSTS,
        *,
        name: str = "bluesky",
        network: str = "bluesky",
        simulated: bool = False,
        compress: bool = False,
        dictionary: str | Path | None = None,
        lookback_s: float = 1800,
        directories: Directories | None = PUBLIC,
        patience: Patience = Patience(),  # noqa: B008  a NamedTuple cannot change
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.hosts = tuple(_checked(host) for host in hosts)
        if not self.hosts:
            raise UsageError("Source 'bluesky' has no hosts.", "Name at least one, such as wss://host/subscribe.")
        self.name, self.network, self.simulated = name, network, simulated
        self.dropped: Counter[str] = Counter()
        self.state = "not started"
        self.gap_s = self.lag_s = 0.0
        self._compress = compress
        self._unpack = _unpacker(dictionary) if compress else None
        self._lookback_s, self._patience, self._clock = lookback_s, patience, clock
        self._directories = directories
        self._handles: Handles | None = None
        self._reading = Reading(Author, network)
        self._cursor = 0
        self._fresh = True

    async def events(self, after: str | None) -> AsyncIterator[Event]:
        """Events after the cursor, without end. Closing the iterator closes the connection."""
        self._cursor = _cursor(after, self.name)
        self._handles = handles = Handles(self._directories) if self._directories else None
        queue: asyncio.Queue[Event | Exception] = asyncio.Queue(_WAITING)
        if handles is not None:
            handles.dropped = self.dropped
            self._reading = Reading(handles.known, self.network)
        tasks = [asyncio.create_task(self._guard(self._listen(queue), queue))]
        if handles is not None:
            tasks.append(asyncio.create_task(self._guard(self._resolve(handles, queue), queue)))
        try:
            while True:
                event = await queue.get()
                if isinstance(event, Exception):
                    raise event
                yield event
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self.state = "stopped"

    @staticmethod
    async def _guard(work: Coroutine[None, None, None], queue: asyncio.Queue[Event | Exception]) -> None:
        """A fault of our own must reach whoever reads the events, not end in silence."""
        try:
            await work
        except Exception as error:
            await queue.put(error)

    async def _resolve(self, handles: Handles, queue: asyncio.Queue[Event | Exception]) -> None:
        async def found(author: Author) -> None:
            await queue.put(Renamed(author, str(self._cursor or "")))

        while True:
            try:
                await handles.run(found)
            except Exception:  # posts go on without handles
                self.dropped["handles: lookups stopped"] += 1
                await asyncio.sleep(self._patience.longest_wait_s)

    # -- one connection after another -----------------------------------------------------------------------

    async def _listen(self, queue: asyncio.Queue[Event | Exception]) -> None:
        failures = turn = 0
        while True:
            host = self.hosts[turn % len(self.hosts)]
            began = self._clock()
            reason = await self._connection(host, queue)
            if self._clock() - began >= self._patience.healthy_s:
                failures = 0
            ceiling = min(self._patience.longest_wait_s, self._patience.first_wait_s * 2 ** min(failures, 20))
            wait = random.uniform(0, ceiling)
            failures, turn = failures + 1, turn + 1
            self.dropped["connection lost"] += 1
            self.state = f"reconnecting in {wait:.1f} s: {_short(host)}: {reason}"
            await asyncio.sleep(wait)

    async def _connection(self, host: str, queue: asyncio.Queue[Event | Exception]) -> str:
        """Read one host until it fails; the answer says why."""
        self.state = f"connecting to {_short(host)}"
        patience, asked = self._patience, self._asked()
        try:
            async with connect(
                self._address(host, asked),
                open_timeout=patience.open_s,
                ping_interval=20,
                ping_timeout=20,
                close_timeout=0.2,
                max_size=MAX_FRAME,
                max_queue=256,
                compression=None,
                user_agent_header="voxpop",
            ) as socket:
                self._fresh = True
                return await self._read(socket, host, asked, queue)
        except TimeoutError:
            return f"no answer within {patience.open_s:g} s"
        except (OSError, WebSocketException, ValueError, ImportError) as error:
            return _reason(error)

    async def _read(
        self, socket: ClientConnection, host: str, asked: int, queue: asyncio.Queue[Event | Exception]
    ) -> str:
        idle_s = self._patience.idle_s
        while True:
            try:
                async with asyncio.timeout(idle_s):
                    frame = await socket.recv()
            except TimeoutError:
                return f"silent for {idle_s:g} s"
            except WebSocketException as error:
                return _reason(error)
            now = self._clock()
            for event in self._take(frame, int(now * MICROS)):
                self._note(event, now, asked)
                await queue.put(event)
                self._cursor = max(self._cursor, int(event.cursor))
                self.state = self._connected(host)

    # -- one frame ------------------------------------------------------------------------------------------

    def _take(self, frame: str | bytes, now: int) -> tuple[Event, ...]:
        if self._unpack is not None and isinstance(frame, bytes):
            try:
                frame = self._unpack.decompress(frame, max_output_size=MAX_FRAME)
            except zstandard.ZstdError:
                self.dropped["bad compression"] += 1
                return ()
        event = read_line(frame, now, self._reading)
        if event is None:
            return ()
        if isinstance(event, str):
            self.dropped[event] += 1
            return ()
        return self._renamed(event) if isinstance(event, Renamed) else (event,)

    def _renamed(self, event: Renamed) -> tuple[Event, ...]:
        """An account's claim to a handle counts once the directories confirm it; the old handle ends at once."""
        author, handles = event.author, self._handles
        if handles is None:
            return (event,) if author.handle else ()
        known = handles.forget(author.id)
        if known is None and not author.handle:
            return ()
        handles.ask(author.id)
        if author.handle and (known is None or known.handle != author.handle):
            return (Renamed(Author(author.id, NO_HANDLE, known.name if known else ""), event.cursor),)
        return ()

    def _note(self, event: Event, now: float, asked: int) -> None:
        at = int(event.cursor)
        self.lag_s = max(now - at / MICROS, 0.0)
        if self._fresh:
            self._fresh = False
            missing = (at - asked) / MICROS
            self.gap_s = missing if missing > self._patience.gap_s else 0.0

    def _connected(self, host: str) -> str:
        gap = f", {_span(self.gap_s)} missing before" if self.gap_s else ""
        return f"connected to {_short(host)}, {_span(self.lag_s)} behind{gap}"

    # -- the address ----------------------------------------------------------------------------------------

    def _asked(self) -> int:
        """The cursor to ask for: a little before the last event, since hosts do not share a clock."""
        if self._cursor:
            return self._cursor - int(self._patience.overlap_s * MICROS)
        return int((self._clock() - self._lookback_s) * MICROS)

    def _address(self, host: str, asked: int) -> str:
        query = {"wantedCollections": POST, "cursor": str(asked)}
        if self._compress:
            query["compress"] = "true"
        return f"{host}{'&' if urlsplit(host).query else '?'}{urlencode(query)}"


def _checked(host: str) -> str:
    parts = urlsplit(host)
    if parts.scheme not in ("ws", "wss") or not parts.hostname:
        raise UsageError(f"Jetstream host {host!r} is no websocket address.", "Write it as wss://host/subscribe.")
    return host


def _cursor(after: str | None, name: str) -> int:
    if not after:
        return 0
    if not (after.isascii() and after.isdigit() and len(after) <= 17):
        raise VoxpopError(
            f"The cursor {after!r} of source {name!r} is not a time in microseconds.",
            "Remove that source's cursor from the store; it then begins at its look-back.",
        )
    return int(after)


def _unpacker(dictionary: str | Path | None) -> zstandard.ZstdDecompressor:
    cure = "Download it from the bluesky-social/jetstream repository and give its path, or turn compression off."
    if dictionary is None:
        raise UsageError("Compressed Jetstream frames need its zstd dictionary, and none was given.", cure)
    try:
        content = Path(dictionary).read_bytes()
    except OSError as error:
        raise VoxpopError(f"The zstd dictionary {str(dictionary)!r} cannot be read: {error}.", cure) from error
    return zstandard.ZstdDecompressor(dict_data=zstandard.ZstdCompressionDict(content))


def _short(host: str) -> str:
    return urlsplit(host).netloc


def _reason(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return text[:120] or type(error).__name__


def _span(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
