"""Batches over HTTP, in OpenAI's shapes and xAI's at once: it parses and renders, the work is done elsewhere.

OpenAI's are made of a file of lines; xAI's have a name and take requests as they come. One object shows both.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from voxpop.api.bodies import read_json
from voxpop.api.entry import account_of
from voxpop.api.fields import refuse, told
from voxpop.api.files import page
from voxpop.batches import Batch, Line, Wish
from voxpop.batches.store import Batches
from voxpop.batches.work import ENDPOINTS, Work, named
from voxpop.errors import UsageError
from voxpop.files import Files
from voxpop.times import iso

LARGEST = 16 << 20  # bytes of requests that are added at once
_META = 16
_SECOND = 1_000_000
# xAI's names of what a batch may hold, and the route that each is asked by.
_KINDS = {"chat_get_completion": "/v1/chat/completions", "responses": "/v1/responses"}


@dataclass(frozen=True, slots=True)
class BatchFaces:
    """The handlers."""

    batches: Batches
    work: Work
    files: Files

    def routes(self) -> list[Route]:
        """Where they are served."""
        return [
            Route("/v1/batches", self.create, methods=["POST"]),
            Route("/v1/batches", self.list, methods=["GET"]),
            Route("/v1/batches/{id}:cancel", self.cancel, methods=["POST"]),
            Route("/v1/batches/{id}/cancel", self.cancel, methods=["POST"]),
            Route("/v1/batches/{id}/requests", self.add, methods=["POST"]),
            Route("/v1/batches/{id}/requests", self.requests, methods=["GET"]),
            Route("/v1/batches/{id}/results", self.results, methods=["GET"]),
            Route("/v1/batches/{id}", self.get, methods=["GET"]),
        ]

    async def create(self, request: Request) -> Response:
        account = account_of(request)
        account.check("batches")
        body = await read_json(request)
        if not isinstance(body, dict):
            raise UsageError("The body is not a JSON object.", "Send what OpenAI's or xAI's batches take.")
        meta, name, file = _meta(body.get("metadata")), body.get("name") or "", body.get("input_file_id") or ""
        if not isinstance(name, str) or len(name) > 255 or not (name.isprintable() or not name):
            refuse("name", f"'name' cannot be {told(name)}.", "Give at most 255 characters.")
        if not file and not name:
            refuse(
                "input_file_id", "There is neither a file nor a name.", "Give input_file_id, or name for xAI's way."
            )
        endpoint = body.get("endpoint") or (_KINDS["chat_get_completion"] if file else "")
        if file:
            if endpoint not in ENDPOINTS:
                refuse(
                    "endpoint", f"'endpoint' cannot be {told(endpoint)}.", f"Choose one of: {', '.join(ENDPOINTS)}."
                )
            if body.get("completion_window", "24h") != "24h":
                refuse("completion_window", "Only '24h' is served.", "Give 24h.", code="unsupported")
            if not isinstance(file, str) or (await self.files.get(account.id, file)).made_by:
                refuse(
                    "input_file_id", f"'input_file_id' cannot be {told(file)}.", "Give a file that you uploaded."
                )
        made = await self.batches.create(
            account, name=name, endpoint=endpoint, input_file=file, meta={"client": meta}
        )
        return JSONResponse(rendered(made))

    async def list(self, request: Request) -> Response:
        account = account_of(request)
        account.check("batches")
        after = request.query_params.get("after") or request.query_params.get("pagination_token", "")
        found, more = await self.batches.of(account.id, limit=_limit(request, 20), after=after)
        rows = [rendered(b) for b in found]
        return JSONResponse({**page(rows, more), "batches": rows})

    async def get(self, request: Request) -> Response:
        return JSONResponse(rendered(await self._batch(request)))

    async def cancel(self, request: Request) -> Response:
        batch = await self._batch(request)
        batch = await self.batches.cancel(batch.owner, batch.id)
        if batch.endpoint and batch.status == "cancelled" and "output_file_id" not in batch.meta:
            await self.batches.show(batch.id, **await self.work.shown(batch))
            batch = await self.batches.get(batch.owner, batch.id)
        return JSONResponse(rendered(batch))

    async def add(self, request: Request) -> Response:
        """xAI's: more requests for a batch that has no file."""
        batch = await self._batch(request)
        if batch.input_file:
            raise UsageError("This batch has the requests of its file.", "Make one with a name.", code="batch_over")
        body = await read_json(request, LARGEST)
        given = body.get("batch_requests") if isinstance(body, dict) else None
        if not isinstance(given, list) or not given:
            refuse("batch_requests", "There are no requests.", "Give a list in 'batch_requests'.")
        await self.batches.add(batch, [_wish(w, f"batch_requests[{n}]") for n, w in enumerate(given)])
        return JSONResponse(rendered(await self.batches.get(batch.owner, batch.id)))

    async def requests(self, request: Request) -> Response:
        """xAI's: how far each request is."""
        batch = await self._batch(request)
        found = await self.batches.lines(batch.id, start=_token(request), limit=_limit(request, 100), results=False)
        rows = [
            {
                "batch_request_id": n.custom_id,
                "endpoint": n.endpoint,
                "state": n.state,
                "create_time": _at(n.created_at),
                "finish_time": _at(n.ended_at),
            }
            for n in found
        ]
        return JSONResponse(
            {"batch_request_metadata": rows, "pagination_token": _next(found, _limit(request, 100))}
        )

    async def results(self, request: Request) -> Response:
        """xAI's: what came, in the order of the requests."""
        batch = await self._batch(request)
        limit = min(_limit(request, 100), 100)
        found = await self.batches.lines(batch.id, start=_token(request), limit=limit, ended=True)
        return JSONResponse({"results": [_result(n) for n in found], "pagination_token": _next(found, limit)})

    async def _batch(self, request: Request) -> Batch:
        account = account_of(request)
        account.check("batches")
        return await self.batches.get(account.id, request.path_params["id"])


