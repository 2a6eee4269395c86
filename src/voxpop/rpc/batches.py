"""xAI's BatchMgmt service over the one store of batches; it parses and renders, the work is done elsewhere.

What is asked over gRPC is kept, and answered, as the JSON of its protobuf, so that nothing of it is lost; what came
over HTTP is told as what that JSON means here. Pictures and videos are refused.
"""

import secrets
from dataclasses import dataclass
from typing import Any

import orjson
from google.protobuf import empty_pb2, json_format
from google.protobuf.timestamp_pb2 import Timestamp
from google.rpc import code_pb2, status_pb2
from xai_sdk.proto import batch_pb2, chat_pb2, sample_pb2

from voxpop.batches import Batch, Line, Wish
from voxpop.batches.store import Batches as Store
from voxpop.batches.work import named
from voxpop.errors import FieldError, UsageError
from voxpop.files import Files
from voxpop.rpc.chat import COMPLETION, as_json
from voxpop.rpc.door import caller

HTTP = "/v1/chat/completions"
_USUAL = _MOST = 100
_LONGEST_NAME = 255
_State = batch_pb2.BatchRequestMetadata
_STATES = {
    "pending": _State.STATE_PENDING,
    "running": _State.STATE_PENDING,
    "succeeded": _State.STATE_SUCCEEDED,
    "failed": _State.STATE_FAILED,
    "cancelled": _State.STATE_CANCELLED,
}
_REASONS = {
    "stop": sample_pb2.REASON_STOP,
    "length": sample_pb2.REASON_MAX_LEN,
    "tool_calls": sample_pb2.REASON_TOOL_CALLS,
}
_CODES = {400: code_pb2.INVALID_ARGUMENT, 401: code_pb2.UNAUTHENTICATED, 403: code_pb2.PERMISSION_DENIED}
_CODES |= {404: code_pb2.NOT_FOUND, 410: code_pb2.NOT_FOUND}


@dataclass(frozen=True, slots=True)
class Batches:
    """The eight methods."""

    kept: Store
    files: Files

    async def CreateBatch(self, request: Any, context: Any) -> Any:
        """A batch that takes requests, or (`input_file_id`) one of the lines of a file. Raises UsageError."""
        account, name, file = _account(), request.name, request.input_file_id
        if len(name) > _LONGEST_NAME or not (name.isprintable() and (name or file)):
            raise FieldError("name", "A batch cannot have this name.", f"Give 1 to {_LONGEST_NAME} characters.")
        if file and (await self.files.get(account.id, file)).made_by:
            raise FieldError("input_file_id", "A batch made this file.", "Give one that you uploaded.")
        made = await self.kept.create(account, name=name, endpoint=HTTP if file else "", input_file=file)
        return _batch(made)

    async def AddBatchRequests(self, request: Any, context: Any) -> Any:
        """More requests, all or none. Raises UsageError."""
        batch = await self._batch(request)
        if batch.input_file:
            raise UsageError("This batch has the requests of its file.", "Make another.", code="batch_over")
        if not request.batch_requests:
            raise FieldError("batch_requests", "There are no requests.", "Give at least one.")
        await self.kept.add(batch, [_wish(w, n) for n, w in enumerate(request.batch_requests)])
        return empty_pb2.Empty()

    async def GetBatch(self, request: Any, context: Any) -> Any:
        """How far it is."""
        return _batch(await self._batch(request))

    async def ListBatches(self, request: Any, context: Any) -> Any:
        """A page of the account's, newest first; the token of the next page is its last batch's id."""
        account = _account()
        found, more = await self.kept.of(account.id, limit=_limit(request), after=request.pagination_token)
        token = found[-1].id if more else None
        return batch_pb2.ListBatchesResponse(batches=[_batch(b) for b in found], pagination_token=token)

    async def CancelBatch(self, request: Any, context: Any) -> Any:
        """No request that has not begun is begun."""
        batch = await self._batch(request)
        return _batch(await self.kept.cancel(batch.owner, batch.id))

    async def ListBatchRequestMetadata(self, request: Any, context: Any) -> Any:
        """How far each request is, in their order."""
        batch, limit = await self._batch(request), _limit(request)
        found = await self.kept.lines(batch.id, start=_start(request), limit=limit, results=False)
        wanted = set(request.status)
        rows = [_metadata(line) for line in found]
        return batch_pb2.ListBatchRequestMetadataResponse(
            batch_request_metadata=[r for r in rows if not wanted or r.state in wanted],
            pagination_token=_next(found, limit),
        )

    async def ListBatchResults(self, request: Any, context: Any) -> Any:
        """What came of the requests that are over, in their order."""
        batch, limit = await self._batch(request), _limit(request)
        found = await self.kept.lines(batch.id, start=_start(request), limit=limit, ended=True)
        results = [_result(line) for line in found]
        return batch_pb2.ListBatchResultsResponse(results=results, pagination_token=_next(found, limit))

    async def GetBatchRequestResult(self, request: Any, context: Any) -> Any:
        """One request, as it was asked over gRPC, and what came of it; without a result while it waits."""
        batch = await self._batch(request)
        line = await self.kept.line(batch.id, request.batch_request_id)
        asked = batch_pb2.BatchRequest(batch_request_id=line.custom_id)
        if line.endpoint == COMPLETION:
            json_format.Parse(line.body, asked.completion_request)
        result = None if _STATES[line.state] == _State.STATE_PENDING else _result(line)
        return batch_pb2.GetBatchRequestResultResponse(request=asked, result=result)

    async def _batch(self, request: Any) -> Batch:
        return await self.kept.get(_account().id, request.batch_id)


