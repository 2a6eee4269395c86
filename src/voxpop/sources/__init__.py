"""A source gives events after a cursor, at least once; it drops bad input and counts it by reason."""

from collections import Counter
from collections.abc import AsyncIterator
from typing import Protocol

from voxpop.posts import Event


class Source(Protocol):
    """One stream of posts.

    `name` keys the cursor in the store; `network` is what its posts carry; `simulated` marks a made-up world;
    `dropped` counts what could not be used, by reason; `state` says in words what it is doing now.
    """

    name: str
    network: str
    simulated: bool
    dropped: Counter[str]

    @property
    def state(self) -> str: ...

    def events(self, after: str | None) -> AsyncIterator[Event]:
        """Events after `after` (None: the source's own start), until the source ends or is closed."""
        ...
