"""The HTTP face: routes, framing and headers over one assistant; it decides nothing about an answer.

It answers only on the names of loopback (no other Host is served, so that no web page can rebind its way in) and
takes only JSON bodies, bounded in size.
"""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass
from importlib import resources
from typing import Any, Protocol

import orjson
from prometheus_client import CollectorRegistry, generate_latest
from sse_starlette import EventSourceResponse
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request as HttpRequest
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from voxpop.api import openai, page
from voxpop.assistant import Assistant
from voxpop.errors import UsageError, VoxpopError
from voxpop.messages import AnswerEvent
from voxpop.voices import Voice

MAX_BODY = 1 << 20
_POLICY = "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; frame-ancestors 'none'"
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}
_LIVE_S = 1.0


class Running(Protocol):
    """What the faces ask of the running program."""

    assistant: Assistant
    voices: dict[str, Voice]
    default_voice: str
    registry: CollectorRegistry
    started: int

    async def status(self) -> dict[str, Any]:
        """What the page shows of the stream, the sources and the engine."""
        ...

    async def unready(self) -> str:
        """Why no question can be answered yet; empty when one can."""
        ...


@dataclass(frozen=True, slots=True)
class Faces:
    """The handlers, bound to the running program."""

    running: Running

    async def home(self, request: HttpRequest) -> Response:
        return FileResponse(str(resources.files("voxpop").joinpath("web/index.html")))

    async def health(self, request: HttpRequest) -> Response:
        return JSONResponse({"status": "ok"})

    async def ready(self, request: HttpRequest) -> Response:
        why = await self.running.unready()
        return JSONResponse({"status": why or "ready"}, 503 if why else 200)

    async def metrics(self, request: HttpRequest) -> Response:
        return Response(
            generate_latest(self.running.registry), media_type="text/plain; version=0.0.4; charset=utf-8"
        )

    async def models(self, request: HttpRequest) -> Response:
        return JSONResponse(openai.models(self.running.voices, self.running.started))

    async def model(self, request: HttpRequest) -> Response:
        rows = openai.models(self.running.voices, self.running.started)["data"]
        name = request.path_params["name"]
        row = next((r for r in rows if r["id"] == name), None)
        return JSONResponse(row) if row else _failed(f"No model '{name}'.", "model_not_found", 404)

    async def completions(self, request: HttpRequest) -> Response:
        asked = openai.parse(await _json(request), self.running.voices, self.running.default_voice)
        id_, created = f"chatcmpl-{secrets.token_hex(12)}", int(time.time())
        events = self.running.assistant.answer(asked.request)
        if asked.stream:
            return await _stream(_framed(openai.chunks(id_, created, asked, events), events))
        transcript = openai.Transcript()
        async for event in _while_connected(request, events):
            transcript.add(event)
        return JSONResponse(openai.completion(id_, created, asked, transcript))

    async def answer(self, request: HttpRequest) -> Response:
        body = await _json(request)
        asked = openai.parse(body, self.running.voices, self.running.default_voice)
        return await _stream(_named(self.running.assistant.answer(asked.request)))

    async def status(self, request: HttpRequest) -> Response:
        voices = [{"name": v.name, "title": v.title} for v in self.running.voices.values()]
        named = {"voices": voices, "default_voice": self.running.default_voice}
        return JSONResponse({**await self.running.status(), **named})

    async def live(self, request: HttpRequest) -> Response:
        async def ticks() -> AsyncIterator[dict[str, str]]:
            while True:
                status = {k: v for k, v in (await self.running.status()).items() if k != "examples"}
                yield {"event": "live", "data": orjson.dumps(status).decode()}
                await asyncio.sleep(_LIVE_S)

        return EventSourceResponse(ticks(), headers={"Cache-Control": "no-store"})


def application(running: Running, lifespan: Callable[[Starlette], Any] | None = None) -> Starlette:
    """The ASGI application."""
    faces = Faces(running)
    routes = [
        Route("/", faces.home),
        Route("/healthz", faces.health),
        Route("/readyz", faces.ready),
        Route("/metrics", faces.metrics),
        Route("/v1/models", faces.models),
        Route("/v1/models/{name}", faces.model),
        Route("/v1/chat/completions", faces.completions, methods=["POST"]),
        Route("/api/answer", faces.answer, methods=["POST"]),
        Route("/api/status", faces.status),
        Route("/api/live", faces.live),
        Mount("/static", StaticFiles(packages=[("voxpop", "web")])),
    ]
    hosts = Middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1", "localhost", "[::1]"])
    handlers: dict[Any, Any] = {VoxpopError: _on_error, 404: _on_missing, 405: _on_missing}
    app = Starlette(routes=routes, middleware=[hosts], exception_handlers=handlers, lifespan=lifespan)
    app.add_middleware(_Headers)
    return app


