"""The HTTP face: routes over one assistant; it decides nothing about an answer and keeps nothing of one."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from importlib import resources
from typing import Any, Protocol
from urllib.parse import quote

from prometheus_client import CollectorRegistry, generate_latest
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request as HttpRequest
from starlette.responses import FileResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Match, Mount, Route
from starlette.staticfiles import StaticFiles

from voxpop.accounts import Denied
from voxpop.api import openapi, page
from voxpop.api.answers import AnswerFaces, Kept
from voxpop.api.chat import ChatFaces, Speaking, data, stamp
from voxpop.api.coming_back import StreamFaces
from voxpop.api.completions import CompletionFaces
from voxpop.api.door import Door, Proxied
from voxpop.api.draining import Drain
from voxpop.api.embeddings import EmbeddingFaces
from voxpop.api.entry import Entry, account_of
from voxpop.api.guard import Guard, refused
from voxpop.api.messages import MessageFaces
from voxpop.api.models import ModelFaces
from voxpop.api.repeating import Repeating
from voxpop.api.responses import ResponseFaces
from voxpop.api.resuming import NAMES, Posts, Resumable
from voxpop.api.session import SessionFaces
from voxpop.api.streams import Frame, stream
from voxpop.conversations import Conversations
from voxpop.deferred import Later
from voxpop.desk import Answers, Desk
from voxpop.errors import UsageError, VoxpopError
from voxpop.messages import AnswerEvent
from voxpop.meters import Requests
from voxpop.places import Places
from voxpop.quotas.permits import Quotas
from voxpop.tiers import Price

STREAMS = 64
_LIVE_S = 1.0
_LIMITS = [f"x-ratelimit-{kind}-{of}" for kind in ("limit", "remaining", "reset") for of in ("requests", "tokens")]
_CORS: dict[str, Any] = {
    "allow_methods": ["GET", "POST", "DELETE"],
    "allow_headers": ["*"],  # clients send many of their own; a cookie is none of them
    "expose_headers": ["x-request-id", "retry-after", NAMES, *_LIMITS],
    "max_age": 600,
}


class Running(Speaking, Protocol):
    """What the faces ask of the running program."""

    @property
    def assistant(self) -> Answers: ...

    @property
    def answers(self) -> Kept: ...

    registry: CollectorRegistry
    requests: Requests

    async def status(self) -> dict[str, Any]:
        """What the page shows of the stream, the sources and the engine."""
        ...

    async def unready(self) -> str:
        """Why no question can be answered yet; empty when one can."""
        ...


@dataclass(frozen=True, slots=True)
class Faces:
    """The handlers, bound to the running program; answers and live headers are each bounded in number."""

    running: Running
    chat: ChatFaces
    drain: Drain
    answers: Places = field(default_factory=lambda: Places(STREAMS))
    watchers: Places = field(default_factory=lambda: Places(STREAMS))
    quotas: Quotas | None = None

    def routes(self) -> list[Route]:
        """Where they are served."""
        return [
            Route("/", self.home),
            Route("/answers/{id}", self.kept),
            Route("/healthz", self.health),
            Route("/readyz", self.ready),
            Route("/metrics", self.metrics),
            Route("/api/answer", self.answer, methods=["POST"]),
            Route("/api/status", self.status),
            Route("/api/live", self.live),
        ]

    async def home(self, request: HttpRequest) -> Response:
        return FileResponse(str(resources.files("voxpop").joinpath("web/index.html")))

    async def kept(self, request: HttpRequest) -> Response:
        """The address of a kept answer: the page opens it."""
        return RedirectResponse(f"../?answer={quote(request.path_params['id'], safe='')}", 303)

    async def health(self, request: HttpRequest) -> Response:
        return JSONResponse({"status": "ok"})

    async def ready(self, request: HttpRequest) -> Response:
        why = "draining" if self.drain.begun.is_set() else ""
        why = why or (self.quotas.unready() if self.quotas else "") or await self.running.unready()
        return JSONResponse({"status": why or "ready"}, 503 if why else 200)

    async def metrics(self, request: HttpRequest) -> Response:
        if account_of(request).rank != "admin":  # a scope alone will not do: members make keys of any scope
            cure = "Use an admin's key; one for this alone: voxpop keys create ADMIN --endpoint metrics"
            raise Denied("Metrics tell of everybody's use.", cure, code="forbidden")
        await self.running.status()  # what a scrape reads of the store is then fresh
        text = generate_latest(self.running.registry)
        return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")

    async def answer(self, request: HttpRequest) -> Response:
        asked = await self.chat.asked(request)
        if asked.answers > 1 or asked.deferred:
            raise UsageError("The page's events tell one answer, now.", "Ask once for each.", code="unsupported")
        turn = await self.chat.turn(request, asked)
        return await stream(request, _named(turn.events()), self.answers, _failure, turn)

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
            yield {"event": "live", **data(status)}
            await asyncio.sleep(_LIVE_S)


def application(
    running: Running,
    *,
    streams: int = STREAMS,
    stamp: Callable[[], tuple[str, int]] = stamp,
    more: Sequence[BaseRoute] = (),
    desk: Desk | None = None,
    door: Door | None = None,
    posts: Posts | None = None,
    later: Later | None = None,
    conversations: Conversations | None = None,
    price: Callable[[str], Price] = lambda _: Price(),
    session: SessionFaces | None = None,
    quotas: Quotas | None = None,
    places: Places | None = None,
) -> Starlette:
    """The ASGI application; `streams` bounds the answers under way and the open pages, `more` is served beside.

    Without a `desk` everybody may ask and nothing is counted; without a `door` only loopback's names are known;
    without `posts`, by which is looked up what was deleted meanwhile, no answer can be resumed; without `later`
    none can be deferred, without `conversations` none stored; without a `session` nobody can sign in; without
    `quotas` none is known by its `Idempotency-Key`. `price` tells what a model costs. `places` may be shared.
    """
    desk = desk or Desk(running.assistant)
    chat = ChatFaces(running, desk, places or Places(streams), stamp, later)
    door, drain, resumable = door or Door(), Drain(), Resumable(posts) if posts else None
    faces = Faces(running, chat, drain, chat.places, Places(streams), quotas)
    routes = [
        *faces.routes(),
        *_programs(running, chat, price, conversations),
        *AnswerFaces(lambda: running.answers, faces.answers).routes(),
        *(StreamFaces(resumable).routes() if resumable else ()),
        *openapi.routes(),
        *(session or SessionFaces(desk.gate)).routes(),
        *more,
        Mount("/static", StaticFiles(packages=[("voxpop", "web")])),
    ]
    named: Any = {VoxpopError: _on_error, HTTPException: _on_missing}
    app = Starlette(routes=routes, exception_handlers=named)
    app.state.drain, app.state.resumable = drain, resumable
    if posts and quotas:
        app.add_middleware(Repeating, quotas=quotas, posts=posts)
    _stand_before(app, desk, door, drain, running.requests)
    return app


def _stand_before(app: Starlette, desk: Desk, door: Door, drain: Drain, requests: Requests) -> None:
    """What a request passes, the last one first."""
    app.router.redirect_slashes = False  # one path, one meaning: for who stands here and for the routes
    app.add_middleware(Entry, desk=desk, requests=requests)
    if door.origins:  # before it is asked who sends: a browser's preflight has no key
        app.add_middleware(CORSMiddleware, **_CORS, allow_origins=door.origins)
    app.add_middleware(Guard, door=door, drain=drain)
    if door.proxies:
        app.add_middleware(Proxied, door=door)


def _programs(
    running: Running, chat: ChatFaces, price: Callable[[str], Price], conversations: Conversations | None
) -> list[Route]:
    """What is served to programs that were written for OpenAI, xAI and Anthropic."""
    vectors = EmbeddingFaces(chat.places, running.started)
    responses = ResponseFaces(running, chat.desk, chat.places, conversations)
    messages = MessageFaces(running, chat.desk, chat.places)
    faces = (chat, CompletionFaces(chat), ModelFaces(running, price), vectors, responses, messages)
    return [route for face in faces for route in face.routes()]


def _failure(error: VoxpopError) -> Frame:
    return {"event": "error", **data({"message": error.what, "cure": error.cure, "code": error.code})}


async def _named(events: AsyncIterator[AnswerEvent]) -> AsyncIterator[Frame]:
    async with aclosing(events):  # type: ignore[type-var]
        async for event in events:
            name, said = page.render(event)
            yield {"event": name, **data(said)}


async def _on_error(request: HttpRequest, error: VoxpopError) -> Response:
    return refused(error, request.url.path)


async def _on_missing(request: HttpRequest, error: HTTPException) -> Response:
    what = f"{request.method} {request.url.path[:200]} is not served here."
    missing = UsageError(what, "See docs/api.md for what is.", code="not_found")
    response = refused(missing, request.url.path)
    response.status_code = error.status_code
    response.headers.update(error.headers or {})
    if error.status_code == 405:
        response.headers["allow"] = ", ".join(_methods(request))
    return response


def _methods(request: HttpRequest) -> list[str]:
    """By which methods a path is served, whichever of its routes they stand in (RFC 9110, 10.2.1)."""
    reached = (r for r in request.app.routes if r.matches(request.scope)[0] is not Match.NONE)
    return sorted({m for route in reached if isinstance(route, Route) for m in route.methods or ()})
