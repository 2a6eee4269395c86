"""The program as a person runs it, and its HTTP face alone in this process, for the tests of the faces."""

import asyncio
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from argon2 import PasswordHasher
from prometheus_client import CollectorRegistry

from postgres import Postgres, binaries, running

# The program's own modules are imported where they are used: tests of one module need no other to be whole.


def environment(**extra: str) -> dict[str, str]:
    """This process's, without settings of whoever runs the tests; a PYTHONPATH goes before its own."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("VOXPOP_")}
    if "PYTHONPATH" in kept and "PYTHONPATH" in extra:  # else another tree than the one under test could be run
        extra["PYTHONPATH"] += os.pathsep + kept["PYTHONPATH"]
    return {**kept, "PYTHONUNBUFFERED": "1", **extra}


CHEAP = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)  # Argon2id with its least memory and passes
_ROOM = 2 << 30  # bytes; a whole run leaves a few hundred million


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Temporary folders lie in memory where there is room: most tests would else wait for the disk's fsync.

    No test is told less by it: they kill processes, which a file survives on any file system, not the machine.
    """
    shared = Path("/dev/shm")
    if config.option.basetemp is not None or not os.access(shared, os.W_OK):
        return
    about = os.statvfs(shared)
    if about.f_bavail * about.f_frsize >= _ROOM and not about.f_flag & os.ST_NOEXEC:  # some tests write programs
        folder = tempfile.mkdtemp(prefix="voxpop-tests-", dir=shared)
        config.option.basetemp = folder
        config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))


@pytest.fixture(scope="module")
def memory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder in memory where the system has one: for tests that would wait for the disk most of their time."""
    folder = tmp_path_factory.mktemp("memory")
    if os.access("/dev/shm", os.W_OK):
        folder = Path("/dev/shm") / f"voxpop-{os.getpid()}-{folder.name}"
        folder.mkdir()
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def on_disk() -> Iterator[Path]:
    """A folder that is not in memory, for what only a disk does, such as holes of single pages."""
    with tempfile.TemporaryDirectory(prefix="voxpop-tests-") as folder:
        yield Path(folder)


def voxpop(*arguments: str, timeout: float = 30, **extra: str) -> "subprocess.CompletedProcess[str]":
    """Run a command to its end."""
    return subprocess.run(
        [sys.executable, "-m", "voxpop.cli", *arguments],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        env=environment(**extra),
    )


class Program:
    """`voxpop` with a command that does not end by itself; what it says is in a file."""

    def __init__(self, log: Path, *arguments: str, **extra: str) -> None:
        self.log = log
        with log.open("wb") as file:
            command = [sys.executable, "-m", "voxpop.cli", *arguments]
            self.process = subprocess.Popen(command, stdout=file, stderr=file, env=environment(**extra))

    @property
    def said(self) -> str:
        return self.log.read_text("utf-8")

    def until(self, pattern: str, within_s: float = 20) -> "re.Match[str]":
        """Wait until it has said something."""
        end = time.monotonic() + within_s
        while time.monotonic() < end:
            if match := re.search(pattern, self.said):
                return match
            if self.process.poll() is not None:
                break
            time.sleep(0.02)
        raise AssertionError(f"never said {pattern!r}, but: {self.said}")

    def stop(self, number: int = signal.SIGINT, within_s: float = 10) -> int:
        """Its exit code after a signal."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            return self.process.wait(within_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise


@dataclass(frozen=True)
class Up:
    """A running `voxpop up`."""

    program: Program
    url: str
    data: Path


@pytest.fixture(scope="session")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """The real program on the simulated stream, with posts."""
    folder = tmp_path_factory.mktemp("up")
    program = Program(
        folder / "log", "up", "--source", "simulated", "--engine", "quote", "--port", "0", "--data", str(folder)
    )
    try:
        url = program.until(r"open (http://127\.0\.0\.1:\d+)")[1]
        with httpx.Client(base_url=url, trust_env=False) as client:
            end = time.monotonic() + 20
            while client.get("/readyz").status_code != 200 and time.monotonic() < end:
                time.sleep(0.05)
            previous = -1
            while (posts := client.get("/api/status").json()["posts"]) > previous and time.monotonic() < end:
                previous = posts
                time.sleep(0.6)
        yield Up(program, url, folder)
    finally:
        program.stop()