class _Headers:
    """Security headers on every response."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def with_headers(message: Any) -> None:
            if message["type"] == "http.response.start":
                given = {k for k, _ in message["headers"]}
                extra = [(k.lower().encode(), v.encode()) for k, v in _HEADERS.items()]
                message["headers"] = [*message["headers"], *((k, v) for k, v in extra if k not in given)]
            await send(message)

        await self._app(scope, receive, with_headers if scope["type"] == "http" else send)


async def _json(request: HttpRequest) -> Any:
    kind = request.headers.get("content-type", "").partition(";")[0].strip()
    if kind != "application/json":
        raise UsageError(
            f"The body's type is '{kind}'.", "Send it as application/json.", code="unsupported_media_type"
        )
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > MAX_BODY:
            raise UsageError(
                f"The body is over {MAX_BODY} bytes.", "Send a shorter conversation.", code="too_large"
            )
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise UsageError(f"The body is not JSON: {error}.", "Send a JSON object.") from error


async def _stream(events: AsyncIterator[dict[str, str]]) -> Response:
    """Server-sent events; an error before the first event is an HTTP error, a later one an event."""
    first = await anext(events)

    async def all_of_them() -> AsyncIterator[dict[str, str]]:
        async with aclosing(events):  # type: ignore[type-var]
            yield first
            async for event in events:
                yield event

    return EventSourceResponse(all_of_them(), headers={"Cache-Control": "no-store"}, sep="\n")


async def _framed(
    chunks: AsyncIterator[dict[str, Any]], events: AsyncIterator[AnswerEvent]
) -> AsyncIterator[dict[str, str]]:
    try:
        async with aclosing(events), aclosing(chunks):  # type: ignore[type-var]
            async for chunk in chunks:
                yield {"data": orjson.dumps(chunk).decode()}
    except VoxpopError as error:
        yield {"data": orjson.dumps(openai.error(str(error), error.code, "server_error")).decode()}
    yield {"data": "[DONE]"}


async def _named(events: AsyncIterator[AnswerEvent]) -> AsyncIterator[dict[str, str]]:
    try:
        async with aclosing(events):  # type: ignore[type-var]
            async for event in events:
                name, data = page.render(event)
                yield {"event": name, "data": orjson.dumps(data).decode()}
    except VoxpopError as error:
        data = {"message": error.what, "cure": error.cure}
        yield {"event": "error", "data": orjson.dumps(data).decode()}


@asynccontextmanager
async def _watched(request: HttpRequest, task: "asyncio.Task[Any]") -> AsyncIterator[None]:
    async def watch() -> None:
        while not await request.is_disconnected():  # noqa: ASYNC110  the client's going is only seen by asking
            await asyncio.sleep(0.2)
        task.cancel()

    watching = asyncio.create_task(watch())
    try:
        yield
    finally:
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching


async def _while_connected(request: HttpRequest, events: AsyncIterator[AnswerEvent]) -> AsyncIterator[AnswerEvent]:
    """The events of an answer, cancelled when the client goes away."""
    task = asyncio.current_task()
    if task is None:
        raise RuntimeError("an answer is awaited outside a task")
    async with _watched(request, task), aclosing(events):  # type: ignore[type-var]
        async for event in events:
            yield event


_STATUS = {"model_not_found": 404, "too_large": 413, "unsupported_media_type": 415}


async def _on_error(_: HttpRequest, error: Exception) -> Response:
    if not isinstance(error, VoxpopError):
        raise error
    if isinstance(error, UsageError):
        return _failed(str(error), error.code, _STATUS.get(error.code, 400))
    return JSONResponse(openai.error(str(error), error.code, "server_error"), 503)


async def _on_missing(request: HttpRequest, error: Any) -> Response:
    what = f"{request.method} {request.url.path} is not served here."
    return _failed(f"{what} See docs/api.md.", "not_found", error.status_code)


def _failed(message: str, code: str, status: int) -> Response:
    return JSONResponse(openai.error(message, code), status)
