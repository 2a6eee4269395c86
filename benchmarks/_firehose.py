"""What the firehose's benchmarks share: the simulated Jetstream in its own process, a store that takes times."""

import json
import resource
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from _store import RECORDING
from voxpop.posts import Event, Upsert
from voxpop.store import Applied
from voxpop.store.local import LocalStore
from voxpop.times import MICROS


@contextmanager
def flood(*options: object) -> Iterator["Server"]:
    """The server, which began its stream when this returns."""
    posts = ["--posts", str(RECORDING)] if RECORDING.exists() else []
    command = [sys.executable, "-m", "voxpop.simulator", "firehose", *posts, *map(str, options)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            yield Server(json.loads(process.stdout.readline()))
        finally:
            process.terminate()


class Server:
    """Where it is, and what it says of itself."""

    def __init__(self, said: dict[str, str]) -> None:
        self.url, self._sent = said["url"], said["sent"]
        self._began, self._cpu = time.perf_counter(), self.sent()["cpu_s"]

    def sent(self) -> dict[str, Any]:
        with urllib.request.urlopen(self._sent, timeout=5) as answer:
            return dict(json.loads(answer.read()))

    def cpu_share(self) -> float:
        return round((self.sent()["cpu_s"] - self._cpu) / (time.perf_counter() - self._began), 3)


class Timed(LocalStore):
    """Keeps the last batch and, for each post, the time from the network's sight of it to the return of `apply`."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.lags: list[float] = []
        self.applies: list[float] = []
        self.last: Sequence[Event] = ()

    async def apply(self, source: str, events: Sequence[Event]) -> Applied:
        start = time.perf_counter()
        applied = await super().apply(source, events)
        self.applies.append(time.perf_counter() - start)
        now = time.time()
        self.lags += [now - e.post.witnessed_at / MICROS for e in events if isinstance(e, Upsert)]
        self.last = events
        return applied


def resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return round(pages * resource.getpagesize() / 1e6, 1)
