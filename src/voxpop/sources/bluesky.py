"""Read Bluesky's public posts live from Jetstream, reconnecting for ever; a bad line is counted, never raised."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlencode, urlsplit

import zstandard
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

from voxpop.errors import UsageError, VoxpopError
from voxpop.posts import Author, Engaged, Event, Missed, Renamed
from voxpop.sources.engagement import FULL, Tally
from voxpop.sources.handles import NO_HANDLE, PUBLIC, Directories, Handles
from voxpop.sources.jetstream import FUTURE, LIKE, POST, REPOST, Reading, read_line
from voxpop.sources.steady import Steady
from voxpop.times import MICROS, span

DEFAULT_HOSTS = (
    "wss://jetstream2.us-east.bsky.network/subscribe",
    "wss://jetstream1.us-east.bsky.network/subscribe",
    "wss://jetstream1.us-west.bsky.network/subscribe",
    "wss://jetstream2.us-west.bsky.network/subscribe",
)
MAX_LINE = 1 << 20
_MAX_FRAME = 16 << 20  # a longer line is dropped without ending the connection, which would begin again before it
_MAX_FRAMES = 4
_WAITING = 500
_BAD_IN_A_ROW = 1000
_USELESS = {FUTURE: "its times lie in our future: is this machine's clock right?"}


class Patience(NamedTuple):
    """How long to wait for what, in seconds."""

    open_s: float = 10.0  # for a host to answer
    idle_s: float = 30.0  # for any event, before the line counts as dead
    healthy_s: float = 60.0  # of reading, before earlier failures are forgotten
    first_wait_s: float = 0.5  # at most, before the second try
    longest_wait_s: float = 60.0  # at most, before any other
    overlap_s: float = 5.0  # to go back after a cut
    gap_s: float = 120.0  # between what was asked for and what came, before it counts as missing
    adding_s: float = 1.0  # for which likes of one post are added up before they are given


class _Inbox:
    """Events on their way from the connection to whoever reads them; the connection waits while it is full."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.ready = asyncio.Event()
        self.failure: Exception | None = None
        self.held = False
        self._room = asyncio.Event()

    def put(self, event: Event) -> None:
        self.events.append(event)
        self.ready.set()

    def fail(self, error: Exception) -> None:
        self.failure = error
        self.ready.set()

    def take(self) -> list[Event]:
        taken, self.events = self.events, []
        self.ready.clear()
        self._room.set()
        return taken

    async def room(self) -> None:
        """Return once it is not full, and let others run."""
        while len(self.events) >= _WAITING:
            self.held = True
            self._room.clear()
            await self._room.wait()
        self.held = False
        await asyncio.sleep(0)


