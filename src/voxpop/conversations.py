"""Finished conversations, stored for whoever held them, for thirty days; what was answered lies sealed under posts.

In clear stands what the client sent: its own data. What we answered, and what it sent back of our earlier answers,
is shut under the posts that they cite, their forerunners' with them (`sealed.py`): a later turn may repeat an
earlier one. Where one of those posts is gone, the answer is withdrawn, and the conversation goes on without it.
Every dialect stores here, and one may go on with what another has begun. An answer is not stored that a model made
freely of an assistant's turn from we know not which posts.
"""

import asyncio
import zlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, Self, get_args

import orjson
from sqlalchemy import BigInteger, Index, LargeBinary, String, delete, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from voxpop.errors import UsageError, VoxpopError
from voxpop.messages import AnswerEvent, Called, Citation, Message, Text, Withheld
from voxpop.posts import Post
from voxpop.recipes import dump, load
from voxpop.records import Base, Database
from voxpop.sealed import Shut, opened, shut
from voxpop.times import MICROS

Answer = tuple[AnswerEvent, ...]
KEEP_DAYS = 30
MOST_TURNS = 100  # of one conversation; a longer one is to be made shorter by its client
_DROP_S = 3600.0
_DAY = 24 * 3600 * MICROS
_EVENTS = {cls.__name__: cls for cls in get_args(AnswerEvent)}


class StoredExchange(Base):
    """One request with its answers; `clear` is the client's own, `shut` a packed `Shut`."""

    __tablename__ = "exchanges"
    __table_args__ = (Index("ix_exchanges_owner", "owner"),)
    id: Mapped[str] = mapped_column(String(128), primary_key=True)
    owner: Mapped[str] = mapped_column(String(128))
    at: Mapped[int] = mapped_column(BigInteger, index=True)
    previous: Mapped[str] = mapped_column(String(128))
    clear: Mapped[bytes] = mapped_column(LargeBinary)
    shut: Mapped[bytes] = mapped_column(LargeBinary)


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request and its answers (several where several were asked for).

    `asked`: the messages that the client sent this time, not those of `previous`. `beside`: what else its dialect
    wants back, as JSON: the client's own words, never ours. `at` in microseconds of UTC, `ticks` as of `accounts`.
    `answers` is None where a post is gone that they rest on; an assistant's turns in `asked` went with it.
    """

    id: str
    owner: str
    at: int
    model: str
    asked: tuple[Message, ...]
    answers: tuple[Answer, ...] | None
    previous: str = ""
    beside: Mapping[str, Any] = field(default_factory=dict)
    ticks: int = 0


@dataclass(frozen=True, slots=True)
class Past:
    """What a request goes on from: its messages so far, and all posts that they rest on.

    `untraced`: the client sent an assistant's turn of which it is not known on what it rests.
    """

    messages: tuple[Message, ...] = ()
    posts: tuple[Post, ...] = ()
    untraced: bool = False


class Conversations:
    """The stored conversations in the database of records. Use as an async context manager.

    `posts` gives the stored posts of ids; `clock` microseconds of UTC.
    """

    def __init__(
        self,
        records: Database,
        posts: Callable[[Sequence[str]], Awaitable[Sequence[Post]]],
        clock: Callable[[], int],
        keep_days: float = KEEP_DAYS,
    ) -> None:
        self.posts = posts
        self._records, self._clock = records, clock
        self._keep = int(keep_days * _DAY)

    async def __aenter__(self) -> Self:
        await self.drop()
        self._dropping = asyncio.create_task(self._repeat())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._dropping.cancel()
        await asyncio.gather(self._dropping, return_exceptions=True)

    async def put(self, exchange: Exchange, past: Past = Past()) -> bool:
        """Store it; False where it may not be, and is not. `past` is what it went on from.

        Raises VoxpopError where the database fails.
        """
        answers = exchange.answers or ()
        if past.untraced and any(_is_free(event) for answer in answers for event in answer):
            return False
        resting = [e.passage.post for answer in answers for e in answer if isinstance(e, Citation)]
        row = _row(exchange, [*past.posts, *resting], keep_turns=not past.untraced)
        await self._records.run(lambda s: s.add(row))
        return True

    async def get(self, owner: str, id_: str) -> Exchange:
        """A stored exchange. Raises UsageError (`not_found`) for one that is not there, or is another's."""
        return (await self.read(owner, id_))[0]

    async def read(self, owner: str, id_: str) -> tuple[Exchange, list[Post]]:
        """A stored exchange as `get` gives it, and the posts that it rests on; none where it is withdrawn."""
        oldest = self._clock() - self._keep
        sought = select(StoredExchange).where(
            StoredExchange.id == id_, StoredExchange.owner == owner, StoredExchange.at >= oldest
        )
        row = await self._records.run(lambda s: s.scalar(sought), write=False) if _can_be(id_) else None
        if row is None:
            cure = (
                f"Ask with 'store': it is kept for {self._keep // (24 * 3600 * MICROS)} days, for its own account."
            )
            raise UsageError(f"Nothing is stored under '{id_[:60]}'.", cure, code="not_found")
        value = Shut.unpack(row.shut)
        held = list(await self.posts(value.ids)) if value.ids else []
        data = opened(value, held)
        return _exchange(row, data, held), held if data is not None else []

    async def past(self, owner: str, id_: str) -> Past:
        """The conversation up to the answer of this id, the first where there are several. Raises UsageError."""
        messages: list[Message] = []
        posts: dict[str, Post] = {}
        for _ in range(MOST_TURNS):
            exchange, held = await self.read(owner, id_)
            said = turns(exchange.answers[0]) if exchange.answers else ()
            messages[:0] = [*exchange.asked, *said]
            posts |= {p.id: p for p in held}
            if not (id_ := exchange.previous):
                return Past(_answering(messages), tuple(posts.values()))
        what = f"The conversation before it has over {MOST_TURNS} turns."
        raise UsageError(what, "Send the messages that still matter, without the earlier turns.", code="too_long")

    async def remove(self, owner: str, id_: str) -> None:
        """Remove an exchange. Raises UsageError (`not_found`) where there is none."""
        await self.read(owner, id_)
        await self._records.run(lambda s: s.execute(_of(owner, id_)))

    async def forget(self, owner: str) -> None:
        """Remove all that is stored of an account."""
        await self._records.run(lambda s: forget(s, owner))

    async def drop(self) -> None:
        """Remove what is too old."""
        oldest = self._clock() - self._keep
        await self._records.run(lambda s: s.execute(delete(StoredExchange).where(StoredExchange.at < oldest)))

    async def _repeat(self) -> None:
        while True:
            await asyncio.sleep(_DROP_S)
            with suppress(VoxpopError):
                await self.drop()


