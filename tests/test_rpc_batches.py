"""xAI's batch client, unmodified, against the one store of batches: made, filled, waited for, read, cancelled."""

import asyncio
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

grpc = pytest.importorskip("grpc", reason="voxpop[grpc] is not installed")
pytest.importorskip("xai_sdk", reason="voxpop[grpc] is not installed")
from grpc import StatusCode  # noqa: E402
from xai_sdk.chat import user  # noqa: E402
from xai_sdk.proto import batch_pb2, files_pb2, files_pb2_grpc, image_pb2  # noqa: E402
from xai_sdk.tools import x_search  # noqa: E402

from conftest import Running, Script  # noqa: E402
from rpc import async_client, beside, client, serving  # noqa: E402
from test_rpc_chat import FOUND, POSTS, X_URL, running  # noqa: E402
from test_rpc_door import Keys, Slow  # noqa: E402
from voxpop.accounts import Account, Limited, Permit, Wanted  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")


class Counting(Keys):
    """Notes what each batch's request is permitted from; the first is told to come again."""

    def __init__(self) -> None:
        self.wanted: list[Wanted] = []

    async def permit(self, account: Account, wanted: Wanted) -> Permit:
        self.wanted.append(wanted)
        if wanted.bucket == "batch" and len(self.wanted) == 1:
            raise Limited("The minute's requests are used up.", "Wait 1 second.", {"retry-after": "1"})
        return await super().permit(account, wanted)


@pytest.fixture
def script() -> Script:
    return Script(FOUND)


@pytest.fixture
def program(script: Script) -> Any:
    return running(script)


@pytest.fixture
def gate() -> Counting:
    return Counting()


@pytest.fixture
def port(program: Any, gate: Counting, tmp_path: Path) -> Iterator[int]:
    with beside(program, tmp_path, gate=gate) as port:
        yield port


@pytest.fixture
def xai(port: int) -> Iterator[Any]:
    with client(port, "all") as xai:
        yield xai


def over(xai: Any, batch: str) -> Any:
    """The batch, when nothing of it waits."""
    for _ in range(250):
        got = xai.batch.get(batch)
        if got.state.num_requests and not got.state.num_pending:
            return got
        time.sleep(0.02)
    raise AssertionError(got)


def chats(xai: Any, *ids: str, **settings: Any) -> list[Any]:
    made = [xai.chat.create(model="grok-4.20", batch_request_id=i, **settings) for i in ids]
    return [c.append(user("Does it rain?")) for c in made]


def upload(port: int, text: str) -> str:
    """The id of a file. By the stub: on a channel without TLS xAI's client sends no key with an upload."""
    chunks = [
        files_pb2.UploadFileChunk(init=files_pb2.UploadFileInit(name="in.jsonl")),
        files_pb2.UploadFileChunk(data=text.encode()),
    ]
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        sent = [("authorization", "Bearer all")]
        return str(files_pb2_grpc.FilesStub(channel).UploadFile(iter(chunks), metadata=sent).id)


def code(attempt: Any) -> tuple[Any, str]:
    with pytest.raises(grpc.RpcError) as caught:
        attempt()
    return caught.value.code(), caught.value.details()


def test_a_batch_from_its_making_to_its_results(xai: Any, script: Script, gate: Counting) -> None:
    batch = xai.batch.create("rain")
    assert (batch.name, batch.state.num_requests, batch.create_api_key_id) == ("rain", 0, "k1")
    settings = {"tools": [x_search(allowed_x_handles=["ann"])], "include": ["inline_citations"], "seed": 7}
    xai.batch.add(batch.batch_id, chats(xai, "one", **settings))
    xai.batch.add(batch.batch_id, [*chats(xai, "two"), *chats(xai, "bad", max_tokens=0)])
    done = over(xai, batch.batch_id)
    state = done.state
    assert (state.num_requests, state.num_success, state.num_error, state.num_cancelled) == (3, 2, 1, 0)
    listed = xai.batch.list_batch_results(batch.batch_id)
    assert [r.batch_request_id for r in listed.results] == ["one", "two", "bad"]
    one, two = listed.succeeded
    assert one.response.content.endswith("It rains. [[2]](https://news.example/a_%28b%29)")
    assert one.response.inline_citations[0].x_citation.url == X_URL
    assert two.response.content == "Simulated\nIl pleut – 雨. [1][2]\nIt rains. [2]"
    assert (two.response.usage.prompt_tokens, two.response.finish_reason) == (7, "REASON_STOP")
    (bad,) = listed.failed
    assert "'max_tokens' cannot be 0." in bad.error_message
    asked = next(r for r in script.requests if r.bounds.handles)
    assert (asked.bounds.handles, asked.sampling.seed) == (("ann",), 7), "it is not asked as it was written"
    assert {(w.bucket, w.endpoint) for w in gate.wanted} == {("batch", "chat")}
    assert len(gate.wanted) == 3, "what was told to come again did not"
    rows = xai.batch.list_batch_requests(batch.batch_id).batch_request_metadata
    assert [r.state for r in rows] == [2, 2, 4]
    assert {r.model for r in rows} == {"grok-4.20"}


