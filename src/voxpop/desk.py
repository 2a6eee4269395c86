"""Where every dialect asks: it admits a request, has it answered, and settles what was used; it answers nothing.

What was set aside is settled when the last answer has ended, also one that was broken off, and given back where
none had begun.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from typing import Protocol

from voxpop.accounts import Account, Gate, Permit, Spent, Wanted
from voxpop.errors import VoxpopError
from voxpop.gate import OpenGate
from voxpop.messages import AnswerEvent, Called, Citation, Done, Request, Text
from voxpop.posts import Post

_CHARS = 4  # of a token, where only an estimate is to be had


@dataclass(frozen=True, slots=True)
class Behind:
    """That a request is made in the background: from another allowance, after everybody who waits for an answer.

    `cited` gathers the posts that its answers rest on.
    """

    bucket: str = "batch"
    share: float = 0.1  # of its account's own weight
    cited: list[Post] = field(default_factory=list)


BEHIND: ContextVar[Behind | None] = ContextVar("behind", default=None)
# Where every turn that is admitted is noted, for who keeps the answer: what it cites is what that is sealed under.
admitted: ContextVar["list[Turn] | None"] = ContextVar("admitted", default=None)


class Answers(Protocol):
    """What answers a request."""

    def answer(self, request: Request) -> AsyncIterator[AnswerEvent]:
        """The events of one answer; closing it stops the engine."""
        ...


class Turn:
    """An admitted request: one stream of events for each answer that was asked for, and what they cost together."""

    def __init__(
        self, answers: Answers, request: Request, permit: Permit, wanted: Wanted, longest_s: float
    ) -> None:
        self._answers, self._permit, self._wanted, self._longest_s = answers, permit, wanted, longest_s
        behind = BEHIND.get()
        asker = permit.asker
        asker = replace(asker, weight=asker.weight * behind.share) if behind else asker
        self._request = replace(request, asker=asker)
        self._open = wanted.answers
        self._spent = Spent()
        self._told = False
        self.ticks = 0
        self.cited: list[Post] = behind.cited if behind else []

    @property
    def endpoint(self) -> str:
        """By which endpoint it came, as scopes of keys name it."""
        return self._wanted.endpoint

    @property
    def model(self) -> str:
        """The model as it was asked for."""
        return self._wanted.model

    @property
    def headers(self) -> Mapping[str, str]:
        """What is left of each limit, for the head of the response."""
        return self._permit.headers

    async def events(self, choice: int = 0) -> AsyncIterator[AnswerEvent]:
        """The events of one of the answers, each by a seed of its own. Raises VoxpopError as the line does."""
        sampling = self._request.sampling
        request = replace(self._request, sampling=replace(sampling, seed=sampling.seed + choice))
        chars, spent = 0, None
        end = asyncio.get_running_loop().time() + self._longest_s
        try:
            async with aclosing(self._answers.answer(request)) as events:  # type: ignore[type-var]
                while event := await _next(events, end, self._longest_s):
                    if isinstance(event, Citation):
                        self.cited.append(event.passage.post)
                    elif isinstance(event, Done):
                        spent = spent_of(event)
                        await self._end(spent)
                    elif isinstance(event, Text):
                        chars += len(event.text)
                    self._told = self._told or isinstance(event, Text | Called)
                    yield event
        finally:
            if spent is None:
                await self._end(Spent(self._wanted.prompt_tokens if chars else 0, chars // _CHARS))

    async def close(self) -> None:
        """Give back what was set aside for answers that nobody began to read."""
        if self._open:
            self._open = 1
            await self._end(Spent())

    async def _end(self, spent: Spent) -> None:
        self._open -= 1
        self._spent += spent
        if self._open == 0:
            if self._told or self._spent.answers:
                self.ticks = await self._permit.settle(self._spent)
            else:
                await self._permit.refund("nothing was answered")


@dataclass(slots=True)
class Work:
    """Work that is no answer. Who does it sets `spent` before its end; `ticks` is what it cost, known after."""

    headers: Mapping[str, str]
    spent: Spent = field(default_factory=Spent)
    ticks: int = 0


class Desk:
    """Admits, answers and settles, for every dialect alike; an answer that takes over `longest_s` is broken off."""

    def __init__(self, answers: Answers, gate: Gate | None = None, *, longest_s: float = 600.0) -> None:
        self._answers, self._longest_s = answers, longest_s
        self.gate: Gate = gate or OpenGate()

    async def admit(
        self, account: Account, request: Request, *, endpoint: str, model: str, id: str = "", answers: int = 1
    ) -> Turn:
        """A place for `answers` answers to a request. Raises Denied or Limited."""
        account.check(endpoint, model)
        wanted = Wanted(
            id=id,
            endpoint=endpoint,
            model=model,
            bucket=behind.bucket if (behind := BEHIND.get()) else "chat",
            voice=request.voice,
            tools=tuple(f.name for f in request.tools.functions),
            as_of=request.as_of,
            prompt_tokens=sum(len(m.content) for m in request.messages) // _CHARS,
            max_tokens=request.sampling.max_tokens * answers,
            answers=answers,
        )
        turn = Turn(self._answers, request, await self.gate.permit(account, wanted), wanted, self._longest_s)
        if (noted := admitted.get()) is not None:
            noted.append(turn)
        return turn

    @asynccontextmanager
    async def work(
        self, account: Account, bucket: str, *, endpoint: str, model: str = "", id: str = "", tokens: int = 0
    ) -> AsyncIterator[Work]:
        """Take work that is no answer from an allowance; where it fails all is given back.

        `tokens` is an estimate of what it will use. Raises Denied or Limited.
        """
        behind = BEHIND.get()
        bucket = behind.bucket if behind else bucket
        wanted = Wanted(id, endpoint, model, bucket=bucket, prompt_tokens=tokens)
        permit = await self.gate.permit(account, wanted)
        work = Work(permit.headers)
        try:
            yield work
        except BaseException:
            await permit.refund("nothing was made")
            raise
        work.ticks = await permit.settle(work.spent)


async def _next(events: AsyncIterator[AnswerEvent], end: float, longest_s: float) -> AnswerEvent | None:
    """The next event, None at the end. Raises VoxpopError `answer_too_slow` where it is not there at `end`."""
    limit = asyncio.timeout_at(end)
    try:
        async with limit:
            return await anext(events, None)
    except TimeoutError as error:
        if not limit.expired():
            raise
        what = f"The answer was not whole after {longest_s:g} s."
        cure = "Ask for less, ask when fewer do, or raise server.answer_s."
        raise VoxpopError(what, cure, code="answer_too_slow") from error


def spent_of(done: Done) -> Spent:
    """What a whole answer used."""
    used = done.usage
    return Spent(
        prompt_tokens=used.prompt_tokens,
        completion_tokens=used.completion_tokens,
        cached_tokens=used.cached_tokens,
        reasoning_tokens=used.reasoning_tokens,
        searches=len(done.receipt.searched),
        answers=1,
        engine_s=used.seconds,
    )