def forget(session: Session, owner: str) -> None:
    """Remove all that is stored of an account, within a transaction that is open."""
    session.execute(delete(StoredExchange).where(StoredExchange.owner == owner))


def turns(answer: Sequence[AnswerEvent]) -> tuple[Message, ...]:
    """An answer as the turn of a conversation, without its marks and notices; nothing where it has no word."""
    texts = [e for e in answer if isinstance(e, Text)]
    said = [e for e in texts if e.kind != "notice"] or texts
    content, last = "", ""
    for text in said:
        content += ("\n" if content and not (text.kind == last and last in ("chat", "json")) else "") + text.text
        last = text.kind
    calls = tuple(e.call for e in answer if isinstance(e, Called))
    return (Message("assistant", content, calls),) if content.strip() or calls else ()


def _answering(messages: Sequence[Message]) -> tuple[Message, ...]:
    """Without the results of calls that were withdrawn."""
    called = {call.id for message in messages for call in message.calls}
    return tuple(m for m in messages if m.role != "tool" or m.answers in called)


def _is_free(event: AnswerEvent) -> bool:
    """Whether a model made it of the conversation, and no post carries it."""
    return isinstance(event, Called) or (isinstance(event, Text) and event.kind in ("chat", "json"))


def _row(exchange: Exchange, resting: Sequence[Post], *, keep_turns: bool) -> StoredExchange:
    """What an engine may have taken from a post that is not cited (why, withheld) is not stored."""
    ours = {n for n, m in enumerate(exchange.asked) if m.role == "assistant"}
    told = [[_plain(e) for e in answer if not isinstance(e, Withheld)] for answer in exchange.answers or ()]
    kept = {n: exchange.asked[n] for n in sorted(ours)} if keep_turns else {}
    clear = {
        "model": exchange.model,
        "asked": [None if n in ours else m for n, m in enumerate(exchange.asked)],
        "beside": exchange.beside,
        "ticks": exchange.ticks,
    }
    return StoredExchange(
        id=exchange.id,
        owner=exchange.owner,
        at=exchange.at,
        previous=exchange.previous,
        clear=zlib.compress(dump(clear), 1),
        shut=shut(dump({"answers": told, "turns": kept}), resting).pack(),
    )


def _exchange(row: StoredExchange, data: bytes | None, posts: Sequence[Post]) -> Exchange:
    clear = orjson.loads(zlib.decompress(row.clear))
    said = orjson.loads(data) if data is not None else {"answers": None, "turns": {}}
    texts = {p.id: p.text for p in posts}
    asked = [said["turns"].get(str(n)) if m is None else m for n, m in enumerate(clear["asked"])]
    answers = None
    if said["answers"] is not None:
        answers = tuple(tuple(_event(e, texts) for e in answer) for answer in said["answers"])
    return Exchange(
        id=row.id,
        owner=row.owner,
        at=row.at,
        model=clear["model"],
        asked=tuple(load(Message, m) for m in asked if m is not None),
        answers=answers,
        previous=row.previous,
        beside=clear["beside"],
        ticks=clear["ticks"],
    )


def _plain(event: AnswerEvent) -> dict[str, Any]:
    if isinstance(event, Citation):
        passage = event.passage
        event = Citation(replace(passage, post=replace(passage.post, text="")))
    elif isinstance(event, Text):
        event = replace(event, why="")
    return {"event": type(event).__name__, "said": event}


def _event(data: Mapping[str, Any], texts: Mapping[str, str]) -> AnswerEvent:
    event: AnswerEvent = load(_EVENTS[data["event"]], data["said"])
    if isinstance(event, Citation):
        passage = event.passage
        return Citation(replace(passage, post=replace(passage.post, text=texts[passage.post.id])))
    return event


def _of(owner: str, id_: str) -> Any:
    return delete(StoredExchange).where(StoredExchange.id == id_, StoredExchange.owner == owner)


def _can_be(id_: str) -> bool:
    """PostgreSQL takes no NUL and no lone surrogate."""
    return id_.isascii() and id_.isprintable() and len(id_) <= 128
