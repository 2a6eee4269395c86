"""A source that can be asked whether posts are still public; it tells what it saw and changes nothing."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol, runtime_checkable

from voxpop.posts import Post

BATCH = 100


class Looked(NamedTuple):
    """What a look at some posts found: those that are public, as they are now, and ids of those that are gone."""

    posts: list[Post]
    gone: list[str]


class Later(Exception):
    """No look was taken: why, and in how many seconds to try again."""

    def __init__(self, why: str, wait_s: float) -> None:
        super().__init__(why)
        self.wait_s = wait_s


@runtime_checkable
class Lookup(Protocol):
    """A source that can look posts up by their ids."""

    name: str
    network: str

    async def look(self, ids: Sequence[str]) -> Looked:
        """Look at no more than `BATCH` posts. An id that is in neither list is unknown. Raises Later."""
        ...
