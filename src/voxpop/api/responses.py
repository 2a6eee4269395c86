"""The face of the Responses API: it parses, asks the desk, renders and stores; it decides nothing of an answer."""

import logging
import secrets
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass, replace
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from voxpop.accounts import Account
from voxpop.api import compaction
from voxpop.api.bodies import read_json
from voxpop.api.chat import Speaking, known
from voxpop.api.entry import account_of
from voxpop.api.fields import refuse
from voxpop.api.responses_asked import Asked, conversation, parse
from voxpop.api.responses_input import Item
from voxpop.api.responses_made import PREFIX, Event, Made, again
from voxpop.api.responses_stored import input_page, response_of, turn_of, whole_number
from voxpop.api.streams import Frame, stream, unless_gone
from voxpop.api.working import TOKENS, working
from voxpop.conversations import Conversations, Exchange, Past
from voxpop.desk import Desk, Turn
from voxpop.engines import Engine
from voxpop.engines.pieces import pieces
from voxpop.errors import UsageError, VoxpopError
from voxpop.messages import AnswerEvent, Message
from voxpop.places import Places
from voxpop.posts import Post
from voxpop.service import clock

_ENDPOINT = "responses"
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ResponseFaces:
    """The handlers; `places` bounds the answers under way. Without `conversations` nothing is stored."""

    running: Speaking
    desk: Desk
    places: Places
    conversations: Conversations | None = None
    clock: Callable[[], int] = clock

    def routes(self) -> list[Route]:
        """Where they are served."""
        one = "/v1/responses/{id}"
        return [
            Route("/v1/responses", self.create, methods=["POST"]),
            Route("/v1/responses/compact", self.compact, methods=["POST"]),
            Route("/v1/responses/input_tokens", self.input_tokens, methods=["POST"]),
            Route(one, self.one, methods=["GET", "DELETE"]),
            Route(f"{one}/input_items", self.input_items),
            Route(f"{one}/cancel", self.cancel, methods=["POST"]),
        ]

    async def create(self, request: Request) -> Response:
        account = account_of(request)
        asked = self._parsed(await read_json(request))
        past, sent = await self._conversation(account, asked)
        whole = replace(asked.request, messages=conversation(asked, past, sent))
        id_ = request.state.request_id
        turn = await self.desk.admit(account, whole, endpoint=_ENDPOINT, model=asked.model, id=id_)
        made = Made(f"{PREFIX}{secrets.token_hex(12)}", self.clock(), asked.named, asked.beside, asked.previous)
        made.stored = asked.store and self.conversations is not None
        events = self._answer(account, made, past, sent, turn)
        if asked.stream:
            return await stream(request, _framed(events), self.places, lambda e: _failure(e, made), turn)
        try:
            with self.places.held():
                await unless_gone(request, _to_the_end(events))
        finally:
            await turn.close()
        return JSONResponse(made.json(), headers=turn.headers)

    async def one(self, request: Request) -> Response:
        exchange = await self._stored(request)
        if request.method == "DELETE":
            await self._there.remove(exchange.owner, exchange.id)
            return JSONResponse({"id": exchange.id, "object": "response", "deleted": True})
        made, events = again(exchange)
        if request.query_params.get("stream") != "true":
            return JSONResponse(made.json())
        last = len(events) - 1
        after = whole_number(request.query_params.get("starting_after"), "starting_after", -1, 0, last - 1)
        return await stream(request, _framed(_each(events[after + 1 :])), self.places, lambda e: _failure(e, made))

    async def input_items(self, request: Request) -> Response:
        return JSONResponse(input_page(await self._stored(request), request.query_params))

    async def cancel(self, request: Request) -> Response:
        """None is made in the background: what is stored has ended, and is given as it is."""
        made, _ = again(await self._stored(request))
        return JSONResponse(made.json())

    async def compact(self, request: Request) -> Response:
        account = account_of(request)
        asked = self._parsed(await read_json(request))
        account.check(_ENDPOINT, asked.model)
        async with working(request, TOKENS, model=asked.model) as work:
            past, sent = await self._conversation(account, asked)
            if not (messages := (*past.messages, *sent)):
                refuse("input", "There is nothing to compact.", "Give 'input' or 'previous_response_id'.")
            id_, count = f"{PREFIX}{secrets.token_hex(12)}", tokens(self.running.engine(), messages)
            made = compaction.response(id_, self.clock(), messages, past.posts, count)
        return JSONResponse(made, headers=work.headers)

    async def input_tokens(self, request: Request) -> Response:
        account = account_of(request)
        asked = self._parsed(await read_json(request))
        account.check(_ENDPOINT, asked.model)
        async with working(request, TOKENS, model=asked.model) as work:
            past, sent = await self._conversation(account, asked)
            messages = (Message("system", asked.instructions), *past.messages, *sent)
            count = tokens(self.running.engine(), messages)
        return JSONResponse({"object": "response.input_tokens", "input_tokens": count}, headers=work.headers)

    # -- what a request goes on from -----------------------------------------------------------------------------

    def _parsed(self, body: Any) -> Asked:
        return parse(body, known(self.running))

    @property
    def _there(self) -> Conversations:
        """Raises UsageError where nothing is stored."""
        if self.conversations is None:
            raise UsageError("No response is stored here.", "Send the whole conversation.", code="not_found")
        return self.conversations

    async def _stored(self, request: Request) -> Exchange:
        return await self._there.get(account_of(request).id, request.path_params["id"])

    async def _conversation(self, account: Account, asked: Asked) -> tuple[Past, tuple[Message, ...]]:
        """What came before, and the messages that were sent. Raises UsageError."""
        past = await self._there.past(account.id, asked.previous) if asked.previous else Past()
        sent: list[Message] = []
        for one in asked.items:
            read, past = await self._read(account, one, past)
            sent += read
        return past, tuple(sent)

    async def _read(self, account: Account, one: Item, past: Past) -> tuple[tuple[Message, ...], Past]:
        """The messages of an item; the posts on which they rest are added to the past's."""
        untraced, posts = False, list[Post]()
        if one.compaction:
            messages, posts = await compaction.unpacked(one.compaction, self._posts)
        elif one.message is None:
            exchange, posts = await self._there.read(account.id, response_of(one.id))
            messages = turn_of(exchange, one.id)
        else:
            messages = (one.message,)
            if one.message.role == "assistant" and one.message.content:
                untraced = True
                with suppress(UsageError):
                    exchange, posts = await self._there.read(account.id, response_of(one.id))
                    untraced = exchange.answers is None
        return messages, replace(past, posts=(*past.posts, *posts), untraced=past.untraced or untraced)

    async def _posts(self, ids: Sequence[str]) -> Sequence[Post]:
        return await self.conversations.posts(ids) if self.conversations else []

    # -- the answer ----------------------------------------------------------------------------------------------

    async def _answer(
        self, account: Account, made: Made, past: Past, sent: Sequence[Message], turn: Turn
    ) -> AsyncIterator[Event]:
        """The events of the response; it is stored before the last one is told."""
        answer: list[AnswerEvent] = []
        async with aclosing(turn.events()) as events:  # type: ignore[type-var]
            async for event in events:
                # Not before the first event: what fails until then can still be an HTTP error.
                for told in made.begin() if not answer else ():
                    yield told
                answer.append(event)
                for told in made.add(event):
                    yield told
        made.ticks = turn.ticks
        if made.stored:
            made.stored = await self._put(account, made, past, sent, tuple(answer))
        for told in made.end(self.clock()):
            yield told

    async def _put(
        self, account: Account, made: Made, past: Past, sent: Sequence[Message], answer: tuple[AnswerEvent, ...]
    ) -> bool:
        exchange = Exchange(
            id=made.id,
            owner=account.id,
            at=made.at,
            model=made.model,
            asked=tuple(sent),
            answers=(answer,),
            previous=made.previous,
            beside=made.beside,
            ticks=made.ticks,
        )
        try:
            return await self._there.put(exchange, past)
        except VoxpopError as error:
            _log.warning("A response could not be stored: %s", error.what)
            return False


def tokens(engine: Engine, messages: Sequence[Message]) -> int:
    """How many tokens of the engine's the words of a conversation are, without what stands between its turns."""
    said = [text for m in messages for text in (m.content, *(c.arguments for c in m.calls))]
    return sum(len(pieces(engine, text)) for text in said)


async def _framed(events: AsyncIterator[Event]) -> AsyncIterator[Frame]:
    async with aclosing(events):  # type: ignore[type-var]
        async for event in events:
            yield _frame(event)


async def _each(events: Sequence[Event]) -> AsyncIterator[Event]:
    for event in events:
        yield event


async def _to_the_end(events: AsyncIterator[Event]) -> None:
    async with aclosing(events):  # type: ignore[type-var]
        async for _ in events:
            pass


def _frame(event: Mapping[str, Any]) -> Frame:
    return {"event": event["type"], "data": orjson.dumps(event).decode()}


def _failure(error: VoxpopError, made: Made) -> Frame:
    return _frame(made.failed(error))
