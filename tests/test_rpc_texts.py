"""Tokens, vectors, raw samples and files over gRPC, by xAI's client where it has one, else by its stubs."""

import base64
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

grpc = pytest.importorskip("grpc", reason="voxpop[grpc] is not installed")
pytest.importorskip("xai_sdk", reason="voxpop[grpc] is not installed")
from xai_sdk.proto import (  # noqa: E402
    documents_pb2,
    documents_pb2_grpc,
    embed_pb2,
    embed_pb2_grpc,
    sample_pb2,
    sample_pb2_grpc,
)

from conftest import Running, Script  # noqa: E402
from rpc import beside, client  # noqa: E402
from voxpop.errors import VoxpopError  # noqa: E402
from voxpop.messages import Done, Freshness, Message, Text, Timings, Usage  # noqa: E402
from voxpop.vectors import Vectors  # noqa: E402

SAID = [
    Text("Ho", kind="chat"),
    Text("ho", kind="chat"),
    Done("length", True, "e", "r", Usage(2, 3), Freshness(), Timings()),
]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    script = Script(SAID)
    with beside(Running(script), tmp_path_factory.mktemp("texts")) as port:
        yield port, script


@pytest.fixture
def xai(served: Any) -> Iterator[Any]:
    with client(served[0]) as xai:
        yield xai


@pytest.fixture
def channel(served: Any) -> Iterator[Any]:
    with grpc.insecure_channel(f"127.0.0.1:{served[0]}") as channel:
        yield channel


@pytest.mark.parametrize("text", ["Hello, world!", " Grüße  an 雨\n\tund 🙂 "])
def test_the_bytes_of_the_tokens_are_the_text(xai: Any, text: str) -> None:
    tokens = xai.tokenize.tokenize_text(text, model="grok-4.20")
    assert b"".join(t.token_bytes for t in tokens) == text.encode()
    assert all(t.string_token == t.token_bytes.decode() for t in tokens)
    assert len(tokens) > 1
    with pytest.raises(grpc.RpcError):
        xai.tokenize.tokenize_text("", model="grok-4.20")


def test_a_raw_prompt_is_continued_whole_and_streamed(served: Any, channel: Any) -> None:
    stub = sample_pb2_grpc.SampleStub(channel)
    request = sample_pb2.SampleTextRequest(prompt=["Once"], model="voxpop-fun", n=2, max_tokens=3, stop=["x"])
    whole = stub.SampleText(request)
    assert [(c.index, c.text) for c in whole.choices] == [(0, "Hoho"), (1, "Hoho")]
    assert {c.finish_reason for c in whole.choices} == {sample_pb2.REASON_MAX_LEN}
    assert (whole.model, whole.usage.total_tokens) == ("voxpop-fun", 10)
    asked = served[1].requests[-1]
    assert (asked.messages, asked.voice, asked.sampling.stop) == ((Message("user", "Once"),), "fun", ("x",))
    *pieces, last = stub.SampleTextStreaming(request)
    assert "".join(c.text for p in pieces for c in p.choices if c.index == 1) == "Hoho"
    assert (list(last.choices), last.usage) == ([], whole.usage)


def test_vectors(xai: Any, channel: Any) -> None:
    try:
        Vectors.load()
    except VoxpopError as error:
        pytest.skip(str(error))
    (model,) = xai.models.list_embedding_models()
    assert xai.models.get_embedding_model(model.name) == model
    stub = embed_pb2_grpc.EmbedderStub(channel)
    texts = [embed_pb2.EmbedInput(string=t) for t in ("It rains.", "It is raining.", "Shares fall.")]
    floats = [e.embeddings[0].float_array for e in stub.Embed(embed_pb2.EmbedRequest(input=texts)).embeddings]
    rain, raining, shares = ([float(x) for x in row] for row in floats)
    near, far = (sum(a * b for a, b in zip(rain, other, strict=True)) for other in (raining, shares))
    assert near > far
    packed = embed_pb2.EmbedRequest(input=texts[:1], encoding_format=embed_pb2.FORMAT_BASE64)
    raw = base64.b64decode(stub.Embed(packed).embeddings[0].embeddings[0].base64_array)
    assert list(struct.unpack(f"<{len(rain)}f", raw)) == pytest.approx(rain)


def test_a_file_is_stored_listed_read_searched_and_removed(xai: Any, channel: Any, tmp_path: Path) -> None:
    text = "The harvest was poor.\nIt rained for weeks in Dornick.\n" * 3
    stored = xai.files.upload(text.encode(), filename="harvest.txt")
    assert (stored.filename, stored.size) == ("harvest.txt", len(text))
    assert xai.files.get(stored.id) == stored
    assert [f.id for f in xai.files.list().data] == [stored.id]
    assert xai.files.content(stored.id) == text.encode()
    found = documents_pb2_grpc.DocumentsStub(channel).Search(documents_pb2.SearchRequest(query="rained Dornick"))
    assert found.matches[0].file_id == stored.id
    assert "Dornick" in found.matches[0].chunk_content
    assert xai.files.delete(stored.id).deleted
    for gone in (xai.files.get, xai.files.content, xai.files.delete):
        with pytest.raises(grpc.RpcError) as caught:
            gone(stored.id)
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND
    with pytest.raises(grpc.RpcError) as caught:
        xai.files.upload(b"\xff\xfe", filename="picture.jpg")
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
