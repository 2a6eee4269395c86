"""A gRPC server on loopback with all of its services, beside the tests, for the unmodified client of xAI."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from conftest import Running

KEY = "xai-any"


@asynccontextmanager
async def serving(
    running: Running,
    folder: Path,
    *,
    gate: Any = None,
    places: int = 8,
    tls: Any = ("", ""),
    grace_s: float = 0,
    **options: Any,
) -> AsyncIterator[int]:
    """Serve in this loop; gives the port. `tls` is a certificate and its key, `options` are the server's."""
    from voxpop.api.http import application
    from voxpop.api.storing import answered, storing
    from voxpop.compactions import Compactions
    from voxpop.config import Config, Storage
    from voxpop.desk import Desk
    from voxpop.places import Places
    from voxpop.records import Database
    from voxpop.rpc.door import Door
    from voxpop.rpc.server import Server, services

    async def posts(ids: Any) -> list[Any]:
        return [p for p in getattr(running, "posts", ()) if p.id in ids]

    def clock() -> int:
        return time.time_ns() // 1000

    async def still(account: Any) -> Any:
        return account

    desk, config = Desk(running.assistant, gate), Config(storage=Storage(data=str(folder)))
    async with (
        Database.beside(folder) as records,
        answered(records, posts, clock) as answers,
        Compactions(records) as compactions,
        storing(config, records, posts, clock, still) as stored,
    ):
        shared = {**answers, "places": Places(places)}
        both = {**shared, "files": stored.files, "batches": stored.batches, "compactions": compactions}
        server = Server(services(running, desk, records, **both), Door(desk), **options)
        app = application(running, desk=desk, posts=posts, more=stored.routes(shared["places"]), **shared)
        working = asyncio.create_task(stored.run(app, server.others))
        try:
            yield await server.open("127.0.0.1", 0, cert=tls[0], key=tls[1])
        finally:
            await server.close(grace_s)
            working.cancel()
            await asyncio.gather(working, return_exceptions=True)


@contextmanager
def beside(running: Running, folder: Path, **options: Any) -> Iterator[int]:
    """Serve in a loop and a thread of its own, for clients that block; gives the port."""
    ready, end, ports = threading.Event(), asyncio.Event(), list[int]()
    loop = asyncio.new_event_loop()

    async def serve() -> None:
        try:
            async with serving(running, folder, **options) as port:
                ports.append(port)
                ready.set()
                await end.wait()
        finally:
            ready.set()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    try:
        ready.wait(20)
        assert ports, "the server did not start"
        yield ports[0]
    finally:
        loop.call_soon_threadsafe(end.set)
        thread.join(20)
        loop.close()


def client(port: int, key: str = KEY, **options: Any) -> Any:
    """xAI's client, as it is, against that port."""
    import xai_sdk

    return xai_sdk.Client(api_key=key, api_host=f"127.0.0.1:{port}", use_insecure_channel=True, **options)


def async_client(port: int, key: str = KEY, **options: Any) -> Any:
    """xAI's client for asyncio."""
    import xai_sdk

    return xai_sdk.AsyncClient(api_key=key, api_host=f"127.0.0.1:{port}", use_insecure_channel=True, **options)
