"""xAI's Chat service: it parses, asks the desk and renders; it decides nothing of an answer."""

import secrets
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

from google.protobuf import json_format
from google.protobuf.timestamp_pb2 import Timestamp
from xai_sdk.proto import chat_pb2, deferred_pb2, usage_pb2

from voxpop.accounts import Account
from voxpop.compactions import Compactions
from voxpop.conversations import Conversations, Exchange, Past
from voxpop.desk import Desk
from voxpop.dialects import NAME, resolve
from voxpop.errors import UsageError
from voxpop.messages import Message, Request
from voxpop.places import Places
from voxpop.posts import Post
from voxpop.rpc.answers import Answering
from voxpop.rpc.door import caller, calling
from voxpop.rpc.reading import Asked, parse
from voxpop.rpc.running import Deferred, Made, Running
from voxpop.rpc.talk import messages
from voxpop.rpc.writing import FINGERPRINT, Told, merged, usage
from voxpop.times import MICROS

ENDPOINT = "chat"
COMPLETION = "/xai_api.Chat/GetCompletion"  # the route by which a batch holds a request of gRPC


@dataclass(frozen=True, slots=True)
class Chat:
    """The seven methods; `places` bounds the answers under way."""

    running: Running
    desk: Desk
    places: Places
    conversations: Conversations
    compactions: Compactions
    deferred: Deferred

    async def GetCompletion(self, request: Any, context: Any) -> Any:
        """A whole answer."""
        asked, past = await self._asked(request)
        async with self._admitted(asked) as answering:
            return await self._whole(request, answering, past)

    async def GetCompletionChunk(self, request: Any, context: Any) -> AsyncIterator[Any]:
        """An answer as it is made."""
        asked, past = await self._asked(request)
        async with self._admitted(asked) as answering, aclosing(answering.outputs()) as outputs:  # type: ignore[type-var]
            frame = answering.frame
            async for output in outputs:
                yield chat_pb2.GetChatCompletionChunk(**frame, outputs=[output])
            await self._store(request, answering, past)
            yield chat_pb2.GetChatCompletionChunk(**frame, **answering.beside)

    async def StartDeferredCompletion(self, request: Any, context: Any) -> Any:
        """The id under which an answer can be had later, once."""
        asked, past = await self._asked(request)
        asked = replace(asked, apart=False)  # xAI's client reads a deferred answer, and a stored one, by its place
        async with AsyncExitStack() as kept:
            answering = await kept.enter_async_context(self._admitted(asked))
            held = kept.pop_all()

        async def work() -> Made:
            async with held:
                response = await self._whole(request, answering, past)
            posts = [*past.posts, *answering.posts]
            return response.SerializeToString(), None if past.untraced else posts

        try:
            id_ = await self.deferred.start(caller().account.id, work)
        except BaseException:
            await held.aclose()
            raise
        return deferred_pb2.StartDeferredResponse(request_id=id_)

    async def behind(self, account: Account, body: bytes, id_: str) -> tuple[bytes, list[Post]]:
        """What a batch asks for an account: GetCompletion, from JSON to JSON. Raises VoxpopError."""
        request = json_format.Parse(body, chat_pb2.GetCompletionsRequest())
        with calling(account, id_):
            asked, past = await self._asked(request)
            async with self._admitted(replace(asked, apart=False)) as answering:
                response = await self._whole(request, answering, past)
        return as_json(response), [*past.posts, *answering.posts]

    async def GetDeferredCompletion(self, request: Any, context: Any) -> Any:
        """A deferred answer, or that it is still made."""
        account = caller().account
        account.check(ENDPOINT)
        try:
            data = await self.deferred.take(account.id, request.request_id)
        except UsageError as error:
            if error.code != "deferred_lost":
                raise
            return chat_pb2.GetDeferredCompletionResponse(status=deferred_pb2.EXPIRED)
        if data is None:
            return chat_pb2.GetDeferredCompletionResponse(status=deferred_pb2.PENDING)
        response = chat_pb2.GetChatCompletionResponse.FromString(data)
        return chat_pb2.GetDeferredCompletionResponse(status=deferred_pb2.DONE, response=response)

    async def GetStoredCompletion(self, request: Any, context: Any) -> Any:
        """A stored answer of whichever dialect. Raises UsageError (`not_found`) where a post of it is gone."""
        account = caller().account
        account.check(ENDPOINT)
        exchange = await self.conversations.get(account.id, request.response_id)
        if exchange.answers is None:
            what = f"The answer '{exchange.id}' is withdrawn: a post that it rests on is gone."
            raise UsageError(what, "Ask again.", code="not_found")
        asked = _asked_then(exchange)
        told = [Told(asked, exchange.id, n) for n in range(asked.answers)]
        outputs = [o for t, events in zip(told, exchange.answers, strict=True) for e in events for o in t.add(e)]
        return chat_pb2.GetChatCompletionResponse(
            id=exchange.id,
            created=Timestamp(seconds=exchange.at // MICROS),
            model=exchange.model,
            system_fingerprint=FINGERPRINT,
            outputs=merged(outputs),
            citations=dict.fromkeys(url for t in told for url in t.citations),
            usage=usage(told, exchange.ticks),
            service_tier=usage_pb2.SERVICE_TIER_DEFAULT,
        )

    async def DeleteStoredCompletion(self, request: Any, context: Any) -> Any:
        """Remove a stored answer."""
        account = caller().account
        account.check(ENDPOINT)
        await self.conversations.remove(account.id, request.response_id)
        return chat_pb2.DeleteStoredCompletionResponse(response_id=request.response_id)

    async def CompactContext(self, request: Any, context: Any) -> Any:
        """The conversation as one closed text that stands for it; nothing of it is lost, and no model is asked."""
        account = caller().account
        account.check(ENDPOINT, resolve(request.model or NAME, self.running.voices, self.running.aliases))
        said = messages(request.input, self._opened).said
        return chat_pb2.CompactContextResponse(
            id=f"cmp_{secrets.token_hex(12)}",
            encrypted_content=self.compactions.closed(account.id, said),
            dropped_message_count=len(request.input),
            usage=usage_pb2.SamplingUsage(),
        )

    async def _asked(self, request: Any) -> tuple[Asked, Past]:
        """What a call asks, and what it goes on from. Raises UsageError."""
        past, before = Past(), request.previous_response_id
        if before:
            past = await self.conversations.past(caller().account.id, before)
        asked = parse(request, self.running, self._opened, past.messages)
        brought = any(m.role == "assistant" and m.content.strip() for m in asked.fresh)
        return asked, Past(past.messages, past.posts, past.untraced or brought)

    def _opened(self, text: str) -> tuple[Message, ...]:
        return self.compactions.opened(caller().account.id, text)

    @asynccontextmanager
    async def _admitted(self, asked: Asked) -> AsyncIterator[Answering]:
        """A place for the answers. Raises Denied or Limited."""
        who, id_ = caller(), f"chatcmpl-{secrets.token_hex(12)}"
        with self.places.held():
            turn = await self.desk.admit(
                who.account, asked.request, endpoint=ENDPOINT, model=asked.model, id=who.id, answers=asked.answers
            )
            who.told.update(turn.headers)
            try:
                yield Answering(asked, turn, id_, int(time.time()))
            finally:
                await turn.close()

    async def _whole(self, request: Any, answering: Answering, past: Past) -> Any:
        async with aclosing(answering.outputs()) as made:  # type: ignore[type-var]
            outputs = [output async for output in made]
        stored = await self._store(request, answering, past)
        response = chat_pb2.GetChatCompletionResponse(
            **answering.frame, **answering.beside, outputs=merged(outputs), settings=_settings(request)
        )
        response.settings.store_messages = stored
        return response

    async def _store(self, request: Any, answering: Answering, past: Past) -> bool:
        """Whether it was stored: as it was asked for, and as far as it may be."""
        if not request.store_messages:
            return False
        asked = answering.asked
        how = {"searches": asked.searches, "inline": asked.inline}
        exchange = Exchange(
            id=answering.id,
            owner=caller().account.id,
            at=answering.at * MICROS,
            model=asked.named,
            asked=asked.fresh,
            answers=tuple(tuple(events) for events in answering.events),
            previous=request.previous_response_id,
            beside={"grpc": {**how, "cites": asked.cites}},
            ticks=answering.turn.ticks,
        )
        return await self.conversations.put(exchange, past)


def as_json(proto: Any) -> bytes:
    """A message as JSON, with the names of its proto."""
    text: str = json_format.MessageToJson(proto, preserving_proto_field_name=True, indent=None)
    return text.encode()


def _asked_then(exchange: Exchange) -> Asked:
    """How a stored answer was asked for, as far as its rendering goes."""
    said = exchange.beside.get("grpc", {})
    return Asked(
        Request(exchange.asked),
        exchange.model,
        exchange.model,
        answers=len(exchange.answers or ()),
        searches=tuple(said.get("searches", ())),
        inline=bool(said.get("inline")),
        apart=False,
        cites=bool(said.get("cites", True)),
    )


def _settings(request: Any) -> Any:
    """The settings that an answer was made with, as they were sent."""
    settings = chat_pb2.RequestSettings()
    names = {f.name for f in settings.DESCRIPTOR.fields}
    for field, value in request.ListFields():
        if field.name not in names:
            continue
        if field.is_repeated:
            getattr(settings, field.name).extend(value)
        elif field.message_type:
            getattr(settings, field.name).CopyFrom(value)
        else:
            setattr(settings, field.name, value)
    return settings