def test_a_post_that_is_gone_is_in_no_result(xai: Any, program: Any, tmp_path: Path) -> None:
    batch = xai.batch.create("rain").batch_id
    xai.batch.add(batch, chats(xai, "one"))
    over(xai, batch)
    for file in tmp_path.rglob("*"):
        assert not file.is_file() or b"Il pleut" not in file.read_bytes(), file
    program.posts.clear()
    (gone,) = xai.batch.list_batch_results(batch).failed
    assert gone.error_message == "A post on which it rested is gone. Ask again."
    asked = batch_pb2.GetBatchRequestResultRequest(batch_id=batch, batch_request_id="one")
    got = xai.batch._stub.GetBatchRequestResult(asked)
    assert got.request.completion_request.messages[0].content[0].text == "Does it rain?"
    assert got.result.error.code == StatusCode.NOT_FOUND.value[0]


def test_pages(xai: Any) -> None:
    ids = [xai.batch.create(f"b{n}").batch_id for n in range(3)]
    first = xai.batch.list(limit=2)
    rest = xai.batch.list(limit=2, pagination_token=first.pagination_token)
    assert {b.batch_id for b in [*first.batches, *rest.batches]} == set(ids)
    assert (len(rest.batches), rest.HasField("pagination_token")) == (1, False)
    xai.batch.add(ids[0], [xai.chat.create("grok-4", messages=[user(f"{n}?")]) for n in range(3)])
    over(xai, ids[0])
    results = xai.batch.list_batch_results(ids[0], limit=2)
    more = xai.batch.list_batch_results(ids[0], limit=2, pagination_token=results.pagination_token)
    names = [r.batch_request_id for r in [*results.results, *more.results]]
    assert len(set(names)) == 3
    assert all(names), "a request without an id got none"
    assert more.pagination_token is None


def test_the_lines_of_a_file(xai: Any, port: int) -> None:
    body = {"model": "voxpop", "messages": [{"role": "user", "content": "Does it rain?"}]}
    rows = [{"custom_id": f"r{n}", "method": "POST", "url": "/v1/chat/completions", "body": body} for n in (1, 2)]
    batch = xai.batch.create("lines", input_file_id=upload(port, "\n".join(map(json.dumps, rows))))
    assert over(xai, batch.batch_id).state.num_success == 2
    results = xai.batch.list_batch_results(batch.batch_id).succeeded
    assert [r.response.content for r in results] == ["Simulated\nIl pleut – 雨. [1][2]\nIt rains. [2]"] * 2
    assert list(results[0].response.citations) == [X_URL, POSTS[1].url]
    assert results[0].response.usage.completion_tokens == 5
    assert code(lambda: xai.batch.add(batch.batch_id, chats(xai, "x")))[0] is StatusCode.INVALID_ARGUMENT
    assert code(lambda: xai.batch.create("none", input_file_id="file-none"))[0] is StatusCode.NOT_FOUND


def test_what_cannot_be_held(xai: Any) -> None:
    batch = xai.batch.create("rain").batch_id
    picture = batch_pb2.BatchRequest(image_request=image_pb2.GenerateImageRequest(prompt="Rain"))
    refused = code(lambda: xai.batch.add(batch, [*chats(xai, "one"), picture]))
    assert refused[0] is StatusCode.INVALID_ARGUMENT
    assert "no pictures or videos" in refused[1]
    assert xai.batch.get(batch).state.num_requests == 0, "a part of what was refused was taken"
    assert code(lambda: xai.batch.add(batch, chats(xai, "two", "two")))[0] is StatusCode.INVALID_ARGUMENT
    assert code(lambda: xai.batch.create(""))[0] is StatusCode.INVALID_ARGUMENT


def test_another_account_sees_nothing(xai: Any, port: int) -> None:
    batch = xai.batch.create("rain").batch_id
    xai.batch.add(batch, chats(xai, "one"))
    with client(port, "batches") as other:
        asked = batch_pb2.GetBatchRequestResultRequest(batch_id=batch, batch_request_id="one")
        tries = [
            lambda: other.batch.get(batch),
            lambda: other.batch.add(batch, chats(xai, "mine")),
            lambda: other.batch.cancel(batch),
            lambda: other.batch.list_batch_requests(batch),
            lambda: other.batch.list_batch_results(batch),
            lambda: other.batch._stub.GetBatchRequestResult(asked),
            lambda: other.batch.list(pagination_token=batch),
        ]
        assert [code(attempt)[0] for attempt in tries] == [StatusCode.NOT_FOUND] * len(tries)
        assert not other.batch.list().batches
    with client(port, "fun") as narrow:
        assert code(narrow.batch.list)[0] is StatusCode.PERMISSION_DENIED


async def test_cancelled_it_begins_nothing_more(tmp_path: Path) -> None:
    slow = Slow(0.3)
    async with serving(Running(slow), tmp_path) as port:
        xai = async_client(port)
        batch = (await xai.batch.create("rain")).batch_id
        made = [xai.chat.create("grok-4", messages=[user(f"{n}?")], batch_request_id=f"r{n}") for n in range(4)]
        await xai.batch.add(batch, made)
        while not slow.requests:
            await asyncio.sleep(0.01)
        cancelled = await xai.batch.cancel(batch)
        assert cancelled.HasField("cancel_time")
        await asyncio.sleep(0.6)
        state = (await xai.batch.get(batch)).state
        assert (state.num_success, state.num_cancelled) == (len(slow.requests), 4 - len(slow.requests))
        assert state.num_cancelled >= 2
        failed = (await xai.batch.list_batch_results(batch)).failed
        assert {r.error_message for r in failed} == {"It was cancelled before it began."}
        await xai.close()
