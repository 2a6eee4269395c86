"""The HTTP face: routes over one assistant; it decides nothing about an answer and keeps nothing of one."""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from importlib import resources
from typing import Any, Protocol
from urllib.parse import quote

import orjson
from prometheus_client import CollectorRegistry, generate_latest
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request as HttpRequest
from starlette.responses import FileResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from voxpop.api import openai, page
from voxpop.api.answers import AnswerFaces, Kept
from voxpop.api.asked import Asked, parse
from voxpop.api.bodies import read_json
from voxpop.api.guard import Guard, refused
from voxpop.api.streams import Frame, Places, stream, unless_gone
from voxpop.errors import UsageError, VoxpopError
from voxpop.messages import AnswerEvent, Request
from voxpop.policy import Policy
from voxpop.voices import Voice

STREAMS = 64
_LIVE_S = 1.0


class Answers(Protocol):
    """What answers a request."""

    def answer(self, request: Request) -> AsyncIterator[AnswerEvent]:
        """The events of one answer; closing it stops the engine."""
        ...


class Running(Protocol):
    """What the faces ask of the running program."""

    @property
    def assistant(self) -> Answers: ...

    @property
    def answers(self) -> Kept: ...

    voices: dict[str, Voice]
    default_voice: str
    registry: CollectorRegistry
    started: int
    policy: Policy

    async def status(self) -> dict[str, Any]:
        """What the page shows of the stream, the sources and the engine."""
        ...

    async def unready(self) -> str:
        """Why no question can be answered yet; empty when one can."""
        ...


def stamp() -> tuple[str, int]:
    """An id that was never given, and the second."""
    return f"chatcmpl-{secrets.token_hex(12)}", int(time.time())


@dataclass(frozen=True, slots=True)
class Faces:
    """The handlers, bound to the running program; answers and live headers are each bounded in number."""

    running: Running
    stamp: Callable[[], tuple[str, int]] = stamp
    answers: Places = field(default_factory=lambda: Places(STREAMS))
    watchers: Places = field(default_factory=lambda: Places(STREAMS))

    async def home(self, request: HttpRequest) -> Response:
        return FileResponse(str(resources.files("voxpop").joinpath("web/index.html")))

    async def kept(self, request: HttpRequest) -> Response:
        """The address of a kept answer: the page opens it."""
        return RedirectResponse(f"../?answer={quote(request.path_params['id'], safe='')}", 303)

    async def health(self, request: HttpRequest) -> Response:
        return JSONResponse({"status": "ok"})

    async def ready(self, request: HttpRequest) -> Response:
        why = await self.running.unready()
        return JSONResponse({"status": why or "ready"}, 503 if why else 200)

    async def metrics(self, request: HttpRequest) -> Response:
        await self.running.status()  # what a scrape reads of the store is then fresh
        text = generate_latest(self.running.registry)
        return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")

    async def models(self, request: HttpRequest) -> Response:
        return JSONResponse(self._models())

    async def model(self, request: HttpRequest) -> Response:
        rows = self._models()["data"]
        for row in rows:
            if row["id"] == request.path_params["name"]:
                return JSONResponse(row)
        cure = f"Choose one of: {', '.join(r['id'] for r in rows)}."
        raise UsageError(f"No model '{request.path_params['name'][:60]}'.", cure, code="model_not_found")

    def _models(self) -> dict[str, Any]:
        running = self.running
        return openai.models(running.voices, running.started, running.policy.json())

    async def completions(self, request: HttpRequest) -> Response:
        asked = await self._asked(request)
        id_, created = self.stamp()
        events = self.running.assistant.answer(asked.request)
        if asked.stream:
            frames = _chunked(openai.chunks(id_, created, asked, events))
            return await stream(request, frames, self.answers, lambda e: _data(openai.error(e)))
        with self.answers.held():
            transcript = await unless_gone(request, _whole(events))
        return JSONResponse(openai.completion(id_, created, asked, transcript))

    async def answer(self, request: HttpRequest) -> Response:
        asked = await self._asked(request)
        frames = _named(self.running.assistant.answer(asked.request))
        return await stream(request, frames, self.answers, _failure)

    async def _asked(self, request: HttpRequest) -> Asked:
        return parse(await read_json(request), self.running.voices, self.running.default_voice)

    async def status(self, request: HttpRequest) -> Response:
        voices = [{"name": v.name, "title": v.title} for v in self.running.voices.values()]
        named = {"voices": voices, "default_voice": self.running.default_voice}
        return JSONResponse({**await self.running.status(), **named})

    async def live(self, request: HttpRequest) -> Response:
        if request.method == "HEAD":
            return Response(media_type="text/event-stream")
        return await stream(request, self._ticks(), self.watchers, _failure)

    async def _ticks(self) -> AsyncIterator[Frame]:
        while True:
            status = {k: v for k, v in (await self.running.status()).items() if k != "examples"}
            yield {"event": "live", **_data(status)}
            await asyncio.sleep(_LIVE_S)


def application(
    running: Running,
    *,
    streams: int = STREAMS,
    stamp: Callable[[], tuple[str, int]] = stamp,
    more: Sequence[BaseRoute] = (),
) -> Starlette:
    """The ASGI application; `streams` bounds the answers under way, and the open pages; `more` is served beside."""
    faces = Faces(running, stamp, Places(streams), Places(streams))
    routes = [
        Route("/", faces.home),
        Route("/answers/{id}", faces.kept),
        Route("/healthz", faces.health),
        Route("/readyz", faces.ready),
        Route("/metrics", faces.metrics),
        Route("/v1/models", faces.models),
        Route("/v1/models/{name}", faces.model),
        Route("/v1/chat/completions", faces.completions, methods=["POST"]),
        Route("/api/answer", faces.answer, methods=["POST"]),
        Route("/api/status", faces.status),
        Route("/api/live", faces.live),
        *AnswerFaces(lambda: running.answers, faces.answers).routes(),
        *more,
        Mount("/static", StaticFiles(packages=[("voxpop", "web")])),
    ]
    app = Starlette(
        routes=routes,
        exception_handlers={VoxpopError: _on_error, HTTPException: _on_missing},  # type: ignore[dict-item]
    )
    app.add_middleware(Guard)
    return app


def _data(value: Mapping[str, Any]) -> Frame:
    return {"data": orjson.dumps(value).decode()}


def _failure(error: VoxpopError) -> Frame:
    return {"event": "error", **_data({"message": error.what, "cure": error.cure, "code": error.code})}


async def _chunked(chunks: AsyncIterator[dict[str, Any]]) -> AsyncIterator[Frame]:
    async with aclosing(chunks):  # type: ignore[type-var]
        async for chunk in chunks:
            yield _data(chunk)
    yield {"data": "[DONE]"}


async def _named(events: AsyncIterator[AnswerEvent]) -> AsyncIterator[Frame]:
    async with aclosing(events):  # type: ignore[type-var]
        async for event in events:
            name, data = page.render(event)
            yield {"event": name, **_data(data)}


async def _whole(events: AsyncIterator[AnswerEvent]) -> openai.Transcript:
    transcript = openai.Transcript()
    async with aclosing(events):  # type: ignore[type-var]
        async for event in events:
            transcript.add(event)
    return transcript


async def _on_error(_: HttpRequest, error: VoxpopError) -> Response:
    return refused(error)


async def _on_missing(request: HttpRequest, error: HTTPException) -> Response:
    what = f"{request.method} {request.url.path[:200]} is not served here."
    response = refused(UsageError(what, "See docs/api.md for what is.", code="not_found"))
    response.status_code = error.status_code
    response.headers.update(error.headers or {})
    return response