class BlueskySource:
    """Posts, edits, deletes, departed accounts and handles, from one Jetstream host after another.

    Without a stored cursor it begins `lookback_s` ago, so that there is something to answer at once. `gap_s` is how
    many seconds the host could not give back, because it keeps less than was asked for; it answers such a cursor
    without a word. What was asked for after an earlier event is then given as `Missed`. `lag_s` is how far the last
    event lies behind our clock. Compressed frames need Jetstream's own zstd dictionary, which does not come with
    voxpop: give the path of your copy. `directories` None looks no handle up, and then an account's own claim is
    all that is known of its handle. `engagement` asks for likes and reposts too, adds them and replies up for a
    second, and gives the sums as `Engaged`; the cursor then stands still in between, so that none is counted twice.
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
        engagement: bool = False,
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
        self._unpack = _unpacker(dictionary) if compress else None
        self._lookback_s, self._patience, self._clock = lookback_s, patience, Steady(clock)
        self._directories = directories
        self._handles: Handles | None = None
        self._reading = Reading(Author, network)
        self._engagement = engagement
        self._tally: Tally | None = None
        self._given = ""  # with a tally: the cursor up to which its sums were given
        self._taken_at = 0.0
        self._cursor = 0
        self._fresh = True
        self._heard = 0.0

    async def events(self, after: str | None) -> AsyncIterator[Event]:
        """Events after the cursor, without end. Closing the iterator closes the connection."""
        self._begin(_cursor(after, self.name))
        inbox = _Inbox()
        tasks = [asyncio.create_task(self._guard(self._listen(inbox), inbox))]
        if self._handles is not None:
            tasks.append(asyncio.create_task(self._guard(self._resolve(self._handles, inbox), inbox)))
        try:
            while True:
                await inbox.ready.wait()
                for event in self._counted(inbox.take()):
                    yield event
                if inbox.failure is not None:
                    raise inbox.failure
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self.state = "stopped"

    def _begin(self, cursor: int) -> None:
        self._cursor = cursor
        self._handles = handles = Handles(self._directories) if self._directories else None
        if handles is not None:
            handles.dropped = self.dropped
        if self._engagement:
            # Hosts do not share a clock: with several, what another one saw within the overlap is not counted.
            apart = int(self._patience.overlap_s * MICROS) if cursor and len(self.hosts) > 1 else 0
            self._tally, self._given = Tally(cursor + apart), str(cursor or "")
        self._reading = Reading(
            handles.known if handles else Author, self.network, self._tally.add if self._tally is not None else None
        )

    def _counted(self, events: list[Event]) -> list[Event]:
        """The events, and after them the sums of the tally where they are due, which move the cursor."""
        tally = self._tally
        if tally is None:
            return events
        events = [replace(event, cursor=self._given) for event in events]
        if self._due(tally):
            self._given, self._taken_at = str(max(self._cursor, tally.newest) or ""), time.monotonic()
            events += [Engaged(post, more, self._given) for post, more in tally.take().items()]
        return events

    def _due(self, tally: Tally) -> bool:
        return len(tally) >= FULL or time.monotonic() - self._taken_at >= self._patience.adding_s

    @staticmethod
    async def _guard(work: Coroutine[None, None, None], inbox: _Inbox) -> None:
        """A fault of our own must reach whoever reads the events, not end in silence."""
        try:
            await work
        except Exception as error:
            inbox.fail(error)

    async def _resolve(self, handles: Handles, inbox: _Inbox) -> None:
        async def found(author: Author) -> None:
            await inbox.room()
            inbox.put(Renamed(author, str(self._cursor or "")))

        while True:
            try:
                await handles.run(found)
            except Exception:  # posts go on without handles
                self.dropped["handles: lookups stopped"] += 1
                await asyncio.sleep(self._patience.longest_wait_s)

    # -- one connection after another -----------------------------------------------------------------------

    async def _listen(self, inbox: _Inbox) -> None:
        failures = turn = 0
        while True:
            host = self.hosts[turn % len(self.hosts)]
            began = time.monotonic()
            reason = await self._connection(host, inbox)
            if time.monotonic() - began >= self._patience.healthy_s:
                failures = 0
            ceiling = min(self._patience.longest_wait_s, self._patience.first_wait_s * 2 ** min(failures, 20))
            wait = random.uniform(0, ceiling)
            failures, turn = failures + 1, turn + 1
            self.dropped["connection lost"] += 1
            self.state = f"reconnecting in {wait:.1f} s: {_short(host)}: {reason}"
            await asyncio.sleep(wait)

    async def _connection(self, host: str, inbox: _Inbox) -> str:
        """Read one host until it fails; the answer says why."""
        self.state = f"connecting to {_short(host)}"
        patience, asked = self._patience, self._asked()
        try:
            async with connect(
                self._address(host, asked),
                open_timeout=patience.open_s,
                ping_interval=None,  # `_watch` sees a dead line; a pong waits behind unread posts
                close_timeout=0.2,
                max_size=_MAX_FRAME,
                max_queue=_MAX_FRAMES,
                compression=None,
                user_agent_header="voxpop",
            ) as socket:
                self._fresh, self._heard = True, time.monotonic()
                watching = asyncio.create_task(self._watch(socket, inbox))
                try:
                    return await self._read(socket, host, asked, inbox)
                except WebSocketException as error:
                    return watching.result() if watching.done() else _reason(error)
                finally:
                    watching.cancel()
        except TimeoutError:
            return f"no answer within {patience.open_s:g} s"
        except (OSError, WebSocketException, ValueError, ImportError) as error:
            return _reason(error)

    async def _watch(self, socket: ClientConnection, inbox: _Inbox) -> str:
        """Cut a line that is silent, or over which the machine slept; the answer says which."""
        idle_s, wall, steady = self._patience.idle_s, time.time(), time.monotonic()
        while True:
            await asyncio.sleep(min(idle_s / 4, 5.0))
            then = (wall, steady)
            wall, steady = time.time(), time.monotonic()
            if inbox.held:
                self._heard = steady
            if self._tally:  # in a lull no line brings its sums on their way
                inbox.ready.set()
            slept = wall - then[0] - (steady - then[1])
            if slept > idle_s or steady - self._heard > idle_s:
                socket.transport.abort()
                return f"the machine slept {span(slept)}" if slept > idle_s else f"silent for {idle_s:g} s"

    async def _read(self, socket: ClientConnection, host: str, asked: int, inbox: _Inbox) -> str:
        """Read until the connection fails, which raises, or until nothing that comes can be used."""
        bad, read, where = 0, 0, _short(host)
        while bad < _BAD_IN_A_ROW:
            frame = await socket.recv(decode=False)
            self._heard, now = time.monotonic(), self._clock()
            found = self._take(frame, int(now * MICROS))
            if isinstance(found, str):
                self.dropped[found] += 1
                bad += 1
            else:
                bad = 0
                for event in found:
                    self._note(event, now, asked, inbox)
                    inbox.put(event)
            if self._tally is not None and self._due(self._tally):
                inbox.ready.set()
            read += 1
            self.state = self._connected(where)
            if read % _WAITING == 1 or len(inbox.events) >= _WAITING:
                await inbox.room()
        socket.transport.abort()  # the host's word for "closed" would come after more of the same
        return _USELESS.get(str(found), "nothing but unusable lines")

    # -- one frame ------------------------------------------------------------------------------------------

    def _take(self, frame: bytes, now: int) -> tuple[Event, ...] | str:
        """The events of a frame, or the reason why it cannot be used."""
        if self._unpack is not None:
            try:
                if zstandard.frame_content_size(frame) > MAX_LINE:
                    return "line too long"
                frame = self._unpack.decompress(frame, max_output_size=MAX_LINE)
            except zstandard.ZstdError:
                return "bad compression"
        if len(frame) > MAX_LINE:
            return "line too long"
        event = read_line(frame, now, self._reading)
        if event is None:
            return ()
        if isinstance(event, Renamed):
            return self._renamed(event)
        return event if isinstance(event, str) else (event,)

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
            return (Renamed((known or author)._replace(handle=NO_HANDLE), event.cursor),)
        return ()

    def _note(self, event: Event, now: float, asked: int, inbox: _Inbox) -> None:
        at = int(event.cursor)
        self.lag_s = max(now - at / MICROS, 0.0)
        if self._fresh:
            self._fresh = False
            missing = (at - asked) / MICROS
            self.gap_s = missing if missing > self._patience.gap_s else 0.0
            if self.gap_s and self._cursor:
                inbox.put(Missed(self._cursor, at, "the host keeps no more", event.cursor))
        self._cursor = max(self._cursor, at)

    def _connected(self, where: str) -> str:
        gap = f", {span(self.gap_s)} missing before" if self.gap_s else ""
        return f"connected to {where}, {span(self.lag_s)} behind{gap}"

    # -- the address ----------------------------------------------------------------------------------------

    def _asked(self) -> int:
        """The cursor to ask for: a little before the last event, since hosts do not share a clock."""
        if self._cursor:
            return self._cursor - int(self._patience.overlap_s * MICROS)
        return int((self._clock() - self._lookback_s) * MICROS)

    def _address(self, host: str, asked: int) -> str:
        collections = (POST, LIKE, REPOST) if self._engagement else (POST,)
        query = [("wantedCollections", c) for c in collections] + [("cursor", str(asked))]
        if self._unpack is not None:
            query.append(("compress", "true"))
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
