"""Run the HTTP face, the ingest and the engine's preparation together; when one stops, all stop."""

import asyncio
import socket
from collections.abc import Callable
from typing import Protocol

import uvicorn

from voxpop.api.http import application
from voxpop.errors import VoxpopError
from voxpop.service import Service


class Prepares(Protocol):
    """Something that gets ready in the background."""

    async def prepare(self) -> None: ...


async def run(service: Service, engines: Prepares, host: str, port: int, say: Callable[[str], None]) -> None:
    """Serve until interrupted. Raises VoxpopError where the port cannot be had."""
    door = _listen(host, port)
    config = uvicorn.Config(
        application(service),
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=2,
        server_header=False,
    )
    server = uvicorn.Server(config)
    say(f"voxpop: open http://{host}:{door.getsockname()[1]} (stop with Ctrl+C)")
    background = [asyncio.create_task(service.run()), asyncio.create_task(engines.prepare())]
    serving = asyncio.create_task(server.serve(sockets=[door]))
    try:
        await asyncio.wait([serving, background[0]], return_when=asyncio.FIRST_EXCEPTION)
        server.should_exit = True
        await serving
        if background[0].done():
            background[0].result()
    finally:
        for task in background:
            task.cancel()
        await asyncio.gather(*background, return_exceptions=True)


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    door = socket.socket(family)
    door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        door.bind((host, port))
    except OSError as error:
        door.close()
        cure = "Stop what uses it (perhaps another voxpop), or choose another with --port."
        raise VoxpopError(
            f"Port {port} on {host} cannot be used: {error.strerror}.", cure, code="port_taken"
        ) from error
    return door
