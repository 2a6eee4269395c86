"""Read feeds in a process of their own, so that a feed that is slow or huge to read costs nobody else; no network.

A thread would not do: the parser holds the interpreter while it works, and cannot be stopped. The process gets a
feed's bytes on its standard input and answers with JSON; one that takes too long is killed and started anew.
"""

import asyncio
import contextlib
import signal
import struct
import sys
from typing import BinaryIO

import orjson

from voxpop.sources.feeds_wire import Feed, read_feed

_SIZES = struct.Struct(">II")
_MAX_MEMORY = 1 << 30


class FeedProcess:
    """One reading process, started at the first feed; feeds are read in turn, each within `within_s` seconds."""

    def __init__(self, within_s: float = 5.0) -> None:
        self._within_s = within_s
        self._turn = asyncio.Lock()
        self._running: asyncio.subprocess.Process | None = None

    async def read(self, body: bytes, url: str = "", content_type: str = "") -> Feed | str:
        """The feed, or why it is none: see `read_feed`."""
        async with self._turn:
            process = self._running or await self._start()
            try:
                async with asyncio.timeout(self._within_s):
                    answer = await self._ask(process, orjson.dumps([url, content_type]), body)
            except TimeoutError:
                await self.close()
                return f"not read within {self._within_s:g} s"
            except (asyncio.IncompleteReadError, ConnectionError):
                await self.close()
                return "breaks the reader"
            except BaseException:  # cancelled half-way: what it would say next belongs to nobody
                await self.close()
                raise
        found = orjson.loads(answer)
        return found if isinstance(found, str) else Feed.of(found)

    async def close(self) -> None:
        """End the process; a later feed starts another."""
        process, self._running = self._running, None
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    async def _start(self) -> asyncio.subprocess.Process:
        self._running = process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            __name__,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            async with asyncio.timeout(30):  # a cold start reads a hundred files: it is not the feed's fault
                await self._ask(process, orjson.dumps(["", ""]), b"")
        except BaseException:
            await self.close()
            raise
        return process

    async def _ask(self, process: asyncio.subprocess.Process, about: bytes, body: bytes) -> bytes:
        pipe, answers = process.stdin, process.stdout
        if pipe is None or answers is None:
            raise ConnectionError("the reader has no pipes")
        pipe.write(_SIZES.pack(len(about), len(body)) + about + body)
        await pipe.drain()
        size, _ = _SIZES.unpack(await answers.readexactly(_SIZES.size))
        return await answers.readexactly(size)


def answer(asked: BinaryIO, said: BinaryIO) -> None:
    """Read feed after feed until the input ends: what the process does."""
    while len(head := asked.read(_SIZES.size)) == _SIZES.size:
        about, size = _SIZES.unpack(head)
        url, content_type = orjson.loads(asked.read(about))
        body = asked.read(size)
        try:
            found = orjson.dumps(read_feed(body, url, content_type))
        except (MemoryError, orjson.JSONEncodeError):
            found = b'"unreadable"'
        said.write(_SIZES.pack(len(found), 0) + found)
        said.flush()


def _main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # an interrupt is for the program, which then closes our input
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (_MAX_MEMORY, _MAX_MEMORY))
    answer(sys.stdin.buffer, sys.stdout.buffer)


if __name__ == "__main__":
    _main()
