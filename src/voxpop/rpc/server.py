"""The gRPC server: xAI's services on a port of their own, in the loop of the HTTP server.

Its options hold for xAI's client as it is: it pings every 30 seconds also while a call is silent, for which gRPC's
defaults end the connection after two minutes, and the client then makes its call a second time.
"""

import contextlib
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import grpc
from xai_sdk.proto import (
    auth_pb2_grpc,
    batch_pb2_grpc,
    chat_pb2_grpc,
    documents_pb2_grpc,
    embed_pb2_grpc,
    files_pb2_grpc,
    models_pb2_grpc,
    sample_pb2_grpc,
    tokenize_pb2_grpc,
)

from voxpop.batches.store import Batches as Store
from voxpop.compactions import Compactions
from voxpop.conversations import Conversations
from voxpop.desk import Desk
from voxpop.errors import UsageError, VoxpopError
from voxpop.files import Files as Stored
from voxpop.places import Places
from voxpop.records import Database
from voxpop.rpc.batches import Batches
from voxpop.rpc.chat import COMPLETION, Chat
from voxpop.rpc.door import Door
from voxpop.rpc.files import Documents, Files
from voxpop.rpc.keys import Auth
from voxpop.rpc.models import Models
from voxpop.rpc.running import Deferred, Running
from voxpop.rpc.sample import Sample
from voxpop.rpc.tokens import Embedder, Tokenize
from voxpop.tiers import Price
from voxpop.vectors import Vectors

LARGEST = 20 << 20  # bytes of a message, as xAI's client has it
KEEP_ALIVE: tuple[tuple[str, int], ...] = (
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),
    ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_ping_strikes", 0),
)
_OPTIONS: tuple[tuple[str, int], ...] = (
    ("grpc.max_receive_message_length", LARGEST),
    ("grpc.max_send_message_length", LARGEST),
    ("grpc.so_reuseport", 0),  # else two programs would share a port, and callers fall to either
    ("grpc.keepalive_time_ms", 60_000),  # a client that vanished is noticed, and its answer stopped
    ("grpc.keepalive_timeout_ms", 20_000),
)


@dataclass(frozen=True, slots=True)
class Services:
    """What is served; each has the methods of its service in xAI's proto."""

    auth: Auth
    chat: Chat
    models: Models
    tokenize: Tokenize
    embedder: Embedder
    sample: Sample
    files: Files
    documents: Documents
    batches: Batches

    @property
    def others(self) -> Mapping[str, Any]:
        """What a batch may ask here, by the route that its requests name."""
        return {COMPLETION: self.chat.behind}

    def add(self, server: Any) -> None:
        """Register them."""
        auth_pb2_grpc.add_AuthServicer_to_server(self.auth, server)
        chat_pb2_grpc.add_ChatServicer_to_server(self.chat, server)
        models_pb2_grpc.add_ModelsServicer_to_server(self.models, server)
        tokenize_pb2_grpc.add_TokenizeServicer_to_server(self.tokenize, server)
        embed_pb2_grpc.add_EmbedderServicer_to_server(self.embedder, server)
        sample_pb2_grpc.add_SampleServicer_to_server(self.sample, server)
        files_pb2_grpc.add_FilesServicer_to_server(self.files, server)
        documents_pb2_grpc.add_DocumentsServicer_to_server(self.documents, server)
        batch_pb2_grpc.add_BatchMgmtServicer_to_server(self.batches, server)


def services(
    running: Running,
    desk: Desk,
    records: Database,
    *,
    places: Places,
    conversations: Conversations,
    compactions: Compactions,
    later: Deferred,
    files: Stored,
    batches: Store,
    price: Callable[[str], Price] = lambda _: Price(),
) -> Services:
    """All services over one desk; HTTP serves the same places, conversations, files and batches."""
    chat = Chat(running, desk, places, conversations, compactions, later)
    load = cache(Vectors.load)
    return Services(
        Auth(records),
        chat,
        Models(running, load, price),
        Tokenize(running, desk),
        Embedder(desk, places, load),
        Sample(running, desk, places),
        Files(files, desk, places),
        Documents(files, desk, places),
        Batches(batches, files),
    )


class Server:
    """A server of gRPC; `keep_alive` are the options that let a client ping as it likes."""

    def __init__(
        self, services: Services, door: Door, *, keep_alive: Sequence[tuple[str, int]] = KEEP_ALIVE
    ) -> None:
        self._door = door
        self.others = services.others
        self._server = grpc.aio.server(interceptors=[door], options=[*_OPTIONS, *keep_alive])
        services.add(self._server)

    @property
    def busy(self) -> bool:
        """Whether a call is under way."""
        return self._door.calls > 0

    async def open(self, host: str, port: int, *, cert: str = "", key: str = "") -> int:
        """Serve; the port that was taken (a free one for 0). `cert` and `key` are paths of PEM files, for TLS.

        Raises VoxpopError where the port cannot be had, UsageError where the files cannot be read.
        """
        where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        taken = 0
        with contextlib.suppress(RuntimeError, OSError):
            if port:
                _try(host, port)
            if cert or key:
                taken = self._server.add_secure_port(where, _credentials(cert, key))
            else:
                taken = self._server.add_insecure_port(where)
        if not taken:
            cure = "Stop what uses it (perhaps another voxpop), or set server.grpc_port."
            raise VoxpopError(f"Port {port} on {host} cannot be used for gRPC.", cure, code="port_taken")
        await self._server.start()
        return int(taken)

    async def close(self, grace_s: float) -> None:
        """Take no new call, and break off what is not done after `grace_s`."""
        await self._server.stop(grace_s)


def _try(host: str, port: int) -> None:
    """Raises OSError for a port that is taken: gRPC would say so by itself too, in lines of its own."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as door:
        door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        door.bind((host, port))


def _credentials(cert: str, key: str) -> Any:
    if not (cert and key):
        cure = "Set both server.grpc_cert and server.grpc_key, or neither."
        raise UsageError("Of the certificate and its key only one is given.", cure)
    try:
        chain, private = (Path(p).expanduser().read_bytes() for p in (cert, key))
    except OSError as error:
        cure = "Check server.grpc_cert and server.grpc_key."
        raise UsageError(f"Cannot read {error.filename}: {error.strerror}.", cure) from error
    return grpc.ssl_server_credentials([(private, chain)])
