"""Make a partition's index anew from the truth; run as a program, it does so in a process of its own.

    python -m voxpop.store.building FOLDER PARTITION NAME

writes `NAME` beside the partition's index. It prints how many posts that holds after each slice, at last `done` and
the highest number that it read. It reads in short transactions, so that it never holds the writer up.
"""

import asyncio
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from voxpop.errors import VoxpopError
from voxpop.store.codes import Codes
from voxpop.store.index import Entry, PartitionIndex, entry
from voxpop.store.partition import folder_of
from voxpop.store.reading import Reader
from voxpop.store.trouble import said

_SLICE = 20_000


def build(reader: Reader, part: PartitionIndex, first: int, after: int, progress: Callable[[int], None]) -> int:
    """Add the posts of a partition after number `after`; the highest number read. `progress` is told the count."""
    entries: list[Entry] = []
    done = 0
    for some in reader.after(first, after):
        after = some[-1].seq if some else after
        entries += map(entry, some)
        if len(entries) >= _SLICE:
            part.write(entries, [])
            done += len(entries)
            entries = []
            progress(done)
    if entries:
        part.write(entries, [])
        progress(done + len(entries))
    part.rest()
    return after


async def build_apart(root: Path, first: int, name: str, progress: Callable[[int], None]) -> int:
    """Do so in a process of its own, so that searches here do not wait; the highest number that it read.

    Raises VoxpopError with its last words where it failed.
    """
    command = (sys.executable, "-m", "voxpop.store.building", str(root), str(first), name)
    pipe = asyncio.subprocess.PIPE
    child = await asyncio.create_subprocess_exec(
        *command, stdin=pipe, stdout=pipe, stderr=asyncio.subprocess.STDOUT
    )
    word = b""
    try:
        while child.stdout and (line := await child.stdout.readline()):
            word = line.strip() or word
            if word.isdigit():
                progress(int(word))
        if await child.wait() or not word.startswith(b"done "):
            cure = "Try again; if it stays so, run 'voxpop verify'."
            raise VoxpopError(
                f"The index of partition {first} could not be made: {word.decode(errors='replace')}.", cure
            )
        return int(word.removeprefix(b"done "))
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()


def _end_with_parent() -> None:
    os.read(0, 1)  # the other end of standard input closes when the parent ends, however it ends
    os._exit(1)


def main(root: Path, first: int, name: str) -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    os.nice(10)
    try:
        with said(root):
            reader = Reader(root)
            part = PartitionIndex(folder_of(root, first) / name, Codes(reader.catalog.secret()))
            last = build(reader, part, first, 0, lambda done: print(done, flush=True))
    except VoxpopError as error:
        sys.exit(str(error))
    print("done", last, flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