def rendered(batch: Batch) -> dict[str, Any]:
    """OpenAI's `batch` object, and in the same xAI's."""
    counts = batch.counts
    times = {
        k: batch.times.get(k) for k in ("in_progress_at", "completed_at", "failed_at", "expired_at", "cancelled_at")
    }
    errors = batch.meta.get("errors")
    return {
        "id": batch.id,
        "object": "batch",
        "endpoint": batch.endpoint,
        "errors": {"object": "list", "data": errors} if errors else None,
        "input_file_id": batch.input_file or None,
        "completion_window": "24h",
        "status": batch.status,
        "output_file_id": batch.meta.get("output_file_id"),
        "error_file_id": batch.meta.get("error_file_id"),
        "created_at": batch.created_at,
        "expires_at": batch.expires_at,
        "finalizing_at": None,
        "cancelling_at": batch.times.get("cancelled_at"),
        **times,
        "request_counts": {
            "total": batch.total,
            "completed": counts.get("succeeded", 0),
            "failed": counts.get("failed", 0),
        },
        "metadata": batch.meta.get("client") or None,
        "batch_id": batch.id,
        "name": batch.name,
        "create_time": _at(batch.created_at),
        "expire_time": _at(batch.expires_at),
        "cancel_time": _at(batch.times.get("cancelled_at")),
        "create_api_key_id": batch.account.key,
        "state": {
            "num_requests": batch.total,
            "num_pending": counts.get("pending", 0) + counts.get("running", 0),
            "num_success": counts.get("succeeded", 0),
            "num_error": counts.get("failed", 0),
            "num_cancelled": counts.get("cancelled", 0),
        },
    }


def _result(line: Line) -> dict[str, Any]:
    kind = next((k for k, path in _KINDS.items() if path == line.endpoint), line.endpoint)  # gRPC: its own JSON
    said: dict[str, Any] = {"batch_request_id": line.custom_id}
    if line.result is None:
        what = "A post on which it rested is gone." if line.withdrawn else "It was cancelled before it began."
        return said | {"error_message": what}
    body = orjson.loads(line.result)
    if line.state != "succeeded":
        return said | {"error_message": body.get("error", {}).get("message", "It failed.")}
    return said | {"batch_result": {"response": {kind: body}}}


def _wish(raw: Any, where: str) -> Wish:
    said = raw.get("batch_request") if isinstance(raw, dict) else None
    asked: dict[str, Any] = said if isinstance(said, dict) else {}
    kinds = [k for k in _KINDS if isinstance(asked.get(k), dict)]
    if len(kinds) != 1 or asked[kinds[0]].get("stream"):
        cure = f"Give 'batch_request' with one of: {', '.join(_KINDS)}; nothing is streamed."
        refuse(where, "The request cannot be read.", cure)
    return Wish(named(raw.get("batch_request_id")), _KINDS[kinds[0]], orjson.dumps(asked[kinds[0]]))


def _meta(raw: Any) -> Mapping[str, str]:
    meta = raw or {}
    fits = isinstance(meta, dict) and len(meta) <= _META
    if not fits or not all(len(k) <= 64 and isinstance(v, str) and len(v) <= 512 for k, v in meta.items()):
        refuse(
            "metadata", f"'metadata' cannot be {told(raw)}.", f"Give at most {_META} short texts by short names."
        )
    return meta


def _limit(request: Request, usual: int) -> int:
    said = request.query_params.get("limit", str(usual))
    if not (said.isascii() and said.isdigit() and len(said) < 5 and int(said) >= 1):
        refuse("limit", f"'limit' cannot be {told(said)}.", "Give a whole number from 1 to 9999.")
    return min(int(said), 100)


def _token(request: Request) -> int:
    said = request.query_params.get("pagination_token") or "0"
    if not (said.isascii() and said.isdigit() and len(said) < 8):
        refuse(
            "pagination_token", f"'pagination_token' cannot be {told(said)}.", "Give the one of the page before."
        )
    return int(said)


def _next(found: "list[Line]", limit: int) -> str | None:
    return str(found[-1].n + 1) if len(found) == min(limit, 100) else None


def _at(seconds: int | None) -> str | None:
    return None if seconds is None else iso(seconds * _SECOND)
