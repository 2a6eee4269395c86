"""The door of the gRPC face: who may call, what a failure is called, and what a client may do to the connection."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest

grpc = pytest.importorskip("grpc", reason="voxpop[grpc] is not installed")
pytest.importorskip("xai_sdk", reason="voxpop[grpc] is not installed")
from google.protobuf import empty_pb2  # noqa: E402
from grpc import StatusCode  # noqa: E402
from xai_sdk import proto  # noqa: E402
from xai_sdk.chat import text, user  # noqa: E402
from xai_sdk.proto import auth_pb2_grpc, chat_pb2, chat_pb2_grpc  # noqa: E402

from conftest import Running, Script  # noqa: E402
from rpc import async_client, beside, client, serving  # noqa: E402
from test_rpc_fuzz import METHODS, refused  # noqa: E402
from voxpop.accounts import Account, Credential, Denied, Limited, Permit, Wanted  # noqa: E402
from voxpop.desk import Desk  # noqa: E402
from voxpop.errors import UsageError, VoxpopError  # noqa: E402
from voxpop.gate import OpenGate  # noqa: E402
from voxpop.messages import Done, Freshness, Text, Timings, Usage  # noqa: E402

DONE = Done("stop", True, "quote", "regular", Usage(), Freshness(), Timings())
SAID = [Text("Ho", kind="chat"), DONE]


class Keys(OpenGate):
    """Knows five keys: two may all, one only speak to `voxpop-fun`, one has nothing left."""

    KNOWN: Mapping[str, Account] = {
        "all": Account("ann", key="k1"),
        "fun": Account("bob", key="k2", models=frozenset({"voxpop-fun"}), endpoints=frozenset({"chat"})),
        "else": Account("cem", key="k3", endpoints=frozenset({"files"})),
        "spent": Account("dan", key="k4"),
        "batches": Account("eve", key="k5"),
    }

    async def account(self, credential: Credential) -> Account:
        if credential.key not in self.KNOWN:
            raise Denied("This key is not known.", "Make one.", code="invalid_api_key")
        return self.KNOWN[credential.key]

    async def permit(self, account: Account, wanted: Wanted) -> Permit:
        if account.id == "dan":
            left = {"retry-after": "7", "x-ratelimit-remaining-requests": "0"}
            raise Limited("The minute's requests are used up.", "Wait 7 seconds.", left)
        return await super().permit(account, wanted)


def ask(xai: Any, model: str = "grok-4.20") -> Any:
    return xai.chat.create(model=model, messages=[user("Hi")]).sample()


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Any:
    script = Script(SAID)
    with beside(Running(script), tmp_path_factory.mktemp("door"), gate=Keys()) as port:
        yield port, script


@pytest.mark.parametrize(
    ("key", "model", "code", "said"),
    [
        ("none", "voxpop", StatusCode.UNAUTHENTICATED, "This key is not known. Make one."),
        ("fun", "voxpop", StatusCode.PERMISSION_DENIED, "voxpop-fun"),
        ("else", "voxpop", StatusCode.PERMISSION_DENIED, "endpoint:chat"),
        ("spent", "voxpop", StatusCode.RESOURCE_EXHAUSTED, "Wait 7 seconds."),
        ("all", "gpt-2", StatusCode.NOT_FOUND, "No model 'gpt-2'."),
    ],
)
def test_who_may_not_is_told_why_and_is_not_tried_again(
    door: Any, key: str, model: str, code: StatusCode, said: str
) -> None:
    port, script = door
    asked = len(script.requests)
    with client(port, key) as xai, pytest.raises(grpc.RpcError) as caught:
        ask(xai, "voxpop" if model == "voxpop" else model)
    assert caught.value.code() is code
    assert said in caught.value.details()
    assert len(script.requests) == asked
    told = dict(caught.value.trailing_metadata())
    assert told["x-request-id"].startswith("req_")
    assert (told.get("retry-after") == "7") == (key == "spent")
    assert (told.get("x-ratelimit-remaining-requests") == "0") == (key == "spent")


@pytest.mark.parametrize("header", ["", "all", "Basic all", "Bearer", "Bearer  none"])
def test_only_a_bearer_is_known(door: Any, header: str) -> None:
    sent = [("authorization", header)] if header else []
    with grpc.insecure_channel(f"127.0.0.1:{door[0]}") as channel, pytest.raises(grpc.RpcError) as caught:
        auth_pb2_grpc.AuthStub(channel).get_api_key_info(empty_pb2.Empty(), metadata=sent)
    assert caught.value.code() is StatusCode.UNAUTHENTICATED


def test_who_may_is_answered_under_its_own_id(door: Any) -> None:
    with client(door[0], "fun", metadata=(("x-request-id", "mine"),)) as xai:
        assert ask(xai, "voxpop-fun").content == "Ho"
        assert [m.name for m in xai.models.list_language_models()] == ["voxpop-fun"]
        with pytest.raises(grpc.RpcError) as caught:
            xai.models.get_language_model("voxpop")
        assert caught.value.code() is StatusCode.NOT_FOUND
        assert dict(caught.value.trailing_metadata())["x-request-id"] == "mine"


def test_nothing_of_another_account_is_seen(tmp_path: Path) -> None:
    with beside(Running(Script(SAID)), tmp_path, gate=Keys()) as port, client(port, "all") as ann:
        chat = ann.chat.create(model="voxpop-fun", messages=[user("Hi")], store_messages=True)
        stored, compacted = chat.sample(), chat.compact()
        deferred = ann.chat._stub.StartDeferredCompletion(chat._make_request(1)).request_id
        with client(port, "fun") as bob:
            compaction = chat_pb2.Message(role=1, encrypted_content=compacted.encrypted_content)
            later = proto.deferred_pb2.GetDeferredRequest(request_id=deferred)
            said = [user("A")]
            tries = [
                lambda: bob.chat.get_stored_completion(stored.id),
                lambda: bob.chat.delete_stored_completion(stored.id),
                lambda: bob.chat.create("voxpop-fun", previous_response_id=stored.id, messages=said).sample(),
                lambda: bob.chat.create(model="voxpop-fun", messages=[compaction, user("A")]).sample(),
                lambda: bob.chat._stub.GetDeferredCompletion(later),
            ]
            for n, attempt in enumerate(tries):
                with pytest.raises(grpc.RpcError) as caught:
                    attempt()
                wanted = StatusCode.INVALID_ARGUMENT if n == 3 else StatusCode.NOT_FOUND
                assert caught.value.code() is wanted
        assert ann.chat.get_stored_completion(stored.id)[0].content == "Ho"


@pytest.mark.parametrize(
    ("failure", "code", "said"),
    [
        (UsageError("It is not.", "Try."), StatusCode.INVALID_ARGUMENT, "It is not. Try."),
        (VoxpopError("The engine is gone.", "Start it.", code="gone"), StatusCode.FAILED_PRECONDITION, "Start it."),
        (ValueError("a secret"), StatusCode.INTERNAL, "The server failed. Look into its log."),
    ],
)
@pytest.mark.parametrize("streamed", [False, True])
def test_a_failure_has_a_name_and_no_traceback(
    tmp_path: Path, failure: Exception, code: StatusCode, said: str, streamed: bool
) -> None:
    script = Script([Text("Ho", kind="chat"), failure])
    with beside(Running(script), tmp_path) as port, client(port) as xai:
        chat = xai.chat.create(model="grok-4.20", messages=[user("Hi")])
        with pytest.raises(grpc.RpcError) as caught:
            list(chat.stream()) if streamed else chat.sample()
    assert caught.value.code() is code
    assert said in caught.value.details()
    assert "secret" not in caught.value.details()
    assert len(script.requests) == 1, "it was tried again"


class Slow(Script):
    """An assistant that says nothing for a while; `left` counts those whose clients went."""

    def __init__(self, silent_s: float) -> None:
        super().__init__(SAID)
        self.silent_s, self.left = silent_s, 0

    async def answer(self, request: Any) -> AsyncIterator[Any]:
        self.requests.append(request)
        try:
            await asyncio.sleep(self.silent_s)
        except asyncio.CancelledError:
            self.left += 1
            raise
        for event in self.events:
            yield event


async def test_too_many_at_once_are_told_to_come_again_and_not_by_unavailable(tmp_path: Path) -> None:
    slow = Slow(1.0)
    async with serving(Running(slow), tmp_path, places=1) as port:
        xai = async_client(port)
        first = asyncio.create_task(ask(xai))
        while not slow.requests:
            await asyncio.sleep(0.01)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await ask(xai)
        assert caught.value.code() is StatusCode.RESOURCE_EXHAUSTED
        assert dict(caught.value.trailing_metadata())["retry-after"] == "1"
        assert (await first).content == "Ho"
        assert (await ask(xai)).content == "Ho", "its place was not given back"
        await xai.close()


async def test_a_deadline_and_a_leaving_client_stop_the_work_and_give_the_place_back(tmp_path: Path) -> None:
    slow = Slow(30)
    async with serving(Running(slow), tmp_path, places=1) as port:
        for _ in range(2):
            xai = async_client(port, timeout=0.3)
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await ask(xai)
            assert caught.value.code() is StatusCode.DEADLINE_EXCEEDED
            await xai.close()
        xai = async_client(port)
        leaving = asyncio.create_task(ask(xai))
        while len(slow.requests) < 3:
            await asyncio.sleep(0.01)
        leaving.cancel()
        await asyncio.gather(leaving, return_exceptions=True)
        for _ in range(100):
            if slow.left == 3:
                break
            await asyncio.sleep(0.01)
        assert slow.left == 3
        await xai.close()


async def test_what_is_under_way_may_end_before_the_server_does(tmp_path: Path) -> None:
    slow = Slow(0.5)
    async with serving(Running(slow), tmp_path, grace_s=10) as port:
        xai = async_client(port)
        asking = asyncio.create_task(ask(xai))
        while not slow.requests:
            await asyncio.sleep(0.01)
    assert (await asking).content == "Ho"
    await xai.close()


def test_every_method_asks_who_calls(door: Any) -> None:
    with grpc.insecure_channel(f"127.0.0.1:{door[0]}") as channel:
        for method in METHODS:
            assert refused(channel, method, b"")[0] is StatusCode.UNAUTHENTICATED, method.full_name
            if method.containing_service.name not in ("Auth", "Models", "Files"):  # a key for files alone
                code, _ = refused(channel, method, b"", "else")
                narrow = (StatusCode.PERMISSION_DENIED, StatusCode.INVALID_ARGUMENT, StatusCode.UNIMPLEMENTED)
                assert code in narrow, method.full_name


PINGS: Any = [("grpc.keepalive_time_ms", 1000), ("grpc.keepalive_timeout_ms", 5000)]


async def _runs(port: int, slow: Slow) -> int:
    """How often a call that is silent for a while is run, by a client that pings each second."""
    # The client's own lower bound between pings is lifted: the 120 seconds of the trap become five.
    pings = [*PINGS, ("grpc.http2.max_pings_without_data", 0), ("grpc.keepalive_permit_without_calls", 1)]
    xai = async_client(port, channel_options=pings, timeout=20)
    asking = asyncio.create_task(ask(xai))
    while not asking.done() and len(slow.requests) < 2:
        await asyncio.sleep(0.02)
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    await xai.close()
    return len(slow.requests)


async def test_a_silent_call_is_not_run_again_for_the_clients_pings(tmp_path: Path) -> None:
    ours, theirs = Slow(6.0), Slow(6.0)
    (tmp_path / "trap").mkdir()
    async with (
        serving(Running(ours), tmp_path) as port,
        serving(Running(theirs), tmp_path / "trap", keep_alive=()) as defaults,
    ):
        once, again = await asyncio.gather(_runs(port, ours), _runs(defaults, theirs))
    assert again == 2, "the trap is gone: the four options may go too"
    assert once == 1


@pytest.mark.parametrize("service", ["Image", "Video", "Collections"])
def test_what_is_not_served_says_so_at_once(door: Any, service: str) -> None:
    described = getattr(proto, f"{service.lower()}_pb2").DESCRIPTOR
    (one,) = described.services_by_name.values()
    with grpc.insecure_channel(f"127.0.0.1:{door[0]}") as channel:
        for method in one.methods:
            call = channel.unary_unary(f"/{one.full_name}/{method.name}")
            began = time.monotonic()
            with pytest.raises(grpc.RpcError) as caught:
                call(b"", metadata=[("authorization", "Bearer all")])
            assert caught.value.code() is StatusCode.UNIMPLEMENTED
            assert caught.value.details().endswith("is not served here. See docs/grpc.md for what is.")
            assert time.monotonic() - began < 1


def test_a_message_of_twenty_mebibytes_comes_in_and_a_larger_one_does_not(door: Any) -> None:
    port, _ = door
    options = [("grpc.max_send_message_length", -1)]
    sent = [("authorization", "Bearer all")]
    with grpc.insecure_channel(f"127.0.0.1:{port}", options=options) as channel:
        stub = chat_pb2_grpc.ChatStub(channel)
        for size, code in ((19 << 20, StatusCode.INVALID_ARGUMENT), (21 << 20, StatusCode.RESOURCE_EXHAUSTED)):
            said = chat_pb2.Message(role=1, content=[text("x" * size)])
            with pytest.raises(grpc.RpcError) as caught:
                stub.GetCompletion(chat_pb2.GetCompletionsRequest(messages=[said]), metadata=sent)
            assert caught.value.code() is code


async def test_a_port_is_nobody_elses(tmp_path: Path) -> None:
    from voxpop.rpc.door import Door
    from voxpop.rpc.server import Server

    class Nothing:
        others: Mapping[str, Any] = {}

        def add(self, server: Any) -> None:
            """No service."""

    async with serving(Running(), tmp_path) as port:
        nothing: Any = Nothing()
        other = Server(nothing, Door(Desk(Script())))
        with pytest.raises(VoxpopError, match=f"Port {port} on 127.0.0.1") as caught:
            await other.open("127.0.0.1", port)
        assert "server.grpc_port" in caught.value.cure
    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        door.listen()
        other = Server(nothing, Door(Desk(Script())))
        with pytest.raises(VoxpopError):
            await other.open("127.0.0.1", door.getsockname()[1])


async def test_with_a_certificate_it_speaks_tls(tmp_path: Path) -> None:
    import xai_sdk

    from voxpop.rpc.door import Door
    from voxpop.rpc.server import Server

    key, cert = tmp_path / "key.pem", tmp_path / "cert.pem"
    _certificate(key, cert)
    for given in ({"cert": str(cert)}, {"cert": str(cert), "key": str(tmp_path / "gone.pem")}):
        nothing: Any = type("Nothing", (), {"add": lambda self, server: None, "others": {}})()
        with pytest.raises(UsageError, match=r"certificate|Cannot read"):
            await Server(nothing, Door(Desk(Script()))).open("127.0.0.1", 0, **given)
    async with serving(Running(Script(SAID)), tmp_path, tls=(str(cert), str(key))) as port:
        roots = grpc.ssl_channel_credentials(cert.read_bytes())
        channel = grpc.aio.secure_channel(f"localhost:{port}", roots)
        said = chat_pb2.Message(role=1, content=[text("Hi")])
        answer = await chat_pb2_grpc.ChatStub(channel).GetCompletion(
            chat_pb2.GetCompletionsRequest(messages=[said])
        )
        assert answer.outputs[0].message.content == "Ho"
        await channel.close()
        plain = xai_sdk.AsyncClient(api_key="k", api_host=f"127.0.0.1:{port}", use_insecure_channel=True, timeout=3)
        with pytest.raises(grpc.aio.AioRpcError):
            await ask(plain)
        await plain.close()


def _certificate(key: Path, cert: Path) -> None:
    """A certificate of its own for localhost."""
    import datetime as dt

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    private = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(private.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(private, hashes.SHA256())
    )
    cert.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    plain = serialization.NoEncryption()
    form = serialization.PrivateFormat.PKCS8
    key.write_bytes(private.private_bytes(serialization.Encoding.PEM, form, plain))
