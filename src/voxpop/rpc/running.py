"""What the gRPC face asks of the program beside the desk; boundaries, no code that serves."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from voxpop.engines import Engine
from voxpop.posts import Post
from voxpop.voices import Voice

Made = tuple[bytes, Sequence[Post] | None]
"""A finished answer and the posts that it rests on; None where these are not known."""


class Running(Protocol):
    """What the running program is."""

    voices: dict[str, Voice]
    default_voice: str
    aliases: Sequence[str]
    started: int
    engine: Callable[[], Engine]


class Deferred(Protocol):
    """Answers that are made while nobody waits, each to be taken once within 24 hours."""

    async def start(self, owner: str, work: Callable[[], Awaitable[Made]]) -> str:
        """The id of work that is begun: it gives an answer, and the posts on which that rests."""
        ...

    async def take(self, owner: str, id_: str) -> bytes | None:
        """The answer; None while it is made. Raises UsageError (`not_found`, `deferred_lost`, `withdrawn`)."""
        ...