class Script:
    """An assistant that says a list of events, and raises the errors among them."""

    def __init__(self, events: Sequence[Any] = ()) -> None:
        self.events = events
        self.requests: list[Any] = []
        self.closed = 0

    async def answer(self, request: Any) -> AsyncIterator[Any]:
        self.requests.append(request)
        try:
            for event in self.events:
                if isinstance(event, Exception):
                    raise event
                yield event
        finally:
            self.closed += 1


def _voices() -> Any:
    from voxpop import voices

    return voices.load()


def _requests() -> Any:
    from voxpop.meters import Requests

    return Requests()


def _policy() -> Any:
    from voxpop.policy import load

    return load()


@dataclass
class Running:
    """What the faces need of a program, without one."""

    assistant: Any = field(default_factory=Script)
    voices: Any = field(default_factory=_voices)
    default_voice: str = "regular"
    aliases: Sequence[str] = ("grok-*",)
    registry: CollectorRegistry = field(default_factory=CollectorRegistry)
    requests: Any = field(default_factory=_requests)
    started: int = 1_700_000_000
    policy: Any = field(default_factory=_policy)
    why_unready: str = ""

    speaker: Any = None

    def engine(self) -> Any:
        from voxpop.engines.quote import QuoteEngine

        return self.speaker or QuoteEngine()

    async def status(self) -> dict[str, Any]:
        return {"posts": 3, "sources": [], "engine": {"name": "echo", "ok": True}, "examples": ["Who?"]}

    async def unready(self) -> str:
        return self.why_unready


def talking(engine: Any) -> Running:
    """The real assistant around an engine; a greeting reaches the engine without a store."""
    from voxpop.assistant import Assistant
    from voxpop.authorities import Authorities

    lists = Authorities.of([], [])
    store: Any = None
    assistant = Assistant(store, lambda: engine, _voices(), authorities=lists, clock=lambda: time.time_ns() // 1000)
    return Running(assistant, speaker=engine)


@pytest.fixture
def served() -> Callable[..., AbstractAsyncContextManager[str]]:
    """Serve a `Running` on loopback; gives the address."""
    from voxpop.api.http import application
    from voxpop.api.serving import listen, server_of

    @asynccontextmanager
    async def serve(running: Running, **options: Any) -> AsyncIterator[str]:
        door: socket.socket = listen("127.0.0.1", 0)
        server = server_of(application(running, **options))
        task = asyncio.create_task(server.serve(sockets=[door]))
        try:
            yield f"http://127.0.0.1:{door.getsockname()[1]}"
        finally:
            server.should_exit = True
            await task
            door.close()

    return serve


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL of this session's own; a test that asks for it is skipped where there is none."""
    at = binaries()
    if not at:
        pytest.skip("no PostgreSQL here: install Debian's package `postgresql`")
    with running(at) as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database of each kind: a test that asks for it is run on both."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'accounts.db'}"
    url: str = request.getfixturevalue("postgres").fresh()
    return url


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Any]:
    """A `records.Database` of each kind, with all its tables, empty."""
    from voxpop.records import Database

    async with Database(database_url) as opened:
        yield opened


@pytest.fixture
def cheap_hashes(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """For tests that are not of what a password's hash costs."""
    from voxpop.accounts import passwords

    monkeypatch.setattr(passwords, "_hasher", CHEAP)
    passwords._nobodys.cache_clear()
    yield
    passwords._nobodys.cache_clear()


@pytest.fixture(scope="session")
def night() -> Any:
    """The whole invented night, once over the wire."""
    from voxpop.evaluation.night import listen

    return asyncio.run(listen())


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Torch on one thread: a tiny model is slower on two, and ten times slower where other programs run."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
