"""Any message that can be made of xAI's proto is answered, or refused with a cure: never a fault."""

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

grpc = pytest.importorskip("grpc", reason="voxpop[grpc] is not installed")
pytest.importorskip("xai_sdk", reason="voxpop[grpc] is not installed")
from google.protobuf.descriptor import Descriptor, FieldDescriptor  # noqa: E402
from google.protobuf.message_factory import GetMessageClass  # noqa: E402
from grpc import StatusCode  # noqa: E402
from xai_sdk import proto  # noqa: E402

from conftest import Running, Script  # noqa: E402
from rpc import beside  # noqa: E402
from voxpop.messages import Done, Freshness, Searching, Text, Timings, Usage  # noqa: E402

SAID = [
    Searching("it"),
    Text("Ho", kind="chat"),
    Done("stop", True, "echo", "fun", Usage(), Freshness(), Timings()),
]
EXPECTED = {
    StatusCode.INVALID_ARGUMENT,
    StatusCode.NOT_FOUND,
    StatusCode.UNIMPLEMENTED,
    StatusCode.RESOURCE_EXHAUSTED,
    StatusCode.FAILED_PRECONDITION,
}
MODULES = ["auth", "batch", "chat", "documents", "embed", "files", "image", "models", "sample", "tokenize", "video"]
SERVICES = [s for m in MODULES for s in getattr(proto, f"{m}_pb2").DESCRIPTOR.services_by_name.values()]
METHODS = [method for service in SERVICES for method in service.methods]
INTEGERS = {
    FieldDescriptor.CPPTYPE_INT32: st.integers(-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_INT64: st.integers(-(2**63), 2**63 - 1),
    FieldDescriptor.CPPTYPE_UINT32: st.integers(0, 2**32 - 1),
    FieldDescriptor.CPPTYPE_UINT64: st.integers(0, 2**64 - 1),
}
# What leads deeper than chance does.
LIKELY: dict[str, Any] = {
    "model": st.sampled_from(["voxpop", "voxpop-fun", "grok-4"]),
    "n": st.integers(-1, 3),
    "temperature": st.floats(0, 2),
    "parameters": st.sampled_from(["", "{}", '{"type": "object"}', "[", "null"]),
    "arguments": st.sampled_from(["", "{}", '{"a": 1}', "[", "1e999", '{"a": 1e999}', '{"a": "\\ud800"}']),
    "schema": st.sampled_from(["", "{}", '{"type": "object"}', "[" * 1000]),
    "name": st.sampled_from(["f", "g", "f g", ""]),
    "tool_call_id": st.sampled_from(["1", "2", ""]),
}


def scalar(field: Any) -> st.SearchStrategy[Any]:
    """Any value of a field, more often one that leads on."""
    kind = field.cpp_type
    if kind in INTEGERS:
        made: st.SearchStrategy[Any] = st.one_of(st.integers(0, 9), INTEGERS[kind])
    elif kind == FieldDescriptor.CPPTYPE_ENUM:
        made = st.one_of(st.sampled_from([v.number for v in field.enum_type.values]), st.sampled_from([-1, 77]))
    elif kind == FieldDescriptor.CPPTYPE_BOOL:
        made = st.booleans()
    elif kind in (FieldDescriptor.CPPTYPE_FLOAT, FieldDescriptor.CPPTYPE_DOUBLE):
        made = st.floats(width=32)
    elif field.type == FieldDescriptor.TYPE_BYTES:
        made = st.binary(max_size=40)
    else:
        made = st.text(max_size=40)
    return st.one_of(LIKELY[field.name], made) if field.name in LIKELY else made


@st.composite
def messages(draw: st.DrawFn, described: Descriptor, depth: int = 0) -> Any:
    """Any message of a type."""
    message = GetMessageClass(described)()
    for field in described.fields:
        if not draw(st.integers(0, 3)) < (3 if depth == 0 and field.is_repeated else 2):
            continue
        if field.message_type and field.message_type.GetOptions().map_entry:
            some = st.text(max_size=5)
            getattr(message, field.name).update(draw(st.dictionaries(some, some, max_size=2)))
        elif field.message_type and depth < 4:
            inner = messages(field.message_type, depth + 1)
            if field.is_repeated:
                getattr(message, field.name).extend(draw(st.lists(inner, max_size=3)))
            else:
                getattr(message, field.name).CopyFrom(draw(inner))
        elif field.message_type:
            continue
        elif field.is_repeated:
            getattr(message, field.name).extend(draw(st.lists(scalar(field), max_size=3)))
        else:
            setattr(message, field.name, draw(scalar(field)))
    return message


@pytest.fixture(scope="module")
def channel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    folder = tmp_path_factory.mktemp("fuzz")
    with beside(Running(Script(SAID)), folder, places=10_000) as port:  # noqa: SIM117  (the port is known then)
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield channel


def refused(channel: Any, method: Any, request: Any, key: str = "") -> tuple[Any, str]:
    """Call it to its end; its status and details, None where it was answered."""
    path = f"/{method.containing_service.full_name}/{method.name}"
    kind = f"{'stream' if method.client_streaming else 'unary'}_{'stream' if method.server_streaming else 'unary'}"
    response = GetMessageClass(method.output_type).FromString
    call = getattr(channel, kind)(path, None, response)
    sent = [("authorization", f"Bearer {key}")]
    try:
        answer = call(iter([request]) if method.client_streaming else request, timeout=10, metadata=sent)
        if method.server_streaming:
            list(answer)
    except grpc.RpcError as error:
        return error.code(), error.details()
    return None, ""


@pytest.mark.parametrize("method", METHODS, ids=lambda m: f"{m.containing_service.name}.{m.name}")
def test_no_message_is_a_fault(channel: Any, method: Any) -> None:
    @settings(max_examples=50, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(request=messages(method.input_type))
    def one(request: Any) -> None:
        code, details = refused(channel, method, request.SerializeToString())
        assert code is None or (code in EXPECTED and details), f"{code}: {details}"

    one()


@pytest.mark.parametrize("garbage", [b"\xff", b"\x0a\xff\xff\xff\xff\x0f", b"\x12\x02\xc3\x28"])
def test_bytes_that_are_no_message_are_their_senders_fault(channel: Any, garbage: bytes) -> None:
    for method in METHODS:
        code, details = refused(channel, method, garbage)
        assert code is None or code in EXPECTED, f"{method.name}, {code}: {details}"