def _account() -> Any:
    account = caller().account
    account.check("batches")
    return account


def _wish(proto: Any, place: int) -> Wish:
    kind = proto.WhichOneof("request")
    if kind != "completion_request":
        what = f"A batch cannot hold a request of the kind '{kind or 'none'}'."
        where = f"batch_requests[{place}]"
        raise FieldError(where, what, "Give chats: no pictures or videos are made here.", code="unsupported")
    id_ = named(proto.batch_request_id or secrets.token_hex(12))
    return Wish(id_, COMPLETION, as_json(proto.completion_request))


def _limit(request: Any) -> int:
    limit = request.limit or _USUAL
    if limit < 1:
        raise FieldError("limit", f"'limit' cannot be {limit}.", f"Give 1 to {_MOST}.")
    return int(min(limit, _MOST))


def _start(request: Any) -> int:
    said = request.pagination_token or "0"
    if not (said.isascii() and said.isdigit() and len(said) < 8):
        raise FieldError("pagination_token", "No page has this token.", "Give the one of the page before.")
    return int(said)


def _next(found: list[Line], limit: int) -> str | None:
    return str(found[-1].n + 1) if len(found) == limit else None


def _at(seconds: int | None) -> Timestamp | None:
    return None if seconds is None else Timestamp(seconds=seconds)


def _batch(batch: Batch) -> Any:
    counts = batch.counts
    return batch_pb2.Batch(
        batch_id=batch.id,
        name=batch.name,
        create_time=_at(batch.created_at),
        expire_time=_at(batch.expires_at),
        create_api_key_id=batch.account.key,
        cancel_time=_at(batch.times.get("cancelled_at")),
        input_file_id=batch.input_file,
        state=batch_pb2.BatchState(
            num_requests=batch.total,
            num_pending=counts.get("pending", 0) + counts.get("running", 0),
            num_success=counts.get("succeeded", 0),
            num_error=counts.get("failed", 0),
            num_cancelled=counts.get("cancelled", 0),
        ),
    )


def _metadata(line: Line) -> Any:
    return batch_pb2.BatchRequestMetadata(
        batch_request_id=line.custom_id,
        endpoint=line.endpoint,
        model=str(orjson.loads(line.body).get("model") or ""),
        state=_STATES[line.state],
        create_time=_at(line.created_at),
        finish_time=_at(line.ended_at),
    )


def _result(line: Line) -> Any:
    response = chat_pb2.GetChatCompletionResponse()
    if line.withdrawn:
        return _failed(line, code_pb2.NOT_FOUND, "A post on which it rested is gone. Ask again.")
    if line.result is None:
        return _failed(line, code_pb2.CANCELLED, "It was cancelled before it began.")
    if line.state == "failed":
        said = orjson.loads(line.result).get("error", {}).get("message") or "It failed."
        return _failed(line, _CODES.get(line.status, code_pb2.INTERNAL), said)
    if line.endpoint == COMPLETION:
        json_format.Parse(line.result, response)
    elif line.endpoint == HTTP:
        response = _of_http(orjson.loads(line.result))
    else:
        return _failed(line, code_pb2.UNIMPLEMENTED, f"It was asked as {line.endpoint}: read it over HTTP.")
    data = batch_pb2.BatchResultData(completion_response=response)
    return batch_pb2.BatchResult(batch_request_id=line.custom_id, response=data)


def _failed(line: Line, code: int, said: str) -> Any:
    return batch_pb2.BatchResult(batch_request_id=line.custom_id, error=status_pb2.Status(code=code, message=said))


def _of_http(said: dict[str, Any]) -> Any:
    """A `chat.completion` as xAI's message."""
    used = said["usage"]
    response = chat_pb2.GetChatCompletionResponse(
        id=said["id"],
        model=said["model"],
        created=Timestamp(seconds=said["created"]),
        system_fingerprint=said["system_fingerprint"],
        citations=said.get("citations") or (),
    )
    for name in ("prompt_tokens", "completion_tokens", "total_tokens", "num_sources_used", "cost_in_usd_ticks"):
        setattr(response.usage, name, used[name])
    response.usage.reasoning_tokens = used["completion_tokens_details"]["reasoning_tokens"]
    for choice in said["choices"]:
        message = choice["message"]
        output = response.outputs.add(index=choice["index"], finish_reason=_REASONS[choice["finish_reason"]])
        output.message.role = chat_pb2.ROLE_ASSISTANT
        output.message.content = message["content"] or message["refusal"] or ""
        for call in message.get("tool_calls", ()):
            one = output.message.tool_calls.add(id=call["id"], type=chat_pb2.TOOL_CALL_TYPE_CLIENT_SIDE_TOOL)
            one.status = chat_pb2.TOOL_CALL_STATUS_COMPLETED
            one.function.name, one.function.arguments = call["function"]["name"], call["function"]["arguments"]
    return response
