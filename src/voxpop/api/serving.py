"""Run the HTTP face, the ingest and the engine's preparation together; when one fails, all stop."""

import asyncio
import signal
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Protocol

import uvicorn
from starlette.applications import Starlette
from starlette.routing import BaseRoute

from voxpop.api.http import STREAMS, application
from voxpop.api.patience import PatientHTTP
from voxpop.errors import VoxpopError
from voxpop.service import Service


class Prepares(Protocol):
    """Something that gets ready in the background."""

    async def prepare(self) -> None: ...


class _Server(uvicorn.Server):
    """uvicorn, stopped by the loop's own signals, so that what is open around it is closed before the end."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            with suppress(NotImplementedError, RuntimeError, ValueError):
                loop.add_signal_handler(number, self.handle_exit, number, None)
        yield  # They stay until the loop is closed: a second signal must not break off the closing

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """However often it is asked: what is open has two seconds to end."""
        self.should_exit = True


async def run(
    service: Service,
    engines: Prepares,
    host: str,
    port: int,
    say: Callable[[str], None],
    *,
    streams: int = STREAMS,
    more: Sequence[BaseRoute] = (),
) -> None:
    """Serve until interrupted. Raises VoxpopError where the port cannot be had."""
    door = listen(host, port)
    server = server_of(application(service, streams=streams, more=more))
    shown = f"[{host}]" if ":" in host else host
    say(f"voxpop: open http://{shown}:{door.getsockname()[1]} (stop with Ctrl+C)")
    background = [asyncio.create_task(service.run()), asyncio.create_task(engines.prepare())]
    try:
        background[0].add_done_callback(lambda task: _stop_if_failed(task, server))
        await server.serve(sockets=[door])
        if background[0].done():
            background[0].result()
    finally:
        for task in background:
            task.cancel()
        await asyncio.gather(*background, return_exceptions=True)
        door.close()


def server_of(app: Starlette) -> uvicorn.Server:
    """The server as it runs: patient but not for ever, without a log of what was asked."""
    return _Server(
        uvicorn.Config(
            app,
            http=PatientHTTP,
            ws="none",
            log_config=None,  # logs.py alone says how lines look
            log_level="warning",
            access_log=False,
            timeout_graceful_shutdown=2,
            server_header=False,
        )
    )


def _stop_if_failed(task: "asyncio.Task[None]", server: uvicorn.Server) -> None:
    if not task.cancelled() and task.exception():
        server.should_exit = True


def listen(host: str, port: int) -> socket.socket:
    """The bound socket; port 0 takes a free one. Raises VoxpopError where it cannot be had."""
    door = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
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
