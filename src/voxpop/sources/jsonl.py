"""Read rows of JSON that another program writes, from standard input, a FIFO or a growing file, as they come.

The rows are those of recordings (`voxpop.sources.replay`); since they come now, we are their witness, and a row may
also take a post away: `{"delete": "ID", "platform": "NAME"}`. There is no resuming: a pipe gives nothing twice.
"""

import asyncio
import os
import stat
import sys
import time
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import aclosing
from pathlib import Path

from voxpop.errors import UsageError, VoxpopError
from voxpop.posts import Delete, Event
from voxpop.sources.replay import MAX_ROW_BYTES, parse_row, row_event, row_uri
from voxpop.times import MICROS

_BLOCK = 1 << 16
_LOOK_AGAIN_S = 0.2


class JsonlSource:
    """The rows of standard input (path `-`) until it ends; those of a FIFO or a file without end, as it grows.

    Reading pauses while the store is behind, so that the pipe holds its writer back.
    """

    simulated = False

    def __init__(self, path: str = "-", *, clock: Callable[[], float] = time.time) -> None:
        self.path = path or "-"
        self.name = "jsonl" if self.path == "-" else f"jsonl:{Path(self.path).name}"
        self.network = "jsonl"
        self.dropped: Counter[str] = Counter()
        self.state = "not started"
        self._clock = clock

    async def events(self, after: str | None) -> AsyncIterator[Event]:
        """Every row from here on. `after` says nothing: there is no way back in a pipe."""
        file, endless = self._opened()
        lines, read = Lines(), 0
        self.state = "reading, no row yet"
        try:
            async with aclosing(_blocks(file, endless)) as blocks:
                async for block in blocks:
                    for line in lines.of(block):
                        event = self._event(line)
                        if event is not None:
                            read += 1
                            yield event
                    self.state = f"reading, {read:,} rows so far"
            for line in lines.rest():
                if (event := self._event(line)) is not None:
                    read += 1
                    yield event
            self.state = f"ended after {read:,} rows"
        finally:
            os.close(file)

    def _event(self, line: bytes | None) -> Event | None:
        event = "line too long" if line is None else read_event(line, int(self._clock() * MICROS))
        if isinstance(event, str):
            self.dropped[event] += 1
            return None
        return event

    def _opened(self) -> tuple[int, bool]:
        """A descriptor of our own, and whether its end is only the end for now."""
        if self.path == "-":
            if sys.stdin is None or sys.stdin.isatty():
                cure = "Pipe rows in, such as: tail -f posts.jsonl | voxpop ingest --source jsonl"
                raise UsageError("Nothing is piped into source 'jsonl'.", cure)
            return os.dup(sys.stdin.fileno()), False
        try:
            fifo = stat.S_ISFIFO(os.stat(self.path).st_mode)
            # Held open for writing too, a FIFO does not end when one of its writers does.
            return os.open(self.path, os.O_RDWR | os.O_NONBLOCK if fifo else os.O_RDONLY), True
        except OSError as error:
            cure = "Check the path after 'jsonl:', or write 'jsonl' for standard input."
            raise VoxpopError(f"The rows at {self.path!r} cannot be read: {error.strerror}.", cure) from error


def read_event(line: bytes, now: int) -> Event | str:
    """One row as an event that we witness at `now` (microseconds), or the reason why it is none."""
    row = parse_row(line)
    if isinstance(row, str):
        return row
    if "delete" not in row:
        return row_event(row, now=now)
    network, id_ = row.get("platform"), row["delete"]
    known = type(network) is str and network.isidentifier()
    if not known and not (type(id_) is str and id_.startswith("at://")):
        return "bad platform"
    uri = row_uri(str(network), id_)
    return Delete(uri, now) if uri else "bad id"


class Lines:
    """Cut blocks of bytes into lines without a blank one; None stands for a line of over a megabyte."""

    def __init__(self) -> None:
        self._rest = b""
        self._skipping = False

    def of(self, block: bytes) -> Iterator[bytes | None]:
        """The lines that end in this block."""
        *whole, rest = (self._rest + block).split(b"\n")
        self._rest = b""
        for line in whole:
            if self._skipping:
                self._skipping = False
            elif len(line) > MAX_ROW_BYTES:
                yield None
            elif line and not line.isspace():
                yield line
        if self._skipping:
            return
        if len(rest) > MAX_ROW_BYTES:
            self._skipping = True
            yield None
        else:
            self._rest = rest

    def rest(self) -> Iterator[bytes]:
        """The last line, where nothing ends it."""
        if self._rest and not self._rest.isspace():
            yield self._rest


async def _blocks(file: int, endless: bool) -> AsyncGenerator[bytes, None]:
    mode = os.fstat(file).st_mode
    if stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode):
        # A thread that waits for a pipe could not be stopped; the loop waits for it without one.
        reader = asyncio.StreamReader(_BLOCK)
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(os.dup(file), "rb", 0)
        )
        try:
            while block := await reader.read(_BLOCK):
                yield block
        finally:
            transport.close()
        return
    while True:
        block = await asyncio.to_thread(os.read, file, _BLOCK)
        if block:
            yield block
        elif not endless:
            return
        else:
            await asyncio.sleep(_LOOK_AGAIN_S)
