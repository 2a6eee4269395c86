"""Choose whether xAI's gRPC API is served: where its package is installed, its port is free and nobody said no."""

import asyncio
from collections.abc import Mapping
from contextlib import AsyncExitStack
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from voxpop.compactions import Compactions
from voxpop.config import Config
from voxpop.desk import Desk
from voxpop.errors import UsageError, VoxpopError
from voxpop.logs import Say
from voxpop.records import Database
from voxpop.service import Service

if TYPE_CHECKING:
    from voxpop.rpc.server import Server

_CHOICES = ("auto", "on", "off")


async def beside_http(
    stack: AsyncExitStack,
    config: Config,
    service: Service,
    desk: Desk,
    records: Database,
    say: Say,
    **shared: Any,
) -> "Server | None":
    """The gRPC server, open until the stack is closed; None where there is to be none, which is said.

    `shared`: what HTTP serves as well, by the names of `rpc.server.services`.

    Raises UsageError for a bad setting, VoxpopError where `on` cannot be had.
    """
    settings = config.server
    if settings.grpc not in _CHOICES:
        cure = f"Choose one of: {', '.join(_CHOICES)}."
        raise UsageError(f"The setting 'server.grpc' cannot be '{settings.grpc[:60]}'.", cure)
    if settings.grpc == "off":
        return None
    if not (find_spec("grpc") and find_spec("xai_sdk")):
        if settings.grpc == "on":
            cure = "Install it with: pip install 'voxpop[grpc]'"
            raise VoxpopError("The gRPC API is not installed.", cure, code="no_grpc")
        return None
    server = await _built(stack, service, desk, records, shared)
    try:
        port = await server.open(settings.host, settings.grpc_port, cert=settings.grpc_cert, key=settings.grpc_key)
    except UsageError:
        raise
    except VoxpopError as error:
        if settings.grpc == "on":
            raise
        say(f"voxpop: no gRPC. {error}")
        return None
    stack.push_async_callback(server.close, 0)
    say(f"voxpop: gRPC on {settings.host}:{port}{' with TLS' if settings.grpc_cert else ''}")
    return server


async def _built(
    stack: AsyncExitStack, service: Service, desk: Desk, records: Database, shared: Mapping[str, Any]
) -> "Server":
    """The server with its services; what they store is open until the stack is closed."""
    compactions = await stack.enter_async_context(Compactions(records))
    await asyncio.to_thread(import_module, "voxpop.rpc.server")  # it takes a moment
    from voxpop.rpc.door import Door
    from voxpop.rpc.server import Server, services

    return Server(services(service, desk, records, compactions=compactions, **shared), Door(desk))
