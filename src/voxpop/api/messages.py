"""The face of Anthropic's messages: it parses, asks the desk and renders; it stores nothing and decides nothing."""

import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from voxpop.api.bodies import read_json
from voxpop.api.chat import Speaking, known
from voxpop.api.entry import account_of
from voxpop.api.messages_asked import Asked, parse
from voxpop.api.messages_made import Event, Made, error
from voxpop.api.responses import tokens
from voxpop.api.streams import Frame, stream, unless_gone
from voxpop.api.working import TOKENS, working
from voxpop.desk import Desk, Turn
from voxpop.errors import UsageError, VoxpopError
from voxpop.places import Places

_ENDPOINT = "messages"


@dataclass(frozen=True, slots=True)
class MessageFaces:
    """The handlers; `places` bounds the answers under way."""

    running: Speaking
    desk: Desk
    places: Places

    def routes(self) -> list[Route]:
        """Where they are served."""
        return [
            Route("/v1/messages", self.create, methods=["POST"]),
            Route("/v1/messages/count_tokens", self.count_tokens, methods=["POST"]),
        ]

    async def create(self, request: Request) -> Response:
        asked = await self._asked(request)
        id_ = request.state.request_id
        account = account_of(request)
        turn = await self.desk.admit(account, asked.request, endpoint=_ENDPOINT, model=asked.model, id=id_)
        made = Made(f"msg_{secrets.token_hex(12)}", asked.named, asked.shown)
        events = _answer(made, turn)
        if asked.stream:
            return await stream(request, _framed(events), self.places, _failure, turn)
        try:
            with self.places.held():
                await unless_gone(request, _to_the_end(events))
        finally:
            await turn.close()
        return JSONResponse(made.json(), headers=turn.headers)

    async def count_tokens(self, request: Request) -> Response:
        asked = await self._asked(request)
        account_of(request).check(_ENDPOINT, asked.model)
        async with working(request, TOKENS, model=asked.model) as work:
            count = tokens(self.running.engine(), asked.request.messages)
        return JSONResponse({"input_tokens": count}, headers=work.headers)

    async def _asked(self, request: Request) -> Asked:
        return parse(await read_json(request), known(self.running))


async def _answer(made: Made, turn: Turn) -> AsyncIterator[Event]:
    begun = False
    async with aclosing(turn.events()) as events:  # type: ignore[type-var]
        async for event in events:
            # Not before the first event: what fails until then can still be an HTTP error.
            for told in made.begin() if not begun else ():
                yield told
            begun = True
            for told in made.add(event):
                yield told
    made.ticks = turn.ticks
    for told in made.end():
        yield told


async def _framed(events: AsyncIterator[Event]) -> AsyncIterator[Frame]:
    async with aclosing(events):  # type: ignore[type-var]
        async for event in events:
            yield _frame(event)


async def _to_the_end(events: AsyncIterator[Event]) -> None:
    async with aclosing(events):  # type: ignore[type-var]
        async for _ in events:
            pass


def _frame(event: Mapping[str, Any]) -> Frame:
    return {"event": event["type"], "data": orjson.dumps(event).decode()}


def _failure(failure: VoxpopError) -> Frame:
    return _frame(error(failure, 400 if isinstance(failure, UsageError) else 500))
