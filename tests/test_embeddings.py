"""Vectors of texts: that a paraphrase is nearer than another text, OpenAI's shapes, and a server without them."""

import base64
import struct
from typing import Any

import openai
import orjson
import pytest

from conftest import Running, Script
from test_api_http import Serve, client
from voxpop.api import embeddings
from voxpop.vectors import NAME

pytest.importorskip("wordllama", reason="the Python package 'wordllama' is not installed")


def dot(a: list[float], b: list[float]) -> float:
    return sum(x * y for x, y in zip(a, b, strict=True))


async def test_a_paraphrase_is_nearer_than_another_text(served: Serve) -> None:
    async with (
        served(Running(Script())) as url,
        openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as sdk,
    ):
        texts = ["Fuel prices have dropped", "Petrol is cheaper than last month", "The keeper stopped a spot kick"]
        made = await sdk.embeddings.create(model=NAME, input=texts)  # base64, as the client asks by itself
        plain = await sdk.embeddings.create(model=NAME, input=texts, encoding_format="float")
        small = await sdk.embeddings.create(model=NAME, input=texts[0], dimensions=64)
    one, two, three = (e.embedding for e in made.data)
    assert dot(one, two) > dot(one, three) + 0.2
    assert dot(one, one) == pytest.approx(1, abs=1e-5)
    assert one == pytest.approx(plain.data[0].embedding)
    assert (len(one), len(small.data[0].embedding)) == (256, 64)
    assert made.usage.prompt_tokens == plain.usage.total_tokens > 10


async def test_a_vector_is_little_endian_float32(served: Serve) -> None:
    async with served(Running(Script())) as url, client(url) as http:
        said = {"input": "hello", "encoding_format": "base64"}
        packed = (await http.post("/v1/embeddings", json=said)).json()["data"][0]["embedding"]
        plain = (await http.post("/v1/embeddings", json={"input": "hello"})).json()["data"][0]["embedding"]
    assert list(struct.unpack("<256f", base64.b64decode(packed))) == pytest.approx(plain)


async def test_what_cannot_be_embedded_is_refused(served: Serve) -> None:
    many = ["x"] * 2049
    bad: list[Any] = ["", [], [""], [1, 2], [[1]], None, 3, {"a": 1}, many, "x" * 32_001, ["a", 1], "\ud800"]
    async with served(Running(Script())) as url, client(url) as http:
        for value in bad:
            body = b'{"input":"\\ud800"}' if value == "\ud800" else orjson.dumps({"input": value})
            answer = await http.post("/v1/embeddings", content=body, headers={"content-type": "application/json"})
            assert answer.status_code == 400, value
            assert answer.json()["error"]["cure"]
        wrong: list[dict[str, Any]] = [{"dimensions": 100}, {"dimensions": True}, {"encoding_format": "hex"}]
        for more in [*wrong, {"model": "text-embedding-9"}]:
            assert (await http.post("/v1/embeddings", json={"input": "x"} | more)).status_code in (400, 404)
        assert (await http.get("/v1/embedding-models")).json()["models"][0]["id"] == NAME
        assert (await http.get(f"/v1/embedding-models/{NAME}")).status_code == 200
        assert (await http.get("/v1/embedding-models/text-embedding-3-small")).json()[
            "id"
        ] == "text-embedding-3-small"
        assert (await http.get("/v1/embedding-models/x")).status_code == 404


@pytest.mark.parametrize("name", ["text-embedding-3-small", "text-embedding-ada-002", "v1"])
async def test_foreign_names_get_our_vectors_and_never_another_length(served: Serve, name: str) -> None:
    async with served(Running(Script())) as url, client(url) as http:
        ours = (await http.post("/v1/embeddings", json={"input": "A bridge"})).json()
        theirs = (await http.post("/v1/embeddings", json={"input": "A bridge", "model": name})).json()
        longer = await http.post("/v1/embeddings", json={"input": "A bridge", "model": name, "dimensions": 1536})
    assert (theirs["model"], theirs["data"]) == (name, ours["data"])
    assert longer.status_code == 400
    assert longer.json()["error"]["cure"] == "Choose one of: 64, 128, 256."


async def test_a_server_without_vectors_says_how_to_get_them(served: Serve, monkeypatch: Any) -> None:
    monkeypatch.setattr("voxpop.vectors._PACKAGE", "a_package_that_is_nowhere")
    embeddings.loaded.cache_clear()
    async with served(Running(Script())) as url, client(url) as http:
        answer = await http.post("/v1/embeddings", json={"input": "x"})
        assert (answer.status_code, answer.json()["error"]["code"]) == (501, "no_embeddings")
        assert "voxpop[embeddings]" in answer.json()["error"]["cure"]
        assert (await http.get("/v1/embedding-models")).json() == {"models": []}
    embeddings.loaded.cache_clear()
