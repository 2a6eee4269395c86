"""The face of OpenAI's chat completions: it parses, asks the desk and renders; it decides nothing of an answer."""

import secrets
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import ExitStack, aclosing
from dataclasses import dataclass
from typing import Any, Protocol

import orjson
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from voxpop import __version__
from voxpop.api import openai
from voxpop.api.asked import Asked, Known, parse
from voxpop.api.bodies import read_json
from voxpop.api.entry import account_of
from voxpop.api.streams import Frame, stream, unless_gone
from voxpop.choices import interleaved
from voxpop.deferred import Later, Made
from voxpop.desk import Desk, Turn
from voxpop.engines import Engine
from voxpop.errors import UsageError
from voxpop.messages import AnswerEvent
from voxpop.places import Places
from voxpop.policy import Policy
from voxpop.voices import Voice

ENDPOINT = "chat"


class Speaking(Protocol):
    """What a dialect asks of the running program beside the desk."""

    voices: dict[str, Voice]
    default_voice: str
    aliases: Sequence[str]
    started: int
    policy: Policy

    def engine(self) -> Engine:
        """What answers now."""
        ...


def stamp() -> tuple[str, int]:
    """An id that was never given, and the second."""
    return f"chatcmpl-{secrets.token_hex(12)}", int(time.time())


def known(running: Speaking) -> Known:
    """Who answers in this program."""
    return Known(running.voices, running.default_voice, running.aliases)


def fingerprint(running: Speaking) -> str:
    """What changes when what answers does."""
    return openai.fingerprint(running.engine().describe(), running.policy.digest, __version__)


@dataclass(frozen=True, slots=True)
class ChatFaces:
    """The handlers; `places` bounds the answers under way. Without `later` nothing can be deferred."""

    running: Speaking
    desk: Desk
    places: Places
    stamp: Callable[[], tuple[str, int]] = stamp
    later: Later | None = None

    def routes(self) -> list[Route]:
        """Where they are served."""
        return [
            Route("/v1/chat/completions", self.completions, methods=["POST"]),
            Route("/v1/chat/deferred-completion/{id}", self.deferred),
        ]

    async def completions(self, request: Request) -> Response:
        asked = await self.asked(request)
        head = openai.Head(*self.stamp(), asked, fingerprint(self.running))
        turn = await self.turn(request, asked)
        if asked.deferred:
            return await self._defer(request, head, turn)
        if asked.stream:
            frames = _chunked(openai.chunks(head, events_of(turn, asked), lambda: turn.ticks))
            return await stream(request, frames, self.places, lambda e: data(openai.error(e)), turn)
        with self.places.held():
            transcripts = await unless_gone(request, whole(turn, asked))
        return JSONResponse(openai.completion(head, transcripts, turn.ticks), headers=turn.headers)

    async def deferred(self, request: Request) -> Response:
        """202 while it is made, the answer once, then 404."""
        made = await self._later().take(account_of(request).id, request.path_params["id"])
        return Response(status_code=202) if made is None else Response(made, media_type="application/json")

    async def turn(self, request: Request, asked: Asked) -> Turn:
        """A place for the answers. Raises Denied or Limited."""
        return await self.desk.admit(
            account_of(request),
            asked.request,
            endpoint=ENDPOINT,
            model=asked.model,
            id=request.state.request_id,
            answers=asked.answers,
        )

    async def asked(self, request: Request) -> Asked:
        """What the body asks. Raises UsageError."""
        return parse(await read_json(request), known(self.running))

    async def _defer(self, request: Request, head: openai.Head, turn: Turn) -> Response:
        async def made() -> Made:
            with place:
                transcripts = await whole(turn, head.asked)
            said = orjson.dumps(openai.completion(head, transcripts, turn.ticks))
            return said, openai.resting(head.asked, transcripts)

        with ExitStack() as stack:
            stack.enter_context(self.places.held())
            place = stack.pop_all()
            try:
                id_ = await self._later().start(account_of(request).id, made)
            except BaseException:
                place.close()
                await turn.close()
                raise
        return JSONResponse({"request_id": id_}, headers=turn.headers)

    def _later(self) -> Later:
        if self.later is None:
            raise UsageError("Nothing can be deferred here.", "Ask, and wait or stream.", code="unsupported")
        return self.later


def events_of(turn: Turn, asked: Asked) -> AsyncIterator[tuple[int, AnswerEvent]]:
    """The events of all answers, each with the number of its answer."""
    return interleaved([turn.events(n) for n in range(asked.answers)])


async def whole(turn: Turn, asked: Asked) -> list[openai.Transcript]:
    """All answers to their ends; what was set aside for the turn is settled or given back."""
    transcripts = [openai.Transcript(asked.request.schema is not None) for _ in range(asked.answers)]
    try:
        async with aclosing(events_of(turn, asked)) as events:  # type: ignore[type-var]
            async for number, event in events:
                transcripts[number].add(event)
    finally:
        await turn.close()
    return transcripts


async def _chunked(chunks: AsyncIterator[dict[str, Any]]) -> AsyncIterator[Frame]:
    async with aclosing(chunks):  # type: ignore[type-var]
        async for chunk in chunks:
            yield data(chunk)
    yield {"data": "[DONE]"}


def data(value: Mapping[str, Any]) -> Frame:
    """A value as the data of an event."""
    return {"data": orjson.dumps(value).decode()}
