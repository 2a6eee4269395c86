"""Run the HTTP face, the ingest and the engine's preparation together; when one fails, all stop."""

import asyncio
import signal
import socket
import sys
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, Protocol

import uvicorn
from starlette.applications import Starlette
from starlette.routing import BaseRoute

from voxpop.api.door import Door
from voxpop.api.draining import Drain
from voxpop.api.http import application
from voxpop.api.patience import PatientHTTP
from voxpop.api.session import SessionFaces
from voxpop.config import Server
from voxpop.desk import Desk
from voxpop.errors import VoxpopError
from voxpop.quotas.permits import Quotas
from voxpop.service import Service

DRAIN_S = 30.0
_CUT_S = 5.0
# Each step of a database on its thread asks for the interpreter anew, and waits so long for a thread that computes:
# by Python's own 5 ms a permit beside two searches took four times as long (docs/lab-notes.md).
_TURN_S = 0.0005


class Prepares(Protocol):
    """Something that gets ready in the background."""

    async def prepare(self) -> None: ...


class Other(Protocol):
    """Another server that ends with this one: what it has under way is waited for as well.

    `others` are the routes of its own that a batch may ask.
    """

    others: Mapping[str, Any]

    @property
    def busy(self) -> bool:
        """Whether anything is under way."""
        ...

    async def close(self, grace_s: float) -> None:
        """Take nothing new, and break off what is not done after `grace_s`."""
        ...


class _Server(uvicorn.Server):
    """uvicorn, stopped by the loop's own signals, so that what is open around it is closed before the end."""

    def __init__(self, config: uvicorn.Config, drain: Drain, drain_s: float, say: Callable[[str], None]) -> None:
        super().__init__(config)
        self.drain, self.drain_s, self.say = drain, drain_s, say
        self.other: Other | None = None
        self._until = 0.0

    @property
    def busy(self) -> bool:
        """Whether anything is under way."""
        return bool(self.server_state.tasks) or (self.other is not None and self.other.busy)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            with suppress(NotImplementedError, RuntimeError, ValueError):
                loop.add_signal_handler(number, self.handle_exit, number, None)
        yield  # They stay until the loop is closed: a second signal must not break off the closing

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Asked once, it lets what is under way end; asked again, it ends at once."""
        loop = asyncio.get_running_loop()
        if self.drain.begun.is_set():
            self._until = loop.time()
            return
        self.drain.begun.set()
        self._until = loop.time() + self.drain_s
        if self.busy:
            self.say(f"voxpop: lets what is under way end, for at most {self.drain_s:g} s (again: ends at once)")

    async def on_tick(self, counter: int) -> bool:
        if await super().on_tick(counter):
            return True
        if not self.drain.begun.is_set():
            return False
        late = asyncio.get_running_loop().time() >= self._until
        if late:
            self.config.timeout_graceful_shutdown = 0
        return late or not self.busy


async def run(
    service: Service,
    engines: Prepares,
    settings: Server,
    say: Callable[[str], None],
    *,
    more: Sequence[BaseRoute] = (),
    desk: Desk | None = None,
    shared: Mapping[str, Any] | None = None,
    beside: Callable[[Starlette, Mapping[str, Any]], Coroutine[Any, Any, None]] | None = None,
    session: SessionFaces | None = None,
    quotas: Quotas | None = None,
    other: Other | None = None,
) -> None:
    """Serve until interrupted; `beside` works meanwhile, and asks the application itself; `other` ends with it.

    `shared` is what `other` serves as well. Raises VoxpopError for the port, UsageError for a setting.
    """
    names = Door(settings.trusted_hosts, settings.cors_origins, settings.proxies, settings.country_header)
    desk = desk or Desk(service.assistant, longest_s=settings.answer_s)
    host = settings.host
    door = listen(host, settings.port)
    given: dict[str, Any] = {"door": names, "posts": service.posts, "session": session, **(shared or {})}
    given |= {"quotas": quotas, "price": quotas.price} if quotas else {}
    app = application(service, streams=settings.streams, more=more, desk=desk, **given)
    server = server_of(app, drain_s=settings.drain_s, say=say)
    server.other = other
    shown = f"[{host}]" if ":" in host else host
    say(f"voxpop: open http://{shown}:{door.getsockname()[1]} (stop with Ctrl+C)")
    background = [asyncio.create_task(service.run()), asyncio.create_task(engines.prepare())]
    background += [asyncio.create_task(beside(app, other.others if other else {}))] if beside else []
    background += [asyncio.create_task(_end(other, app.state.drain, settings.drain_s))] if other else []
    try:
        background[0].add_done_callback(lambda task: _stop_if_failed(task, server))
        await server.serve(sockets=[door])
        if cut := server.server_state.tasks:  # what was cut off still settles what it used
            await asyncio.wait(cut, timeout=_CUT_S)
        if background[0].done():
            background[0].result()
    finally:
        for task in background:
            task.cancel()
        await asyncio.gather(*background, return_exceptions=True)
        await app.state.resumable.close()
        door.close()


def server_of(app: Starlette, *, drain_s: float = DRAIN_S, say: Callable[[str], None] = lambda _: None) -> _Server:
    """The server as it runs: patient but not for ever, without a log of what was asked; its threads take turns."""
    sys.setswitchinterval(_TURN_S)
    config = uvicorn.Config(
        app,
        http=PatientHTTP,
        ws="none",
        log_config=None,  # logs.py alone says how lines look
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=2,
        server_header=False,
        proxy_headers=False,  # door.py says which proxy is believed
    )
    return _Server(config, app.state.drain, drain_s, say)


async def _end(other: Other, drain: Drain, grace_s: float) -> None:
    await drain.begun.wait()
    await other.close(grace_s)


def _stop_if_failed(task: "asyncio.Task[None]", server: uvicorn.Server) -> None:
    if not task.cancelled() and task.exception():
        server.should_exit = True


def listen(host: str, port: int) -> socket.socket:
    """The bound socket; port 0 takes a free one. Raises VoxpopError where it cannot be had."""
    # asyncio turns Nagle's delay off only where the protocol is named: else each kept-alive request waits 40 ms.
    door = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, proto=socket.IPPROTO_TCP)
    door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        door.bind((host, port))
        door.listen(128)
    except (OSError, OverflowError) as error:
        door.close()
        why = error.strerror if isinstance(error, OSError) else "there is no such port"
        cure = "Stop what uses it (perhaps another voxpop), or choose another with --port."
        raise VoxpopError(f"Port {port} on {host} cannot be used: {why}.", cure, code="port_taken") from error
    return door
