"""The door of the gRPC face: who calls, under which id, and what a failure is called; it serves nothing itself.

Every failure is one status with what happened and the cure in its details. UNAVAILABLE is never among them: xAI's
client would run the call again, five times.
"""

import logging
import re
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import aclosing, asynccontextmanager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import grpc
from google.protobuf.message import DecodeError
from grpc import StatusCode

from voxpop.accounts import Account, Credential, Limited
from voxpop.desk import Desk
from voxpop.errors import UsageError, VoxpopError
from voxpop.reach import outward

_log = logging.getLogger(__name__)
_ID = re.compile(r"[\x21-\x7e]{1,128}")
_LONGEST = 1000  # characters of a status's details: they travel in a header
_CODES = {
    "invalid_api_key": StatusCode.UNAUTHENTICATED,
    "forbidden": StatusCode.PERMISSION_DENIED,
    "model_not_found": StatusCode.NOT_FOUND,
    "not_found": StatusCode.NOT_FOUND,
    "file_not_found": StatusCode.NOT_FOUND,
    "batch_not_found": StatusCode.NOT_FOUND,
    "answer_not_found": StatusCode.NOT_FOUND,
    "deferred_lost": StatusCode.NOT_FOUND,
    "withdrawn": StatusCode.NOT_FOUND,
    "not_served": StatusCode.UNIMPLEMENTED,
    "too_busy": StatusCode.RESOURCE_EXHAUSTED,
    "draining": StatusCode.RESOURCE_EXHAUSTED,
    "too_large": StatusCode.RESOURCE_EXHAUSTED,
    "internal_error": StatusCode.INTERNAL,
}
Metadata = tuple[tuple[str, str], ...]


@dataclass(slots=True)
class Caller:
    """Who makes the call, its id, and what its trailing metadata will say beside."""

    account: Account
    key: str = field(repr=False)
    id: str
    told: dict[str, str] = field(default_factory=dict)

    @property
    def metadata(self) -> Metadata:
        """The trailing metadata: the call's id, and what is left of each limit."""
        return (("x-request-id", self.id), *((k.lower(), v) for k, v in self.told.items()))


_caller: ContextVar[Caller] = ContextVar("caller")


def caller() -> Caller:
    """Who makes the call that is being served."""
    return _caller.get()


@contextmanager
def calling(account: Account, id_: str) -> Iterator[None]:
    """What runs within is called by this account, without a key of its own."""
    token = _caller.set(Caller(account, "", id_))
    try:
        yield
    finally:
        _caller.reset(token)


class Door(grpc.aio.ServerInterceptor):  # type: ignore[misc]
    """Around every method; `calls` are under way."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self.calls = 0

    async def intercept_service(self, continuation: Callable[[Any], Awaitable[Any]], details: Any) -> Any:
        """The handler of a method behind the door; one that refuses where there is none."""
        handler = await continuation(details)
        sent = dict(details.invocation_metadata or ())
        if handler is None:
            return grpc.stream_stream_rpc_method_handler(self._streamed(_unserved(details.method), sent))
        kind = f"{_way(handler.request_streaming)}_{_way(handler.response_streaming)}"
        inner = _reading(getattr(handler, kind), handler)
        behind = self._streamed(inner, sent) if handler.response_streaming else self._single(inner, sent)
        made = getattr(grpc, f"{kind}_rpc_method_handler")
        return made(behind, None, handler.response_serializer)

    def _single(self, inner: Callable[[Any, Any], Awaitable[Any]], sent: Mapping[str, Any]) -> Any:
        async def behind(request: Any, context: Any) -> Any:
            async with self._let_in(sent, context):
                return await inner(request, context)

        return behind

    def _streamed(self, inner: Callable[[Any, Any], AsyncIterator[Any]], sent: Mapping[str, Any]) -> Any:
        # It writes by itself: a generator whose client left amid a write would be closed by nobody.
        async def behind(request: Any, context: Any) -> None:
            async with self._let_in(sent, context), aclosing(inner(request, context)) as messages:  # type: ignore[type-var]
                async for message in messages:
                    await context.write(message)

        return behind

    @asynccontextmanager
    async def _let_in(self, sent: Mapping[str, Any], context: Any) -> AsyncIterator[None]:
        given = sent.get("x-request-id", "")
        id_ = given if isinstance(given, str) and _ID.fullmatch(given) else f"req_{secrets.token_hex(12)}"
        self.calls += 1
        try:
            credential = Credential(key=_bearer(sent.get("authorization", "")))
            who = Caller(await self._desk.gate.account(credential), credential.key, id_)
            _caller.set(who)
            yield
            context.set_trailing_metadata(who.metadata)
        except VoxpopError as error:
            await _fail(context, id_, error)
        except Exception:
            _log.exception("A call failed")
            broken = VoxpopError("The server failed.", "Look into its log.", code="internal_error")
            await _fail(context, id_, broken)
        finally:
            self.calls -= 1


async def _fail(context: Any, id_: str, error: VoxpopError) -> None:
    """End the call: what happened and the cure, and in the trailing metadata when to come again."""
    error = outward(error)
    beside = {"x-request-id": id_, "x-error-code": error.code}
    if isinstance(error, Limited):
        beside |= error.headers
    elif error.code in ("too_busy", "draining"):
        beside["retry-after"] = "1"
    trailing = tuple((name.lower(), value) for name, value in beside.items())
    await context.abort(status(error), str(error)[:_LONGEST], trailing)


def _reading(inner: Callable[[Any, Any], Any], handler: Any) -> Callable[[Any, Any], Any]:
    """A method that reads its own bytes: those that are no message are its caller's fault, and not gRPC's."""

    def read(data: bytes) -> Any:
        try:
            return handler.request_deserializer(data)
        except DecodeError as error:
            cure = "Send what the method takes, in UTF-8."
            raise UsageError("The bytes of the call are not its message.", cure, code="bad_message") from error

    async def each(requests: AsyncIterator[bytes]) -> AsyncIterator[Any]:
        async for data in requests:
            yield read(data)

    return lambda request, context: inner((each if handler.request_streaming else read)(request), context)


def status(error: VoxpopError) -> StatusCode:
    """The status that an error's code means; FAILED_PRECONDITION is what we cannot do until somebody mends it."""
    if isinstance(error, Limited):
        return StatusCode.RESOURCE_EXHAUSTED
    lacking = StatusCode.INVALID_ARGUMENT if isinstance(error, UsageError) else StatusCode.FAILED_PRECONDITION
    return _CODES.get(error.code, lacking)


def _bearer(value: Any) -> str:
    kind, _, key = value.partition(" ") if isinstance(value, str) else ("", "", "")
    return key.strip() if kind.lower() == "bearer" else ""


def _way(streaming: bool) -> str:
    return "stream" if streaming else "unary"


def _unserved(method: str) -> Callable[[Any, Any], AsyncIterator[Any]]:
    async def refuse(request: Any, context: Any) -> AsyncIterator[Any]:
        what = f"{method[:200]} is not served here."
        raise VoxpopError(what, "See docs/grpc.md for what is.", code="not_served")
        yield

    return refuse
