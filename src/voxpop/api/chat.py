"""The face of OpenAI's chat completions: it parses, asks the desk and renders; it decides nothing of an answer."""

import secrets
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Protocol

import orjson
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from voxpop.api import openai
from voxpop.api.asked import Asked, parse
from voxpop.api.bodies import read_json
from voxpop.api.entry import account_of
from voxpop.api.streams import Frame, Places, stream, unless_gone
from voxpop.desk import Desk, Turn
from voxpop.errors import UsageError
from voxpop.messages import AnswerEvent
from voxpop.policy import Policy
from voxpop.voices import Voice


class Speaking(Protocol):
    """What a dialect asks of the running program beside the desk."""

    voices: dict[str, Voice]
    default_voice: str
    started: int
    policy: Policy


def stamp() -> tuple[str, int]:
    """An id that was never given, and the second."""
    return f"chatcmpl-{secrets.token_hex(12)}", int(time.time())


@dataclass(frozen=True, slots=True)
class ChatFaces:
    """The handlers; `places` bounds the answers under way."""

    running: Speaking
    desk: Desk
    places: Places
    stamp: Callable[[], tuple[str, int]] = stamp

    def routes(self) -> list[Route]:
        """Where they are served."""
        return [
            Route("/v1/models", self.models),
            Route("/v1/models/{name}", self.model),
            Route("/v1/chat/completions", self.completions, methods=["POST"]),
        ]

    async def models(self, request: Request) -> Response:
        return JSONResponse(self._models())

    async def model(self, request: Request) -> Response:
        rows = self._models()["data"]
        for row in rows:
            if row["id"] == request.path_params["name"]:
                return JSONResponse(row)
        cure = f"Choose one of: {', '.join(r['id'] for r in rows)}."
        raise UsageError(f"No model '{request.path_params['name'][:60]}'.", cure, code="model_not_found")

    def _models(self) -> dict[str, Any]:
        running = self.running
        return openai.models(running.voices, running.started, running.policy.json())

    async def completions(self, request: Request) -> Response:
        asked = await self.asked(request)
        id_, created = self.stamp()
        turn = await self.turn(request, asked)
        events = turn.events()
        if asked.stream:
            frames = _chunked(openai.chunks(id_, created, asked, events))
            return await stream(request, frames, self.places, lambda e: data(openai.error(e)), turn)
        try:
            with self.places.held():
                transcript = await unless_gone(request, _whole(events))
        finally:
            await turn.close()
        return JSONResponse(openai.completion(id_, created, asked, transcript), headers=turn.headers)

    async def turn(self, request: Request, asked: Asked) -> Turn:
        """A place for the answer. Raises Denied or Limited."""
        id_ = request.state.request_id
        return await self.desk.admit(account_of(request), asked.request, endpoint="chat", model=asked.model, id=id_)

    async def asked(self, request: Request) -> Asked:
        """What the body asks. Raises UsageError."""
        return parse(await read_json(request), self.running.voices, self.running.default_voice)


async def _chunked(chunks: AsyncIterator[dict[str, Any]]) -> AsyncIterator[Frame]:
    async with aclosing(chunks):  # type: ignore[type-var]
        async for chunk in chunks:
            yield data(chunk)
    yield {"data": "[DONE]"}


async def _whole(events: AsyncIterator[AnswerEvent]) -> openai.Transcript:
    transcript = openai.Transcript()
    async with aclosing(events):  # type: ignore[type-var]
        async for event in events:
            transcript.add(event)
    return transcript


def data(value: Mapping[str, Any]) -> Frame:
    """A value as the data of an event."""
    return {"data": orjson.dumps(value).decode()}
